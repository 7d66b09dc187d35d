import { describe, expect, it } from 'vitest';
import { copyOfCheckout, node, standInForCargo, writeProgram } from './harness.js';

describe('npm test', () => {
  /** Runs the suites with a cargo and a vitest that say what they are told to. */
  async function suites({ rust, vitest }: { rust: string; vitest: string }) {
    const folder = await copyOfCheckout('package.json', 'Cargo.toml', 'scripts');
    await writeProgram(folder, 'node_modules/typescript/bin/tsc', '');
    await writeProgram(folder, 'node_modules/vitest/vitest.mjs', vitest);
    const preload = await standInForCargo(folder, rust);
    return node(['--require', preload, 'scripts/test.mjs'], { cwd: folder });
  }

  const rustPasses = `console.log(process.argv[2] === 'test'
    ? 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured\\ntest result: ok. 4 passed; 0 failed; 0 ignored;'
    : 'cargo 1.99.0')`;
  const report = (counts: string) => `
    import { writeFileSync } from 'node:fs';
    const file = process.argv.find((argument) => argument.startsWith('--outputFile.json=')).split('=')[1];
    writeFileSync(file, JSON.stringify(${counts}));`;
  const vitestPasses = report('{ numPassedTests: 10, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0 }');

  it('ends with the total of all suites', async () => {
    const { code, output } = await suites({ rust: rustPasses, vitest: vitestPasses });
    expect(output.trimEnd().split('\n').at(-1)).toBe('28 passed, 0 failed');
    expect(code).toBe(0);
  });

  it('fails when one suite fails, and still runs the others', async () => {
    const vitest = `${report('{ numPassedTests: 9, numFailedTests: 1, numPendingTests: 0, numTodoTests: 0 }')}
      process.exitCode = 1;`;
    const { code, output } = await suites({ rust: rustPasses, vitest });
    expect(output.trimEnd().split('\n').at(-1)).toBe('26 passed, 2 failed');
    expect(code).toBe(1);
  });

  it('fails when a suite ends badly without naming a test', async () => {
    const rust = `if (process.argv[2] === 'test') { console.error('error[E0308]'); process.exitCode = 101 }
      else console.log('cargo 1.99.0')`;
    const { code, output } = await suites({ rust, vitest: 'process.exitCode = 1' });
    expect(output.trimEnd().split('\n').at(-1)).toBe('1 passed, 3 failed');
    expect(code).toBe(1);
  });

  it('counts what was skipped', async () => {
    const vitest = report('{ numPassedTests: 9, numFailedTests: 0, numPendingTests: 1, numTodoTests: 1 }');
    const { output } = await suites({ rust: rustPasses, vitest });
    expect(output.trimEnd().split('\n').at(-1)).toBe('26 passed, 0 failed, 4 skipped');
  });
});

// Runs every test there is and sums up: `npm test`. The last line is the total of all suites.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { requireCargo, root, runMain } from './tools.mjs';

const packaging = '__test__/package';

const suites = [
  { name: 'Rust: the core, without Node', run: cargoTest },
  { name: 'Types: everything compiles, strictly', run: compile },
  { name: 'TypeScript: behaviour', run: () => vitest(`--exclude=${packaging}/**`) },
  { name: 'Package: what users install', run: () => vitest(packaging) },
];

await runMain(async () => {
  requireCargo();
  const results = [];
  for (const { name, run } of suites) {
    console.log(`\n=== ${name} ===`);
    results.push({ name, ...(await run()) });
  }
  console.log('\n=== Summary ===');
  for (const result of results) console.log(`${result.name.padEnd(40)} ${count(result)}`);
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  const total = { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
  console.log(count(total));
  return total.failed === 0 ? 0 : 1;
});

function count({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

async function cargoTest() {
  // As in __test__/helpers/seed.ts: the same inputs in every run, unless chance is asked for.
  const seed = process.env.TEST_SEED ?? '20261127';
  const env = seed === 'random' ? process.env : { PROPTEST_RNG_SEED: seed, ...process.env };
  const { code, output } = await run('cargo', ['test', '--no-fail-fast'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
  const result = { passed: 0, failed: 0, skipped: 0 };
  for (const [, passed, failed, ignored] of output.matchAll(/^test result: .* (\d+) passed; (\d+) failed; (\d+) /gm)) {
    result.passed += Number(passed);
    result.failed += Number(failed);
    result.skipped += Number(ignored);
  }
  return withExitCode(result, code);
}

async function compile() {
  const { code } = await run(process.execPath, ['node_modules/typescript/bin/tsc', '--noEmit']);
  if (code === 0) console.log('no type errors');
  return code === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

async function vitest(which) {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-test-'));
  const report = path.join(folder, 'report.json');
  try {
    const { code } = await run(process.execPath, [
      'node_modules/vitest/vitest.mjs',
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
      which,
    ]);
    return withExitCode(readReport(report), code);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function readReport(file) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(file, 'utf8'));
    return { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests };
  } catch {
    // Vitest ended before it could write; its exit code says so.
    return { passed: 0, failed: 0, skipped: 0 };
  }
}

/** A suite that ended badly without naming a failed test (a file that does not load, a crash) has failed all the same. */
function withExitCode(result, code) {
  return code !== 0 && result.failed === 0 ? { ...result, failed: 1 } : result;
}

function run(command, args, { stdio = ['ignore', 'inherit', 'inherit'], env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio, env });
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

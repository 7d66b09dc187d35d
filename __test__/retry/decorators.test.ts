import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(__dirname, '../..');
let project = '';

// A project of a user: the package in node_modules, the fixture beside it, one compiler setting for each mode.
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'reprise-decorators-'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(root, join(project, 'node_modules/reprise'), 'dir');
  symlinkSync(join(root, 'node_modules/@types'), join(project, 'node_modules/@types'), 'dir');
  copyFileSync(join(__dirname, 'fixtures/decorators.ts'), join(project, 'decorators.ts'));
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'commonjs' }));
});
afterAll(() => {
  rmSync(project, { recursive: true });
});

function node(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: project, encoding: 'utf8' });
  return { status, stdout, stderr };
}

function compile(outDir: string, settings: object) {
  const tsconfig = join(project, `tsconfig.${outDir}.json`);
  writeFileSync(
    tsconfig,
    JSON.stringify({
      compilerOptions: {
        ...{
          module: 'node20',
          target: 'es2022',
          strict: true,
          skipLibCheck: true,
          types: ['node'],
          rootDir: '.',
          outDir,
        },
        ...settings,
      },
      files: ['decorators.ts'],
    }),
  );
  return node(join(root, 'node_modules/typescript/bin/tsc'), '-p', tsconfig);
}

describe.each([
  ['TC39 decorators', 'tc39', { exactOptionalPropertyTypes: true }],
  ['legacy decorators', 'legacy', { experimentalDecorators: true, emitDecoratorMetadata: true }],
])('%s', (_, outDir, settings) => {
  it('compile with their types kept, refuse what cannot work, and run', { timeout: 60_000 }, () => {
    expect(compile(outDir, settings)).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(node(join(outDir, 'decorators.js'))).toEqual({ status: 0, stdout: 'all held\n', stderr: '' });
  });
});

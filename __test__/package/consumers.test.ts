import { cp, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, emptyFolder, node, npm, root, succeed } from './harness.js';
import { pack } from './tarballs.js';

// Projects of users, outside of the checkout, with the packed tarballs installed as npm installs them for a user.
let projects: string;

beforeAll(async () => {
  const [tarballs, folder] = await Promise.all([pack(), emptyFolder()]);
  projects = folder;
  await cp(path.join(root, '__test__/package/consumers'), projects, { recursive: true });
  const options = { cwd: projects };
  const quietly = ['--ignore-scripts', '--no-audit', '--no-fund'];
  await succeed(npm(['ci', '--prefer-offline', ...quietly], options));
  // Offline: of the packages of all platforms that it names, only the one given may be needed.
  await succeed(npm(['install', '--offline', '--no-save', ...quietly, tarballs.root, tarballs.platform], options));
}, 300_000);

/** Runs a program that the project has installed. */
const tool = (program: string, ...args: string[]) =>
  succeed(node([path.join('node_modules', program), ...args], { cwd: projects }));

/** Runs a program of the project: it must end by itself. */
const program = (file: string) => succeed(node([file], { cwd: projects }));

/** Runs a file of `node:test`. What it reports by unless told differs between versions of Node. */
const nodeTest = (file: string) => succeed(node(['--test', '--test-reporter=tap', file], { cwd: projects }));

describe('a project of a user works with the installed package', { timeout: 90_000 }, () => {
  it('CommonJS, with Express 5 and 4', () => program('cjs/main.cjs'));

  it('ES modules, with Express 5 and 4', () => program('esm/main.mjs'));

  it('TypeScript for Node (nodenext), as ES module and as CommonJS, with a decorator', async () => {
    await tool('typescript/bin/tsc', '-p', 'nodenext');
    await program('nodenext/main.mjs');
    await program('nodenext/main.cjs');
  });

  it('TypeScript for a bundler, with a decorator of the older kind', async () => {
    await tool('typescript/bin/tsc', '-p', 'bundler');
    await program('bundler/main.js');
  });

  it('Jest, which finds no open handle and ends by itself', async () => {
    const output = await tool('jest/bin/jest.js', '--rootDir', 'jest', '--detectOpenHandles');
    expect(output).toMatch(/Tests: +(\d+) passed, \1 total/);
    expect(output).not.toMatch(/open handle|did not exit|force exited/i);
  });

  it.each(['forks', 'threads'])('Vitest, with its %s', async (pool) => {
    const output = await tool('vitest/vitest.mjs', 'run', '--root', 'vitest', '--pool', pool);
    expect(output).toMatch(/Tests +(\d+) passed \(\1\)/);
  });

  it('node:test, with the store contract over a store of their own', async () => {
    const output = await nodeTest('contract/store.mjs');
    expect(output).toMatch(/^# tests (\d+)$[^]*^# pass \1$/m);
    expect(output).toMatch(/^# fail 0$/m);
  });

  it('node:test, with a chaos for one test', async () => {
    const output = await nodeTest('node-test/shop.mjs');
    expect(output).toMatch(/^# pass 1$/m);
    expect(output).toMatch(/^# fail 0$/m);
  });
});

it.each([
  ['require', ['-e', `require('reprise')`]],
  ['import', ['--input-type=module', '-e', `import 'reprise'`]],
])('without the package of its platform, %s says which one to install', async (_, args) => {
  const project = await emptyFolder();
  await mkdir(path.join(project, 'node_modules'));
  await cp(path.join(projects, 'node_modules/reprise'), path.join(project, 'node_modules/reprise'), {
    recursive: true,
  });
  const { code, output } = await node(args, { cwd: project });
  expect(code).toBe(1);
  expect(output).toContain(`code: 'ERR_REPRISE_NATIVE_UNAVAILABLE'`);
  expect(output).toContain(`npm install --no-save reprise-${addon.platform}@`);
});

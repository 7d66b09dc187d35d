import { appendFile, mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { copyOfCheckout, node, root, standInForCargo, succeed, withoutSettings, writeProgram } from './harness.js';
import type { Ended } from './harness.js';

const environment = withoutSettings(process.env);
const newCargo = `console.log('cargo 1.999.0')`;

/** What a fresh clone has, as far as the scripts read it. No node_modules: they must do without. */
const clone = () =>
  copyOfCheckout('package.json', 'Cargo.toml', 'Cargo.lock', 'build.rs', 'src', 'ts', 'scripts', 'index.js');

describe('a tool that is missing is one clear error, before anything slow starts', () => {
  async function prepareWith(env: NodeJS.ProcessEnv, cargo?: string, ...nodeArguments: string[]) {
    const folder = await clone();
    if (cargo !== undefined) nodeArguments.push('--require', await standInForCargo(folder, cargo));
    // An npm that would leave a trace.
    const started = path.join(folder, 'npm-was-started');
    const npm = await writeProgram(folder, 'npm-cli.js', `require('fs').writeFileSync(${JSON.stringify(started)}, '')`);
    const ended = await node([...nodeArguments, 'scripts/prepare-checkout.mjs'], {
      cwd: folder,
      env: { ...environment, npm_execpath: npm, ...env },
    });
    await expect(stat(started)).rejects.toThrow('ENOENT');
    return ended;
  }

  it('no Rust: says what is missing and where to get it', async () => {
    const { code, output } = await prepareWith({ PATH: '/nowhere', HOME: '/nowhere', USERPROFILE: '/nowhere' });
    expect(code).toBe(1);
    expect(output).toMatch(
      /^\nreprise: Rust 1\.\d+ or newer is needed .* `cargo` is not in PATH\.\n.*https:\/\/rustup\.rs/,
    );
    expect(output).not.toContain('    at ');
  });

  it('Rust installed but not in PATH: says where it is', async () => {
    const home = await clone();
    await mkdir(path.join(home, '.cargo', 'bin'), { recursive: true });
    const { code, output } = await prepareWith({ PATH: '/nowhere', HOME: home, USERPROFILE: home });
    expect(code).toBe(1);
    expect(output).toContain(`There is a ${path.join(home, '.cargo', 'bin')}: add it to PATH`);
  });

  it('Rust too old: says which is needed', async () => {
    const { code, output } = await prepareWith({}, `console.log('cargo 1.70.0 (ec8a8a0ca 2023-04-25)')`);
    expect(code).toBe(1);
    expect(output).toMatch(/^\nreprise: Rust 1\.\d+ or newer is needed, this is cargo 1\.70\.0 .*\.\n.*rustup update/);
  });

  it('Rust that does not start: shows what it says', async () => {
    const { code, output } = await prepareWith({}, `console.error('no default toolchain'); process.exitCode = 1`);
    expect(code).toBe(1);
    expect(output).toContain('`cargo --version` failed:\nno default toolchain');
  });

  it('Node too old: says which is needed', async () => {
    const older = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.18.3' } })`;
    const { code, output } = await prepareWith(
      {},
      undefined,
      '--import',
      `data:text/javascript,${encodeURIComponent(older)}`,
    );
    expect(code).toBe(1);
    expect(output).toBe(
      '\nreprise: Node 20.19 or newer is needed, this is 20.18.3.\n' +
        '  Get it from https://nodejs.org and run the command again.\n',
    );
  });
});

describe('installs and builds what is stale, and nothing else', () => {
  let folder: string;
  let npm: string;
  let cargo: string;

  // A clone with an npm that notes what it was asked, and makes what the real one would make.
  beforeAll(async () => {
    folder = await clone();
    cargo = await standInForCargo(folder, newCargo);
    const lock = { packages: { '': {}, 'node_modules/one': { version: '1.0.0', integrity: 'sha512-one' } } };
    await writeFile(path.join(folder, 'package-lock.json'), JSON.stringify(lock));
    npm = await writeProgram(
      folder,
      'npm-cli.js',
      `const { appendFileSync, cpSync, mkdirSync, writeFileSync } = require('fs');
       const asked = process.argv.slice(2).filter((argument) => !argument.startsWith('--')).join(' ');
       appendFileSync('asked', asked + '\\n');
       if (asked === 'ci') {
         mkdirSync('node_modules/one', { recursive: true });
         writeFileSync('node_modules/one/package.json', '{}');
         cpSync('package-lock.json', 'node_modules/.package-lock.json');
       }
       if (asked === 'run build:native') { mkdirSync('native', { recursive: true }); writeFileSync('native/reprise.node', ''); }
       if (asked === 'run build:ts') { mkdirSync('dist', { recursive: true }); writeFileSync('dist/index.js', ''); }`,
    );
  });

  /** Prepares, and tells what npm was asked to do. */
  async function prepare(): Promise<string[]> {
    await rm(path.join(folder, 'asked'), { force: true });
    const env = { ...environment, npm_execpath: npm };
    await succeed(node(['--require', cargo, 'scripts/prepare-checkout.mjs'], { cwd: folder, env }));
    const asked = await readFile(path.join(folder, 'asked'), 'utf8').catch(() => '');
    return asked.split('\n').filter(Boolean);
  }

  // Each test leaves everything fresh for the next.
  it('does everything in a fresh clone, and nothing the second time', async () => {
    expect(await prepare()).toEqual(['ci', 'run build:native', 'run build:ts']);
    expect(await prepare()).toEqual([]);
  });

  it.each([
    ['a Rust source', 'src/lib.rs', ['run build:native']],
    ['the crate manifest', 'Cargo.toml', ['run build:native']],
    ['a new Rust source', 'src/binding/new.rs', ['run build:native']],
    ['a TypeScript source', 'ts/index.ts', ['run build:ts']],
    ['the built addon', 'native/reprise.node', ['run build:native']],
    ['the built wrapper', 'dist/index.js', ['run build:ts']],
    ['a document', 'README.md', []],
  ])('after a change of %s (%s) it runs %j', async (_, file, expected) => {
    await appendFile(path.join(folder, file), ' ');
    expect(await prepare()).toEqual(expected);
    expect(await prepare()).toEqual([]);
  });

  it('goes by content, not by time', async () => {
    await utimes(path.join(folder, 'src/lib.rs'), new Date(), new Date());
    expect(await prepare()).toEqual([]);
  });

  it('builds again what was deleted', async () => {
    await rm(path.join(folder, 'native/reprise.node'));
    await rm(path.join(folder, 'dist'), { recursive: true });
    expect(await prepare()).toEqual(['run build:native', 'run build:ts']);
  });

  it.each([
    ['another version in package-lock.json', 'package-lock.json', '1.0.0', '1.0.1'],
    ['another content in package-lock.json', 'package-lock.json', 'sha512-one', 'sha512-two'],
    ['another version installed', 'node_modules/.package-lock.json', '1.0.1', '0.9.0'],
  ])('installs again for %s', async (_, file, from, to) => {
    const text = await readFile(path.join(folder, file), 'utf8');
    await writeFile(path.join(folder, file), text.replace(from, to));
    expect(await prepare()).toEqual(['ci']);
  });

  it('installs again when a package is gone', async () => {
    await rm(path.join(folder, 'node_modules/one'), { recursive: true });
    expect(await prepare()).toEqual(['ci']);
  });
});

describe('what npm and cargo say', () => {
  async function prepareWithNpm(source: string, ...args: string[]): Promise<Ended> {
    const folder = await clone();
    const env = { ...environment, npm_execpath: await writeProgram(folder, 'npm-cli.js', source) };
    const cargo = await standInForCargo(folder, newCargo);
    return node(['--require', cargo, 'scripts/prepare-checkout.mjs', ...args], { cwd: folder, env });
  }

  it('is shown whole when they fail, with the command', async () => {
    const { code, output } = await prepareWithNpm(`
      console.log('first line');
      console.error('x'.repeat(300_000));
      console.error('npm error network no route to host');
      process.exitCode = 7;`);
    expect(code).toBe(1);
    expect(output).toContain('$ npm ci --include=dev');
    expect(output).toContain('first line');
    expect(output).toContain('x'.repeat(300_000));
    expect(output).toContain('npm error network no route to host');
    expect(output).toContain('failed (exit code 7)');
  });

  const chatty = `console.log('added 445 packages')`;

  it('is kept back when they succeed', async () => {
    const { output } = await prepareWithNpm(chatty);
    expect(output).toMatch(/^reprise: installing npm dependencies .* done in \d+ s$/m);
    expect(output).not.toContain('added 445 packages');
  });

  it('is shown as it comes with --verbose', async () => {
    const { output } = await prepareWithNpm(chatty, '--verbose');
    expect(output).toContain('added 445 packages');
  });
});

it('the scripts are wired to npm', async () => {
  const { scripts } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const name of ['demo', 'start', 'test']) {
    expect(scripts[name]).toMatch(/^node scripts\/prepare-checkout\.mjs && node /);
  }
});

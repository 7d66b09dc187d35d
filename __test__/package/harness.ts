import { spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';

/** The checkout. */
export const root = path.resolve(__dirname, '../..');

/** Resolves as a file of the checkout would. */
export const requireFromRoot = createRequire(path.join(root, 'package.json'));

/** The addon that was built for this machine. */
export const addon = {
  file: loadedAddon(),
  /** Such as `linux-x64-gnu`. */
  platform: path.basename(loadedAddon()).split('.')[1] ?? '',
};

function loadedAddon(): string {
  requireFromRoot('./native/binding.js');
  const file = Object.keys(requireFromRoot.cache).find((name) => name.endsWith('.node'));
  if (file === undefined) throw new Error('native/binding.js loaded no file of native/');
  return file;
}

/** How a process ended, and all that it said. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** Runs a program to its end; it is killed when it has not ended by itself in a minute. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = spawn(command, args, {
    cwd: options.cwd ?? root,
    // The settings of the npm and the vitest that run this test are not those of a user.
    env: options.env ?? withoutSettings(process.env),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code, signal, output });
    });
  });
}

/** Where and with which environment to {@link run}. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs this Node. */
export function node(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return run(process.execPath, args, options);
}

/** {@link run}, failing with all that the program said when it did not end well. Returns what it said. */
export async function succeed(ended: Promise<Ended>): Promise<string> {
  const { code, signal, output } = await ended;
  if (code !== 0) throw new Error(`ended with ${signal ?? `exit code ${String(code)}`}:\n${output}`);
  return output;
}

/** The environment of a user's own shell, without colours. */
export function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const own = Object.entries(env).filter(
    ([name]) => !/^(npm_|VITEST|NODE_OPTIONS$|NODE_ENV$|FORCE_COLOR$)/i.test(name),
  );
  return { ...Object.fromEntries(own), NO_COLOR: '1' };
}

const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, maxRetries: 3 }))));

/** An empty folder outside of the checkout, so that nothing resolves into it; gone when the test file is done. */
export async function emptyFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(path.join(tmpdir(), 'reprise-')));
  folders.push(folder);
  return folder;
}

/** An {@link emptyFolder} with copies of some files and folders of the checkout. */
export async function copyOfCheckout(...names: readonly string[]): Promise<string> {
  const folder = await emptyFolder();
  for (const name of names) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await cp(path.join(root, name), path.join(folder, name), { recursive: true });
  }
  return folder;
}

/** Runs npm: its own program where that is known, so that no shell is needed. */
export function npm(args: readonly string[], options?: RunOptions): Promise<Ended> {
  const program = process.env['npm_execpath'];
  return program !== undefined && path.basename(program) === 'npm-cli.js'
    ? node([program, ...args], options)
    : run('npm', args, options);
}

/** Writes a JavaScript program and returns its path. */
export async function writeProgram(folder: string, name: string, source: string): Promise<string> {
  const file = path.join(folder, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, source);
  return file;
}

/** Writes a module for `--require` that has the program's `cargo` be `source`, run by this Node, and returns its path. */
export async function standInForCargo(folder: string, source: string): Promise<string> {
  const cargo = await writeProgram(folder, 'cargo-stand-in.cjs', source);
  const preload = `
    const child_process = require('node:child_process');
    for (const name of ['spawn', 'spawnSync']) {
      const real = child_process[name];
      child_process[name] = (command, args, options) => command === 'cargo'
        ? real(process.execPath, [${JSON.stringify(cargo)}, ...args], options)
        : real(command, args, options);
    }
    require('node:module').syncBuiltinESMExports();`;
  return writeProgram(folder, 'preload.cjs', preload);
}

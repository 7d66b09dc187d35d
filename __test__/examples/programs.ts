import { spawn } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import { emptyFolder, root, withoutSettings, type RunOptions } from '../package/harness.js';

/** A server in a process of its own. */
export interface Program {
  /** What it has said so far. */
  readonly output: string;
  /** Ends it as Ctrl+C does, and resolves with its exit code: null where it was killed, as on Windows. */
  stop(): Promise<number | null>;
}

/** Starts a server with this Node, and resolves when what it says matches; ended after the test. */
export async function startProgram(args: readonly string[], ready: RegExp, options: RunOptions = {}): Promise<Program> {
  const env = { ...withoutSettings(process.env), ...options.env };
  const child = spawn(process.execPath, args, { cwd: options.cwd ?? root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (ready.test(output)) resolve();
      });
    }
    child.once('error', reject);
    void ended.then((code) => {
      reject(new Error(`ended with exit code ${String(code)}:\n${output}`));
    });
  });
  return {
    get output() {
      return output;
    },
    stop: () => {
      child.kill('SIGINT');
      return ended;
    },
  };
}

/**
 * A project of a user, empty but for some packages of `node_modules`. `reprise` is this checkout, as
 * `npm install ../reprise` would have it.
 */
export async function projectWith(...packages: readonly string[]): Promise<string> {
  const folder = await emptyFolder();
  for (const name of packages) {
    const link = path.join(folder, 'node_modules', name);
    await mkdir(path.dirname(link), { recursive: true });
    // A junction, since Windows lets only administrators make symbolic links.
    await symlink(name === 'reprise' ? root : path.join(root, 'node_modules', name), link, 'junction');
  }
  return folder;
}

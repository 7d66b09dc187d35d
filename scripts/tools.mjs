// The tools that a checkout needs, checked before anything slow starts. Plain Node, so that it works without
// node_modules and says something useful under a Node that is too old.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** What the person at the keyboard can put right: printed as it is, without a stack. */
export class Problem extends Error {}

/** Runs `main` and ends the process with 1 when it throws; a {@link Problem} is shown without a stack. */
export async function runMain(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    console.error(error instanceof Problem ? `\nreprise: ${error.message}` : error);
    process.exitCode = 1;
  }
}

/** @throws Problem when this Node is older than `engines` in package.json allows */
export function requireNode() {
  const minimum = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).engines.node.replace('>=', '');
  if (!isAtLeast(process.versions.node, minimum)) {
    throw new Problem(
      `Node ${minimum} or newer is needed, this is ${process.versions.node}.\n` +
        '  Get it from https://nodejs.org and run the command again.',
    );
  }
}

/** @throws Problem when there is no Rust, or one older than `rust-version` in Cargo.toml allows */
export function requireCargo() {
  const [, minimum] = /^rust-version = "(.+)"$/m.exec(readFileSync(path.join(root, 'Cargo.toml'), 'utf8'));
  const found = spawnSync('cargo', ['--version'], { cwd: root, encoding: 'utf8' });
  if (found.error) {
    const home = path.join(homedir(), '.cargo', 'bin');
    const hint = existsSync(home)
      ? `  There is a ${home}: add it to PATH, or open a new terminal if Rust was installed just now.`
      : '  Get it from https://rustup.rs, open a new terminal and run the command again.';
    throw new Problem(
      `Rust ${minimum} or newer is needed to build the native addon, and \`cargo\` is not in PATH.\n${hint}`,
    );
  }
  if (found.status !== 0) throw new Problem(`\`cargo --version\` failed:\n${found.stdout}${found.stderr}`);
  const [version] = /\d+\.\d+\.\d+/.exec(found.stdout) ?? ['0'];
  if (!isAtLeast(version, minimum)) {
    throw new Problem(
      `Rust ${minimum} or newer is needed, this is ${found.stdout.trim()}.\n` +
        '  Run `rustup update stable`, or get it from https://rustup.rs.',
    );
  }
}

function isAtLeast(version, minimum) {
  const [have, need] = [version, minimum].map((text) => text.split('.').map(Number));
  for (const [index, part] of need.entries()) {
    if (have[index] !== part) return (have[index] ?? 0) > part;
  }
  return true;
}

// Whether a build is still true: its inputs and outputs are compared by content, never by time alone, since a
// checkout, a branch switch or a copy changes times without meaning.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './tools.mjs';

/** Whether `build` has run on what its inputs are now, and nothing has touched its outputs since. */
export function isFresh(build) {
  const file = stampFile(build);
  return existsSync(file) && readFileSync(file, 'utf8') === state(build);
}

/** Remembers that `build` has just run. */
export function stamp(build) {
  mkdirSync(path.dirname(stampFile(build)), { recursive: true });
  writeFileSync(stampFile(build), state(build));
}

function stampFile(build) {
  return path.join(root, '.stamp', build.script.replace(':', '-'));
}

function state({ inputs, outputs }) {
  return `${process.platform}-${process.arch}\ninputs ${digest(inputs)}\noutputs ${digest(outputs)}\n`;
}

function digest(paths) {
  const hash = createHash('sha256');
  for (const file of paths.flatMap((name) => filesUnder(name))) {
    const content = readFileSync(path.join(root, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

function filesUnder(name) {
  const absolute = path.join(root, name);
  if (!existsSync(absolute)) return [];
  if (!statSync(absolute).isDirectory()) return [name];
  return readdirSync(absolute)
    .sort()
    .flatMap((entry) => filesUnder(`${name}/${entry}`));
}

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';

const require = createRequire(import.meta.url);

function versionOf(name) {
  // Not every package lets its package.json be required.
  const folder = require.resolve
    .paths(name)
    .map((base) => `${base}/${name}/package.json`)
    .find((file) => {
      try {
        return readFileSync(file);
      } catch {
        return false;
      }
    });
  return folder ? JSON.parse(readFileSync(folder, 'utf8')).version : '?';
}

/** Where and with what something was measured. */
export function machine() {
  const [{ model }] = os.cpus();
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    cpu: `${os.cpus().length} × ${model.trim()}`,
    memory: `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`,
    system: `${os.type()} ${os.release()}`,
    node: process.version,
    // Above the number of cores, the machine had other work to do.
    load: os.loadavg()[0].toFixed(1),
    versions: Object.fromEntries(
      ['express', ...Object.keys(require('./package.json').dependencies)].map((name) => [name, versionOf(name)]),
    ),
  };
}

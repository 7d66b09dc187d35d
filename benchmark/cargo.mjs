// What the core does without Node, by its own benchmarks.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

export const ROOT = path.join(import.meta.dirname, '..');

/** Builds a benchmark of `benches/`, and runs it unless told `--no-run`; what was printed. */
export async function cargoBench(name, ...args) {
  const cargo = spawn('cargo', ['bench', '--quiet', '--bench', name, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  cargo.stdout.on('data', (text) => (printed += text));
  const [code] = await once(cargo, 'close');
  if (code !== 0) throw new Error(`cargo bench ended with ${code}`);
  return printed;
}

// (f): pairs through a FileStore, of one process and of four, beside the core without Node and beside what the engine does
// with one sync of the disk for each group. Each by itself, in turn.
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { cargoBench, ROOT } from '../cargo.mjs';
import { median, summary } from '../statistics.mjs';
import { micros, ratio } from '../text.mjs';

const CHILD = path.join(import.meta.dirname, '..', 'file-child.mjs');
const CALLERS = 64;
const SECONDS = 1;
/** A round takes a quarter of a minute: there are fewer than of others. */
const SHARE_OF_ROUNDS = 0.4;

/** Builds the benchmark of the core; the path of the program. */
async function buildCore() {
  const printed = await cargoBench('file_store', '--no-run', '--message-format', 'json');
  const artifacts = printed
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  return artifacts.find(({ target, executable }) => target?.name === 'file_store' && executable).executable;
}

/** What processes of that program do, all together, and of them the least in shares of an equal one. */
async function inTheCore(program, args, processes = 1) {
  const one = () => promisify(execFile)(program, [...args, String(SECONDS)]);
  const ends = await Promise.all(Array.from({ length: processes }, one));
  return summed(ends.map(({ stdout }) => Number(stdout)));
}

function summed(rates) {
  const sum = rates.reduce((a, b) => a + b, 0);
  return { sum, share: (Math.min(...rates) * rates.length) / sum };
}

/** The same through Node. */
async function inProcesses(folder, durability, processes, callers) {
  const args = [path.join(folder, 'store'), durability, String(callers), String(SECONDS)];
  const children = Array.from({ length: processes }, (_, place) => fork(CHILD, [...args, String(place)]));
  await Promise.all(children.map((child) => once(child, 'message')));
  const ends = children.map((child) => once(child, 'message'));
  const exits = children.map((child) => once(child, 'exit'));
  for (const child of children) child.send('go');
  const results = (await Promise.all(ends)).map(([result]) => result);
  await Promise.all(exits);
  if (!results.every(({ isReplayed }) => isReplayed)) throw new Error('not replayed');
  return summed(results.map(({ perSecond }) => perSecond));
}

export const filesScenario = {
  id: 'f',
  title: `FileStore: claim and complete, ${CALLERS} in flight in each process`,
  async run({ rounds, progress }) {
    progress('cargo bench, which is built first');
    const program = await buildCore();
    const plain = (group) => (folder) => inTheCore(program, ['plain', folder, String(group)]);
    const core = (durability, processes, callers) => (folder) =>
      inTheCore(program, ['serve', path.join(folder, 'store'), durability, String(callers)], processes);
    const node = (durability, processes, callers) => (folder) => inProcesses(folder, durability, processes, callers);
    const few = CALLERS / 4;
    const subjects = {
      full: ['plain SQLite, `synchronous=FULL`, one after the other', plain(1)],
      limit: [`plain SQLite in groups of ${CALLERS}, one \`fdatasync\` each`, plain(CALLERS)],
      core1: ["`'os'`, the core without Node, one process", core('os', 1, CALLERS)],
      core4: ["`'os'`, the core without Node, four processes", core('os', 4, CALLERS)],
      core1few: [`\`'os'\`, the core without Node, one process, ${few} callers`, core('os', 1, few)],
      core4few: [`\`'os'\`, the core without Node, four processes, ${few} callers each`, core('os', 4, few)],
      os1: ["`'os'`, one process", node('os', 1, CALLERS)],
      os4: ["`'os'`, four processes", node('os', 4, CALLERS)],
      os1few: [`\`'os'\`, one process, ${few} callers`, node('os', 1, few)],
      os4few: [`\`'os'\`, four processes, ${few} callers each`, node('os', 4, few)],
      coreSynced: ["`'fsync'`, the core without Node, one process", core('fsync', 1, CALLERS)],
      fsync1: ["`'fsync'`, one process", node('fsync', 1, CALLERS)],
      fsync4: ["`'fsync'`, four processes", node('fsync', 4, CALLERS)],
    };
    const measured = Object.fromEntries(Object.keys(subjects).map((id) => [id, []]));
    const all = Math.ceil(rounds * SHARE_OF_ROUNDS);
    for (let round = 0; round < all; round++) {
      for (const [id, [name, run]] of Object.entries(subjects)) {
        progress(`${name}, round ${round + 1} of ${all}`);
        // Beside the checkout, not in a temporary folder, which often is no disk.
        const folder = mkdtempSync(path.join(ROOT, 'target', 'bench-'));
        try {
          measured[id].push(await run(folder));
        } finally {
          rmSync(folder, { recursive: true });
        }
      }
    }
    const rate = (id) => summary(measured[id].map(({ sum }) => sum));
    const least = (id) => median(measured[id].map(({ share }) => share));
    /** Of the same round. */
    const over = (id, other) => median(measured[id].map(({ sum }, round) => sum / measured[other][round].sum));
    /** What four processes do in sum, in the core and through Node, held against one with all callers. */
    const together = (what, core, node) => {
      const shares = [over(core, 'core1'), over(node, 'os1')];
      const leastShare = Math.min(least(core), least(node));
      return {
        target: `'os': ${what}, none below half of its share`,
        measured: `the core ${ratio(shares[0])} ×, through Node ${ratio(shares[1])} ×; least share ${ratio(leastShare)}`,
        isMet: Math.min(...shares) >= 0.8 && leastShare > 0.5,
      };
    };
    const number = (value) => Math.round(value).toLocaleString('en');
    return {
      tables: [
        {
          title: 'A claim and its completion with 1 KiB',
          columns: ['', 'pairs/s', 'quartiles', 'a pair, µs', 'of the groups', 'least share'],
          rows: Object.entries(subjects).map(([id, [name]]) => {
            const { median, low, high } = rate(id);
            const range = `${number(low)} … ${number(high)}`;
            return [name, number(median), range, micros(1e6 / median), ratio(over(id, 'limit')), ratio(least(id))];
          }),
        },
      ],
      verdicts: [
        {
          target: "'os': a pair ≤ 1.5 × the core's own",
          measured: `${ratio(1 / over('os1', 'core1'))} ×`,
          isMet: over('os1', 'core1') >= 1 / 1.5,
        },
        together(`four processes of ${CALLERS} callers ≥ 0.8 of one of them`, 'core4', 'os4'),
        together(`four processes of ${few} callers ≥ 0.8 of one of ${CALLERS}`, 'core4few', 'os4few'),
        {
          target: "'os': four processes ≥ 2 × plain SQLite, FULL",
          measured: `the core ${ratio(over('core4', 'full'))} ×, through Node ${ratio(over('os4', 'full'))} ×`,
          isMet: Math.min(over('core4', 'full'), over('os4', 'full')) >= 2,
        },
        {
          target: "'fsync' ≥ 0.8 of one fdatasync for each group",
          measured: `the core ${ratio(over('coreSynced', 'limit'))} ×, through Node ${ratio(over('fsync1', 'limit'))} ×`,
          isMet: Math.min(over('coreSynced', 'limit'), over('fsync1', 'limit')) >= 0.8,
        },
      ],
    };
  },
};

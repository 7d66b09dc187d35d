// (a) to (d): what a middleware adds to one request.
import { postText } from '../client.mjs';
import { load } from '../load.mjs';
import { measure, open } from '../paired.mjs';
import {
  bare,
  expressIdempotency,
  handWritten,
  inExpressClasses,
  nodeIdempotency,
  noOp,
  powertools,
  reprise,
} from '../subjects.mjs';
import { createChaos } from '../../index.js';
import { micros, ratio, signed } from '../text.mjs';

/** Keys that a replay takes in turn. */
const KEYS = 25;

/** JSON of a given size, as an order has it. */
function sized(bytes) {
  const order = { id: 4711, status: 'paid', items: [], note: '' };
  while (JSON.stringify(order).length < bytes - 80) {
    order.items.push({ sku: `A-${1000 + order.items.length}`, quantity: (order.items.length % 9) + 1, price: 12.5 });
  }
  order.note = 'x'.repeat(bytes - JSON.stringify(order).length);
  return order;
}

const REQUEST_BODY = JSON.stringify(sized(300));
const SMALL = sized(300);
const LARGE = sized(10 * 1024);

const newKey = (id) => ({
  request: (round, i) => postText('/orders', REQUEST_BODY, { 'Idempotency-Key': `${id}-${round}-${i}` }),
  expectedRuns: ({ sent }) => sent,
});

const sameKeys = (id) => {
  const texts = Array.from({ length: KEYS }, (_, i) =>
    postText('/orders', REQUEST_BODY, { 'Idempotency-Key': `${id}-${i}` }),
  );
  return {
    seed: () => texts,
    request: (_, i) => texts[i % KEYS],
    expectedRuns: ({ sent, seeded, isGuarded }) => (isGuarded ? KEYS : sent + seeded),
  };
};

/** No key, and another body each time, so that each has a key of its own. */
const derived = () => ({
  request: (round, i) => postText('/orders', JSON.stringify({ ...SMALL, id: 1e6 + round * 1000 + i })),
  expectedRuns: ({ sent }) => sent,
});

const RIVALS = [handWritten, nodeIdempotency, powertools, expressIdempotency];

/** The rows of one series of blocks, and of the load that follows. */
async function series(subjects, handling, traffic, { rounds, progress, withLoad = false, loadKeys }) {
  const servers = [];
  for (const subject of subjects) servers.push(await open(subject, handling));
  try {
    const paired = await measure(servers, {
      rounds,
      expectedBody: JSON.stringify(handling.answer),
      onRound: (done, all) => progress(`round ${done} of ${all}`),
      ...traffic,
    });
    const onBlock = (done, all) => progress(`load ${done} of ${all}`);
    const loads = !withLoad ? [] : await load(servers, { body: REQUEST_BODY, keys: loadKeys, onBlock });
    return paired.map((row, at) => ({ ...row, ...loads[at] }));
  } finally {
    for (const server of servers) server.close();
  }
}

const COLUMNS = ['middleware', 'in the server, µs', 'added, µs', 'of bare', 'requests/s', 'CPU, µs', 'checked'];

function tableOf(title, rows) {
  return {
    title,
    columns: rows[0].perSecond === undefined ? COLUMNS.filter((name) => !/requests|CPU/.test(name)) : COLUMNS,
    rows: rows.map((row) => [
      row.name,
      micros(row.time.median),
      `${signed(row.added.median)} (${signed(row.added.low)} … ${signed(row.added.high)})`,
      ratio(row.share.median),
      ...(row.perSecond === undefined ? [] : [Math.round(row.perSecond).toLocaleString('en'), micros(row.cpu)]),
      checked(row),
    ]),
  };
}

function checked({ wrongBodies, surplusRuns }) {
  const faults = [];
  if (wrongBodies > 0) faults.push(`${wrongBodies} answers differ`);
  if (surplusRuns !== 0) faults.push(`${surplusRuns > 0 ? '+' : ''}${surplusRuns} runs`);
  return faults.join(', ') || 'yes';
}

const find = (rows, name) => rows.find((row) => row.name === name);

/** What reprise adds, in shares of what the hand-written Map adds. */
function againstMap(rows, limit, name = 'reprise') {
  const share = find(rows, name).added.median / find(rows, handWritten.name).added.median;
  return { target: `${name}: new key ≤ ${limit} M`, measured: `${ratio(share)} M`, isMet: share <= limit };
}

function againstBare(rows, limit, what, name = 'reprise') {
  const share = find(rows, name).share.median;
  return { target: `${what} ≤ ${limit} B`, measured: `${ratio(share)} B`, isMet: share <= limit };
}

function aheadOfRivals(rows, what) {
  const own = find(rows, 'reprise').added.median;
  const ahead = rows.slice(3).filter(({ added }) => added.median <= own);
  const measured = ahead.length === 0 ? 'yes' : `behind ${ahead.map(({ name }) => name).join(', ')}`;
  return { target: `${what}: less than every rival`, measured, isMet: ahead.length === 0 };
}

const chartOf = (rows) => rows.slice(1).map(({ name, added }) => ({ name, value: added.median }));

export const newKeyScenario = {
  id: 'a',
  title: 'New key, 300 B',
  async run({ rounds, progress, withLoad }) {
    const options = { rounds, progress, withLoad };
    const rows = await series([bare, noOp, reprise(), ...RIVALS], { answer: SMALL }, newKey('a'), options);
    const inClasses = [bare, inExpressClasses(bare), inExpressClasses(reprise())];
    const classRows = await series(inClasses, { answer: SMALL }, newKey('a-classes'), { rounds, progress });
    return {
      tables: [
        tableOf('A POST of 300 B, answered with 300 B, each with a key of its own', rows),
        tableOf('The same on a server whose requests have the prototypes of Express from the start', classRows),
      ],
      verdicts: [againstMap(rows, 0.5), aheadOfRivals(rows, 'new key')],
      bars: { series: 'new key', values: chartOf(rows) },
    };
  },
};

export const replayScenario = {
  id: 'b',
  title: 'Replay',
  async run({ rounds, progress, withLoad }) {
    const subjects = [bare, noOp, reprise(), ...RIVALS];
    const options = { rounds, progress, withLoad, loadKeys: KEYS };
    const rows = await series(subjects, { answer: SMALL }, sameKeys('b'), options);
    const slow = await series([bare, noOp, reprise()], { answer: SMALL, delayMs: 1 }, sameKeys('b-slow'), {
      rounds: Math.ceil(rounds / 3),
      progress,
    });
    return {
      tables: [
        tableOf('The same POST again: the handler does not run', rows),
        tableOf('The same, with a handler that takes 1 ms', slow),
      ],
      verdicts: [
        againstBare(rows, 0.85, 'replay'),
        aheadOfRivals(rows, 'replay'),
        againstBare(slow, 0.2, 'replay of a handler of 1 ms'),
      ],
      bars: { series: 'replay', values: chartOf(rows) },
    };
  },
};

export const largeScenario = {
  id: 'c',
  title: 'An answer of 10 KiB',
  async run({ rounds, progress }) {
    const subjects = [bare, noOp, reprise(), ...RIVALS.slice(0, 3)];
    const options = { rounds, progress };
    const fresh = await series(subjects, { answer: LARGE }, newKey('c'), options);
    const again = await series(subjects, { answer: LARGE }, sameKeys('c'), options);
    return {
      tables: [tableOf('New key', fresh), tableOf('Replay', again)],
      verdicts: [againstMap(fresh, 0.5), againstBare(again, 0.8, 'replay')],
    };
  },
};

export const derivedScenario = {
  id: 'd',
  title: 'A key derived from the request',
  async run({ rounds, progress }) {
    const options = { rounds, progress };
    // M is what the Map adds with a key: it cannot derive one.
    const keyed = await series([bare, noOp, handWritten], { answer: SMALL }, newKey('d'), options);
    const parsed = await series([bare, noOp, reprise()], { answer: SMALL }, derived(), options);
    const ours = reprise({ rawBody: (req) => req.rawBody });
    const raw = await series([bare, noOp, ours], { answer: SMALL, keepRawBody: true }, derived(), options);
    const map = find(keyed, handWritten.name);
    const verdict = (rows, limit, what) => againstMap([...rows, map], limit, 'reprise', what);
    return {
      tables: [
        tableOf('From parsed JSON', parsed),
        tableOf('From the bytes that express.json({ verify }) kept', raw),
        tableOf('The Map, with a key from the client', keyed),
      ],
      verdicts: [
        { ...verdict(parsed, 0.6), target: 'derived from parsed JSON ≤ 0.6 M' },
        { ...verdict(raw, 0.5), target: 'derived from the bytes ≤ 0.5 M' },
      ],
    };
  },
};

function chaos(name, options) {
  return {
    name,
    guard: () => {
      const chaos = createChaos({ seed: 1, ...options });
      return Object.assign(chaos.middleware(), { stop: () => chaos.close() });
    },
  };
}

export const chaosScenario = {
  id: 'i',
  title: 'Chaos',
  async run({ rounds, progress }) {
    const subjects = [
      bare,
      noOp,
      chaos('disarmed', { enabled: false }),
      chaos('armed, path excluded', { failureProbability: 1, excludedPaths: ['/orders'] }),
      chaos('armed, no rule for it', {
        rules: [{ name: 'other', fault: { kind: 'error' }, match: { paths: ['/other'] } }],
      }),
      chaos('armed, drawn, never hit', { failureProbability: 1e-12, latencyProbability: 1e-12 }),
    ];
    // What is to be told apart is less than a microsecond.
    const options = { rounds: 3 * rounds, progress };
    const rows = await series(subjects, { answer: SMALL }, newKey('i'), options);
    const [bareRow, plain, disarmed, excluded, unmatched] = rows;
    const beyondNoOp = disarmed.added.median - plain.added.median;
    const noise = (plain.added.high - plain.added.low) / 2 + (disarmed.added.high - disarmed.added.low) / 2;
    return {
      tables: [tableOf('Requests that chaos lets pass', rows)],
      verdicts: [
        {
          target: 'disarmed: as a no-op middleware, within the spread of both',
          measured: `${signed(beyondNoOp)} µs, spread ${micros(noise)} µs`,
          isMet: beyondNoOp <= noise,
        },
        ...[excluded, unmatched].map(({ name, added }) => {
          const share = (added.median - plain.added.median) / bareRow.time.median;
          const target = `${name}: ≤ 0.01 B beyond a no-op`;
          return { target, measured: `${ratio(share)} B`, isMet: share <= 0.01 };
        }),
      ],
    };
  },
};

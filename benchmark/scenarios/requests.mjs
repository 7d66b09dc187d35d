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
import { ratioOfMedians } from '../statistics.mjs';
import { micros, ratio, signed } from '../text.mjs';

/** What is to be told apart are microseconds: there are more rounds than of others. */
const SHARE_OF_ROUNDS = 3;
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

/**
 * The rows of one series of blocks, and of the load that follows.
 *
 * @param groups `{ subjects, handling }`: the first subject of each is the bare one, with which the others are compared
 */
async function series(groups, traffic, { rounds, progress, withLoad = false, loadKeys }) {
  const opened = groups.map(() => []);
  const all = () => opened.flat();
  try {
    for (const [at, { subjects, handling }] of groups.entries()) {
      for (const subject of subjects) opened[at].push(await open(subject, handling));
    }
    const paired = await measure(opened, {
      rounds,
      expectedBody: JSON.stringify(groups[0].handling.answer),
      onRound: (done, count) => progress(`round ${done} of ${count}`),
      ...traffic,
    });
    const onBlock = (done, count) => progress(`load ${done} of ${count}`);
    const loads = !withLoad ? [] : await load(all(), { body: REQUEST_BODY, keys: loadKeys, onBlock });
    return paired.map((row, at) => ({ ...row, ...loads[at] }));
  } finally {
    for (const server of all()) server.close();
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

/** What reprise adds, in shares of what the hand-written Map adds in the same rounds. */
function againstMap(rows, limit, what) {
  const own = find(rows, 'reprise').differences;
  const { ratio: share, low, high } = ratioOfMedians(own, find(rows, handWritten.name).differences);
  const measured = `${ratio(share)} M (${ratio(low)} … ${ratio(high)})`;
  return { target: `${what} ≤ ${limit} M`, measured, isMet: share <= limit };
}

function againstBare(rows, limit, what) {
  const share = find(rows, 'reprise').share.median;
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
    const handling = { answer: SMALL };
    const options = { rounds: rounds * SHARE_OF_ROUNDS, progress, withLoad };
    const rows = await series([{ subjects: [bare, noOp, reprise(), ...RIVALS], handling }], newKey('a'), options);
    const inClasses = [bare, inExpressClasses(bare), inExpressClasses(reprise())];
    const classRows = await series([{ subjects: inClasses, handling }], newKey('a-classes'), { rounds, progress });
    return {
      tables: [
        tableOf('A POST of 300 B, answered with 300 B, each with a key of its own', rows),
        tableOf('The same on a server whose requests have the prototypes of Express from the start', classRows),
      ],
      verdicts: [againstMap(rows, 0.5, 'new key'), aheadOfRivals(rows, 'new key')],
      bars: { series: 'new key', values: chartOf(rows) },
    };
  },
};

export const replayScenario = {
  id: 'b',
  title: 'Replay',
  async run({ rounds, progress, withLoad }) {
    const quick = { subjects: [bare, noOp, reprise(), ...RIVALS], handling: { answer: SMALL } };
    const options = { rounds: rounds * SHARE_OF_ROUNDS, progress, withLoad, loadKeys: KEYS };
    const rows = await series([quick], sameKeys('b'), options);
    const slow = { subjects: [bare, noOp, reprise()], handling: { answer: SMALL, delayMs: 1 } };
    const slowRows = await series([slow], sameKeys('b-slow'), { rounds, progress });
    return {
      tables: [
        tableOf('The same POST again: the handler does not run', rows),
        tableOf('The same, with a handler that takes 1 ms', slowRows),
      ],
      verdicts: [
        againstBare(rows, 0.85, 'replay'),
        aheadOfRivals(rows, 'replay'),
        againstBare(slowRows, 0.2, 'replay of a handler of 1 ms'),
      ],
      bars: { series: 'replay', values: chartOf(rows) },
    };
  },
};

export const largeScenario = {
  id: 'c',
  title: 'An answer of 10 KiB',
  async run({ rounds, progress }) {
    const groups = [{ subjects: [bare, noOp, reprise(), ...RIVALS.slice(0, 3)], handling: { answer: LARGE } }];
    const options = { rounds: rounds * SHARE_OF_ROUNDS, progress };
    const fresh = await series(groups, newKey('c'), options);
    const again = await series(groups, sameKeys('c'), options);
    return {
      tables: [tableOf('New key', fresh), tableOf('Replay', again)],
      verdicts: [againstMap(fresh, 0.5, 'new key'), againstBare(again, 0.8, 'replay')],
    };
  },
};

export const derivedScenario = {
  id: 'd',
  title: 'A key derived from the request',
  async run({ rounds, progress }) {
    const subjects = [bare, noOp, handWritten];
    const groups = [
      { subjects: [...subjects, reprise()], handling: { answer: SMALL } },
      // To keep the bytes costs a bare server something, too.
      {
        subjects: [...subjects, reprise({ rawBody: (req) => req.rawBody })],
        handling: { answer: SMALL, keepRawBody: true },
      },
    ];
    const rows = await series(groups, derived(), { rounds: rounds * SHARE_OF_ROUNDS, progress });
    const [parsed, raw] = [rows.slice(0, 4), rows.slice(4)];
    return {
      tables: [tableOf('From parsed JSON', parsed), tableOf('From the bytes that express.json({ verify }) kept', raw)],
      verdicts: [againstMap(parsed, 0.6, 'derived from parsed JSON'), againstMap(raw, 0.5, 'derived from the bytes')],
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
    const options = { rounds: rounds * SHARE_OF_ROUNDS, progress };
    const rows = await series([{ subjects, handling: { answer: SMALL } }], newKey('i'), options);
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

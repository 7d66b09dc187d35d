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
  repriseParsing,
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

/** Both ways to mount it: behind a parser, and in its place. */
const BEHIND = reprise();
const PARSING = repriseParsing();
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

/** What a subject adds, in shares of what the hand-written Map adds in the same rounds. */
function againstMap(rows, subject, limit, what) {
  const own = find(rows, subject.name).differences;
  const { ratio: share, low, high } = ratioOfMedians(own, find(rows, handWritten.name).differences);
  const measured = `${ratio(share)} M (${ratio(low)} … ${ratio(high)})`;
  return { target: `${what} ≤ ${limit} M`, measured, isMet: share <= limit };
}

function againstBare(rows, subject, limit, what) {
  const share = find(rows, subject.name).share.median;
  return { target: `${what} ≤ ${limit} B`, measured: `${ratio(share)} B`, isMet: share <= limit };
}

function aheadOfRivals(rows, subject, what) {
  const own = find(rows, subject.name).added.median;
  const rivals = RIVALS.map(({ name }) => find(rows, name));
  const ahead = rivals.filter(({ added }) => added.median <= own);
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
    const rows = await series([{ subjects: [bare, noOp, BEHIND, PARSING, ...RIVALS], handling }], newKey('a'), options);
    const inClasses = [bare, inExpressClasses(bare), inExpressClasses(reprise())];
    const classRows = await series([{ subjects: inClasses, handling }], newKey('a-classes'), { rounds, progress });
    return {
      tables: [
        tableOf('A POST of 300 B, answered with 300 B, each with a key of its own', rows),
        tableOf('The same on a server whose requests have the prototypes of Express from the start', classRows),
      ],
      verdicts: [
        againstMap(rows, PARSING, 0.5, 'new key, with parseJson'),
        aheadOfRivals(rows, PARSING, 'new key, with parseJson'),
        againstMap(rows, BEHIND, 0.5, 'new key, behind express.json()'),
        aheadOfRivals(rows, BEHIND, 'new key, behind express.json()'),
      ],
      bars: { series: 'new key', values: chartOf(rows) },
    };
  },
};

export const replayScenario = {
  id: 'b',
  title: 'Replay',
  async run({ rounds, progress, withLoad }) {
    const quick = { subjects: [bare, noOp, BEHIND, PARSING, ...RIVALS], handling: { answer: SMALL } };
    const options = { rounds: rounds * SHARE_OF_ROUNDS, progress, withLoad, loadKeys: KEYS };
    const rows = await series([quick], sameKeys('b'), options);
    const slow = { subjects: [bare, noOp, BEHIND, PARSING], handling: { answer: SMALL, delayMs: 1 } };
    const slowRows = await series([slow], sameKeys('b-slow'), { rounds, progress });
    return {
      tables: [
        tableOf('The same POST again: the handler does not run', rows),
        tableOf('The same, with a handler that takes 1 ms', slowRows),
      ],
      verdicts: [
        againstBare(rows, BEHIND, 0.85, 'replay'),
        aheadOfRivals(rows, BEHIND, 'replay'),
        againstBare(slowRows, BEHIND, 0.2, 'replay of a handler of 1 ms'),
      ],
      bars: { series: 'replay', values: chartOf(rows) },
    };
  },
};

export const largeScenario = {
  id: 'c',
  title: 'An answer of 10 KiB',
  async run({ rounds, progress }) {
    const groups = [{ subjects: [bare, noOp, BEHIND, PARSING, ...RIVALS.slice(0, 3)], handling: { answer: LARGE } }];
    const options = { rounds: rounds * SHARE_OF_ROUNDS, progress };
    const fresh = await series(groups, newKey('c'), options);
    const again = await series(groups, sameKeys('c'), options);
    return {
      tables: [tableOf('New key', fresh), tableOf('Replay', again)],
      verdicts: [
        againstMap(fresh, PARSING, 0.5, 'new key, with parseJson'),
        againstMap(fresh, BEHIND, 0.5, 'new key, behind express.json()'),
        againstBare(again, BEHIND, 0.8, 'replay'),
      ],
    };
  },
};

export const derivedScenario = {
  id: 'd',
  title: 'A key derived from the request',
  async run({ rounds, progress }) {
    const subjects = [bare, noOp, handWritten];
    const keeping = reprise({ rawBody: (req) => req.rawBody });
    const groups = [
      { subjects: [...subjects, BEHIND, PARSING], handling: { answer: SMALL } },
      // To keep the bytes costs a bare server something, too.
      { subjects: [...subjects, keeping], handling: { answer: SMALL, keepRawBody: true } },
    ];
    const rows = await series(groups, derived(), { rounds: rounds * SHARE_OF_ROUNDS, progress });
    const before = groups[0].subjects.length;
    const [parsed, raw] = [rows.slice(0, before), rows.slice(before)];
    return {
      tables: [
        tableOf('From parsed JSON, or with parseJson from the bytes', parsed),
        tableOf('From the bytes that express.json({ verify }) kept', raw),
      ],
      verdicts: [
        againstMap(parsed, PARSING, 0.5, 'derived with parseJson'),
        againstMap(parsed, BEHIND, 0.6, 'derived from parsed JSON'),
        againstMap(raw, keeping, 0.5, 'derived from the bytes that express.json({ verify }) kept'),
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

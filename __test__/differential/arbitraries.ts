import fc from 'fast-check';
import { UPSTREAM_PATHS } from './fixtures.js';
import type { Behaviour, Chunk, Client, Handler, Layer, Scenario, Step, Timed, When } from './scenario.js';

const flag = (weight = 1) => fc.constantFrom<boolean>(...Array.from({ length: weight }, () => false), true);

const chunk: fc.Arbitrary<Chunk> = fc.record(
  {
    as: fc.constantFrom<Chunk['as']>(
      'string',
      'buffer',
      'uint8array',
      'foreign',
      'reused',
      'latin1',
      'hex',
      'base64',
      'utf16le',
      'string',
      'buffer',
      'string',
      'buffer',
    ),
    text: fc.constantFrom('a', 'piece', 'Grüße, €', 'x'.repeat(30), ''),
    times: fc.constantFrom(1, 1, 1, 1, 60, 1000),
  },
  { requiredKeys: ['as', 'text'] },
);

const body: fc.Arbitrary<Chunk> = fc.oneof(
  { weight: 8, arbitrary: chunk },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Chunk>(
      { as: 'number', text: 'five' },
      { as: 'null', text: '' },
      { as: 'object', text: 'o' },
    ),
  },
);

const code = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(200, 201, 202, 206, 400, 404, 409) },
  { weight: 2, arbitrary: fc.constantFrom(103, 204, 205, 304, 301, 401, 429, 500, 503) },
);

const field = fc.constantFrom<readonly [string, string | number]>(
  ['X-A', '1'],
  ['X-A', '2'],
  ['x-b', 'two'],
  ['Link', '<a>; rel=next'],
  ['Link', '<b>; rel=prev'],
  ['X-Name', 'ü'],
  ['Content-Type', 'text/plain'],
  ['Content-Type', 'application/json'],
  ['Content-Type', 'text/event-stream'],
  ['Content-Length', 3],
  ['Content-Length', 5],
  ['Content-Length', 40],
  ['Transfer-Encoding', 'chunked'],
  ['ETag', '"v1"'],
  ['Set-Cookie', 'own=1'],
  ['Connection', 'close'],
  ['Trailer', 'X-Sum'],
  ['Cache-Control', 'no-transform'],
  ['Vary', 'Origin'],
  ['X-Powered-By', 'us'],
  ['X-Bad', 'a\nb'],
);

/** Which of two lengths counts, every client sees for itself. */
function withOneLength(fields: readonly (readonly [string, string | number])[]): typeof fields {
  const first = fields.findIndex(([name]) => name === 'Content-Length');
  return fields.filter(([name], i) => name !== 'Content-Length' || i === first);
}

/** What is done to a head before anything is sent. */
const prelude: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: field.map(([name, value]): Step => ({ do: 'set', name, value })) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'set', name: 'Link', value: ['<a>', '<b>'] }) },
  { weight: 2, arbitrary: code.map((code): Step => ({ do: 'status', code })) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'status', code: null }, { do: 'status', code: 1000 }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'message', text: 'Quite So' }, { do: 'message', text: 'né' }) },
  {
    weight: 1,
    arbitrary: field.map(([name, value]): Step =>
      name === 'Content-Length' ? { do: 'look' } : { do: 'append', name, value: String(value) },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Step>({ do: 'remove', name: 'X-Powered-By' }, { do: 'remove', name: 'X-A' }),
  },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'hints' }, { do: 'continue' }, { do: 'processing' }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'strict' }, { do: 'session' }, { do: 'read' }, { do: 'look' }) },
);

const writeHead: fc.Arbitrary<Step> = fc.record(
  {
    do: fc.constant('writeHead' as const),
    code,
    reason: fc.constantFrom('Grown', ''),
    form: fc.constantFrom<'none' | 'object' | 'flat' | 'pairs'>('none', 'object', 'flat', 'pairs'),
    fields: fc.oneof(
      { weight: 3, arbitrary: fc.array(field, { maxLength: 4 }).map(withOneLength) },
      { weight: 1, arbitrary: fc.constant([['Link', '<a>; rel=next'] as const, ['Link', '<b>; rel=prev'] as const]) },
    ),
  },
  { requiredKeys: ['do', 'code', 'form', 'fields'] },
);

const write = fc.record({ do: fc.constant('write' as const), chunk: body, callback: flag(3) });
const end: fc.Arbitrary<Step> = fc.record(
  { do: fc.constant('end' as const), chunk: body, callback: flag(2) },
  { requiredKeys: ['do', 'callback'] },
);

/** The ways of answering in one step. */
const whole: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .constantFrom<unknown>({ paid: true }, null, 'text', [1, 2], undefined)
      .map((value): Step => ({ do: 'json', value })),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('send' as const), chunk: body }, { requiredKeys: ['do'] }) },
  { weight: 4, arbitrary: end },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('sendFile' as const, 'download' as const),
      file: fc.constantFrom('small' as const, 'large' as const, 'empty' as const, 'missing' as const),
      callback: flag(),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'redirect', code: 302 }, { do: 'redirect', code: 303 }) },
  { weight: 1, arbitrary: code.map((code): Step => ({ do: 'sendStatus', code })) },
  { weight: 1, arbitrary: fc.constantFrom(...UPSTREAM_PATHS).map((path): Step => ({ do: 'proxy', path })) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('stream' as const),
      how: fc.constantFrom('pipe' as const, 'pipeline' as const, 'iterate' as const),
      pieces: fc.array(fc.constantFrom('a', 'piece', 'x'.repeat(40), 'y'.repeat(5000)), { maxLength: 4 }),
      breaks: flag(4),
      slow: flag(),
    }),
  },
);

/** What comes too late, or goes wrong. */
const late: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: end },
  { weight: 2, arbitrary: write },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Step>({ do: 'json', value: { second: true } }, { do: 'sendStatus', code: 500 }),
  },
  { weight: 2, arbitrary: field.map(([name, value]): Step => ({ do: 'set', name, value })) },
  { weight: 1, arbitrary: writeHead },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Step>({ do: 'throw' }, { do: 'next', error: true }, { do: 'next', error: false }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('destroy' as const),
      what: fc.constantFrom('res' as const, 'req' as const, 'socket' as const),
      error: flag(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Step>({ do: 'look' }, { do: 'flushHeaders' }, { do: 'session' }, { do: 'trailers' }),
  },
);

const when = fc.constantFrom<When>('now', 'now', 'now', 'now', 'microtask', 'tick', 'immediate', 'timer', 'later');
const timed = (step: fc.Arbitrary<Step>): fc.Arbitrary<Timed> => fc.record({ when, step });

const between: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: write },
  { weight: 2, arbitrary: writeHead },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Step>(
      { do: 'flushHeaders' },
      { do: 'cork' },
      { do: 'uncork' },
      { do: 'trailers' },
      { do: 'look' },
    ),
  },
);

/** Whether a file or another server is faster than a timer is a matter of moments: behind them all steps come at once. */
function withoutRaces(steps: readonly Timed[]): Timed[] {
  const from = steps.findIndex(({ step }) => ['sendFile', 'download', 'proxy'].includes(step.do));
  return steps.map((timed, i) => (from < 0 || i <= from ? timed : { ...timed, when: 'now' }));
}

const steps: fc.Arbitrary<Timed[]> = fc
  .tuple(
    fc.array(timed(prelude), { maxLength: 3 }),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant<Timed[]>([]) },
      { weight: 2, arbitrary: fc.array(timed(between), { maxLength: 3 }) },
    ),
    fc.oneof({ weight: 12, arbitrary: fc.tuple(timed(whole)) }, { weight: 1, arbitrary: fc.constant<Timed[]>([]) }),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant<Timed[]>([]) },
      { weight: 2, arbitrary: fc.array(timed(late), { maxLength: 2 }) },
    ),
  )
  .map((parts) => withoutRaces(parts.flat()));

const handler: fc.Arbitrary<Handler> = fc.record({
  form: fc.constantFrom('sync', 'async'),
  onError: fc.constantFrom('throw', 'throw', 'next', 'catch'),
  listens: flag(),
  steps,
});

const layer: fc.Arbitrary<Layer> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom<Layer>({ use: 'compression', threshold: 0 }, { use: 'compression', threshold: 1024 }),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Layer>(
      { use: 'express-session', saveUninitialized: true },
      { use: 'express-session', saveUninitialized: false },
      { use: 'cookie-session' },
    ),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Layer>(
      { use: 'cors' },
      { use: 'helmet' },
      { use: 'morgan', immediate: false },
      { use: 'response-time' },
      { use: 'rate-limit' },
      { use: 'method-override' },
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Layer>(
      { use: 'mung-json' },
      { use: 'mung-json-async' },
      { use: 'mung-headers' },
      { use: 'mung-headers-async' },
      { use: 'mung-write' },
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Layer>(
      { use: 'json' },
      { use: 'urlencoded' },
      { use: 'raw' },
      { use: 'multer' },
      { use: 'fileupload' },
    ),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Layer>(
      { use: 'on-finished' },
      { use: 'on-headers' },
      { use: 'header-in-end' },
      { use: 'header-in-write' },
      { use: 'header-in-write-head' },
      { use: 'late-end', ms: 2 },
      { use: 'wraps-set-header' },
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Layer>(
      { use: 'sets', name: 'X-A', value: 'outer' },
      { use: 'sets', name: 'Link', value: ['<a>', '<c>'] },
      { use: 'sets', name: 'Vary', value: 'Accept' },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Layer>(
      { use: 'timeout', ms: 1000 },
      { use: 'timeout', ms: 30 },
      { use: 'watchdog', ms: 30 },
      { use: 'watchdog', ms: 1000 },
    ),
  },
);

const layers = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Layer[]>([]) },
  { weight: 3, arbitrary: fc.array(layer, { maxLength: 3 }) },
);

const does: fc.Arbitrary<Behaviour> = fc.oneof(
  { weight: 12, arbitrary: fc.constant<Behaviour>({ is: 'plain' }) },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Behaviour>({ is: 'split' }, { is: 'slow' }, { is: 'half-close' }, { is: 'pipeline' }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      is: fc.constant('abort' as const),
      after: fc.constantFrom<number | 'first-byte'>(0, 1, 3, 'first-byte'),
      reset: flag(),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom<Behaviour>({ is: 'broken-upload' }, { is: 'garbage' }) },
);

const accepts = fc.constantFrom(null, 'gzip', 'identity', 'br, gzip', 'deflate');

const client: fc.Arbitrary<Client> = fc.record({
  version: fc.constantFrom('1.1', '1.1', '1.1', '1.1', '1.0'),
  connection: fc.constantFrom('close', 'keep-alive'),
  accepts,
  acceptsThen: accepts,
  body: fc.constantFrom('none', 'json', 'chunked-json', 'form', 'text', 'multipart'),
  does,
  isHasty: flag(),
});

/** Whoever keeps a buffer that is used again sends its other bytes: middleware, a cork, a response that waits for its turn. */
function withoutReuse(scenario: Scenario): Scenario {
  const { outside, inside, client, handler } = scenario;
  const isKept = ['slow', 'pipeline'].includes(client.does.is) || handler.steps.some(({ step }) => step.do === 'cork');
  if (outside.length + inside.length === 0 && !isKept) return scenario;
  const steps = handler.steps.map((timed): Timed => {
    const { step } = timed;
    return 'chunk' in step && step.chunk.as === 'reused'
      ? { ...timed, step: { ...step, chunk: { ...step.chunk, as: 'buffer' } } }
      : timed;
  });
  return { ...scenario, handler: { ...handler, steps } };
}

/** The scenario with a handler that waits for a body that breaks off. */
function uploaded({ key, express, handler, client }: Scenario, minds: boolean): Scenario {
  const steps: Timed[] = [{ when: 'now', step: { do: 'read', minds } }, ...handler.steps];
  const does: Behaviour = { is: 'broken-upload' };
  return {
    express,
    key,
    store: 'memory',
    mounts: 'idempotency',
    outside: [],
    inside: [],
    handler: { ...handler, steps },
    client: { ...client, body: 'text', does, isHasty: false },
  };
}

const anyScenario: fc.Arbitrary<Scenario> = fc.record(
  {
    express: fc.constantFrom<4 | 5>(5, 4),
    store: fc.constantFrom('memory', 'simple', 'atomic', 'file'),
    mounts: fc.constantFrom('idempotency', 'idempotency', 'idempotency', 'idempotency', 'chaos', 'both'),
    key: fc.constantFrom('explicit', 'explicit', 'explicit', 'derived'),
    maxResponseBytes: fc.constantFrom(50, 1_000_000),
    waits: flag(2),
    outside: layers,
    inside: layers,
    handler,
    client,
  },
  { requiredKeys: ['express', 'store', 'mounts', 'key', 'outside', 'inside', 'handler', 'client'] },
);

/** All scenarios. */
export const scenarios = fc.oneof(
  { weight: 20, arbitrary: anyScenario.map(withoutReuse) },
  { weight: 1, arbitrary: fc.tuple(anyScenario, flag()).map(([scenario, minds]) => uploaded(scenario, minds)) },
);

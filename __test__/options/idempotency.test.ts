import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Request, Response } from 'express';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  idempotencyMiddleware,
  MemoryStore,
  type IdempotencyEvent,
  type IdempotencyHandler,
  type IdempotencyOptions,
  type IdempotencyStore,
} from '../../ts/index.js';
import { expresses, gate, send, serve, type Running } from '../helpers/server.js';

const SECRET = 'the-clients-own-key';

function loggerOfPino() {
  return { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
}

function simpleStore(): IdempotencyStore {
  return { get: () => null, set: () => undefined, delete: () => undefined };
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

describe('bad options throw at start, naming the option, its value and what is allowed', () => {
  it.each<[unknown, string, string]>([
    [{ ttl: -5 }, 'RangeError', 'option "ttl" is -5; allowed: a number of seconds from 0.001 to 315360000'],
    [{ ttl: NaN }, 'RangeError', 'option "ttl" is NaN; allowed: a number of seconds'],
    [{ ttl: '60' }, 'TypeError', 'option "ttl" is "60"; allowed: a number of seconds'],
    [{ derivedTtl: 0 }, 'RangeError', 'option "derivedTtl" is 0; allowed: a number of seconds'],
    [{ methods: 'POST' }, 'TypeError', 'option "methods" is "POST"; allowed: an array of methods'],
    [{ methods: [] }, 'RangeError', 'option "methods" is []; allowed: an array of methods'],
    [
      { store: {} },
      'TypeError',
      'option "store" is an object; allowed: a MemoryStore, a store that holds the contract',
    ],
    [{ store: null }, 'TypeError', 'option "store" is null; allowed: a MemoryStore'],
    [{ headerName: 'a b' }, 'RangeError', 'option "headerName" is "a b"; allowed: the name of a header'],
    [{ headerName: '' }, 'RangeError', 'option "headerName" is ""; allowed: the name of a header'],
    [{ rawBody: true }, 'TypeError', 'option "rawBody" is true; allowed: a function (req) => Uint8Array | undefined'],
    [{ parseJson: 'yes' }, 'TypeError', 'option "parseJson" is "yes"; allowed: true or false'],
    [{ maxRequestBytes: '1mb' }, 'TypeError', 'option "maxRequestBytes" is "1mb"; allowed: a whole number of bytes'],
    [{ maxRequestBytes: 0 }, 'RangeError', 'option "maxRequestBytes" is 0; allowed: a whole number of bytes from 1 to'],
    [{ maxRequestBytes: 2.5 }, 'RangeError', 'option "maxRequestBytes" is 2.5; allowed: a whole number of bytes'],
    [{ maxRequestBytes: 1 }, 'TypeError', 'option "maxRequestBytes" is 1; allowed: one only with parseJson: true'],
    [{ scope: 'tenant' }, 'TypeError', 'option "scope" is "tenant"; allowed: a function (req) => string | undefined'],
    [{ missingKey: 'ignore' }, 'RangeError', `option "missingKey" is "ignore"; allowed: 'derive' | 'pass' | 'reject'`],
    [{ onConcurrent: 'queue' }, 'RangeError', `option "onConcurrent" is "queue"; allowed: 'reject' | 'wait'`],
    [{ waitTimeoutMs: 0 }, 'RangeError', 'option "waitTimeoutMs" is 0; allowed: a whole number of milliseconds'],
    [{ leaseMs: 1.5 }, 'RangeError', 'option "leaseMs" is 1.5; allowed: a whole number of milliseconds'],
    [{ storeTimeoutMs: Infinity }, 'RangeError', 'option "storeTimeoutMs" is Infinity; allowed: a whole number'],
    [
      { onStoreError: 'open' },
      'RangeError',
      `option "onStoreError" is "open"; allowed: 'fail' | 'pass', or a function`,
    ],
    [{ maxResponseBytes: -1 }, 'RangeError', 'option "maxResponseBytes" is -1; allowed: a whole number of bytes'],
    [{ replaySetCookie: 1 }, 'TypeError', 'option "replaySetCookie" is 1; allowed: true or false'],
    [{ logger: { info: () => 1 } }, 'TypeError', 'option "logger" is an object; allowed: a logger with debug, info'],
    [{ silence: ['WRN'] }, 'RangeError', 'option "silence" is ["WRN"]; allowed: an array of WRN_REPRISE_'],
    [[], 'TypeError', 'options are []; allowed: an object'],
    ['ttl', 'TypeError', 'options are "ttl"; allowed: an object'],
  ])('%o', (options, name, message) => {
    expect(() => idempotencyMiddleware(options as IdempotencyOptions)).toThrow(
      expect.objectContaining({
        name,
        code: 'ERR_REPRISE_INVALID_OPTION',
        message: expect.stringContaining(`idempotencyMiddleware: ${message}`) as string,
      }) as Error,
    );
  });

  it.each([
    ['tll', 'did you mean "ttl"?'],
    ['headername', 'did you mean "headerName"?'],
    ['leaseMS', 'did you mean "leaseMs"?'],
    ['somethingElseAltogether', 'known: headerName, ttl, methods'],
  ])('an unknown name, with the nearest: %s', (name, hint) => {
    expect(() => idempotencyMiddleware({ [name]: 1 })).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_REPRISE_UNKNOWN_OPTION',
        message: expect.stringContaining(`idempotencyMiddleware: unknown option "${name}"; ${hint}`) as string,
      }) as Error,
    );
  });

  it('undefined counts as absent', () => {
    expect(() => {
      void idempotencyMiddleware({ ttl: undefined, store: undefined } as unknown as IdempotencyOptions).close();
    }).not.toThrow();
  });
});

describe('warnings', () => {
  it('are given once by each middleware to its logger', () => {
    const logger = loggerOfPino();
    idempotencyMiddleware({ store: simpleStore(), logger });
    expect(logger.warn).toHaveBeenCalledExactlyOnceWith(
      { code: 'WRN_REPRISE_STORE_NOT_ATOMIC' },
      expect.stringContaining('get, set and delete'),
    );
  });

  it('are given once by the process where there is no logger', () => {
    const emitted = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    for (let i = 0; i < 3; i++) idempotencyMiddleware({ store: simpleStore() });
    expect(emitted).toHaveBeenCalledExactlyOnceWith(expect.any(String), {
      type: 'RepriseWarning',
      code: 'WRN_REPRISE_STORE_NOT_ATOMIC',
      detail: 'See docs/errors/WRN_REPRISE_STORE_NOT_ATOMIC.md',
    });
  });

  it('are not given where silenced', () => {
    const logger = loggerOfPino();
    idempotencyMiddleware({ store: simpleStore(), logger, silence: ['WRN_REPRISE_STORE_NOT_ATOMIC'] });
    expect(logger.warn).not.toHaveBeenCalled();
  });

  it('§3 another identity, no scope configured: said at start in production', () => {
    vi.stubEnv('NODE_ENV', 'production');
    vi.stubEnv('WEB_CONCURRENCY', '1');
    const [bare, scoped] = [loggerOfPino(), loggerOfPino()];
    idempotencyMiddleware({ logger: bare });
    idempotencyMiddleware({ logger: scoped, scope: () => 'a' });
    expect(bare.warn.mock.calls.map(([fields]) => fields as unknown)).toEqual([{ code: 'WRN_REPRISE_NO_SCOPE' }]);
    expect(scoped.warn).not.toHaveBeenCalled();
  });

  it('§7 MemoryStore in one of several processes: said at start in production', () => {
    vi.stubEnv('NODE_ENV', 'production');
    vi.stubEnv('WEB_CONCURRENCY', '4');
    const logger = loggerOfPino();
    idempotencyMiddleware({ logger, scope: () => 'a' });
    expect(logger.warn.mock.calls[0]?.[0]).toEqual({ code: 'WRN_REPRISE_MEMORY_STORE_IN_PRODUCTION' });
  });
});

describe.each(expresses)('$name', ({ express }) => {
  async function appOf(options: IdempotencyOptions = {}) {
    const guard = idempotencyMiddleware(options);
    onTestFinished(() => {
      void guard.close();
    });
    const held = gate();
    const app = express().use(express.json(), guard);
    app.post(['/', '/other'], (req: Request, res: Response) => {
      if (req.headers['x-hold']) void held.opened.then(() => res.send('late'));
      else res.status(201).send('made');
    });
    return { guard, server: await serve(app), held };
  }

  it('a middleware that is created inside a handler is warned about', async () => {
    const logger = loggerOfPino();
    const app = express();
    app.use((req, res, next) => {
      idempotencyMiddleware({ logger })(req, res, next);
    });
    app.post('/', (_req, res) => res.send('ran'));
    const server = await serve(app);
    expect((await send(server, { key: 'k' })).text).toBe('ran');
    expect(logger.warn).toHaveBeenCalledExactlyOnceWith(
      { code: 'WRN_REPRISE_CREATED_IN_REQUEST' },
      expect.stringContaining('call it once, at start'),
    );
  });

  it('one that is created before, or called by a test with stand-ins, is not', async () => {
    const logger = loggerOfPino();
    const guard = idempotencyMiddleware({ logger });
    const next = vi.fn();
    idempotencyMiddleware({ logger })({ method: 'GET', headers: {} } as never, {} as never, next);
    expect(next).toHaveBeenCalledOnce();
    const app = express().use(guard);
    app.post('/', (_req, res) => res.send('ran'));
    await send(await serve(app), { key: 'k' });
    expect(logger.warn).not.toHaveBeenCalled();
  });

  it("starts where the program's own stack traces are no texts", () => {
    const before = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace') ?? { value: undefined };
    Error.prepareStackTrace = (_error, sites) => sites;
    try {
      new MemoryStore().close();
      void idempotencyMiddleware().close();
    } finally {
      Object.defineProperty(Error, 'prepareStackTrace', before);
    }
  });

  /** One request for each of claim, replay, mismatch and conflict; the last is told by a second key. */
  async function makeEvents({
    server,
    guard,
    held,
  }: {
    server: Running;
    guard: IdempotencyHandler;
    held: { open(): void };
  }) {
    await send(server, { key: SECRET, body: { a: 1 } });
    await send(server, { key: SECRET, body: { a: 1 } });
    await send(server, { key: SECRET, body: { a: 2 } });
    const late = send(server, { key: `${SECRET}-2`, headers: { 'X-Hold': '1' } });
    await vi.waitFor(() => {
      expect(guard.metrics().running).toBe(1);
    });
    await send(server, { key: `${SECRET}-2` });
    held.open();
    await late;
  }

  it("a logger of pino's shape is told of each request, never the client's key", async () => {
    const logger = loggerOfPino();
    const app = await appOf({ logger });
    await makeEvents(app);
    const fieldsOf = (level: keyof typeof logger) => logger[level].mock.calls.map(([fields]) => fields as object);
    const common = { method: 'POST', path: '/', record: expect.stringMatching(/^[0-9a-f]{64}$/) as string };
    expect(fieldsOf('debug')).toEqual([
      { ...common, event: 'idempotency.claim', fence: expect.any(Number) as number },
      { ...common, event: 'idempotency.replay' },
      { ...common, event: 'idempotency.claim', fence: expect.any(Number) as number },
    ]);
    expect(fieldsOf('warn')).toEqual([{ ...common, event: 'idempotency.mismatch', differs: 'fingerprint' }]);
    expect(fieldsOf('info')).toEqual([{ ...common, event: 'idempotency.conflict' }]);
    const all = Object.values(logger).flatMap((level) => level.mock.calls);
    expect(JSON.stringify(all)).not.toContain(SECRET);
  });

  it('a logger that throws fails no request', async () => {
    const logger = loggerOfPino();
    for (const level of Object.values(logger)) {
      level.mockImplementation(() => {
        throw new Error('disk full');
      });
    }
    const { server } = await appOf({ logger });
    expect((await send(server, { key: 'k' })).status).toBe(201);
    expect((await send(server, { key: 'k' })).isReplay).toBe(true);
  });

  it("diagnostics_channel: claim, replay, mismatch, conflict and store-error, without the client's key", async () => {
    const seen: IdempotencyEvent[] = [];
    const listen = (event: unknown) => {
      seen.push(event as IdempotencyEvent);
    };
    const types = ['claim', 'replay', 'mismatch', 'conflict', 'store-error'] as const;
    for (const type of types) subscribe(`reprise:idempotency:${type}`, listen);
    onTestFinished(() => {
      for (const type of types) unsubscribe(`reprise:idempotency:${type}`, listen);
    });
    await makeEvents(await appOf());
    const error = new Error('down');
    const broken = { ...simpleStore(), get: () => Promise.reject(error) };
    const { server } = await appOf({ store: broken, silence: ['WRN_REPRISE_STORE_NOT_ATOMIC'] });
    await send(server, { key: SECRET });
    expect(seen.map(({ type }) => type)).toEqual(['claim', 'replay', 'mismatch', 'claim', 'conflict', 'store-error']);
    expect(seen[2]).toMatchObject({ differs: 'fingerprint' });
    expect(seen[5]).toMatchObject({ error, phase: 'claim' });
    expect(seen[0]?.recordKey).toBe(seen[1]?.recordKey);
    for (const { req, ...event } of seen) {
      expect(req.method).toBe('POST');
      expect(event.recordKey).toMatch(/^[0-9a-f]{64}$/);
      expect(JSON.stringify(event)).not.toContain(SECRET);
    }
  });

  it('inspect, forget and metrics', async () => {
    const { guard, server } = await appOf();
    expect(await guard.inspect('k')).toBeUndefined();
    expect(await guard.forget('k')).toBe(false);
    await send(server, { key: 'k' });
    const record = await guard.inspect('k');
    expect(record).toMatchObject({ state: 'completed', statusCode: 201, bodyBytes: 4 });
    expect(record?.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(JSON.stringify(record)).not.toContain('made');
    await send(server, { key: 'k', path: '/other' });
    await expect(guard.inspect('k')).rejects.toMatchObject({ code: 'ERR_REPRISE_AMBIGUOUS_KEY' });
    expect(await guard.inspect('k', undefined, { method: 'POST', path: '/' })).toEqual({
      ...record,
      leftMs: expect.any(Number) as number,
    });
    expect(await guard.forget('k', undefined, { method: 'POST', path: '/other' })).toBe(true);
    expect((await send(server, { key: 'k' })).isReplay).toBe(true);
    expect((await send(server, { key: 'k', path: '/other' })).isReplay).toBe(false);
    expect(await guard.forget('k')).toBe(true);
    expect((await send(server, { key: 'k' })).isReplay).toBe(false);
    expect(guard.metrics()).toEqual({
      claims: 4,
      replays: 1,
      conflicts: 0,
      mismatches: 0,
      invalidKeys: 0,
      unanswerable: 0,
      storeErrors: 0,
      running: 0,
      waiting: 0,
    });
  });
});

import type { ErrorRequestHandler, NextFunction, Request, Response } from 'express';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  idempotencyMiddleware,
  MemoryStore,
  type IdempotencyContext,
  type IdempotencyHandler,
  type IdempotencyOptions,
} from '../../ts/index.js';
import { expresses, gate, send, serve, type Received, type Running } from '../helpers/server.js';

type Handler = (req: Request, res: Response, next: NextFunction) => unknown;

interface App {
  readonly server: Running;
  readonly guard: IdempotencyHandler;
  /** The fence of each run. */
  readonly fences: number[];
}

function context(req: Request): IdempotencyContext {
  if (req.idempotency === undefined) throw new Error('The request is not guarded');
  return req.idempotency;
}

function expectProblem(answer: Received, status: number, code: string): void {
  expect(answer.status).toBe(status);
  expect(JSON.parse(answer.text)).toMatchObject({ code, status });
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(expresses)('$name', ({ name, express }) => {
  /** An app of which each run is the next of these handlers; the last one stays. */
  async function appOf(options: IdempotencyOptions, ...handlers: Handler[]): Promise<App> {
    const guard = idempotencyMiddleware(options);
    onTestFinished(() => {
      void guard.close();
    });
    const fences: number[] = [];
    const app = express().set('env', 'test');
    app.use(express.json(), guard);
    app.post('/', (req, res, next) => {
      fences.push(context(req).fence);
      return handlers[Math.min(fences.length, handlers.length) - 1]?.(req, res, next);
    });
    app.post('/', (_req, res) => res.send('the next route'));
    app.use(((_error, _req, res, _next) => {
      if (!res.headersSent) res.status(500).send('failed');
    }) as ErrorRequestHandler);
    return { server: await serve(app), guard, fences };
  }

  const answers: Handler = (_req, res) => res.status(201).send('made');

  describe('§4.5 a failure releases the key: the retry runs, with a higher fence', () => {
    const failures: [string, Handler][] = [
      ['a 500', (_req, res) => res.status(500).send('failed')],
      ['a 503', (_req, res) => res.status(503).json({ why: 'busy' })],
      [
        'a throw',
        () => {
          throw new Error('thrown');
        },
      ],
      [
        'next(error)',
        (_req, _res, next) => {
          next(new Error('passed on'));
        },
      ],
      [
        'next(error), later',
        (_req, _res, next) => {
          setImmediate(() => {
            next(new Error('passed on'));
          });
        },
      ],
    ];
    if (name === 'Express 5') failures.push(['a rejected promise', () => Promise.reject(new Error('rejected'))]);

    it.each(failures)('%s', async (_name, failure) => {
      const { server, fences, guard } = await appOf({}, failure, answers);
      expect((await send(server, { key: 'k' })).status).toBeGreaterThanOrEqual(500);
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'made', isReplay: false });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'made', isReplay: true });
      expect(fences).toHaveLength(2);
      expect(fences[1]).toBeGreaterThan(fences[0] ?? Infinity);
      expect(guard.metrics()).toMatchObject({ claims: 2, replays: 1, running: 0 });
    });
  });

  describe('§4.5 which answers are stored', () => {
    it.each([401, 407, 408, 421, 423, 425, 429, 500, 502, 503, 504])('%d is not: the retry runs', async (status) => {
      const { server, fences } = await appOf({}, (_req, res) => res.status(status).send('no'), answers);
      expect((await send(server, { key: 'k' })).status).toBe(status);
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, isReplay: false });
      expect(fences).toHaveLength(2);
    });

    it.each([200, 201, 202, 204, 301, 303, 307, 400, 402, 403, 404, 409, 410, 422])('%d is', async (status) => {
      const { server, fences } = await appOf({}, (_req, res) => res.status(status).send('so'), answers);
      const first = await send(server, { key: 'k' });
      const second = await send(server, { key: 'k' });
      expect(first).toMatchObject({ status, isReplay: false });
      expect(second).toMatchObject({ status, text: first.text, isReplay: true });
      expect(fences).toHaveLength(1);
    });

    it('a 404 that falls through the routes is', async () => {
      const { server } = await appOf({});
      const first = await send(server, { path: '/nowhere', key: 'k' });
      expect(first).toMatchObject({ status: 404, isReplay: false });
      expect(await send(server, { path: '/nowhere', key: 'k' })).toMatchObject({
        status: 404,
        text: first.text,
        isReplay: true,
      });
    });

    it("what comes after next('route') is", async () => {
      const { server, fences } = await appOf({}, (_req, _res, next) => {
        next('route');
      });
      expect(await send(server, { key: 'k' })).toMatchObject({ text: 'the next route', isReplay: false });
      expect(await send(server, { key: 'k' })).toMatchObject({ text: 'the next route', isReplay: true });
      expect(fences).toHaveLength(1);
    });

    it('shouldStore decides otherwise', async () => {
      const seen: unknown[] = [];
      const { server, fences } = await appOf(
        {
          shouldStore: ({ statusCode }, req) => {
            seen.push([req.method, statusCode]);
            return statusCode === 500;
          },
        },
        answers,
        (_req, res) => res.status(500).send('kept'),
      );
      expect((await send(server, { key: 'k' })).status).toBe(201);
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 500, isReplay: false });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 500, text: 'kept', isReplay: true });
      expect(fences).toHaveLength(2);
      expect(seen).toContainEqual(['POST', 201]);
      expect(seen).toContainEqual(['POST', 500]);
    });

    it('where shouldStore throws, the default rule decides, with a warning', async () => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
      const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
      const { server, fences } = await appOf(
        {
          logger,
          shouldStore: () => {
            throw new Error('a fault of the user');
          },
        },
        (_req, res) => res.status(500).send('failed'),
        answers,
      );
      expect((await send(server, { key: 'k' })).status).toBe(500);
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, isReplay: false });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, isReplay: true });
      expect(fences).toHaveLength(2);
      expect(logger.warn).toHaveBeenCalledExactlyOnceWith(
        { code: 'WRN_REPRISE_SHOULD_STORE_FAILED' },
        expect.stringContaining('shouldStore'),
      );
      expect(warn).not.toHaveBeenCalled();
    });
  });

  describe('§4.8 req.idempotency', () => {
    it('noStore() lets the retry run', async () => {
      const { server, fences } = await appOf({}, (req, res) => {
        context(req).noStore();
        res.status(200).send(`run ${context(req).fence}`);
      });
      const first = await send(server, { key: 'k' });
      const second = await send(server, { key: 'k' });
      expect(second).toMatchObject({ status: 200, isReplay: false });
      expect(second.text).not.toBe(first.text);
      expect(fences).toHaveLength(2);
    });

    it('key is what the client sent, without its quotes', async () => {
      const { server } = await appOf({}, (req, res) => res.json(context(req).key));
      expect((await send(server, { key: '"order-1"' })).text).toBe('"order-1"');
    });

    it('derive(name) is one key for all runs, and another for another name or key', async () => {
      const derived: string[] = [];
      const { server } = await appOf({}, (req, res) => {
        derived.push(context(req).derive('charge'), context(req).derive('mail'));
        res.status(500).end();
      });
      await send(server, { key: 'a' });
      await send(server, { key: 'a' });
      await send(server, { key: 'b' });
      expect(derived.slice(0, 2)).toEqual(derived.slice(2, 4));
      expect(new Set(derived).size).toBe(4);
      for (const key of derived) expect(key).toMatch(/^[0-9a-f]{64}$/);
    });
  });

  describe('§4.8 after commitPoint()', () => {
    const fails: Handler = async (req, res) => {
      expect(await context(req).commitPoint()).toBe(true);
      res.status(500).send('failed');
    };

    it.each<[string, Handler]>([
      ['a 500', fails],
      [
        'next(error)',
        async (req, _res, next) => {
          await context(req).commitPoint();
          next(new Error('failed'));
        },
      ],
      [
        'a destroyed socket',
        async (req, res) => {
          await context(req).commitPoint();
          res.destroy();
        },
      ],
    ])('%s is 409 indeterminate to the retry', async (_name, failure) => {
      const { server, fences, guard } = await appOf({}, failure, answers);
      await send(server, { key: 'k' }).catch(() => undefined);
      expectProblem(await send(server, { key: 'k' }), 409, 'indeterminate');
      expect(fences).toHaveLength(1);
      expect(await guard.inspect('k')).toMatchObject({ state: 'indeterminate' });
      expect(guard.metrics().unanswerable).toBe(1);
    });

    it('an answer is stored as ever', async () => {
      const { server, fences } = await appOf({}, async (req, res) => {
        await context(req).commitPoint();
        res.status(201).send('made');
      });
      await send(server, { key: 'k' });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, isReplay: true });
      expect(fences).toHaveLength(1);
    });

    it("onIndeterminate: 'retry' runs again", async () => {
      const { server, fences } = await appOf({ onIndeterminate: 'retry' }, fails, answers);
      await send(server, { key: 'k' });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, isReplay: false });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, isReplay: true });
      expect(fences[1]).toBeGreaterThan(fences[0] ?? Infinity);
    });

    it('onIndeterminate is asked, and may take its time', async () => {
      const onIndeterminate = vi.fn((req: { headers: Record<string, unknown> }) =>
        Promise.resolve(req.headers['x-again'] ? ('retry' as const) : ('block' as const)),
      );
      const { server, fences } = await appOf({ onIndeterminate }, fails, answers);
      await send(server, { key: 'k' });
      expectProblem(await send(server, { key: 'k' }), 409, 'indeterminate');
      expect(fences).toHaveLength(1);
      expect(await send(server, { key: 'k', headers: { 'X-Again': '1' } })).toMatchObject({ status: 201 });
      expect(onIndeterminate).toHaveBeenCalledTimes(2);
    });

    it('an onIndeterminate that throws goes to the error handler', async () => {
      const onIndeterminate = () => Promise.reject(new Error('cannot say'));
      const { server, fences } = await appOf({ onIndeterminate }, fails, answers);
      await send(server, { key: 'k' });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 500, text: 'failed' });
      expect(fences).toHaveLength(1);
    });
  });

  // To a store in memory an owner whose thread lives loses its claim when `maxHoldMs` are over, not before.
  describe('§6.2 an owner that lost its lease', () => {
    it('is told by its signal, and its answer goes out unstored and overwrites nothing', async () => {
      const store = new MemoryStore();
      const held = gate();
      const lost = gate();
      const { server, fences, guard } = await appOf(
        { store, leaseMs: 300, maxHoldMs: 300 },
        async (req, res) => {
          context(req).signal.addEventListener('abort', () => {
            lost.open();
          });
          await held.opened;
          res.status(200).send('stale');
        },
        answers,
      );
      const first = send(server, { key: 'k' });
      await vi.waitFor(() => {
        expect(fences).toHaveLength(1);
      });
      store.advanceClock(301);
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'made', isReplay: false });
      await lost.opened;
      held.open();
      const stale = await first;
      expect(stale).toMatchObject({ status: 200, text: 'stale', isReplay: false });
      expect(stale.headers['idempotency-stored']).toBe('false');
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'made', isReplay: true });
      expect(fences).toHaveLength(2);
      expect(guard.metrics().running).toBe(0);
    });

    it('cannot release the key of its successor', async () => {
      const store = new MemoryStore();
      const [held, heldNext] = [gate(), gate()];
      const { server, fences } = await appOf(
        { store, leaseMs: 30_000, maxHoldMs: 30_000 },
        (_req, res) => void held.opened.then(() => res.status(500).send('stale')),
        (_req, res) => void heldNext.opened.then(() => res.status(201).send('made')),
      );
      const first = send(server, { key: 'k' });
      await vi.waitFor(() => {
        expect(fences).toHaveLength(1);
      });
      store.advanceClock(30_001);
      const second = send(server, { key: 'k' });
      await vi.waitFor(() => {
        expect(fences).toHaveLength(2);
      });
      held.open();
      expect((await first).status).toBe(500);
      expectProblem(await send(server, { key: 'k' }), 409, 'in-progress');
      heldNext.open();
      expect(await second).toMatchObject({ status: 201, isReplay: false });
    });

    it('§4.8 after its commitPoint() the record is indeterminate', async () => {
      const store = new MemoryStore();
      const held = gate();
      const committed = gate();
      const { server, fences } = await appOf({ store, leaseMs: 30_000, maxHoldMs: 30_000 }, async (req, res) => {
        await context(req).commitPoint();
        committed.open();
        await held.opened;
        res.status(200).send('stale');
      });
      const first = send(server, { key: 'k' });
      await committed.opened;
      store.advanceClock(30_001);
      expectProblem(await send(server, { key: 'k' }), 409, 'indeterminate');
      held.open();
      await first;
      expect(fences).toHaveLength(1);
    });
  });

  it('§6.1 a lease is renewed while the handler runs, for maxHoldMs at most', async () => {
    const held = gate();
    const reasons: unknown[] = [];
    const lost = gate();
    const { server, fences } = await appOf(
      { leaseMs: 90, maxHoldMs: 400 },
      (req, res) => {
        const { signal } = context(req);
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason);
          lost.open();
        });
        void held.opened.then(() => res.send('late'));
      },
      answers,
    );
    const first = send(server, { key: 'k' });
    await vi.waitFor(() => {
      expect(fences).toHaveLength(1);
    });
    // The handler holds on for four leases.
    await lost.opened;
    expect(String(reasons[0])).toContain('maxHoldMs');
    await vi.waitFor(async () => {
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'made' });
    });
    held.open();
    expect((await first).headers['idempotency-stored']).toBe('false');
    expect(fences).toHaveLength(2);
  });
});

import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { idempotencyMiddleware, MemoryStore } from '../../ts/index.js';

// Random histories of requests against the rules of docs/semantics.md §3 to §6, kept as plainly as can be. A history
// that fails is shrunk to its shortest form and printed with its seed.

const LEASE_MS = 30_000;
/** For so long a claim holds while its thread lives, and this one does. */
const HOLD_MS = 60_000;
const DAY_MS = 86_400_000;

/** How a handler ends. */
type Ending = 'ok' | 'fails' | 'refuses' | 'throttles' | 'throws' | 'noStore';

type Step =
  | { do: 'send'; key: number; body: number; ending: Ending; commits: boolean; slow: boolean }
  | { do: 'finish'; which: number }
  | { do: 'abort'; which: number }
  | { do: 'advance'; ms: number };

type Model =
  | { is: 'free' }
  | { is: 'running'; run: number; body: number; until: number; committed: boolean }
  | { is: 'completed'; body: number; until: number; run: number }
  | { is: 'indeterminate'; body: number; until: number };

/** What a record is by now: the whole of §6 that a client can see. */
function at(model: Model, now: number): Model {
  if (model.is === 'free' || model.until > now) return model;
  if (model.is !== 'running' || !model.committed) return { is: 'free' };
  return at({ is: 'indeterminate', body: model.body, until: model.until + DAY_MS }, now);
}

/** What a request is answered (§3), and whether it runs. */
function expected(model: Model, body: number): string {
  if (model.is !== 'free' && model.body !== body) return 'key-reused';
  return { free: 'runs', running: 'in-progress', completed: 'replay', indeterminate: 'indeterminate' }[model.is];
}

/** What a run leaves behind (§4.5, §4.8). */
function after(ending: Ending, run: number, body: number, committed: boolean, now: number): Model {
  if (ending === 'ok' || ending === 'refuses') return { is: 'completed', body, until: now + DAY_MS, run };
  return committed ? { is: 'indeterminate', body, until: now + DAY_MS } : { is: 'free' };
}

const STATUS: Record<Ending, number> = { ok: 201, fails: 503, refuses: 409, throttles: 429, throws: 500, noStore: 200 };

const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('send' as const),
        key: fc.nat(2),
        body: fc.nat(1),
        ending: fc.constantFrom<Ending>('ok', 'ok', 'ok', 'fails', 'refuses', 'throttles', 'throws', 'noStore'),
        commits: fc.boolean(),
        slow: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('finish' as const), which: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat(3) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('advance' as const),
        ms: fc.constantFrom(1_000, LEASE_MS + 1_000, HOLD_MS + 1_000, DAY_MS + 1_000),
      }),
    },
  ),
  { minLength: 1, maxLength: 40 },
);

/** A run whose handler waits for the test. */
interface Slow {
  run: number;
  key: number;
  body: number;
  ending: Ending;
  committed: boolean;
  aborted: boolean;
  finish: () => void;
  answered: Promise<Received | undefined>;
  abort: () => void;
  ended: Promise<void>;
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}

interface Received {
  status: number;
  text: string;
  isReplay: boolean;
  code: string | undefined;
  stored: string | undefined;
}

/** One server for all histories; each mounts a middleware of its own. */
let mounted: (req: IncomingMessage, res: ServerResponse) => void = () => undefined;
const server: Server = createServer((req, res) => {
  mounted(req, res);
});
const listening = once(server.listen(0, '127.0.0.1'), 'listening');

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function send(key: string, body: unknown): { answered: Promise<Received | undefined>; abort: () => void } {
  const { port } = server.address() as AddressInfo;
  const text = JSON.stringify(body);
  const req = request({
    port,
    method: 'POST',
    path: '/orders',
    headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text), 'Idempotency-Key': key },
  });
  const answered = new Promise<Received | undefined>((resolve) => {
    req.on('error', () => {
      resolve(undefined);
    });
    req.on('response', (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      res.on('end', () => {
        const { headers, statusCode: status = 0 } = res;
        const problem = headers['content-type']?.startsWith('application/problem+json');
        resolve({
          status,
          text,
          isReplay: headers['x-idempotency-replay'] === 'true',
          code: problem ? (JSON.parse(text) as { code: string }).code : undefined,
          stored: headers['idempotency-stored'] as string | undefined,
        });
      });
    });
  });
  req.end(text);
  return { answered, abort: () => req.destroy() };
}

async function play(history: Step[]): Promise<void> {
  await listening;
  const store = new MemoryStore();
  const middleware = idempotencyMiddleware({
    store,
    leaseMs: LEASE_MS,
    maxHoldMs: HOLD_MS,
    ttl: DAY_MS / 1000,
    scope: () => 'everyone',
  });
  const models: Model[] = [{ is: 'free' }, { is: 'free' }, { is: 'free' }];
  const slow: Slow[] = [];
  const answers = new Map<number, string>();
  let now = 0;
  let runs = 0;
  // What the next run is to do, and how it tells that it has begun.
  let next:
    { ending: Ending; commits: boolean; gate: Promise<void> | undefined; begun: (run: number) => void } | undefined;
  let ended: () => void = () => undefined;

  const app = express();
  app.use(express.json(), middleware);
  app.post('/orders', async (req, res) => {
    if (next === undefined) throw new Error('a request ran that should not have');
    const { ending, commits, gate, begun } = next;
    next = undefined;
    const run = ++runs;
    const whenEnded = ended;
    if (commits) await req.idempotency?.commitPoint();
    begun(run);
    await gate;
    try {
      if (ending === 'throws') throw new Error('the handler fails');
      if (ending === 'noStore') req.idempotency?.noStore();
      res.status(STATUS[ending]).json({ run });
    } finally {
      setImmediate(whenEnded);
    }
  });
  app.use(((_error, _req, res, _next) => {
    res.status(500).json({ error: true });
  }) as express.ErrorRequestHandler);
  mounted = app;

  const settle = (one: Slow) => {
    const model = models[one.key];
    // A claim that another request took over, or that was seen to be lost, writes nothing.
    if (model?.is === 'running' && model.run === one.run) {
      models[one.key] = after(one.ending, one.run, one.body, model.committed, now);
      if (one.ending === 'ok' || one.ending === 'refuses') answers.set(one.run, JSON.stringify({ run: one.run }));
      return true;
    }
    return false;
  };

  try {
    for (const step of history) {
      if (step.do === 'advance') {
        now += step.ms;
        store.advanceClock(step.ms);
      } else if (step.do === 'send') {
        const { key, body, ending, commits } = step;
        const model = (models[key] = at(models[key] ?? { is: 'free' }, now));
        const verdict = expected(model, body);
        const gate = step.slow ? deferred<undefined>() : undefined;
        const begun = deferred<number>();
        const end = deferred<undefined>();
        next = verdict === 'runs' ? { ending, commits, gate: gate?.promise, begun: begun.resolve } : undefined;
        ended = () => {
          end.resolve(undefined);
        };
        const sent = send(`key ${key}`.replace(' ', '-'), { body });
        if (verdict !== 'runs') {
          const received = await sent.answered;
          const said = received?.isReplay ? 'replay' : received?.code;
          expect(said, `${verdict} expected`).toBe(verdict);
          if (verdict === 'replay' && model.is === 'completed') expect(received?.text).toBe(answers.get(model.run));
          continue;
        }
        const run = await begun.promise;
        models[key] = { is: 'running', run, body, until: now + HOLD_MS, committed: commits };
        const one: Slow = {
          run,
          key,
          body,
          ending,
          committed: commits,
          aborted: false,
          finish: () => gate?.resolve(undefined),
          answered: sent.answered,
          abort: sent.abort,
          ended: end.promise,
        };
        if (step.slow) {
          slow.push(one);
          continue;
        }
        const received = await one.answered;
        expect(settle(one)).toBe(true);
        expect(received).toMatchObject({ status: STATUS[ending], isReplay: false, stored: undefined });
      } else if (slow.length > 0) {
        const [one] = slow.slice(step.which % slow.length);
        if (one === undefined) continue;
        if (step.do === 'abort') {
          // §4.4: it changes nothing.
          one.aborted = true;
          one.abort();
          continue;
        }
        slow.splice(slow.indexOf(one), 1);
        one.finish();
        await one.ended;
        const received = await one.answered;
        const kept = settle(one);
        if (!one.aborted) {
          expect(received).toMatchObject({ status: STATUS[one.ending], isReplay: false });
          // §6.2, §6.3: an answer that could not be stored says so.
          expect(received?.stored).toBe(kept ? undefined : 'false');
        }
      }
    }
  } finally {
    for (const one of slow) {
      one.finish();
      await one.ended;
      await one.answered;
    }
    void middleware.close();
    store.close();
  }
}

test('any history of requests agrees with the model', { timeout: 120_000 }, async () => {
  await fc.assert(fc.asyncProperty(steps, play), { numRuns: 300, endOnFailure: false });
});

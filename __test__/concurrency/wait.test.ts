import { setTimeout as delay } from 'node:timers/promises';
import type { Request, Response } from 'express';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  idempotencyMiddleware,
  MemoryStore,
  type AtomicStore,
  type ClaimOutcome,
  type IdempotencyOptions,
  type IdempotencyStore,
  type StoredResponse,
} from '../../ts/index.js';
import { expresses, gate, open, send, serve, type Gate, type Received } from '../helpers/server.js';

/** Requests of one key that wait at one middleware. */
async function waitingAre(guard: { metrics(): { waiting: number } }, count: number): Promise<void> {
  await vi.waitFor(
    () => {
      expect(guard.metrics().waiting).toBe(count);
    },
    { timeout: 10_000, interval: 5 },
  );
}

function codeOf(answer: Received): unknown {
  return (JSON.parse(answer.text) as { code: unknown }).code;
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}

/** A store of which each claim may be held up. */
class HeldClaims implements AtomicStore {
  readonly #inner = new MemoryStore({ maxEntries: 1000 });
  /** Called before each claim. */
  before: () => Promise<void> = () => Promise.resolve();

  async claim(...args: Parameters<AtomicStore['claim']>): Promise<ClaimOutcome> {
    await this.before();
    return this.#inner.claim(...args);
  }
  complete: AtomicStore['complete'] = (...args) => this.#inner.complete(...args);
  renew: AtomicStore['renew'] = (...args) => this.#inner.renew(...args);
  release: AtomicStore['release'] = (...args) => this.#inner.release(...args);
  mark: AtomicStore['mark'] = (...args) => this.#inner.mark(...args);
  save: AtomicStore['save'] = (...args) => this.#inner.save(...args);
  inspect: AtomicStore['inspect'] = (...args) => this.#inner.inspect(...args);
  forget: AtomicStore['forget'] = (...args) => this.#inner.forget(...args);
  waitFor(key: string): Promise<void> {
    return this.#inner.waitFor(key);
  }
}

describe.each(expresses)('$name', ({ express }) => {
  /** An app whose runs each wait for a gate of their own, which says what status they answer. */
  async function heldApp(options: IdempotencyOptions) {
    const guard = idempotencyMiddleware({ silence: ['WRN_REPRISE_STORE_NOT_ATOMIC'], ...options });
    onTestFinished(() => {
      void guard.close();
    });
    const runs: Gate<number>[] = [];
    const begun = async (count: number) => {
      await vi.waitFor(
        () => {
          expect(runs.length).toBe(count);
        },
        { timeout: 10_000, interval: 5 },
      );
      const run = runs[count - 1];
      if (run === undefined) throw new Error('It did not begin');
      return run;
    };
    const app = express();
    app.use(guard);
    app.post('/', (_req: Request, res: Response) => {
      const run = gate<number>();
      const number = runs.push(run);
      void run.opened.then((status) => res.status(status).send(`run ${number}`));
    });
    const server = await serve(app);
    return { guard, server, runs, begun };
  }

  describe('§3 in progress', () => {
    it('is 409 in-progress, with a Retry-After for a handler that may be done in a moment', async () => {
      const { server, begun, runs } = await heldApp({ leaseMs: 20_000 });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const second = await send(server, { key: 'k' });
      expect(second.status).toBe(409);
      expect(second.headers['content-type']).toBe('application/problem+json');
      expect(second.headers['cache-control']).toBe('no-store');
      expect(codeOf(second)).toBe('in-progress');
      expect(second.headers['retry-after']).toBe('1');
      run.open(201);
      expect((await first).text).toBe('run 1');
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'run 1', isReplay: true });
      expect(runs).toHaveLength(1);
    });

    it('has a Retry-After of at least 1', async () => {
      const { server, begun } = await heldApp({ leaseMs: 600 });
      void send(server, { key: 'k' }).catch(() => undefined);
      await begun(1);
      expect((await send(server, { key: 'k' })).headers['retry-after']).toBe('1');
    });
  });

  describe("§3 onConcurrent: 'wait'", () => {
    const wait = { onConcurrent: 'wait' } as const;

    it('parks the request until the completion, and replays then', async () => {
      const { guard, server, begun, runs } = await heldApp(wait);
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const others = [send(server, { key: 'k' }), send(server, { key: 'k' })];
      await waitingAre(guard, 2);
      expect(guard.metrics()).toMatchObject({ running: 1, waiting: 2 });
      run.open(201);
      expect(await first).toMatchObject({ status: 201, isReplay: false });
      for (const other of await Promise.all(others)) {
        expect(other).toMatchObject({ status: 201, text: 'run 1', isReplay: true });
      }
      expect(runs).toHaveLength(1);
      expect(guard.metrics()).toMatchObject({ running: 0, waiting: 0, claims: 1, replays: 2, conflicts: 0 });
    });

    it('lets exactly one of those that wait run when the key is released', async () => {
      const { guard, server, begun, runs } = await heldApp(wait);
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const others = [1, 2, 3].map(() => send(server, { key: 'k' }));
      await waitingAre(guard, 3);
      run.open(500);
      expect((await first).status).toBe(500);
      const next = await begun(2);
      await waitingAre(guard, 2);
      expect(guard.metrics().running).toBe(1);
      next.open(201);
      const answers = await Promise.all(others);
      expect(answers.map(({ text }) => text)).toEqual(['run 2', 'run 2', 'run 2']);
      expect(answers.filter(({ isReplay }) => !isReplay)).toHaveLength(1);
      expect(runs).toHaveLength(2);
    });

    it('waits for waitTimeoutMs at most, then is 409 in-progress with Retry-After', async () => {
      const { guard, server, begun, runs } = await heldApp({ ...wait, waitTimeoutMs: 60 });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const second = await send(server, { key: 'k' });
      expect(second.status).toBe(409);
      expect(codeOf(second)).toBe('in-progress');
      expect(Number(second.headers['retry-after'])).toBeGreaterThanOrEqual(1);
      expect(guard.metrics()).toMatchObject({ waiting: 0, conflicts: 1 });
      run.open(200);
      expect((await first).text).toBe('run 1');
      expect(runs).toHaveLength(1);
    });

    it('forgets a waiting client that disconnects: it is not run for', async () => {
      const { guard, server, begun, runs } = await heldApp(wait);
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const waiting = await open(server);
      waiting.write('POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n');
      await waitingAre(guard, 1);
      waiting.socket.destroy();
      await waitingAre(guard, 0);
      run.open(500);
      expect((await first).status).toBe(500);
      await delay(20);
      expect(runs).toHaveLength(1);
    });

    it('holds at most one timer for 300 that wait, and answers all of them', async () => {
      const { guard, server, begun, runs } = await heldApp({ ...wait, waitTimeoutMs: 123_456 });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      // What the client and the server keep for 300 connections, without our waiting.
      const connections = await Promise.all(Array.from({ length: 300 }, () => open(server)));
      const before = timers();
      // Timers that do not hold the process are not among the active resources: these are counted as they are made.
      const made = vi.spyOn(globalThis, 'setTimeout');
      onTestFinished(() => {
        made.mockRestore();
      });
      for (const connection of connections) {
        connection.write(
          'POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
        );
      }
      await waitingAre(guard, 300);
      // One more for `vi.waitFor`, at most, which is about to end.
      expect(timers() - before).toBeLessThanOrEqual(2);
      const deadlines = made.mock.calls.filter(([, ms = 0]) => ms > 100_000 && ms <= 123_456);
      expect(deadlines).toHaveLength(1);
      run.open(201);
      const answers = await Promise.all(connections.map((connection) => connection.ended()));
      for (const answer of answers) {
        expect(answer).toMatch(/^HTTP\/1\.1 201 /);
        expect(answer).toContain('run 1');
      }
      expect((await first).status).toBe(201);
      expect(runs).toHaveLength(1);
    });

    it('close() lets those that wait have the answer that comes in time', async () => {
      const { guard, server, begun } = await heldApp(wait);
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const waiting = [send(server, { key: 'k' }), send(server, { key: 'k' })];
      await waitingAre(guard, 2);
      const closed = guard.close();
      run.open(200);
      for (const answer of await Promise.all(waiting)) expect(answer).toMatchObject({ status: 200, isReplay: true });
      expect((await first).status).toBe(200);
      await closed;
      expect(guard.metrics()).toMatchObject({ running: 0, waiting: 0 });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 503 });
    });

    it('close() refuses those that wait when its time is over', async () => {
      const { guard, server, begun } = await heldApp(wait);
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const waiting = [send(server, { key: 'k' }), send(server, { key: 'k' })];
      await waitingAre(guard, 2);
      await guard.close({ timeoutMs: 20 });
      for (const answer of await Promise.all(waiting)) expect(answer.status).toBe(409);
      expect(guard.metrics()).toMatchObject({ running: 0, waiting: 0 });
      run.open(200);
      expect((await first).status).toBe(200);
    });
  });

  describe("§3 onConcurrent: 'wait' at a store that takes its time", () => {
    const wait = { onConcurrent: 'wait' } as const;

    it('one that gave up while it asked the store again is answered once, and does not run', async () => {
      const kept = new Map<string, StoredResponse>();
      const asked = gate();
      const may = gate();
      const store: IdempotencyStore = {
        get: async (key) => {
          const found = kept.get(key);
          if (found) {
            asked.open();
            await may.opened;
          }
          return found;
        },
        set: (key, value) => kept.set(key, value),
        delete: (key) => kept.delete(key),
      };
      const { guard, server, begun, runs } = await heldApp({
        ...wait,
        store,
        waitTimeoutMs: 150,
        storeTimeoutMs: 10_000,
      });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const second = send(server, { key: 'k' });
      await waitingAre(guard, 1);
      run.open(201);
      await asked.opened;
      expect(await second).toMatchObject({ status: 409 });
      expect((await first).status).toBe(201);
      // A second answer to that request would be an unhandled rejection here, which fails the run.
      may.open();
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, isReplay: true });
      expect(runs).toHaveLength(1);
      expect(guard.metrics().replays).toBe(1);
    });

    it('one of those that wait asks the store for all that want the same', async () => {
      const store = new HeldClaims();
      const { guard, server, begun, runs } = await heldApp({ ...wait, store });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const others = Array.from({ length: 20 }, () => send(server, { key: 'k' }));
      await waitingAre(guard, 20);
      let asked = 0;
      store.before = () => {
        asked++;
        return Promise.resolve();
      };
      run.open(201);
      for (const other of await Promise.all(others)) {
        expect(other).toMatchObject({ status: 201, text: 'run 1', isReplay: true });
      }
      expect(asked).toBe(1);
      expect(guard.metrics()).toMatchObject({ waiting: 0, replays: 20 });
      expect((await first).status).toBe(201);
      expect(runs).toHaveLength(1);
    });

    it('where that one is told of a failure, the others ask for themselves', async () => {
      const store = new HeldClaims();
      const { guard, server, begun } = await heldApp({ ...wait, store });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const others = Array.from({ length: 5 }, () => send(server, { key: 'k' }));
      await waitingAre(guard, 5);
      let asked = 0;
      store.before = () => (asked++ === 0 ? Promise.reject(new Error('down')) : Promise.resolve());
      run.open(201);
      const answers = await Promise.all(others);
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 201, 201, 503]);
      expect((await first).status).toBe(201);
      expect(guard.metrics()).toMatchObject({ waiting: 0, replays: 4, storeErrors: 1 });
    });

    it("one that passes a failing store (onStoreError: 'pass') is not answered by its deadline", async () => {
      const store = new HeldClaims();
      const { guard, server, begun } = await heldApp({ ...wait, store, onStoreError: 'pass', waitTimeoutMs: 150 });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const second = send(server, { key: 'k' });
      await waitingAre(guard, 1);
      store.before = () => Promise.reject(new Error('down'));
      run.open(500);
      expect((await first).status).toBe(500);
      const unguarded = await begun(2);
      expect(guard.metrics().waiting).toBe(0);
      await delay(200);
      unguarded.open(202);
      expect(await second).toMatchObject({ status: 202, text: 'run 2' });
    });

    it('a client that left before the store answered never waits', async () => {
      const store = new HeldClaims();
      const { guard, server, begun } = await heldApp({ ...wait, store, storeTimeoutMs: 10_000 });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const asked = gate();
      const may = gate();
      store.before = () => {
        asked.open();
        return may.opened;
      };
      const left = await open(server);
      left.write('POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n');
      await asked.opened;
      left.socket.destroy();
      await delay(30);
      may.open();
      await delay(30);
      expect(guard.metrics().waiting).toBe(0);
      run.open(200);
      expect((await first).status).toBe(200);
    });

    it('one that the store answers after close() is refused, and does not wait', async () => {
      const store = new HeldClaims();
      const { guard, server, begun } = await heldApp({ ...wait, store, storeTimeoutMs: 10_000 });
      const first = send(server, { key: 'k' });
      const run = await begun(1);
      const asked = gate();
      const may = gate();
      store.before = () => {
        asked.open();
        return may.opened;
      };
      const second = send(server, { key: 'k' });
      await asked.opened;
      void guard.close();
      may.open();
      expect((await second).status).toBe(409);
      run.open(200);
      expect((await first).status).toBe(200);
    });
  });
});

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ChaosOptions } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, stacks } from './harness.js';
import { draw, expectedStatus } from './reference.js';
import type { Purpose } from './reference.js';

interface Vector {
  readonly seed: string;
  readonly requestKey: string;
  readonly attempt: number;
  readonly rule: string;
  readonly purpose: Purpose;
  readonly draw: string;
}

const keys = Array.from({ length: 60 }, (_, n) => `order-${n}`);

/** The status of one request per key, sent in this order. */
async function statuses(port: number, order: readonly string[]): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const key of order) found.set(key, (await ask(port, { method: 'POST', key })).status);
  return found;
}

it('the definition of a draw, read independently, gives the golden vectors', () => {
  const file = path.join(__dirname, '../../tests/golden/chaos-draws.json');
  const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vector[];
  expect(vectors).toHaveLength(10);
  for (const { seed, requestKey, attempt, rule, purpose, draw: expected } of vectors) {
    expect(draw(seed, requestKey, attempt, rule, purpose).toString(16).padStart(16, '0')).toBe(expected);
  }
});

describe.each(stacks)('%s', (_, mount) => {
  const start = (options: ChaosOptions) => serve(mount(chaosFor(options).middleware(), countingHandler().handler));

  it('hits exactly the requests that the definition names, with the status that it names', async () => {
    const port = await start({ failureProbability: 0.25, seed: 42 });
    const found = await statuses(port, keys);
    for (const key of keys) expect([key, found.get(key)]).toEqual([key, expectedStatus('42', `key:${key}`, 0, 0.25)]);
  });

  it('hits the same requests when they come in another order, among others, or at once', async () => {
    const options = { failureProbability: 0.25, seed: 'a run' };
    const first = await statuses(await start(options), keys);

    const reversed = await statuses(await start(options), [...keys].reverse());
    expect(new Map([...reversed].sort())).toEqual(new Map([...first].sort()));

    const others = keys.flatMap((key) => [`other-${key}`, key]);
    const amongOthers = await statuses(await start(options), others);
    for (const key of keys) expect(amongOthers.get(key)).toBe(first.get(key));

    const port = await start(options);
    const atOnce = await Promise.all(keys.map((key) => ask(port, { method: 'POST', key })));
    expect(atOnce.map(({ status }) => status)).toEqual(keys.map((key) => first.get(key)));
  });
});

describe('what a decision depends on', () => {
  const start = (options: ChaosOptions) => serve(onExpress5(chaosFor(options).middleware(), countingHandler().handler));

  it('the number 42 and the text 42 are one seed, 43 is another', async () => {
    const [number, text, other] = await Promise.all(
      [42, '42', 43].map(async (seed) => statuses(await start({ failureProbability: 0.5, seed }), keys)),
    );
    expect(text).toEqual(number);
    expect(other).not.toEqual(number);
  });

  it('a retry with the same key is another attempt, decided anew', async () => {
    const port = await start({ failureProbability: 0.5 });
    for (let attempt = 0; attempt < 8; attempt++) {
      for (const key of keys.slice(0, 10)) {
        const { status } = await ask(port, { method: 'POST', key });
        expect([key, attempt, status]).toEqual([key, attempt, expectedStatus('42', `key:${key}`, attempt, 0.5)]);
      }
    }
  });

  it('a client that retries with one key gets through', async () => {
    const port = await start({ failureProbability: 0.9 });
    let tries = 0;
    for (let status = 0; status !== 200; tries++) ({ status } = await ask(port, { method: 'POST', key: 'one' }));
    expect(tries).toBeGreaterThan(1);
  });

  it('without a key: the method, the path without its query, and how often both were seen', async () => {
    const port = await start({ failureProbability: 0.5 });
    for (let ordinal = 0; ordinal < 10; ordinal++) {
      for (const [method, path] of [
        ['GET', '/orders'],
        ['POST', '/orders'],
        ['GET', '/customers'],
      ] as const) {
        const { status } = await ask(port, { method, path: `${path}?page=${ordinal}` });
        expect(status).toBe(expectedStatus('42', `${method} ${path}`, ordinal, 0.5));
      }
    }
  });

  it('a key that reads like a method and a path is not taken for one', async () => {
    const port = await start({ failureProbability: 0.5 });
    for (let attempt = 0; attempt < 12; attempt++) {
      const { status } = await ask(port, { key: 'GET /orders' });
      expect(status).toBe(expectedStatus('42', 'key:GET /orders', attempt, 0.5));
    }
  });

  it('a higher probability keeps every earlier victim, and its status', async () => {
    const few = await statuses(await start({ failureProbability: 0.2 }), keys);
    const many = await statuses(await start({ failureProbability: 0.6 }), keys);
    const victims = keys.filter((key) => few.get(key) !== 200);
    expect(victims.length).toBeGreaterThan(0);
    for (const key of victims) expect(many.get(key)).toBe(few.get(key));
  });

  it('delays and kills beside them change no failure', async () => {
    const alone = await statuses(await start({ failureProbability: 0.3 }), keys);
    const others: ChaosOptions = { latencyProbability: 1, latencyRange: [0, 1], kernelKillProbability: 1 };
    expect(await statuses(await start({ failureProbability: 0.3, ...others }), keys)).toEqual(alone);
  });
});

describe('instances', () => {
  it('two of them on one server decide and count each for itself', async () => {
    const fails = chaosFor({ failureProbability: 1 });
    const spares = chaosFor({ failureProbability: 0 });
    const { handler, seen } = countingHandler();
    const inner = onExpress5(fails.middleware(), handler);
    const port = await serve((req, res) => {
      spares.middleware()(req, res, () => {
        if (req.url === '/fails') inner(req, res);
        else handler(req, res);
      });
    });
    expect((await ask(port, { path: '/spared' })).status).toBe(200);
    expect((await ask(port, { path: '/fails' })).status).toBeGreaterThanOrEqual(429);
    expect(seen).toEqual(['/spared']);
    expect(spares.metrics()).toMatchObject({ totalRequests: 2, failuresInjected: 0 });
    expect(fails.metrics()).toMatchObject({ totalRequests: 1, failuresInjected: 1 });

    fails.close();
    expect((await ask(port, { path: '/fails' })).status).toBe(200);
    expect([fails.armed, spares.armed]).toEqual([false, true]);
  });

  it('a request that passes one instance twice is decided about once', async () => {
    const chaos = chaosFor({ failureProbability: 0.5 });
    const twice: ReturnType<typeof chaos.middleware> = (req, res, next) => {
      chaos.middleware()(req, res, (error) => {
        if (error !== undefined) next(error);
        else chaos.middleware()(req, res, next);
      });
    };
    const port = await serve(onExpress5(twice, countingHandler().handler));
    const found = await statuses(port, keys);
    for (const key of keys) expect(found.get(key)).toBe(expectedStatus('42', `key:${key}`, 0, 0.5));
    expect(chaos.metrics().totalRequests).toBe(keys.length);
  });
});

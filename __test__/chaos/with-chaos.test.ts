import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it, onTestFinished, vi } from 'vitest';
import type { Chaos } from '../../ts/index.js';
import { retry } from '../../ts/index.js';
import { withChaos } from '../../ts/testing/index.js';
import type { WithChaosOptions } from '../../ts/testing/index.js';
import { ask, countingHandler, onExpress5, serve, until } from './harness.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

/** A shop whose client sends an order again until it is answered. */
async function shop(chaos: Chaos) {
  const { handler, seen } = countingHandler();
  const port = await serve(onExpress5(chaos.middleware(), handler));
  const order = (key: string) => ask(port, { method: 'POST', key });
  const insist = (key: string) =>
    retry(
      async () => {
        const { status } = await order(key);
        if (status !== 200) throw new Error(`it was ${status}`);
        return status;
      },
      { maxAttempts: 3, initialDelayMs: 0, maxDelayMs: 0 },
    );
  return { seen, order, insist };
}

it('the first two attempts of each request fail, and its third one goes through', async () => {
  const result = await withChaos({ fail: { attempts: [1, 2], statuses: [503] } }, async (chaos) => {
    const { seen, order, insist } = await shop(chaos);
    expect((await order('other')).status).toBe(503);
    expect(await insist('order-1')).toBe(200);
    expect(await insist('order-2')).toBe(200);
    expect(seen).toEqual(['order-1', 'order-2']);
    expect(chaos.metrics()).toMatchObject({ totalRequests: 7, failuresInjected: 5 });
    return 'done';
  });
  expect(result).toBe('done');
});

it('takes what createChaos takes, besides', async () => {
  await withChaos(
    { fail: { attempts: [1] }, rules: [{ name: 'lost', fault: { kind: 'lost-response' }, attempts: [2] }] },
    async (chaos) => {
      const { seen, order } = await shop(chaos);
      expect((await order('order-1')).headers['x-chaos-fault']).toBe('error');
      await expect(order('order-1')).rejects.toMatchObject({ code: 'ECONNRESET' });
      expect((await order('order-1')).text).toBe('handled');
      expect(seen).toHaveLength(2);
    },
  );
  await withChaos({ failureProbability: 1 }, async (chaos) => {
    const { order } = await shop(chaos);
    expect((await order('order-1')).headers['x-chaos-fault']).toBe('error');
  });
});

it('the same test meets the same faults; another seed, others', async () => {
  const statuses = (options: WithChaosOptions) =>
    withChaos({ failureProbability: 0.5, ...options }, async (chaos) => {
      const { order } = await shop(chaos);
      const answers = [];
      for (let n = 0; n < 20; n++) answers.push((await order(`order-${n}`)).status);
      return answers;
    });
  const first = await statuses({});
  expect(await statuses({})).toEqual(first);
  expect(await statuses({ seed: 42 })).not.toEqual(first);
});

it.each<[string, () => unknown]>([
  ['returns', () => undefined],
  ['throws', () => { throw new Error('the test failed'); }], // prettier-ignore
  ['rejects', () => Promise.reject(new Error('the test failed'))],
])('is off when the test %s, and lets go of what it held', async (how, end) => {
  let chaos: Chaos | undefined;
  let hanging: Promise<unknown> | undefined;
  const run = withChaos({ rules: [{ name: 'hang', fault: { kind: 'hang' } }] }, async (own) => {
    chaos = own;
    const { order } = await shop(own);
    hanging = order('order-1').catch((error: unknown) => error);
    await until(() => own.status().activeFaults === 1);
    return end();
  });
  if (how === 'returns') await run;
  else await expect(run).rejects.toThrow('the test failed');
  expect(chaos?.status()).toMatchObject({ state: 'closed', activeFaults: 0 });
  expect(await hanging).toMatchObject({ code: 'ECONNRESET' });
});

it('two at once have nothing in common', async () => {
  await Promise.all([
    withChaos({ fail: {} }, async (chaos) => {
      const { order } = await shop(chaos);
      for (let n = 0; n < 5; n++) expect((await order(`order-${n}`)).status).not.toBe(200);
    }),
    withChaos({ fail: { probability: 0 } }, async (chaos) => {
      const { order } = await shop(chaos);
      for (let n = 0; n < 5; n++) expect((await order(`order-${n}`)).status).toBe(200);
      expect(chaos.metrics()).toMatchObject({ totalRequests: 5, failuresInjected: 0 });
    }),
  ]);
});

it('works on a plain server, and under fake timers', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const latency = { law: 'uniform', minMs: 9_000, maxMs: 9_000 } as const;
  await withChaos({ rules: [{ name: 'slow', fault: { kind: 'latency', delay: latency } }] }, async (chaos) => {
    const middleware = chaos.middleware();
    const server: Server = createServer((req, res) => {
      middleware(req, res, () => res.end('late'));
    });
    await new Promise<void>((resolve) => server.listen(0, resolve));
    onTestFinished(() => void server.close());
    const answer = ask((server.address() as AddressInfo).port);
    await until(() => chaos.metrics().latenciesInjected === 1);
    vi.advanceTimersByTime(9_000);
    expect((await answer).text).toBe('late');
  });
});

it('a run without chaos is one with enabled: false', async () => {
  await withChaos({ fail: {}, enabled: false }, async (chaos) => {
    const { order } = await shop(chaos);
    expect((await order('order-1')).status).toBe(200);
  });
});

it('in production it refuses to run, rather than to pass for want of chaos', async () => {
  vi.stubEnv('NODE_ENV', 'production');
  const fn = vi.fn();
  await expect(withChaos({ fail: {} }, fn)).rejects.toMatchObject({ code: 'ERR_REPRISE_CHAOS_IN_PRODUCTION' });
  expect(fn).not.toHaveBeenCalled();
});

it.each<[unknown, string, RegExp]>([
  [undefined, 'ERR_REPRISE_INVALID_ARGUMENT', /withChaos: argument "options" is undefined; allowed: an object/],
  [{ fail: 3 }, 'ERR_REPRISE_INVALID_OPTION', /withChaos: option "fail" is 3; allowed: an object/],
  [
    { fail: { attempt: [1] } },
    'ERR_REPRISE_UNKNOWN_OPTION',
    /withChaos: fail: unknown option "attempt"; did you mean "attempts"/,
  ],
  [{ fail: { attempts: [0] } }, 'ERR_REPRISE_INVALID_OPTION', /withChaos: fail: option "attempts" is \[0\]/],
  [{ fail: { statuses: [42] } }, 'ERR_REPRISE_INVALID_OPTION', /option "statuses" is \[42\]/],
  [{ fails: {} }, 'ERR_REPRISE_UNKNOWN_OPTION', /withChaos: unknown option "fails"/],
  [{ fail: {}, failureProbability: 1 }, 'ERR_REPRISE_INVALID_OPTION', /nothing beside "rules"/],
])('withChaos(%j) is refused', async (options, code, message) => {
  const fn = vi.fn();
  const run = withChaos(options as WithChaosOptions, fn);
  await expect(run).rejects.toMatchObject({ code });
  await expect(run).rejects.toThrow(message);
  expect(fn).not.toHaveBeenCalled();
});

it('without a function it is refused', async () => {
  await expect(withChaos({}, undefined as unknown as () => void)).rejects.toThrow(/argument "fn" is undefined/);
});

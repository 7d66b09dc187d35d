import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import type * as Reprise from '../../ts/index.js';
import { ask, countingHandler, onExpress5, serve, until } from './harness.js';

// The default instance is one per process: each test begins with a fresh one.
let reprise: typeof Reprise;
beforeEach(async () => {
  vi.resetModules();
  reprise = await import('../../ts/index.js');
});
afterEach(() => {
  reprise.initChaos({ enabled: false });
});

const nothing = {
  totalRequests: 0,
  failuresInjected: 0,
  latenciesInjected: 0,
  kernelsKilled: 0,
  failureRate: 0,
  latencyRate: 0,
};

const isHit = async (port: number) => (await ask(port)).headers['x-chaos-fault'] === 'error';

const start = () => serve(onExpress5(reprise.chaosMiddleware(), countingHandler().handler));

it('passes through, and counts nothing, until initChaos', async () => {
  const port = await start();
  expect(await isHit(port)).toBe(false);
  expect(reprise.getChaosMetrics()).toEqual(nothing);
  const chaos = reprise.initChaos({ failureProbability: 1, seed: 1 });
  expect(reprise.getChaosMetrics()).toEqual(nothing);
  expect(await isHit(port)).toBe(true);
  expect(reprise.getChaosMetrics()).toEqual({ ...nothing, totalRequests: 1, failuresInjected: 1, failureRate: 1 });
  expect(chaos.metrics()).toEqual(reprise.getChaosMetrics());
});

it('follows a second initChaos, which counts from zero', async () => {
  const port = await start();
  reprise.initChaos({ failureProbability: 1, seed: 1 });
  await ask(port);
  reprise.initChaos({ failureProbability: 0, seed: 1 });
  expect(reprise.getChaosMetrics()).toEqual(nothing);
  expect(await isHit(port)).toBe(false);
  expect(reprise.getChaosMetrics()).toEqual({ ...nothing, totalRequests: 1 });
});

it('is turned off by initChaos({ enabled: false })', async () => {
  const port = await start();
  reprise.initChaos({ failureProbability: 1, seed: 1 });
  expect(await isHit(port)).toBe(true);
  expect(reprise.initChaos({ enabled: false }).armed).toBe(false);
  expect(await isHit(port)).toBe(false);
});

it.each([{ enabled: false }, { failureProbability: 1, seed: 2 }])(
  'initChaos(%j) lets the requests go on that the chaos before it held',
  async (options) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const port = await start();
    reprise.initChaos({ latencyProbability: 1, seed: 1 });
    const answer = ask(port);
    await until(() => vi.getTimerCount() === 1);
    reprise.initChaos(options);
    expect((await answer).text).toBe('handled');
    expect(vi.getTimerCount()).toBe(0);
  },
);

it('is turned off by close(), and what was counted can still be read', async () => {
  const port = await start();
  const chaos = reprise.initChaos({ failureProbability: 1, seed: 1 });
  await ask(port);
  chaos.close();
  expect(await isHit(port)).toBe(false);
  expect(reprise.getChaosMetrics()).toMatchObject({ totalRequests: 1, failuresInjected: 1 });
});

it('closing the chaos of before does not touch the one of now', async () => {
  const port = await start();
  const before = reprise.initChaos({ failureProbability: 1, seed: 1 });
  reprise.initChaos({ failureProbability: 1, seed: 2 });
  before.close();
  expect(await isHit(port)).toBe(true);
});

it('an initChaos that is refused leaves the chaos that was there', async () => {
  const port = await start();
  reprise.initChaos({ failureProbability: 1, seed: 1 });
  expect(() => reprise.initChaos({ failureProbability: 2 })).toThrow(RangeError);
  expect(await isHit(port)).toBe(true);
});

it('kernels registered before initChaos are there after it, and after the next one', async () => {
  const port = await start();
  const kill = vi.fn();
  reprise.registerKernel('kernel-1', kill);
  reprise.initChaos({ kernelKillProbability: 0, seed: 1 });
  await ask(port);
  expect(kill).not.toHaveBeenCalled();
  reprise.initChaos({ kernelKillProbability: 1, seed: 1 });
  await ask(port);
  expect(kill).toHaveBeenCalledTimes(1);
  expect(reprise.getChaosMetrics().kernelsKilled).toBe(1);
});

it('an instance of its own shares nothing with it', async () => {
  const port = await start();
  const own = reprise.createChaos({ failureProbability: 1, kernelKillProbability: 1, seed: 1 });
  const kill = vi.fn();
  reprise.registerKernel('kernel-1', kill);
  const ownPort = await serve(onExpress5(own.middleware(), countingHandler().handler));
  expect(await isHit(ownPort)).toBe(true);
  expect(await isHit(port)).toBe(false);
  expect(kill).not.toHaveBeenCalled();
  expect(reprise.getChaosMetrics()).toEqual(nothing);
  reprise.initChaos({ enabled: false });
  expect(await isHit(ownPort)).toBe(true);
  own.close();
});

it('the metrics endpoint of the specification has exactly six fields', async () => {
  reprise.initChaos({ failureProbability: 0, seed: 1 });
  const port = await serve((_req, res) => res.end(JSON.stringify(reprise.getChaosMetrics())));
  expect(JSON.parse((await ask(port)).text)).toStrictEqual(nothing);
});

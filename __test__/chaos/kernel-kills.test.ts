import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { kernelOf, type Chaos, type KernelKillOptions } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, until } from './harness.js';
import { choose, draw } from './reference.js';

/** Kernels that start again as soon as they are killed; returns the ids of the killed, in their order. */
function endless(chaos: Chaos, ids: readonly string[], group?: string): string[] {
  const killed: string[] = [];
  const register = (id: string) => {
    chaos.registerKernel({
      id,
      group,
      kill: () => {
        killed.push(id);
        register(id);
      },
    });
  };
  ids.forEach(register);
  return killed;
}

/** A request to it kills, if a kernel may be killed. */
async function killing(chaos: Chaos) {
  const port = await serve(onExpress5(chaos.middleware(), countingHandler().handler));
  let n = 0;
  return () => ask(port, { key: `request-${n++}` });
}

describe('by time', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    return () => void vi.useRealTimers();
  });

  const ids = ['kernel-3', 'kernel-1', 'kernel-2'];
  const sorted = [...ids].sort();

  /** What `src/chaos/kernel_kills.rs` and `distribution.rs` say, written a second time. */
  function expected(n: number, minMs: number, meanMs: number) {
    const of = (purpose: 'latency' | 'victim') => draw('42', 'kills', n, 'by-time', purpose);
    const share = (Number(of('latency') >> 12n) + 0.5) / 2 ** 52;
    const afterMs = Math.round(minMs - (meanMs - minMs) * Math.log(1 - share));
    return { afterMs, victim: sorted[choose(3, of('victim'))] };
  }

  it('kernels die at the times, and in the order, that the seed says', () => {
    for (const order of [ids, [...ids].reverse()]) {
      const chaos = chaosFor({ kernelKills: { meanTimeBetweenMs: 60_000, minGapMs: 5_000 } });
      const killed = endless(chaos, order);
      for (let n = 0; n < 50; n++) {
        const { afterMs, victim } = expected(n, 5_000, 60_000);
        vi.advanceTimersByTime(afterMs - 1);
        expect(killed).toHaveLength(n);
        vi.advanceTimersByTime(1);
        expect(killed).toHaveLength(n + 1);
        expect(killed[n]).toBe(victim);
      }
      expect(chaos.metrics().kernelsKilled).toBe(50);
      expect(chaos.kernels()).toEqual({ killsAttempted: 50, kernelsPaused: 0, live: sorted });
      chaos.close();
    }
  });

  it('close() ends it, and leaves no timer', () => {
    const chaos = chaosFor({ kernelKills: { meanTimeBetweenMs: 1_000, minGapMs: 900 } });
    const killed = endless(chaos, ids);
    vi.advanceTimersToNextTimer();
    expect(killed).toHaveLength(1);
    chaos.close();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(100_000);
    expect(killed).toHaveLength(1);
  });

  it('disarm() stops it, arm() goes on with the sequence, reset() and another seed begin it again', () => {
    const chaos = chaosFor({ kernelKills: { meanTimeBetweenMs: 1_000 } });
    const killed = endless(chaos, ids);
    const dies = (n: number) => {
      const { afterMs, victim } = expected(n, 0, 1_000);
      const before = killed.length;
      vi.advanceTimersByTime(afterMs);
      expect(killed.slice(before)).toEqual([victim]);
    };
    dies(0);
    chaos.disarm();
    expect(vi.getTimerCount()).toBe(0);
    chaos.arm();
    dies(1);
    chaos.reset();
    expect(chaos.kernels().killsAttempted).toBe(0);
    dies(0);
    // What does not concern kernels leaves them alone.
    vi.advanceTimersByTime(expected(1, 0, 1_000).afterMs - 1);
    chaos.update({ failureProbability: 0.5 });
    vi.advanceTimersByTime(1);
    expect(killed).toHaveLength(4);
    chaos.update({ seed: 43 });
    chaos.update({ seed: 42 });
    dies(0);
    chaos.update({ kernelKills: {} });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('only kernels of its group die, and of a group never the last one', () => {
    const chaos = chaosFor({ kernelKills: { meanTimeBetweenMs: 1_000, group: 'search', neverLast: true } });
    const killed: string[] = [];
    const alive = new Set(['a', 'b', 'c', 'other-1', 'other-2']);
    for (const id of alive) {
      const group = id.startsWith('other') ? 'other' : 'search';
      chaos.registerKernel({
        id,
        group,
        isAlive: () => alive.has(id),
        kill: () => {
          alive.delete(id);
          killed.push(id);
        },
      });
    }
    vi.advanceTimersByTime(1_000_000);
    expect(killed).toHaveLength(2);
    expect(killed.every((id) => ['a', 'b', 'c'].includes(id))).toBe(true);
    expect(chaos.kernels().live).toEqual([...alive].sort());
  });

  it('a dead kernel is no victim, nor does it keep the last one from being that', () => {
    const chaos = chaosFor({ kernelKills: { meanTimeBetweenMs: 1_000, neverLast: true } });
    const kill = vi.fn();
    let isAlive = false;
    chaos.registerKernel({ id: 'living', kill });
    chaos.registerKernel({ id: 'dead', kill, isAlive: () => isAlive });
    vi.advanceTimersByTime(100_000);
    expect(kill).not.toHaveBeenCalled();
    expect(chaos.kernels()).toEqual({ killsAttempted: 0, kernelsPaused: 0, live: ['living'] });
    isAlive = true;
    vi.advanceTimersByTime(100_000);
    expect(kill).toHaveBeenCalledTimes(1);
  });

  it('at most maxKills are killed; a kill that failed is none of them', () => {
    const chaos = chaosFor({ kernelKills: { meanTimeBetweenMs: 1_000, maxKills: 3 } });
    const kill = vi.fn(() => kill.mock.calls.length % 2 === 0);
    const register = () =>
      chaos.registerKernel('kernel-1', () => {
        const isKilled = kill();
        if (isKilled) register();
        return isKilled;
      });
    register();
    vi.advanceTimersByTime(1_000_000);
    expect(chaos.metrics().kernelsKilled).toBe(3);
    expect(chaos.kernels().killsAttempted).toBe(6);
  });
});

it('a kill within minGapMs of another is left out, whoever asks for it', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1, kernelKills: { minGapMs: 1_000 } });
  const killed = endless(chaos, ['kernel-1']);
  const request = await killing(chaos);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  for (let n = 0; n < 5; n++) await request();
  expect(killed).toHaveLength(1);
  vi.advanceTimersByTime(1_000);
  for (let n = 0; n < 5; n++) await request();
  expect(killed).toHaveLength(2);
});

it('a kill under way counts for maxKills, and becomes one when the kernel is gone', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1, kernelKills: { maxKills: 1 } });
  const request = await killing(chaos);
  let gone = () => undefined as unknown;
  const kill = vi.fn(() => new Promise((resolve) => (gone = () => { resolve(undefined); }))); // prettier-ignore
  chaos.registerKernel('kernel-1', kill);
  chaos.registerKernel('kernel-2', kill);
  await request();
  await request();
  expect(kill).toHaveBeenCalledTimes(1);
  expect(chaos.metrics().kernelsKilled).toBe(0);
  expect(chaos.kernels().killsAttempted).toBe(1);
  gone();
  await until(() => chaos.metrics().kernelsKilled === 1);
});

it('a rule may be for one group', async () => {
  const chaos = chaosFor({ rules: [{ name: 'search', fault: { kind: 'kernel-kill', group: 'search' }, first: 2 }] });
  const request = await killing(chaos);
  const others = endless(chaos, ['a', 'b'], 'billing');
  await request();
  const killed = endless(chaos, ['c'], 'search');
  for (let n = 0; n < 3; n++) await request();
  expect(others).toEqual([]);
  // A request that came while there was none is none of the first two.
  expect(killed).toEqual(['c', 'c']);
});

it('real workers and processes: counted when they have exited, a pause by itself', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const request = await killing(chaos);
  const worker = new Worker('while (true);', { eval: true });
  await once(worker, 'online');
  const workerExit = once(worker, 'exit');
  chaos.registerKernel(kernelOf(worker, { id: 'worker' }));
  await request();
  await workerExit;
  await until(() => chaos.metrics().kernelsKilled === 1);

  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
  const exit = once(child, 'exit');
  chaos.registerKernel(kernelOf(child, { id: 'child', mode: 'pause', forMs: 2_000_000 }));
  await request();
  expect(chaos.kernels()).toEqual({ killsAttempted: 2, kernelsPaused: 0, live: [] });
  // It goes on, and is a kernel again.
  chaos.disarm();
  expect(chaos.status().activeFaults).toBe(0);
  await until(() => chaos.kernels().kernelsPaused === 1);
  expect(chaos.kernels().live).toEqual(['child']);
  child.kill('SIGKILL');
  await exit;
  expect(chaos.kernels().live).toEqual([]);
  expect(chaos.metrics().kernelsKilled).toBe(1);
});

it.each<[string, () => unknown, string]>([
  ['throws', () => { throw new Error('no idea'); }, 'no idea'], // prettier-ignore
  ['gives a promise', () => Promise.resolve(true), 'it gave an object; allowed: true or false'],
])('isAlive that %s counts as dead, harms no request, and warns once', async (_, isAlive, why) => {
  const emit = vi.spyOn(process, 'emitWarning').mockReturnValue();
  onTestFinished(() => {
    emit.mockRestore();
  });
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const request = await killing(chaos);
  const kill = vi.fn();
  chaos.registerKernel({ id: 'kernel-1', kill, isAlive: isAlive as () => boolean });
  for (let n = 0; n < 2; n++) expect((await request()).status).toBe(200);
  expect(kill).not.toHaveBeenCalled();
  expect(emit.mock.calls).toEqual([
    [
      `isAlive of kernel "kernel-1" failed: ${why}. It counts as dead. Further failures are not reported`,
      { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_KERNEL_KILL_FAILED' },
    ],
  ]);
});

it.each<[unknown, string, RegExp]>([
  [{ id: '', kill: () => true }, 'ERR_REPRISE_INVALID_OPTION', /registerKernel: option "id" is ""/],
  [{ id: 'kernel-1' }, 'ERR_REPRISE_INVALID_OPTION', /option "kill" is undefined/],
  [{ id: 'kernel-1', kill: () => true, group: 7 }, 'ERR_REPRISE_INVALID_OPTION', /option "group" is 7/],
  [{ id: 'kernel-1', kill: () => true, alive: true }, 'ERR_REPRISE_UNKNOWN_OPTION', /did you mean "isAlive"|known: id/],
])('registerKernel(%j) is refused', (kernel, code, message) => {
  const register = chaosFor({ failureProbability: 0 }).registerKernel as (kernel: unknown) => unknown;
  expect(() => register(kernel)).toThrow(expect.objectContaining({ code }));
  expect(() => register(kernel)).toThrow(message);
});

it.each<[unknown, RegExp]>([
  [7, /option "kernelKills" is 7; allowed: an object/],
  [{ meanTimeBetweenMs: 0 }, /kernelKills: option "meanTimeBetweenMs" is 0; allowed: a number of milliseconds from 1/],
  [{ meanTimeBetweenMs: 5, minGapMs: 5 }, /"minGapMs" is 5; allowed: less than meanTimeBetweenMs, which is 5/],
  [{ maxKills: 0 }, /"maxKills" is 0/],
  [{ neverLast: 'yes' }, /"neverLast" is "yes"/],
  [{ group: '' }, /"group" is ""/],
  [{ atCheckpoints: {} }, /kernelKills.atCheckpoints: option "probability" is undefined/],
  [{ atCheckpoints: { probability: 2 } }, /"probability" is 2/],
  [
    { atCheckpoints: { probability: 1, boundaries: ['after-save'] } },
    /allowed: a list of 'before-work', 'before-save'/,
  ],
])('kernelKills: %j is refused', (kernelKills, message) => {
  const make = () => chaosFor({ kernelKills: kernelKills as KernelKillOptions });
  expect(make).toThrow(message);
  expect(make).toThrow(expect.objectContaining({ code: 'ERR_REPRISE_INVALID_OPTION' }));
});

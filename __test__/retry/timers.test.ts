import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { retryKernelTask, retryWithCheckpoint, type RetryConfigInit } from '../../ts/index.js';
import { flaky, settled } from './helpers.js';

afterEach(() => {
  vi.useRealTimers();
});

/** Retry with a config of the test's own: a checkpoint that is never there. */
function retried<T>(config: RetryConfigInit, fn: () => Promise<T>): Promise<T> {
  return retryWithCheckpoint({ config, checkpointLoader: () => undefined })(fn)('task');
}

describe('a wait', () => {
  it('follows fake timers that were installed after the task was wrapped', async () => {
    const { task } = flaky(1, 'done');
    const wrapped = retryKernelTask(task);
    vi.useFakeTimers();
    expect(await settled(wrapped())).toEqual({ status: 'fulfilled', value: 'done' });
  });

  it('follows fake timers that fake setTimeout alone', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const { task } = flaky(2, 'done');
    const result = retryKernelTask(task)();
    await vi.advanceTimersByTimeAsync(1_000);
    await vi.advanceTimersByTimeAsync(2_000);
    await expect(result).resolves.toBe('done');
  });

  it('of 0 ms still lets other work run before the next attempt', async () => {
    const order: string[] = [];
    const result = retried({ initialDelayMs: 0 }, () => {
      order.push('attempt');
      if (order.filter((entry) => entry === 'attempt').length < 3) {
        setImmediate(() => order.push('other work'));
        return Promise.reject(new Error('not yet'));
      }
      return Promise.resolve('done');
    });
    await expect(result).resolves.toBe('done');
    expect(order).toEqual(['attempt', 'other work', 'attempt', 'other work', 'attempt']);
  });

  it('of 0 ms takes a turn of the event loop, not a timer of a millisecond, and fake timers rule it', async () => {
    vi.useFakeTimers();
    const { task } = flaky(2, 'done');
    const timer = vi.spyOn(globalThis, 'setTimeout');
    const result = retried({ initialDelayMs: 0 }, task);
    expect(await settled(result)).toEqual({ status: 'fulfilled', value: 'done' });
    expect(timer).not.toHaveBeenCalled();
  });

  it('of a cap of delays is exactly the formula, over many attempts', async () => {
    vi.useFakeTimers();
    const { task, times } = flaky(Infinity, 'never');
    await settled(retried({ maxAttempts: 9, initialDelayMs: 100, maxDelayMs: 1_500 }, task));
    expect(times.slice(1).map((time, i) => time - (times[i] ?? 0))).toEqual([
      100, 200, 400, 800, 1_500, 1_500, 1_500, 1_500,
    ]);
  });

  it('beyond the longest timer of Node is slept in slices, not cut to 1 ms', async () => {
    vi.useFakeTimers();
    const days = 24 * 60 * 60 * 1_000;
    const timer = vi.spyOn(globalThis, 'setTimeout');
    const { task, times } = flaky(1, 'done');
    await settled(retried({ initialDelayMs: 60 * days, maxDelayMs: 60 * days }, task));
    expect(times).toEqual([0, 60 * days]);
    expect(timer.mock.calls.map(([, ms]) => ms)).toEqual([2 ** 31 - 1, 2 ** 31 - 1, 60 * days - 2 * (2 ** 31 - 1)]);
  });

  it('with maxAttempts 1 is none: one call, no timer', async () => {
    vi.useFakeTimers();
    const timer = vi.spyOn(globalThis, 'setTimeout');
    const { task, errors } = flaky(Infinity, 'never');
    expect(await settled(retried({ maxAttempts: 1 }, task))).toEqual({ status: 'rejected', reason: errors[0] });
    expect(task).toHaveBeenCalledTimes(1);
    expect(timer).not.toHaveBeenCalled();
  });
});

describe('a process with nothing else to do', () => {
  it('stays for the wait of a task, and exits by itself after it', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(__dirname, 'fixtures/waits-alone.cjs')], {
      encoding: 'utf8',
      timeout: 15_000,
    });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'attempt\nattempt\ndone\n', stderr: '' });
  });
});

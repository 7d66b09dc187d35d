import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  getRetryInfo,
  NonRetryableError,
  Retry,
  retry,
  retryKernelTask,
  retrySync,
  RetryTimeoutError,
  schedule,
  setTestMode,
  withRetry,
  worstCaseMs,
  type RetryEvent,
  type RetryOptions,
} from '../../ts/index.js';
import { flaky, settled, thrownBy } from './helpers.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const exactly: RetryOptions = { jitter: 'none' };
const never = () => new Promise<never>(() => undefined);

describe('the signal', () => {
  it('that is aborted already: no call, its own reason', async () => {
    const { task } = flaky(0, 'done');
    const reason = new Error('mine');
    expect(await thrownBy(retry(task, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(task).not.toHaveBeenCalled();
    expect(getRetryInfo(reason)).toMatchObject({ attempts: 0, stopReason: 'aborted' });
  });

  it('ends a wait at once, with its own reason, and there is no further call', async () => {
    const { task } = flaky(Infinity, 'never');
    const controller = new AbortController();
    const run = retry(task, { ...exactly, signal: controller.signal });
    const ended = expect(run).rejects.toBe('enough');
    await vi.advanceTimersByTimeAsync(400);
    controller.abort('enough');
    await ended;
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(100_000);
    expect(task).toHaveBeenCalledTimes(1);
  });

  it('ends an attempt at once, tells it by ctx.signal, and ignores what it comes to later', async () => {
    const controller = new AbortController();
    let seen: unknown;
    const run = retry(
      async ({ signal }) => {
        signal.addEventListener('abort', () => (seen = signal.reason as unknown));
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        throw new Error('late');
      },
      { signal: controller.signal },
    );
    const reason = new Error('mine');
    const ended = expect(run).rejects.toBe(reason);
    controller.abort(reason);
    await ended;
    expect(seen).toBe(reason);
    await vi.advanceTimersByTimeAsync(2_000);
  });

  it('counts before the error that it caused: a TimeoutError of its own is not retried', async () => {
    const controller = new AbortController();
    const task = vi.fn(async ({ signal }: { signal: AbortSignal }) => {
      await Promise.resolve();
      controller.abort(new DOMException('too slow', 'TimeoutError'));
      signal.throwIfAborted();
      throw new Error('of the operation');
    });
    const thrown = await thrownBy(retry(task, { signal: controller.signal }));
    expect(thrown).toMatchObject({ name: 'TimeoutError', message: 'too slow' });
    expect(task).toHaveBeenCalledTimes(1);
  });

  it('has one listener in each run, and none after it', async () => {
    const controller = new AbortController();
    for (const failures of [0, 1, 2, Infinity]) {
      const { task } = flaky(failures, 'done');
      let most = 0;
      const counted = () => {
        most = Math.max(most, getEventListeners(controller.signal, 'abort').length);
        return task();
      };
      await settled(retry(counted, { signal: controller.signal }));
      expect(most).toBe(1);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    }
  });
});

it('a signal that many runs share has one listener, ends them all, and has none after them', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const listeners = () => getEventListeners(signal, 'abort').length;
  const runs = Array.from({ length: 50 }, (_, i) => settled(retry(flaky(i % 3, i).task, { signal })));
  expect(listeners()).toBe(1);
  expect((await Promise.all(runs)).map(({ status }) => status)).toEqual(Array(50).fill('fulfilled'));
  expect(listeners()).toBe(0);
  const hanging = Promise.allSettled(Array.from({ length: 50 }, () => retry(never, { signal })));
  controller.abort('enough');
  expect(await hanging).toEqual(Array(50).fill({ status: 'rejected', reason: 'enough' }));
  expect([listeners(), warn.mock.calls]).toEqual([0, []]);
  warn.mockRestore();
});

describe('timeouts', () => {
  it('of an attempt: it fails, is told so, and another one follows', async () => {
    const reasons: unknown[] = [];
    const task = vi.fn(({ attempt, signal }: { attempt: number; signal: AbortSignal }) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason));
      return attempt < 3 ? never() : Promise.resolve('done');
    });
    const run = retry(task, { ...exactly, attemptTimeoutMs: 50 });
    expect(await settled(run)).toEqual({ status: 'fulfilled', value: 'done' });
    expect(task).toHaveBeenCalledTimes(3);
    expect(reasons).toMatchObject([{ code: 'ERR_REPRISE_ATTEMPT_TIMEOUT' }, { code: 'ERR_REPRISE_ATTEMPT_TIMEOUT' }]);
  });

  it('in total: interrupts an attempt that hangs', async () => {
    const run = retry(never, { totalTimeoutMs: 200 });
    const ended = expect(run).rejects.toMatchObject({ code: 'ERR_REPRISE_RETRY_TIMEOUT' });
    await vi.advanceTimersByTimeAsync(200);
    await ended;
    expect(vi.getTimerCount()).toBe(0);
  });

  it('in total: a wait that would outlast it is not begun; the last error is the cause', async () => {
    const { task, errors } = flaky(Infinity, 'never');
    const run = retry(task, { ...exactly, maxAttempts: 5, totalTimeoutMs: 1_500 });
    const thrown = (await thrownBy(run)) as RetryTimeoutError;
    expect(thrown).toBeInstanceOf(RetryTimeoutError);
    expect(task).toHaveBeenCalledTimes(2);
    expect(thrown.cause).toBe(errors.at(-1));
    expect(getRetryInfo(thrown)).toMatchObject({ attempts: 2, totalDelayMs: 1_000, stopReason: 'timeout' });
  });

  it('in total: no attempt begins after it, though the event loop was blocked until then', async () => {
    vi.useRealTimers();
    const { task, errors } = flaky(Infinity, 'never');
    const run = retry(task, {
      ...exactly,
      initialDelayMs: 10,
      totalTimeoutMs: 300,
      onEvent: ({ type }) => {
        if (type === 'retry') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
      },
    });
    await expect(run).rejects.toMatchObject({ code: 'ERR_REPRISE_RETRY_TIMEOUT', cause: errors[0] });
    expect(task).toHaveBeenCalledTimes(1);
  });

  it('in total: interrupts where only setTimeout is faked', async () => {
    vi.useRealTimers();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const ended = expect(retry(never, { totalTimeoutMs: 200 })).rejects.toBeInstanceOf(RetryTimeoutError);
    await vi.advanceTimersByTimeAsync(200);
    await ended;
  });
});

describe('what is retried', () => {
  it('not a NonRetryableError, nor what has one among its causes, nor one of another copy of the package', async () => {
    const foreign = Object.assign(new Error('theirs'), { [Symbol.for('reprise.nonRetryable')]: true });
    const mine = new NonRetryableError('mine');
    for (const error of [mine, new Error('outer', { cause: mine }), foreign]) {
      const task = vi.fn(() => Promise.reject(error));
      expect(await thrownBy(retry(task))).toBe(error);
      expect(task).toHaveBeenCalledTimes(1);
      expect(getRetryInfo(error)?.stopReason).toBe('non-retryable');
    }
  });

  it('what shouldRetry says; undefined leaves it to the default rule', async () => {
    const calls = async (error: Error, verdict: boolean | undefined) => {
      const task = vi.fn(() => Promise.reject(error));
      await settled(retry(task, { ...exactly, shouldRetry: () => Promise.resolve(verdict) }));
      return task.mock.calls.length;
    };
    expect(await calls(new TypeError('x'), true)).toBe(3);
    expect(await calls(new TypeError('x'), undefined)).toBe(1);
    expect(await calls(new Error('x'), false)).toBe(1);
    expect(await calls(new Error('x'), undefined)).toBe(3);
  });

  it('not what a run inside has given up, where shouldRetry says so: calls are not multiplied', async () => {
    const { task } = flaky(Infinity, 'never');
    const inner = () => retry(task, exactly);
    const shouldRetry = (error: unknown) => (getRetryInfo(error) ? false : undefined);
    await settled(retry(inner, { ...exactly, shouldRetry }));
    expect(task).toHaveBeenCalledTimes(3);
    await settled(retry(inner, exactly));
    expect(task).toHaveBeenCalledTimes(3 + 9);
  });

  it('nothing more where shouldRetry throws: its error comes out, with the original as its cause', async () => {
    const { task, errors } = flaky(Infinity, 'never');
    const own = new Error('own');
    const thrown = await thrownBy(
      retry(task, {
        shouldRetry: () => {
          throw own;
        },
      }),
    );
    expect(thrown).toBe(own);
    expect(own.cause).toBe(errors[0]);
    expect(task).toHaveBeenCalledTimes(1);
  });
});

describe('Retry-After', () => {
  const refusing = (headers: Record<string, string>) =>
    vi.fn(() => Promise.reject(Object.assign(new Error('429'), { response: { headers: new Headers(headers) } })));

  it('is never undercut, and does not shorten a longer wait', async () => {
    const times: number[] = [];
    const start = Date.now();
    const waits = ['2', '0', 'soon'];
    const run = retry(
      () => {
        times.push(Date.now() - start);
        const error = Object.assign(new Error('429'), { headers: { 'Retry-After': waits[times.length - 1] } });
        return Promise.reject(error);
      },
      { ...exactly, maxAttempts: 4 },
    );
    await settled(run);
    expect(times).toEqual([0, 2_000, 4_000, 8_000]);
  });

  it('above the limit ends the run: the original error, and what was asked for beside it', async () => {
    const task = refusing({ 'retry-after': '3600' });
    const thrown = await thrownBy(retry(task));
    expect(task).toHaveBeenCalledTimes(1);
    expect(getRetryInfo(thrown)).toMatchObject({ stopReason: 'retry-after', retryAfterMs: 3_600_000 });
  });

  it('beyond the total timeout ends it as well', async () => {
    const task = refusing({ 'retry-after-ms': '5000', 'retry-after': '1' });
    const thrown = await thrownBy(retry(task, { totalTimeoutMs: 3_000 }));
    expect(thrown).toMatchObject({ message: '429' });
    expect(getRetryInfo(thrown)).toMatchObject({ stopReason: 'retry-after', retryAfterMs: 5_000 });
  });

  it.each(['x-should-retry', 'stripe-should-retry'])('%s: false beats everything', async (name) => {
    const task = refusing({ [name]: 'false' });
    await settled(retry(task, { shouldRetry: () => true }));
    expect(task).toHaveBeenCalledTimes(1);
  });
});

describe('getRetryInfo', () => {
  it('tells how it went, keeps the last five errors, and leaves the error as it was', async () => {
    const { task, errors } = flaky(Infinity, 'never');
    const run = retry(task, { ...exactly, maxAttempts: 7, initialDelayMs: 1, maxDelayMs: 1 });
    const thrown = (await thrownBy(run)) as Error;
    expect(thrown).toBe(errors.at(-1));
    expect(getRetryInfo(thrown)).toEqual({
      attempts: 7,
      totalDelayMs: 6,
      stopReason: 'exhausted',
      errors: errors.slice(-5),
    });
    expect(Object.keys(thrown)).toEqual([]);
  });

  it('of a frozen error works; of what no run ended with, and of primitives, there is none', async () => {
    const frozen = Object.freeze(new Error('frozen'));
    await settled(retry(() => Promise.reject(frozen), { maxAttempts: 1 }));
    expect(getRetryInfo(frozen)?.attempts).toBe(1);
    expect([getRetryInfo(new Error('x')), getRetryInfo('x'), getRetryInfo(undefined)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe('onEvent', () => {
  it('is told of every attempt, wait and end', async () => {
    const events: RetryEvent[] = [];
    const { task, errors } = flaky(Infinity, 'never');
    const options = { ...exactly, name: 'charge', maxAttempts: 2, onEvent: (event: RetryEvent) => events.push(event) };
    await settled(retry(task, options));
    const common = { name: 'charge', maxAttempts: 2 };
    expect(events).toEqual([
      { ...common, type: 'attempt', attempt: 1 },
      { ...common, type: 'retry', attempt: 1, delayMs: 1_000, error: errors[0] },
      { ...common, type: 'attempt', attempt: 2 },
      { ...common, type: 'give-up', attempt: 2, stopReason: 'exhausted', error: errors[1] },
    ]);
  });

  it('may advance a fake clock: the wait is armed before it is told', async () => {
    const { task } = flaky(1, 'done');
    const run = retry(task, {
      onEvent: ({ type, delayMs = 0 }) => {
        if (type === 'retry') vi.advanceTimersByTime(Math.ceil(delayMs));
      },
    });
    await expect(run).resolves.toBe('done');
  });

  it('that throws or rejects changes nothing, and is warned about once', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const { task } = flaky(1, 'done');
    const run = retry(task, {
      onEvent: () => {
        throw new Error('broken');
      },
    });
    expect(await settled(run)).toEqual({ status: 'fulfilled', value: 'done' });
    expect(warn).toHaveBeenCalledTimes(1);
    warn.mockRestore();
  });
});

describe('jitter', () => {
  const waits = async (options: RetryOptions) => {
    const { task, times } = flaky(Infinity, 'never');
    await settled(retry(task, { maxAttempts: 6, ...options }));
    return times.slice(1).map((time, i) => time - (times[i] ?? 0));
  };

  it('is full by default, and never above the schedule', async () => {
    const longest = schedule({ maxAttempts: 6 });
    for (const [i, wait] of (await waits({})).entries()) expect(wait).toBeLessThanOrEqual(longest[i] ?? 0);
  });

  it.each(['full', 'equal', 'decorrelated'] as const)('%s with a seed is what schedule says', async (jitter) => {
    const expected = schedule({ maxAttempts: 6, jitter, seed: 7 });
    // Timers are whole milliseconds.
    for (const [i, wait] of (await waits({ jitter, seed: 7 })).entries()) {
      expect(Math.abs(wait - (expected[i] ?? 0))).toBeLessThanOrEqual(1);
    }
    expect(await waits({ jitter, seed: 7 })).toEqual(await waits({ jitter, seed: 7 }));
    expect(await waits({ jitter, seed: 8 })).not.toEqual(await waits({ jitter, seed: 7 }));
  });

  // The same table is in `src/retry/jitter.rs`.
  it.each([
    ['full', [38.98297483912715, 3.3576589056312223, 360.30427224275337, 466.3442344224625, 452.4418950114684]],
    ['decorrelated', [177.9659496782543, 107.28440488472901, 299.8366526267305, 566.0585740259664, 507.19770551032155]],
  ] as const)('%s with a seed is the same to the last bit in every language', (jitter, delays) => {
    expect(schedule({ maxAttempts: 6, initialDelayMs: 100, maxDelayMs: 1_000, jitter, seed: 7 })).toEqual(delays);
  });

  it('worstCaseMs is the sum of the longest waits and attempts', () => {
    expect(worstCaseMs({ maxAttempts: 5, initialDelayMs: 2_000, maxDelayMs: 60_000 })).toBe(30_000);
    expect(worstCaseMs({ maxAttempts: 3, attemptTimeoutMs: 100 })).toBe(3_300);
    expect(schedule({ maxAttempts: 1 })).toEqual([]);
    expect(worstCaseMs({ maxAttempts: Infinity })).toBe(Infinity);
    expect(() => schedule({ maxAttempts: Infinity })).toThrow(/option "maxAttempts" is Infinity; allowed: a number of/);
  });
});

describe('every form', () => {
  it('preset({ overrides }) is a preset of its own, and the preset stays as it was', async () => {
    const { task, times } = flaky(Infinity, 'never');
    await settled(retryKernelTask({ maxAttempts: 4, initialDelayMs: 10 })(task)());
    expect(times).toEqual([0, 10, 30, 70]);
    const other = flaky(Infinity, 'never');
    await settled(retryKernelTask(other.task)());
    expect(other.times).toEqual([0, 1_000, 3_000]);
  });

  it('withRetry keeps this and the arguments', async () => {
    const owner = {
      base: 1,
      get: withRetry(function (this: { base: number }, n: number) {
        return this.base + n;
      }),
    };
    await expect(owner.get(2)).resolves.toBe(3);
  });

  it('refuses wrong options at once', () => {
    expect(() => retry(() => 1, { maxAttempts: 0 })).toThrow(/^retry: option "maxAttempts" is 0/);
    expect(() => Retry({ retries: 2 } as RetryOptions)).toThrow(/^Retry: unknown option "retries"/);
    expect(() => retryKernelTask({ jiter: 'full' } as RetryOptions)).toThrow(/did you mean "jitter"/);
    expect(() => retry('x' as unknown as () => 1)).toThrow(/argument "fn" is "x"/);
  });
});

describe('retrySync', () => {
  it('blocks between the calls, and refuses a function that returns a promise', () => {
    vi.useRealTimers();
    let calls = 0;
    const fn = () => {
      if (++calls < 3) throw new Error('not yet');
      return calls;
    };
    expect(retrySync(fn, { initialDelayMs: 1 })).toBe(3);
    expect(() => retrySync(() => Promise.resolve(1))).toThrow(/a synchronous function; use retry/);
    expect(() =>
      retrySync(() => {
        throw new TypeError('mine');
      }),
    ).toThrow('mine');
  });
});

describe('setTestMode', () => {
  it('waits 0 ms and bounds the calls, until it is restored', async () => {
    const restore = setTestMode({ maxAttempts: 2 });
    const { task, times } = flaky(Infinity, 'never');
    await settled(retryKernelTask({ maxAttempts: 9 })(task)());
    expect(times).toEqual([0, 0]);
    restore();
    const other = flaky(Infinity, 'never');
    await settled(retryKernelTask(other.task)());
    expect(other.times).toEqual([0, 1_000, 3_000]);
  });
});

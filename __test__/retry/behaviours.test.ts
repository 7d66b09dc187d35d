import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  getRetryInfo,
  NonRetryableError,
  retry,
  retryKernelTask,
  setTestMode,
  withRetry,
  type AttemptContext,
  type RetryEvent,
  type RetryInfo,
  type RetryOptions,
} from '../../ts/index.js';
import { settled } from './helpers.js';

// What users of the well-known libraries of this kind rely on, in our words: p-retry 9, cockatiel 4, tenacity 9 and
// ky 2. Where reprise does otherwise on purpose, the case says so.

/** What all of them can be told. Times are milliseconds. */
interface Settings {
  readonly attempts?: number;
  readonly initial?: number;
  readonly max?: number;
  readonly base?: number;
  /** Of one attempt, and of all together. */
  readonly each?: number;
  readonly total?: number;
  readonly signal?: AbortSignal;
  readonly should?: RetryOptions['shouldRetry'];
  readonly on?: (event: RetryEvent) => unknown;
}

interface Outcome {
  /** When each call was made, from the first. */
  readonly at: readonly number[];
  readonly result?: unknown;
  readonly error?: unknown;
  readonly info?: RetryInfo | undefined;
}

/** Calls a function as the settings say, under a fake clock, to the end. */
async function run(fn: (context: AttemptContext) => unknown, settings: Settings = {}): Promise<Outcome> {
  const start = Date.now();
  const at: number[] = [];
  const called = (context: AttemptContext) => {
    at.push(Date.now() - start);
    return fn(context);
  };
  const outcome = await settled(retry(called, optionsOf(settings)));
  return outcome.status === 'fulfilled'
    ? { at, result: outcome.value }
    : { at, error: outcome.reason as unknown, info: getRetryInfo(outcome.reason) };
}

function optionsOf(settings: Settings): RetryOptions {
  const { attempts, initial = 1_000, max = 30_000, base, each, total, signal, should, on } = settings;
  return {
    jitter: 'none',
    maxAttempts: attempts,
    initialDelayMs: initial,
    maxDelayMs: max,
    exponentialBase: base,
    attemptTimeoutMs: each,
    totalTimeoutMs: total,
    signal,
    shouldRetry: should,
    onEvent: on,
  };
}

/** Fails so often, and then gives `'done'`. */
function failing(times: number, error: (call: number) => unknown = (call) => new Error(`failure ${call}`)) {
  let calls = 0;
  return () => {
    if (++calls <= times) throw error(calls);
    return 'done';
  };
}

const always = Infinity;
const never = () => new Promise<never>(() => undefined);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('how often', () => {
  it.each([
    { fails: 0, attempts: 3, calls: 1, succeeds: true },
    { fails: 1, attempts: 3, calls: 2, succeeds: true },
    { fails: 2, attempts: 3, calls: 3, succeeds: true },
    { fails: 3, attempts: 3, calls: 3, succeeds: false },
    { fails: always, attempts: 1, calls: 1, succeeds: false },
    { fails: always, attempts: 2, calls: 2, succeeds: false },
    { fails: always, attempts: 11, calls: 11, succeeds: false },
    { fails: 40, attempts: Infinity, calls: 41, succeeds: true },
  ])('fails $fails times, $attempts attempts: $calls calls', async ({ fails, attempts, calls, succeeds }) => {
    const { at, result, error } = await run(failing(fails), { attempts, initial: 1 });
    expect(at).toHaveLength(calls);
    expect(result).toBe(succeeds ? 'done' : undefined);
    if (!succeeds) expect(error).toMatchObject({ message: `failure ${calls}` });
  });

  it('attempts are counted from 1, and the function is told', async () => {
    const seen: unknown[] = [];
    const { info } = await run(
      ({ attempt, maxAttempts, lastError }) => {
        seen.push([attempt, maxAttempts, (lastError as Error | undefined)?.message]);
        throw new Error(`failure ${attempt}`);
      },
      { attempts: 3 },
    );
    expect(seen).toEqual([
      [1, 3, undefined],
      [2, 3, 'failure 1'],
      [3, 3, 'failure 2'],
    ]);
    expect(info).toMatchObject({ attempts: 3, totalDelayMs: 3_000, stopReason: 'exhausted' });
  });

  it.each([
    ['what a synchronous function throws', () => failing(2)],
    ['a rejected promise', () => vi.fn(() => Promise.resolve('done')).mockRejectedValueOnce(new Error('no'))],
  ])('%s is a failure', async (_, make) => {
    expect((await run(make(), { attempts: 3 })).result).toBe('done');
  });

  it('each run begins anew, side by side too', async () => {
    const wrapped = withRetry(failing(2), optionsOf({ attempts: 2 }));
    expect(await settled(wrapped())).toMatchObject({ status: 'rejected', reason: { message: 'failure 2' } });
    expect(await settled(wrapped())).toEqual({ status: 'fulfilled', value: 'done' });
    const both = await Promise.all([run(failing(always), { attempts: 3 }), run(failing(1), { attempts: 3 })]);
    expect(both.map(({ at }) => at)).toEqual([
      [0, 1_000, 3_000],
      [0, 1_000],
    ]);
  });
});

describe('how long between', () => {
  it.each([
    { name: 'doubles', settings: { initial: 100, max: 10_000 }, waits: [100, 200, 400, 800] },
    { name: 'base 1 is constant', settings: { initial: 100, base: 1 }, waits: [100, 100, 100, 100] },
    { name: 'base 3', settings: { initial: 10, base: 3 }, waits: [10, 30, 90, 270] },
    { name: 'a base with a fraction', settings: { initial: 100, base: 1.5 }, waits: [100, 150, 225, 338] },
    { name: 'is capped', settings: { initial: 100, max: 250 }, waits: [100, 200, 250, 250] },
    { name: 'a cap that is the first', settings: { initial: 100, max: 100 }, waits: [100, 100, 100, 100] },
    { name: 'none at all', settings: { initial: 0 }, waits: [0, 0, 0, 0] },
  ])('$name', async ({ settings, waits }) => {
    const { at } = await run(failing(always), { attempts: 5, ...settings });
    const waited = at.slice(1).map((time, i) => time - (at[i] ?? 0));
    // The fake clock counts whole milliseconds, and makes one of a timer inside of a timer of 0.
    for (const [i, wait] of waits.entries()) expect(Math.abs((waited[i] ?? NaN) - wait)).toBeLessThanOrEqual(1);
  });

  it('the wait is never infinite nor cut to nothing, after however many retries', async () => {
    const { at } = await run(failing(1_100), { attempts: 1_101, initial: 1, max: 1_000 });
    expect(at.at(-1)).toBeGreaterThan(1_080_000);
    expect((at.at(-1) ?? 0) - (at.at(-2) ?? 0)).toBe(1_000);
  });
});

describe('what is retried', () => {
  const cases: [string, unknown, 'retried' | 'final'][] = [
    ['an error', new Error('boom'), 'retried'],
    ['a string, null and undefined too: unlike p-retry, which refuses them', undefined, 'retried'],
    ['an error whose name says nothing', Object.assign(new Error('x'), { name: 'Custom' }), 'retried'],
    ['a network error of fetch', new TypeError('fetch failed'), 'retried'],
    ['a time limit of the operation', new DOMException('late', 'TimeoutError'), 'retried'],
    ['a mistake of the programmer', new TypeError('x is not a function'), 'final'],
    ['a cancellation', new DOMException('cancelled', 'AbortError'), 'final'],
    ['what is marked as final', new NonRetryableError('declined'), 'final'],
    ['what has a final cause', new Error('outer', { cause: new NonRetryableError('declined') }), 'final'],
  ];
  it.each(cases)('%s', async (_, error, kind) => {
    const { at, ...outcome } = await run(
      failing(always, () => error),
      { attempts: 3 },
    );
    expect(at).toHaveLength(kind === 'retried' ? 3 : 1);
    // The very value, not a wrapper of it.
    expect(outcome.error).toBe(error);
  });

  it('what comes out is the last error, not the most frequent one, and the history has them all', async () => {
    const [a, b] = [new Error('a'), new Error('b')];
    const { error, info } = await run(
      failing(always, (call) => (call < 3 ? a : b)),
      { attempts: 3 },
    );
    expect(error).toBe(b);
    expect(info?.errors).toEqual([a, a, b]);
  });

  it('a predicate decides, at once or later, and is told the error and the attempt', async () => {
    const seen: unknown[] = [];
    const { at, info } = await run(failing(always), {
      attempts: 5,
      should: async (error, { attempt, maxAttempts }) => {
        await Promise.resolve();
        seen.push([(error as Error).message, attempt, maxAttempts]);
        return attempt < 3;
      },
    });
    expect(at).toHaveLength(3);
    expect(info?.stopReason).toBe('non-retryable');
    expect(seen).toEqual([
      ['failure 1', 1, 5],
      ['failure 2', 2, 5],
      ['failure 3', 3, 5],
    ]);
  });

  it('a predicate is not asked about the last attempt, nor about a success', async () => {
    const should = vi.fn(() => true);
    await run(failing(always), { attempts: 2, should });
    await run(failing(0), { should });
    expect(should).toHaveBeenCalledTimes(1);
  });

  it('a predicate by kind of error: one kind is retried, another is not', async () => {
    class Busy extends Error {}
    const should = (error: unknown) => error instanceof Busy;
    expect(
      (
        await run(
          failing(1, () => new Busy()),
          { should },
        )
      ).result,
    ).toBe('done');
    expect((await run(failing(1), { should })).at).toHaveLength(1);
  });
});

describe('a signal', () => {
  const abortAfter = (ms: number, reason: unknown) => {
    const controller = new AbortController();
    setTimeout(() => {
      controller.abort(reason);
    }, ms);
    return controller.signal;
  };

  it.each([
    { when: 'before the run', signal: () => AbortSignal.abort('stop'), calls: 0 },
    { when: 'in a wait', signal: () => abortAfter(100, 'stop'), calls: 1 },
    { when: 'in a later wait', signal: () => abortAfter(1_500, 'stop'), calls: 2 },
  ])('$when: its reason comes out at once, and no call follows', async ({ signal, calls }) => {
    const { at, error, info } = await run(failing(always), { attempts: 5, signal: signal() });
    expect(at).toHaveLength(calls);
    expect(error).toBe('stop');
    expect(info).toBeUndefined();
  });

  it('in an attempt that hangs: it ends, and the attempt is told', async () => {
    const reason = new Error('stop');
    let told: unknown;
    const { at, error, info } = await run(
      ({ signal }) => {
        signal.addEventListener('abort', () => (told = signal.reason as unknown));
        return never();
      },
      { signal: abortAfter(100, reason) },
    );
    expect([at.length, error, told]).toEqual([1, reason, reason]);
    expect(info?.stopReason).toBe('aborted');
  });

  it('a time limit as signal is not one of the failures it causes', async () => {
    const signal = abortAfter(100, new DOMException('too late', 'TimeoutError'));
    const { at, error } = await run(
      (context) =>
        new Promise((_, reject) => {
          context.signal.addEventListener('abort', () => {
            reject(context.signal.reason as Error);
          });
        }),
      { attempts: 5, signal },
    );
    expect(at).toHaveLength(1);
    expect(error).toMatchObject({ name: 'TimeoutError', message: 'too late' });
  });

  it('after the end it changes nothing', async () => {
    const controller = new AbortController();
    expect((await run(failing(1), { signal: controller.signal })).result).toBe('done');
    controller.abort();
  });
});

describe('time limits', () => {
  it('of an attempt: one that hangs is given up, and another is made', async () => {
    let calls = 0;
    const { at, result } = await run(() => (++calls < 3 ? never() : 'done'), { each: 50, initial: 100, base: 1 });
    expect([at, result]).toEqual([[0, 150, 300], 'done']);
  });

  it('of an attempt: when all hang, the last limit is the error', async () => {
    const { error } = await run(never, { each: 50, attempts: 2 });
    expect(error).toMatchObject({ name: 'AttemptTimeoutError' });
  });

  it('in total: it interrupts what hangs, where others wait for it', async () => {
    const { error, info } = await run(never, { total: 200 });
    expect(error).toMatchObject({ name: 'RetryTimeoutError' });
    expect(info).toMatchObject({ attempts: 1, stopReason: 'timeout' });
  });

  it('in total: nobody waits for what would come too late', async () => {
    const start = Date.now();
    const { at, error } = await run(failing(always), { attempts: 9, total: 3_500 });
    expect(at).toEqual([0, 1_000, 3_000]);
    expect(Date.now() - start).toBe(3_000);
    expect(error).toMatchObject({ name: 'RetryTimeoutError', cause: { message: 'failure 3' } });
  });
});

describe('who watches', () => {
  const watched = async (fails: number, attempts: number) => {
    const told: string[] = [];
    await run(failing(fails), {
      attempts,
      on: ({ type, attempt, delayMs = '', stopReason = '' }) => told.push(`${type} ${attempt} ${delayMs}${stopReason}`),
    });
    return told.map((line) => line.trim());
  };

  it.each([
    { fails: 0, attempts: 3, told: ['attempt 1', 'success 1'] },
    { fails: 1, attempts: 3, told: ['attempt 1', 'retry 1 1000', 'attempt 2', 'success 2'] },
    { fails: always, attempts: 2, told: ['attempt 1', 'retry 1 1000', 'attempt 2', 'give-up 2 exhausted'] },
    { fails: always, attempts: 1, told: ['attempt 1', 'give-up 1 exhausted'] },
  ])('is told $told', async ({ fails, attempts, told }) => {
    expect(await watched(fails, attempts)).toEqual(told);
  });

  it('and fails at it, disturbs nothing: unlike p-retry, whose observer may end the run', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const on = () => {
      throw new Error('broken observer');
    };
    expect(await run(failing(1), { on })).toMatchObject({ at: [0, 1_000], result: 'done' });
    vi.restoreAllMocks();
  });
});

describe('a wrapped function', () => {
  it('keeps its name, its arguments and its this, and options for one use leave the others alone', async () => {
    const shop = {
      name: 'shop',
      sell: retryKernelTask(function sell(this: { name: string }, what: string, howMany: number) {
        return Promise.resolve(`${this.name} sells ${howMany} ${what}`);
      }),
    };
    expect(shop.sell.name).toBe('sell');
    expect(await shop.sell('otters', 2)).toBe('shop sells 2 otters');
    const once = retryKernelTask({ maxAttempts: 1 })(failing(1));
    expect(await settled(once())).toMatchObject({ status: 'rejected' });
    expect(await settled(retryKernelTask(failing(1))())).toEqual({ status: 'fulfilled', value: 'done' });
  });

  it('can be told for tests not to wait, and how often at most', async () => {
    const restore = setTestMode({ maxAttempts: 2 });
    const { at } = await run(failing(always), { attempts: 9 });
    restore();
    expect(at).toHaveLength(2);
    expect(at.at(-1)).toBeLessThanOrEqual(1);
  });
});

describe('what cannot be meant is refused where it is written', () => {
  it.each([
    { attempts: 0 },
    { attempts: -1 },
    { attempts: NaN },
    { attempts: 1.5 },
    { attempts: -Infinity },
    { attempts: '3' as unknown as number },
    { initial: -1 },
    { initial: NaN },
    { initial: Infinity },
    { max: -1 },
    { max: NaN },
    { base: 0 },
    { base: -2 },
    { base: NaN },
    { base: Infinity },
    { each: 0 },
    { total: -1 },
    { total: NaN },
  ] satisfies Settings[])('%j', (settings) => {
    expect(() => retry(() => 1, optionsOf(settings))).toThrow(
      expect.objectContaining({ code: 'ERR_REPRISE_INVALID_OPTION' }),
    );
  });
});

describe('Retry-After on the error, before a wait that would have been 1 s', () => {
  const now = new Date('2026-03-01T12:00:00Z');
  const HOUR = 3_600_000;
  const cases: [header: Record<string, string>, wait: number | 'stops'][] = [
    [{ 'retry-after': '3' }, 3_000],
    [{ 'Retry-After': ' 3 ' }, 3_000],
    [{ 'retry-after': '0' }, 1_000],
    // Less than the own wait: that one holds.
    [{ 'retry-after-ms': '50' }, 1_000],
    [{ 'retry-after-ms': '1500' }, 1_500],
    [{ 'retry-after-ms': '1500', 'retry-after': '9' }, 1_500],
    [{ 'retry-after-ms': 'soon', 'retry-after': '9' }, 9_000],
    [{ 'retry-after': 'Sun, 01 Mar 2026 12:00:30 GMT' }, 30_000],
    [{ 'retry-after': 'Sunday, 01-Mar-26 12:00:30 GMT' }, 30_000],
    [{ 'retry-after': 'Sun Mar  1 12:00:30 2026' }, 30_000],
    [{ 'retry-after': 'Sat, 28 Feb 2026 12:00:30 GMT' }, 1_000],
    [{ 'retry-after': '' }, 1_000],
    [{ 'retry-after': '-5' }, 1_000],
    [{ 'retry-after': '+5' }, 1_000],
    [{ 'retry-after': '0x10' }, 1_000],
    [{ 'retry-after': '1e3' }, 1_000],
    [{ 'retry-after': 'Infinity' }, 1_000],
    [{ 'retry-after': 'soon' }, 1_000],
    [{ 'retry-after': '60' }, 60_000],
    // ky cuts it down, axios-retry sleeps for it, openai ignores it; we do not come back before we were told to.
    [{ 'retry-after': '61' }, 'stops'],
    [{ 'retry-after': String(HOUR) }, 'stops'],
    [{ 'retry-after': '999999999999999999999' }, 'stops'],
    [{ 'retry-after': '3', 'x-should-retry': 'false' }, 'stops'],
    [{ 'retry-after': '3', 'x-should-retry': 'true' }, 3_000],
  ];
  it.each(cases)('%j: %s', async (headers, wait) => {
    vi.setSystemTime(now);
    const error = Object.assign(new Error('429'), { response: { status: 429, headers } });
    const { at } = await run(
      failing(1, () => error),
      { attempts: 2 },
    );
    expect(at).toEqual(wait === 'stops' ? [0] : [0, wait]);
  });
});

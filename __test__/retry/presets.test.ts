import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { retryCriticalTask, retryKernelTask, retryQuickTask } from '../../ts/index.js';
import { native } from '../../ts/native.js';
import { flaky, settled, thrownBy } from './helpers.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const presets = { retryKernelTask, retryCriticalTask, retryQuickTask };

describe('a task that goes on failing', () => {
  it.each([
    ['retryKernelTask', [0, 1_000, 3_000]],
    ['retryCriticalTask', [0, 2_000, 6_000, 14_000, 30_000]],
    ['retryQuickTask', [0, 500, 1_500]],
  ] as const)('is called by %s at %j ms, and never again', async (name, times) => {
    const { task, times: calls, errors } = flaky(Infinity, 'never');
    const thrown = await thrownBy(presets[name](task)());
    expect(calls).toEqual(times);
    expect(thrown).toBe(errors.at(-1));
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a task that fails and then succeeds', () => {
  it.each([1, 2])('gives its result after %i failures', async (failures) => {
    const { task, times } = flaky(failures, 'done');
    expect(await settled(retryKernelTask(task)())).toEqual({ status: 'fulfilled', value: 'done' });
    expect(times).toHaveLength(failures + 1);
  });

  it('is not called a moment before its delay is over', async () => {
    const { task } = flaky(2, 'done');
    const result = retryKernelTask(task)();
    await vi.advanceTimersByTimeAsync(999);
    expect(task).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(task).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(1_999);
    expect(task).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(task).toHaveBeenCalledTimes(3);
    await expect(result).resolves.toBe('done');
  });
});

describe('a task that succeeds at once', () => {
  it('costs no timer and no crossing into Rust', async () => {
    const crossing = vi.spyOn(native, 'computeDelay');
    const timer = vi.spyOn(globalThis, 'setTimeout');
    await expect(retryKernelTask(() => Promise.resolve('done'))()).resolves.toBe('done');
    expect(crossing).not.toHaveBeenCalled();
    expect(timer).not.toHaveBeenCalled();
  });

  it('crosses once for each failure, with the numbers of the preset', async () => {
    const crossing = vi.spyOn(native, 'computeDelay');
    await settled(retryQuickTask(flaky(2, 'done').task)());
    expect(crossing.mock.calls).toEqual([
      [0, 500, 5_000, 2],
      [1, 500, 5_000, 2],
    ]);
  });
});

describe('the wrapper', () => {
  it('gives a promise for a synchronous function, and retries what it throws', async () => {
    let calls = 0;
    const task = retryKernelTask((a: number, b: number) => {
      if (++calls < 3) throw new Error('not yet');
      return a + b;
    });
    const sum = task(1, 2);
    expect(sum).toBeInstanceOf(Promise);
    expect(await settled(sum)).toEqual({ status: 'fulfilled', value: 3 });
  });

  it('never throws by itself: what a synchronous function throws is a rejection', async () => {
    const mistake = new TypeError('a mistake');
    const task = retryKernelTask(() => {
      throw mistake;
    });
    expect(await thrownBy(task())).toBe(mistake);
  });

  it('follows any thenable', async () => {
    const thenable: PromiseLike<string> = {
      then: (resolve) => Promise.resolve('from afar').then(resolve),
    };
    expect(await settled(retryKernelTask(() => thenable)())).toEqual({ status: 'fulfilled', value: 'from afar' });
  });

  it('keeps this, the arguments, the name and the length, in every attempt', async () => {
    const seen: unknown[] = [];
    const owner = {
      search: retryQuickTask(async function search(this: unknown, query: string, limit: number) {
        seen.push([this, query, limit]);
        if (seen.length < 3) return Promise.reject(new Error('not yet'));
        return Promise.resolve(limit);
      }),
    };
    expect(owner.search.name).toBe('search');
    expect(owner.search).toHaveLength(2);
    expect(await settled(owner.search('otter', 7))).toEqual({ status: 'fulfilled', value: 7 });
    expect(seen).toEqual([
      [owner, 'otter', 7],
      [owner, 'otter', 7],
      [owner, 'otter', 7],
    ]);
  });

  it('serves calls that overlap without mixing them up', async () => {
    const failed = new Set<number>();
    const double = retryKernelTask((n: number) => {
      if (!failed.has(n)) {
        failed.add(n);
        throw new Error(`${n} fails once`);
      }
      return n * 2;
    });
    const results = settled(Promise.all(Array.from({ length: 50 }, (_, n) => double(n))));
    expect(await results).toEqual({ status: 'fulfilled', value: Array.from({ length: 50 }, (_, n) => n * 2) });
  });

  it('counts each call from the start: two tasks of one preset do not disturb each other', async () => {
    const failing = flaky(Infinity, 'never');
    const working = flaky(2, 'done');
    const outcomes = Promise.all([settled(retryKernelTask(failing.task)()), settled(retryKernelTask(working.task)())]);
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    expect(failing.times).toEqual(working.times);
  });

  it('may be handed to Array.prototype.map', async () => {
    const [task] = [() => Promise.resolve('done')].map(retryKernelTask);
    expect(await task?.()).toBe('done');
  });
});

describe('used in a way that cannot work', () => {
  const misuses: [string, unknown[], string][] = [
    [
      'no function',
      [undefined],
      'argument "target" is undefined; allowed: a function to wrap, or a method to decorate',
    ],
    ['options beside the function', [() => 1, { maxAttempts: 2 }], 'argument "context.kind" is undefined; allowed: '],
    ['a field (TC39)', [undefined, { kind: 'field' }], 'argument "context.kind" is "field"; allowed: \'method\''],
    ['a getter (TC39)', [() => 1, { kind: 'getter' }], 'argument "context.kind" is "getter"; allowed: \'method\''],
    ['a class (TC39)', [Map, { kind: 'class' }], 'argument "context.kind" is "class"; allowed: \'method\''],
    ['a field (legacy)', [{}, 'field', undefined], 'argument "target" is undefined; allowed: a function'],
    ['a getter (legacy)', [{}, 'getter', { get: () => 1 }], 'argument "target" is undefined; allowed: a function'],
    [
      'a generator',
      [
        function* () {
          yield 1;
        },
      ],
      'argument "target" is a function; allowed: no generator',
    ],
    [
      'an async generator',
      [
        async function* () {
          yield await Promise.resolve(1);
        },
      ],
      'argument "target" is a function; allowed: no generator',
    ],
  ];
  it.each(misuses)('on %s it says so at once', (_, args, message) => {
    const loose = retryKernelTask as (...args: unknown[]) => unknown;
    expect(() => loose(...args)).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_REPRISE_INVALID_ARGUMENT',
        message: expect.stringContaining(`retryKernelTask: ${message}`) as string,
      }),
    );
  });
});

import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  drain,
  MemoryStore,
  retryWithCheckpoint,
  type AtomicStore,
  type RetryEvent,
  type StoredCheckpointOptions,
  type TaskContext,
} from '../../ts/index.js';

const store = () => new MemoryStore();
const quickly = { config: { maxAttempts: 3, initialDelayMs: 1, maxDelayMs: 1 }, name: 'task' };

function tasks<State>(options: Partial<StoredCheckpointOptions> = {}) {
  return retryWithCheckpoint<State>({ store: store(), ...quickly, ...options });
}

/** A store whose saves are counted, and fail where told so. */
function watched(over: AtomicStore, failing: { complete?: number; claim?: number } = {}) {
  const saves: number[] = [];
  // Methods that a test sets are its own, not those of the store below.
  const layer = Object.create(over) as AtomicStore;
  const proxy = new Proxy(layer, {
    get(target, name) {
      if (name === 'complete' && (failing.complete ?? 0) > 0) {
        return () => {
          failing.complete = (failing.complete ?? 0) - 1;
          return Promise.reject(new Error('store down'));
        };
      }
      if (name === 'claim' && (failing.claim ?? 0) > 0) {
        return () => Promise.reject(new Error('store down'));
      }
      if (name === 'save') {
        return (...args: Parameters<AtomicStore['save']>) => {
          saves.push(args[1].length);
          return (Object.hasOwn(target, name) ? target : over).save(...args);
        };
      }
      const value = Reflect.get(Object.hasOwn(target, name) ? target : over, name) as unknown;
      return typeof value === 'function' ? (value.bind(over) as unknown) : value;
    },
  });
  return { store: proxy, saves };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('a task that succeeded', () => {
  it('returns its result without running again, the same shape the first time as later', async () => {
    const fn = vi.fn(() => ({ at: new Date(0), nothing: undefined, list: new Map([[1, 2]]) }));
    const task = tasks()(fn);
    const first = (await task('t')) as unknown;
    expect(first).toEqual({ at: '1970-01-01T00:00:00.000Z', list: {} });
    expect(await task('t')).toEqual(first);
    expect(fn).toHaveBeenCalledTimes(1);
    await task('u');
    expect(fn).toHaveBeenCalledTimes(2);
  });

  it.each([undefined, null, 0, '', false])('with %j keeps just that', async (result) => {
    const fn = vi.fn(() => result);
    const task = tasks()(fn);
    expect([await task('t'), await task('t')]).toEqual([result, result]);
    expect(fn).toHaveBeenCalledTimes(1);
  });

  it('runs again when its result is no longer kept', async () => {
    const memory = store();
    const fn = vi.fn(() => 1);
    const task = tasks({ store: memory, ttl: 60 })(fn);
    await task('t');
    memory.advanceClock(61_000);
    await task('t');
    expect(fn).toHaveBeenCalledTimes(2);
  });

  it('whose result cannot be saved ran once; the save alone is retried', async () => {
    vi.useFakeTimers();
    const fn = vi.fn(() => 'result');
    const run = tasks({ store: watched(store(), { complete: 2 }).store })(fn)('t');
    await vi.advanceTimersByTimeAsync(1_500);
    await expect(run).resolves.toBe('result');
    const failed = tasks({ store: watched(store(), { complete: 9 }).store })(fn)('t');
    const ended = expect(failed).rejects.toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_SAVE', result: 'result' });
    await vi.advanceTimersByTimeAsync(1_500);
    await ended;
    expect(fn).toHaveBeenCalledTimes(2);
  });
});

it('a store that cannot be reached stops everything: the task is not run', async () => {
  vi.useFakeTimers();
  const fn = vi.fn();
  const run = tasks({ store: watched(store(), { claim: 1 }).store })(fn)('t');
  const ended = expect(run).rejects.toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_LOAD' });
  await vi.advanceTimersByTimeAsync(1_500);
  await ended;
  expect(fn).not.toHaveBeenCalled();
});

describe('a store that hangs', () => {
  /** Hangs in one of its steps until it is let go; nothing is lost by then. */
  function hanging(over: AtomicStore, step: 'claim' | 'save' | 'release', from = 1) {
    let letGo: () => void = () => undefined;
    const free = new Promise<void>((resolve) => (letGo = resolve));
    const { store: hung } = watched(over);
    const real = over[step].bind(over) as (...args: unknown[]) => Promise<unknown>;
    let calls = 0;
    const late = async (...args: unknown[]) => {
      if (++calls >= from) await free;
      return real(...args);
    };
    Object.assign(hung, { [step]: late });
    return { store: hung, letGo, calls: () => calls };
  }

  it('in a save fails the attempt after storeTimeoutMs, and what comes late does not come over what is newer', async () => {
    vi.useFakeTimers();
    const memory = store();
    // The first save notes the attempt.
    const { store: hung, letGo } = hanging(memory, 'save', 2);
    const seen: unknown[] = [];
    const task = tasks<string>({ store: hung, storeTimeoutMs: 100, leaseMs: 60_000 })(async (_, ctx) => {
      seen.push([ctx.attempt, ctx.checkpointState]);
      const saved = ctx.saveCheckpoint(`by ${ctx.attempt}`);
      if (ctx.attempt === 1) await expect(saved).rejects.toMatchObject({ code: 'ERR_REPRISE_STORE_TIMEOUT' });
      letGo();
      await saved;
      throw new Error('stops here');
    });
    const ended = expect(task('t')).rejects.toThrow('stops here');
    await vi.advanceTimersByTimeAsync(5_000);
    await ended;
    expect(seen).toEqual([
      [1, undefined],
      [2, 'by 1'],
      [3, 'by 2'],
    ]);
    const next = tasks<string>({ store: memory })((_, ctx) => ctx.checkpointState)('t');
    await expect(next).resolves.toBe('by 3');
  });

  it('in a claim or a release keeps nobody waiting for ever', async () => {
    vi.useFakeTimers();
    const fn = vi.fn(() => Promise.reject(new TypeError('mine')));
    const claim = hanging(store(), 'claim');
    const unclaimed = expect(tasks({ store: claim.store, storeTimeoutMs: 100 })(fn)('t')).rejects.toMatchObject({
      code: 'ERR_REPRISE_CHECKPOINT_LOAD',
      cause: { code: 'ERR_REPRISE_STORE_TIMEOUT' },
    });
    await vi.advanceTimersByTimeAsync(2_000);
    await unclaimed;
    expect(claim.calls()).toBe(3);
    expect(fn).not.toHaveBeenCalled();
    const release = hanging(store(), 'release');
    const unreleased = expect(tasks({ store: release.store, storeTimeoutMs: 100 })(fn)('t')).rejects.toThrow('mine');
    await vi.advanceTimersByTimeAsync(100);
    await unreleased;
  });

  it('in a claim does not keep a signal from ending the call', async () => {
    const controller = new AbortController();
    const { store: hung } = hanging(store(), 'claim');
    const ended = expect(tasks({ store: hung, signal: controller.signal })(() => 1)('t')).rejects.toBe('enough');
    controller.abort('enough');
    await ended;
  });
});

it('a result whose save succeeded, though its answer was lost, is not lost: it comes out, and the task ran once', async () => {
  vi.useFakeTimers();
  const memory = store();
  const { store: deaf } = watched(memory);
  const fn = vi.fn(() => 'result');
  let calls = 0;
  deaf.complete = async (...args) => {
    const done = await memory.complete(...args);
    if (++calls === 1) throw new Error('the connection is gone');
    return done;
  };
  const run = tasks({ store: deaf })(fn)('t');
  await vi.advanceTimersByTimeAsync(2_000);
  await expect(run).resolves.toBe('result');
  expect(fn).toHaveBeenCalledTimes(1);
});

describe('progress', () => {
  it('saved in an attempt is the state of the next; what the task does to it later is not', async () => {
    const seen: unknown[] = [];
    const task = tasks<{ done: number[] }>()(async (_, ctx) => {
      seen.push(structuredClone(ctx.checkpointState));
      const state = { done: [ctx.attempt] };
      const saved = ctx.saveCheckpoint(state);
      state.done.push(99);
      await saved;
      if (ctx.attempt < 3) throw new Error('not yet');
      return 'done';
    });
    await task('t');
    expect(seen).toEqual([undefined, { done: [1] }, { done: [2] }]);
  });

  it('of a heartbeat is written rarely, and always when the attempt dies by an error or a timeout', async () => {
    const { store: counted, saves } = watched(store());
    const seen: unknown[] = [];
    const task = tasks<number>({ store: counted, attemptTimeoutMs: 30 })(async (_, ctx) => {
      seen.push(ctx.checkpointState);
      for (let i = 0; i <= 1_000; i++) ctx.heartbeat(ctx.attempt * 10_000 + i);
      if (ctx.attempt === 1) throw new Error('dies');
      if (ctx.attempt === 2) await new Promise(() => undefined);
    });
    await task('t');
    expect(seen).toEqual([undefined, 11_000, 21_000]);
    // Three attempts noted, two waits noted, two flushes.
    expect(saves).toHaveLength(7);
  });

  it('outlives a task that was given up, and its attempts begin anew', async () => {
    const attempts: unknown[] = [];
    const task = tasks<string>()(async (_, ctx) => {
      attempts.push([ctx.attempt, ctx.checkpointState]);
      if (attempts.length > 3) return 'done';
      await ctx.saveCheckpoint(`by ${attempts.length}`);
      throw new Error('fails');
    });
    await expect(task('t')).rejects.toThrow('fails');
    await expect(task('t')).resolves.toBe('done');
    expect(attempts).toEqual([
      [1, undefined],
      [2, 'by 1'],
      [3, 'by 2'],
      [1, 'by 3'],
    ]);
  });

  it('cannot be saved by an attempt that is over', async () => {
    let late: TaskContext | undefined;
    const task = tasks({ attemptTimeoutMs: 20 })(async (_, ctx) => {
      if (ctx.attempt > 1) return 'done';
      late = ctx;
      return new Promise(() => undefined);
    });
    await task('t');
    await expect(late?.saveCheckpoint('zombie')).rejects.toMatchObject({ code: 'ERR_REPRISE_ATTEMPT_STALE' });
    expect(() => late?.heartbeat('zombie')).toThrow(/attempt 1 of task "t" is over/);
    await expect(late?.step('a', () => 1)).rejects.toMatchObject({ code: 'ERR_REPRISE_ATTEMPT_STALE' });
  });

  it('that is too large is refused before it is written, and what was saved before stays', async () => {
    const { store: counted, saves } = watched(store());
    const task = tasks<string>({ store: counted, maxStateBytes: 1_024 })(async (_, ctx) => {
      await ctx.saveCheckpoint('small');
      await ctx.saveCheckpoint('x'.repeat(2_000));
    });
    await expect(task('t')).rejects.toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_TOO_LARGE' });
    expect(Math.max(...saves)).toBeLessThanOrEqual(1_024);
  });
});

describe('a step', () => {
  it('is done once, over attempts and calls; its result is what JSON makes of it, the first time too', async () => {
    const effect = vi.fn(() => Promise.resolve({ at: new Date(0) }));
    const results: unknown[] = [];
    let calls = 0;
    const task = tasks()(async (_, ctx) => {
      results.push(await ctx.step('charge', effect));
      if (++calls < 5) throw new Error('not yet');
    });
    await expect(task('t')).rejects.toThrow('not yet');
    await task('t');
    expect(effect).toHaveBeenCalledTimes(1);
    expect(results).toEqual(Array.from({ length: 5 }, () => ({ at: '1970-01-01T00:00:00.000Z' })));
  });

  it('needs a name of its own', async () => {
    const task = tasks()(async (_, ctx) => {
      await ctx.step('a', () => 1);
      await ctx.step('a', () => 2);
    });
    await expect(task('t')).rejects.toThrow(/ctx.step: argument "name" is "a"/);
  });

  it('has a key that is the same in every attempt, and of no other task', async () => {
    const keys: string[] = [];
    const task = tasks()((taskId, ctx) => {
      keys.push(ctx.derive('charge'));
      if (taskId === 't' && ctx.attempt === 1) throw new Error('not yet');
    });
    await task('t');
    await task('u');
    expect(keys[0]).toBe(keys[1]);
    expect(keys[2]).not.toBe(keys[0]);
  });
});

describe('two calls of one task', () => {
  it('in one process are one run', async () => {
    const memory = store();
    const fn = vi.fn(() => new Promise((resolve) => setTimeout(resolve, 20, 'done')));
    const [a, b] = [tasks({ store: memory })(fn), tasks({ store: memory })(fn)];
    expect(await Promise.all([a('t'), b('t'), a('t')])).toEqual(['done', 'done', 'done']);
    expect(fn).toHaveBeenCalledTimes(1);
  });

  it('with other arguments are refused, running or done', async () => {
    const task = tasks()(async (_id: string, amount: number, ctx: TaskContext) => {
      await Promise.resolve();
      return amount + ctx.attempt;
    });
    const first = task('t', 1);
    await expect(task('t', 2)).rejects.toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_MISMATCH', status: 422 });
    await expect(first).resolves.toBe(2);
    await expect(task('t', 2)).rejects.toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_MISMATCH' });
  });

  it('while another process runs it: 409 and Retry-After, as Express understands them', async () => {
    const elsewhere: AtomicStore = watched(store()).store;
    elsewhere.claim = () => Promise.resolve({ outcome: 'in-progress', leaseLeftMs: 4_200 });
    await expect(tasks({ store: elsewhere })(() => 1)('t')).rejects.toMatchObject({
      code: 'ERR_REPRISE_TASK_IN_PROGRESS',
      status: 409,
      headers: { 'Retry-After': '5' },
    });
  });

  it('after bytes that cannot be read: refused, not run, and the bytes stay', async () => {
    const broken: AtomicStore = watched(store()).store;
    const claim = broken.claim.bind(broken);
    const fn = vi.fn();
    broken.claim = async (request) => ({ ...(await claim(request)), progress: Buffer.from('RCP\x07') }) as never;
    await expect(tasks({ store: broken })(fn)('t')).rejects.toMatchObject({
      code: 'ERR_REPRISE_CHECKPOINT_CORRUPT',
      cause: { message: 'it has format 7; this version of reprise reads format 1' },
    });
    expect(fn).not.toHaveBeenCalled();
  });
});

it('a claim that was lost ends the run: its signal aborts, and nothing is written any more', async () => {
  const memory = store();
  let key = '';
  const spied: AtomicStore = watched(memory).store;
  const claim = spied.claim.bind(spied);
  spied.claim = (request) => {
    key = request.key;
    return claim(request);
  };
  let reason: unknown;
  const task = tasks({ store: spied })(async (_, ctx) => {
    ctx.signal.addEventListener('abort', () => (reason = ctx.signal.reason as unknown));
    await memory.forget(key);
    await ctx.saveCheckpoint(1);
  });
  await expect(task('t')).rejects.toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_LOST' });
  expect(reason).toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_LOST' });
});

describe('drain', () => {
  it('ends waits at once, lets attempts finish, and another process goes on', async () => {
    const memory = store();
    const slow = { store: memory, config: { initialDelayMs: 60_000, maxDelayMs: 60_000 } };
    const waiting = tasks<number>({ ...slow, name: 'waiting' })(async (_, ctx) => {
      await ctx.saveCheckpoint(7);
      throw new Error('fails, and waits a minute');
    })('t');
    const working = tasks({ ...slow, name: 'working' })(
      () => new Promise((resolve) => setTimeout(resolve, 50, 'done')),
    )('t');
    const refused = expect(waiting).rejects.toMatchObject({ code: 'ERR_REPRISE_DRAINED', status: 503 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await drain()).toEqual({ finished: 1, stopped: 1 });
    await refused;
    await expect(working).resolves.toBe('done');
    // Released: whoever comes next may claim at once, and waits what is left of the minute.
    vi.useFakeTimers();
    const next = tasks<number>({ ...slow, name: 'waiting' })((_, ctx) => [ctx.attempt, ctx.checkpointState])('t');
    await vi.advanceTimersByTimeAsync(61_000);
    await expect(next).resolves.toEqual([2, 7]);
  });

  it('stops what does not finish in time', async () => {
    const hanging = tasks()(() => new Promise(() => undefined))('t');
    const ended = expect(hanging).rejects.toMatchObject({ code: 'ERR_REPRISE_DRAINED' });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await drain({ timeoutMs: 10 })).toEqual({ finished: 0, stopped: 1 });
    await ended;
  });
});

it('tells of loads and saves, by name and task', async () => {
  const events: RetryEvent[] = [];
  const task = tasks({ onEvent: (event) => events.push(event) })(() => 'done');
  await task('t');
  expect(events.map(({ type, name, taskId }) => [type, name, taskId])).toEqual([
    ['attempt', 'task', 't'],
    ['save', 'task', 't'],
    ['success', 'task', 't'],
  ]);
});

it('options that cannot be right are refused at start', () => {
  const refused = (options: object) => () => retryWithCheckpoint(options as StoredCheckpointOptions);
  expect(refused({ store: store() })).toThrow(/option "name" is undefined/);
  expect(refused({ store: new Map(), name: 'x' })).toThrow(/option "store" is an object/);
  expect(refused({ store: store(), name: 'x', leaseMS: 1 })).toThrow(/did you mean "leaseMs"/);
});

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  CheckpointLoadError,
  CheckpointSaveError,
  RetryConfig,
  retryKernelTask,
  retryWithCheckpoint,
  type CheckpointContext,
} from '../../ts/index.js';
import { flaky, settled, thrownBy } from './helpers.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const nothing = () => null;

describe("the specification's example", () => {
  interface State {
    position: number;
  }
  const database = () => {
    const rows = new Map<string, State>();
    return {
      rows,
      getCheckpoint: (taskId: string) => Promise.resolve(rows.get(taskId) ?? null),
      saveCheckpoint: (taskId: string, state: State) => {
        rows.set(taskId, state);
        return Promise.resolve();
      },
    };
  };

  it('starts fresh, saves the result on success, and starts the next call from it', async () => {
    const db = database();
    const states: (State | undefined)[] = [];
    const executeCriticalTask = retryWithCheckpoint({
      config: new RetryConfig({ maxAttempts: 5, initialDelayMs: 2_000 }),
      checkpointLoader: (taskId) => db.getCheckpoint(taskId),
      checkpointSaver: (taskId, result: State) => db.saveCheckpoint(taskId, result),
    })(async (taskId, ctx) => {
      states.push(ctx.checkpointState);
      return Promise.resolve({ position: (ctx.checkpointState?.position ?? 0) + 1 });
    });

    await expect(executeCriticalTask('search-1')).resolves.toEqual({ position: 1 });
    await expect(executeCriticalTask('search-1')).resolves.toEqual({ position: 2 });
    await expect(executeCriticalTask('search-2')).resolves.toEqual({ position: 1 });
    expect(states).toEqual([undefined, { position: 1 }, undefined]);
    expect([...db.rows]).toEqual([
      ['search-1', { position: 2 }],
      ['search-2', { position: 1 }],
    ]);
  });

  it('waits as its config says', async () => {
    const { task, times } = flaky(Infinity, 'never');
    const config = new RetryConfig({ maxAttempts: 5, initialDelayMs: 2_000 });
    await settled(retryWithCheckpoint({ config, checkpointLoader: nothing })(task)('search-1'));
    expect(times).toEqual([0, 2_000, 6_000, 14_000, 30_000]);
  });
});

describe('the context', () => {
  it('is new for every attempt, and has the state as it is by then', async () => {
    const seen: CheckpointContext<string>[] = [];
    let progress: string | undefined;
    const task = retryWithCheckpoint({ checkpointLoader: () => progress })((taskId, ctx) => {
      seen.push(ctx);
      progress = `saved by attempt ${ctx.attempt}`;
      if (ctx.attempt < 3) throw new Error('crash');
    });
    await settled(task('t'));
    expect(seen).toEqual([
      { taskId: 't', attempt: 1, maxAttempts: 3, checkpointState: undefined },
      { taskId: 't', attempt: 2, maxAttempts: 3, checkpointState: 'saved by attempt 1' },
      { taskId: 't', attempt: 3, maxAttempts: 3, checkpointState: 'saved by attempt 2' },
    ]);
  });

  it.each([
    [null, undefined],
    [undefined, undefined],
    [0, 0],
    ['', ''],
    [false, false],
    [{ step: 1 }, { step: 1 }],
  ])('shows the loaded %j as %j', async (loaded, shown) => {
    const task = retryWithCheckpoint({ checkpointLoader: () => Promise.resolve(loaded) })((_, ctx) => [ctx]);
    const [ctx] = await task('t');
    expect(ctx?.checkpointState).toEqual(shown);
  });

  it.each([
    ['none', []],
    ['one', ['a']],
    ['several', ['a', { b: 1 }, [2]]],
    ['undefined in the middle', ['a', undefined, 'c']],
    ['undefined at the end', ['a', undefined]],
  ])('comes right after the arguments that were passed: %s besides the task id', async (_, args) => {
    const received: unknown[][] = [];
    const task = retryWithCheckpoint({ checkpointLoader: nothing })((...all: unknown[]) => {
      received.push(all);
    }) as (...all: unknown[]) => Promise<void>;
    await task('t', ...args);
    const context = { taskId: 't', attempt: 1, maxAttempts: 3, checkpointState: undefined };
    expect(received).toEqual([['t', ...args, context]]);
  });

  it('does so whatever the function declares: defaults and rest parameters do not move it', async () => {
    const retry = retryWithCheckpoint({ checkpointLoader: nothing });
    const withDefault = retry((taskId: string, by: number | undefined = 5, ctx: CheckpointContext) => [
      by,
      ctx.attempt,
    ]);
    const withRest = retry((taskId: string, ...rest: [number, number, CheckpointContext]) => rest.length);
    await expect(withDefault('t', undefined)).resolves.toEqual([5, 1]);
    await expect(withDefault('t', 7)).resolves.toEqual([7, 1]);
    await expect(withRest('t', 1, 2)).resolves.toBe(3);
  });

  it('comes with this kept', async () => {
    const owner = {
      label: 'owner',
      run: retryWithCheckpoint({ checkpointLoader: nothing })(function (this: { label: string }, taskId: string) {
        return `${this.label} ${taskId}`;
      }),
    };
    await expect(owner.run('t')).resolves.toBe('owner t');
  });
});

describe('the task id', () => {
  it.each([undefined, null, '', 7, {}])(
    'is refused when it is %j: the checkpoint would be somebody else’s',
    async (id) => {
      const loader = vi.fn(nothing);
      const fn = vi.fn();
      const task = retryWithCheckpoint({ checkpointLoader: loader })(fn) as (id: unknown) => Promise<unknown>;
      expect(await thrownBy(task(id))).toMatchObject({
        name: 'TypeError',
        code: 'ERR_REPRISE_INVALID_ARGUMENT',
        message: expect.stringMatching(/argument "taskId" is .*; allowed: a string that is not empty$/) as string,
      });
      expect(loader).not.toHaveBeenCalled();
      expect(fn).not.toHaveBeenCalled();
    },
  );
});

describe('a task that fails for good', () => {
  it('is not saved, and its own error comes out', async () => {
    const { task, errors } = flaky(Infinity, 'never');
    const saver = vi.fn();
    const thrown = await thrownBy(retryWithCheckpoint({ checkpointSaver: saver })(task)('t'));
    expect(thrown).toBe(errors.at(-1));
    expect(saver).not.toHaveBeenCalled();
  });
});

describe('a saver that fails after the task succeeded', () => {
  it('is retried alone: the task ran once', async () => {
    const fn = vi.fn(() => 'result');
    const { task: saver, times } = flaky(2, undefined);
    const task = retryWithCheckpoint({ checkpointSaver: saver })(fn);
    expect(await settled(task('t'))).toEqual({ status: 'fulfilled', value: 'result' });
    expect(fn).toHaveBeenCalledTimes(1);
    expect(times).toEqual([0, 500, 1_500]);
    expect(saver.mock.calls).toEqual(Array.from({ length: 3 }, () => ['t', 'result']));
  });

  it('and goes on failing, surfaces with the result in the error, and is run again by no layer', async () => {
    const result = { card: '4242' };
    const fn = vi.fn(() => result);
    const { task: saver, errors } = flaky(Infinity, undefined);
    const inner = retryWithCheckpoint({ checkpointSaver: saver })(fn);
    const middle = retryKernelTask(async () => {
      await inner('t').catch((cause: unknown) => {
        throw new Error('the order failed', { cause });
      });
    });
    const outer = retryKernelTask(middle);
    const { cause } = (await thrownBy(outer())) as Error;
    expect(cause).toBeInstanceOf(CheckpointSaveError);
    expect(cause).toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_SAVE', name: 'CheckpointSaveError', taskId: 't' });
    expect((cause as CheckpointSaveError).result).toBe(result);
    expect((cause as CheckpointSaveError).cause).toBe(errors.at(-1));
    expect(JSON.stringify(cause)).not.toContain('4242');
    expect(fn).toHaveBeenCalledTimes(1);
    expect(saver).toHaveBeenCalledTimes(3);
  });

  it('over a programmer error, is not retried at all', async () => {
    const saver = vi.fn(() => {
      throw new TypeError('circular');
    });
    const thrown = await thrownBy(retryWithCheckpoint({ checkpointSaver: saver })(() => 1)('t'));
    expect(thrown).toBeInstanceOf(CheckpointSaveError);
    expect(saver).toHaveBeenCalledTimes(1);
  });
});

describe('a loader that fails', () => {
  it('is retried without using up attempts of the task', async () => {
    const { task: loader, times } = flaky(2, 'state');
    const task = retryWithCheckpoint({ checkpointLoader: loader })((_, ctx) => ctx);
    expect(await settled(task('t'))).toMatchObject({ value: { attempt: 1, checkpointState: 'state' } });
    expect(times).toEqual([0, 500, 1_500]);
  });

  it('and goes on failing, stops everything: the task is not run', async () => {
    const { task: loader, errors } = flaky(Infinity, null);
    const fn = vi.fn();
    const outer = retryKernelTask(() => retryWithCheckpoint({ checkpointLoader: loader })(fn)('t'));
    const thrown = (await thrownBy(outer())) as CheckpointLoadError;
    expect(thrown).toBeInstanceOf(CheckpointLoadError);
    expect(thrown).toMatchObject({
      code: 'ERR_REPRISE_CHECKPOINT_LOAD',
      name: 'CheckpointLoadError',
      taskId: 't',
      message: 'the checkpoint of task "t" could not be loaded, so the task was not run; see cause',
    });
    expect(thrown.cause).toBe(errors.at(-1));
    expect(loader).toHaveBeenCalledTimes(3);
    expect(fn).not.toHaveBeenCalled();
  });
});

it('whatever fails and how often, the task runs as often as it must and never more', async () => {
  const script = fc.record({
    maxAttempts: fc.integer({ min: 1, max: 5 }),
    taskFailures: fc.integer({ min: 0, max: 6 }),
    loaderFailures: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 5, maxLength: 5 }),
    saverFailures: fc.integer({ min: 0, max: 4 }),
  });
  // What must happen, one attempt after the other: a loader or saver that fails three times has failed for good.
  const model = ({ maxAttempts, taskFailures, loaderFailures, saverFailures }: Script): [runs: number, end: string] => {
    for (let attempt = 1; attempt <= maxAttempts; attempt++) {
      if ((loaderFailures[attempt - 1] ?? 0) >= 3) return [attempt - 1, 'ERR_REPRISE_CHECKPOINT_LOAD'];
      if (attempt > taskFailures) return [attempt, saverFailures >= 3 ? 'ERR_REPRISE_CHECKPOINT_SAVE' : 'done'];
    }
    return [maxAttempts, 'task failed'];
  };
  type Script = typeof script extends fc.Arbitrary<infer T> ? T : never;

  await fc.assert(
    fc.asyncProperty(script, async (given) => {
      const loaderFailures = [...given.loaderFailures];
      let saverFailures = given.saverFailures;
      let runs = 0;
      const task = retryWithCheckpoint({
        config: { maxAttempts: given.maxAttempts },
        checkpointLoader: () => {
          if ((loaderFailures[0] ?? 0) > 0) {
            loaderFailures[0] = (loaderFailures[0] ?? 0) - 1;
            throw new Error('loader failed');
          }
          loaderFailures.shift();
        },
        checkpointSaver: () => {
          if (saverFailures-- > 0) throw new Error('saver failed');
        },
      })(() => {
        if (++runs <= given.taskFailures) throw new Error('task failed');
        return 'done';
      });
      const outcome = await settled(task('t'));
      const end =
        outcome.status === 'fulfilled'
          ? outcome.value
          : ((outcome.reason as { code?: string }).code ?? (outcome.reason as Error).message);
      expect([runs, end]).toEqual(model(given));
      expect(vi.getTimerCount()).toBe(0);
    }),
  );
});

describe('options that cannot be right are refused at start', () => {
  it.each([
    [
      { checkpointLoader: 'load' },
      'ERR_REPRISE_INVALID_OPTION',
      'option "checkpointLoader" is "load"; allowed: a function',
    ],
    [{ checkpointSaver: 1 }, 'ERR_REPRISE_INVALID_OPTION', 'option "checkpointSaver" is 1; allowed: a function'],
    [{ checkpoint_loader: nothing }, 'ERR_REPRISE_UNKNOWN_OPTION', 'did you mean "checkpointLoader"?'],
    [
      { checkpointLoader: nothing, config: 5 },
      'ERR_REPRISE_INVALID_OPTION',
      'option "config" is 5; allowed: an object',
    ],
    [{ checkpointLoader: nothing, config: null }, 'ERR_REPRISE_INVALID_OPTION', 'option "config" is null'],
    [
      { checkpointLoader: nothing, config: { maxAttempts: 0 } },
      'ERR_REPRISE_INVALID_OPTION',
      'option "maxAttempts" is 0; allowed: a whole number from 1',
    ],
    [{}, 'ERR_REPRISE_INVALID_OPTION', 'neither option "checkpointLoader" nor "checkpointSaver" is given'],
    [undefined, 'ERR_REPRISE_INVALID_OPTION', 'neither option "checkpointLoader" nor "checkpointSaver" is given'],
    [null, 'ERR_REPRISE_INVALID_OPTION', 'options are null; allowed: an object'],
  ])('%j', (options, code, message) => {
    expect(() => retryWithCheckpoint(options as object)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) as string }),
    );
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NonRetryableError, retryWithCheckpoint, type AtomicStore } from '../../ts/index.js';
import { postgresPrograms, redisServer, startPostgres, startRedis } from '../stores/servers.js';
import { live, openStore, type Life } from './fixtures/task-lives.cjs';

const program = join(__dirname, 'fixtures/task-lives.cjs');

/** A store that outlives those who use it, and where it is. */
interface Kind {
  readonly kind: string;
  readonly isThere: boolean;
  /** Whether its users are threads of one process; otherwise they are processes. */
  readonly inThreads?: boolean;
  start(directory: string): Promise<{ place: string; stop: () => unknown }>;
}

const none = () => undefined;
const kinds: Kind[] = [
  {
    kind: 'memory',
    isThere: true,
    inThreads: true,
    start: (directory) => Promise.resolve({ place: directory, stop: none }),
  },
  {
    kind: 'file',
    isThere: true,
    start: (directory) => Promise.resolve({ place: join(directory, 'records.db'), stop: none }),
  },
  {
    kind: 'redis',
    isThere: redisServer !== undefined,
    async start() {
      const server = await startRedis();
      return { place: String(server.port), stop: () => server.stop() };
    },
  },
  {
    kind: 'postgres',
    isThere: postgresPrograms !== undefined,
    async start() {
      const server = await startPostgres();
      return { place: `postgres://postgres@127.0.0.1:${server.port}/postgres`, stop: () => server.stop() };
    },
  },
];

/** A life in a process or thread of its own. */
interface Other {
  readonly out: Readable;
  kill(): Promise<unknown>;
  signal(signal: NodeJS.Signals): void;
}

function start(inThreads: boolean, life: object): Other {
  if (inThreads) {
    const worker = new Worker(program, { workerData: { life }, stdout: true });
    return { out: worker.stdout, kill: () => worker.terminate(), signal: none };
  }
  const child = spawn(process.execPath, [program, JSON.stringify(life)], { stdio: ['ignore', 'pipe', 'inherit'] });
  return {
    out: child.stdout,
    kill: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
    signal: (signal) => child.kill(signal),
  };
}

async function says({ out }: Other): Promise<string> {
  // Where it ends without a word, there is nothing to wait for.
  const [line] = (await Promise.race([once(out, 'data'), once(out, 'end')])) as [unknown];
  return String(line).trim();
}

// An effect is repeated only where the kill fell between it and the save of its step: at least once, never lost.
const KILLS: { point: string; effects: RegExp; attempts: string; fences: number[]; fails?: Life['fails'] }[] = [
  { point: 'after claim 1', effects: /^abc$/, attempts: '1', fences: [2] },
  { point: 'attempt 1', effects: /^abc$/, attempts: '12', fences: [2] },
  { point: 'effect a 1', effects: /^aabc$/, attempts: '12', fences: [2] },
  { point: 'during save 2', effects: /^aa?bc$/, attempts: '12', fences: [2] },
  { point: 'after save 2', effects: /^abc$/, attempts: '12', fences: [2] },
  { point: 'effect b 1', effects: /^abbc$/, attempts: '12', fences: [2] },
  { point: 'wait', effects: /^abc$/, attempts: '12', fences: [2], fails: 'for now' },
  { point: 'before complete 1', effects: /^abc$/, attempts: '12', fences: [2] },
  // The result may have been saved; then nothing runs, and the fence is the first one's.
  { point: 'during complete 1', effects: /^abc$/, attempts: '12?', fences: [1, 2] },
  { point: 'after complete 1', effects: /^abc$/, attempts: '1', fences: [1] },
  // Its caller was told, or would have been: the attempts begin anew, the steps are kept.
  { point: 'after release 1', effects: /^abc$/, attempts: '11', fences: [2], fails: 'finally' },
];

describe.each(kinds.filter(({ isThere }) => isThere))('a task whose record is in $kind', (kind) => {
  const { inThreads = false } = kind;
  let directory: string;
  let place: string;
  let stop: () => unknown = none;
  let store: AtomicStore;
  let close: () => unknown = none;
  const others: Other[] = [];

  const lifeOf = (taskId: string): Life => {
    const own = join(directory, taskId.replaceAll(' ', '-'));
    mkdirSync(own, { recursive: true });
    return { taskId, directory: own, leaseMs: 500 };
  };
  const read = (taskId: string, file: string) =>
    readFileSync(join(directory, taskId.replaceAll(' ', '-'), file), 'utf8');
  const startedTo = async (point: string, life: Life): Promise<Other> => {
    const other = start(inThreads, { ...life, kind: kind.kind, place, point });
    others.push(other);
    expect(await says(other)).toBe('reached');
    return other;
  };
  const killAt = async (point: string, taskId: string, more: Partial<Life> = {}) => {
    const other = await startedTo(point, { ...lifeOf(taskId), ...more });
    await other.kill();
  };
  /** In this process: the next one, to a task. */
  const goOn = async (taskId: string, more: Partial<Life> = {}) =>
    live(store, { ...lifeOf(taskId), leaseMs: 60_000, ...more });

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'reprise-crash-'));
    ({ place, stop } = await kind.start(directory));
    ({ store, close } = openStore(kind.kind, place));
  });
  afterAll(async () => {
    // One that is left over would keep this file's process from ending, by the stderr that they share.
    await Promise.all(others.map((other) => other.kill()));
    await close();
    await stop();
    rmSync(directory, { recursive: true });
  });

  describe('and that is killed goes on in the next process where it stopped', () => {
    // All are killed first, so that the leases of the dead run out together.
    beforeAll(async () => {
      const slowly = { config: { maxAttempts: 3, initialDelayMs: 3_600_000, maxDelayMs: 3_600_000 } };
      for (const { point, fails } of KILLS) await killAt(point, point, fails ? { fails, ...slowly } : slowly);
    }, 120_000);

    it.each(KILLS)('killed at $point: effects $effects', async ({ point, effects, attempts, fences }) => {
      const result = await goOn(point);
      expect(result.done).toBe(3);
      expect(fences).toContain(result.fence);
      expect(read(point, 'effects')).toMatch(effects);
      expect(read(point, 'attempts')).toMatch(new RegExp(`^${attempts}$`));
      // Done is done: whoever comes later gets the kept result, and nothing runs.
      expect(await goOn(point)).toEqual(result);
      expect(read(point, 'attempts')).toMatch(new RegExp(`^${attempts}$`));
    });
  });

  it('counts its attempts on, over the processes, and ends a crash loop', async () => {
    for (let life = 1; life <= 3; life++) await killAt('attempt 1', 'loop');
    expect(read('loop', 'attempts')).toBe('123');
    await expect(goOn('loop')).rejects.toMatchObject({ code: 'ERR_REPRISE_ATTEMPT_INTERRUPTED' });
    expect(read('loop', 'attempts')).toBe('123');
    // Whoever calls after that has been told, and begins anew.
    expect(await goOn('loop')).toMatchObject({ done: 3 });
    expect(read('loop', 'attempts')).toBe('1231');
  }, 60_000);

  it('at most once: an attempt that was interrupted is not made again', async () => {
    await killAt('effect b 1', 'amo', { semantics: 'at-most-once' });
    await expect(goOn('amo', { semantics: 'at-most-once' })).rejects.toMatchObject({
      code: 'ERR_REPRISE_ATTEMPT_INTERRUPTED',
    });
    expect(read('amo', 'effects')).toBe('ab');
  });

  const stops = 'and whose process is stopped past its lease and continued writes nothing more';
  const inProcesses = inThreads ? [] : ['stopped'];
  it.each(inProcesses)(stops, async () => {
    const stopped = await startedTo('effect b 1', lifeOf('stopped'));
    stopped.signal('SIGSTOP');
    expect(await goOn('stopped')).toEqual({ done: 3, fence: 2 });
    const said = says(stopped);
    stopped.signal('SIGCONT');
    expect(await said).toBe('ERR_REPRISE_CHECKPOINT_LOST');
    // Its step b had had its effect; the step's save, and all that would have followed, was refused.
    expect(read('stopped', 'effects')).toBe('abbc');
    expect(await goOn('stopped')).toEqual({ done: 3, fence: 2 });
  });

  it('has a fence that grows with every claim of it, whatever becomes of each', async () => {
    const fences: number[] = [];
    const task = retryWithCheckpoint({ store, name: 'fences' })((_, ctx) => {
      fences.push(ctx.fence);
      throw new NonRetryableError('again');
    });
    for (let i = 0; i < 5; i++) await expect(task('t')).rejects.toThrow('again');
    expect(fences).toEqual([1, 2, 3, 4, 5]);
  });

  it('keeps what was saved as it was when it was saved, and the last of a flood of heartbeats', async () => {
    const seen: unknown[] = [];
    const task = retryWithCheckpoint<object>({
      store,
      name: 'progress',
      config: { maxAttempts: 4, initialDelayMs: 1, maxDelayMs: 1 },
      attemptTimeoutMs: 2_000,
    })(async (_, ctx) => {
      seen.push(ctx.checkpointState);
      const state = { from: ctx.attempt, list: ['kept'] };
      if (ctx.attempt === 1) {
        const saved = ctx.saveCheckpoint(state);
        state.list.push('not meant');
        await saved;
      } else {
        for (let beat = 0; beat <= 1_000; beat++) ctx.heartbeat({ ...state, beat });
      }
      if (ctx.attempt === 3) await delay(10_000, undefined, { signal: ctx.signal });
      if (ctx.attempt < 4) throw new Error('not yet');
      return 'done';
    });
    expect(await task('t')).toBe('done');
    expect(seen).toEqual([
      undefined,
      { from: 1, list: ['kept'] },
      { from: 2, list: ['kept'], beat: 1_000 },
      { from: 3, list: ['kept'], beat: 1_000 },
    ]);
  });

  it('is one run for all who call it at once in a process', async () => {
    let runs = 0;
    const task = retryWithCheckpoint({ store, name: 'joined' })(async () => {
      runs++;
      await delay(20);
      return 'done';
    });
    expect(await Promise.all([task('t'), task('t'), task('t')])).toEqual(['done', 'done', 'done']);
    expect(runs).toBe(1);
  });
});

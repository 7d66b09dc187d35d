import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  MemoryStore,
  retryWithCheckpoint,
  type AtomicStore,
  type CheckpointBoundary,
  type KernelKillOptions,
} from '../../ts/index.js';
import { chaosFor } from './harness.js';

const boundaries: CheckpointBoundary[] = ['before-work', 'before-save', 'during-save'];

/** A store that tells when the write of a checkpoint or of the result begins and ends. */
function tellingStore(tell: (what: string) => void): AtomicStore {
  const store = new MemoryStore();
  onTestFinished(() => {
    store.close();
  });
  const around = async <T>(write: () => Promise<T>) => {
    tell('write');
    await new Promise((resolve) => setImmediate(resolve));
    const written = await write();
    tell('written');
    return written;
  };
  return new Proxy(store, {
    get: (target, name: keyof MemoryStore) => {
      const method = (target[name] as (...args: unknown[]) => Promise<unknown>).bind(target);
      return name === 'save' || name === 'complete' ? (...args: unknown[]) => around(() => method(...args)) : method;
    },
  });
}

/** A chaos whose one kernel starts again whenever it is killed, and tells. */
function killing(kernelKills: KernelKillOptions, tell: (what: string) => void) {
  const chaos = chaosFor({ kernelKills });
  const register = () =>
    chaos.registerKernel('kernel', () => {
      tell('KILL');
      register();
    });
  register();
  return chaos;
}

describe('kills fall exactly at the boundary', () => {
  /** One attempt with a step and a checkpoint. */
  async function events(boundary: CheckpointBoundary): Promise<string[]> {
    const told: string[] = [];
    const tell = (what: string) => told.push(what);
    killing({ atCheckpoints: { probability: 1, boundaries: [boundary] } }, tell);
    const task = retryWithCheckpoint({ store: tellingStore(tell), name: 'task' })(async (_, context) => {
      tell('attempt');
      await context.step('step', () => tell('step'));
      tell('work');
      await context.saveCheckpoint(1);
      return 'done';
    });
    expect(await task('t')).toBe('done');
    return told;
  }

  // The first write of all notes the attempt: it saves no work.
  it('before the work', async () => {
    expect((await events('before-work')).join(' ')).toBe(
      'write written KILL attempt KILL step write written work write written write written',
    );
  });

  it('after the work and before the save', async () => {
    expect((await events('before-save')).join(' ')).toBe(
      'write written attempt step KILL write written work KILL write written KILL write written',
    );
  });

  it('during the save', async () => {
    expect((await events('during-save')).join(' ')).toBe(
      'write written attempt step write KILL written work write KILL written write KILL written',
    );
  });

  it('with a loader and a saver', async () => {
    const told: string[] = [];
    const tell = (what: string) => told.push(what);
    killing({ atCheckpoints: { probability: 1 } }, tell);
    const task = retryWithCheckpoint({
      checkpointLoader: () => void tell('load'),
      checkpointSaver: async () => {
        tell('write');
        await Promise.resolve();
        tell('written');
      },
    })(() => {
      tell('work');
    });
    await task('t');
    expect(told.join(' ')).toBe('load KILL work KILL write KILL written');
  });
});

it('which boundaries kill is what the seed says, in whatever order tasks run, and none does after close()', async () => {
  async function killedTasks(ids: string[], order: 'one by one' | 'together') {
    const killed: string[] = [];
    let current = '';
    const chaos = killing({ atCheckpoints: { probability: 0.3, boundaries: ['before-work'] } }, () => {
      killed.push(current);
    });
    const task = retryWithCheckpoint({ checkpointSaver: () => undefined })(() => undefined);
    const run = (id: string) => {
      current = id;
      return task(id);
    };
    if (order === 'together') await Promise.all(ids.map(run));
    else for (const id of ids) await run(id);
    const before = killed.length;
    chaos.close();
    for (const id of ids) await run(id);
    expect(killed).toHaveLength(before);
    return chaos.metrics().kernelsKilled;
  }
  const ids = Array.from({ length: 40 }, (_, n) => `task-${n}`);
  const count = await killedTasks(ids, 'one by one');
  expect(count).toBeGreaterThan(3);
  expect(count).toBeLessThan(30);
  expect(await killedTasks([...ids].reverse(), 'one by one')).toBe(count);
  expect(await killedTasks(ids, 'together')).toBe(count);
});

describe('a process that chaos kills with SIGKILL at its checkpoints comes to the end', { timeout: 60_000 }, () => {
  /** Starts it until it ends by itself; the effects, and how often it was killed. */
  function run(boundary: string) {
    const directory = mkdtempSync(path.join(tmpdir(), 'reprise-chaos-'));
    onTestFinished(() => {
      rmSync(directory, { recursive: true });
    });
    const program = path.join(__dirname, 'fixtures/kills-itself.cjs');
    for (let kills = 0; kills < 30; kills++) {
      const { signal, status, stdout } = spawnSync(process.execPath, [program, directory, boundary, '5']);
      if (signal === 'SIGKILL') continue;
      expect(status).toBe(0);
      expect(String(stdout)).toBe('done\n');
      return { kills, effects: readFileSync(path.join(directory, 'effects'), 'utf8') };
    }
    throw new Error('it was killed for ever');
  }

  it.each(boundaries)('%s', (boundary) => {
    const { kills, effects } = run(boundary);
    expect(kills).toBeGreaterThan(0);
    expect(effects).toMatch(/^a+b+c+$/);
    // Killed before its work, a step has done nothing; killed after it, it is redone, and only it.
    const redone = effects.length - 3;
    if (boundary === 'before-work') expect(redone).toBe(0);
    else expect(redone).toBeLessThanOrEqual(kills);
  });
});

import { randomUUID } from 'node:crypto';
import { encodeValue, decodeCheckpoint, decodeValue, emptyCheckpoint, type Checkpoint } from './record.js';
import { Renewals } from '../idempotency/renewals.js';
import { native } from '../native.js';
import { CheckpointLoadError, CheckpointSaveError } from '../retry/errors.js';
import { runWithRetry } from '../retry/loop.js';
import type { Plan } from '../retry/plan.js';
import { quick, quickUntil } from '../retry/presets.js';
import { keepsClaims, type AtomicStore, type ClaimOutcome, type ClaimRef } from '../stores/contract.js';
import { within } from '../timeout.js';
import type { TaskContext } from './context.js';
import { tracked } from './drain.js';
import { CheckpointMismatchError, TaskInProgressError } from './errors.js';
import { TaskRun, type HeldRecord, type RunSettings } from './run.js';

/** What the tasks of one `retryWithCheckpoint` have in common. */
export interface TaskSettings extends RunSettings {
  readonly store: AtomicStore;
  readonly name: string;
  readonly leaseMs: number;
  /** Seconds, as everywhere with stores. */
  readonly ttl: number;
}

type Call = (context: TaskContext) => unknown;

/** A task holds its claim for as long as it runs. */
const HOLD_MS = Number.MAX_SAFE_INTEGER;

/** Nobody asks for a task but the program itself. */
const NOBODY = '0'.repeat(64);

/** What runs in this process at the moment, by store and key: a second call joins the first. */
const running = new WeakMap<AtomicStore, Map<string, { fingerprint: string; result: Promise<unknown> }>>();

/** Runs a task under its claim, or joins, or returns the result that is kept. */
export async function runTask(
  settings: TaskSettings,
  plan: Plan,
  taskId: string,
  args: readonly unknown[],
  call: Call,
): Promise<unknown> {
  const key = native.checkpointDigest('key', [settings.name, taskId]);
  const fingerprint = native.checkpointDigest('fingerprint', args.map(encodeValue));
  const here = running.get(settings.store) ?? new Map<string, { fingerprint: string; result: Promise<unknown> }>();
  running.set(settings.store, here);
  const other = here.get(key);
  if (other !== undefined) {
    if (other.fingerprint !== fingerprint) throw new CheckpointMismatchError(taskId);
    return other.result;
  }
  const result = claimAndRun(settings, plan, { taskId, key, fingerprint }, call);
  here.set(key, { fingerprint, result });
  try {
    return await result;
  } finally {
    here.delete(key);
  }
}

interface Names {
  readonly taskId: string;
  readonly key: string;
  readonly fingerprint: string;
}

async function claimAndRun(settings: TaskSettings, plan: Plan, names: Names, call: Call): Promise<unknown> {
  const { store } = settings;
  const { taskId, key, fingerprint } = names;
  plan.signal?.throwIfAborted();
  const claimed = await claim(settings, plan, names);
  if (claimed.result !== undefined) return claimed.result.value;
  const { ref, since, progress } = claimed;
  let record: Checkpoint;
  try {
    record = progress === undefined ? emptyCheckpoint(fingerprint) : decodeCheckpoint(taskId, progress);
    if (record.fingerprint !== fingerprint) throw new CheckpointMismatchError(taskId);
  } catch (error) {
    await release(settings, ref);
    throw error;
  }
  const held: HeldRecord = {
    fence: ref.fence,
    save: (bytes) => store.save(ref, bytes),
    derive: (name) => native.checkpointDigest('derived', [key, name]),
  };
  const run = new TaskRun(taskId, held, record, plan, settings);
  const stopRenewing = renewing(settings, ref, run, since);
  try {
    return await tracked(run, () => runToTheEnd(settings, plan, ref, run, call));
  } finally {
    stopRenewing();
    run.close();
  }
}

async function runToTheEnd(settings: TaskSettings, plan: Plan, ref: ClaimRef, run: TaskRun, call: Call) {
  const { storeTimeoutMs } = settings;
  let result: unknown;
  try {
    result = await runWithRetry(plan, (attempt) => run.attempt(attempt, call), run);
  } catch (error) {
    // Whatever becomes of the record, the caller gets the error of the task.
    await run.giveUp().catch(() => undefined);
    await release(settings, ref);
    throw error;
  }
  try {
    const { bytes, value } = run.resultBytes(result);
    await run.written();
    run.passes('before-save');
    const written = await runWithRetry(quick, ({ attempt }) => {
      const writing = attempt === 1 ? complete(settings, ref, bytes) : completeAgain(settings, ref, bytes);
      run.passes('during-save');
      return within(writing, storeTimeoutMs);
    });
    if (!written) throw run.lose();
    return value;
  } catch (cause) {
    throw new CheckpointSaveError(run.taskId, result, cause);
  }
}

/** A claim that cannot be released lapses. */
async function release({ store, ttl, storeTimeoutMs }: TaskSettings, ref: ClaimRef): Promise<void> {
  const released = async () => store.release(ref, ttl);
  await within(released(), storeTimeoutMs).catch(() => undefined);
}

async function complete({ store, ttl }: TaskSettings, ref: ClaimRef, body: Uint8Array): Promise<boolean> {
  return store.complete(ref, { head: '', body }, ttl);
}

/** After a try that failed: it may have been done, and only its answer lost. */
async function completeAgain(settings: TaskSettings, ref: ClaimRef, body: Uint8Array): Promise<boolean> {
  if (await complete(settings, ref, body)) return true;
  const found = await settings.store.inspect(ref.key);
  return found?.state === 'completed' && Buffer.compare(found.answer.body, body) === 0;
}

type Claimed =
  | { readonly result: { readonly value: unknown } }
  | {
      readonly result?: undefined;
      readonly ref: ClaimRef;
      /** When the call began that has made the claim. */
      readonly since: number;
      readonly progress: Uint8Array | undefined;
    };

async function claim(settings: TaskSettings, { signal }: Plan, names: Names): Promise<Claimed> {
  const { store, leaseMs, ttl, storeTimeoutMs } = settings;
  const { taskId, key, fingerprint } = names;
  const owner = randomUUID();
  const hold = keepsClaims(store) ? { holdMs: HOLD_MS } : {};
  const request = { key, fingerprint, identity: NOBODY, owner, leaseMs, ttl, ...hold };
  const asked: Promise<ClaimOutcome>[] = [];
  let found;
  let since = 0;
  try {
    found = await runWithRetry(quickUntil(signal), () => {
      since = performance.now();
      const asking = store.claim(request);
      asked.push(asking);
      return within(asking, storeTimeoutMs);
    });
  } catch (cause) {
    // One that is granted after all is nobody's. (Before, the next try of the same owner would have had it.)
    for (const asking of asked) {
      asking
        .then(async (late) => late.outcome === 'claimed' && store.release({ key, owner, fence: late.fence }, ttl))
        .catch(() => undefined);
    }
    signal?.throwIfAborted();
    throw new CheckpointLoadError(taskId, cause);
  }
  switch (found.outcome) {
    case 'claimed':
      return { ref: { key, owner, fence: found.fence }, since, progress: found.progress };
    case 'completed': {
      const { state = '' } = decodeCheckpoint(taskId, found.answer.body);
      return { result: { value: decodeValue(state) } };
    }
    case 'in-progress':
      throw new TaskInProgressError(taskId, found.leaseLeftMs);
    case 'mismatch':
      throw new CheckpointMismatchError(taskId);
    case 'full':
      throw new CheckpointLoadError(taskId, new Error('The store is full of claims in progress'));
    default:
      throw new CheckpointLoadError(taskId, new Error(`The task's result was not kept (${found.outcome})`));
  }
}

/** Prolongs the claim's lease at a third of it, and stops the run once the claim is lost; returns what ends that. */
function renewing(settings: TaskSettings, ref: ClaimRef, run: TaskRun, since: number): () => void {
  const { store, leaseMs, storeTimeoutMs } = settings;
  const renewals = new Renewals({ leaseMs, storeTimeoutMs, maxHoldMs: HOLD_MS });
  const claim = { isSelfKept: keepsClaims(store), renew: async () => store.renew(ref, leaseMs) };
  renewals.add({ claim, since }, { lose: () => void run.lose() }, since);
  return () => {
    renewals.close();
  };
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import { withCode, type RepriseError } from '../errors.js';
import { ClaimContext } from '../idempotency/context.js';
import type { ServerRequest } from '../idempotency/facts.js';
import { aFunction, checkOptions, type OptionRules } from '../options.js';
import { TASK_RULES, taskSettings, type TaskOptions } from '../retry/checkpoint.js';
import { runWithRetry } from '../retry/loop.js';
import { definedOf, planOf, RETRY_RULES, type RetryOptions } from '../retry/plan.js';
import { native } from '../native.js';
import type { TaskContext } from './context.js';
import { tracked } from './drain.js';
import { CheckpointMismatchError } from './errors.js';
import { decodeCheckpoint, emptyCheckpoint } from './record.js';
import { TaskRun } from './run.js';

/** What {@link resumable} takes. Retries inside the request go by the options of {@link retry}. */
export interface ResumableOptions<Result = unknown> extends RetryOptions, TaskOptions {
  /** Answers with the result. Default: 200 and the result as JSON, or 204 for `undefined`. */
  readonly respond?: ((result: Result, res: ServerResponse, req: IncomingMessage) => unknown) | undefined;
}

const RULES: OptionRules<ResumableOptions> = {
  ...RETRY_RULES,
  ...TASK_RULES,
  respond: aFunction('(result, res, req) => void'),
};

/**
 * A route handler that picks up where it stopped: the task's checkpoints are kept in the record of the request's own
 * idempotency key. When a request fails or its process dies, the client's retry with the same key goes on after the
 * last step or checkpoint; when it succeeds, every later retry gets the first answer. It needs
 * {@link idempotencyMiddleware} before it, and survives a crash where that one's store does.
 *
 * @example
 * app.use(express.json(), idempotencyMiddleware({ store }));
 * app.post('/payments', resumable(async (req, task) => {
 *   const charge = await task.step('charge', () => bank.charge(req.body, { idempotencyKey: task.derive('charge') }));
 *   return task.step('receipt', () => mail.send(charge));
 * }));
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export function resumable<Req extends ServerRequest, Result>(
  task: (req: Req, context: TaskContext) => Result | PromiseLike<Result>,
  options: ResumableOptions<NoInfer<Result>> = {},
): (req: Req, res: ServerResponse, next: (error?: unknown) => unknown) => void {
  const checked = checkOptions('resumable', options as ResumableOptions, RULES);
  const { respond = respondWithJson } = checked;
  const plan = planOf(definedOf(checked));
  const settings = taskSettings(checked);
  return (req, res, next) => {
    const { idempotency } = req as { idempotency?: unknown };
    if (!(idempotency instanceof ClaimContext)) {
      next(noKey());
      return;
    }
    const run = async () => {
      const result = await runUnderTheKey(idempotency, plan, settings, (context) => task(req, context));
      await respond(result, res, req);
    };
    run().catch((error: unknown) => {
      // A task that we refuse here and now may well run at the next try: the refusal is no answer to keep.
      if ((error as Partial<RepriseError> | null)?.code?.startsWith('ERR_REPRISE_')) idempotency.noStore();
      next(error);
    });
  };
}

/** Runs a task whose record is that of a request's key: claim, lease and fence are the middleware's. */
async function runUnderTheKey(
  key: ClaimContext,
  plan: ReturnType<typeof planOf>,
  settings: ReturnType<typeof taskSettings>,
  call: (context: TaskContext) => unknown,
): Promise<unknown> {
  const taskId = key.derive('task');
  const progress = key.progress();
  // A key whose last request failed is free for any other: what that one left must not go to somebody else.
  const fingerprint = native.checkpointDigest('request', [...key.asked]);
  const kept = progress === undefined ? emptyCheckpoint(fingerprint) : decodeCheckpoint(taskId, progress);
  if (kept.fingerprint !== fingerprint) throw new CheckpointMismatchError(taskId);
  // The client decides how often it asks: each of its requests counts its attempts anew.
  const record = settings.semantics === 'at-most-once' ? kept : { ...kept, attempts: 0, isRunning: false };
  const held = {
    fence: key.fence,
    save: (bytes: Uint8Array) => key.save(bytes),
    derive: (name: string) => key.derive(name),
  };
  const run = new TaskRun(taskId, held, { ...record, nextAttemptAtMs: 0 }, plan, settings);
  const lost = () => {
    run.lose();
  };
  key.signal.addEventListener('abort', lost, { once: true });
  try {
    return await tracked(run, async () => {
      try {
        const result = await runWithRetry(plan, (attempt) => run.attempt(attempt, call), run);
        return run.resultBytes(result).value;
      } catch (error) {
        await run.giveUp().catch(() => undefined);
        throw error;
      }
    });
  } finally {
    key.signal.removeEventListener('abort', lost);
    run.close();
  }
}

function respondWithJson(result: unknown, res: ServerResponse): void {
  if (result === undefined) {
    res.statusCode = 204;
    res.end();
    return;
  }
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.end(JSON.stringify(result));
}

function noKey(): Error {
  return withCode(
    new TypeError(
      'resumable: this request has no idempotency key; mount idempotencyMiddleware() before the route, for its method',
    ),
    'ERR_REPRISE_INVALID_ARGUMENT',
  );
}

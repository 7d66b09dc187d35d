import { channel } from 'node:diagnostics_channel';
import type { Logger } from '../logger.js';
import type { StopReason } from './info.js';
import { currentTrace, type OpenTelemetryApi } from './trace.js';

/** What happens in a run, as `onEvent` is told and as it is published under `reprise:retry:` and its `type`. */
export interface RetryEvent {
  /**
   * `attempt`: a call begins. `retry`: it failed, and after `delayMs` there will be another. `success`, `give-up`:
   * the end. `load`, `save`: of a checkpoint.
   */
  readonly type: 'attempt' | 'retry' | 'success' | 'give-up' | 'load' | 'save';
  /** The option `name`. */
  readonly name?: string;
  /** The task, of a checkpointed run. */
  readonly taskId?: string;
  /** Which call it is, from 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** Of `retry`: milliseconds until the next call. */
  readonly delayMs?: number;
  /** Of `give-up`. */
  readonly stopReason?: StopReason;
  /** Of `retry` and `give-up`: what was thrown. */
  readonly error?: unknown;
}

/** Who listens to a run. */
export interface Listeners {
  readonly onEvent?: ((event: RetryEvent) => unknown) | undefined;
  readonly logger?: Logger | undefined;
  readonly openTelemetry?: OpenTelemetryApi | undefined;
}

type EventType = RetryEvent['type'];

const KINDS: Record<EventType, { level: keyof Logger; message: string }> = {
  attempt: { level: 'debug', message: 'retry: an attempt begins' },
  retry: { level: 'warn', message: 'retry: an attempt failed, another one follows' },
  success: { level: 'debug', message: 'retry: done' },
  'give-up': { level: 'error', message: 'retry: given up' },
  load: { level: 'debug', message: 'retry: a checkpoint was loaded' },
  save: { level: 'debug', message: 'retry: a checkpoint was saved' },
};

const CHANNELS = Object.fromEntries(
  Object.keys(KINDS).map((type) => [type, channel(`reprise:retry:${type}`)]),
) as Record<EventType, ReturnType<typeof channel>>;

/** Whether an event would reach anyone at all. */
export function isHeard({ onEvent, logger }: Listeners, type: EventType): boolean {
  return onEvent !== undefined || logger !== undefined || CHANNELS[type].hasSubscribers;
}

/** Tells all who listen; none of them can disturb the run. Arguments and results of the task are never told. */
export function tell(listeners: Listeners, event: RetryEvent): void {
  const { onEvent, logger } = listeners;
  if (CHANNELS[event.type].hasSubscribers) CHANNELS[event.type].publish(event);
  if (onEvent !== undefined) quietly(() => onEvent(event));
  if (logger !== undefined) {
    const { level, message } = KINDS[event.type];
    quietly(() => {
      logger[level](fieldsOf(event, listeners), message);
    });
  }
}

/** The fields of a log line: stable names, absent where there is nothing to say. */
function fieldsOf(event: RetryEvent, { openTelemetry }: Listeners): Record<string, unknown> {
  const { type, name, taskId, attempt, maxAttempts, delayMs, stopReason } = event;
  const trace = currentTrace(openTelemetry);
  const fields: Record<string, unknown> = {
    event: `retry.${type}`,
    'retry.name': name,
    'retry.attempt': attempt,
    'retry.max_attempts': maxAttempts,
    'retry.delay_ms': delayMs,
    'retry.stop_reason': stopReason,
    'task.id': taskId,
    trace_id: trace?.traceId,
    span_id: trace?.spanId,
  };
  if ('error' in event) Object.assign(fields, errorFields(event.error));
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function errorFields(error: unknown): Record<string, unknown> {
  try {
    if (typeof error !== 'object' || error === null) {
      return { 'error.type': typeof error, 'error.message': String(error) };
    }
    const { name, message } = error as Partial<Record<string, unknown>>;
    return {
      'error.type': typeof name === 'string' ? name : 'object',
      'error.message': typeof message === 'string' ? message : undefined,
    };
  } catch {
    return { 'error.type': 'unknown' };
  }
}

let hasWarned = false;

function quietly(tell: () => unknown): void {
  try {
    const told = tell();
    if (told instanceof Promise) told.catch(warnOnce);
  } catch (error) {
    warnOnce(error);
  }
}

function warnOnce(error: unknown): void {
  if (hasWarned) return;
  hasWarned = true;
  process.emitWarning(`An observer of a retry failed, which changes nothing for the retry: ${describe(error)}`, {
    type: 'RepriseWarning',
    code: 'WRN_REPRISE_OBSERVER_FAILED',
  });
}

function describe(error: unknown): string {
  try {
    return String(error);
  } catch {
    return 'an error that cannot be shown';
  }
}

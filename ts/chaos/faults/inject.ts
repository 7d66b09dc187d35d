import type { IncomingMessage, ServerResponse } from 'node:http';

import type { ActiveFaults } from './active.js';
import { endConnection, loseResponse } from './connection.js';
import { answerError } from './error.js';
import type { ChaosFault } from './fault.js';
import { hang, holdRequest } from './hold.js';

/** One fault that was decided for one request, and what it acts on. */
export interface Injection {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** What was drawn for it: a status, a delay in milliseconds, or a share from 0 to below 1. */
  readonly drawn: number;
  /** Where it registers what it holds. */
  readonly active: ActiveFaults;
  /** Told once it took effect; never, if there was nothing to act on. */
  readonly done: () => void;
  /** Lets the request go on. */
  readonly next: (error?: unknown) => void;
}

/**
 * Does a fault to a request. Either the request goes on, then or later, or this fault is its end. A kernel's death is
 * none of a request: for it, the request just goes on.
 */
export function inject(fault: ChaosFault, injection: Injection): void {
  const { req, res, drawn, done, next } = injection;
  switch (fault.kind) {
    case 'error':
      done();
      answerError(res, drawn);
      return;
    case 'latency':
      done();
      holdRequest(injection, drawn);
      return;
    case 'hang':
      done();
      hang(injection);
      return;
    case 'hangup':
    case 'reset':
      done();
      endConnection(req, fault.kind);
      return;
    case 'lost-response':
      loseResponse(req, res, fault.ending ?? 'reset', done);
      next();
      return;
    case 'kernel-kill':
      next();
  }
}

/** As what a fault is counted once it took effect. */
export function countsAs({ kind }: ChaosFault): 'failure' | 'latency' | 'kernel-kill' {
  return kind === 'latency' || kind === 'kernel-kill' ? kind : 'failure';
}

import type { IncomingMessage, ServerResponse } from 'node:http';

import type { ActiveFaults } from './active.js';
import { endConnection, isHttp2 } from './connection.js';
import { errorAnswer, sendError } from './error.js';
import type { ChaosFault } from './fault.js';
import { hang, holdRequest } from './hold.js';
import { sharesOf } from './shares.js';
import { CorruptBody } from './wire/corrupt.js';
import { CutBody, LoseAnswer } from './wire/cut.js';
import { MalformFraming } from './wire/malformed.js';
import { Drip, Slice } from './wire/paced.js';
import { CutEvents } from './wire/sse.js';
import { SubstituteAnswer } from './wire/substitute.js';
import { Wire } from './wire/wire.js';
import type { WireFault } from './wire/wire.js';

/** One fault that was decided for one request, and what it acts on. */
export interface Injection {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** What was drawn for it: a status, a delay in milliseconds, or a share from 0 to below 1. */
  readonly drawn: number;
  /** Where it registers what it holds. */
  readonly active: ActiveFaults;
  /** Told once it took effect; never, if there was nothing to act on, such as a body to cut. */
  readonly done: () => void;
  /** Told why the fault cannot be done to this request, which goes on unharmed. */
  readonly undone: (why: string) => void;
  /** Lets the request go on. */
  readonly next: (error?: unknown) => void;
}

/**
 * Does a fault to a request. Either the request goes on, then or later, or this fault is its end. What happens to a
 * kernel or a store happens elsewhere: for that, the request just goes on.
 */
export function inject(fault: ChaosFault, injection: Injection): void {
  const { req, res, drawn, done, undone, next } = injection;
  switch (fault.kind) {
    case 'error':
      if (fault.when === 'after') break;
      done();
      sendError(res, errorAnswer(fault, drawn));
      return;
    case 'latency':
      if (fault.when === 'after') {
        Wire.of(injection)?.hold(injection, drawn);
        next();
        return;
      }
      done();
      holdRequest(injection, drawn);
      return;
    case 'hang':
      done();
      hang(injection);
      return;
    case 'hangup':
    case 'reset':
      if (isHttp2(req)) {
        undone('under HTTP/2 a connection is shared by many requests');
        next();
        return;
      }
      done();
      endConnection(req, fault.kind);
      return;
    case 'kernel-kill':
    case 'store-error':
    case 'store-latency':
      next();
      return;
    default:
  }
  const wire = Wire.of(injection);
  wire?.use(injection, onWire(fault, injection, wire));
  next();
}

type FaultOnWire = Exclude<
  ChaosFault,
  { kind: 'latency' | 'hang' | 'hangup' | 'reset' | 'kernel-kill' | 'store-error' | 'store-latency' }
>;

const MALFORMATIONS = ['status-line', 'content-length', 'chunk-size'] as const;
const EVENTS = [1, 2, 3, 4, 5, 6, 7, 8] as const;

/** The one that a share from 0 to below 1 falls on. */
function pick<T>(all: readonly [T, ...T[]], share: number): T {
  return all[Math.floor(share * all.length)] ?? all[0];
}

/** What acts on the bytes of an answer. */
function onWire(fault: FaultOnWire, injection: Injection, wire: Wire): WireFault {
  const { req, drawn, done, undone } = injection;
  switch (fault.kind) {
    case 'error':
      return new SubstituteAnswer(wire, req.method, errorAnswer(fault, drawn), done);
    case 'lost-response':
      return new LoseAnswer(wire, fault.ending ?? 'reset', done);
    case 'truncate':
      return new CutBody(wire, fault.at ?? { share: drawn }, fault.ending ?? 'hangup', done);
    case 'stall':
      return new CutBody(wire, fault.at ?? { share: drawn }, 'stall', done);
    case 'drip':
      return new Drip(wire, fault.bytes ?? 1, fault.everyMs ?? 100, done);
    case 'slice':
      return new Slice(wire, sharesOf(drawn), done);
    case 'corrupt':
      return new CorruptBody(wire, fault.bits ?? 1, sharesOf(drawn), done);
    case 'malformed':
      return new MalformFraming(wire, fault.what ?? pick(MALFORMATIONS, drawn), done);
    case 'sse-cut':
    case 'sse-stall': {
      const [event, share] = [sharesOf(drawn).next().value, drawn];
      const [where, then] =
        fault.kind === 'sse-stall'
          ? (['after-event', 'stall'] as const)
          : ([fault.where ?? 'mid-event', fault.ending ?? 'hangup'] as const);
      return new CutEvents(wire, { where, event: fault.event ?? pick(EVENTS, event), then, share, done, undone });
    }
  }
}

/** As what a fault is counted once it took effect; a slice harms nobody, and is not counted. */
export function countsAs({ kind }: ChaosFault): 'failure' | 'latency' | 'kernel-kill' | undefined {
  switch (kind) {
    case 'latency':
    case 'drip':
      return 'latency';
    case 'slice':
      return undefined;
    case 'kernel-kill':
      return kind;
    default:
      return 'failure';
  }
}

import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import type { ServerResponse } from 'node:http';

import type { OptionRule } from '../../options.js';
import type { FaultOf } from './fault.js';
import type { MadeAnswer } from './wire/substitute.js';

/** What `Retry-After` says on an injected 429 or 503 by default, in seconds. */
const RETRY_AFTER_S = 1;

/** The answer of an injected error, which says what it is. */
export function errorAnswer(fault: FaultOf<'error'>, status: number): MadeAnswer {
  const { body = explanation(status, fault.when === 'after'), headers = {}, retryAfter = RETRY_AFTER_S } = fault;
  const isText = typeof body === 'string';
  const text = isText ? body : JSON.stringify(body);
  const retries = fault.retryAfter !== undefined || status === 429 || status === 503;
  return {
    status,
    headers: {
      ...overridden(headers, {
        'Content-Type': isText ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8',
        'Cache-Control': 'no-store',
        ...(retries && { 'Retry-After': asHeader(retryAfter) }),
      }),
      ...headers,
      'Content-Length': String(Buffer.byteLength(text)),
      'X-Chaos-Fault': 'error',
    },
    body: text,
  };
}

/** Answers with it instead of the handler. Headers that were set before, such as those of CORS, stay. */
export function sendError(res: ServerResponse, { status, headers, body }: MadeAnswer): void {
  res.statusCode = status;
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  res.end(body);
}

function explanation(status: number, ran: boolean): object {
  const handler = ran ? 'The handler ran; this is not its answer.' : 'The handler did not run.';
  return {
    error: STATUS_CODES[status],
    message: `Injected by chaos engineering (reprise). ${handler}`,
    chaos: { fault: 'error', status },
  };
}

function asHeader(retryAfter: NonNullable<FaultOf<'error'>['retryAfter']>): string {
  if (typeof retryAfter === 'number') return String(retryAfter);
  return new Date(Date.now() + retryAfter.dateInSeconds * 1000).toUTCString();
}

/** The defaults whose names, in whatever case, are not among the headers. */
function overridden(headers: Readonly<Record<string, string>>, defaults: Record<string, string>) {
  const names = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => !names.has(name.toLowerCase())));
}

/** Headers that say where the answer ends: they follow from it. */
const OURS = ['content-length', 'transfer-encoding', 'connection', 'x-chaos-fault'];

export const errorHeaders: OptionRule = {
  allowed: `an object of header names and their texts, without ${OURS.join(', ')}`,
  type: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  range: (headers: object) => Object.entries(headers).every(([name, value]) => isHeader(name, value)),
};

function isHeader(name: string, value: unknown): boolean {
  if (typeof value !== 'string' || OURS.includes(name.toLowerCase())) return false;
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}

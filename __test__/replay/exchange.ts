import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { expect } from 'vitest';
import { idempotencyMiddleware, type IdempotencyOptions } from '../../ts/index.js';
import { open, send, serve, type Received, type Running, type Sent } from '../helpers/server.js';

/** Middleware or handler, as Express, connect and `node:http` take it. */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => unknown;

/** Makes a listener of `node:http` out of what a request passes, in this order. */
export type Mount = (...passes: Middleware[]) => RequestListener;

/** One handler, served with our middleware before it and without. */
export interface Pair {
  readonly bare: Running;
  readonly guarded: Running;
  /** How often the guarded handler ran. */
  readonly runs: () => number;
}

/** What is mounted around our middleware, and how it is set. */
export interface Surroundings {
  readonly options?: IdempotencyOptions;
  /** Made anew for each of the two servers. */
  readonly outside?: () => Middleware[];
  readonly inside?: () => Middleware[];
}

/** Serves a handler twice: bare, and behind our middleware. */
export async function servePair(mount: Mount, handler: Middleware, around: Surroundings = {}): Promise<Pair> {
  const { options, outside = () => [], inside = () => [] } = around;
  let runs = 0;
  const counted: Middleware = (req, res, next) => {
    runs++;
    return handler(req, res, next);
  };
  const bare = await serve(mount(...outside(), ...inside(), handler));
  const guarded = await serve(mount(...outside(), idempotencyMiddleware(options), ...inside(), counted));
  return { bare, guarded, runs: () => runs };
}

/** All that a server sends for one request, and, where that may leave the connection open, for one that ends it. */
export async function bytesOf(server: Running, head: string): Promise<string> {
  const connection = await open(server);
  connection.write(`${head}\r\nHost: test\r\nIdempotency-Key: ${randomUUID()}\r\n\r\n`);
  const isLast = /Connection: close|HTTP\/1\.0$/.test(head);
  if (!isLast) connection.write('GET /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n');
  return (await connection.ended()).replaceAll(/\r\nDate: [^\r]*/gi, '\r\nDate: -');
}

/** The lines of a head that belong to a connection, to its moment or to our marks, in lower case. */
const PASSING = new Set([
  'date',
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
  'trailer',
  'x-idempotency-replay',
  'x-original-timestamp',
]);

/**
 * The header fields that a replay has to repeat, in the order of their names' first lines. Between lines of different
 * names the order means nothing (RFC 9110 §5.3), and Node can keep it of those only that `writeHead` alone sets.
 */
export function lasting(rawHeaders: readonly string[], but: readonly string[] = []): [string, string][] {
  const fields: [string, string][] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) fields.push([rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '']);
  // Of one name, in whatever case, the order of the lines means something.
  const names = [...new Set(fields.map(([name]) => name.toLowerCase()))];
  return names
    .filter((name) => !PASSING.has(name) && !but.includes(name))
    .flatMap((name) => fields.filter((field) => field[0].toLowerCase() === name));
}

/** Expects a replay of the first answer: same status, message, header fields and bytes, marked as one. */
export function expectReplay(again: Received, first: Received, but: readonly string[] = []): void {
  expect(again.complete).toBe(true);
  expect(again.isReplay).toBe(true);
  expect(again.headers['x-original-timestamp']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect([again.status, again.statusMessage]).toEqual([first.status, first.statusMessage]);
  expect(lasting(again.rawHeaders, but)).toEqual(lasting(first.rawHeaders, but));
  expect(again.body.equals(first.body)).toBe(true);
  expect(first.isReplay).toBe(false);
}

/** Sends a request twice, expects one run and a replay of it, and hands on both answers. */
export async function sendTwice(pair: Pair, sent: Sent = {}): Promise<{ first: Received; again: Received }> {
  const before = pair.runs();
  const first = await send(pair.guarded, { key: 'twice', ...sent });
  const again = await send(pair.guarded, { key: 'twice', ...sent });
  expect(pair.runs() - before).toBe(1);
  expectReplay(again, first);
  return { first, again };
}

/** What `node:http` is without a framework: each pass calls the next one. */
export const plain: Mount =
  (...passes) =>
  (req, res) => {
    const next = (at: number) => (error?: unknown) => {
      if (error !== undefined) fail(error, req, res);
      else void run(at);
    };
    const run = async (at: number) => {
      try {
        await passes[at]?.(req, res, next(at + 1));
      } catch (error) {
        fail(error, req, res);
      }
    };
    next(0)();
  };

/** Answers an error, or breaks the connection where an answer has begun. */
export function fail(error: unknown, req: IncomingMessage, res: ServerResponse): void {
  if (res.headersSent) {
    req.socket.destroy();
    return;
  }
  if (req.httpVersionMajor === 1) res.statusMessage = '';
  res.statusCode = 500;
  res.end((error as Error).message);
}

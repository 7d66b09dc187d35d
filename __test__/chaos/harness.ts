import http from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { onTestFinished } from 'vitest';
import type { Chaos, ChaosMiddleware, ChaosOptions } from '../../ts/index.js';
import { createChaos } from '../../ts/index.js';

const express4 = createRequire(__filename)('express4') as typeof express;

export type Handler = (req: IncomingMessage, res: ServerResponse) => void;

type Mount = (middleware: ChaosMiddleware, handler: Handler) => RequestListener;

export const onExpress5: Mount = (middleware, handler) => express().use(middleware, handler) as RequestListener;

/** Every way to mount a middleware that is promised, each ending in one handler for all requests. */
export const stacks: readonly [string, Mount][] = [
  ['Express 5', onExpress5],
  ['Express 4', (middleware, handler) => express4().use(middleware, handler) as RequestListener],
  [
    'node:http',
    (middleware, handler) => (req, res) => {
      middleware(req, res, (error) => {
        if (error !== undefined) res.statusCode = 500;
        handler(req, res);
      });
    },
  ],
];

/** A server on a free port, gone after the test. */
export async function serve(listener: RequestListener): Promise<number> {
  const server: Server = http.createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A handler that answers 200 and remembers what it was asked. */
export function countingHandler() {
  const seen: string[] = [];
  const handler: Handler = (req, res) => {
    seen.push(String(req.headers['idempotency-key'] ?? req.url));
    res.end('handled');
  };
  return { seen, handler };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Ask {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly key?: string;
  readonly body?: Buffer;
  readonly agent?: http.Agent;
}

/** One request over a real socket. */
export function ask(port: number, { method = 'GET', path = '/', headers = {}, key, body, agent }: Ask = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const keyHeader: Record<string, string> = key === undefined ? {} : { 'Idempotency-Key': key };
    const options = { port, host: '127.0.0.1', method, path, agent, headers: { ...headers, ...keyHeader } };
    http
      .request(options, (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('end', () => {
          resolve({ status: res.statusCode ?? 0, headers: res.headers, text: Buffer.concat(chunks).toString() });
        });
      })
      .on('error', reject)
      .end(body);
  });
}

/** An instance with a seed, unless the options have one; closed after the test. */
export function chaosFor(options: ChaosOptions): Chaos {
  const chaos = createChaos({ seed: 42, ...options });
  onTestFinished(() => {
    chaos.close();
  });
  return chaos;
}

/** Waits, without a clock, until something that sockets bring about is so. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

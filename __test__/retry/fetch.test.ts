import { getEventListeners, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { getRetryInfo, requestRetryOptions, retry, retryFetch, traceContext, type Logger } from '../../ts/index.js';

const ends: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});
const quickly = { initialDelayMs: 1, maxDelayMs: 1 };

interface Seen {
  headers: IncomingMessage['headers'];
  body: string;
}

/** A server that answers with these, one after the other, and then with 200. */
async function serve(...answers: ((res: ServerResponse, req: IncomingMessage) => void)[]) {
  const seen: Seen[] = [];
  const server = createServer((req, res) => {
    let body = '';
    req.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    req.on('end', () => {
      seen.push({ headers: req.headers, body });
      const answer = answers[seen.length - 1];
      if (answer) answer(res, req);
      else res.end('done');
    });
  }).listen(0);
  await once(server, 'listening');
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, seen };
}

const status =
  (code: number, headers: Record<string, string> = {}) =>
  (res: ServerResponse) => {
    res.writeHead(code, headers).end('no');
  };
const hangUp = (res: ServerResponse) => {
  res.destroy();
};

describe('retryFetch', () => {
  it.each([408, 425, 429, 500, 502, 503, 504])('sends again after %i, with one key and the same body', async (code) => {
    const { url, seen } = await serve(status(code), hangUp);
    const response = await retryFetch(url, { method: 'POST', body: 'charge' }, quickly);
    expect(await response.text()).toBe('done');
    expect(seen.map(({ body }) => body)).toEqual(['charge', 'charge', 'charge']);
    expect(new Set(seen.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
    expect(seen[0]?.headers['idempotency-key']).toMatch(/^[0-9a-f-]{36}$/);
    expect(seen.map(({ headers }) => headers['x-retry-attempt'])).toEqual(['1', '2', '3']);
  });

  it.each([400, 401, 404, 409, 422])('takes %i for an answer', async (code) => {
    const { url, seen } = await serve(status(code));
    expect((await retryFetch(url, {}, quickly)).status).toBe(code);
    expect(seen).toHaveLength(1);
  });

  it('takes a 409 that says when to come back for one that is still in progress', async () => {
    const { url, seen } = await serve(status(409, { 'Retry-After': '0' }));
    expect((await retryFetch(url, { method: 'POST' }, quickly)).status).toBe(200);
    expect(seen).toHaveLength(2);
  });

  it('gives the last response when it gives up, its body to be read, and how it went', async () => {
    const { url } = await serve(status(503), status(503), status(503));
    const response = await retryFetch(url, {}, quickly);
    expect([response.status, await response.text()]).toEqual([503, 'no']);
    expect(getRetryInfo(response)).toMatchObject({ attempts: 3, stopReason: 'exhausted' });
  });

  it('stops where the server asks for more than it would wait', async () => {
    const { url, seen } = await serve(status(429, { 'Retry-After': '86400' }));
    const response = await retryFetch(url, {}, quickly);
    expect(seen).toHaveLength(1);
    expect(getRetryInfo(response)).toMatchObject({ stopReason: 'retry-after', retryAfterMs: 86_400_000 });
  });

  it("leaves the user's own key alone, and gives a safe method none", async () => {
    const { url, seen } = await serve();
    await retryFetch(url, { method: 'POST', headers: { 'idempotency-KEY': 'mine' } });
    await retryFetch(url);
    expect(seen.map(({ headers }) => headers['idempotency-key'])).toEqual(['mine', undefined]);
  });

  it('refuses a body that can be sent only once, unless it is sent once', async () => {
    const { url } = await serve();
    const body = () => Readable.toWeb(Readable.from(['x'])) as ReadableStream;
    const init = () => ({ method: 'POST', body: body(), duplex: 'half' }) as RequestInit;
    await expect(retryFetch(url, init())).rejects.toMatchObject({ code: 'ERR_REPRISE_BODY_NOT_REPLAYABLE' });
    expect((await retryFetch(url, init(), { maxAttempts: 1 })).status).toBe(200);
  });

  it('tells the deadline', async () => {
    const { url, seen } = await serve();
    await retryFetch(url, {}, { totalTimeoutMs: 5_000 });
    const left = Number(seen[0]?.headers['x-request-timeout-ms']);
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(5_000);
  });

  it('takes a 413 that says when to come back for one that passes, and any other for an answer', async () => {
    const { url, seen } = await serve(status(413, { 'Retry-After': '0' }), status(413));
    expect((await retryFetch(url, { method: 'POST', body: 'large' }, quickly)).status).toBe(413);
    expect(seen).toHaveLength(2);
  });

  it('leaves nothing on a signal that many requests share, and it ends the reading of a body too', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const { url } = await serve(...Array.from({ length: 3 }, () => hangUp), status(204), (res) => res.write('begun'));
    await expect(retryFetch(url, { signal }, quickly)).rejects.toThrow('fetch failed');
    await retryFetch(url, { signal }, quickly);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    const reading = (await retryFetch(url, { signal }, quickly)).text();
    const ended = expect(reading).rejects.toThrow('mine');
    controller.abort(new Error('mine'));
    await ended;
  });

  it('ends at once with the reason of either signal', async () => {
    const { url } = await serve(() => undefined);
    const controller = new AbortController();
    const ended = expect(retryFetch(url, { signal: controller.signal })).rejects.toThrow('mine');
    setTimeout(() => {
      controller.abort(new Error('mine'));
    }, 20);
    await ended;
  });
});

describe('a request of a server', () => {
  it('ends its retries when the client goes away, and takes the time that the client gives', async () => {
    let settle: (error: unknown) => void = () => undefined;
    const done = new Promise<unknown>((resolve) => (settle = resolve));
    const { url } = await serve((res, req) => {
      const options = requestRetryOptions(req, res);
      expect(options.totalTimeoutMs).toBe(60_000);
      const run = retry(() => Promise.reject(new Error('down')), { ...options, maxAttempts: 100 });
      run.catch(settle);
    });
    const controller = new AbortController();
    const headers = { 'x-request-timeout-ms': '60000' };
    const request = fetch(url, { signal: controller.signal, headers }).catch(() => undefined);
    setTimeout(() => {
      controller.abort();
    }, 30);
    await request;
    expect(await done).toMatchObject({ name: 'AbortError', message: 'The client went away' });
  });

  it('names its trace in every log line and passes it on; arguments are never logged', async () => {
    const lines: Record<string, unknown>[] = [];
    const log = (fields: object) => lines.push(fields as Record<string, unknown>);
    const logger: Logger = { debug: log, info: log, warn: log, error: log };
    const { url: downstream, seen } = await serve(status(503));
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    const { url } = await serve((res, req) => {
      traceContext()(req, res, () => {
        void retryFetch(`${downstream}?card=4242`, {}, { ...quickly, name: 'charge', logger }).then(() => res.end());
      });
    });
    await fetch(url, { headers: { traceparent } });
    expect(seen.map(({ headers }) => headers['traceparent'])).toEqual([traceparent, traceparent]);
    const common = {
      'retry.name': 'charge',
      'retry.max_attempts': 3,
      trace_id: 'a'.repeat(32),
      span_id: 'b'.repeat(16),
    };
    expect(lines).toEqual([
      { ...common, event: 'retry.attempt', 'retry.attempt': 1 },
      {
        ...common,
        event: 'retry.retry',
        'retry.attempt': 1,
        'retry.delay_ms': expect.any(Number) as number,
        'error.type': 'Error',
        'error.message': 'the answer was 503',
      },
      { ...common, event: 'retry.attempt', 'retry.attempt': 2 },
      { ...common, event: 'retry.success', 'retry.attempt': 2 },
    ]);
    expect(JSON.stringify(lines)).not.toContain('4242');
  });

  it('has the span of OpenTelemetry where that is given', async () => {
    const lines: object[] = [];
    const log = (fields: object) => lines.push(fields);
    const logger: Logger = { debug: log, info: log, warn: log, error: log };
    const spanContext = () => ({ traceId: 'c'.repeat(32), spanId: 'd'.repeat(16), traceFlags: 1 });
    const openTelemetry = { trace: { getActiveSpan: () => ({ spanContext }) } };
    await retry(() => 1, { logger, openTelemetry });
    expect(lines[0]).toMatchObject({ trace_id: 'c'.repeat(32), span_id: 'd'.repeat(16) });
  });
});

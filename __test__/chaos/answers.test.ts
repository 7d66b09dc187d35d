import http from 'node:http';
import http2 from 'node:http2';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import cors from 'cors';
import express from 'express';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { idempotencyMiddleware } from '../../ts/index.js';
import type { ChaosFault } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, stacks, until } from './harness.js';
import { raw, rawClient, requestFor } from './raw.js';

const withFault = (fault: ChaosFault) => chaosFor({ rules: [{ name: 'broken', fault }] });

describe.each(stacks)('an error after the handler, on %s', (_, mount) => {
  it('is what the client gets; the handler ran and finished; the connection goes on', async () => {
    const chaos = withFault({ kind: 'error', when: 'after', statuses: [503] });
    const finished: [number, boolean][] = [];
    const handler = (_req: IncomingMessage, res: ServerResponse) => {
      res.on('finish', () => finished.push([res.statusCode, res.writableFinished]));
      res.statusCode = 201;
      res.setHeader('Set-Cookie', 'id=1');
      res.write('some');
      res.end('thing');
    };
    const port = await serve(mount(chaos.middleware(), handler));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let n = 1; n <= 2; n++) {
      const { status, headers, text } = await ask(port, { agent });
      expect(status).toBe(503);
      expect(headers).toMatchObject({ 'retry-after': '1', 'x-chaos-fault': 'error', 'cache-control': 'no-store' });
      expect(headers).not.toHaveProperty('set-cookie');
      expect(JSON.parse(text)).toMatchObject({
        message: 'Injected by chaos engineering (reprise). The handler ran; this is not its answer.',
      });
      expect(finished).toHaveLength(n);
    }
    agent.destroy();
    expect(finished[0]).toEqual([201, true]);
    const head = await raw(port, requestFor('/', { method: 'HEAD', headers: 'Connection: close\r\n' }));
    expect(head.bytes).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n[^]*\r\n\r\n$/);
    expect(chaos.metrics().failuresInjected).toBe(3);
  });
});

it('an error after the handler keeps what CORS said of the answer', async () => {
  const chaos = withFault({ kind: 'error', when: 'after' });
  const app = express().use(chaos.middleware(), cors({ origin: 'https://shop.example' }), (_req, res) => res.end());
  const { headers } = await ask(await serve(app as never));
  expect(headers).toMatchObject({ 'access-control-allow-origin': 'https://shop.example', vary: 'Origin' });
});

it('a retry after an error in place of the answer is answered from the record', async () => {
  const chaos = chaosFor({
    rules: [{ name: 'broken', fault: { kind: 'error', when: 'after', statuses: [502] }, attempts: [1] }],
  });
  const app = express().use(chaos.middleware(), express.json(), idempotencyMiddleware());
  let rows = 0;
  app.post('/', (_req, res) => res.status(201).json({ row: ++rows }));
  const port = await serve(app as never);
  const post = () => ask(port, { method: 'POST', key: 'order-1' });
  expect((await post()).status).toBe(502);
  expect(await post()).toMatchObject({ status: 201, text: '{"row":1}' });
});

describe.each(['before', 'after'] as const)('an error %s the handler', (when) => {
  async function answerOf(fault: Partial<Extract<ChaosFault, { kind: 'error' }>>) {
    const chaos = withFault({ kind: 'error', when, statuses: [500], ...fault });
    return ask(await serve(onExpress5(chaos.middleware(), countingHandler().handler)));
  }

  it('has a body of its own: a text, or JSON', async () => {
    const plain = await answerOf({ body: 'überlastet' });
    expect(plain).toMatchObject({ text: 'überlastet', headers: { 'content-type': 'text/plain; charset=utf-8' } });
    const json = await answerOf({ body: { code: 'busy' } });
    expect(json).toMatchObject({
      text: '{"code":"busy"}',
      headers: { 'content-type': 'application/json; charset=utf-8' },
    });
  });

  it('has headers of its own, which win, in whatever case', async () => {
    const headers = { 'content-type': 'text/html', 'Cache-Control': 'private', 'X-Upstream': 'db' };
    expect((await answerOf({ body: '<p>', headers })).headers).toMatchObject({
      'content-type': 'text/html',
      'cache-control': 'private',
      'x-upstream': 'db',
      'x-chaos-fault': 'error',
    });
  });

  it('says when to retry: in seconds or by a date, where it is asked to', async () => {
    expect((await answerOf({})).headers).not.toHaveProperty('retry-after');
    expect((await answerOf({ retryAfter: 7 })).headers).toMatchObject({ 'retry-after': '7' });
    const before = Math.floor(Date.now() / 1000);
    const { headers } = await answerOf({ retryAfter: { dateInSeconds: 60 } });
    expect(headers['retry-after']).toMatch(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
    const at = Date.parse(String(headers['retry-after'])) / 1000;
    expect(at).toBeGreaterThanOrEqual(before + 60);
    expect(at).toBeLessThanOrEqual(Math.ceil(Date.now() / 1000) + 60);
  });
});

describe('a delay after the handler', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  const held: ChaosFault = { kind: 'latency', when: 'after', delay: { law: 'uniform', minMs: 500, maxMs: 500 } };

  it.each(stacks)('holds the answer on %s: the handler has run and finished, and no byte comes', async (_, mount) => {
    const chaos = withFault(held);
    let finished = 0;
    const handler = (_req: IncomingMessage, res: ServerResponse) => {
      res.on('finish', () => finished++);
      res.end('handled');
    };
    const client = rawClient(await serve(mount(chaos.middleware(), handler)), requestFor());
    await until(() => finished === 1);
    expect(chaos.metrics()).toMatchObject({ latenciesInjected: 1, failuresInjected: 0 });
    vi.advanceTimersByTime(499);
    const other = rawClient(await serve((_req, res) => res.end('other')), requestFor());
    await other.until(/other/);
    expect(client.bytes).toBe('');
    vi.advanceTimersByTime(1);
    expect(await client.until(/handled/)).toMatch(/^HTTP\/1\.1 200 OK/);
  });

  it('is over when the client leaves: nothing is held any more', async () => {
    const chaos = withFault(held);
    const port = await serve(onExpress5(chaos.middleware(), countingHandler().handler));
    const before = vi.getTimerCount();
    const client = rawClient(port, requestFor());
    await until(() => chaos.metrics().latenciesInjected === 1);
    expect(vi.getTimerCount()).toBeGreaterThan(before);
    client.leave();
    await until(() => vi.getTimerCount() === before);
  });

  it('lets go of the answer when chaos is closed', async () => {
    const chaos = withFault(held);
    const answer = ask(await serve(onExpress5(chaos.middleware(), countingHandler().handler)));
    await until(() => chaos.metrics().latenciesInjected === 1);
    chaos.close();
    expect((await answer).text).toBe('handled');
  });

  it('comes before what else happens to the bytes', async () => {
    const chaos = chaosFor({
      selection: 'independent',
      rules: [
        { name: 'late', fault: held },
        { name: 'cut', fault: { kind: 'truncate', at: { bytes: 4 } } },
      ],
    });
    const client = rawClient(await serve(onExpress5(chaos.middleware(), countingHandler().handler)), requestFor());
    await until(() => chaos.metrics().failuresInjected === 1);
    expect(client.bytes).toBe('');
    vi.advanceTimersByTime(500);
    const { bytes, ending } = await client.ended;
    expect([bytes.endsWith('\r\n\r\nhand'), ending]).toEqual([true, 'FIN']);
  });
});

it('a handler that writes more than a socket takes pauses while its answer is held, and goes on after', async () => {
  const chaos = withFault({
    kind: 'latency',
    when: 'after',
    delay: { law: 'uniform', minMs: 1_000_000, maxMs: 1_000_000 },
  });
  const told: boolean[] = [];
  let drained = 0;
  const port = await serve((req, res) => {
    res.on('drain', () => drained++);
    chaos.middleware()(req, res, () => {
      for (let n = 0; n < 3; n++) told.push(res.write(Buffer.alloc(40_000)));
      res.end('over');
    });
  });
  const client = rawClient(port, requestFor());
  await until(() => told.length === 3);
  expect(told).toEqual([true, false, false]);
  chaos.close();
  await client.until(/over/);
  expect(drained).toBeLessThanOrEqual(1);
});

describe('over HTTP/2', () => {
  async function request(fault: ChaosFault) {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    const chaos = withFault(fault);
    const server = http2.createServer((req, res) => {
      chaos.middleware()(req as never, res as never, () => res.end('handled'));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    onTestFinished(() => {
      process.off('warning', onWarning);
      session.destroy();
      server.close();
    });
    const stream = session.request({ ':path': '/' });
    let [text, status] = ['', 0];
    stream.on('response', (headers) => (status = Number(headers[':status'])));
    for await (const chunk of stream) text += String(chunk);
    return { text, status, chaos, warnings };
  }

  it.each<ChaosFault>([
    { kind: 'hangup' },
    { kind: 'reset' },
    { kind: 'truncate' },
    { kind: 'lost-response' },
    { kind: 'error', when: 'after' },
    { kind: 'latency', when: 'after', delay: { law: 'uniform', minMs: 9000, maxMs: 9000 } },
  ])('%j is not done, and a warning says so', async (fault) => {
    const { text, chaos, warnings } = await request(fault);
    expect(text).toBe('handled');
    await until(() => warnings.length > 0);
    expect(warnings).toMatchObject([{ code: 'WRN_REPRISE_CHAOS_UNDONE' }]);
    expect(warnings[0]?.message).toContain(`"${fault.kind}"`);
    expect(chaos.metrics()).toMatchObject({ totalRequests: 1, failuresInjected: 0, latenciesInjected: 0 });
  });

  it('a hanging request ends alone when chaos is closed', async () => {
    const chaos = withFault({ kind: 'hang' });
    const server = http2.createServer((req, res) => {
      if (req.url === '/spared') res.end('handled');
      else chaos.middleware()(req as never, res as never, () => res.end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    onTestFinished(() => {
      session.destroy();
      server.close();
    });
    const hanging = session.request({ ':path': '/' });
    const closed = new Promise((resolve) => hanging.on('error', () => undefined).on('close', resolve));
    await until(() => chaos.metrics().failuresInjected === 1);
    chaos.close();
    await closed;
    expect(hanging.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
    const other = session.request({ ':path': '/spared' });
    let text = '';
    for await (const chunk of other) text += String(chunk);
    expect(text).toBe('handled');
  });

  it('an error is answered as ever', async () => {
    const { status, chaos } = await request({ kind: 'error', statuses: [503] });
    expect([status, chaos.metrics().failuresInjected]).toEqual([503, 1]);
  });
});

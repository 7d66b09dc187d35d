import http, { STATUS_CODES } from 'node:http';
import express from 'express';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ask, chaosFor, countingHandler, onExpress5, serve, stacks } from './harness.js';

describe.each(stacks)('an injected error on %s', (_, mount) => {
  it('is 500, 503, 504 or 429, says what it is, and the handler does not run', async () => {
    const chaos = chaosFor({ failureProbability: 1 });
    const { handler, seen } = countingHandler();
    const port = await serve(mount(chaos.middleware(), handler));
    const found = new Set<number>();
    for (let n = 0; n < 40; n++) {
      const { status, headers, text } = await ask(port, { method: 'POST', key: `order-${n}` });
      found.add(status);
      expect(headers).toMatchObject({
        'content-type': 'application/json; charset=utf-8',
        'cache-control': 'no-store',
        'x-chaos-fault': 'error',
      });
      expect(JSON.parse(text)).toEqual({
        error: STATUS_CODES[status],
        message: 'Injected by chaos engineering (reprise). The handler did not run.',
        chaos: { fault: 'error', status },
      });
      // RFC 9110, 10.2.3: whole seconds; where the client is asked to come back.
      const wait = headers['retry-after'];
      if (status === 429 || status === 503) expect(wait).toMatch(/^[1-9]\d*$/);
      else expect(wait).toBeUndefined();
    }
    expect([...found].sort()).toEqual([429, 500, 503, 504]);
    expect(seen).toEqual([]);
    expect(chaos.metrics()).toEqual({
      totalRequests: 40,
      failuresInjected: 40,
      latenciesInjected: 0,
      kernelsKilled: 0,
      failureRate: 1,
      latencyRate: 0,
    });
  });

  it('leaves a request alone that is not hit: status, headers and body are the handler’s', async () => {
    const bare = await ask(await serve(mount((_req, _res, next) => { next(); }, countingHandler().handler))); // prettier-ignore
    const { status, headers, text } = await ask(
      await serve(mount(chaosFor({ failureProbability: 0 }).middleware(), countingHandler().handler)),
    );
    expect({ status, text, headers: { ...headers, date: '' } }).toEqual({
      ...bare,
      headers: { ...bare.headers, date: '' },
    });
  });
});

it('a preflight (OPTIONS) is never hit, nor counted', async () => {
  const chaos = chaosFor({ failureProbability: 1, latencyProbability: 1, kernelKillProbability: 1 });
  const port = await serve(onExpress5(chaos.middleware(), countingHandler().handler));
  expect((await ask(port, { method: 'OPTIONS' })).status).toBe(200);
  expect(chaos.metrics().totalRequests).toBe(0);
});

it('headers that were set before it stay, such as those of CORS', async () => {
  const app = express()
    .use((_req, res, next) => {
      res.setHeader('Access-Control-Allow-Origin', 'https://shop.example');
      next();
    })
    .use(chaosFor({ failureProbability: 1 }).middleware());
  const { headers } = await ask(await serve(app as http.RequestListener));
  expect(headers['access-control-allow-origin']).toBe('https://shop.example');
});

it('a HEAD gets the headers and no body', async () => {
  const port = await serve(onExpress5(chaosFor({ failureProbability: 1 }).middleware(), countingHandler().handler));
  const { headers, text } = await ask(port, { method: 'HEAD' });
  expect(text).toBe('');
  expect(Number(headers['content-length'])).toBeGreaterThan(0);
});

it('the connection lives on, also if nobody read the body of the request', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => {
    agent.destroy();
  });
  let connections = 0;
  const listener = onExpress5(chaosFor({ failureProbability: 1 }).middleware(), countingHandler().handler);
  const port = await serve((req, res) => {
    if (req.socket.listenerCount('test') === 0) connections++;
    req.socket.once('test', () => undefined);
    listener(req, res);
  });
  for (let n = 0; n < 3; n++) {
    const { headers } = await ask(port, { method: 'POST', body: Buffer.alloc(256 * 1024), agent });
    expect(headers['x-chaos-fault']).toBe('error');
  }
  expect(connections).toBe(1);
});

it('a request that was answered before it passes on', async () => {
  const chaos = chaosFor({ failureProbability: 1 });
  let passed = false;
  const port = await serve((req, res) => {
    res.end('answered');
    chaos.middleware()(req, res, () => {
      passed = true;
    });
  });
  expect((await ask(port)).text).toBe('answered');
  expect(passed).toBe(true);
  expect(chaos.metrics().totalRequests).toBe(0);
});

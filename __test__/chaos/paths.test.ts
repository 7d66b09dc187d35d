import type { RequestListener } from 'node:http';
import net from 'node:net';
import express from 'express';
import { describe, expect, it } from 'vitest';
import { ask, chaosFor, countingHandler, onExpress5, serve } from './harness.js';

/** Whether a request for the path is left alone by an instance that fails every other one. */
async function isLeftAlone(path: string, excludedPaths?: string[]): Promise<boolean> {
  const chaos = chaosFor({ failureProbability: 1, excludedPaths });
  const port = await serve(onExpress5(chaos.middleware(), countingHandler().handler));
  const leftAlone = (await ask(port, { path })).status === 200;
  expect(chaos.metrics().totalRequests).toBe(leftAlone ? 0 : 1);
  return leftAlone;
}

describe('excluded paths', () => {
  it.each([
    ['/api/health', true],
    ['/api/health/', true],
    ['/api/health/live', true],
    ['/api/health?verbose=1', true],
    ['/api/health/?verbose=1', true],
    ['/api/%68ealth', true],
    ['/api/metrics', true],
    ['/api/healthz', false],
    ['/api/health-check', false],
    ['/api/health%2Flive', false],
    ['/api/Health', false],
    ['/api', false],
    ['/', false],
    ['/v1/api/health', false],
    ['/orders?next=/api/health', false],
    ['/api/%zzhealth', false],
  ])('by default, %s is left alone: %s', async (path, expected) => {
    expect(await isLeftAlone(path)).toBe(expected);
  });

  it.each([
    ['/login', ['/login'], true],
    ['/api/health', ['/login'], false],
    ['/login', ['/login/'], true],
    ['/caf%C3%A9/menu', ['/café'], true],
    ['/caf%C3%A9/menu', ['/caf%C3%A9'], true],
    ['/', ['/'], true],
    ['/anything', ['/'], false],
    ['/api/health', [], false],
  ])('%s with %j: %s', async (path, excludedPaths, expected) => {
    expect(await isLeftAlone(path, excludedPaths)).toBe(expected);
  });

  it('is the whole path, wherever the middleware is mounted', async () => {
    const chaos = chaosFor({ failureProbability: 1, excludedPaths: ['/api/health', '/orders'] });
    const app = express().use('/api', chaos.middleware()).use(countingHandler().handler);
    const port = await serve(app as RequestListener);
    expect((await ask(port, { path: '/api/health' })).status).toBe(200);
    // `/orders` is what the mount would call it.
    expect((await ask(port, { path: '/api/orders' })).headers['x-chaos-fault']).toBe('error');
  });

  it('is found in the absolute form too, which proxies send', async () => {
    const chaos = chaosFor({ failureProbability: 1 });
    const port = await serve(onExpress5(chaos.middleware(), countingHandler().handler));
    const socket = net.connect(port, '127.0.0.1');
    socket.write(`GET http://127.0.0.1/api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toMatch(/^HTTP\/1.1 200 /);
  });
});

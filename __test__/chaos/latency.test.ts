import net from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, chaosFor, countingHandler, onExpress5, serve, stacks, until } from './harness.js';
import type { Answer } from './harness.js';
import { choose, draw } from './reference.js';

// Sockets are real; the clock that delays run on is not.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Lets everything that is on its way through sockets arrive: a whole other request and its answer. */
async function settle(): Promise<void> {
  const port = await serve((_req, res) => res.end());
  await ask(port);
}

/** A raw connection, so that a test can leave whenever it likes. */
function connect(port: number, ...requests: string[]): net.Socket {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  for (const path of requests) socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  return socket;
}

describe.each(stacks)('an injected delay on %s', (_, mount) => {
  it('holds the request exactly as long as the definition says, then the handler runs', async () => {
    const chaos = chaosFor({ latencyProbability: 1, latencyRange: [100, 5000] });
    const { handler, seen } = countingHandler();
    const port = await serve(mount(chaos.middleware(), handler));
    for (let n = 0; n < 5; n++) {
      const delay = 100 + choose(4901, draw('42', `key:order-${n}`, 0, 'latency', 'latency'));
      const answer = ask(port, { key: `order-${n}` });
      await until(() => vi.getTimerCount() === 1);
      vi.advanceTimersByTime(delay - 1);
      await settle();
      expect(seen).toHaveLength(n);
      vi.advanceTimersByTime(1);
      expect((await answer).text).toBe('handled');
      expect(seen).toHaveLength(n + 1);
    }
    expect(chaos.metrics()).toMatchObject({ totalRequests: 5, latenciesInjected: 5, latencyRate: 1 });
  });

  it('comes first where a request is to fail as well', async () => {
    const chaos = chaosFor({ latencyProbability: 1, latencyRange: [50, 50], failureProbability: 1 });
    const { handler, seen } = countingHandler();
    const answer = ask(await serve(mount(chaos.middleware(), handler)));
    await until(() => vi.getTimerCount() === 1);
    expect(chaos.metrics()).toMatchObject({ latenciesInjected: 1, failuresInjected: 0 });
    vi.advanceTimersByTime(50);
    expect((await answer).headers['x-chaos-fault']).toBe('error');
    expect(chaos.metrics()).toMatchObject({ latenciesInjected: 1, failuresInjected: 1 });
    expect(seen).toEqual([]);
  });

  it('ends when the client leaves: no timer is left, the handler does not run, nothing fails', async () => {
    const chaos = chaosFor({ latencyProbability: 1, latencyRange: [50, 50], failureProbability: 0.5 });
    const { handler, seen } = countingHandler();
    const port = await serve(mount(chaos.middleware(), handler));
    const sockets = Array.from({ length: 10 }, (_unused, n) => connect(port, `/${n}`));
    await until(() => vi.getTimerCount() === 10);
    for (const socket of sockets) socket.destroy();
    await until(() => vi.getTimerCount() === 0);
    vi.advanceTimersByTime(100);
    await settle();
    expect(seen).toEqual([]);
    expect(chaos.metrics()).toMatchObject({ latenciesInjected: 10, failuresInjected: 0 });
  });

  it('close() lets every held request go on to its handler at once, unharmed', async () => {
    const chaos = chaosFor({ latencyProbability: 1, failureProbability: 1 });
    const { handler, seen } = countingHandler();
    const port = await serve(mount(chaos.middleware(), handler));
    const answers = Array.from({ length: 20 }, (_unused, n) => ask(port, { path: `/${n}` }));
    await until(() => vi.getTimerCount() === 20);
    chaos.close();
    expect(vi.getTimerCount()).toBe(0);
    expect((await Promise.all(answers)).map(({ text }: Answer) => text)).toEqual(Array(20).fill('handled'));
    expect(seen).toHaveLength(20);
    expect((await ask(port)).text).toBe('handled');
    expect(chaos.metrics()).toMatchObject({ totalRequests: 20, latenciesInjected: 20, failuresInjected: 0 });
  });
});

it('keeps no listener on the response once the request went on', async () => {
  const chaos = chaosFor({ latencyProbability: 1, latencyRange: [50, 50] });
  const closeListeners: number[] = [];
  const answer = ask(
    await serve((req, res) => {
      closeListeners.push(res.listenerCount('close'));
      chaos.middleware()(req, res, () => {
        closeListeners.push(res.listenerCount('close'));
        res.end();
      });
    }),
  );
  await until(() => vi.getTimerCount() === 1);
  vi.advanceTimersByTime(50);
  await answer;
  expect(closeListeners[1]).toBe(closeListeners[0]);
});

it('a pipelined request whose client left while it was queued does not run either', async () => {
  const chaos = chaosFor({ latencyProbability: 1, latencyRange: [50, 50] });
  const { handler, seen } = countingHandler();
  const closed: string[] = [];
  const listener = onExpress5(chaos.middleware(), handler);
  const port = await serve((req, res) => {
    req.socket.once('close', () => closed.push(String(req.url)));
    listener(req, res);
  });
  const socket = connect(port, '/first', '/second');
  await until(() => vi.getTimerCount() === 2);
  socket.destroy();
  await until(() => closed.length === 2);
  vi.advanceTimersByTime(50);
  await settle();
  expect(seen).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

it('a request that somebody else answered while it was held does not run', async () => {
  const chaos = chaosFor({ latencyProbability: 1, latencyRange: [50, 50], failureProbability: 1 });
  let timeOut = () => undefined as unknown;
  let passed = false;
  const port = await serve((req, res) => {
    timeOut = () => res.writeHead(504).write('too late');
    chaos.middleware()(req, res, () => (passed = true));
  });
  const socket = connect(port, '/');
  await until(() => vi.getTimerCount() === 1);
  timeOut();
  vi.advanceTimersByTime(50);
  expect(passed).toBe(false);
  expect(chaos.metrics().failuresInjected).toBe(0);
  socket.destroy();
});

it('what one released request throws keeps none of the others', async () => {
  const chaos = chaosFor({ latencyProbability: 1 });
  let ran = 0;
  const port = await serve((req, res) => {
    chaos.middleware()(req, res, () => {
      ran++;
      res.end();
      throw new Error('thrown by a handler');
    });
  });
  const answers = [ask(port), ask(port), ask(port)];
  await until(() => vi.getTimerCount() === 3);
  const thrown: unknown[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException').on('uncaughtException', (error) => thrown.push(error));
  chaos.close();
  await Promise.all(answers);
  process.removeAllListeners('uncaughtException');
  for (const other of others) process.on('uncaughtException', other);
  expect(ran).toBe(3);
  expect(thrown).toEqual(Array(3).fill(expect.objectContaining({ message: 'thrown by a handler' })));
});

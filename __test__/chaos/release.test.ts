import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { expect, it } from 'vitest';
import type { ChaosFault } from '../../ts/index.js';
import { chaosFor, serve, until } from './harness.js';
import { rawClient, requestFor } from './raw.js';

const HELD = 1000;

it.each<[ChaosFault, string]>([
  [{ kind: 'hang' }, ''],
  [{ kind: 'stall', at: { bytes: 5 } }, '01234'],
  [{ kind: 'sse-stall', event: 1 }, ''],
  [{ kind: 'drip', bytes: 1, everyMs: 2_000_000_000 }, '0123456789'],
  [{ kind: 'latency', when: 'after', delay: { law: 'uniform', minMs: 2_000_000, maxMs: 2_000_000 } }, '0123456789'],
])('a thousand held by %j end with close(): nothing is left of them', async (fault, got) => {
  const chaos = chaosFor({ rules: [{ name: 'held', fault }] });
  const sockets = new Set<Socket>();
  const answers = new Set<ServerResponse>();
  const port = await serve((req, res) => {
    sockets.add(req.socket);
    answers.add(res);
    chaos.middleware()(req, res, () => {
      res.setHeader('Connection', 'close');
      if (fault.kind !== 'sse-stall') {
        res.end('0123456789');
        return;
      }
      res.setHeader('Content-Type', 'text/event-stream');
      res.end('data: 1\n\ndata: 2\n\n');
    });
  });
  const timersBefore = timers();
  const clients = Array.from({ length: HELD }, () => rawClient(port, requestFor()));
  const held = () => chaos.metrics().failuresInjected + chaos.metrics().latenciesInjected;
  await until(() => held() === HELD);
  // Nothing of it keeps a listener of its own on a socket that a later answer may use.
  chaos.close();
  const ended = await Promise.all(clients.map((client) => client.ended));
  expect(new Set(ended.map(({ ending }) => ending))).toEqual(new Set(['FIN']));
  expect(ended.every(({ bytes }) => bytes.endsWith(got))).toBe(true);
  await until(() => [...sockets].every((socket) => socket.destroyed));
  // Those of the test runner come and go.
  await until(() => timers() <= timersBefore);
  for (const socket of sockets) expect(Object.hasOwn(socket, 'write')).toBe(false);
  for (const res of answers) expect(res.listenerCount('close')).toBeLessThanOrEqual(1);
});

/** How many timers keep this process alive. */
function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import express from 'express';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware } from '../../ts/index.js';
import type { ChaosFault } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, stacks, until } from './harness.js';
import { raw } from './raw.js';

const withFault = (fault: ChaosFault) => chaosFor({ rules: [{ name: 'broken', fault }] });

const codeOf = (error: unknown) => (error as { cause?: { code?: string } }).cause?.code;

describe.each(stacks)('on %s', (_, mount) => {
  it.each([
    ['hangup', 'FIN', 'ECONNRESET', 'UND_ERR_SOCKET'],
    ['reset', 'ECONNRESET', 'ECONNRESET', 'ECONNRESET'],
  ] as const)('%s: no byte, then %s; the handler does not run', async (kind, ending, nodeCode, fetchCode) => {
    const chaos = withFault({ kind });
    const { handler, seen } = countingHandler();
    const port = await serve(mount(chaos.middleware(), handler));
    expect(await raw(port)).toEqual({ bytes: '', ending });
    await expect(ask(port)).rejects.toMatchObject({ code: nodeCode });
    expect(await fetch(`http://127.0.0.1:${port}/`).catch(codeOf)).toBe(fetchCode);
    expect(seen).toEqual([]);
    // undici sends a GET again by itself when a connection was closed before the answer, but not a new one.
    expect(chaos.metrics().failuresInjected).toBe(3);
  });

  it.each([
    ['reset', '', 'ECONNRESET'],
    ['reset', 'Connection: close\r\n', 'ECONNRESET'],
    ['hangup', '', 'FIN'],
    ['hangup', 'Connection: close\r\n', 'FIN'],
  ] as const)(
    'a lost response (%s, %j): the handler ran, finish fired, the client sees %s',
    async (ending, header, end) => {
      const chaos = withFault({ kind: 'lost-response', ending });
      const finished: [number, boolean][] = [];
      const handler = (_req: IncomingMessage, res: ServerResponse) => {
        res.on('finish', () => finished.push([res.statusCode, res.writableFinished]));
        res.statusCode = 201;
        res.write('some');
        res.end('thing');
      };
      const port = await serve(mount(chaos.middleware(), handler));
      expect(await raw(port, `GET / HTTP/1.1\r\nHost: x\r\n${header}\r\n`)).toEqual({ bytes: '', ending: end });
      expect(finished).toEqual([[201, true]]);
      await expect(ask(port)).rejects.toMatchObject({ code: 'ECONNRESET' });
      await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed');
      expect(finished).toHaveLength(3);
      expect(chaos.metrics().failuresInjected).toBe(3);
    },
  );
});

it('a pipelined answer before the lost one arrives whole', async () => {
  const match = { paths: ['/lost'] };
  const chaos = chaosFor({ rules: [{ name: 'lost', match, fault: { kind: 'lost-response', ending: 'hangup' } }] });
  const { handler, seen } = countingHandler();
  const port = await serve(onExpress5(chaos.middleware(), handler));
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
  const { bytes } = await raw(port, request('/kept') + request('/lost'));
  expect(bytes.match(/HTTP\/1.1 200/g)).toHaveLength(1);
  expect(bytes).toMatch(/handled$/);
  expect(seen).toEqual(['/kept', '/lost']);
});

describe.each(['outside of', 'inside of'] as const)(
  'with chaos %s idempotency, a retry after a failure leaves',
  (where) => {
    /** How many rows an order makes that is sent until it is answered with 201, once with a fault on its first attempt. */
    async function rows(fault: ChaosFault, headers: Record<string, string>[]): Promise<number> {
      const chaos = chaosFor({ rules: [{ name: 'first', fault, first: 1 }] });
      const made: unknown[] = [];
      const app = express();
      const idempotency = idempotencyMiddleware({ missingKey: 'pass' });
      app.use(express.json());
      app.use(where === 'outside of' ? [chaos.middleware(), idempotency] : [idempotency, chaos.middleware()]);
      app.post('/orders', (req, res) => {
        made.push(req.body);
        res.status(201).json({ id: made.length });
      });
      const port = await serve(app as never);
      const statuses: number[] = [];
      for (const header of headers) {
        const sent = ask(port, {
          method: 'POST',
          path: '/orders',
          headers: { 'content-type': 'application/json', ...header },
          body: Buffer.from('{"tea":1}'),
        });
        statuses.push(await sent.then(({ status }) => status).catch(() => 0));
      }
      expect(statuses[0]).not.toBe(201);
      expect(statuses[1]).toBe(201);
      return made.length;
    }

    it('one row with a key, when the answer was lost', async () => {
      const key = { 'Idempotency-Key': 'order-1' };
      expect(await rows({ kind: 'lost-response' }, [key, key])).toBe(1);
    });

    it('two rows without a key, when the answer was lost', async () => {
      expect(await rows({ kind: 'lost-response' }, [{}, {}])).toBe(2);
    });

    it('one row, which the retry made, when an error came before the handler', async () => {
      expect(await rows({ kind: 'error' }, [{}, {}])).toBe(1);
    });
  },
);

it('a thousand hanging requests end with close(): every socket is closed, nothing is left', async () => {
  const chaos = withFault({ kind: 'hang' });
  let arrived = 0;
  const left = new Set<ServerResponse>();
  const port = await serve((req, res) => {
    arrived++;
    left.add(res);
    chaos.middleware()(req, res, () => res.end());
  });
  const answers = Array.from({ length: 1000 }, () => raw(port));
  await until(() => arrived === 1000);
  expect(chaos.metrics().failuresInjected).toBe(1000);
  chaos.close();
  expect(new Set((await Promise.all(answers)).map(({ ending }) => ending))).toEqual(new Set(['FIN']));
  for (const res of left) expect(res.listenerCount('close')).toBeLessThanOrEqual(1);
});

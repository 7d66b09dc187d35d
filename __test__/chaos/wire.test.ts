import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware } from '../../ts/index.js';
import type { ChaosFault } from '../../ts/index.js';
import { expresses } from '../helpers/server.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, stacks } from './harness.js';
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

describe.each(['outside of', 'inside of'] as const)('with chaos %s idempotency, on every Express', (where) => {
  /** How many rows an order has made: after its first attempt, which has a fault, and after a retry. */
  async function rows(express: (typeof expresses)[number]['express'], fault: ChaosFault, key?: string) {
    const chaos = chaosFor({ rules: [{ name: 'first', fault, first: 1 }] });
    const made: unknown[] = [];
    const idempotency = idempotencyMiddleware({ missingKey: 'pass' });
    const app = express().use(express.json());
    app.use(...(where === 'outside of' ? [chaos.middleware(), idempotency] : [idempotency, chaos.middleware()]));
    app.post('/orders', (req, res) => {
      made.push(req.body);
      res.status(201).json({ id: made.length });
    });
    const port = await serve(app as never);
    const headers = { 'content-type': 'application/json', ...(key !== undefined && { 'Idempotency-Key': key }) };
    const order = () => ask(port, { method: 'POST', path: '/orders', headers, body: Buffer.from('{"tea":1}') });
    const first = await order().catch(() => undefined);
    expect(first?.status).not.toBe(201);
    const after = made.length;
    expect((await order()).status).toBe(201);
    return [after, made.length];
  }

  // The table of docs/chaos.md.
  it.each<[string, ChaosFault, string | undefined, number[]]>([
    ['a lost response, and a retry with its key', { kind: 'lost-response' }, 'order-1', [1, 1]],
    ['a lost response, and a retry without a key', { kind: 'lost-response' }, undefined, [1, 2]],
    ['an error before the handler, and a retry with its key', { kind: 'error' }, 'order-1', [0, 1]],
    ['an error before the handler, and a retry without a key', { kind: 'error' }, undefined, [0, 1]],
  ])('%s', async (_, fault, key, expected) => {
    for (const { express } of expresses) expect(await rows(express, fault, key)).toEqual(expected);
  });
});

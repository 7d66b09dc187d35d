import type { Response } from 'express';
import { describe, expect, it } from 'vitest';
import type { IdempotencyOptions, IdempotencyStore, StoredResponse } from '../../ts/index.js';
import { expresses, open, send, type RawConnection, type Running } from '../helpers/server.js';
import { expectReplay, lasting, servePair, type Middleware } from './exchange.js';
import { mountOn } from './express.js';
import { HeldStore } from './held-store.js';
import { handlerOf, ways } from './ways.js';

/** Whether a client that speaks HTTP/1.1 knows that it has the whole answer, by RFC 9112 §6. */
function isWhole(received: string): boolean {
  const text = received.replace(/^(HTTP\/1.1 1\d\d [^]*?\r\n\r\n)+/, '');
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const head = text.slice(0, end).toLowerCase();
  const body = text.slice(end + 4);
  if (/^http\/1.1 (204|304) /.test(head)) return true;
  const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1];
  if (length !== undefined) return body.length >= Number(length);
  return /(^|\r\n)0\r\n([^\r]+\r\n)*\r\n$/.test(body);
}

async function begin(server: Running): Promise<RawConnection> {
  const connection = await open(server);
  connection.write('POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\n\r\n');
  return connection;
}

/** Long enough for everything that is on its way to arrive: two requests through the same process. */
async function settled(server: Running): Promise<void> {
  for (let i = 0; i < 2; i++) await send(server, { method: 'GET' });
}

/** An answer without the bounds of its chunks, which mean nothing (RFC 9112 §7.1): Node 26 makes one of two in a turn. */
function unchunked(answer: string): string {
  const at = answer.indexOf('\r\n\r\n', answer.lastIndexOf('HTTP/1.1 ')) + 4;
  const head = answer.slice(0, at);
  if (!/\r\nTransfer-Encoding: chunked\r\n/i.test(head)) return answer;
  let body = '';
  let rest = answer.slice(at);
  for (let size = sizeOf(rest); size > 0; size = sizeOf(rest)) {
    const from = rest.indexOf('\r\n') + 2;
    body += rest.slice(from, from + size);
    rest = rest.slice(from + size + 2);
  }
  return head + body + rest;
}

/** The size of the chunk that a text begins with. */
function sizeOf(chunk: string): number {
  return Number.parseInt(chunk, 16);
}

async function wholeOf(connection: RawConnection): Promise<string> {
  while (!isWhole(connection.received)) await new Promise((resolve) => connection.socket.once('data', resolve));
  return connection.received.replace(/\r\nDate: [^\r]*/, '');
}

describe.each(expresses)('$name', ({ express }) => {
  const mount = mountOn(express);

  describe('§4.3 the last byte waits for the store', () => {
    it.each(ways)('$name', async (way) => {
      const store = new HeldStore();
      const { bare, guarded, runs } = await servePair(mount, handlerOf(way), {
        options: { store, storeTimeoutMs: 60_000 },
      });
      if ((await send(bare)).status >= 500) return;
      const connection = await begin(guarded);
      await store.asked.opened;
      await settled(guarded);
      expect(isWhole(connection.received)).toBe(false);
      store.may.open();
      expect(unchunked(await wholeOf(connection))).toBe(unchunked(await wholeOf(await begin(bare))));
      expectReplay(await send(guarded, { key: 'k' }), await send(bare));
      expect(runs()).toBe(1);
    });
  });

  describe('§4.3 while the answer waits for the store', () => {
    /** What a handler meets that goes on after its answer: values, and errors with their codes and messages. */
    async function afterwards(answer: (res: Response) => void, res: Response): Promise<unknown[]> {
      const seen: unknown[] = [];
      const look = (name: string, act: () => unknown) => {
        try {
          const value = act();
          seen.push([name, value === res ? 'res' : value]);
        } catch (error) {
          const { code, message } = error as NodeJS.ErrnoException;
          seen.push([name, code, message]);
        }
      };
      res.on('error', ({ message }) => seen.push(['error', message]));
      answer(res);
      look('headersSent', () => res.headersSent);
      look('writableEnded', () => res.writableEnded);
      look('finished', () => (res as { finished?: boolean }).finished);
      look('destroyed', () => res.destroyed);
      look('statusCode', () => res.statusCode);
      look('getHeader', () => res.getHeader('content-type'));
      look('json', () => res.json({ second: true }));
      look('status and send', () => res.status(500).send('second'));
      look('sendStatus', () => res.sendStatus(404));
      look('redirect', () => {
        res.redirect('/');
      });
      look('cookie', () => res.cookie('a', 'b'));
      look('setHeader', () => res.setHeader('a', 'b'));
      look('setHeaders', () => res.setHeaders(new Map([['a', 'b']])));
      look('appendHeader', () => res.appendHeader('a', 'b'));
      look('removeHeader', () => {
        res.removeHeader('content-type');
      });
      look('writeHead', () => res.writeHead(500));
      look('flushHeaders', () => {
        res.flushHeaders();
      });
      look('end', () => res.end());
      look('end with a body', () => res.end('second'));
      await new Promise((resolve) => setImmediate(resolve));
      return seen;
    }

    const answers: Record<string, (res: Response) => void> = {
      json: (res) => res.json({ first: true }),
      end: (res) => res.end('first'),
      'an empty end': (res) => res.end(),
      'write and end': (res) => {
        res.write('first');
        res.end();
      },
      'writeHead and end': (res) => {
        res.writeHead(201, { 'Content-Type': 'text/plain' });
        res.end('first');
      },
      'a length announced and reached': (res) => {
        res.set('Content-Length', '5').write('first');
      },
    };

    it.each(Object.entries(answers))('a handler meets what it meets without us: behind %s', async (_name, answer) => {
      const store = new HeldStore();
      const seen: unknown[][] = [];
      const handler: Middleware = async (_req, res) => {
        seen.push(await afterwards(answer, res as Response));
      };
      const { bare, guarded } = await servePair(mount, handler, { options: { store, storeTimeoutMs: 60_000 } });
      const expected = await send(bare);
      const connection = await begin(guarded);
      await store.asked.opened;
      await settled(guarded);
      expect(isWhole(connection.received)).toBe(false);
      store.may.open();
      await wholeOf(connection);
      expect(seen[1]).toEqual(seen[0]);
      expectReplay(await send(guarded, { key: 'k' }), expected);
    });

    it('a client that leaves finds the answer when it comes back', async () => {
      const store = new HeldStore();
      const { guarded, runs } = await servePair(mount, (_req, res) => res.end('first'), {
        options: { store, storeTimeoutMs: 60_000 },
      });
      const { socket } = await begin(guarded);
      await store.asked.opened;
      socket.resetAndDestroy();
      await settled(guarded);
      store.may.open();
      await settled(guarded);
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'first', isReplay: true });
      expect(runs()).toBe(1);
    });

    it('answers of one connection come in their order', async () => {
      const store = new HeldStore();
      const bodies = ['first', 'second', 'third'];
      const { guarded } = await servePair(mount, (_req, res) => res.end(bodies.shift()), {
        options: { store, storeTimeoutMs: 60_000 },
      });
      const connection = await open(guarded);
      for (const key of 'abc') connection.write(`POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: ${key}\r\n\r\n`);
      await store.asked.opened;
      await settled(guarded);
      expect(connection.received).toBe('');
      store.may.open();
      expect(await connection.until('third')).toMatch(/first[^]*second[^]*third/);
    });
  });

  describe('§6.3 an answer that could not be stored', () => {
    const broken: IdempotencyStore = {
      get: () => undefined,
      set: () => Promise.reject(new Error('no store today')),
      delete: () => undefined,
    };
    /** Those that send nothing before all is known. */
    const atOnce = ['json of an object', 'send of an empty string', '204', 'redirect', 'end of a Buffer', 'sendFile'];

    it.each(ways)('reaches its client whole: $name', async (way) => {
      const phases: string[] = [];
      const onStoreError: IdempotencyOptions['onStoreError'] = (_error, _req, phase) => {
        phases.push(phase);
        return 'fail';
      };
      const { bare, guarded } = await servePair(mount, handlerOf(way), { options: { store: broken, onStoreError } });
      const expected = await send(bare);
      const answer = await send(guarded, { key: 'k' });
      expect(answer).toMatchObject({ status: expected.status, statusMessage: expected.statusMessage, complete: true });
      expect(answer.body.equals(expected.body)).toBe(true);
      const ours = ['idempotency-stored'];
      expect(lasting(answer.rawHeaders, ours)).toEqual(lasting(expected.rawHeaders));
      if (expected.status >= 500) return;
      expect(phases).toEqual(['complete']);
      if (atOnce.includes(way.name)) expect(answer.headers['idempotency-stored']).toBe('false');
    });

    it('says so to scripts too, where CORS is at work', async () => {
      const handler: Middleware = (_req, res) => {
        res.setHeader('Access-Control-Allow-Origin', '*');
        res.end('a');
      };
      const { guarded } = await servePair(mount, handler, { options: { store: broken } });
      const { headers } = await send(guarded, { key: 'k' });
      expect(headers['access-control-expose-headers']).toBe('Idempotency-Stored');
    });

    it('does not wait for a store that hangs', async () => {
      const store = new HeldStore();
      const options = { store, storeTimeoutMs: 20 };
      const { guarded } = await servePair(mount, (_req, res) => res.end('all'), { options });
      const answer = await send(guarded, { key: 'k' });
      expect(answer).toMatchObject({ text: 'all', headers: { 'idempotency-stored': 'false' } });
      store.may.open();
    });

    it('is stored later, and its retry gets it', async () => {
      const kept = new Map<string, StoredResponse>();
      let fails = 2;
      const store: IdempotencyStore = {
        get: (key) => kept.get(key),
        set: (key, value) => {
          if (fails-- > 0) throw new Error('not yet');
          kept.set(key, value);
        },
        delete: (key) => kept.delete(key),
      };
      const options = { store, onConcurrent: 'wait' } as const;
      const { guarded, runs } = await servePair(mount, (_req, res) => res.end('all'), { options });
      const first = await send(guarded, { key: 'k' });
      expect(first).toMatchObject({ text: 'all', headers: { 'idempotency-stored': 'false' } });
      const again = await send(guarded, { key: 'k' });
      expect(again).toMatchObject({ text: 'all', isReplay: true });
      expect(again.headers).not.toHaveProperty('idempotency-stored');
      expect(runs()).toBe(1);
    });
  });
});

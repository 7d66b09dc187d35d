import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { expresses, gate, open, send, type Received, type Running } from '../helpers/server.js';
import { bytesOf, sendTwice, servePair, type Middleware } from './exchange.js';
import { mountOn } from './express.js';
import { HeldStore } from './held-store.js';

const options = { maxResponseBytes: 10 };

function expectRefused(retry: Received): void {
  expect(retry.status).toBe(409);
  expect(JSON.parse(retry.text)).toMatchObject({ code: 'not-replayable' });
}

async function begin(server: Running) {
  const connection = await open(server);
  connection.write('POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\n\r\n');
  return connection;
}

describe.each(expresses)('$name', ({ express }) => {
  const mount = mountOn(express);

  describe('§4.7 an answer over maxResponseBytes', () => {
    const large: [string, Middleware][] = [
      ['in one piece', (_req, res) => res.end('eleven byte')],
      ['by its last piece', (_req, res) => res.write('ten bytes.') && res.end('!')],
      ['by a piece in its middle', (_req, res) => res.write('eleven byte') && res.end('!')],
      [
        'with its length announced',
        (_req, res) => {
          res.setHeader('Content-Length', '11');
          res.write('eleven');
          res.end(' byte');
        },
      ],
    ];

    it.each(large)('reaches its client as without us, and its retry is told, %s', async (_name, handler) => {
      const { bare, guarded, runs } = await servePair(mount, handler, { options });
      expect(await bytesOf(guarded, 'POST / HTTP/1.1')).toBe(await bytesOf(bare, 'POST / HTTP/1.1'));
      await send(guarded, { key: 'k' });
      expectRefused(await send(guarded, { key: 'k' }));
      expect(runs()).toBe(2);
    });

    it.each(large)('its last byte waits for the store too, %s', async (_name, handler) => {
      const store = new HeldStore();
      const { guarded } = await servePair(mount, handler, { options: { ...options, store, storeTimeoutMs: 60_000 } });
      const first = send(guarded, { key: 'k' });
      await store.asked.opened;
      let isWhole = false;
      void first.then(() => (isWhole = true));
      await send(guarded, { method: 'GET' });
      expect(isWhole).toBe(false);
      store.may.open();
      expect(await first).toMatchObject({ status: 200, complete: true });
      expectRefused(await send(guarded, { key: 'k' }));
    });

    it('is passed on piece by piece, and slowed down by a slow client', async () => {
      const held = gate();
      const seen: boolean[] = [];
      const piece = Buffer.alloc(1024 * 1024, 'a');
      const handler: Middleware = async (_req, res) => {
        while (res.write(piece)) seen.push(true);
        await held.opened;
        res.end('end');
      };
      const { guarded } = await servePair(mount, handler, { options });
      const connection = await begin(guarded);
      await connection.until('aaaa');
      held.open();
      await connection.until('end');
      // Without us it would be as few: what the socket takes at once.
      expect(seen.length).toBeLessThan(16);
    });

    it('is refused to a retry as running while it runs', async () => {
      const held = gate();
      const handler: Middleware = async (_req, res) => {
        res.write('more than ten');
        await held.opened;
        res.end();
      };
      const { guarded, runs } = await servePair(mount, handler, { options });
      const connection = await begin(guarded);
      await connection.until('more than ten');
      expect(JSON.parse((await send(guarded, { key: 'k' })).text)).toMatchObject({ code: 'in-progress' });
      held.open();
      await connection.until('0\r\n\r\n');
      expectRefused(await send(guarded, { key: 'k' }));
      expect(runs()).toBe(1);
    });

    it('is not read on when its client has left, and its retry is told', async () => {
      const handler: Middleware = async (_req, res) => {
        res.write('more than ten');
        await new Promise((resolve) => res.once('close', resolve));
      };
      const around = { options: { ...options, onConcurrent: 'wait' } } as const;
      const { guarded, runs } = await servePair(mount, handler, around);
      const connection = await begin(guarded);
      await connection.until('more than ten');
      connection.socket.destroy();
      expectRefused(await send(guarded, { key: 'k' }));
      expect(runs()).toBe(1);
    });

    it('becomes so after its client has left: its retry is told', async () => {
      const handler: Middleware = async (_req, res) => {
        res.write('ten bytes.');
        await new Promise((resolve) => res.once('close', resolve));
        res.write('one too many');
      };
      const around = { options: { ...options, onConcurrent: 'wait' } } as const;
      const { guarded, runs } = await servePair(mount, handler, around);
      const connection = await begin(guarded);
      await connection.until('ten bytes.');
      connection.socket.destroy();
      expectRefused(await send(guarded, { key: 'k' }));
      expect(runs()).toBe(1);
    });

    it('is free again where it is not to be kept anyway', async () => {
      const { guarded, runs } = await servePair(mount, (_req, res) => res.writeHead(500).end('eleven byte'), {
        options,
      });
      await send(guarded, { key: 'k' });
      expect((await send(guarded, { key: 'k' })).status).toBe(500);
      expect(runs()).toBe(2);
    });

    it('begins at one byte more: what fits is kept', async () => {
      await sendTwice(await servePair(mount, (_req, res) => res.end('ten bytes.'), { options }));
    });
  });

  describe('§4.7 an event stream', () => {
    const heads: [string, Middleware][] = [
      [
        'setHeader',
        (_req, res, next) => {
          res.setHeader('Content-Type', 'text/event-stream');
          next();
        },
      ],
      [
        'setHeader and flushHeaders',
        (_req, res, next) => {
          res.setHeader('content-type', 'Text/Event-Stream; charset=utf-8');
          res.flushHeaders();
          next();
        },
      ],
      [
        'writeHead',
        (_req, res, next) => {
          res.writeHead(200, { 'Content-Type': 'text/event-stream' });
          next();
        },
      ],
      [
        'writeHead with an array',
        (_req, res, next) => {
          res.writeHead(200, ['Content-Type', 'text/event-stream']);
          next();
        },
      ],
    ];

    it.each(heads)('passes event by event, and its retry is told at once: %s', async (_name, head) => {
      const held = [gate(), gate()];
      const handler: Middleware = async (_req, res) => {
        res.write('data: 1\n\n');
        await held[0]?.opened;
        res.write('data: 2\n\n');
        await held[1]?.opened;
        res.end('data: 3\n\n');
      };
      const { guarded, runs } = await servePair(mount, (req, res, next) =>
        head(req, res, () => {
          void handler(req, res, next);
        }),
      );
      const connection = await begin(guarded);
      await connection.until('data: 1\n\n');
      expectRefused(await send(guarded, { key: 'k' }));
      held[0]?.open();
      await connection.until('data: 2\n\n');
      held[1]?.open();
      await connection.until('0\r\n\r\n');
      expectRefused(await send(guarded, { key: 'k' }));
      expect(runs()).toBe(1);
    });

    it('does not wait for the store', async () => {
      const store = new HeldStore();
      const handler: Middleware = async (_req, res) => {
        res.setHeader('Content-Type', 'text/event-stream');
        res.write('data: 1\n\n');
        await turn();
        res.end('data: 2\n\n');
      };
      const { guarded } = await servePair(mount, handler, { options: { store, storeTimeoutMs: 60_000 } });
      const connection = await begin(guarded);
      await connection.until('data: 2\n\n\r\n0\r\n\r\n');
      store.may.open();
      await store.asked.opened;
      expectRefused(await send(guarded, { key: 'k' }));
    });

    it('tells its handler that the client has left, as without us', async () => {
      const left = gate();
      const handler: Middleware = (_req, res) => {
        res.setHeader('Content-Type', 'text/event-stream');
        res.write('data: 1\n\n');
        res.on('close', () => {
          if (res.destroyed) left.open();
        });
      };
      const { guarded, runs } = await servePair(mount, handler);
      const connection = await begin(guarded);
      await connection.until('data: 1\n\n');
      connection.socket.destroy();
      await left.opened;
      expectRefused(await send(guarded, { key: 'k' }));
      expect(runs()).toBe(1);
    });

    it('that comes in one piece is one all the same', async () => {
      const handler: Middleware = (_req, res) => {
        res.setHeader('Content-Type', 'text/event-stream');
        res.end('data: 1\n\n');
      };
      const { bare, guarded } = await servePair(mount, handler);
      expect(await bytesOf(guarded, 'POST / HTTP/1.1')).toBe(await bytesOf(bare, 'POST / HTTP/1.1'));
      await send(guarded, { key: 'k' });
      expectRefused(await send(guarded, { key: 'k' }));
    });

    it('of an error frees the key', async () => {
      const handler: Middleware = (_req, res) => {
        res.writeHead(503, { 'Content-Type': 'text/event-stream' });
        res.write('data: 1\n\n');
        res.end();
      };
      const { guarded, runs } = await servePair(mount, handler);
      await send(guarded, { key: 'k' });
      expect((await send(guarded, { key: 'k' })).status).toBe(503);
      expect(runs()).toBe(2);
    });
  });
});

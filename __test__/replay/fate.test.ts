import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import express from 'express';
import { describe, expect, it } from 'vitest';
import { expresses, gate, open, send, type Running } from '../helpers/server.js';
import { servePair, type Middleware } from './exchange.js';
import { mountOn } from './express.js';

/** Resolves when the response has heard that its connection is closed. */
function closed(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    res.once('close', () => {
      resolve();
    });
  });
}

async function begin(server: Running, head = '', body = '') {
  const connection = await open(server);
  connection.write(`POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\n${head}\r\n${body}`);
  return connection;
}

const UPLOAD = 'Content-Type: text/plain\r\nContent-Length: 10\r\n';

describe.each(expresses)('$name', ({ express: version }) => {
  const mount = mountOn(version);

  describe('§4.4 a connection that somebody else closed says nothing about the handler: its key stays taken', () => {
    const closers: [string, (server: Running['server'], socket: Socket) => void][] = [
      ['a watchdog of connections', (_server, socket) => socket.destroy()],
      ['a watchdog that resets', (_server, socket) => socket.resetAndDestroy()],
      [
        'a server that shuts down',
        (server) => {
          server.closeAllConnections();
        },
      ],
    ];

    it.each(closers)('%s', async (_name, close) => {
      const running = gate<ServerResponse>();
      const finish = gate();
      const handler: Middleware = async (_req, res) => {
        running.open(res);
        await finish.opened;
        res.end('paid');
      };
      const { guarded, runs } = await servePair(mount, handler);
      const accepted = new Promise<Socket>((resolve) => guarded.server.once('connection', resolve));
      await begin(guarded);
      const res = await running.opened;
      const isClosed = closed(res);
      close(guarded.server, await accepted);
      await isClosed;
      expect((await send(guarded, { key: 'k' })).status).toBe(409);
      finish.open();
      await new Promise((resolve) => setImmediate(resolve));
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'paid', isReplay: true });
      expect(runs()).toBe(1);
    });

    it.each(['a listener of clientError', 'Node itself, of bytes behind `Connection: close`'])('%s', async (who) => {
      const running = gate<ServerResponse>();
      const finish = gate();
      const handler: Middleware = async (_req, res) => {
        running.open(res);
        await finish.opened;
        res.end('paid');
      };
      const { guarded, runs } = await servePair(mount, handler);
      if (who.startsWith('a')) guarded.server.on('clientError', (_error, socket) => socket.destroy());
      const connection = await begin(guarded, who.startsWith('a') ? '' : 'Connection: close\r\n');
      const res = await running.opened;
      const isClosed = closed(res);
      connection.write('GET / HTTP/1.1\r\nHost: test\r\n\r\nno request\r\n\r\n');
      if (who.startsWith('a')) await isClosed;
      else await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await send(guarded, { key: 'k' })).status).toBe(409);
      finish.open();
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'paid', isReplay: true });
      expect(runs()).toBe(1);
    });

    it('middleware in front that destroys the response', async () => {
      const finish = gate();
      const watchdog: Middleware = (_req, res, next) => {
        setTimeout(() => res.destroy(), 30);
        next();
      };
      const handler: Middleware = async (_req, res) => {
        await finish.opened;
        res.end('paid');
      };
      const { guarded, runs } = await servePair(mount, handler, { outside: () => [watchdog] });
      await send(guarded, { key: 'k' }).catch(() => undefined);
      const retry = await open(guarded);
      retry.write('POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\n\r\n');
      expect(await retry.until('\r\n\r\n')).toMatch(/^HTTP\/1.1 409 /);
      finish.open();
      await new Promise((resolve) => setImmediate(resolve));
      expect((await send(guarded, { key: 'k' })).isReplay).toBe(true);
      expect(runs()).toBe(1);
    });

    it('a source that breaks after the client left, where the handler pipes another one', async () => {
      const sources = [new PassThrough(), new PassThrough()] as const;
      const running = gate<ServerResponse>();
      const handler: Middleware = (_req, res) => {
        const [first, second] = sources;
        first.on('error', () => {
          first.unpipe(res);
          second.pipe(res);
        });
        first.pipe(res);
        first.write('half, ');
        running.open(res);
      };
      const { guarded, runs } = await servePair(mount, handler);
      const { socket } = await begin(guarded);
      const isClosed = closed(await running.opened);
      socket.destroy();
      await isClosed;
      sources[0].destroy(new Error('broken'));
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect((await send(guarded, { key: 'k' })).status).toBe(409);
      sources[1].end('and the rest');
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'half, and the rest', isReplay: true });
      expect(runs()).toBe(1);
    });

    it('a time limit of idle connections', async () => {
      const finish = gate();
      const handler: Middleware = async (_req, res) => {
        await finish.opened;
        res.end('paid');
      };
      const { guarded, runs } = await servePair(mount, handler);
      guarded.server.setTimeout(50);
      const connection = await begin(guarded);
      await connection.ended();
      expect((await send(guarded, { key: 'k' })).status).toBe(409);
      finish.open();
      await new Promise((resolve) => setImmediate(resolve));
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'paid', isReplay: true });
      expect(runs()).toBe(1);
    });

    it('a write that fails since the client has reset the connection', async () => {
      const running = gate<ServerResponse>();
      const finish = gate();
      const handler: Middleware = async (_req, res) => {
        res.write('half');
        running.open(res);
        // Node finds out by writing, inside of the handler's own asynchronous context.
        for (let i = 0; i < 10; i++) {
          res.write('more');
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        await finish.opened;
        res.end('paid');
      };
      const { guarded, runs } = await servePair(mount, handler);
      const { socket } = await begin(guarded);
      const res = await running.opened;
      const isClosed = closed(res);
      socket.resetAndDestroy();
      await isClosed;
      expect((await send(guarded, { key: 'k' })).status).toBe(409);
      finish.open();
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await send(guarded, { key: 'k' })).isReplay).toBe(true);
      expect(runs()).toBe(1);
    });
  });

  describe('§4.6 the handler breaks its own connection: the key is free', () => {
    const breaks: [string, (req: IncomingMessage, res: ServerResponse, next: (error: unknown) => void) => unknown][] = [
      [
        'an error behind the head',
        (_req, _res, next) => {
          next(new Error('the database is gone'));
        },
      ],
      ['req.socket.destroy()', (req) => req.socket.destroy()],
      ['res.socket.destroy(error)', (_req, res) => res.socket?.destroy(new Error('broken'))],
      ['res.destroy()', (_req, res) => res.destroy()],
      [
        'an asynchronous error behind the head',
        async (_req, _res, next) => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          next(new Error('the database is gone'));
        },
      ],
    ];

    it.each(breaks)('on a server with a time limit, too: %s', async (_name, act) => {
      let isFirst = true;
      const handler: Middleware = (req, res, next) => {
        if (!isFirst) return res.end('all rows');
        isFirst = false;
        res.write('some rows');
        return act(req, res, next);
      };
      const { guarded, runs } = await servePair(mount, handler);
      guarded.server.setTimeout(60_000);
      await send(guarded, { key: 'k' }).catch(() => undefined);
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'all rows', isReplay: false });
      expect(runs()).toBe(2);
    });
  });

  describe('§4.4 a request whose body broke off', () => {
    const readers: [string, Middleware][] = [
      [
        'listens for its pieces',
        (req, res) => {
          req.on('data', () => undefined);
          req.on('end', () => res.end('all'));
        },
      ],
      [
        'pipes it',
        (req, res) => {
          const sink = new PassThrough().resume();
          req.pipe(sink);
          sink.on('end', () => res.end('all'));
        },
      ],
      [
        'reads it later',
        async (req, res) => {
          await new Promise((resolve) => setTimeout(resolve, 50));
          req.on('data', () => undefined);
          req.on('end', () => res.end('all'));
        },
      ],
      [
        'has a parser read it, which answers 400',
        (req, res, next) => {
          const parse = express.text() as unknown as Middleware;
          parse(req, res, (error) => {
            if (error === undefined) res.end('all');
            else next(error);
          });
        },
      ],
    ];

    it.each(readers)('frees the key of a handler that %s', async (_name, handler) => {
      const { guarded, runs } = await servePair(mount, handler);
      const connection = await begin(guarded, UPLOAD, 'half');
      while (runs() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      connection.socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 100));
      const retry = await send(guarded, { key: 'k', body: 'all of it!', headers: { 'Content-Type': 'text/plain' } });
      expect(retry).toMatchObject({ status: 200, text: 'all', isReplay: false });
      expect(runs()).toBe(2);
    });

    it('says nothing about a handler that does not read it', async () => {
      const finish = gate();
      const handler: Middleware = async (_req, res) => {
        await finish.opened;
        res.end('paid');
      };
      const { guarded, runs } = await servePair(mount, handler);
      const connection = await begin(guarded, UPLOAD, 'half');
      while (runs() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      connection.socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 30));
      const retry = { key: 'k', body: 'all of it!', headers: { 'Content-Type': 'text/plain' } };
      expect((await send(guarded, retry)).status).toBe(409);
      finish.open();
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(await send(guarded, retry)).toMatchObject({ text: 'paid', isReplay: true });
      expect(runs()).toBe(1);
    });
  });
});

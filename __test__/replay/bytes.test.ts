import { runInNewContext } from 'node:vm';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { MapStore } from '../helpers/map-store.js';
import { expresses, open, send, type Running } from '../helpers/server.js';
import { expectReplay, servePair, type Middleware } from './exchange.js';
import { mountOn } from './express.js';

/** All that comes for one request, by a client that asks for nothing but the answer. */
async function raw(server: Running): Promise<string> {
  const connection = await open(server);
  connection.write(
    'POST / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
  );
  return connection.ended();
}

/** The value of a header, one character a byte. */
function valueOf(answer: string, name: string): string | undefined {
  return new RegExp(`\r\n${name}: ([^\r]*)`).exec(answer)?.[1];
}

describe.each(expresses)('$name', ({ express }) => {
  const mount = mountOn(express);

  describe('§4.1 bytes as Node judges them', () => {
    it.each<[string, Middleware]>([
      ['end', (_req, res) => res.end(runInNewContext('new Uint8Array([72, 105])'))],
      [
        'write',
        (_req, res) => {
          res.write('paid ');
          res.write(runInNewContext('new Uint8Array([72, 105])'));
          res.end(' 5');
        },
      ],
    ])('bytes of another realm: %s', async (_name, handler) => {
      const { bare, guarded } = await servePair(mount, handler);
      const expected = await send(bare);
      const first = await send(guarded, { key: 'k' });
      expect(first.text).toBe(expected.text);
      expectReplay(await send(guarded, { key: 'k' }), first);
    });

    it('a length beside chunks counts for nothing', async () => {
      const handler: Middleware = (_req, res) => {
        res.writeHead(200, { 'Transfer-Encoding': 'chunked', 'Content-Length': 3 });
        res.end('hello');
      };
      const { guarded } = await servePair(mount, handler);
      expect(await raw(guarded)).toContain('hello');
      expect(await raw(guarded)).toContain('hello');
    });

    it.each(['a body that is too long', 'a body that is too short'])(
      'what Node refuses is not kept: %s',
      async (what) => {
        let isFirst = true;
        const handler: Middleware = (_req, res) => {
          if (!isFirst) return res.end('paid');
          isFirst = false;
          res.strictContentLength = true;
          res.setHeader('Content-Length', 4);
          return res.end(what.endsWith('long') ? 'paid 5 EUR' : 'pa');
        };
        const { guarded, runs } = await servePair(mount, handler);
        await send(guarded, { key: 'k' }).catch(() => undefined);
        expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'paid', isReplay: false });
        expect(runs()).toBe(2);
      },
    );

    it.each<[string, Middleware]>([
      ['end of a string', (_req, res) => res.end('x')],
      ['end of a Buffer', (_req, res) => res.end(Buffer.from('x'))],
      ['end of Latin-1', (_req, res) => res.end('x', 'latin1')],
      ['no body', (_req, res) => res.end()],
      [
        'write of a string, its length announced',
        (_req, res) => {
          res.setHeader('Content-Length', 2);
          res.write('x');
          res.end('y');
        },
      ],
      [
        'writeHead, and chunks',
        (_req, res) => {
          res.writeHead(200);
          res.write('x');
          res.end('y');
        },
      ],
    ])('a header beyond ASCII has the same bytes again: %s', async (_name, answer) => {
      const handler: Middleware = (req, res, next) => {
        res.setHeader('X-Name', 'ü');
        return answer(req, res, next);
      };
      for (const store of [undefined, new MapStore()]) {
        const { bare, guarded } = await servePair(mount, handler, store && { options: { store } });
        const expected = valueOf(await raw(bare), 'X-Name');
        expect(valueOf(await raw(guarded), 'X-Name')).toBe(expected);
        const again = await raw(guarded);
        expect(valueOf(again, 'X-Idempotency-Replay')).toBe('true');
        expect(valueOf(again, 'X-Name')).toBe(expected);
      }
    });

    it('an encoding for the transfer that the handler chose is part of its answer', async () => {
      const handler: Middleware = (_req, res) => {
        res.setHeader('Transfer-Encoding', 'gzip');
        res.end(gzipSync('paid'));
      };
      const { guarded } = await servePair(mount, handler);
      await raw(guarded);
      const again = await raw(guarded);
      expect([valueOf(again, 'Transfer-Encoding'), valueOf(again, 'Content-Length')]).toEqual(['gzip', undefined]);
    });
  });

  describe('§5.3 an answer that is encoded', () => {
    const encoded: Middleware = (_req, res) => {
      res.setHeader('Content-Encoding', 'gzip');
      res.setHeader('ETag', '"v1"');
      res.end(gzipSync('a report'));
    };

    it('is the same for a client that does not say what it takes', async () => {
      const { guarded } = await servePair(mount, encoded);
      const first = await send(guarded, { key: 'k' });
      expectReplay(await send(guarded, { key: 'k' }), first);
    });

    it('is decoded for one that does not take it', async () => {
      const { guarded } = await servePair(mount, encoded);
      await send(guarded, { key: 'k' });
      const again = await send(guarded, { key: 'k', headers: { 'Accept-Encoding': 'identity' } });
      expect(again).toMatchObject({ text: 'a report', isReplay: true, headers: { etag: 'W/"v1"' } });
      expect(again.headers).not.toHaveProperty('content-encoding');
    });

    it.each([
      ['gzip', gzipSync(Buffer.alloc(64 * 1024 * 1024))],
      ['br', brotliCompressSync(Buffer.alloc(64 * 1024 * 1024))],
    ])('is sent as it is where it would be too large: %s', async (encoding, bytes) => {
      const handler: Middleware = (_req, res) => {
        res.setHeader('Content-Encoding', encoding);
        res.end(bytes);
      };
      const { guarded } = await servePair(mount, handler);
      await send(guarded, { key: 'k' });
      const again = await send(guarded, { key: 'k', headers: { 'Accept-Encoding': 'identity' } });
      expect(again.headers['content-encoding']).toBe(encoding);
      expect(again.body.equals(bytes)).toBe(true);
    });
  });
});

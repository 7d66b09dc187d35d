import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { gunzipSync } from 'node:zlib';
import compression from 'compression';
import responseTime from 'response-time';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware } from '../../ts/index.js';
import { MapStore } from '../helpers/map-store.js';
import { expresses, open, send, serve } from '../helpers/server.js';
import { expectReplay, lasting, servePair, type Middleware } from './exchange.js';
import { mountOn } from './express.js';
import { files, handlerOf, ways } from './ways.js';

/** Without its types, which add to the requests of all other tests. */
const session = createRequire(__filename)('express-session') as (options: object) => Middleware;

/** A store that answers every step a moment later, as one over a network does. */
function lateStore(ms = 3): MapStore {
  const store = new MapStore();
  store.before = () => new Promise((resolve) => setTimeout(resolve, ms));
  return store;
}

const CALLS = ['writeHead', 'write', 'end', 'setHeader', 'removeHeader', 'flushHeaders'] as const;

/** Middleware in front of all others that notes each call which reaches it, and what the response says of itself then. */
function recorder(seen: string[][]): Middleware {
  return (_req, res, next) => {
    const notes: string[] = [];
    seen.push(notes);
    let depth = 0;
    const state = () => `${String(res.headersSent)} ${String(res.writableEnded)} ${String(res.statusCode)}`;
    for (const name of CALLS) {
      const methods = res as unknown as Record<string, (...given: unknown[]) => unknown>;
      const method = methods[name];
      methods[name] = function (this: unknown, ...given: unknown[]): unknown {
        // What a middleware calls inside of such a call is its own business; the head is everybody's.
        if (depth === 0 || name === 'writeHead') notes.push(`${String(depth)} ${name} ${state()}`);
        depth++;
        try {
          return method?.apply(this, given);
        } finally {
          depth--;
        }
      };
    }
    for (const event of ['finish', 'close']) res.on(event, () => notes.push(`${event} ${state()}`));
    next();
  };
}

describe.each(expresses)('$name', ({ express }) => {
  const mount = mountOn(express);

  describe('§4.1 middleware in front sees the calls that it would see without us, in their order', () => {
    it.each(ways)('$name', async (way) => {
      const seen: string[][] = [];
      const around = { options: { store: lateStore() }, outside: () => [recorder(seen)] };
      const { bare, guarded } = await servePair(mount, handlerOf(way), around);
      const expected = await send(bare).catch((error: unknown) => error);
      const answer = await send(guarded, { key: 'k' }).catch((error: unknown) => error);
      expect(answer instanceof Error).toBe(expected instanceof Error);
      await new Promise((resolve) => setImmediate(resolve));
      expect(seen[1]).toEqual(seen[0]);
    });
  });

  describe('§5.2 a replay is called like an answer', () => {
    it('status and headers are set, then `end` is called once, with the bytes', async () => {
      const calls: unknown[] = [];
      const spy: Middleware = (_req, res, next) => {
        calls.length = 0;
        for (const name of ['writeHead', 'write', 'end'] as const) {
          const methods = res as unknown as Record<string, (...given: unknown[]) => unknown>;
          const method = methods[name];
          methods[name] = (...given) => {
            calls.push([name, res.statusCode, res.getHeader('content-type'), given[0]]);
            return method?.apply(res, given);
          };
        }
        next();
      };
      const handler: Middleware = (_req, res) => {
        res.statusCode = 201;
        res.setHeader('Content-Type', 'text/plain; charset=utf-8');
        res.end('Müller, 5 €');
      };
      const { guarded } = await servePair(mount, handler, { outside: () => [spy] });
      await send(guarded, { key: 'k' });
      await send(guarded, { key: 'k' });
      const type = 'text/plain; charset=utf-8';
      expect(calls).toEqual([
        ['end', 201, type, Buffer.from('Müller, 5 €')],
        // By Node, inside of its own `end`.
        ['writeHead', 201, type, 201],
      ]);
    });

    it.each(['end', 'write', 'writeHead'] as const)('a header that is set in front, inside of %s', async (name) => {
      const setting: Middleware = (_req, res, next) => {
        const methods = res as unknown as Record<string, (...given: unknown[]) => unknown>;
        const method = methods[name];
        methods[name] = function (this: unknown, ...given: unknown[]): unknown {
          if (!res.headersSent) res.setHeader('X-Outer', 'there');
          return method?.apply(this, given);
        };
        next();
      };
      const handler: Middleware = (_req, res) => {
        if (name === 'write') res.write('paid ');
        res.end('5 EUR');
      };
      const { bare, guarded } = await servePair(mount, handler, { outside: () => [setting] });
      expect((await send(bare)).headers['x-outer']).toBe('there');
      expect((await send(guarded, { key: 'k' })).headers['x-outer']).toBe('there');
      const again = await send(guarded, { key: 'k' });
      expect([again.status, again.isReplay]).toEqual([200, true]);
      if (name !== 'write') expect(again.headers['x-outer']).toBe('there');
    });
  });

  it.each(['the memory store', 'a slow store'])(
    'a length and headers that are set in front, inside of end: %s',
    async (name) => {
      const appending: Middleware = (req, res, next) => {
        const end = res.end.bind(res) as (...given: unknown[]) => ServerResponse;
        res.end = ((chunk?: unknown) => {
          const whole = Buffer.concat([Buffer.from(chunk as string), Buffer.from(', signed')]);
          res.setHeader('Content-Length', whole.length);
          res.setHeader('X-Signed-For', String(req.headers['x-id']));
          return end(whole);
        }) as typeof res.end;
        next();
      };
      const handler: Middleware = (_req, res) => res.setHeader('Content-Length', 4).end('paid');
      const options = name === 'a slow store' ? { store: lateStore() } : {};
      const { guarded, runs } = await servePair(mount, handler, { options, outside: () => [appending] });
      for (const id of ['A', 'B']) {
        const answer = await send(guarded, { key: 'k', headers: { 'X-Id': id } });
        expect(answer).toMatchObject({ text: 'paid, signed', headers: { 'x-signed-for': id } });
      }
      expect(runs()).toBe(1);
    },
  );

  it('compression in front of a slow store: each answer comes whole, and its replay too', async () => {
    const app = express().set('env', 'test');
    app.use(compression(), idempotencyMiddleware({ store: lateStore() }));
    app.post('/', (_req, res) => {
      res.type('text/csv');
      for (let line = 0; line < 200; line++) res.write(`${String(line)},${'x'.repeat(80)}\n`);
      res.end('the end\n');
    });
    const server = await serve(app);
    for (const key of ['a', 'a', 'b', 'c', 'c']) {
      const answer = await send(server, { key, headers: { 'Accept-Encoding': 'gzip' } });
      expect(answer.headers['content-encoding']).toBe('gzip');
      expect(gunzipSync(answer.body).toString()).toMatch(/^0,x[^]*the end\n$/);
    }
    expect((await send(server, { key: 'a' })).text).toMatch(/^0,x[^]*the end\n$/);
  });

  it.each(['in front', 'inside'])('express-session %s of a slow store, and sendFile', async (place) => {
    const sessions = () => [session({ secret: 's', resave: false, saveUninitialized: true })];
    const handler: Middleware = (req, res) => {
      (req as unknown as { session: Record<string, unknown> }).session['seen'] = true;
      (res as unknown as { sendFile: (path: string) => void }).sendFile(files.large);
    };
    const options = { store: lateStore() };
    const around = place === 'inside' ? { options, inside: sessions } : { options, outside: sessions };
    const { bare, guarded, runs } = await servePair(mount, handler, around);
    const expected = await send(bare);
    const first = await send(guarded, { key: 'k' });
    expect(first.body.equals(expected.body)).toBe(true);
    expect(lasting(first.rawHeaders, ['set-cookie'])).toEqual(lasting(expected.rawHeaders, ['set-cookie']));
    const again = await send(guarded, { key: 'k', headers: { Cookie: String(first.headers['set-cookie']) } });
    // The session is the caller's only name, and the caller has one now.
    expect(again.status).toBe(422);
    expect(runs()).toBe(1);
  });

  it('middleware in front that ends the answer later than its handler does', async () => {
    const late: Middleware = (_req, res, next) => {
      const end = res.end.bind(res) as (...given: unknown[]) => ServerResponse;
      res.end = ((...given: unknown[]) => {
        setTimeout(() => end(...given), 5);
        return res;
      }) as typeof res.end;
      next();
    };
    const around = { options: { store: lateStore() }, outside: () => [late] };
    const { bare, guarded, runs } = await servePair(mount, (_req, res) => res.writeHead(201).end(), around);
    const expected = await send(bare);
    const first = await send(guarded, { key: 'k' });
    expect(first.status).toBe(expected.status);
    expectReplay(await send(guarded, { key: 'k' }), first);
    expect(runs()).toBe(1);
  });

  it.each<[string, (res: ServerResponse) => unknown]>([
    ['end', (res) => res.end('timed out')],
    ['write', (res) => res.write('timed out')],
  ])('a second answer by %s in a later turn is ignored, as Node ignores one', async (_name, later) => {
    const handler: Middleware = (_req, res) => {
      res.end('paid');
      setImmediate(() => later(res));
    };
    const { guarded, runs } = await servePair(mount, handler, { options: { store: lateStore(10) } });
    expect((await send(guarded, { key: 'k' })).text).toBe('paid');
    expect((await send(guarded, { key: 'k' })).text).toBe('paid');
    expect(runs()).toBe(1);
  });

  it('an error behind the answer breaks the connection behind it, not before', async () => {
    const handler: Middleware = (_req, res, next) => {
      res.end('paid');
      next(new Error('afterwards'));
    };
    const { guarded } = await servePair(mount, handler, { options: { store: lateStore(10) } });
    expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'paid', complete: true });
    expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'paid', isReplay: true });
  });

  it('a status that Node refuses fails where the handler stands', async () => {
    const handler: Middleware = (_req, res) => {
      res.statusCode = undefined as unknown as number;
      res.end('a');
    };
    const { bare, guarded } = await servePair(mount, handler, { options: { store: lateStore() } });
    const expected = await send(bare);
    expect(expected.status).toBe(500);
    expect(await send(guarded, { key: 'k' })).toMatchObject({ status: 500, text: expected.text });
  });

  it('names that a list repeats, behind middleware that listens for the head', async () => {
    const handler: Middleware = (_req, res) => {
      res.writeHead(200, 'OK', ['Link', '<a>; rel=next', 'Link', '<b>; rel=prev']);
      res.end('x');
    };
    const outside = () => [responseTime() as unknown as Middleware];
    const { guarded } = await servePair(mount, handler, { outside });
    const first = await send(guarded, { key: 'k' });
    expectReplay(await send(guarded, { key: 'k' }), first, ['x-response-time']);
  });

  it('pipelined requests of one connection, each answer held for a slow store', async () => {
    const app = express().set('env', 'test');
    app.use(idempotencyMiddleware({ store: lateStore() }));
    app.post('/:name', (req: IncomingMessage, res) => {
      setTimeout(() => res.send(`answer to ${String(req.url)};`), req.url === '/a' ? 20 : 1);
    });
    const connection = await open(await serve(app));
    for (const name of ['a', 'b', 'c']) {
      connection.write(`POST /${name} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: ${name}\r\nContent-Length: 0\r\n\r\n`);
    }
    const all = await connection.until('answer to /c;');
    expect(all).toMatch(/answer to \/a;[^]*answer to \/b;[^]*answer to \/c;/);
  });
});

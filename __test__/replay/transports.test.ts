import { once } from 'node:events';
import * as http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import connect from 'connect';
import { describe, expect, it, onTestFinished } from 'vitest';
import { idempotencyMiddleware } from '../../ts/index.js';
import { gate, open, send, serve } from '../helpers/server.js';
import { bytesOf, expectReplay, fail, plain, servePair, type Middleware, type Mount } from './exchange.js';
import { HeldStore } from './held-store.js';
import { handlerOf, nodeWays } from './ways.js';

const REQUESTS = [
  'POST / HTTP/1.1',
  'POST / HTTP/1.1\r\nConnection: close',
  'POST / HTTP/1.0',
  'POST / HTTP/1.0\r\nConnection: keep-alive',
];

const onConnect: Mount = (...passes) => {
  const app = connect();
  for (const pass of passes) app.use(pass as connect.NextHandleFunction);
  app.use(((error, req, res, _next) => {
    fail(error, req, res);
  }) as connect.ErrorHandleFunction);
  return app;
};

describe.each([
  ['node:http', plain],
  ['connect', onConnect],
])('%s', (_name, mount) => {
  describe.each(nodeWays)('$name', (way) => {
    it('§4.1 reaches the first client byte for byte as without us', async () => {
      const { bare, guarded } = await servePair(mount, handlerOf(way));
      for (const head of REQUESTS.filter((head) => head.includes(way.on ?? ''))) {
        expect(await bytesOf(guarded, head)).toBe(await bytesOf(bare, head));
      }
    });

    it('§5.1 is replayed with the same status, message, headers and bytes, and runs once', async () => {
      const pair = await servePair(mount, handlerOf(way));
      const first = await send(pair.guarded, { key: 'k' });
      const again = await send(pair.guarded, { key: 'k' });
      if (first.status < 500) expectReplay(again, first);
      expect(pair.runs()).toBe(first.status < 500 ? 1 : 2);
    });
  });

  it('§4.1 pairs for writeHead, where nothing was set before', async () => {
    const handler: Middleware = (_req, res) => {
      // Node's types know flat arrays only.
      res.writeHead(200, [
        ['X-A', '1'],
        ['X-B', '2'],
        ['X-A', '3'],
      ] as never);
      res.end('a');
    };
    const { bare, guarded } = await servePair(mount, handler);
    for (const head of REQUESTS) expect(await bytesOf(guarded, head)).toBe(await bytesOf(bare, head));
    const first = await send(guarded, { key: 'k' });
    const again = await send(guarded, { key: 'k' });
    expect(again.isReplay).toBe(true);
    expect([again.headers['x-a'], again.headers['x-b']]).toEqual(['1, 3', '2']);
    expect(first.headers['x-a']).toBe('1, 3');
  });
});

describe('node:http, with the handler as what comes next', () => {
  it('§4.5 a handler that throws frees the key, and throws', async () => {
    const errors: unknown[] = [];
    let runs = 0;
    const guard = idempotencyMiddleware();
    const server = await serve((req, res) => {
      try {
        guard(req, res, () => {
          if (runs++ === 0) throw new Error('broken');
          res.end('done');
        });
      } catch (error) {
        errors.push(error);
        res.writeHead(500).end();
      }
    });
    expect((await send(server, { key: 'k' })).status).toBe(500);
    expect(await send(server, { key: 'k' })).toMatchObject({ text: 'done', isReplay: false });
    expect(errors).toEqual([new Error('broken')]);
  });

  it('§4.5 a handler that rejects frees the key, and its rejection is not hidden', async () => {
    const rejected = gate<unknown>();
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection').once('unhandledRejection', rejected.open);
    onTestFinished(() => {
      for (const listener of others) process.on('unhandledRejection', listener);
    });
    let runs = 0;
    const guard = idempotencyMiddleware();
    const server = await serve((req, res) => {
      guard(req, res, () => (runs++ === 0 ? Promise.reject(new Error('broken')) : res.end('done')));
    });
    const connection = await open(server);
    connection.write('POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\n\r\n');
    expect(await rejected.opened).toEqual(new Error('broken'));
    expect(await send(server, { key: 'k' })).toMatchObject({ text: 'done', isReplay: false });
  });
});

describe('HTTP/2, by the compatibility API', () => {
  interface Server {
    readonly url: string;
    readonly session: http2.ClientHttp2Session;
  }

  async function serveHttp2(listener: Parameters<typeof serve>[0]): Promise<Server> {
    // The types of the compatible request and response are others, though middleware cannot tell.
    const server = http2.createServer(listener as never);
    const sessions = new Set<http2.ServerHttp2Session>();
    server.on('session', (session) => sessions.add(session));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const session = http2.connect(url);
    onTestFinished(() => {
      session.destroy();
      for (const open of sessions) open.destroy();
      server.close();
    });
    return { url, session };
  }

  interface Answer {
    /** Without `date`. */
    readonly head: Record<string, unknown>;
    readonly informational: unknown[];
    readonly trailers: unknown;
    readonly body: string;
    readonly complete: boolean;
  }

  function begin({ session }: Pick<Server, 'session'>, key = 'k'): http2.ClientHttp2Stream {
    const headers = { ':method': 'POST', ':path': '/', 'idempotency-key': key };
    return session.request(headers, { endStream: true }).on('error', () => undefined);
  }

  function ask(server: Server, key?: string): Promise<Answer> {
    return new Promise((resolve) => {
      const stream = begin(server, key);
      let head: Answer['head'] = {};
      const informational: unknown[] = [];
      let trailers: unknown;
      let body = '';
      stream.setEncoding('latin1');
      stream.on('headers', (fields) => informational.push({ ...fields }));
      stream.on('response', (fields) => (head = without(fields, 'date')));
      stream.on('trailers', (fields) => {
        trailers = { ...fields };
      });
      stream.on('data', (text: string) => (body += text));
      stream.on('close', () => {
        resolve({ head, informational, trailers, body, complete: !stream.aborted && stream.rstCode === 0 });
      });
    });
  }

  function without(fields: object, ...names: string[]): Record<string, unknown> {
    return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
  }

  async function serveBoth(handler: Middleware, options?: Parameters<typeof idempotencyMiddleware>[0]) {
    let runs = 0;
    const counted: Middleware = (req, res, next) => {
      runs++;
      return handler(req, res, next);
    };
    const bare = await serveHttp2(plain(handler));
    const guarded = await serveHttp2(plain(idempotencyMiddleware(options), counted));
    return { bare, guarded, runs: () => runs };
  }

  const MARKS = ['x-idempotency-replay', 'x-original-timestamp'];

  function expectReplayOf(again: Answer, first: Answer): void {
    expect(again.head).toMatchObject({ 'x-idempotency-replay': 'true' });
    expect(without(again.head, 'content-length', ...MARKS)).toEqual(without(first.head, 'content-length', 'trailer'));
    expect([again.body, again.complete]).toEqual([first.body, true]);
  }

  const warnings: unknown[] = [];
  const note = (warning: unknown) => warnings.push(warning);

  describe.each(nodeWays.filter((way) => way.on === undefined))('$name', (way) => {
    it('§4.1 §5.1 reaches the first client as without us, runs once and is replayed', async () => {
      process.on('warning', note);
      onTestFinished(() => void process.off('warning', note));
      const { bare, guarded, runs } = await serveBoth(handlerOf(way));
      const first = await ask(guarded, 'k');
      expect(first).toEqual(await ask(bare, 'k'));
      const again = await ask(guarded, 'k');
      const failed = !first.complete || Number(first.head[':status']) >= 500;
      if (!failed) expectReplayOf(again, first);
      expect(runs()).toBe(failed ? 2 : 1);
      // Node warns once in a process of whoever reads a status message, or sets a header of HTTP/1.
      expect(warnings).toEqual([]);
    });
  });

  it('§4.2 a name that writeHead repeats, with a value that was set outside, keeps all its values', async () => {
    const outer: Middleware = (_req, res, next) => {
      res.setHeader('x-a', '1');
      next();
    };
    const handler: Middleware = (_req, res) => {
      res.writeHead(200, ['x-a', '1', 'x-a', '2', 'x-b', '1']);
      res.end('a');
    };
    const bare = await serveHttp2(plain(outer, handler));
    const guarded = await serveHttp2(plain(outer, idempotencyMiddleware(), handler));
    const first = await ask(guarded);
    expect(first).toEqual(await ask(bare));
    expectReplayOf(await ask(guarded), first);
  });

  it('§4.4 a client that resets its stream changes nothing', async () => {
    const running = gate();
    const handler: Middleware = async (_req, res) => {
      const gone = once(res, 'close');
      running.open();
      await gone;
      Readable.from(['a', 'b']).pipe(res);
    };
    const { guarded, runs } = await serveBoth(handler, { onConcurrent: 'wait' });
    const stream = begin(guarded);
    await running.opened;
    stream.close(http2.constants.NGHTTP2_CANCEL);
    const again = await ask(guarded, 'k');
    expect([again.body, again.head['x-idempotency-replay'], runs()]).toEqual(['ab', 'true', 1]);
  });

  it.each(['with its head', 'behind its head'])(
    '§4.3 a client resets its stream while the answer waits %s',
    async (what) => {
      const store = new HeldStore();
      const events: string[] = [];
      const isClosed = gate();
      const handler: Middleware = (_req, res) => {
        for (const event of ['finish', 'close']) res.on(event, () => events.push(event));
        res.on('close', () => {
          isClosed.open();
        });
        if (what === 'behind its head') res.write('half ', () => events.push('written'));
        res.end('all', () => events.push('ended'));
      };
      const { guarded } = await serveBoth(handler, { store, storeTimeoutMs: 60_000 });
      const stream = begin(guarded);
      await store.asked.opened;
      stream.close(http2.constants.NGHTTP2_CANCEL);
      await new Promise((resolve) => setTimeout(resolve, 30));
      store.may.open();
      await isClosed.opened;
      expect(events).toContain('finish');
      expect((await ask(guarded, 'k')).body).toBe(what === 'behind its head' ? 'half all' : 'all');
    },
  );

  it('§4.4 a client that resets its stream in the middle of a pipe changes nothing', async () => {
    const handler: Middleware = (_req, res) => {
      const halves = async function* () {
        const gone = once(res, 'close');
        yield 'first ';
        await gone;
        yield 'second';
      };
      Readable.from(halves()).pipe(res);
    };
    const { guarded, runs } = await serveBoth(handler, { onConcurrent: 'wait' });
    const stream = begin(guarded);
    await once(stream, 'data');
    stream.close(http2.constants.NGHTTP2_CANCEL);
    const again = await ask(guarded, 'k');
    expect([again.body, again.head['x-idempotency-replay'], runs()]).toEqual(['first second', 'true', 1]);
  });

  it.each<[string, (session: http2.ClientHttp2Session) => unknown]>([
    [
      'ends its session',
      (session) => {
        session.close();
      },
    ],
    [
      'breaks its session off',
      (session) => {
        session.destroy();
      },
    ],
    ['resets its connection', (session) => session.socket.resetAndDestroy()],
  ])('§4.4 a client that %s changes nothing', async (_name, leave) => {
    const running = gate();
    const gone = gate();
    const handler: Middleware = async (_req, res) => {
      res.on('close', gone.open);
      running.open();
      await gone.opened;
      res.end('all');
    };
    const { guarded, runs } = await serveBoth(handler, { onConcurrent: 'wait' });
    const session = http2.connect(guarded.url).on('error', () => undefined);
    const stream = begin({ session });
    await running.opened;
    leave(session);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    const again = await ask(guarded, 'k');
    expect([again.body, again.head['x-idempotency-replay'], runs()]).toEqual(['all', 'true', 1]);
  });

  it.each<[string, Middleware]>([
    ['res.destroy()', (_req, res) => res.destroy()],
    ['res.stream.destroy()', (_req, res) => (res as unknown as http2.Http2ServerResponse).stream.destroy()],
    [
      'res.stream.close()',
      (_req, res) => {
        (res as unknown as http2.Http2ServerResponse).stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      },
    ],
    [
      'an error after the head',
      (_req, res, next) =>
        res.write('half', () => {
          next(new Error('too late to say'));
        }),
    ],
    ['a body that is none', (_req, res) => res.end(5)],
    ['res.destroy() in the middle', (_req, res) => res.write('half', () => res.destroy())],
    [
      'a stream that breaks in a pipeline',
      (_req, res) => {
        const broken = async function* () {
          yield 'half';
          await once(res, 'drain').catch(() => undefined);
          throw new Error('broken');
        };
        res.write('', () => res.emit('drain'));
        pipeline(Readable.from(broken()), res, () => undefined);
      },
    ],
  ])('§4.6 an answer that breaks frees the key: %s', async (_name, act) => {
    let first = true;
    const handler: Middleware = (req, res, next) => {
      if (!first) return res.end('done');
      first = false;
      return act(req, res, next);
    };
    const { guarded, runs } = await serveBoth(handler, { onConcurrent: 'wait' });
    expect((await ask(guarded, 'k')).body).not.toBe('done');
    const again = await ask(guarded, 'k');
    expect([again.body, again.head['x-idempotency-replay'], runs()]).toEqual(['done', undefined, 2]);
  });

  it('§4.3 the last byte waits for the store', async () => {
    const store = new HeldStore();
    const { guarded } = await serveBoth((_req, res) => res.write('all') && res.end(), {
      store,
      storeTimeoutMs: 60_000,
    });
    const stream = begin(guarded);
    let isWhole = false;
    stream.on('end', () => (isWhole = true));
    await once(stream, 'data');
    await store.asked.opened;
    await new Promise((resolve) => guarded.session.ping(resolve));
    expect(isWhole).toBe(false);
    store.may.open();
    await once(stream, 'end');
  });

  it('§5.1 a record of HTTP/1 is replayed over HTTP/2, and the other way round', async () => {
    const guard = idempotencyMiddleware();
    const handler: Middleware = (_req, res) => {
      res.setHeader('X-A', ['1', '2']);
      res.statusCode = 201;
      res.end('answer');
    };
    const old = await serve(plain(guard, handler));
    const young = await serveHttp2(plain(guard, handler));
    await send(old, { key: 'a' });
    const overHttp2 = await ask(young, 'a');
    expect(overHttp2).toMatchObject({ head: { ':status': 201, 'x-a': '1, 2' }, body: 'answer' });
    expect(overHttp2.head['x-idempotency-replay']).toBe('true');
    await ask(young, 'b');
    const overHttp1 = await send(old, { key: 'b' });
    expect(overHttp1).toMatchObject({ status: 201, statusMessage: 'Created', text: 'answer', isReplay: true });
  });
});

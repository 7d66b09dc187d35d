import { AsyncLocalStorage } from 'node:async_hooks';
import { Agent } from 'node:http';
import { text } from 'node:stream/consumers';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import express5, { type RequestHandler } from 'express';
import fc from 'fast-check';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { idempotencyMiddleware, MemoryStore } from '../../ts/index.js';
import { jsonText } from '../../ts/idempotency/json.js';
import { expresses, open, send, serve, type Received, type Sent } from '../helpers/server.js';
import { membersOf, refusal, shop, type Handler, type Shop } from '../helpers/shop.js';

const agent = new Agent({ keepAlive: true });
afterAll(() => {
  agent.destroy();
});

const as = (type: string, body: string | Buffer, headers: Sent['headers'] = {}): Sent => ({
  agent,
  body,
  headers: { 'Content-Type': type, ...headers },
});
const json = (body: string | Buffer, headers?: Sent['headers']): Sent => as('application/json', body, headers);

/** No byte, in chunks. */
const NOTHING: Sent = { agent, headers: { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' } };

/** Levels that the recursion of a test's comparison survives, and that of `JSON.stringify` does not. */
const deep = `${'['.repeat(10_000)}{"a":1}${']'.repeat(10_000)}`;

/** A shop with `express.json()` before the guard, and one whose guard has `parseJson`. */
async function twoShops(express: typeof express5, handler?: Handler): Promise<{ theirs: Shop; ours: Shop }> {
  const plan = { express, ...(handler && { handler }) };
  return { theirs: await shop({}, plan), ours: await shop({ parseJson: true }, { ...plan, before: [] }) };
}

/** What `express.json()` made of a body, and what `parseJson` did. */
async function bodiesOf(express: typeof express5, ...requests: Sent[]): Promise<[theirs: unknown, ours: unknown][]> {
  const seen: unknown[] = [];
  const { theirs, ours } = await twoShops(express, (req, res) => {
    seen.push(req.body);
    res.end();
  });
  for (const sent of requests) {
    expect((await theirs.send(sent)).status).toBe(200);
    expect((await ours.send(sent)).status).toBe(200);
  }
  expect(seen).toHaveLength(2 * requests.length);
  return requests.map((_, i) => [seen[2 * i], seen[2 * i + 1]]);
}

const objectOrList = fc
  .jsonValue({ stringUnit: 'binary' })
  .map((value) => (typeof value === 'object' && value !== null ? value : [value]));

describe.each(expresses)('`req.body` is what `express.json()` makes, $name', ({ express }) => {
  it('of whatever is JSON', async () => {
    const seen: unknown[] = [];
    const { theirs, ours } = await twoShops(express, (req, res) => {
      seen.push(req.body);
      res.end();
    });
    const sameBody = async (value: unknown, space: string) => {
      const sent = json(JSON.stringify(value, undefined, space));
      await theirs.send(sent);
      await ours.send(sent);
      const [expected, made] = seen.splice(0);
      expect(made).toStrictEqual(expected);
    };
    await fc.assert(fc.asyncProperty(objectOrList, fc.constantFrom('', ' ', '\t'), sameBody), { numRuns: 50 });
  });

  it.each<[string, Sent, unknown]>([
    ['an object', json('{"a":{"b":[1,2.5e3,true,null]}}'), { a: { b: [1, 2500, true, null] } }],
    ['white space around it', json(' \r\n\t[1] \n'), [1]],
    ['a byte order mark', json('\ufeff{"a":1}'), { a: 1 }],
    ['a byte order mark and nothing', json('\ufeff'), {}],
    ['nothing, in chunks', NOTHING, {}],
    ['nothing, of length 0', json(''), {}],
    ['bytes that are not UTF-8', json(Buffer.from([0x5b, 0x22, 0xff, 0xc3, 0x22, 0x5d])), ['\ufffd\ufffd']],
    ['a charset', as('Application/JSON; charset=UTF-8', '["é"]'), ['é']],
    ['a charset in quotes', as('application/json; charset="utf-8"', '["é"]'), ['é']],
    ['a parameter of another name', as('application/json; v=2', '[2]'), [2]],
    ['an encoding that is none', json('[1]', { 'Content-Encoding': 'identity' }), [1]],
    ['an encoding without a name', json('[1]', { 'Content-Encoding': '' }), [1]],
    ['gzip', json(gzipSync('["é"]'), { 'Content-Encoding': 'gzip' }), ['é']],
    ['deflate', json(deflateSync('["é"]'), { 'Content-Encoding': 'Deflate' }), ['é']],
    ['all that the limit allows', json(`["${'a'.repeat(102_396)}"]`), ['a'.repeat(102_396)]],
  ])('of %s', async (_what, sent, expected) => {
    expect(await bodiesOf(express, sent)).toStrictEqual([[expected, expected]]);
  });

  // Those of Express 4 know neither.
  it.each<[string, Sent]>([
    ['brotli', json(brotliCompressSync('["é"]'), { 'Content-Encoding': 'br' })],
    ['a charset without a name', as('application/json; charset=', '["é"]')],
  ])('of %s, as Express 5 makes it', async (_what, sent) => {
    const handler: Handler = (req, res) => res.json(req.body);
    const { ours } = await twoShops(express, handler);
    const { theirs } = await twoShops(express5, handler);
    expect((await theirs.send(sent)).text).toBe('["é"]');
    expect((await ours.send(sent)).text).toBe('["é"]');
  });

  it('of members that other objects inherit', async () => {
    const [[theirs, ours] = []] = await bodiesOf(express, json('{"__proto__":{"admin":true},"toString":1,"length":2}'));
    expect(Object.entries(ours as object)).toEqual([
      ['__proto__', { admin: true }],
      ['toString', 1],
      ['length', 2],
    ]);
    expect(Object.entries(theirs as object)).toEqual(Object.entries(ours as object));
    expect((ours as { admin?: true }).admin).toBeUndefined();
  });

  it('of ten thousand levels', async () => {
    const [[theirs, ours] = []] = await bodiesOf(express, json(deep));
    expect(jsonText(ours)).toBe(deep);
    expect(jsonText(theirs)).toBe(deep);
  });

  it('of methods that are not guarded, and of a request that `skip` leaves alone', async () => {
    const handler: Handler = (req, res) => res.json([req.method, req.body, req.idempotency === undefined]);
    const orders = await shop(
      { parseJson: true, skip: (req) => req.url === '/free' },
      { express, before: [], handler },
    );
    for (const method of ['GET', 'DELETE', 'OPTIONS', 'REPORT']) {
      expect((await orders.send({ ...json('{"a":1}'), method })).text).toBe(`["${method}",{"a":1},true]`);
    }
    expect((await orders.send({ ...json('{"a":1}'), path: '/free' })).text).toBe('["POST",{"a":1},true]');
    expect((await orders.send(json('{"a":1}'))).text).toBe('["POST",{"a":1},false]');
  });

  it.each([
    ['a request without a body', { agent, headers: { 'Content-Type': 'application/json' }, method: 'GET' }],
    ['JSON of another type', as('application/vnd.api+json', '{"a":1}')],
    ['a type that begins alike', as('application/json-patch', '[]')],
    ['text', as('text/plain', '{"a":1}')],
    ['a form', as('application/x-www-form-urlencoded', 'a=1')],
    ['bytes of no type', { agent, body: '{"a":1}' }],
  ])('and left unread is what `express.json()` leaves unread: %s', async (_what, sent) => {
    const bodies: unknown[] = [];
    const { theirs, ours } = await twoShops(express, async (req, res) => {
      bodies.push(req.body);
      res.end(await text(req));
    });
    const left = (await theirs.send(sent)).text;
    expect(left).toBe(sent.body ?? '');
    expect((await ours.send(sent)).text).toBe(left);
    // Those of Express 4 leave an empty object where there was nothing.
    expect([undefined, {}]).toContainEqual(bodies[0]);
    expect(bodies[1]).toBeUndefined();
  });
});

describe.each(expresses)('other middleware beside `parseJson`, $name', ({ express }) => {
  const answering: Handler = (req, res) => res.json(Buffer.isBuffer(req.body) ? 'bytes' : req.body);
  const at =
    (path: string, parser: RequestHandler): RequestHandler =>
    (req, res, next) => {
      if (req.path === path) parser(req, res, next);
      else next();
    };

  it('a parser in front has read it', async () => {
    const before = [
      at('/raw', express.raw({ type: '*/*' })),
      at('/dates', express.json({ reviver: (name: string, value: unknown) => (name === 'at' ? 'a date' : value) })),
    ];
    const orders = await shop({ parseJson: true }, { express, before, handler: answering });
    expect((await orders.send({ ...json('{"at":1}'), path: '/raw' })).text).toBe('"bytes"');
    expect((await orders.send({ ...json('{"at":1}'), path: '/dates' })).text).toBe('{"at":"a date"}');
    expect((await orders.send(json('{"at":1}'))).text).toBe('{"at":1}');
  });

  it('a parser in front that has read an empty object has read it', async () => {
    const orders = await shop({ parseJson: true }, { express, handler: answering });
    expect((await orders.send({ ...json('{}'), key: 'k' })).text).toBe('{}');
    expect((await orders.send({ ...json('{ }'), key: 'k' })).isReplay).toBe(true);
  });

  it('a parser in front for another type changes nothing', async () => {
    const before = [express.urlencoded({ extended: true }), express.text()];
    const orders = await shop({ parseJson: true }, { express, before, handler: answering });
    expect((await orders.send(json('{"a":1}'))).text).toBe('{"a":1}');
    expect((await orders.send(as('application/x-www-form-urlencoded', 'a=2'))).text).toBe('{"a":"2"}');
    expect((await orders.send(as('text/plain', 'three'))).text).toBe('"three"');
  });

  it.each(expresses)('a parser behind does no harm: `express.json()` of $name', async ({ express: other }) => {
    const parser: RequestHandler = other.json();
    const handler: Handler = (req, res, next) => {
      const read = { ...(req.body as object), marked: true };
      req.body = read;
      parser(req, res, (error?: unknown) => {
        if (error === undefined) res.json(req.body === read ? req.body : 'read anew');
        else next(error);
      });
    };
    const orders = await shop({ parseJson: true }, { express, before: [], handler });
    expect((await orders.send(json('{"a":1}'))).text).toBe('{"a":1,"marked":true}');
    expect((await orders.send({ ...NOTHING })).text).toBe('{"marked":true}');
    const gzipped = json(gzipSync('{"a":2}'), { 'Content-Encoding': 'gzip' });
    expect((await orders.send(gzipped)).text).toBe('{"a":2,"marked":true}');
  });

  it('middleware that asks whether a body is read is told so, as by the parsers of Express 4', async () => {
    const handler: Handler = (req, res) => res.json({ isRead: (req as { _body?: boolean })._body });
    const orders = await shop({ parseJson: true }, { express, before: [], handler });
    expect((await orders.send(json('[]'))).text).toBe('{"isRead":true}');
    expect((await orders.send(as('text/plain', 'a'))).text).toBe('{}');
  });

  it('what was in front when it began is still there: an AsyncLocalStorage', async () => {
    const requestId = new AsyncLocalStorage<string>();
    let requests = 0;
    const before: RequestHandler[] = [
      (_req, _res, next) => {
        requestId.run(`request ${++requests}`, next);
      },
    ];
    const handler: Handler = (_req, res) => res.json(requestId.getStore());
    const orders = await shop({ parseJson: true }, { express, before, handler });
    const gzipped = json(gzipSync('[2]'), { 'Content-Encoding': 'gzip' });
    const answers = await Promise.all([json('[1]'), gzipped, NOTHING].map((sent) => orders.send(sent)));
    expect(answers.map(({ text }) => text).sort()).toEqual(['"request 1"', '"request 2"', '"request 3"']);
  });

  it('a body that somebody has paused is read', async () => {
    const before: RequestHandler[] = [
      (req, _res, next) => {
        req.pause();
        setImmediate(next);
      },
    ];
    const orders = await shop({ parseJson: true }, { express, before, handler: answering });
    expect((await orders.send(json('{"a":1}'))).text).toBe('{"a":1}');
  });

  it.each<[string, RequestHandler]>([
    [
      'read to its end',
      (req, _res, next) => {
        req.resume().on('end', next);
      },
    ],
    [
      'begun to read as text',
      (req, _res, next) => {
        req.setEncoding('utf8');
        next();
      },
    ],
  ])('a body that somebody has %s is theirs', async (_what, inFront) => {
    const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
    const handler: Handler = (req, res) => res.json({ body: req.body as unknown });
    const orders = await shop({ parseJson: true, logger }, { express, before: [inFront], handler });
    expect((await orders.send({ ...json('{"a":1}'), key: 'a' })).text).toBe('{}');
    expect((await orders.send({ ...NOTHING, key: 'b' })).text).toBe('{}');
    expect(logger.warn).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ code: 'WRN_REPRISE_BODY_NOT_PARSED' }),
      expect.anything(),
    );
  });

  it('a body that somebody has read a part of is theirs', async () => {
    const before: RequestHandler[] = [
      (req, _res, next) => {
        req.once('data', () => {
          req.pause();
          next();
        });
      },
    ];
    const handler: Handler = async (req, res) => res.json([await text(req), req.body]);
    const options = { parseJson: true, silence: ['WRN_REPRISE_BODY_NOT_PARSED'] as const };
    const connection = await open(await shop(options, { express, before, handler }));
    connection.write(
      'POST / HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    connection.write('1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n');
    expect(await connection.until('null]')).toMatch(/\["1\]",null\]$/);
  });

  it('a second one, at a router, leaves it alone', async () => {
    const second = idempotencyMiddleware({ parseJson: true, maxRequestBytes: 1 });
    const handler: Handler = (req, res, next) => {
      second(req, res, (error?: unknown) => {
        if (error === undefined) res.json(req.body);
        else next(error);
      });
    };
    const orders = await shop({ parseJson: true }, { express, before: [], handler });
    for (const [sent, read] of [
      [json('{"a":1}'), '{"a":1}'],
      [json('{ }'), '{}'],
      [{ ...NOTHING, method: 'DELETE' }, '{}'],
    ] as const) {
      expect((await orders.send(sent)).text).toBe(read);
    }
    void second.close();
  });

  it('it may be in front of Express', async () => {
    const guard = idempotencyMiddleware({ parseJson: true });
    const app = express();
    app.use((req, res) => res.status(201).json(req.body));
    const server = await serve((req, res) => {
      guard(req, res, () => {
        app(req, res);
      });
    });
    expect(await send(server, { ...json('{"a":1}'), key: 'k' })).toMatchObject({ status: 201, text: '{"a":1}' });
    expect(await send(server, { ...json('{"a":1}'), key: 'k' })).toMatchObject({ text: '{"a":1}', isReplay: true });
    void guard.close();
  });
});

describe.each(expresses)('a key stands for one body, read here or by `express.json()`, $name', ({ express }) => {
  const verdictOf = (answer: Received) => (answer.isReplay ? 'replayed' : refusal(answer));

  it('what a second request is told does not depend on who has read it', async () => {
    const { theirs, ours } = await twoShops(express);
    let key = 0;
    const sameVerdict = async (a: unknown, b: unknown, space: string) => {
      key++;
      const first = { ...json(JSON.stringify(a)), key: `k${key}` };
      const second = { ...json(JSON.stringify(b, undefined, space)), key: `k${key}` };
      const told: string[] = [];
      for (const orders of [theirs, ours]) {
        expect((await orders.send(first)).status).toBe(201);
        told.push(verdictOf(await orders.send(second)));
      }
      expect(told[1]).toBe(told[0]);
    };
    const twoBodies = fc.oneof(
      objectOrList.map((value) => [value, value] as const),
      fc.tuple(objectOrList, objectOrList),
    );
    const property = fc.asyncProperty(twoBodies, fc.constantFrom('', ' '), ([a, b], space) => sameVerdict(a, b, space));
    await fc.assert(property, { numRuns: 50 });
    expect(theirs.guard.metrics()).toEqual(ours.guard.metrics());
    expect(ours.guard.metrics().replays).toBeGreaterThan(10);
    expect(ours.guard.metrics().mismatches).toBeGreaterThan(10);
  });

  it.each<[string, Sent]>([
    ['as it came', json('{"b":1.0,"a":[]}')],
    ['with white space', json(' { "a": [], "b": 1 }\n')],
    ['with a byte order mark', json('\ufeff{"a":[],"b":1}')],
    ['compressed', json(gzipSync('{"a":[],"b":1}'), { 'Content-Encoding': 'gzip' })],
    ['with a charset', as('application/json; charset=utf-8', '{"a":[],"b":1}')],
  ])('its retry may be read by either: %s', async (_what, sent) => {
    const store = new MemoryStore();
    const orders = [
      await shop({ store }, { express }),
      await shop({ store, parseJson: true }, { express, before: [] }),
    ];
    const first = json('{"a":[],"b":1}');
    for (const [i, one] of orders.entries()) {
      for (const key of [`${i}`, undefined]) {
        const keyed = key === undefined ? { path: `/derived/${i}` } : { key };
        expect((await one.send({ ...first, ...keyed })).isReplay).toBe(false);
        for (const other of orders) expect((await other.send({ ...sent, ...keyed })).isReplay).toBe(true);
      }
    }
    store.close();
  });

  it.each<[string, Sent]>([
    ['nothing, in chunks', NOTHING],
    ['nothing, of length 0', json('')],
    ['a byte order mark and nothing', json('\ufeff')],
    ['ten thousand levels', json(deep)],
    ['`__proto__`', json('{"__proto__":{"admin":true}}')],
  ])('its retry may be read by either: %s', async (_what, sent) => {
    const store = new MemoryStore();
    const theirs = await shop({ store }, { express });
    const ours = await shop({ store, parseJson: true }, { express, before: [] });
    expect((await theirs.send({ ...sent, key: 'a' })).isReplay).toBe(false);
    expect((await ours.send({ ...sent, key: 'a' })).isReplay).toBe(true);
    expect(refusal(await ours.send({ ...json('{"a":1}'), key: 'a' }))).toBe('422 key-reused');
    expect((await ours.send({ ...sent, key: 'b' })).isReplay).toBe(false);
    expect((await theirs.send({ ...sent, key: 'b' })).isReplay).toBe(true);
    store.close();
  });

  it('without a key one is derived, from all of the body', async () => {
    const orders = await shop({ parseJson: true }, { express, before: [] });
    const runOf = async (body: string) => membersOf(await orders.send(json(body)))['run'];
    expect(await runOf('{"a":1}')).toBe(1);
    expect(await runOf('{"a":2}')).toBe(2);
    expect(await runOf('{ "a": 1 }')).toBe(1);
  });

  it('`rawBody` is not asked for what it has read', async () => {
    const rawBody = vi.fn(() => Buffer.from('{}'));
    const orders = await shop({ parseJson: true, rawBody }, { express, before: [] });
    await orders.send({ ...json('{"a":1}'), key: 'k' });
    expect(refusal(await orders.send({ ...json('{"a":2}'), key: 'k' }))).toBe('422 key-reused');
    expect(rawBody).not.toHaveBeenCalled();
  });
});

describe.each(expresses)('however it comes over the wire, $name', ({ express }) => {
  const handler: Handler = (req, res) => res.json([req.body, req.trailers]);
  const opened = async () => open(await shop({ parseJson: true }, { express, before: [], handler }));
  const HEAD = 'POST / HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n';
  const bytes = Buffer.from('{"é":"😀"}').toString('latin1');

  it('byte by byte', async () => {
    const connection = await opened();
    connection.socket.setNoDelay();
    for (const byte of `${HEAD}Content-Length: ${bytes.length}\r\n\r\n${bytes}`) {
      connection.write(byte);
      await new Promise(setImmediate);
    }
    expect(await connection.until(']')).toContain(`[${bytes},{}]`);
  });

  it('in chunks that divide a character, with trailers', async () => {
    const connection = await opened();
    connection.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    for (const byte of bytes) connection.write(`1\r\n${byte}\r\n`);
    connection.write('0\r\nX-Sum: 7\r\n\r\n');
    expect(await connection.until(']')).toContain(`[${bytes},{"x-sum":"7"}]`);
  });

  it('pipelined', async () => {
    const connection = await opened();
    const requests = ['[1]', '[22]', '[333]'].map((body) => `${HEAD}Content-Length: ${body.length}\r\n\r\n${body}`);
    connection.write(`${requests.join('')}GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`);
    const received = await connection.ended();
    expect(received.match(/\[.*\{\}\]/g)).toEqual(['[[1],{}]', '[[22],{}]', '[[333],{}]', '[null,{}]']);
  });

  it('after `100 Continue`', async () => {
    const connection = await opened();
    connection.write(`${HEAD}Expect: 100-continue\r\nContent-Length: ${bytes.length}\r\n\r\n`);
    await connection.until('HTTP/1.1 100 Continue\r\n\r\n');
    connection.write(bytes);
    expect(await connection.until(']')).toContain(`[${bytes},{}]`);
  });
});

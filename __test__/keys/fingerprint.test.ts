import type { RequestHandler } from 'express';
import { describe, expect, it, vi } from 'vitest';
import { expresses, type Sent } from '../helpers/server.js';
import { refusal, shop, type Handler, type Shop } from '../helpers/shop.js';

const LIMIT = '32mb';

/** What a second request with the key of a first is told. */
async function second(orders: Shop, first: Sent, other: Sent): Promise<'replayed' | 'refused'> {
  expect((await orders.send({ key: 'k', ...first })).status).toBe(201);
  const answer = await orders.send({ key: 'k', ...other });
  expect(orders.runs).toBe(1);
  if (answer.isReplay) return 'replayed';
  expect(refusal(answer)).toBe('422 key-reused');
  return 'refused';
}

const as = (type: string, body: string | Buffer): Sent => ({ body, headers: { 'Content-Type': type } });
const json = (body: string): Sent => as('application/json', body);

const deep = (levels: number, inside = '0'): string => '['.repeat(levels) + inside + ']'.repeat(levels);
const deepObject = (levels: number, inside: string): string => '{"a":'.repeat(levels) + inside + '}'.repeat(levels);

/** The bytes that a parser has kept. */
const kept = new WeakMap<object, Buffer>();
const keep = (req: object, _res: unknown, bytes: Buffer) => kept.set(req, bytes);

const waysOfJson = expresses.flatMap(({ name, express }) => [
  { name, before: [express.json({ strict: false, limit: LIMIT })], express, options: {} },
  {
    name: `${name}, by the bytes that the parser kept`,
    before: [express.json({ strict: false, limit: LIMIT, verify: keep })],
    express,
    options: { rawBody: (req: object) => kept.get(req) },
  },
  {
    name: `${name}, read by \`parseJson\``,
    before: [],
    express,
    options: { parseJson: true, maxRequestBytes: 2 ** 25 },
  },
]);

describe.each(waysOfJson)('§2.4 the fingerprint of JSON, $name', ({ express, before, options }) => {
  it.each([
    ['key order', '{"a":1,"b":{"c":2,"d":3}}', '{"b":{"d":3,"c":2},"a":1}'],
    ['white space', '{"a":[1,2]}', ' {\r\n\t"a" : [ 1 , 2 ] } '],
    ['1 and 1.0', '[1,10,0.001]', '[1.0,1e1,1E-3]'],
    ['0 and -0', '[0]', '[-0]'],
    ['how a number is written that no double holds', '[9007199254740993,1e400]', '[90071992547409930e-1,1E+400]'],
    ['escapes', String.raw`["é/\"",{"a":1}]`, String.raw`["\u00e9\/\u0022",{"\u0061":1}]`],
    ['a surrogate pair', '["😀"]', String.raw`["\ud83d\ude00"]`],
    ['a repeated member, whose last value counts', '{"a":1,"a":2}', '{"a":2}'],
    ['10,000 levels of lists', deep(10_000), deep(10_000, ' 0.0 ')],
    ['10,000 levels of objects', deepObject(10_000, '{"x":1,"y":null}'), deepObject(10_000, '{"y":null,"x":1.0}')],
  ])('§2.4 does not matter: %s', async (_what, a, b) => {
    expect(await second(await shop(options, { express, before }), json(a), json(b))).toBe('replayed');
  });

  it.each([
    ['the order of a list', '[1,2]', '[2,1]'],
    ['a member more', '{"a":1}', '{"a":1,"b":null}'],
    ['text and number', '["1"]', '[1]'],
    ['null and text', '[null]', '["null"]'],
    ['letters by case', '{"a":1}', '{"A":1}'],
    ['two spellings of é', '["\u00e9"]', '["e\u0301"]'],
    ['neighbouring doubles', '[0.1]', '[0.10000000000000002]'],
    ['1e400 and null', '[1e400]', '[null]'],
    ['1e400 and -1e400', '{"a":1e400}', '{"a":-1e400}'],
    ['1e400 and a large number', '[1e400]', '[1e308]'],
    ['two lone surrogates', String.raw`["\ud800"]`, String.raw`["\ud801"]`],
    ['a lone surrogate and the replacement character', String.raw`["\udc00"]`, '["\ufffd"]'],
    ['two lone surrogates in names', String.raw`{"\ud800":1}`, String.raw`{"\ud801":1}`],
    ['a lone surrogate and its escape as text', String.raw`["\ud800"]`, String.raw`["\\ud800"]`],
    ['`__proto__` and nothing', '{"__proto__":{"admin":true}}', '{}'],
    ['two values of `__proto__`', '{"__proto__":{"admin":true}}', '{"__proto__":{"admin":false}}'],
    ['`__proto__` with and without null beside it', '{"__proto__":1,"a":null}', '{"a":null}'],
    ['`constructor`', '{"constructor":1}', '{"constructor":2}'],
    ['`toJSON`', '{"toJSON":1,"a":1}', '{"toJSON":2,"a":1}'],
    ['`length`', '{"length":1}', '{"length":2}'],
    ['an empty list and an empty object', '[[]]', '[{}]'],
    ['where lists end', '[[1],2]', '[[1,2]]'],
    ['an empty list and no body', '[]', ''],
    ['an empty object and no body', '{}', ''],
    ['10,000 and 10,001 levels', deep(10_000), deep(10_001)],
    ['what is at 10,000 levels', deep(10_000), deep(10_000, '1')],
    ['what is at 10,000 levels, beside null', deep(10_000, 'null,0'), deep(10_000, 'null,1')],
  ])('§2.4 matters: %s', async (_what, a, b) => {
    expect(await second(await shop(options, { express, before }), json(a), json(b))).toBe('refused');
  });

  it('§2.4 a large body counts to its last byte', async () => {
    const rows = Array.from({ length: 100_000 }, (_, i) => ({ id: i, name: `row ${i}`, note: i % 7 ? 'x' : null }));
    const body = JSON.stringify(rows);
    expect(body.length).toBeGreaterThan(4_000_000);
    const other = body.replace('"row 99999"', '"row 99998"');
    expect(other).not.toBe(body);
    expect(await second(await shop(options, { express, before }), json(body), json(other))).toBe('refused');
    expect(await second(await shop(options, { express, before }), json(body), json(` ${body}`))).toBe('replayed');
  });

  it('§2.4 is taken once, on entry: a handler may change the body', async () => {
    expect(
      await second(await shop(options, { express, before, handler: changing }), json('{"a":1}'), json('{"a":1}')),
    ).toBe('replayed');
    expect(
      await second(
        await shop(options, { express, before, handler: changing }),
        json('{"a":1}'),
        json('{"a":1,"price":3}'),
      ),
    ).toBe('refused');
  });

  const changing: Handler = (req, res) => {
    (req.body as Record<string, unknown>)['price'] = 3;
    req.url = '/elsewhere';
    res.status(201).json(req.body);
  };
});

describe.each(expresses)('`rawBody`, $name', ({ express }) => {
  const before = [express.json({ strict: false, verify: keep }), express.urlencoded({ extended: false, verify: keep })];
  const rawBody = (req: object) => kept.get(req);

  it('the bytes and the parsed body have one fingerprint', async () => {
    const isFirst = vi.fn(() => false).mockReturnValueOnce(true);
    const options = { rawBody: (req: object) => (isFirst() ? kept.get(req) : undefined) };
    const spaced = json(' {"b": 1.0, "a": "\\u0041"} ');
    expect(await second(await shop(options, { express, before }), spaced, json('{"a":"A","b":1}'))).toBe('replayed');
  });

  it('null is a body, and nothing is none', async () => {
    expect(await second(await shop({ rawBody }, { express, before }), json('null'), json(''))).toBe('refused');
  });

  it('a form is still compared by its fields', async () => {
    const form = (body: string) => as('application/x-www-form-urlencoded', body);
    const orders = await shop({ rawBody }, { express, before });
    expect(await second(orders, form('a=%41'), form('a=A'))).toBe('replayed');
  });

  it('JSON in another encoding is compared by its bytes', async () => {
    const utf16 = (text: string) => as('application/json; charset=utf-16le', Buffer.from(text, 'utf16le'));
    expect(await second(await shop({ rawBody }, { express, before }), utf16('["é"]'), utf16('["é"]'))).toBe('replayed');
    expect(await second(await shop({ rawBody }, { express, before }), utf16('["é"]'), utf16('["ê"]'))).toBe('refused');
  });

  it('anything but bytes is an error of the application', async () => {
    const errors: unknown[] = [];
    const options: object = { rawBody: () => '{}' };
    const orders = await shop(options, { express, before, errors });
    expect(await orders.send({ key: 'k', ...json('{}') })).toMatchObject({ status: 500 });
    expect(errors).toEqual([
      expect.objectContaining({
        code: 'ERR_REPRISE_INVALID_ARGUMENT',
        message: 'idempotencyMiddleware: rawBody(req) returned "{}"; allowed: a Uint8Array, or undefined',
      }),
    ]);
    expect(orders.runs).toBe(0);
  });
});

describe.each(expresses)('§2.4 the fingerprint of other bodies, $name', ({ express }) => {
  it.each<[string, RequestHandler, Sent, Sent]>([
    ['bytes', express.raw({ type: '*/*' }), json('{"a":1}'), json('{"a":1} ')],
    ['bytes that are no text', express.raw({ type: '*/*' }), as('x/y', Buffer.of(0xff)), as('x/y', Buffer.of(0xfe))],
    ['text', express.text({ type: '*/*' }), as('text/plain', 'a'), as('text/plain', 'a ')],
    ['text that is JSON', express.text({ type: '*/*' }), json('{"a":1}'), json('{"a": 1}')],
    ['text and no text', express.text(), as('text/plain', 'a'), as('text/plain', '')],
    ['a field', express.urlencoded({ extended: false }), form('a=1&b=2'), form('a=1&b=3')],
    ['a field more', express.urlencoded({ extended: false }), form('a=1'), form('a=1&a=1')],
    ['the order of one field’s values', express.urlencoded({ extended: false }), form('a=1&a=2'), form('a=2&a=1')],
    ['a nested field', express.urlencoded({ extended: true }), form('a[b]=1'), form('a[c]=1')],
    ['null and no body', express.json({ strict: false }), json('null'), json('')],
    ['the type of one and the same text', express.text({ type: '*/*' }), as('text/plain', 'a'), as('text/csv', 'a')],
    ['the type of one and the same JSON', express.json({ type: '*/*' }), json('{}'), as('application/a+json', '{}')],
  ])('§2.4 matters: %s', async (_what, parser, a, b) => {
    expect(await second(await shop({}, { express, before: [parser] }), a, b)).toBe('refused');
  });

  it.each<[string, RequestHandler, Sent, Sent]>([
    ['bytes', express.raw({ type: '*/*' }), as('x/y', Buffer.of(0xff, 0)), as('X/Y', Buffer.of(0xff, 0))],
    ['text', express.text(), as('text/plain; charset=utf-8', 'é'), as('text/plain;charset=UTF-8', 'é')],
    ['the order of fields', express.urlencoded({ extended: false }), form('a=1&b=2'), form('b=2&a=1')],
    ['how fields are written', express.urlencoded({ extended: true }), form('a=%61+b'), form('a=a%20b')],
    ['the charset of JSON', express.json(), json('{}'), as('application/json; charset=utf-8', '{}')],
  ])('§2.4 does not matter: %s', async (_what, parser, a, b) => {
    expect(await second(await shop({}, { express, before: [parser] }), a, b)).toBe('replayed');
  });

  const multipart = (boundary: string, digest?: string): Sent => ({
    body: `--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--${boundary}--\r\n`,
    headers: {
      'Content-Type': `multipart/form-data; boundary=${boundary}`,
      ...(digest !== undefined && { 'Content-Digest': digest }),
    },
  });
  /** Reads nothing of it, as where the route has the parser. */
  const unread: RequestHandler = (_req, _res, next) => {
    next();
  };
  const parsed: RequestHandler = (req, _res, next) => {
    req.body = { a: '1' };
    next();
  };

  it.each<[string, RequestHandler]>([
    ['unread', unread],
    ['parsed', parsed],
  ])('§2.4 multipart is known by its Content-Digest, whatever the boundary: %s', async (_what, parser) => {
    const orders = () => shop({}, { express, before: [parser] });
    expect(await second(await orders(), multipart('x', 'sha-256=:YQ==:'), multipart('y', 'sha-256=:YQ==:'))).toBe(
      'replayed',
    );
    expect(await second(await orders(), multipart('x', 'sha-256=:YQ==:'), multipart('y', 'sha-256=:Yg==:'))).toBe(
      'refused',
    );
    expect(await second(await orders(), multipart('x', 'sha-256=:YQ==:'), multipart('x'))).toBe('refused');
  });

  it('§2.4 multipart without a digest is known by its parsed fields, whatever the boundary', async () => {
    expect(await second(await shop({}, { express, before: [parsed] }), multipart('x'), multipart('y'))).toBe(
      'replayed',
    );
    const byQuery: RequestHandler = (req, _res, next) => {
      req.body = { a: req.headers['x-field'] };
      next();
    };
    const field = (value: string): Sent => {
      const sent = multipart('x');
      return { ...sent, headers: { ...sent.headers, 'X-Field': value } };
    };
    expect(await second(await shop({}, { express, before: [byQuery] }), field('1'), field('2'))).toBe('refused');
  });

  function form(body: string): Sent {
    return as('application/x-www-form-urlencoded', body);
  }
});

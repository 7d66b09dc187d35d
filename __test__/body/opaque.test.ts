import { PassThrough } from 'node:stream';
import { runInNewContext } from 'node:vm';
import type { RequestHandler } from 'express';
import { describe, expect, it, vi } from 'vitest';
import { jsonText } from '../../ts/idempotency/json.js';
import { expresses, type Sent } from '../helpers/server.js';
import { refusal, shop } from '../helpers/shop.js';

const ofClass = new (class {
  readonly #item = 'book';
  get item() {
    return this.#item;
  }
})();

class Order {
  constructor(
    readonly item: string,
    readonly at = new Date(0),
  ) {}
}

const circular: Record<string, unknown> = {};
circular['self'] = [{ circular }];

const throwing = {
  toJSON() {
    throw new Error('not now');
  },
};

/** Ever new objects, without end. */
class Endless {
  get next() {
    return new Endless();
  }
  toJSON() {
    return { a: new Endless() };
  }
}

const opaque: [string, unknown][] = [
  ['a Map', new Map([['item', 'book']])],
  ['a Set', new Set(['book'])],
  ['a class with private fields', ofClass],
  [
    'a class without fields but functions',
    new (class {
      item = () => 'book';
    })(),
  ],
  ['an object of functions', { item: () => 'book' }],
  ['a stream', new PassThrough()],
  ['a Blob', new Blob(['book'])],
  ['a file of a form', formOf('file', new Blob(['book']))],
  ['a function', () => 'book'],
  ['a symbol', Symbol('book')],
  ['a promise', Promise.resolve('book')],
  ['an error', new Error('book')],
  ['a cycle', circular],
  ['a toJSON that throws', throwing],
  ['a toJSON that makes a Map', { toJSON: () => new Map([['item', 'book']]) }],
  ['a toJSON without end', new Endless()],
  ['a Map of another realm', runInNewContext("new Map([['item', 'book']])")],
];

function formOf(name: string, value: string | Blob): FormData {
  const form = new FormData();
  form.append(name, value);
  return form;
}

describe('the text that stands for a body', () => {
  it.each(opaque)('there is none for %s, at any depth', (_what, value) => {
    expect(jsonText(value)).toBeUndefined();
    if (typeof value === 'function' || typeof value === 'symbol') return;
    expect(jsonText({ order: [{ value }] })).toBeUndefined();
    expect(jsonText([1n, { value }])).toBeUndefined();
  });

  it.each<[string, unknown, unknown]>([
    ['BigInts', { account: 12345678901234567890n }, { account: 12345678901234567891n }],
    ['BigInts in a wrapper', [Object(1n)], [Object(2n)]],
    ['NaN and null', [Number.NaN], [null]],
    ['fields', new URLSearchParams('item=book'), new URLSearchParams('item=lamp')],
    ['nested fields', { a: new URLSearchParams('item=book') }, { a: new URLSearchParams('item=lamp') }],
    ['a field more', new URLSearchParams('item=book'), new URLSearchParams('item=book&item=book')],
    ['fields of a form', formOf('item', 'book'), formOf('item', 'lamp')],
    ['bytes inside', { a: new Uint8Array([1]).buffer }, { a: new Uint8Array([2]).buffer }],
    ['views inside', [new DataView(new ArrayBuffer(1))], [new DataView(new ArrayBuffer(2))]],
    ['instances', new Order('book'), new Order('lamp')],
    ['instances inside', { a: [new Order('book'), {}] }, { a: [new Order('lamp'), {}] }],
    ['dates beside what is empty', { at: new Date(0), a: {} }, { at: new Date(1), a: {} }],
    ['objects of another realm', runInNewContext('({ a: {}, b: 1 })'), runInNewContext('({ a: {}, b: 2 })')],
  ])('tells apart: %s', (_what, one, other) => {
    expect(jsonText(one)).toBeTypeOf('string');
    expect(jsonText(one)).not.toBe(jsonText(other));
  });

  it('is that of JSON for what JSON shows', () => {
    const shared = { a: {} };
    for (const value of [
      new Order('book'),
      [new Order('book'), {}],
      Object.assign(Object.create(null) as object, { a: {}, b: null }),
      [shared, shared, [shared]],
      { a: undefined, b: {} },
      JSON.parse('{"__proto__":{"a":null},"b":{}}'),
      { at: new Date(0), empty: {} },
    ]) {
      expect(jsonText(value)).toBe(JSON.stringify(value));
    }
  });

  it('takes a number for the same as a BigInt of its digits', () => {
    expect(jsonText({ account: 12n })).toBe('{"account":12}');
  });
});

describe('a deep body', () => {
  it('has the text of JSON, however deep, and costs no square of its depth', () => {
    const levels = 3_000;
    const lists = `[${Array.from({ length: 17 }, () => '['.repeat(levels) + ']'.repeat(levels)).join(',')}]`;
    const objects = '{"a":'.repeat(levels) + '{"b":{},"c":[null,"é",1.5,false]}' + '}'.repeat(levels);
    for (const text of [lists, objects]) expect(jsonText(JSON.parse(text))).toBe(text);
    const value = JSON.parse(lists) as unknown;
    const took = (run: () => unknown) => {
      const start = performance.now();
      run();
      return performance.now() - start;
    };
    const best = (run: () => unknown) => Math.min(...Array.from({ length: 5 }, () => took(run)));
    expect(best(() => jsonText(value))).toBeLessThan(best(() => JSON.stringify(value)));
  });
});

describe.each(expresses)('a body that nobody can read, $name', ({ express }) => {
  const leaving = (make: (item: string) => unknown): RequestHandler[] => [
    express.json(),
    (req, _res, next) => {
      req.body = make((req.body as { item: string }).item);
      next();
    },
  ];
  const order = (item: string, key?: string): Sent => ({ body: { item }, ...(key !== undefined && { key }) });
  const maps = leaving((item) => ({ order: new Map([['item', item]]) }));

  it('without a key it runs unguarded, with one warning that names the cures', async () => {
    const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
    const orders = await shop({ logger }, { express, before: maps });
    for (const item of ['book', 'lamp', 'lamp']) expect((await orders.send(order(item))).isReplay).toBe(false);
    expect(orders.runs).toBe(3);
    expect(logger.warn).toHaveBeenCalledExactlyOnceWith(
      { code: 'WRN_REPRISE_BODY_NOT_PARSED' },
      expect.stringMatching(/Nest.*parseJson: true.*Content-Digest/s),
    );
  });

  it('under a key it runs once, and no other request is taken for it', async () => {
    const orders = await shop({ silence: ['WRN_REPRISE_BODY_NOT_PARSED'] }, { express, before: maps });
    expect((await orders.send(order('book', 'k'))).status).toBe(201);
    for (const item of ['lamp', 'book']) {
      expect(refusal(await orders.send(order(item, 'k')))).toBe('415 unread-body');
    }
    expect(orders.runs).toBe(1);
  });

  it('after an error its retry runs', async () => {
    const orders = await shop(
      { silence: ['WRN_REPRISE_BODY_NOT_PARSED'] },
      { express, before: maps, handler: (_req, res, _next, run) => res.status(run === 1 ? 500 : 201).end() },
    );
    await orders.send(order('book', 'k'));
    expect((await orders.send(order('book', 'k'))).status).toBe(201);
  });

  it('`rawBody` and `Content-Digest` are cures', async () => {
    const byBytes = await shop(
      { rawBody: (req) => Buffer.from(req.headers['x-bytes'] as string) },
      { express, before: maps },
    );
    const byDigest = await shop({}, { express, before: maps });
    for (const [orders, header] of [
      [byBytes, 'X-Bytes'],
      [byDigest, 'Content-Digest'],
    ] as const) {
      const send = (item: string) => orders.send({ ...order(item, 'k'), headers: { [header]: `"${item}"` } });
      await send('book');
      expect((await send('book')).isReplay).toBe(true);
      expect(refusal(await send('lamp'))).toBe('422 key-reused');
    }
  });

  it.each<[string, (item: string) => unknown]>([
    ['URLSearchParams', (item) => new URLSearchParams({ item })],
    ['FormData', (item) => formOf('item', item)],
    ['an ArrayBuffer', (item) => Uint8Array.from(Buffer.from(item)).buffer],
    [
      'a SharedArrayBuffer',
      (item) => Object.assign(new Uint8Array(new SharedArrayBuffer(4)), Buffer.from(item)).buffer,
    ],
    ['a DataView', (item) => new DataView(Uint8Array.from(Buffer.from(item)).buffer)],
    ['a Uint16Array', (item) => new Uint16Array(Uint8Array.from(Buffer.from(item)).buffer)],
    [
      'bytes of another realm',
      (item) => runInNewContext(`Uint8Array.from([${[...Buffer.from(item)].join(',')}])`) as unknown,
    ],
    ['a BigInt', (item) => ({ id: BigInt(`0x${Buffer.from(item).toString('hex')}`) })],
  ])('%s is known by its content', async (_what, make) => {
    const orders = await shop({}, { express, before: leaving(make) });
    for (const key of ['k', undefined]) {
      expect((await orders.send(order('book', key))).isReplay).toBe(false);
      expect((await orders.send(order('book', key))).isReplay).toBe(true);
    }
    expect(refusal(await orders.send(order('lamp', 'k')))).toBe('422 key-reused');
    expect((await orders.send(order('lamp'))).isReplay).toBe(false);
  });
});

describe.each(expresses)('a body that nobody has read, $name', ({ express }) => {
  const upload = (body: string, type = 'application/x-upload'): Sent => ({ body, headers: { 'Content-Type': type } });
  const silence = ['WRN_REPRISE_BODY_NOT_PARSED'] as const;

  it('under a key it is known by its length and its type as it was sent', async () => {
    const orders = await shop({ silence }, { express, before: [] });
    const first = upload('book', 'multipart/form-data; boundary=a');
    await orders.send({ key: 'k', ...first });
    expect((await orders.send({ key: 'k', ...first })).isReplay).toBe(true);
    for (const other of [
      upload('books', first.headers?.['Content-Type'] as string),
      upload('book', 'multipart/form-data; boundary=b'),
    ]) {
      expect(refusal(await orders.send({ key: 'k', ...other }))).toBe('422 key-reused');
    }
    expect(orders.runs).toBe(1);
  });

  it("`unreadBody: 'reject'` refuses it, with a key and without, before anything runs", async () => {
    const orders = await shop({ silence, unreadBody: 'reject' }, { express, before: [express.json()] });
    for (const key of ['k', undefined]) {
      const keyed = key === undefined ? {} : { key };
      expect(refusal(await orders.send({ ...upload('book'), ...keyed }))).toBe('415 unread-body');
      expect((await orders.send({ body: { item: 'book' }, ...keyed })).status).toBe(201);
      expect((await orders.send({ path: '/none', ...keyed })).status).toBe(201);
    }
    const digest = { 'Content-Digest': 'sha-256=:YQ==:' };
    const known = { ...upload('book'), headers: { 'Content-Type': 'x/y', ...digest } };
    expect((await orders.send({ ...known, key: 'd' })).status).toBe(201);
    expect(refusal(await orders.send(known))).toBe('415 unread-body');
    expect(orders.runs).toBe(5);
  });
});

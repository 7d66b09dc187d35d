import { once } from 'node:events';
import type { RequestHandler } from 'express';
import { describe, expect, it } from 'vitest';
import { MemoryStore, type IdempotencyOptions } from '../../ts/index.js';
import { expresses, open, type Sent } from '../helpers/server.js';
import { refusal, shop } from '../helpers/shop.js';

const ORDER: Sent = {
  path: '/orders?dry=0',
  headers: { Authorization: 'Bearer alice' },
  body: { item: 'tea', count: 2 },
};

describe.each(expresses)('§2.2 no key, $name', ({ express }) => {
  it('§2.2 two requests that ask for the same are one', async () => {
    const orders = await shop({}, { express });
    const first = await orders.send(ORDER);
    expect(await orders.send(ORDER)).toMatchObject({ isReplay: true, text: first.text });
    expect(
      await orders.send({ ...ORDER, body: '{ "count": 2.0,\n "item": "\\u0074ea" }', ...asJson(ORDER) }),
    ).toMatchObject({ isReplay: true });
    expect(orders.runs).toBe(1);
  });

  it.each<[string, Sent]>([
    ['identity', { ...ORDER, headers: { Authorization: 'Bearer bob' } }],
    ['no identity', { ...ORDER, headers: {} }],
    ['identity by cookie', { ...ORDER, headers: { Cookie: 'session=1' } }],
    ['method', { ...ORDER, method: 'PUT' }],
    ['path', { ...ORDER, path: '/order?dry=0' }],
    ['query', { ...ORDER, path: '/orders?dry=1' }],
    ['no query', { ...ORDER, path: '/orders' }],
    ['media type', { ...ORDER, body: JSON.stringify(ORDER.body), ...typed('application/vnd.shop+json') }],
    ['body', { ...ORDER, body: { item: 'tea', count: 3 } }],
    ['order of a list', { ...ORDER, body: ['tea', 2] }],
    ['no body', { path: ORDER.path, headers: ORDER.headers } as Sent],
    ['empty body', { ...ORDER, body: {} }],
  ])('§2.2 another %s is another request', async (_what, other) => {
    const orders = await shop(
      {},
      { express, before: [express.json({ type: '*/json' }), express.json({ type: '*/*' })] },
    );
    await orders.send(ORDER);
    expect((await orders.send(other)).isReplay).toBe(false);
    expect((await orders.send(other)).isReplay).toBe(true);
    expect(orders.runs).toBe(2);
  });

  it('§2.2 another scope is another request, whoever asks; one scope is one, however they sign in', async () => {
    const orders = await shop({ scope: (req) => String(req.headers['x-tenant']) }, { express });
    const from = (tenant: string, token: string) =>
      orders.send({ ...ORDER, headers: { 'X-Tenant': tenant, Authorization: token } });
    await from('a', '1');
    expect((await from('b', '1')).isReplay).toBe(false);
    expect((await from('a', '2')).isReplay).toBe(true);
  });

  it('§2.2 a client’s own key that looks like a derived one is another record', async () => {
    let derived = '';
    const orders = await shop(
      {},
      {
        express,
        handler: (req, res) => {
          derived = req.idempotency?.key ?? '';
          res.json({});
        },
      },
    );
    await orders.send(ORDER);
    expect(derived).toMatch(/^[0-9a-f]{64}$/);
    expect((await orders.send({ ...ORDER, key: derived })).isReplay).toBe(false);
  });

  it('§2.2 is kept for `derivedTtl`, 300 s by default, and one with a key for `ttl`, a day', async () => {
    const store = new MemoryStore();
    const orders = await shop({ store }, { express });
    const isReplay = async (sent: Sent) => (await orders.send(sent)).isReplay;
    await orders.send(ORDER);
    await orders.send({ ...ORDER, key: 'k' });
    store.advanceClock(299_000);
    expect(await isReplay(ORDER)).toBe(true);
    store.advanceClock(2_000);
    expect(await isReplay(ORDER)).toBe(false);
    expect(await isReplay({ ...ORDER, key: 'k' })).toBe(true);
    store.advanceClock(86_400_000 - 302_000);
    expect(await isReplay({ ...ORDER, key: 'k' })).toBe(true);
    store.advanceClock(2_000);
    expect(await isReplay({ ...ORDER, key: 'k' })).toBe(false);
  });

  it('§2.2 `derivedTtl` and `ttl` are seconds', async () => {
    const store = new MemoryStore();
    const orders = await shop({ store, derivedTtl: 1.5, ttl: 60 }, { express });
    await orders.send(ORDER);
    await orders.send({ key: 'k' });
    store.advanceClock(1_400);
    expect((await orders.send(ORDER)).isReplay).toBe(true);
    store.advanceClock(200);
    expect((await orders.send(ORDER)).isReplay).toBe(false);
    store.advanceClock(58_000);
    expect((await orders.send({ key: 'k' })).isReplay).toBe(true);
    store.advanceClock(500);
    expect((await orders.send({ key: 'k' })).isReplay).toBe(false);
  });

  it('§2.2 `missingKey: pass` leaves it alone', async () => {
    const orders = await shop({ missingKey: 'pass' }, { express });
    for (let run = 1; run <= 2; run++) expect((await orders.send(ORDER)).isReplay).toBe(false);
    await orders.send({ ...ORDER, key: 'k' });
    expect((await orders.send({ ...ORDER, key: 'k' })).isReplay).toBe(true);
  });

  it('§2.2 `missingKey: reject` refuses it, naming the header, and the handler does not run', async () => {
    const orders = await shop({ missingKey: 'reject', headerName: 'X-Token' }, { express });
    const answer = await orders.send(ORDER);
    expect(refusal(answer)).toBe('400 missing-key');
    expect(answer.text).toContain('X-Token');
    expect(orders.runs).toBe(0);
    expect((await orders.send({ ...ORDER, headers: { 'X-Token': 'k' } })).status).toBe(201);
  });
});

describe.each(expresses)('§2.2 no key is derived from a body that is not known, $name', ({ express }) => {
  /** Reads the form's parts into `body`, and leaves files elsewhere, as parsers of multipart bodies do. */
  const multipart: RequestHandler = (req, _res, next) => {
    req.body = { caption: 'cat' };
    void once(req.resume(), 'end').then(() => {
      next();
    });
  };
  const picture = (bytes: string): Sent => ({
    body: `--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${bytes}\r\n--b--\r\n`,
    ...typed('multipart/form-data; boundary=b'),
  });
  const digest = (of: string) => ({ 'Content-Digest': `sha-256=:${of}:` });

  it.each<[string, RequestHandler[], Sent]>([
    ['nobody parses bodies', [], ORDER],
    ['the parser takes other types', [express.json()], { body: '<order/>', ...typed('text/xml') }],
    ['a digest is all that is known', [], { ...ORDER, headers: digest('abc') }],
    ['a form came with files', [multipart], picture('meow')],
  ])('§2.2 where %s, the request passes through', async (_what, before, sent) => {
    const orders = await shop({}, { express, before });
    for (let run = 1; run <= 2; run++) {
      expect(await orders.send(sent)).toMatchObject({ status: 201, isReplay: false, text: `{"run":${run}}` });
    }
  });

  it('§2.2 where it comes in chunks, the request passes through', async () => {
    const orders = await shop({}, { express, before: [] });
    const connection = await open(orders);
    for (let run = 1; run <= 2; run++) {
      connection.write('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n');
      await connection.until(`{"run":${run}}`);
    }
  });

  it('§2.2 a form whose client sent a digest of it is known, files included', async () => {
    const orders = await shop({}, { express, before: [multipart] });
    const send = async (bytes: string) => {
      const sent = picture(bytes);
      return (await orders.send({ ...sent, headers: { ...sent.headers, ...digest(bytes) } })).isReplay;
    };
    expect([await send('meow'), await send('purr'), await send('meow')]).toEqual([false, false, true]);
  });

  it('§2.2 a request without a body has nothing to read', async () => {
    const orders = await shop({}, { express, before: [] });
    const isReplay = async (sent: Sent) => (await orders.send(sent)).isReplay;
    expect([await isReplay({}), await isReplay({})]).toEqual([false, true]);
    expect(await isReplay({ body: '' })).toBe(true);
  });

  it.each<[string, IdempotencyOptions, Sent]>([
    ['without a key', {}, ORDER],
    ['with a key', {}, { ...ORDER, key: 'k' }],
  ])('§2.2 it is warned of, once: %s', async (_what, options, sent) => {
    const orders = await shop(options, { express, before: [] });
    // The warnings of this process are counted from its start: another test may have had the one.
    for (let i = 0; i < 3; i++) await orders.send(sent);
    expect(warnings.filter((code) => code === 'WRN_REPRISE_BODY_NOT_PARSED')).toHaveLength(1);
  });
});

const warnings: unknown[] = [];
process.on('warning', (warning) => warnings.push((warning as { code?: unknown }).code));

function typed(type: string): Pick<Sent, 'headers'> {
  return { headers: { 'Content-Type': type, Authorization: 'Bearer alice' } };
}

function asJson(sent: Sent): Pick<Sent, 'headers'> {
  return { headers: { ...sent.headers, 'Content-Type': 'application/json' } };
}

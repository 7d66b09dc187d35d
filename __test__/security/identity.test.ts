import { describe, expect, it } from 'vitest';
import { MapStore } from '../helpers/map-store.js';
import { expresses } from '../helpers/server.js';
import { refusal, shop, type Handler } from '../helpers/shop.js';

const stores = [
  { of: 'memory', store: () => ({}) },
  { of: 'get, set and delete', store: () => ({ store: new MapStore() }) },
];
const cases = expresses.flatMap((one) => stores.map((other) => ({ ...one, ...other })));

describe.each(cases)('§3 who asks, $name, a store of $of', ({ express, store }) => {
  const secret: Handler = (_req, res) => res.status(201).json({ balance: 'secret' });

  it.each([
    ['another token', { Authorization: 'Bearer a' }, { Authorization: 'Bearer b' }],
    ['another scheme', { Authorization: 'Bearer a' }, { Authorization: 'Basic a' }],
    ['no token', { Authorization: 'Bearer a' }, {}],
    ['a token where there was none', {}, { Authorization: 'Bearer a' }],
    ['another cookie', { Cookie: 'session=a' }, { Cookie: 'session=b' }],
    ['no cookie', { Cookie: 'session=a' }, {}],
    ['a cookie for a token', { Authorization: 'session=a' }, { Cookie: 'session=b' }],
    ['a cookie of the same text', { Authorization: 'session=a' }, { Cookie: 'session=a' }],
    ['a token beside the cookie', { Cookie: 'session=a' }, { Cookie: 'session=a', Authorization: 'Bearer a' }],
  ])('§3 without a scope, %s is never shown the answer, and never runs it again', async (_what, first, other) => {
    const orders = await shop(store(), { express, handler: secret });
    await orders.send({ key: 'k', headers: first });
    for (let i = 0; i < 2; i++) {
      const answer = await orders.send({ key: 'k', headers: other });
      expect(refusal(answer)).toBe('422 key-of-another-caller');
      expect(answer.text).not.toContain('secret');
    }
    expect(orders.runs).toBe(1);
    expect(await orders.send({ key: 'k', headers: first })).toMatchObject({ isReplay: true });
  });

  it('§3 without a scope, `Authorization` says who asks, whatever the cookies', async () => {
    const orders = await shop(store(), { express });
    const send = (Cookie: string) => orders.send({ key: 'k', headers: { Authorization: 'Bearer a', Cookie } });
    await send('seen=1');
    expect(await send('seen=2')).toMatchObject({ isReplay: true });
  });

  it('§3 without a scope, two who give nothing of themselves are one', async () => {
    const orders = await shop(store(), { express });
    await orders.send({ key: 'k' });
    expect(await orders.send({ key: 'k' })).toMatchObject({ isReplay: true });
  });

  it('§3 a refreshed token never runs a request twice', async () => {
    const orders = await shop(store(), { express });
    await orders.send({ key: 'k', headers: { Authorization: 'Bearer of 9 oclock' } });
    for (let hour = 10; hour < 13; hour++) {
      const answer = await orders.send({ key: 'k', headers: { Authorization: `Bearer of ${hour} oclock` } });
      expect(refusal(answer)).toBe('422 key-of-another-caller');
    }
    expect(orders.runs).toBe(1);
  });

  it('§3 with a scope, a refreshed token gets the answer, and another scope’s key is another key', async () => {
    const orders = await shop(
      { ...store(), scope: (req) => req.headers['x-user'] as string | undefined },
      { express, handler: (req, res) => res.json({ for: req.headers['x-user'] }) },
    );
    const send = (user: string | undefined, token: string) =>
      orders.send({ key: 'k', headers: { ...(user !== undefined && { 'X-User': user }), Authorization: token } });
    await send('alice', '1');
    expect(await send('alice', '2')).toMatchObject({ isReplay: true, text: '{"for":"alice"}' });
    expect(await send('bob', '1')).toMatchObject({ isReplay: false, text: '{"for":"bob"}' });
    // Where the scope says nothing, the token does.
    expect(await send(undefined, '1')).toMatchObject({ isReplay: false });
    expect(await send(undefined, '1')).toMatchObject({ isReplay: true });
    expect(refusal(await send(undefined, '2'))).toBe('422 key-of-another-caller');
  });

  it.each([Number.NaN, Infinity, {}, [], true, 1n, Symbol('s'), '\ud800', 'a\udc00b'])(
    '§3 a scope that keeps nobody apart is refused, and the handler does not run: %s',
    async (value) => {
      const errors: unknown[] = [];
      const orders = await shop({ ...store(), scope: () => value as string }, { express, errors });
      expect((await orders.send({ key: 'k' })).status).toBe(500);
      expect(orders.runs).toBe(0);
      expect(errors).toEqual([expect.objectContaining({ code: 'ERR_REPRISE_INVALID_ARGUMENT' })]);
    },
  );

  it('§3 a number is a scope like its text', async () => {
    const orders = await shop({ ...store(), scope: (req) => Number(req.headers['x-user']) as never }, { express });
    for (const user of ['7', '8', '7.0']) await orders.send({ key: 'k', headers: { 'X-User': user } });
    expect(orders.runs).toBe(2);
  });

  it('§3 what `scope(req)` throws goes to next(error)', async () => {
    const errors: unknown[] = [];
    const failure = new Error('no session');
    const orders = await shop(
      {
        ...store(),
        scope: () => {
          throw failure;
        },
      },
      { express, errors },
    );
    await orders.send({ key: 'k' });
    expect(errors).toEqual([failure]);
    expect(orders.runs).toBe(0);
  });
});

describe.each(expresses)('§3 who asks, by host name and by `identity`, $name', ({ express }) => {
  const ORDER = { body: { item: 'tea' } };

  it.each<[string, Record<string, string>]>([
    ['with a token', { Authorization: 'Bearer a' }],
    ['with a cookie', { Cookie: 'a=1' }],
    ['with nothing', {}],
    ['with an empty token', { Authorization: '' }],
  ])('§3 two host names are two callers, %s', async (_what, headers) => {
    const orders = await shop({}, { express });
    const ask = (host: string, key?: string) =>
      orders.send({ ...ORDER, ...(key !== undefined && { key }), headers: { ...headers, Host: host } });
    await ask('a.example', 'k');
    expect(refusal(await ask('b.example', 'k'))).toBe('422 key-of-another-caller');
    // Neither letters nor a port make another host.
    for (const host of ['A.Example', 'a.example:8080']) expect((await ask(host, 'k')).isReplay).toBe(true);
    await ask('a.example');
    expect((await ask('b.example')).isReplay).toBe(false);
    expect((await ask('a.example:80')).isReplay).toBe(true);
    expect(orders.runs).toBe(3);
  });

  it('§3 an absolute target is the same as its path, and names the host', async () => {
    const orders = await shop({}, { express });
    const ask = (path: string, host: string, key = 'k') => orders.send({ path, key, headers: { Host: host } });
    await ask('/pay?x=1', 'a.example');
    for (const path of ['http://a.example/pay?x=1', 'HTTPS://u:p@A.example:443/pay?x=1']) {
      expect((await ask(path, 'b.example')).isReplay).toBe(true);
    }
    expect(refusal(await ask('http://b.example/pay?x=1', 'a.example'))).toBe('422 key-of-another-caller');
    expect(refusal(await ask('http://a.example/pay?x=2', 'a.example'))).toBe('422 key-reused');
    await ask('/?x=1', 'a.example', 'l');
    expect((await ask('http://a.example?x=1', 'a.example', 'l')).isReplay).toBe(true);
    expect((await ask('//a.example/pay?x=1', 'a.example')).isReplay).toBe(false);
    expect(orders.runs).toBe(3);
  });

  it('§3 an empty `Authorization` leaves it to the cookie', async () => {
    const orders = await shop({}, { express });
    const ask = (Cookie: string) => orders.send({ key: 'k', headers: { Authorization: '', Cookie } });
    await ask('a=1');
    expect(refusal(await ask('a=2'))).toBe('422 key-of-another-caller');
  });

  it('§3 `identity` says all about who asks; where it names nobody, the request does', async () => {
    const orders = await shop({ identity: (req) => req.headers['x-api-key'] as string | undefined }, { express });
    const ask = (apiKey: string | undefined, headers: Record<string, string>, key?: string) =>
      orders.send({
        ...ORDER,
        ...(key !== undefined && { key }),
        headers: { ...headers, ...(apiKey !== undefined && { 'X-Api-Key': apiKey }) },
      });
    await ask('ann', { Authorization: 'Bearer 1' }, 'k');
    expect((await ask('ann', { Authorization: 'Bearer 2', Host: 'b.example' }, 'k')).isReplay).toBe(true);
    expect(refusal(await ask('bob', { Authorization: 'Bearer 1' }, 'k'))).toBe('422 key-of-another-caller');
    expect(refusal(await ask(undefined, { Authorization: 'Bearer 1' }, 'k'))).toBe('422 key-of-another-caller');
    await ask('ann', {});
    expect((await ask('bob', {})).isReplay).toBe(false);
    for (const nobody of [undefined, '']) {
      await ask(nobody, { Authorization: 'Bearer 1' }, 'l');
      expect(refusal(await ask(nobody, { Authorization: 'Bearer 2' }, 'l'))).toBe('422 key-of-another-caller');
    }
  });

  it('§3 no caller can pass for one whom `identity` names', async () => {
    const orders = await shop({ identity: (req) => req.headers['x-api-key'] as string | undefined }, { express });
    await orders.send({ key: 'k', headers: { 'X-Api-Key': 'cookie' } });
    const posing = await orders.send({ key: 'k', headers: { Host: 'identity', Cookie: 'cookie' } });
    expect(refusal(posing)).toBe('422 key-of-another-caller');
  });

  it.each([Number.NaN, Promise.resolve('ann'), {}, true, '\ud800'])(
    '§3 an identity that keeps nobody apart is refused, and the handler does not run: %s',
    async (value) => {
      const errors: unknown[] = [];
      const orders = await shop({ identity: () => value as string }, { express, errors });
      expect((await orders.send({ key: 'k' })).status).toBe(500);
      expect(orders.runs).toBe(0);
      expect(errors).toEqual([
        expect.objectContaining({
          code: 'ERR_REPRISE_INVALID_ARGUMENT',
          message: expect.stringMatching(/identity\(req\) returned .*; allowed: a well-formed string/) as string,
        }),
      ]);
    },
  );

  it('§3 a scope that names somebody leaves `identity` unasked; an empty one does not', async () => {
    const identity = (req: object) => (req as { headers: Record<string, string> }).headers['x-api-key'];
    const orders = await shop({ scope: (req) => req.headers['x-tenant'] as string, identity }, { express });
    const ask = (tenant: string, apiKey: string) =>
      orders.send({ key: 'k', headers: { 'X-Tenant': tenant, 'X-Api-Key': apiKey } });
    await ask('a', '1');
    expect((await ask('a', '2')).isReplay).toBe(true);
    await ask('', '1');
    expect(refusal(await ask('', '2'))).toBe('422 key-of-another-caller');
  });
});

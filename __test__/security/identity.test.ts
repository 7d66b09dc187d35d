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

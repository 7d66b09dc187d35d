import { describe, expect, it } from 'vitest';
import type { IdempotencyStore, StoredResponse } from '../../ts/index.js';
import { expresses, type Sent } from '../helpers/server.js';
import { refusal, shop } from '../helpers/shop.js';

const ORDER: Sent = { path: '/orders?dry=0', key: 'k', body: { item: 'tea' } };

describe.each(expresses)('§2.3 which record, $name', ({ express }) => {
  it.each<[string, Sent]>([
    ['path', { ...ORDER, path: '/orders/?dry=0' }],
    ['path, by its letters', { ...ORDER, path: '/Orders?dry=0' }],
    ['path, by its escapes', { ...ORDER, path: '/%6frders?dry=0' }],
    ['method', { ...ORDER, method: 'PUT' }],
    ['key', { ...ORDER, key: 'l' }],
  ])('§2.3 another %s is another record', async (_what, other) => {
    const orders = await shop({}, { express });
    await orders.send(ORDER);
    expect((await orders.send(other)).isReplay).toBe(false);
    expect((await orders.send(other)).isReplay).toBe(true);
    expect(orders.runs).toBe(2);
  });

  it('§2.3 another scope is another record: a key belongs to whom the scope names', async () => {
    const orders = await shop({ scope: (req) => req.headers['x-tenant'] as string | undefined }, { express });
    const tenants = ['a', 'b', 'A', undefined];
    const send = (tenant: string | undefined) =>
      orders.send({ ...ORDER, ...(tenant !== undefined && { headers: { 'X-Tenant': tenant } }) });
    for (const tenant of tenants) expect((await send(tenant)).isReplay).toBe(false);
    for (const tenant of tenants) expect((await send(tenant)).isReplay).toBe(true);
    // An empty one names nobody: it is none.
    expect((await send('')).isReplay).toBe(true);
    expect(orders.runs).toBe(tenants.length);
  });

  it.each(['/orders', '/orders?', '/orders?dry=1', '/orders?dry=0&x', '/orders?DRY=0'])(
    '§2.3 the query is not in the lookup key, but in the fingerprint: %s is refused with 422',
    async (path) => {
      const orders = await shop({}, { express });
      await orders.send(ORDER);
      expect(refusal(await orders.send({ ...ORDER, path }))).toBe('422 key-reused');
      expect(orders.runs).toBe(1);
    },
  );

  it('§2.3 no two different tuples give the same key, wherever their parts are joined', async () => {
    const keys = new Set<string>();
    const store: IdempotencyStore = {
      get: (key): StoredResponse | null => {
        keys.add(key);
        return null;
      },
      set: () => undefined,
      delete: () => undefined,
    };
    const orders = await shop({ store, scope: (req) => req.headers['x-tenant'] as string }, { express });
    const tuples = [
      ['a', '/b:c', 'd'],
      ['a', '/b', 'c:d'],
      ['a:POST:/b', '/c', 'd'],
      ['a', '/b/c', 'd'],
      ['a', '/b', '/cd'],
      ['a', '/bc', 'd'],
      ['', '/a/b', 'c'],
      ['a|', '/b', 'c'],
      ['a', '/|b', 'c'],
    ] as const;
    for (const [tenant, path, key] of tuples) await orders.send({ path, key, headers: { 'X-Tenant': tenant } });
    expect(keys.size).toBe(tuples.length);
    for (const key of keys) expect(key).toMatch(/^[0-9a-f]{64}$/);
  });
});

import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { MapStore } from '../helpers/map-store.js';
import { shop } from '../helpers/shop.js';

const SECRETS = ['sesame-key', 'alice@example', 'bearer-of-alice', 'cookie-of-alice', 'tea-for-two', 'the-query'];

const REQUEST = {
  path: '/orders?the-query',
  key: 'sesame-key',
  headers: { Authorization: 'bearer-of-alice', Cookie: 'cookie-of-alice' },
  body: { item: 'tea-for-two' },
};

describe('§2.3 stores never see what leads back to the client', () => {
  it.each([
    ['completed', 201, undefined],
    ['not replayable', 201, 'x'.repeat(2000)],
    ['indeterminate', 500, 'perhaps'],
  ])('§2.3 no key, caller, scope or body in clear, in a record that is %s', async (_what, status, body) => {
    const store = new MapStore();
    const orders = await shop(
      { store, scope: () => 'alice@example', maxResponseBytes: 1000 },
      {
        handler: async (req, res) => {
          await req.idempotency?.commitPoint();
          res.status(status).send(body ?? 'done');
        },
      },
    );
    await orders.send(REQUEST);
    expect(store.records.size).toBe(1);
    const told = JSON.stringify([...store.records]).toLowerCase();
    for (const secret of SECRETS) {
      expect(told).not.toContain(secret);
      for (const encoding of ['base64', 'base64url', 'hex'] as const) {
        expect(told).not.toContain(Buffer.from(secret).toString(encoding).toLowerCase());
      }
    }
  });

  it('§2.3 nor in what is told of a store that failed', async () => {
    const told: string[] = [];
    const log = (...all: unknown[]) => told.push(inspect(all, { depth: 5 }));
    const store = new MapStore();
    store.before = () => {
      throw new Error('down');
    };
    const orders = await shop({
      store,
      scope: () => 'alice@example',
      onStoreError: (error, _req, phase) => {
        told.push(String(error), phase);
        return 'fail';
      },
      logger: { debug: log, info: log, warn: log, error: log },
    });
    told.push(JSON.stringify(await orders.send(REQUEST)));
    expect(told.join('\n')).toContain('down');
    for (const secret of SECRETS) expect(told.join('\n')).not.toContain(secret);
  });
});

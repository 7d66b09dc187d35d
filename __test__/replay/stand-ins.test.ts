import { EventEmitter } from 'node:events';
import type { Response } from 'express';
import { createRequest, createResponse } from 'node-mocks-http';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware, MemoryStore } from '../../ts/index.js';
import { MapStore } from '../helpers/map-store.js';

function slow(): MapStore {
  const store = new MapStore();
  store.before = () => new Promise((resolve) => setTimeout(resolve, 2));
  return store;
}

type Handler = (res: Response) => unknown;

const handlers: Record<string, Handler> = {
  json: (res) => res.status(201).json({ paid: true }),
  'write and end': (res) => {
    res.statusCode = 201;
    res.setHeader('X-A', '1');
    res.write('pa');
    res.end('id');
  },
  'an empty end': (res) => res.status(204).end(),
};

describe('§4.1 a stand-in for a response, as unit tests use', () => {
  const middleware = { MemoryStore: () => new MemoryStore(), 'a slow store': slow };

  describe.each(Object.entries(middleware))('with %s', (_store, makeStore) => {
    it.each(Object.entries(handlers))('node-mocks-http: %s', async (_name, handler) => {
      const guard = idempotencyMiddleware({ store: makeStore(), silence: ['WRN_REPRISE_STORE_NOT_ATOMIC'] });
      let runs = 0;
      const ask = async (guarded: boolean) => {
        const req = createRequest({
          method: 'POST',
          url: '/pay',
          headers: { 'idempotency-key': 'k' },
          body: {},
        });
        const res = createResponse({ eventEmitter: EventEmitter });
        const ended = new Promise((resolve) => res.on('end', resolve));
        if (guarded) {
          guard(req as never, res, (error) => {
            expect(error).toBeUndefined();
            runs++;
            handler(res);
          });
        } else {
          handler(res);
        }
        await ended;
        // The mock keeps text and bytes apart; a replay has bytes.
        const body = String(res._getData()) + res._getBuffer().toString();
        return { status: res.statusCode, body, replay: res.getHeader('x-idempotency-replay') };
      };
      const expected = await ask(false);
      expect(await ask(true)).toEqual(expected);
      expect(await ask(true)).toEqual({ ...expected, replay: 'true' });
      expect(runs).toBe(1);
    });

    it('an object with what the handler needs, and no more', async () => {
      const guard = idempotencyMiddleware({ store: makeStore(), silence: ['WRN_REPRISE_STORE_NOT_ATOMIC'] });
      const req = { method: 'POST', url: '/pay', headers: { 'idempotency-key': 'k' }, body: {} };
      const res = { statusCode: 200, getHeader: () => undefined, setHeader: () => undefined };
      const error = await new Promise((resolve) => {
        guard(req as never, res as never, resolve);
      });
      expect(error).toBeUndefined();
    });
  });
});

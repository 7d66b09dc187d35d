import cors from 'cors';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expresses, send } from '../helpers/server.js';
import { bytesOf, expectReplay, lasting, plain, servePair, sendTwice, type Middleware } from './exchange.js';
import { mountOn } from './express.js';

/** What a handler or a middleware does to the headers of its response. */
type Step =
  | readonly ['setHeader' | 'appendHeader', string, string | readonly string[]]
  | readonly ['removeHeader', string]
  | readonly ['writeHead', ...unknown[]];

function perform(res: object, steps: readonly Step[]): void {
  const methods = res as Record<string, (...args: unknown[]) => unknown>;
  // Copies, since Node appends to the list that it was given.
  for (const [name, ...args] of structuredClone(steps)) methods[name]?.(...args);
}

const name = fc.constantFrom('X-A', 'x-a', 'X-B', 'Link', 'Content-Type');
const value = fc.constantFrom('1', '2', '<a>; rel=b', 'a, b', '');
const values = fc.oneof(value, fc.array(value, { minLength: 1, maxLength: 3 }));
const setting: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constantFrom('setHeader' as const, 'appendHeader' as const), name, values),
  fc.tuple(fc.constant('removeHeader' as const), name),
);
const given = fc.oneof(
  fc.dictionary(name, values),
  fc.array(fc.tuple(name, value), { maxLength: 4 }).map((pairs) => pairs.flat()),
  fc.array(fc.tuple(name, value), { minLength: 1, maxLength: 4 }),
);
const writing: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constant('writeHead' as const), fc.constantFrom(200, 201)),
  fc.tuple(fc.constant('writeHead' as const), fc.constantFrom(200, 201), given),
  fc.tuple(fc.constant('writeHead' as const), fc.constantFrom(200, 201), fc.constantFrom('Fine', ''), given),
);

/** Values by name: of different names, the order means nothing (RFC 9110 §5.3). */
function byName(rawHeaders: readonly string[]): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const [name, value] of lasting(rawHeaders)) (found[name.toLowerCase()] ??= []).push(value);
  return found;
}

describe('§4.2 headers, whatever was set by whom and how', () => {
  it('reach the first client as without us, and its retry as the first', async () => {
    let outside: Step[] = [];
    let inside: Step[] = [];
    const middleware: Middleware = (_req, res, next) => {
      perform(res, outside);
      next();
    };
    const handler: Middleware = (_req, res) => {
      try {
        perform(res, inside);
      } catch {
        // Refused by Node; the answer goes on without.
      }
      res.end('body');
    };
    const { bare, guarded } = await servePair(plain, handler, { outside: () => [middleware] });
    const head = 'POST / HTTP/1.1\r\nConnection: close';
    let key = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(setting, { maxLength: 3 }),
        fc.array(setting, { maxLength: 4 }),
        fc.option(writing, { nil: undefined }),
        async (before, set, written) => {
          // One header stays, if any is set: that all were taken away again cannot be seen, and changes what Node does.
          outside = before.length + set.length === 0 ? [] : [['setHeader', 'X-Outer', 'yes'], ...before];
          inside = written ? [...set, written] : set;
          expect(await bytesOf(guarded, head)).toBe(await bytesOf(bare, head));
          const sent = { key: String(key++) };
          const first = await send(guarded, sent);
          const again = await send(guarded, sent);
          expect(again.isReplay).toBe(true);
          expect([again.status, again.statusMessage]).toEqual([first.status, first.statusMessage]);
          expect(byName(again.rawHeaders)).toEqual(byName(first.rawHeaders));
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe.each(expresses)('$name', ({ express }) => {
  const mount = mountOn(express);

  describe('§4.2 headers of one connection, one moment or one caller are not replayed', () => {
    it.each([
      ['Connection', 'close'],
      ['Keep-Alive', 'timeout=77'],
      ['TE', 'trailers'],
      ['Upgrade', 'h2c'],
      ['Date', 'Thu, 01 Jan 1970 00:00:00 GMT'],
      ['Age', '5'],
      ['Set-Cookie', 'session=secret'],
      ['WWW-Authenticate', 'Basic'],
      ['Proxy-Authenticate', 'Basic'],
      ['Proxy-Connection', 'close'],
      ['RateLimit', '"default";r=5'],
      ['RateLimit-Remaining', '5'],
      ['X-RateLimit-Limit', '5'],
    ])('%s', async (name, value) => {
      const handler: Middleware = (_req, res) => {
        res.setHeader(name, value);
        res.setHeader('X-Kept', 'yes');
        res.end('a');
      };
      const { guarded } = await servePair(mount, handler);
      const first = await send(guarded, { key: 'k' });
      expect([first.headers[name.toLowerCase()]].flat()).toEqual([value]);
      const again = await send(guarded, { key: 'k' });
      expectReplay(again, first, [name.toLowerCase()]);
      expect([again.headers[name.toLowerCase()]].flat()).not.toContain(value);
      expect(again.headers['x-kept']).toBe('yes');
    });

    it('Content-Length is made anew', async () => {
      const handler: Middleware = (_req, res) => {
        res.write('pieces ');
        res.end('of it');
      };
      const { first, again } = await sendTwice(await servePair(mount, handler));
      expect([first.headers['content-length'], again.headers['content-length']]).toEqual([undefined, '12']);
    });
  });

  describe('§4.2 headers of other middleware are its own, for each request', () => {
    it('one that differs from request to request', async () => {
      let request = 0;
      const outside = () => [
        ((_req, res, next) => {
          res.setHeader('X-Request-Id', String(request++));
          next();
        }) as Middleware,
      ];
      const { guarded } = await servePair(mount, (_req, res) => res.end('a'), { outside });
      const first = await send(guarded, { key: 'k' });
      const again = await send(guarded, { key: 'k' });
      expect([first.headers['x-request-id'], again.headers['x-request-id']]).toEqual(['0', '1']);
      expectReplay(again, first, ['x-request-id']);
    });

    it('cors: each origin gets its own', async () => {
      const outside = () => [cors({ origin: true, credentials: true }) as Middleware];
      const handler: Middleware = (_req, res) => {
        res.setHeader('Vary', 'Accept-Language');
        res.end('a');
      };
      const { guarded } = await servePair(mount, handler, { outside });
      const first = await send(guarded, { key: 'k', headers: { Origin: 'https://a.example' } });
      const again = await send(guarded, { key: 'k', headers: { Origin: 'https://b.example' } });
      expect(first.headers['access-control-allow-origin']).toBe('https://a.example');
      expect(again.headers['access-control-allow-origin']).toBe('https://b.example');
    });

    it('§5.1 cors: our marks are exposed, beside what the application exposes', async () => {
      const outside = (exposedHeaders?: string[]) => () => [
        cors({ ...(exposedHeaders && { exposedHeaders }) }) as Middleware,
      ];
      const handler: Middleware = (_req, res) => res.end('a');
      const bare = await servePair(mount, handler);
      expect((await twice(bare))['access-control-expose-headers']).toBeUndefined();
      const open = await servePair(mount, handler, { outside: outside() });
      expect((await twice(open))['access-control-expose-headers']).toBe('X-Idempotency-Replay, X-Original-Timestamp');
      const exposing = await servePair(mount, handler, { outside: outside(['X-A', 'x-original-timestamp']) });
      expect((await twice(exposing))['access-control-expose-headers']).toBe(
        'X-A,x-original-timestamp, X-Idempotency-Replay',
      );
      const everything = await servePair(mount, handler, { outside: outside(['*']) });
      expect((await twice(everything))['access-control-expose-headers']).toBe('*');

      async function twice(pair: Awaited<ReturnType<typeof servePair>>) {
        await send(pair.guarded, { key: 'k' });
        const again = await send(pair.guarded, { key: 'k' });
        expect(again.isReplay).toBe(true);
        return again.headers;
      }
    });

    it('Vary: what was said then and what is said now', async () => {
      let outer = ['Origin', 'Accept'];
      const outside = () => [
        ((_req, res, next) => {
          res.setHeader('Vary', outer.join(', '));
          next();
        }) as Middleware,
      ];
      const handler: Middleware = (_req, res) => {
        res.setHeader('Vary', `${String(res.getHeader('Vary'))}, X-Own`);
        res.end('a');
      };
      const { guarded } = await servePair(mount, handler, { outside });
      await send(guarded, { key: 'k' });
      outer = ['Accept-Encoding', 'accept'];
      const again = await send(guarded, { key: 'k' });
      expect(again.headers.vary).toBe('Accept-Encoding, accept, Origin, X-Own');
    });

    it('one that the handler took away is taken away again', async () => {
      const outside = () => [
        ((_req, res, next) => {
          res.setHeader('Content-Security-Policy', "default-src 'none'");
          next();
        }) as Middleware,
      ];
      const handler: Middleware = (_req, res) => {
        res.removeHeader('content-security-policy');
        res.end('a');
      };
      const { again } = await sendTwice(await servePair(mount, handler, { outside }));
      expect(again.headers).not.toHaveProperty('content-security-policy');
    });
  });

  describe('§4.2 cookies (replaySetCookie)', () => {
    const outside = () => {
      let visits = 0;
      return [
        ((_req, res, next) => {
          res.setHeader('Set-Cookie', `visit=${visits++}`);
          next();
        }) as Middleware,
      ];
    };
    const handler: Middleware = (_req, res) => {
      res.appendHeader('Set-Cookie', ['a=1', 'b=2']);
      res.end('a');
    };

    it('of the handler are dropped, of other middleware are theirs', async () => {
      const { guarded } = await servePair(mount, handler, { outside });
      expect((await send(guarded, { key: 'k' })).headers['set-cookie']).toEqual(['visit=0', 'a=1', 'b=2']);
      expect((await send(guarded, { key: 'k' })).headers['set-cookie']).toEqual(['visit=1']);
    });

    it('of the handler are replayed where that is asked for', async () => {
      const { guarded } = await servePair(mount, handler, { outside, options: { replaySetCookie: true } });
      expect((await send(guarded, { key: 'k' })).headers['set-cookie']).toEqual(['visit=0', 'a=1', 'b=2']);
      expect((await send(guarded, { key: 'k' })).headers['set-cookie']).toEqual(['visit=1', 'a=1', 'b=2']);
    });
  });
});

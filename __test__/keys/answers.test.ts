import { describe, expect, it, onTestFinished } from 'vitest';
import { type IdempotencyOptions, type Problem } from '../../ts/index.js';
import { MapStore } from '../helpers/map-store.js';
import { expresses, gate, type Sent } from '../helpers/server.js';
import { membersOf, refusal, shop, type Handler, type Shop } from '../helpers/shop.js';
import { until } from '../helpers/until.js';

const FIRST: Sent = { key: 'k', body: { item: 'tea' }, headers: { Authorization: 'Bearer alice' } };
const OTHER_BODY: Sent = { ...FIRST, body: { item: 'coffee' } };
const OTHER_CALLER: Sent = { ...FIRST, headers: { Authorization: 'Bearer bob' } };

/** Ends every first request of `/slow` at the gate, and the others as their path says. */
const handlerOf =
  (slow: Promise<unknown>): Handler =>
  async (req, res) => {
    if (req.url === '/slow') await slow;
    if (req.url === '/large') return res.send('x'.repeat(2000));
    if (req.url === '/unknown') {
      await req.idempotency?.commitPoint();
      return res.status(500).send('perhaps');
    }
    return res.set('X-Of-The-First', 'secret').status(201).json({ secret: 'of the first' });
  };

describe.each(expresses)('§3 the answer, $name', ({ express }) => {
  /** A shop in which `path` has a record of the state that its name says. */
  async function shopWith(path: string, options: IdempotencyOptions = {}): Promise<Shop> {
    const slow = gate();
    const orders = await shop({ maxResponseBytes: 1000, ...options }, { express, handler: handlerOf(slow.opened) });
    const first = orders.send({ ...FIRST, path });
    if (path === '/slow') await until(() => orders.runs === 1);
    else await first;
    onTestFinished(() => {
      slow.open();
    });
    return orders;
  }

  const states = ['/slow', '/done', '/large', '/unknown'];

  it.each([
    ['/done', '201 undefined'],
    ['/slow', '409 in-progress'],
    ['/large', '409 not-replayable'],
    ['/unknown', '409 indeterminate'],
  ])('§3 the same request again, after %s: %s', async (path, answer) => {
    const orders = await shopWith(path);
    expect(refusal(await orders.send({ ...FIRST, path }))).toBe(answer);
    expect(orders.runs).toBe(1);
  });

  it.each(states)('§3 422 for another fingerprint comes before all that a record may be: %s', async (path) => {
    const orders = await shopWith(path);
    for (const other of [OTHER_BODY, { ...FIRST, path: `${path}?x` }]) {
      expect(refusal(await orders.send({ ...other, path: other.path ?? path }))).toBe('422 key-reused');
    }
    expect(orders.runs).toBe(1);
  });

  it.each(states)('§3 422 for another identity comes before all that a record may be: %s', async (path) => {
    const orders = await shopWith(path);
    // Whatever somebody else asks for: nothing is to be found out by trying.
    for (const { body } of [OTHER_CALLER, OTHER_BODY]) {
      const answer = await orders.send({ ...OTHER_CALLER, body, path });
      expect(refusal(answer)).toBe('422 key-of-another-caller');
      expect(answer.text).not.toMatch(/new key/i);
    }
    expect(orders.runs).toBe(1);
  });

  it.each(states)('§3 400 for a bad key comes before all: %s', async (path) => {
    const orders = await shopWith(path);
    expect(refusal(await orders.send({ ...OTHER_BODY, path, key: 'k k' }))).toBe('400 invalid-key');
  });

  it('§3 400 for a bad key comes before a store that is down', async () => {
    const store = new MapStore();
    store.before = () => {
      throw new Error('down');
    };
    const orders = await shop({ store }, { express });
    expect(refusal(await orders.send({ key: '' }))).toBe('400 invalid-key');
    expect(refusal(await orders.send({ key: 'k' }))).toBe('503 store-unavailable');
    expect(orders.runs).toBe(0);
  });

  it.each([...states, '/bad'])('§3 nothing of the first answer is shown to another: %s', async (path) => {
    const orders = await shopWith(path);
    for (const other of [OTHER_BODY, OTHER_CALLER]) {
      const answer = await orders.send({ ...other, path });
      const told = JSON.stringify([answer.text, answer.rawHeaders, answer.statusMessage]);
      expect(told).not.toMatch(/secret|of the first|tea|coffee|alice|bob|perhaps|X-Of|X-Original/i);
    }
  });

  it.each([
    ['/slow', 409, 'in-progress'],
    ['/large', 409, 'not-replayable'],
    ['/unknown', 409, 'indeterminate'],
    ['/bad', 400, 'invalid-key'],
  ])('§3 problems are application/problem+json by RFC 9457, never cached: %s', async (path, status, code) => {
    const orders = await shopWith(path);
    const again = () => orders.send({ ...FIRST, path, ...(path === '/bad' && { key: '"' }) });
    const answer = await again();
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject({ 'content-type': 'application/problem+json', 'cache-control': 'no-store' });
    expect(answer.headers['content-length']).toBe(String(answer.body.length));
    const problem = membersOf(answer);
    expect(Object.keys(problem).sort()).toEqual(['code', 'detail', 'instance', 'status', 'title', 'type']);
    expect(problem).toMatchObject({ type: `urn:reprise:problem:${code}`, status, code });
    expect(problem['title']).toMatch(/\w+ \w+/);
    expect(problem['detail']).toMatch(/\w+ \w+/);
    const other = membersOf(await again());
    expect(other).toEqual({ ...problem, instance: other['instance'] });
    expect(other['instance']).not.toBe(problem['instance']);
  });

  it('§3 `Retry-After` is 1 where less than a second is left', async () => {
    const orders = await shopWith('/slow', { leaseMs: 900 });
    const { headers } = await orders.send({ ...FIRST, path: '/slow' });
    expect(headers['retry-after']).toBe('1');
  });

  it('§3 a request that can never succeed is not told to come again', async () => {
    const orders = await shopWith('/large');
    for (const sent of [{ ...FIRST, path: '/large' }, OTHER_BODY, { key: '' }]) {
      expect((await orders.send(sent)).headers['retry-after']).toBeUndefined();
    }
  });

  it('§3 where CORS is at work, the page may read `Retry-After`', async () => {
    const slow = gate();
    const orders = await shop(
      {},
      {
        express,
        handler: handlerOf(slow.opened),
        before: [
          (req, res, next) => {
            if (req.headers.origin) res.set('Access-Control-Allow-Origin', '*');
            next();
          },
        ],
      },
    );
    void orders.send({ key: 'k', path: '/slow' });
    await until(() => orders.runs === 1);
    const read = async (headers: Record<string, string>) => {
      const answer = await orders.send({ key: 'k', path: '/slow', headers });
      return answer.headers['access-control-expose-headers'];
    };
    expect(await read({ Origin: 'https://shop.example' })).toBe('Retry-After');
    expect(await read({})).toBeUndefined();
    slow.open();
  });

  it('§3 `onProblem` answers in its own way', async () => {
    const seen: Problem[] = [];
    const orders = await shopWith('/slow', {
      onProblem: (problem, _req, res) => {
        seen.push(problem);
        res.statusCode = problem.status;
        res.end(`sorry: ${problem.code}`);
      },
    });
    const answer = await orders.send({ ...FIRST, path: '/slow' });
    expect([answer.status, answer.text]).toEqual([409, 'sorry: in-progress']);
    expect((await orders.send({ key: '' })).text).toBe('sorry: invalid-key');
    expect(seen.map(({ code, status }) => [code, status])).toEqual([
      ['in-progress', 409],
      ['invalid-key', 400],
    ]);
    expect(seen[0]?.retryAfter).toBeGreaterThanOrEqual(1);
  });

  it('§3 `onProblem` may hand an error on, or throw it', async () => {
    const teapot = (detail: string) => Object.assign(new Error(detail), { status: 418 });
    const handsOn = await shop({ onProblem: (problem, _q, _s, next) => next(teapot(problem.detail)) }, { express });
    expect((await handsOn.send({ key: '' })).status).toBe(418);
    const throws = await shop(
      {
        onProblem: (problem) => {
          throw teapot(problem.detail);
        },
      },
      { express },
    );
    expect((await throws.send({ key: '' })).status).toBe(418);
  });
});

import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createChaos } from '../../ts/index.js';
import type { ChaosMatch, ChaosOptions, ChaosRule } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve } from './harness.js';
import type { Ask } from './harness.js';
import { expectedStatus } from './reference.js';

const start = (options: ChaosOptions) => serve(onExpress5(chaosFor(options).middleware(), countingHandler().handler));
const rule = (fields: Partial<ChaosRule>): ChaosRule => ({ name: 'one', fault: { kind: 'error' }, ...fields });

async function hits(options: ChaosOptions, requests: readonly Ask[]): Promise<boolean[]> {
  const port = await start(options);
  const found: boolean[] = [];
  for (const request of requests) found.push((await ask(port, request)).headers['x-chaos-fault'] === 'error');
  return found;
}

describe('match.headers', () => {
  const matching = (headers: ChaosMatch['headers'], requests: Record<string, string>[]) =>
    hits(
      { rules: [rule({ match: { headers } })] },
      requests.map((sent) => ({ headers: sent })),
    );

  it('a text is the whole value, a pattern finds something in it, all must hold', async () => {
    const expected = { 'X-Tenant': 'a', 'user-agent': /^curl\// };
    expect(
      await matching(expected, [
        { 'x-tenant': 'a', 'User-Agent': 'curl/8' },
        { 'x-tenant': 'ab', 'User-Agent': 'curl/8' },
        { 'x-tenant': 'a', 'User-Agent': 'not curl/8' },
        { 'User-Agent': 'curl/8' },
      ]),
    ).toEqual([true, false, false, false]);
  });

  it('a pattern with g or y matches every time', async () => {
    const four = Array.from({ length: 4 }, () => ({ 'x-tenant': 'a' }));
    expect(await matching({ 'x-tenant': /a/g }, four)).toEqual([true, true, true, true]);
    expect(await matching({ 'x-tenant': /a/y }, four)).toEqual([true, true, true, true]);
  });
});

describe('patterns for paths', () => {
  const paths = ['/orders/7', '/orders/seven', '/', '/orders/7?x=1'].map((path) => ({ path }));

  it('in match.paths, beside texts', async () => {
    const match = { paths: [/^\/orders\/\d+$/g, '/free'] };
    expect(await hits({ rules: [rule({ match })] }, [...paths, { path: '/free/7' }])).toEqual([
      true,
      false,
      false,
      true,
      true,
    ]);
  });

  it('in excludedPaths', async () => {
    const excludedPaths = [/^\/$/, /seven/y];
    expect(await hits({ failureProbability: 1, excludedPaths }, [...paths, ...paths])).toEqual([
      ...[true, false, false, true],
      ...[true, false, false, true],
    ]);
  });
});

describe('askedBy: a caller may ask for a fault', () => {
  const asking = (values: readonly (string | undefined)[], probability = 1) =>
    hits(
      { rules: [rule({ askedBy: 'X-Chaos-Fail', probability })] },
      values.map((value, n) => ({
        path: `/${n}`,
        headers: value === undefined ? {} : { 'x-chaos-fail': value },
      })),
    );

  it('only with a number from 0 to 1, and only where a rule lets it', async () => {
    const values = ['1', '1.0', undefined, '0', '', 'yes', '100', '-1', 'NaN', '1e9', '0x1', '1.5'];
    expect(await asking(values)).toEqual(values.map((value) => value === '1' || value === '1.0'));
    expect(await hits({ rules: [rule({ probability: 0 })] }, [{ headers: { 'x-chaos-fail': '1' } }])).toEqual([false]);
  });

  it('never for more than the rule allows: whoever asks for 1 gets what its probability is', async () => {
    const one = Array.from({ length: 60 }, () => '1');
    const capped = await asking(one, 0.3);
    const unasked = await hits(
      { rules: [rule({ probability: 0.3 })] },
      one.map((_, n) => ({ path: `/${n}` })),
    );
    expect(capped).toEqual(unasked);
    expect(capped).toContain(true);
    expect(capped).toContain(false);
    // Less is possible, and hits some of the same.
    const less = await asking(
      one.map(() => '.1'),
      0.3,
    );
    expect(less.filter((hit, n) => hit && !capped[n])).toEqual([]);
    expect(less.filter(Boolean).length).toBeLessThan(capped.filter(Boolean).length);
    expect(
      await asking(
        one.map(() => '1'),
        0,
      ),
    ).not.toContain(true);
  });
});

describe('requestKey', () => {
  const byTenant = (req: IncomingMessage) => req.headers['x-tenant'] as string | undefined;

  it('is what a request is known by; undefined is the default', async () => {
    const port = await start({ failureProbability: 0.5, requestKey: byTenant });
    for (let attempt = 0; attempt < 10; attempt++) {
      for (const tenant of ['a', 'b']) {
        const { status } = await ask(port, { path: `/${attempt}`, headers: { 'x-tenant': tenant } });
        expect(status).toBe(expectedStatus('42', `own:${tenant}`, attempt, 0.5));
      }
      expect((await ask(port, { path: '/x' })).status).toBe(expectedStatus('42', 'GET /x', attempt, 0.5));
    }
  });

  it('by default the nth request for a method and a path is its nth attempt', async () => {
    const first = await hits(
      { rules: [rule({ attempts: [2] })] },
      ['/a', '/a', '/b', '/a', '/b'].map((path) => ({ path })),
    );
    expect(first).toEqual([false, true, false, false, true]);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('no tenant');
      },
    ],
    ['returns no text', () => 7],
  ])('one that %s is an error of its request', async (_, requestKey) => {
    const port = await start({ failureProbability: 1, requestKey: requestKey as () => string });
    const answer = await ask(port);
    expect([answer.status, answer.headers['x-chaos-fault']]).toEqual([500, undefined]);
  });
});

describe('refused at start', () => {
  it.each<[object, string]>([
    [{ rules: [rule({ match: { headers: { 'x-a': 1 } as never } })] }, 'option "headers" is an object; allowed'],
    [{ rules: [rule({ match: { headers: [] as never } })] }, 'option "headers" is []'],
    [{ rules: [rule({ askedBy: '' })] }, 'option "askedBy" is ""'],
    [{ rules: [rule({ askedBy: 'a b' })] }, 'option "askedBy" is "a b"'],
    [{ rules: [rule({ match: { paths: [1 as never] } })] }, 'option "paths" is [1]'],
    [{ excludedPaths: [1] }, 'option "excludedPaths" is [1]'],
    [{ requestKey: 'x' }, 'option "requestKey" is "x"'],
    [{ journalSize: 32_769 }, 'option "journalSize" is 32769'],
  ])('%j', (options, message) => {
    expect(() => createChaos(options)).toThrow(message);
  });
});

it('a caller without a header never meets a rule that waits to be asked, whatever else is sent', () => {
  const chaos = chaosFor({ rules: [rule({ askedBy: 'x-ask' })] });
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.string()), fc.string(), (headers, method) => {
      const req = { headers: { ...headers, 'x-ask': undefined }, method, url: '/', socket: {} };
      expect(chaos.explain(req as unknown as IncomingMessage).fires).toEqual([]);
    }),
    { numRuns: 50 },
  );
});

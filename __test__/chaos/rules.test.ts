import { describe, expect, it } from 'vitest';
import { createChaos } from '../../ts/index.js';
import type { ChaosRule } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve } from './harness.js';

const error: ChaosRule['fault'] = { kind: 'error', statuses: [503] };

async function statuses(rules: ChaosRule[], requests: Parameters<typeof ask>[1][]): Promise<number[]> {
  const port = await serve(onExpress5(chaosFor({ rules }).middleware(), countingHandler().handler));
  const found: number[] = [];
  for (const request of requests) found.push((await ask(port, request)).status);
  return found;
}

describe('a rule', () => {
  it('is for the paths, methods and conditions that it matches', async () => {
    const where = ({ headers }: { headers: Record<string, unknown> }) => headers['x-tenant'] === 'a';
    const match = { paths: ['/orders'], methods: ['POST'], where };
    const headers = { 'x-tenant': 'a' };
    expect(
      await statuses(
        [{ name: 'one', fault: error, match }],
        [
          { method: 'POST', path: '/orders/7', headers },
          { method: 'GET', path: '/orders', headers },
          { method: 'POST', path: '/ordersx', headers },
          { method: 'POST', path: '/orders' },
        ],
      ),
    ).toEqual([503, 200, 200, 200]);
  });

  it('fails the attempts that it names, of each key by itself', async () => {
    const keys = ['a', 'b', 'a', 'a', 'b', 'b'].map((key) => ({ method: 'POST', key }));
    expect(await statuses([{ name: 'one', fault: error, attempts: [1, 2] }], keys)).toEqual([
      503, 503, 503, 200, 503, 200,
    ]);
  });

  it('answers with statuses in the ratio of their weights', async () => {
    const fault: ChaosRule['fault'] = { kind: 'error', statuses: { 418: 1, 503: 0 } };
    expect(await statuses([{ name: 'one', fault }], [{}, { path: '/b' }])).toEqual([418, 418]);
  });

  it('ends when it was applied `max` times', async () => {
    expect(await statuses([{ name: 'one', fault: error, max: 1 }], [{}, {}, {}])).toEqual([503, 200, 200]);
  });
});

describe('refused at start', () => {
  const rule = (fields: object): object => ({ name: 'one', fault: { kind: 'error' }, ...fields });
  it.each<[unknown[], string]>([
    [[{ fault: error }], 'rules[0]: option "name" is undefined'],
    [[rule({ name: '' })], 'rules[0]: option "name" is ""'],
    [[rule({}), rule({})], 'rules[1]: option "name" is "one"; allowed: a name that no other rule has'],
    [[rule({ probability: 2 })], 'rules[0]: option "probability" is 2'],
    [[rule({ attempts: [0] })], 'option "attempts" is [0]'],
    [[rule({ every: 0 })], 'option "every" is 0'],
    [[rule({ propability: 1 })], 'unknown option "propability"; did you mean "probability"?'],
    [[rule({ fault: { kind: 'explode' } })], 'fault: option "kind" is "explode"; allowed: \'error\' | \'latency\''],
    [[rule({ fault: { kind: 'reset', ending: 'reset' } })], 'fault: unknown option "ending"'],
    [[rule({ fault: { kind: 'error', statuses: [99] } })], 'option "statuses" is [99]'],
    [[rule({ fault: { kind: 'latency' } })], 'option "delay" is undefined'],
    [[rule({ fault: { kind: 'error', headers: { 'Content-Length': '1' } } })], 'option "headers" is an object'],
    [[rule({ fault: { kind: 'error', headers: { 'X-A': 'a\n' } } })], 'option "headers" is an object'],
    [[rule({ fault: { kind: 'error', retryAfter: 1.5 } })], 'option "retryAfter" is 1.5'],
    [[rule({ fault: { kind: 'error', retryAfter: {} } })], 'fault.retryAfter: option "dateInSeconds" is undefined'],
    [
      [rule({ fault: { kind: 'error', when: 'during' } })],
      'option "when" is "during"; allowed: \'before\' | \'after\'',
    ],
    [[rule({ fault: { kind: 'truncate', at: { share: 1 } } })], 'at: option "share" is 1; allowed: a number from 0 to'],
    [[rule({ fault: { kind: 'stall', at: {} } })], 'at: option "bytes" is undefined; allowed: exactly one of "bytes"'],
    [[rule({ fault: { kind: 'stall', at: { bytes: 1, share: 0 } } })], 'exactly one of "bytes", "share"'],
    [[rule({ fault: { kind: 'drip', everyMs: 0 } })], 'option "everyMs" is 0'],
    [[rule({ fault: { kind: 'malformed', what: 'body' } })], 'option "what" is "body"'],
    [[rule({ fault: { kind: 'sse-cut', where: 'before' } })], 'option "where" is "before"'],
    [[rule({ fault: { kind: 'sse-stall', event: 0 } })], 'option "event" is 0'],
    [[rule({ fault: { kind: 'latency', delay: { law: 'uniform', minMs: 5, maxMs: 4 } } })], 'option "minMs" is 5'],
    [[rule({ fault: { kind: 'latency', delay: { law: 'pareto', minMs: 5 } } })], 'option "alpha" is undefined'],
    [[rule({ match: { paths: ['orders'] } })], 'match: option "paths" is ["orders"]'],
    [[rule({ window: { forMs: 10, everyMs: 5 } })], 'option "everyMs" is 5; allowed: at least forMs'],
    [[rule({ probability: 0.7 }), rule({ name: 'two', probability: 0.7 })], 'those of "one", "two" add up to 1.4'],
  ])('%j', (rules, message) => {
    expect(() => createChaos({ rules: rules as ChaosRule[], seed: 1 })).toThrow(message);
  });

  it('rules beside the probabilities', () => {
    expect(() => createChaos({ rules: [], failureProbability: 0.5, seed: 1 })).toThrow('nothing beside "rules"');
  });

  it('not rules that cannot meet, nor those that are independent', () => {
    const attempts = [rule({ attempts: [1] }), rule({ name: 'two', attempts: [2] })] as ChaosRule[];
    createChaos({ rules: attempts, seed: 1 }).close();
    const both = [rule({}), rule({ name: 'two' })] as ChaosRule[];
    createChaos({ rules: both, selection: 'independent', seed: 1 }).close();
  });
});

it('every law of delays can be armed', () => {
  const delays = [
    { law: 'uniform', minMs: 5, maxMs: 5 },
    { law: 'normal', meanMs: 100, deviationMs: 20 },
    { law: 'lognormal', medianMs: 100, sigma: 0.5, maxMs: 5_000 },
    { law: 'pareto', minMs: 10, alpha: 1.5 },
    { law: 'percentiles', points: [[0, 5], [0.99, 200], [1, 3_000]] }, // prettier-ignore
  ] as const;
  for (const delay of delays) {
    const chaos = createChaos({ rules: [{ name: 'slow', fault: { kind: 'latency', delay } }], seed: 1 });
    expect(chaos.armed).toBe(true);
    chaos.close();
  }
});

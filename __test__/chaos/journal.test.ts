import { once } from 'node:events';
import http from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it, vi, onTestFinished } from 'vitest';
import type { Chaos, ChaosJournalData, ChaosOptions, ChaosRule } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, until } from './harness.js';
import type { Ask } from './harness.js';

const start = (chaos: Chaos) => serve(onExpress5(chaos.middleware(), countingHandler().handler));

const rules: ChaosRule[] = [
  { name: 'fails', fault: { kind: 'error' }, probability: 0.4 },
  { name: 'slow', fault: { kind: 'latency', delay: { law: 'uniform', minMs: 1, maxMs: 3 } }, probability: 0.4 },
  { name: 'cut', fault: { kind: 'hangup' }, probability: 0.1 },
];
const mixed: ChaosOptions = { rules, selection: 'independent', seed: 'a run' };

/** What happened to each request, in this order. */
async function run(port: number, requests: readonly Ask[]): Promise<(number | string)[]> {
  const found: (number | string)[] = [];
  for (const request of requests) {
    const outcome = await ask(port, request).catch((error: unknown) => error as Error);
    found.push(outcome instanceof Error ? outcome.message : outcome.status);
  }
  return found;
}

const requests: Ask[] = Array.from({ length: 60 }, (_, n) => ({
  method: 'POST',
  path: '/orders',
  key: `order-${n % 20}`,
}));

/** What is the same in two runs that did the same. */
const what = ({ entries }: ChaosJournalData) =>
  entries.map(({ request, attempt, faults }) => ({ request, attempt, faults }));

describe('journal()', () => {
  it('has every request that was decided about, what was drawn for it, and whether it was done', async () => {
    const chaos = chaosFor({ rules: [{ name: 'one', fault: { kind: 'error', statuses: [503] }, attempts: [2] }] });
    const port = await start(chaos);
    await run(port, [{ key: 'a' }, { key: 'a' }, { path: '/api/health' }]);
    const { version, seed, dropped, entries } = chaos.journal();
    expect({ version, seed, dropped }).toEqual({ version: 1, seed: '42', dropped: 0 });
    expect(entries).toEqual([
      { number: 0, elapsedMs: expect.any(Number) as number, request: entries[1]?.request, attempt: 1, faults: [] },
      {
        number: 1,
        elapsedMs: expect.any(Number) as number,
        request: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
        attempt: 2,
        faults: [{ rule: 'one', status: 503, done: true }],
      },
    ]);
  });

  it('has no key of a client in it', async () => {
    const chaos = chaosFor({ failureProbability: 1 });
    await run(await start(chaos), [{ key: 'secret-key', path: '/secret-path' }]);
    expect(JSON.stringify(chaos.journal())).not.toMatch(/secret/);
  });

  it('what was decided and not done is so: the client left while it was held', async () => {
    const slow: ChaosOptions = { latencyProbability: 1, latencyRange: [3_600_000, 3_600_000], failureProbability: 1 };
    const chaos = chaosFor(slow);
    const port = await start(chaos);
    const request = http.get({ port, host: '127.0.0.1', agent: false });
    request.on('error', () => undefined);
    await until(() => chaos.status().activeFaults === 1);
    request.destroy();
    await until(() => chaos.status().activeFaults === 0);
    expect(chaos.journal().entries[0]?.faults).toMatchObject([
      { rule: 'latency', ms: 3_600_000, done: true },
      { rule: 'failure', done: false },
    ]);
  });

  it('keeps the last `journalSize` and counts the others; 0 keeps none', async () => {
    const chaos = chaosFor({ failureProbability: 1, journalSize: 3 });
    const port = await start(chaos);
    await run(port, requests.slice(0, 10));
    const numbers = () => chaos.journal().entries.map(({ number }) => number);
    expect([numbers(), chaos.journal().dropped]).toEqual([[7, 8, 9], 7]);
    chaos.update({ journalSize: 1 });
    expect(numbers()).toEqual([9]);
    chaos.update({ journalSize: 0 });
    await run(port, requests.slice(0, 1));
    expect(numbers()).toEqual([]);
    chaos.reset();
    expect(chaos.journal()).toMatchObject({ dropped: 0, entries: [] });
  });

  it('another seed begins another one', async () => {
    const chaos = chaosFor({ failureProbability: 1 });
    const port = await start(chaos);
    await run(port, requests.slice(0, 2));
    chaos.update({ failureProbability: 0.5 });
    expect(chaos.journal().entries).toHaveLength(2);
    chaos.update({ seed: 43 });
    expect(chaos.journal()).toMatchObject({ seed: '43', entries: [] });
  });

  it('is JSON, and a stream of lines', async () => {
    const chaos = chaosFor(mixed);
    await run(await start(chaos), requests.slice(0, 5));
    const journal = chaos.journal();
    expect(JSON.parse(JSON.stringify(journal))).toEqual(journal.toJSON());
    const lines = (await text(Readable.from(journal.lines()))).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      { version: 1, seed: 'a run', dropped: 0 },
      ...journal.entries,
    ]);
  });
});

describe('replay(journal)', () => {
  const record = async () => {
    const chaos = chaosFor(mixed);
    const outcomes = await run(await start(chaos), requests);
    expect(new Set(outcomes).size).toBeGreaterThan(3);
    return { journal: chaos.journal(), outcomes };
  };
  /** Rules of the same names that would do nothing by themselves. */
  const silent: ChaosOptions = {
    rules: rules.map((rule) => ({ ...rule, probability: 0, match: { paths: ['/elsewhere'] } })),
    selection: 'independent',
    seed: 'another one',
  };

  it.each<[string, (journal: ChaosJournalData & { lines: () => Iterable<string> }) => ChaosJournalData | string]>([
    ['a journal', (journal) => journal],
    ['its JSON', (journal) => JSON.stringify(journal)],
    ['its NDJSON', (journal) => [...journal.lines()].join('')],
  ])('of %s forces exactly its faults, whatever the rates are', async (_, form) => {
    const { journal, outcomes } = await record();
    const chaos = chaosFor(silent);
    const port = await start(chaos);
    expect(new Set(await run(port, requests))).toEqual(new Set([200]));
    const replay = chaos.replay(form(journal));
    expect(chaos.seed).toBe('a run');
    expect(await run(port, requests)).toEqual(outcomes);
    expect(what(chaos.journal())).toEqual(what(journal));
    expect(replay.end()).toEqual({ recorded: 60, replayed: 60, missing: 0, unexpected: 0 });
    expect(new Set(await run(port, requests))).toEqual(new Set([200]));
  });

  it('in another order, each request meets its own', async () => {
    const { journal, outcomes } = await record();
    const chaos = chaosFor(silent);
    const port = await start(chaos);
    const replay = chaos.replay(journal);
    // The attempts of a key keep their order; the keys do not.
    const order = requests.map((_, place) => place).sort((a, b) => (b % 20) - (a % 20) || a - b);
    const found = await run(
      port,
      order.map((place) => requests[place] ?? {}),
    );
    expect(found).toEqual(order.map((place) => outcomes[place]));
    expect(replay.report()).toMatchObject({ missing: 0, unexpected: 0 });
  });

  it('says so, once and at the end, where the requests are others', async () => {
    const { journal } = await record();
    const chaos = chaosFor({ ...mixed, rules: rules.map((rule) => ({ ...rule, probability: 1 })) });
    const port = await start(chaos);
    const replay = chaos.replay(journal);
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => {
      warned.mockRestore();
    });
    await run(port, requests.slice(0, 20));
    expect(warned).not.toHaveBeenCalled();
    expect(await run(port, [{ path: '/new' }, { path: '/newer' }])).toEqual([200, 200]);
    expect(warned.mock.calls.map(([message]) => message)).toEqual([
      'the replay of a chaos journal diverged: GET /new is the first request that was not recorded; nothing is injected into it',
    ]);
    const report = { recorded: 60, replayed: 20, missing: 40, unexpected: 2 };
    expect(replay.report()).toEqual(report);
    chaos.update({ rules });
    expect(warned.mock.calls.at(-1)).toEqual([
      'the replay of a chaos journal diverged: 40 of 60 recorded requests did not come, and 2 came that were not recorded',
      { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_REPLAY_DIVERGED' },
    ]);
    expect([replay.end(), replay.report()]).toEqual([report, report]);
    expect(warned).toHaveBeenCalledTimes(2);
  });

  it.each<[string, (journal: ChaosJournalData) => unknown, string]>([
    ['no journal', () => ({}), 'argument "journal" is an object'],
    ['a text that is none', () => 'x', 'argument "journal" is "x"'],
    ['another version', (journal) => ({ ...journal, version: 2 }), 'argument "journal"'],
    [
      'a rule that is not here',
      (journal) => renamed(journal, 'other'),
      'faults[].rule" is "other"; allowed: one of the',
    ],
    [
      'a fault of another kind',
      (journal) => renamed(journal, 'slow', 'fails'),
      'faults of the kind that their rules do',
    ],
    ['a request twice', (journal) => ({ ...journal, entries: [...journal.entries, ...journal.entries] }), 'once'],
    ['a digest that is none', (journal) => changed(journal, { request: 'x' }), 'argument "journal"'],
    ['an attempt 0', (journal) => changed(journal, { attempt: 0 }), 'argument "journal"'],
    ['a number that is none', (journal) => changed(journal, { number: -1 }), 'argument "journal"'],
  ])('refuses %s', async (_, spoil, message) => {
    const { journal } = await record();
    const chaos = chaosFor(mixed);
    expect(() => chaos.replay(spoil(journal.toJSON()) as ChaosJournalData)).toThrow(
      expect.objectContaining({
        code: 'ERR_REPRISE_INVALID_ARGUMENT',
        message: expect.stringContaining(message) as string,
      }) as Error,
    );
    expect(chaos.seed).toBe('a run');
  });

  const changed = (journal: ChaosJournalData, fields: object) => ({
    ...journal,
    entries: journal.entries.map((entry) => ({ ...entry, ...fields })),
  });
  const renamed = (journal: ChaosJournalData, name: string, only = 'fails') =>
    JSON.parse(JSON.stringify(journal).replaceAll(`"rule":"${only}"`, `"rule":"${name}"`)) as unknown;
});

describe('explain(req)', () => {
  /** Asks what would happen before it happens, for requests over a real socket. */
  async function explained(chaos: Chaos, sent: readonly Ask[]) {
    const found: ReturnType<Chaos['explain']>[] = [];
    const middleware = chaos.middleware();
    const port = await serve((req, res) => {
      const before = chaos.metrics();
      found.push(chaos.explain(req), chaos.explain(req));
      expect(found.at(-1)).toEqual(found.at(-2));
      found.pop();
      expect(chaos.metrics()).toEqual(before);
      middleware(req, res, () => res.end('handled'));
    });
    await run(port, sent);
    return found;
  }

  it('says what then happens, and counts nothing', async () => {
    const bounded = rules.map((rule, n) => ({ ...rule, ...[{ every: 2 }, { max: 9 }, { attempts: [1, 3] }][n] }));
    const chaos = chaosFor({ ...mixed, rules: bounded });
    const found = await explained(chaos, requests);
    const names = (faults: readonly { rule: string }[]) => faults.map(({ rule }) => rule).sort();
    expect(found.map(({ request, attempt, fires }) => ({ request, attempt, faults: [...fires].sort() }))).toEqual(
      chaos.journal().entries.map(({ request, attempt, faults }) => ({ request, attempt, faults: names(faults) })),
    );
    expect(new Set(found.flatMap((one) => one.rules.map(({ verdict }) => verdict)))).toEqual(
      new Set(['fires', 'not-drawn', 'not-its-turn', 'other-attempt', 'spent', 'taken']),
    );
  });

  it('says why each rule does not fire', async () => {
    const error = { kind: 'error' } as const;
    const chaos = chaosFor({
      selection: 'independent',
      rules: [
        { name: 'elsewhere', fault: error, match: { paths: ['/elsewhere'] } },
        { name: 'later', fault: error, attempts: [2] },
        { name: 'third', fault: error, every: 3 },
        { name: 'closed', fault: error, window: { fromMs: 3_600_000, forMs: 1 } },
        { name: 'never', fault: error, probability: 0 },
        { name: 'fires', fault: error },
        { name: 'second', fault: error },
        { name: 'spent', fault: { kind: 'latency', delay: { law: 'uniform', minMs: 0, maxMs: 0 } }, max: 1 },
      ],
    });
    const [, second] = await explained(chaos, [{ path: '/a' }, { path: '/b' }]);
    expect(second).toMatchObject({ passes: null, attempt: 1, fires: ['fires'] });
    expect(Object.fromEntries((second?.rules ?? []).map(({ name, verdict }) => [name, verdict]))).toEqual({
      elsewhere: 'not-matched',
      later: 'other-attempt',
      third: 'not-its-turn',
      closed: 'outside-window',
      never: 'not-drawn',
      fires: 'fires',
      second: 'taken',
      spent: 'spent',
    });
  });

  it('says why no rule is asked', async () => {
    const req = (fields: object) => ({ method: 'GET', url: '/', headers: {}, ...fields }) as unknown as IncomingMessage;
    const chaos = chaosFor({ failureProbability: 1 });
    const passes = (fields: object) => chaos.explain(req(fields)).passes;
    expect(passes({})).toBe(null);
    expect(passes({ method: 'OPTIONS' })).toBe('options-request');
    expect(passes({ url: '/api/health/live' })).toBe('excluded-path');
    chaos.disarm();
    expect(passes({})).toBe('disarmed');
    chaos.arm();
    await run(await start(chaos), [{ path: '/a' }]);
    chaos.replay(chaos.journal());
    expect(passes({ url: '/a' })).toBe(null);
    expect(chaos.explain(req({ url: '/a' })).fires).toEqual(['failure']);
    expect(passes({ url: '/b' })).toBe('not-recorded');
    const warning = once(process, 'warning');
    chaos.reset();
    expect(await warning).toMatchObject([{ code: 'WRN_REPRISE_CHAOS_REPLAY_DIVERGED' }]);
  });
});

describe('status().rules: the rates that come of the rules', () => {
  const rates = (options: ChaosOptions) =>
    chaosFor(options)
      .status()
      .rules.map(({ name, effectiveRate }) => [name, Math.round(effectiveRate * 1e6) / 1e6]);

  it('exclusive rules have exactly their own', () => {
    expect(rates({ rules: rules.map((rule) => ({ ...rule, probability: 0.25 })) })).toEqual([
      ['fails', 0.25],
      ['slow', 0.25],
      ['cut', 0.25],
    ]);
  });

  it('of independent ones that do the same kind of thing, the later ones have what is left', () => {
    expect(rates(mixed)).toEqual([
      ['fails', 0.4],
      ['slow', 0.4],
      ['cut', 0.06],
    ]);
  });

  it('names the fault and what was asked for', () => {
    const chaos = chaosFor({ failureProbability: 0.5 });
    expect(chaos.status().rules[0]).toEqual({ name: 'failure', fault: 'error', probability: 0.5, effectiveRate: 0.5 });
  });
});

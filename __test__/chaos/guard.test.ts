import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createChaos } from '../../ts/index.js';
import type { Chaos, ChaosGuardOptions, ChaosOptions } from '../../ts/index.js';
import { GuardJudge, wilson } from '../../ts/chaos/guard/judge.js';
import type { GuardLimits, GuardWindow } from '../../ts/chaos/guard/judge.js';
import { ask, chaosFor, onExpress5, serve, until } from './harness.js';
import type { Handler } from './harness.js';

const limits: GuardLimits = {
  baselineWindows: 2,
  minRequests: 20,
  maxRise: 0.05,
  slowFactor: 2,
  maxLoopDelayMs: 200,
  tripWindows: 3,
  ofWindows: 5,
};

const window = (fields: Partial<GuardWindow> & { n?: number; ms?: number } = {}): GuardWindow => ({
  durations: Array.from({ length: fields.n ?? 100 }, () => fields.ms ?? 10),
  errors: 0,
  injected: 10,
  loopDelayMs: 10,
  ...fields,
});
const calm = window();
const failing = window({ errors: 60 });

/** A judge that has learned that a service which answers in 10 ms without an error is usual. */
function judge(changed: Partial<GuardLimits> = {}): GuardJudge {
  const learned = new GuardJudge({ ...limits, ...changed });
  for (let n = 0; n < limits.baselineWindows; n++) expect(learned.add(calm)).toBe(undefined);
  expect(learned.isLearning).toBe(false);
  return learned;
}

/** What it says to each of these windows. */
const says = (to: GuardJudge, windows: readonly GuardWindow[]) => windows.map((one) => to.add(one));

describe('the bounds of Wilson', () => {
  it('are those of the books', () => {
    // Wilson 1927 as in Brown, Cai and DasGupta 2001, at z = 3.29.
    const { low, high } = wilson(10, 100);
    expect(low).toBeCloseTo(0.0375, 3);
    expect(high).toBeCloseTo(0.2405, 3);
    expect(wilson(0, 0)).toEqual({ low: 0, high: 1 });
  });

  it('hold the share that was seen, lie between 0 and 1, and close in with more requests', () => {
    const share = fc
      .integer({ min: 1, max: 1000 })
      .chain((n) => fc.tuple(fc.integer({ min: 0, max: n }), fc.constant(n)));
    fc.assert(
      fc.property(share, ([hits, n]) => {
        const few = wilson(hits, n);
        const many = wilson(hits * 10, n * 10);
        expect(few.low).toBeGreaterThanOrEqual(0);
        expect(few.high).toBeLessThanOrEqual(1);
        expect(few.low).toBeLessThanOrEqual(hits / n + 1e-12);
        expect(few.high).toBeGreaterThanOrEqual(hits / n - 1e-12);
        expect(many.high - many.low).toBeLessThan(few.high - few.low);
        // What fails and what succeeds are mirror images.
        expect(wilson(n - hits, n).low).toBeCloseTo(1 - few.high, 10);
      }),
    );
  });
});

describe('the judge', () => {
  it('learns only from windows with enough requests, for as long as it takes', () => {
    const slow = new GuardJudge(limits);
    says(slow, [window({ n: 19 }), calm, window({ n: 0 }), window({ n: 19 })]);
    expect(slow.isLearning).toBe(true);
    slow.add(calm);
    expect(slow.isLearning).toBe(false);
  });

  it('trips at M harmful windows of N, not at fewer, in whatever order', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 30 }), (harmful) => {
        const one = judge();
        for (const [place, isHarmful] of harmful.entries()) {
          const reason = one.add(isHarmful ? failing : calm);
          const recent = harmful.slice(Math.max(0, place - 4), place + 1).filter(Boolean).length;
          expect(reason !== undefined).toBe(recent >= 3);
          if (reason !== undefined) return;
        }
      }),
    );
  });

  it('names what was harmful', () => {
    const [reason] = says(judge({ tripWindows: 1 }), [failing]);
    expect(reason).toBe(
      '1 of the last 1 windows were harmful; in the last one, 60 of 100 requests without a fault failed',
    );
    const [slow] = says(judge({ tripWindows: 1 }), [window({ ms: 21 })]);
    expect(slow).toMatch(/100 of 100 requests without a fault took longer than 20 ms$/);
    const [late] = says(judge({ tripWindows: 1 }), [window({ loopDelayMs: 211 })]);
    expect(late).toMatch(/the event loop was late by 211 ms$/);
  });

  it('goes by the bound, not by the point: what chance can do is no harm', () => {
    // 2 of 20 is 10 %, and its lower bound is 1.7 %.
    expect(says(judge({ tripWindows: 1 }), [window({ n: 20, errors: 2 })])).toEqual([undefined]);
    expect(says(judge({ tripWindows: 1 }), [window({ n: 20, ms: 19 }), window({ loopDelayMs: 209 })])).toEqual([
      undefined,
      undefined,
    ]);
  });

  it('measures against what is usual, not against nothing', () => {
    const used = new GuardJudge({ ...limits, tripWindows: 1 });
    says(used, [failing, failing]);
    expect(used.add(failing)).toBe(undefined);
    expect(used.add(window({ errors: 95 }))).toMatch(/95 of 100/);
  });

  it('more harm never trips later', () => {
    const errors = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(fc.array(fc.tuple(errors, errors), { maxLength: 12 }), (pairs) => {
        const tripsAt = (counts: number[]) =>
          says(
            judge(),
            counts.map((count) => window({ errors: count })),
          ).findIndex((reason) => reason !== undefined);
        const [less, more] = [pairs.map(([a, b]) => Math.min(a, b)), pairs.map(([a, b]) => Math.max(a, b))].map(
          tripsAt,
        );
        if (less !== -1) expect(more).toBeLessThanOrEqual(less ?? 0);
      }),
    );
  });

  it('does not go on blind: faults, and too few other requests to judge by', () => {
    const blind = window({ n: 5 });
    expect(says(judge(), [blind, blind, blind, blind]).filter(Boolean)).toEqual([]);
    expect(
      says(
        judge(),
        Array.from({ length: 5 }, () => blind),
      ).at(-1),
    ).toMatch(/^faults were injected in 5 windows/);
    // Without a fault there is nothing to halt, and one clear window is a look.
    expect(
      says(
        judge(),
        Array.from({ length: 9 }, () => window({ n: 5, injected: 0 })),
      ).filter(Boolean),
    ).toEqual([]);
    expect(says(judge(), [blind, blind, blind, blind, calm, blind, blind, blind, blind]).filter(Boolean)).toEqual([]);
  });

  it('halts if it cannot measure', () => {
    expect(new GuardJudge(limits).add(window({ loopDelayMs: NaN }))).toMatch(/cannot be measured/);
  });
});

describe('guard', () => {
  // Errors alone: how long a request takes on this machine is no matter of ours.
  const guard: ChaosGuardOptions = {
    windowMs: 1000,
    baselineWindows: 1,
    minRequests: 5,
    trip: { windows: 2, of: 3 },
    slowFactor: 1000,
    maxLoopDelayMs: 3_600_000,
  };
  const failingRule: ChaosOptions = { rules: [{ name: 'fails', fault: { kind: 'error' }, probability: 0.5 }], guard };

  /** A server under a clock of our own, whose handler fails when told to. */
  async function start(options: ChaosOptions) {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const chaos = chaosFor(options);
    const service = { status: 200, asked: 0, ended: 0 };
    const handler: Handler = (_req, res) => {
      service.asked++;
      res.statusCode = service.status;
      res.once('close', () => service.ended++);
      res.end();
    };
    const port = await serve(onExpress5(chaos.middleware(), handler));
    /** A window with so many requests; how many of them were faulted. */
    const pass = async (n = 30) => {
      let faulted = 0;
      for (let i = 0; i < n; i++) if ((await ask(port)).headers['x-chaos-fault'] === 'error') faulted++;
      await until(() => service.ended === service.asked);
      vi.advanceTimersByTime(1000);
      return faulted;
    };
    return { chaos, service, pass };
  }
  const phase = (chaos: Chaos) => chaos.status().guard?.phase;

  it('injects nothing until it knows what is usual, and then spares a control share', async () => {
    const { chaos, pass } = await start({ ...failingRule, rules: [{ name: 'fails', fault: { kind: 'error' } }] });
    expect(phase(chaos)).toBe('learning');
    expect(await pass(4)).toBe(0);
    expect(phase(chaos)).toBe('learning');
    expect(await pass(5)).toBe(0);
    expect(phase(chaos)).toBe('watching');
    const faulted = await pass(200);
    expect(faulted).toBeGreaterThan(140);
    expect(faulted).toBeLessThan(200);
    expect(chaos.status().rules[0]?.effectiveRate).toBeCloseTo(0.9);
  });

  it('halts when requests without a fault fail, with its reason, until somebody arms it again', async () => {
    const { chaos, service, pass } = await start(failingRule);
    await pass();
    service.status = 500;
    await pass();
    expect(chaos.status()).toMatchObject({ state: 'armed', guard: { phase: 'watching', harmfulWindows: 1 } });
    await pass();
    expect(chaos.status()).toMatchObject({
      state: 'halted',
      reason: expect.stringMatching(
        /^guard rail: 2 of the last 2 windows were harmful; in the last one, .* failed$/,
      ) as string,
      activeFaults: 0,
      guard: { phase: 'off' },
    });
    expect(await pass()).toBe(0);
    chaos.disarm('later');
    chaos.update({ rules: [{ name: 'fails', fault: { kind: 'error' } }] });
    expect(chaos.status().state).toBe('halted');
    chaos.arm();
    expect([chaos.status().state, phase(chaos)]).toEqual(['armed', 'learning']);
  });

  it('does not count its own faults as harm', async () => {
    const { chaos, pass } = await start(failingRule);
    for (let n = 0; n < 5; n++) await pass();
    expect(chaos.status()).toMatchObject({ state: 'armed', guard: { harmfulWindows: 0 } });
  });

  it('leaves no timer behind', async () => {
    const { chaos } = await start(failingRule);
    expect(vi.getTimerCount()).toBe(1);
    chaos.disarm();
    expect(vi.getTimerCount()).toBe(0);
    expect(phase(chaos)).toBe('off');
    expect(chaosFor({}).status().guard).toBe(null);
  });

  it.each<[ChaosGuardOptions, string]>([
    [{ controlShare: 0 }, 'option "controlShare" is 0'],
    [{ windowMs: 1 }, 'option "windowMs" is 1'],
    [{ trip: { windows: 4, of: 3 } }, 'guard.trip: option "windows" is 4'],
    [{ trip: { windows: 4 } as never }, 'guard.trip: option "windows" is 4'],
    [{ control: 1 } as never, 'unknown option "control"'],
  ])('refuses %j', (options, message) => {
    expect(() => createChaos({ guard: options })).toThrow(message);
  });
});

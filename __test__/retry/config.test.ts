import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { computeDelay, RetryConfig } from '../../ts/index.js';

describe('computeDelay is min(initialDelayMs · exponentialBase^attempt, maxDelayMs)', () => {
  it.each([
    [0, 1_000],
    [1, 2_000],
    [2, 4_000],
    [3, 8_000],
    [4, 16_000],
    [5, 30_000],
    [6, 30_000],
    [1_000_000, 30_000],
  ])('with the defaults, retry %i waits %i ms', (attempt, delayMs) => {
    expect(computeDelay(attempt)).toBe(delayMs);
  });

  it.each([
    ['a plain object with some fields', { initialDelayMs: 5 }, [5, 10, 20, 40]],
    ['a RetryConfig', new RetryConfig({ initialDelayMs: 10, exponentialBase: 3, maxDelayMs: 100 }), [10, 30, 90, 100]],
    ['a constant delay', { initialDelayMs: 7, exponentialBase: 1 }, [7, 7, 7, 7]],
    ['no delay', { initialDelayMs: 0 }, [0, 0, 0, 0]],
    ['a cap that is the first delay', { initialDelayMs: 9, maxDelayMs: 9 }, [9, 9, 9, 9]],
    ['fractions', { initialDelayMs: 0.5, exponentialBase: 1.5 }, [0.5, 0.75, 1.125, 1.6875]],
    ['a field that is undefined, which counts as absent', { initialDelayMs: undefined }, [1_000, 2_000, 4_000, 8_000]],
  ])('takes %s', (_, config, delays) => {
    expect([0, 1, 2, 3].map((attempt) => computeDelay(attempt, config))).toEqual(delays);
  });

  // From 1 ns up: below about 1e-308, where floating point itself loses digits, no formula is exact.
  const delay = fc.oneof(fc.constant(0), fc.double({ min: 1e-6, max: 1e12, noNaN: true }));
  const config = fc
    .record({
      delays: fc.tuple(delay, delay),
      exponentialBase: fc.double({ min: 1, max: 1e6, noNaN: true }),
    })
    .map(({ delays, exponentialBase }) => ({
      initialDelayMs: Math.min(...delays),
      maxDelayMs: Math.max(...delays),
      exponentialBase,
    }));

  it('never falls from one retry to the next, and stays between the first delay and the cap', () => {
    fc.assert(
      fc.property(config, fc.nat(1_000), (given, attempt) => {
        const delay = computeDelay(attempt, given);
        expect(delay).toBeGreaterThanOrEqual(given.initialDelayMs);
        expect(delay).toBeLessThanOrEqual(given.maxDelayMs);
        expect(computeDelay(attempt + 1, given)).toBeGreaterThanOrEqual(delay);
      }),
    );
  });

  it('is the formula as written in JavaScript, but for the rounding of each multiplication', () => {
    fc.assert(
      fc.property(config, fc.nat(100), (given, attempt) => {
        const { initialDelayMs, exponentialBase, maxDelayMs } = given;
        const formula = Math.min(initialDelayMs * exponentialBase ** attempt, maxDelayMs);
        fc.pre(Number.isFinite(formula));
        const rounding = formula * Number.EPSILON * (attempt + 2);
        expect(Math.abs(computeDelay(attempt, given) - formula)).toBeLessThanOrEqual(rounding);
      }),
    );
  });

  it.each([-1, 1.5, NaN, Infinity, 1_000_001, '1', null, undefined])('refuses %s as attempt', (attempt) => {
    expect(() => computeDelay(attempt as number)).toThrow(
      expect.objectContaining({
        name: typeof attempt === 'number' ? 'RangeError' : 'TypeError',
        code: 'ERR_REPRISE_INVALID_ARGUMENT',
        message: expect.stringMatching(
          /^computeDelay: argument "attempt" is .+; allowed: a whole number from 0 to 1000000$/,
        ) as string,
      }),
    );
  });
});

describe('RetryConfig', () => {
  it('has the defaults of the specification', () => {
    expect(new RetryConfig()).toMatchObject({
      maxAttempts: 3,
      initialDelayMs: 1_000,
      maxDelayMs: 30_000,
      exponentialBase: 2,
    });
  });

  it('is complete and frozen', () => {
    const config = new RetryConfig({ maxAttempts: 5, initialDelayMs: 2_000 });
    expect(config).toMatchObject({ maxAttempts: 5, initialDelayMs: 2_000, maxDelayMs: 30_000, exponentialBase: 2 });
    expect(() => {
      (config as { maxAttempts: number }).maxAttempts = 0;
    }).toThrow(TypeError);
  });

  it('serves as a type, which a complete plain object has too', () => {
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- what this test is about
    const config: RetryConfig = { maxAttempts: 1, initialDelayMs: 1, maxDelayMs: 1, exponentialBase: 1 };
    expect(new RetryConfig(config)).toEqual(config);
  });

  it.each([
    [
      { maxAttempts: 0 },
      'RangeError',
      'option "maxAttempts" is 0; allowed: a whole number from 1 to 1000000, or Infinity',
    ],
    [
      { maxAttempts: 2.5 },
      'RangeError',
      'option "maxAttempts" is 2.5; allowed: a whole number from 1 to 1000000, or Infinity',
    ],
    [
      { maxAttempts: '3' },
      'TypeError',
      'option "maxAttempts" is "3"; allowed: a whole number from 1 to 1000000, or Infinity',
    ],
    [
      { maxAttempts: null },
      'TypeError',
      'option "maxAttempts" is null; allowed: a whole number from 1 to 1000000, or Infinity',
    ],
    [
      { initialDelayMs: -1 },
      'RangeError',
      'option "initialDelayMs" is -1; allowed: a number of milliseconds from 0 to 9007199254740991',
    ],
    [
      { maxDelayMs: Infinity },
      'RangeError',
      'option "maxDelayMs" is Infinity; allowed: a number of milliseconds from 0 to 9007199254740991',
    ],
    [
      { exponentialBase: 0.5 },
      'RangeError',
      'option "exponentialBase" is 0.5; allowed: a number from 1 to 9007199254740991',
    ],
    [
      { exponentialBase: NaN },
      'RangeError',
      'option "exponentialBase" is NaN; allowed: a number from 1 to 9007199254740991',
    ],
    [
      { initialDelayMs: 2_000, maxDelayMs: 500 },
      'RangeError',
      'option "maxDelayMs" is 500; allowed: at least initialDelayMs, which is 2000',
    ],
    [
      { initialDelayMs: 60_000 },
      'RangeError',
      'option "initialDelayMs" is 60000; allowed: at most maxDelayMs, which is 30000 unless given',
    ],
  ])('refuses %j', (init, name, message) => {
    expect(() => new RetryConfig(init as object)).toThrow(
      expect.objectContaining({ name, code: 'ERR_REPRISE_INVALID_OPTION', message: `RetryConfig: ${message}` }),
    );
  });

  it.each([
    ['max_attempts', 'maxAttempts'],
    ['initial_delay', 'initialDelayMs'],
    ['initialDelay', 'initialDelayMs'],
    ['max_delay', 'maxDelayMs'],
    ['maxDelay', 'maxDelayMs'],
    ['exponential_base', 'exponentialBase'],
  ])('refuses the unknown name %s and points to %s', (unknown, known) => {
    expect(() => new RetryConfig({ [unknown]: 2 })).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_REPRISE_UNKNOWN_OPTION',
        message: `RetryConfig: unknown option "${unknown}"; did you mean "${known}"?`,
      }),
    );
  });

  it.each([[null], [5], ['fast'], [[]]])('refuses %j instead of an object', (init) => {
    expect(() => new RetryConfig(init as object)).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_REPRISE_INVALID_OPTION' }),
    );
  });
});

import { describe, expect, it } from 'vitest';
import { createChaos, initChaos } from '../../ts/index.js';

const owners = [
  ['createChaos', createChaos],
  ['initChaos', initChaos],
] as const;

describe.each(owners)('%s refuses', (owner, make) => {
  it.each<[string, unknown, new () => Error, string, string]>([
    ['failureProbability', 1.5, RangeError, '1.5', 'a number from 0 to 1'],
    ['failureProbability', -0.1, RangeError, '-0.1', 'a number from 0 to 1'],
    ['failureProbability', NaN, RangeError, 'NaN', 'a number from 0 to 1'],
    ['failureProbability', Infinity, RangeError, 'Infinity', 'a number from 0 to 1'],
    ['failureProbability', '0.5', TypeError, '"0.5"', 'a number from 0 to 1'],
    ['latencyProbability', 2, RangeError, '2', 'a number from 0 to 1'],
    ['kernelKillProbability', null, TypeError, 'null', 'a number from 0 to 1'],
    ['latencyRange', [500, 100], RangeError, '[500, 100]', 'min not above max'],
    ['latencyRange', [-1, 100], RangeError, '[-1, 100]', 'two whole numbers of milliseconds'],
    ['latencyRange', [0.5, 100], RangeError, '[0.5, 100]', 'two whole numbers of milliseconds'],
    ['latencyRange', [0, NaN], RangeError, '[0, NaN]', 'two whole numbers of milliseconds'],
    ['latencyRange', [0, 2 ** 31], RangeError, '[0, 2147483648]', 'from 0 to 2147483647'],
    ['latencyRange', [100], TypeError, '[100]', '[min, max]'],
    ['latencyRange', [1, 2, 3], TypeError, '[1, 2, 3]', '[min, max]'],
    ['latencyRange', '100-5000', TypeError, '"100-5000"', '[min, max]'],
    ['enabled', 'true', TypeError, '"true"', 'true or false'],
    ['excludedPaths', '/api/health', TypeError, '"/api/health"', "an array of paths that start with '/'"],
    ['excludedPaths', ['api/health'], RangeError, '["api/health"]', "an array of paths that start with '/'"],
    ['excludedPaths', ['/api/*'], RangeError, '["/api/*"]', "without query, fragment or '*'"],
    ['excludedPaths', ['/a?b'], RangeError, '["/a?b"]', "without query, fragment or '*'"],
    ['seed', 1.5, RangeError, '1.5', 'a whole number from 0 to 9007199254740991, or a text'],
    ['seed', '', RangeError, '""', 'a text of 1 to 256 characters'],
    ['seed', {}, TypeError, 'an object', 'a whole number'],
  ])('%s: %j', (name, value, ErrorClass, shown, allowed) => {
    const options = { [name]: value };
    expect(() => make(options)).toThrow(ErrorClass);
    expect(() => make(options)).toThrow(expect.objectContaining({ code: 'ERR_REPRISE_INVALID_OPTION' }));
    expect(() => make(options)).toThrow(`${owner}: option "${name}" is ${shown}; allowed: `);
    expect(() => make(options)).toThrow(allowed);
  });

  it('a name that is unknown, with the nearest known one', () => {
    const options = { failureProbabilty: 0.5 } as object;
    expect(() => make(options)).toThrow(
      `${owner}: unknown option "failureProbabilty"; did you mean "failureProbability"?`,
    );
    expect(() => make(options)).toThrow(expect.objectContaining({ code: 'ERR_REPRISE_UNKNOWN_OPTION' }));
  });

  it('options that are no object', () => {
    expect(() => make(null as never)).toThrow(/options are null; allowed: an object/);
    expect(() => make(0.5 as never)).toThrow(/options are 0.5; allowed: an object/);
  });
});

describe('accepted', () => {
  it.each([
    { failureProbability: 0 },
    { failureProbability: 1, latencyProbability: 1, kernelKillProbability: 1 },
    { failureProbability: 0, latencyRange: [0, 0] as const },
    { failureProbability: 0, latencyRange: [100, 2_147_483_647] as const },
    { failureProbability: 0, excludedPaths: [] },
    { failureProbability: 0, enabled: undefined, seed: undefined },
    { failureProbability: 0, seed: 0 },
  ])('%j', (options) => {
    const chaos = createChaos({ seed: 1, ...options });
    expect(chaos.armed).toBe(true);
    chaos.close();
  });
});

it('with enabled: false nothing is armed', () => {
  expect(createChaos({ enabled: false, failureProbability: 1 }).armed).toBe(false);
});

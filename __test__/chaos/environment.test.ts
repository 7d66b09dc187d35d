import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const root = path.join(__dirname, '../..');

interface Run {
  /** What the program printed, as JSON. */
  readonly out: unknown;
  readonly err: string;
}

/** Runs a program that uses the built package, with exactly these variables of ours. It prints one JSON value. */
async function run(program: string, variables: Record<string, string>): Promise<Run> {
  const script = `
    const { initChaos, createChaos, chaosMiddleware, getChaosMetrics, registerKernel } = require(${JSON.stringify(root)});
    const http = require('node:http');
    const print = (value) => console.log(JSON.stringify(value));
    const caught = (fn) => { try { fn(); return 'nothing was thrown'; } catch (e) { return [e.name, e.code, e.message]; } };
    // How many of so many requests are answered with an error, and how long the others are held.
    const probe = (middleware, count = 40) => {
      const found = { hit: 0, delays: [] };
      globalThis.setTimeout = (_fn, ms) => found.delays.push(ms);
      for (let n = 0; n < count; n++) {
        const req = new http.IncomingMessage();
        Object.assign(req, { method: 'POST', url: '/orders/' + n });
        middleware(req, new http.ServerResponse(req), () => undefined);
      }
      found.hit = getChaosMetrics().failuresInjected;
      return found;
    };
    ${program}`;
  const env = { PATH: process.env['PATH'] ?? '', ...variables };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['-e', script], { env });
  return { out: JSON.parse(stdout || 'null') as unknown, err: stderr };
}

/** The specification's own example, word for word but for the seed. */
const example = `
  if (process.env.NODE_ENV === 'development' && process.env.CHAOS_ENABLED === 'true') {
    initChaos({
      enabled: true,
      failureProbability: 0.05,
      latencyProbability: 0.10,
      latencyRange: [100, 5000],
      kernelKillProbability: 0.01,
      excludedPaths: ['/api/health', '/api/metrics'],
    });
  }
  const middleware = chaosMiddleware();`;
const development = { NODE_ENV: 'development', CHAOS_SEED: '42' };

describe('the recipes of the specification, against its own example', () => {
  it('CHAOS_FAILURE_RATE=0.5 fails half of the requests', async () => {
    const { out } = await run(`${example} print(probe(middleware, 400).hit)`, {
      ...development,
      CHAOS_ENABLED: 'true',
      CHAOS_FAILURE_RATE: '0.5',
    });
    // One seed, so always the same number; 4 in 10^9 seeds fall outside of this.
    expect(out).toBeGreaterThan(140);
    expect(out).toBeLessThan(260);
  });

  it('CHAOS_KERNEL_KILL_RATE=1 kills at the first request', async () => {
    const program = `${example}
      registerKernel('kernel-1', () => true);
      probe(middleware, 1);
      print(getChaosMetrics().kernelsKilled)`;
    const { out } = await run(program, { ...development, CHAOS_ENABLED: 'true', CHAOS_KERNEL_KILL_RATE: '1' });
    expect(out).toBe(1);
  });

  it('CHAOS_LATENCY_RATE=1 and CHAOS_LATENCY_RANGE=5000-10000 hold every request 5 to 10 s', async () => {
    const { out } = await run(`${example} print(probe(middleware).delays)`, {
      ...development,
      CHAOS_ENABLED: 'true',
      CHAOS_FAILURE_RATE: '0',
      CHAOS_LATENCY_RATE: '1',
      CHAOS_LATENCY_RANGE: '5000-10000',
    });
    const delays = out as number[];
    expect(delays).toHaveLength(40);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(5000);
    expect(Math.max(...delays)).toBeLessThanOrEqual(10000);
    expect(new Set(delays).size).toBeGreaterThan(30);
  });

  it('without CHAOS_ENABLED nothing happens', async () => {
    const { out, err } = await run(`${example} print(probe(middleware))`, { ...development, CHAOS_FAILURE_RATE: '1' });
    expect(out).toEqual({ hit: 0, delays: [] });
    expect(err).toBe('');
  });
});

describe('on or off', () => {
  const hits = async (program: string, variables: Record<string, string>) =>
    (
      await run(`${program}; print(probe(chaosMiddleware()).hit)`, {
        CHAOS_FAILURE_RATE: '1',
        CHAOS_SEED: '1',
        ...variables,
      })
    ).out;

  it.each([
    ['initChaos()', {}, 40],
    ['initChaos()', { CHAOS_ENABLED: 'true' }, 40],
    ['initChaos({ enabled: true })', { CHAOS_ENABLED: 'false' }, 0],
    ['initChaos({ enabled: false })', { CHAOS_ENABLED: 'true' }, 0],
    ['', { CHAOS_ENABLED: 'true' }, 40],
    ['', { CHAOS_ENABLED: 'TRUE' }, 40],
    ['', { CHAOS_ENABLED: 'false' }, 0],
    ['', { CHAOS_ENABLED: '' }, 0],
    ['', {}, 0],
  ])('%s with %j', async (program, variables, expected) => {
    expect(await hits(program, variables)).toBe(expected);
  });

  it('an instance of its own does not read the variables', async () => {
    const program = `
      const chaos = createChaos({ failureProbability: 0, seed: 1 });
      probe(chaos.middleware());
      print({ seed: chaos.seed, ...chaos.metrics() })`;
    const { out } = await run(program, { CHAOS_ENABLED: 'false', CHAOS_FAILURE_RATE: '1', CHAOS_SEED: '7' });
    expect(out).toMatchObject({ seed: '1', totalRequests: 40, failuresInjected: 0 });
  });
});

describe('the seed', () => {
  it('CHAOS_SEED wins over the code and is not written out', async () => {
    const { out, err } = await run(`print(initChaos({ failureProbability: 1, seed: 1 }).seed)`, { CHAOS_SEED: '42' });
    expect(out).toBe('42');
    expect(err).toBe('');
  });

  it('a random one is written to stderr once, in a form that repeats the run', async () => {
    const program = `const { seed } = initChaos({ failureProbability: 0.5 }); print([seed, probe(chaosMiddleware()).hit])`;
    const first = await run(program, {});
    const [, written = ''] = /CHAOS_SEED=(\S+)\n$/.exec(first.err) ?? [];
    expect(first.out).toEqual([written, expect.any(Number)]);
    expect(first.err.split('\n')).toHaveLength(2);
    expect((await run(program, { CHAOS_SEED: written })).out).toEqual(first.out);
    expect((await run(program, {})).out).not.toEqual(first.out);
  });

  it('without any probability, a warning says that nothing will happen', async () => {
    const { err } = await run(`chaosMiddleware()`, { CHAOS_ENABLED: 'true', CHAOS_SEED: '1' });
    expect(err).toMatch(
      /WRN_REPRISE_CHAOS_WITHOUT_FAULT.*chaosMiddleware: chaos is armed, but no probability was given/,
    );
  });
});

describe('a value that cannot be read is refused at start', () => {
  it.each([
    ['CHAOS_FAILURE_RATE', 'lots', 'a number from 0 to 1'],
    ['CHAOS_FAILURE_RATE', '1.5', 'a number from 0 to 1'],
    ['CHAOS_FAILURE_RATE', '-0.1', 'a number from 0 to 1'],
    ['CHAOS_FAILURE_RATE', '50%', 'a number from 0 to 1'],
    ['CHAOS_FAILURE_RATE', ' ', 'a number from 0 to 1'],
    ['CHAOS_LATENCY_RATE', 'NaN', 'a number from 0 to 1'],
    ['CHAOS_LATENCY_RATE', '0x1', 'a number from 0 to 1'],
    ['CHAOS_KERNEL_KILL_RATE', 'Infinity', 'a number from 0 to 1'],
    ['CHAOS_LATENCY_RANGE', '5000-100', 'min not above max'],
    ['CHAOS_LATENCY_RANGE', '100-', 'such as 100-5000'],
    ['CHAOS_LATENCY_RANGE', '-100', 'such as 100-5000'],
    ['CHAOS_LATENCY_RANGE', '100', 'such as 100-5000'],
    ['CHAOS_LATENCY_RANGE', '-100-100', 'such as 100-5000'],
    ['CHAOS_LATENCY_RANGE', '1.5-2', 'whole milliseconds'],
    ['CHAOS_LATENCY_RANGE', '0-2147483648', 'up to 2147483647'],
    ['CHAOS_ENABLED', 'yes', 'true or false'],
    ['CHAOS_SEED', 'x'.repeat(257), 'up to 256 characters'],
  ])('%s=%s', async (name, value, allowed) => {
    const program = `print([caught(() => initChaos({})), caught(() => chaosMiddleware())])`;
    const { out } = await run(program, { CHAOS_ENABLED: 'true', [name]: value });
    const [byInit, byMiddleware] = out as [string[], string[]];
    expect(byInit.slice(0, 2)).toEqual(['RangeError', 'ERR_REPRISE_INVALID_ENVIRONMENT']);
    expect(byInit[2]).toMatch(/^initChaos: environment variable /);
    expect(byInit[2]).toContain(`${name} is "${value.slice(0, 77)}`);
    expect(byInit[2]).toContain(allowed);
    expect(byMiddleware[2]).toBe(byInit[2]?.replace('initChaos', 'chaosMiddleware'));
  });

  it.each([['1'], ['0'], ['.5'], ['1.'], ['5e-1']])('CHAOS_FAILURE_RATE=%s can be read', async (value) => {
    const { out } = await run(`print(caught(() => initChaos({})))`, { CHAOS_FAILURE_RATE: value, CHAOS_SEED: '1' });
    expect(out).toBe('nothing was thrown');
  });
});

describe('in production', () => {
  const production = { NODE_ENV: 'production', CHAOS_FAILURE_RATE: '1', CHAOS_SEED: '1' };
  const program = `
    const chaos = [initChaos({ failureProbability: 1 }), initChaos({ failureProbability: 1 }), createChaos({ maxDurationMs: 60_000 })];
    const { hit } = probe(chaosMiddleware());
    print({ armed: chaos.map((chaos) => chaos.armed), hit })`;

  it('nothing is armed, and one warning names the variable that would allow it', async () => {
    const { out, err } = await run(program, production);
    expect(out).toEqual({ armed: [false, false, false], hit: 0 });
    expect(err.match(/WRN_REPRISE_CHAOS_IN_PRODUCTION/g)).toHaveLength(1);
    expect(err).toContain('set CHAOS_ENGINEERING_OVERRIDE=true');
  });

  it('CHAOS_ENABLED=true alone does not arm it either', async () => {
    const { out, err } = await run(`print(probe(chaosMiddleware()).hit)`, { ...production, CHAOS_ENABLED: 'true' });
    expect(out).toBe(0);
    expect(err).toContain('CHAOS_ENGINEERING_OVERRIDE=true');
  });

  it.each(['1', 'yes', 'TRUE ', 'false'])(
    'CHAOS_ENGINEERING_OVERRIDE=%s is no override, and is said so',
    async (value) => {
      const { out, err } = await run(program, { ...production, CHAOS_ENGINEERING_OVERRIDE: value });
      expect(out).toMatchObject({ hit: 0 });
      expect(err).toContain(`(it is "${value}"; only "true" counts)`);
    },
  );

  it('with CHAOS_ENGINEERING_OVERRIDE=true it is armed, for 15 minutes if nobody says for how long', async () => {
    const { out, err } = await run(program, { ...production, CHAOS_ENGINEERING_OVERRIDE: 'true' });
    expect(out).toMatchObject({ armed: [false, true, true], hit: 40 });
    expect(err.match(/WRN_REPRISE_CHAOS_DEFAULT_DURATION/g)).toHaveLength(1);
    const lasts = `
      const lasts = (chaos) => { const { since, until } = chaos.status(); return until - since; };
      print([lasts(initChaos({ maxDurationMs: 5000 })), lasts(initChaos())]);`;
    const bounded = await run(lasts, { ...production, CHAOS_ENGINEERING_OVERRIDE: 'true' });
    expect(bounded.out).toEqual([5000, 900_000]);
  });

  it('a variable that cannot be read keeps no server from starting', async () => {
    const { out } = await run(`print(initChaos().armed)`, { ...production, CHAOS_FAILURE_RATE: 'lots' });
    expect(out).toBe(false);
  });

  it('what was turned off is not warned about', async () => {
    const off = `print([initChaos({ enabled: false }).armed, createChaos({ enabled: false }).armed])`;
    expect(await run(off, production)).toEqual({ out: [false, false], err: '' });
    const { err } = await run(`print(initChaos({}).armed)`, { ...production, CHAOS_ENABLED: 'false' });
    expect(err).toBe('');
  });
});

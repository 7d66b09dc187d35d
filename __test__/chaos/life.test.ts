import { spawn } from 'node:child_process';
import path from 'node:path';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createChaos } from '../../ts/index.js';
import type { Chaos, ChaosOptions } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, until } from './harness.js';

const start = (chaos: Chaos) => serve(onExpress5(chaos.middleware(), countingHandler().handler));
const isHit = async (port: number, key?: string) =>
  (await ask(port, key === undefined ? {} : { key })).headers['x-chaos-fault'] === 'error';

/** A clock of our own for what chaos times, and for nothing that sockets need. */
function fakeClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('armed and disarmed', () => {
  it('one that is not enabled waits for arm()', async () => {
    const chaos = chaosFor({ failureProbability: 1, enabled: false });
    const port = await start(chaos);
    expect(chaos.status()).toMatchObject({ state: 'disarmed', reason: 'not enabled', activeFaults: 0, seed: '42' });
    expect(await isHit(port)).toBe(false);
    chaos.arm();
    expect(chaos.status()).toMatchObject({ state: 'armed', until: null });
    expect(await isHit(port)).toBe(true);
    chaos.disarm('enough');
    expect(chaos.status()).toMatchObject({ state: 'disarmed', reason: 'enough' });
    expect(await isHit(port)).toBe(false);
    expect(chaos.metrics()).toMatchObject({ totalRequests: 1, failuresInjected: 1 });
  });

  it('a second disarm() changes nothing, not even the reason', () => {
    const chaos = chaosFor({});
    chaos.disarm('first');
    chaos.disarm('second');
    expect(chaos.status()).toMatchObject({ reason: 'first' });
  });

  it('close() is for good', () => {
    const chaos = chaosFor({ failureProbability: 1 });
    chaos.close();
    chaos.close();
    expect(chaos.status()).toMatchObject({ state: 'closed', reason: 'close() was called' });
    const refused = expect.objectContaining({ code: 'ERR_REPRISE_CHAOS_CLOSED' }) as Error;
    expect(() => {
      chaos.arm();
    }).toThrow(refused);
    expect(() => {
      chaos.update({ failureProbability: 0 });
    }).toThrow(refused);
    chaos.disarm();
    expect(chaos.armed).toBe(false);
  });

  it('its status can be shown as JSON', () => {
    fakeClock();
    vi.setSystemTime('2026-01-01T00:00:00Z');
    const chaos = chaosFor({ maxDurationMs: 60_000, rules: [] });
    expect(JSON.parse(JSON.stringify(chaos.status()))).toEqual({
      state: 'armed',
      since: '2026-01-01T00:00:00.000Z',
      until: '2026-01-01T00:01:00.000Z',
      activeFaults: 0,
      seed: '42',
      rules: [],
      guard: null,
    });
  });
});

describe('what is held', () => {
  const held: ChaosOptions = {
    rules: [
      { name: 'hang', fault: { kind: 'hang' }, match: { paths: ['/hang'] } },
      { name: 'slow', fault: { kind: 'latency', delay: { law: 'uniform', minMs: 3_600_000, maxMs: 3_600_000 } } },
    ],
    selection: 'independent',
  };

  it.each<[string, (chaos: Chaos) => void]>([
    [
      'disarm()',
      (chaos) => {
        chaos.disarm();
      },
    ],
    [
      'close()',
      (chaos) => {
        chaos.close();
      },
    ],
    ['SIGTERM', () => process.emit('SIGTERM')],
  ])(
    '%s lets go of a hundred requests at once: the delayed ones go on, the hanging ones are closed',
    async (_, end) => {
      const others = () => undefined;
      process.on('SIGTERM', others);
      onTestFinished(() => void process.off('SIGTERM', others));
      const chaos = chaosFor({ ...held, rules: held.rules?.map((rule) => ({ ...rule, first: 100 })) });
      const { handler, seen } = countingHandler();
      const port = await serve(onExpress5(chaos.middleware(), handler));
      const delayed = Array.from({ length: 50 }, () => ask(port, { path: '/slow' }).then(({ text }) => text));
      await until(() => chaos.status().activeFaults === 50);
      chaos.update({ rules: held.rules?.slice(0, 1) });
      const hanging = Array.from({ length: 50 }, () =>
        ask(port, { path: '/hang' }).catch((error: unknown) => (error as Error).message),
      );
      await until(() => chaos.status().activeFaults === 100);

      const before = performance.now();
      end(chaos);
      expect(performance.now() - before).toBeLessThan(1000);
      expect(chaos.status()).toMatchObject({ activeFaults: 0 });
      expect(new Set(await Promise.all(delayed))).toEqual(new Set(['handled']));
      expect(new Set(await Promise.all(hanging))).toEqual(new Set(['socket hang up']));
      expect(seen).toHaveLength(50);
      expect(chaos.armed).toBe(false);
    },
  );
});

describe('its time', () => {
  it('maxDurationMs is a dead man’s switch: it disarms, and lets go of what is held', async () => {
    fakeClock();
    const chaos = chaosFor({ latencyProbability: 1, latencyRange: [3_600_000, 3_600_000], maxDurationMs: 1000 });
    const port = await start(chaos);
    const answer = ask(port);
    await until(() => chaos.status().activeFaults === 1);
    vi.advanceTimersByTime(999);
    expect(chaos.status()).toMatchObject({ state: 'armed', activeFaults: 1 });
    vi.advanceTimersByTime(1);
    expect(chaos.status()).toMatchObject({ state: 'disarmed', reason: 'armed for 1000 ms, which are over' });
    expect((await answer).text).toBe('handled');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('counts even if its timer is late, as it is where something blocks the event loop', async () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(5_000);
    onTestFinished(() => {
      now.mockRestore();
    });
    const chaos = chaosFor({ failureProbability: 1, maxDurationMs: 1000 });
    const port = await start(chaos);
    now.mockReturnValue(5_999);
    expect(await isHit(port)).toBe(true);
    now.mockReturnValue(6_000);
    expect(await isHit(port)).toBe(false);
    expect(chaos.status()).toMatchObject({ state: 'disarmed' });
  });

  it('arm(forMs) begins anew: a shorter time than maxDurationMs, never a longer one', () => {
    fakeClock();
    const chaos = chaosFor({ failureProbability: 1, maxDurationMs: 1000 });
    vi.advanceTimersByTime(900);
    chaos.arm(500);
    vi.advanceTimersByTime(499);
    expect(chaos.armed).toBe(true);
    vi.advanceTimersByTime(1);
    expect(chaos.armed).toBe(false);
    for (const [forMs, code] of [
      [1001, 'ERR_REPRISE_INVALID_ARGUMENT'],
      [0, 'ERR_REPRISE_INVALID_ARGUMENT'],
      [NaN, 'ERR_REPRISE_INVALID_ARGUMENT'],
      ['5', 'ERR_REPRISE_INVALID_ARGUMENT'],
    ] as const) {
      expect(() => {
        chaos.arm(forMs as number);
      }).toThrow(expect.objectContaining({ code }) as Error);
    }
    expect(chaos.armed).toBe(false);
    chaos.arm();
    vi.advanceTimersByTime(999);
    expect(chaos.armed).toBe(true);
    vi.advanceTimersByTime(1);
    expect(chaos.armed).toBe(false);
  });

  it('a shorter maxDurationMs ends the present run earlier, a longer one does not prolong it', () => {
    fakeClock();
    const chaos = chaosFor({ failureProbability: 1, maxDurationMs: 1000 });
    vi.advanceTimersByTime(100);
    chaos.update({ maxDurationMs: 5000 });
    chaos.update({ maxDurationMs: 300 });
    vi.advanceTimersByTime(199);
    expect(chaos.armed).toBe(true);
    vi.advanceTimersByTime(1);
    expect(chaos.armed).toBe(false);
    chaos.arm();
    vi.advanceTimersByTime(250);
    chaos.update({ maxDurationMs: 200 });
    vi.advanceTimersByTime(0);
    expect(chaos.armed).toBe(false);
  });

  it('a ramp starts again with each arm()', async () => {
    fakeClock();
    const rule = { name: 'ramp', fault: { kind: 'error' }, ramp: { from: 1, overMs: 1000 }, probability: 0 } as const;
    const chaos = chaosFor({ rules: [rule] });
    const port = await start(chaos);
    expect(await isHit(port)).toBe(true);
    vi.advanceTimersByTime(1000);
    expect(await isHit(port)).toBe(false);
    chaos.arm();
    expect(await isHit(port)).toBe(true);
  });
});

describe('update', () => {
  it('changes what it names, and leaves the rest', async () => {
    const chaos = chaosFor({ failureProbability: 0, excludedPaths: ['/free'], seed: 7 });
    const port = await start(chaos);
    expect(await isHit(port)).toBe(false);
    chaos.update({ failureProbability: 1, latencyProbability: undefined });
    expect(await isHit(port)).toBe(true);
    expect((await ask(port, { path: '/free' })).status).toBe(200);
    expect(chaos.seed).toBe('7');
    chaos.update({ excludedPaths: [] });
    expect((await ask(port, { path: '/free' })).headers['x-chaos-fault']).toBe('error');
    chaos.update({ seed: 8 });
    expect(chaos.status().seed).toBe('8');
    expect(chaos.metrics()).toMatchObject({ totalRequests: 3, failuresInjected: 2 });
  });

  it('rules take the place of the probabilities, and the other way round', async () => {
    const chaos = chaosFor({ failureProbability: 1 });
    const port = await start(chaos);
    chaos.update({ rules: [] });
    expect(await isHit(port)).toBe(false);
    chaos.update({ rules: [{ name: 'one', fault: { kind: 'error', statuses: [418] } }] });
    expect((await ask(port)).status).toBe(418);
    chaos.update({ failureProbability: 0 });
    expect(await isHit(port)).toBe(false);
  });

  it('goes on with the attempts of each key, and with the counts of a rule that keeps its name', async () => {
    const rule = (fields: object) => [{ name: 'one', fault: { kind: 'error' as const }, ...fields }];
    const chaos = chaosFor({ rules: rule({ first: 2 }) });
    const port = await start(chaos);
    expect(await isHit(port, 'a')).toBe(true);
    chaos.update({ rules: rule({ first: 2, probability: 1 }) });
    expect([await isHit(port, 'a'), await isHit(port, 'a')]).toEqual([true, false]);
    chaos.update({ rules: rule({ attempts: [4] }) });
    expect([await isHit(port, 'a'), await isHit(port, 'b')]).toEqual([true, false]);
  });

  it('one that is refused changes nothing', async () => {
    const chaos = chaosFor({ failureProbability: 1 });
    const port = await start(chaos);
    const code = (change: object) => {
      try {
        chaos.update(change);
        return 'nothing was thrown';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code({ failureProbability: 0, latencyProbability: 2 })).toBe('ERR_REPRISE_INVALID_OPTION');
    expect(code({ failureProbabilty: 0 })).toBe('ERR_REPRISE_UNKNOWN_OPTION');
    expect(code({ enabled: false })).toBe('ERR_REPRISE_INVALID_OPTION');
    expect(code({ rules: [], failureProbability: 0 })).toBe('ERR_REPRISE_INVALID_OPTION');
    expect(code(undefined as unknown as object)).toBe('ERR_REPRISE_INVALID_ARGUMENT');
    expect(await isHit(port)).toBe(true);
  });

  it('a request that is held goes on as it was decided', async () => {
    const slow: ChaosOptions = { latencyProbability: 1, latencyRange: [3_600_000, 3_600_000] };
    const chaos = chaosFor({ ...slow, failureProbability: 1 });
    fakeClock();
    const port = await start(chaos);
    const answer = ask(port);
    await until(() => chaos.status().activeFaults === 1);
    chaos.update({ rules: [] });
    vi.advanceTimersByTime(3_600_000);
    expect((await answer).headers['x-chaos-fault']).toBe('error');
  });
});

it('reset() starts at zero: the same requests meet the same faults again', async () => {
  const chaos = chaosFor({ rules: [{ name: 'one', fault: { kind: 'error' }, probability: 0.5 }] });
  const port = await start(chaos);
  const run = async () => {
    const hits: boolean[] = [];
    for (let n = 0; n < 30; n++) hits.push(await isHit(port, `key-${n % 3}`));
    return hits;
  };
  const first = await run();
  expect(await run()).not.toEqual(first);
  chaos.reset();
  expect(chaos.metrics().totalRequests).toBe(0);
  expect(await run()).toEqual(first);
  expect(chaos.metrics().totalRequests).toBe(30);
});

describe('in production', () => {
  const inProduction = (override?: string) => {
    vi.stubEnv('NODE_ENV', 'production');
    vi.stubEnv('CHAOS_ENGINEERING_OVERRIDE', override);
  };

  it('the override needs an end', () => {
    inProduction('true');
    expect(() => createChaos({ seed: 1, failureProbability: 1 })).toThrow(
      expect.objectContaining({
        code: 'ERR_REPRISE_INVALID_OPTION',
        message: expect.stringContaining('option "maxDurationMs" is undefined') as string,
      }) as Error,
    );
    expect(chaosFor({ failureProbability: 1, maxDurationMs: 1000 }).armed).toBe(true);
    const waits = chaosFor({ failureProbability: 1, enabled: false });
    expect(() => {
      waits.arm();
    }).toThrow('argument "forMs" is undefined');
    waits.arm(1000);
    expect(waits.armed).toBe(true);
  });

  it('nothing arms without the override, and an update finds out that it was taken back', () => {
    inProduction('true');
    const chaos = chaosFor({ failureProbability: 1, maxDurationMs: 1000 });
    inProduction();
    const refused = expect.objectContaining({ code: 'ERR_REPRISE_CHAOS_IN_PRODUCTION' }) as Error;
    expect(() => {
      chaos.update({ failureProbability: 0.5 });
    }).toThrow(refused);
    expect(chaos.status()).toMatchObject({ state: 'disarmed', reason: 'not allowed in production' });
    expect(() => {
      chaos.arm();
    }).toThrow(refused);
    // What injects nothing may be prepared.
    chaos.update({ failureProbability: 0.5 });
    expect(chaos.armed).toBe(false);
  });
});

describe('SIGTERM', () => {
  /** A server that is held by chaos, in a process of its own, sent SIGTERM once it holds a request. */
  function run(setup: string): Promise<{ code: number | null; signal: string | null; out: string }> {
    const program = `
      const { createChaos } = require(${JSON.stringify(path.join(__dirname, '../..'))});
      const http = require('node:http');
      const print = (text) => require('node:fs').writeSync(1, text + '\\n');
      const chaos = createChaos({ latencyProbability: 1, latencyRange: [600000, 600000], seed: 1 });
      const server = http.createServer((req, res) => {
        chaos.middleware()(req, res, () => res.end('handled'));
        process.kill(process.pid, 'SIGTERM');
      });
      ${setup}
      server.listen(0, '127.0.0.1', () => {
        http.get({ port: server.address().port, agent: false }, (res) => print('answered ' + res.statusCode)).on('error', () => {});
      });`;
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    return new Promise((resolve) => {
      child.on('close', (code, signal) => {
        resolve({ code, signal, out });
      });
    });
  }

  it('kills a process that does not listen to it, as it does without chaos', async () => {
    expect(await run('')).toEqual({ code: null, signal: 'SIGTERM', out: '' });
  });

  it.each(['on', 'once', 'prependListener', 'prependOnceListener'])(
    'releases what is held, and others who listen (%s) end the process as they like',
    async (add) => {
      const shutdown = `process.${add}('SIGTERM', () => {
        server.close(() => { process.exitCode = 7; });
      });`;
      const { code, signal, out } = await run(shutdown);
      expect([code, signal]).toEqual([7, null]);
      expect(out).toContain('answered 200');
    },
  );

  it('comes first, so that others find nothing held', async () => {
    const { out } = await run(`process.once('SIGTERM', () => { print(chaos.status().reason); process.exit(); });`);
    expect(out).toBe('SIGTERM\n');
  });

  it('kills it again once the others do not listen any more', async () => {
    const gone = `const other = () => {}; process.on('SIGTERM', other); process.off('SIGTERM', other);`;
    expect(await run(gone)).toMatchObject({ signal: 'SIGTERM' });
  });

  it('leaves no listener behind, however many instances there are', () => {
    const count = () => ['SIGTERM', 'newListener', 'removeListener'].map((event) => process.listenerCount(event));
    const before = count();
    const other = () => undefined;
    const several = Array.from({ length: 20 }, () => createChaos({ failureProbability: 1, seed: 1 }));
    process.on('SIGTERM', other);
    expect(process.listenerCount('SIGTERM')).toBe((before[0] ?? 0) + 2);
    for (const [n, chaos] of several.entries()) {
      if (n % 2 === 0) chaos.disarm();
      else chaos.close();
    }
    process.off('SIGTERM', other);
    expect(count()).toEqual(before);
    for (const chaos of several) chaos.close();
  });
});

import type { RequestListener } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Chaos, ChaosMiddleware, ChaosOptions } from '../../ts/index.js';
import { serve } from '../helpers/server.js';
import { node, root, succeed } from '../package/harness.js';

const require = createRequire(__filename);
const folder = path.join(root, 'examples/timeouts');

interface Found {
  readonly query: string;
  readonly hits: number;
}
const { search } = require(path.join(folder, 'search.cjs')) as {
  search: (url: string, wanted: { query: string; key: string }, tell: (message: string) => void) => Promise<Found>;
};
const { createApp } = require(path.join(folder, 'server.cjs')) as {
  createApp: (options: { chaos: ChaosMiddleware; run: (query: string) => unknown }) => RequestListener;
};
const { createChaos } = require('reprise') as { createChaos: (options: ChaosOptions) => Chaos };

const SLOW: ChaosOptions['latencyRange'] = [5_000, 10_000];

describe('examples/timeouts', { timeout: 60_000 }, () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Searches, while time goes by as fast as the sockets allow. */
  async function searching(options: ChaosOptions, key = 'search-1') {
    const chaos = createChaos({ seed: 42, latencyRange: SLOW, ...options });
    const runs: string[] = [];
    const run = (query: string) => {
      runs.push(query);
      return { query, hits: 3 };
    };
    const { port } = await serve(createApp({ chaos: chaos.middleware(), run }));
    const told: string[] = [];
    const tell = (message: string) => told.push(message);
    const began = performance.now();
    const found = search(`http://127.0.0.1:${port}/search`, { query: 'otters', key }, tell);
    const settled: { result?: unknown } = {};
    void found.then(
      (value) => (settled.result = value),
      (error: unknown) => (settled.result = (error as Error).message),
    );
    while (settled.result === undefined) {
      // Sockets first: a request that is on its way arrives before more of the time is over.
      const { totalRequests } = chaos.metrics();
      for (let turn = 0; turn < 50 && chaos.metrics().totalRequests === totalRequests; turn++) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      await vi.advanceTimersByTimeAsync(250);
    }
    chaos.close();
    return { found: settled.result, told, runs, tookMs: performance.now() - began, metrics: chaos.metrics() };
  }

  it('a held search is tried again, the user is told, and it runs once', async () => {
    // The seed holds the first three attempts of this key for longer than the client waits, and spares the fourth.
    const { found, told, runs, metrics } = await searching({ latencyProbability: 0.8 });
    expect(found).toEqual({ query: 'otters', hits: 3 });
    expect(runs).toEqual(['otters']);
    expect(told).toEqual([
      'Still searching ...',
      'This takes longer than usual. Trying again (2 of 8) ...',
      'This takes longer than usual. Trying again (3 of 8) ...',
      'This takes longer than usual. Trying again (4 of 8) ...',
    ]);
    expect(metrics).toMatchObject({ totalRequests: 4, latenciesInjected: 3 });
  });

  it('a search that is always held ends after 30 seconds, with a word for the user, and never runs', async () => {
    const { found, told, runs, tookMs } = await searching({ latencyProbability: 1 });
    expect(found).toMatch(/^The search is not available right now \(tried \d times\)\. Please try again later\.$/);
    expect([told[0], runs]).toEqual(['Still searching ...', []]);
    // It does not wait for an attempt that would end too late.
    expect(tookMs).toBeGreaterThan(15_000);
    expect(tookMs).toBeLessThanOrEqual(30_000);
  });
});

it('run.cjs, where nothing is slow, finds what it looks for', { timeout: 60_000 }, async () => {
  const output = await succeed(node([path.join(folder, 'run.cjs')], { env: { CHAOS_LATENCY_RATE: '0' } }));
  expect(output.match(/ {2}3 hits/g)).toHaveLength(3);
});

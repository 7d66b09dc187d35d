import { createRequire } from 'node:module';
import path from 'node:path';
import type { RequestListener } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { Chaos, ChaosFault, ChaosMiddleware, ChaosOptions } from '../../ts/index.js';
import { serve } from '../helpers/server.js';
import { node, root, succeed } from '../package/harness.js';

const require = createRequire(__filename);
const folder = path.join(root, 'examples/sse-reconnection');

interface StreamEvent {
  readonly id: string;
  readonly type: string;
  readonly data: string;
}
interface EventsOptions {
  readonly idleMs?: number;
  readonly retryMs?: number;
  readonly onBroken?: (why: string) => void;
}
const { events } = require(path.join(folder, 'events.cjs')) as {
  events: (url: string, options?: EventsOptions) => AsyncGenerator<StreamEvent, void>;
};
const { createApp } = require(path.join(folder, 'server.cjs')) as {
  createApp: (options: { chaos: ChaosMiddleware; steps: number; everyMs: number }) => RequestListener;
};
// The built package, as the example has it.
const { createChaos } = require('reprise') as { createChaos: (options: ChaosOptions) => Chaos };

/** The events that a client sees of a stream of 20, and why it had to connect again. */
async function follow(fault: ChaosFault, seed: number, idleMs = 10_000) {
  const chaos = createChaos({ seed, rules: [{ name: 'broken', fault, probability: 0.8 }] });
  const { port } = await serve(createApp({ chaos: chaos.middleware(), steps: 20, everyMs: 1 }));
  const [seen, broken]: [StreamEvent[], string[]] = [[], []];
  const options = { idleMs, retryMs: 1, onBroken: (why: string) => broken.push(why) };
  for await (const event of events(`http://127.0.0.1:${port}/search/otters/progress`, options)) seen.push(event);
  chaos.close();
  return { seen, broken, done: chaos.metrics().failuresInjected };
}

describe('examples/sse-reconnection', { timeout: 60_000 }, () => {
  it.each<ChaosFault>([
    { kind: 'sse-cut', where: 'after-event' },
    { kind: 'sse-cut', where: 'mid-event' },
    { kind: 'sse-cut', where: 'mid-event', ending: 'reset' },
    { kind: 'sse-cut', where: 'mid-character' },
    { kind: 'truncate' },
    { kind: 'lost-response' },
    { kind: 'slice' },
    { kind: 'error', statuses: [500] },
  ])('every event comes exactly once, in its order, under %j', async (fault) => {
    for (const seed of [1, 2]) {
      const { seen, broken, done } = await follow(fault, seed);
      expect(seen.map(({ id }) => Number(id))).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
      for (const [n, { type, data }] of seen.entries()) {
        expect([type, JSON.parse(data)]).toEqual(['progress', { query: 'öttërs 🦦', done: n + 1, of: 20 }]);
      }
      expect(broken.length).toBeGreaterThanOrEqual(done);
    }
  });

  it('a stream that falls silent is given up, and every event still comes once', async () => {
    const { seen, broken } = await follow({ kind: 'sse-stall', event: 7 }, 1, 500);
    expect(seen.map(({ id }) => Number(id))).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
    expect(broken).toContain('silent for 500 ms');
  });

  it('run.cjs says what broke, and that all of them came', async () => {
    const output = await succeed(node([path.join(folder, 'run.cjs')]));
    expect(output).toMatch(/All 20 events came, each once, in their order\.\n$/);
    expect(output).toMatch(/broken: UND_ERR_SOCKET; connecting again after event \d+/);
  });

  it('run.cjs does what the environment says', async () => {
    const env = { CHAOS_ENABLED: 'true', CHAOS_FAILURE_RATE: '0.5', CHAOS_SEED: '1' };
    const output = await succeed(node([path.join(folder, 'run.cjs')], { env }));
    expect(output).toMatch(/All 20 events came, each once, in their order\.\n$/);
    expect(output).toMatch(/broken: answered with (500|503|504|429); connecting again after event none/);
  });
});

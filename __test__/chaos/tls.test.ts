import { expect, it } from 'vitest';
import type { ChaosFault } from '../../ts/index.js';
import { chaosFor, countingHandler, onExpress5 } from './harness.js';
import { raw, requestFor, serveOver } from './raw.js';

it.each<[ChaosFault, number]>([
  [{ kind: 'reset' }, 0],
  [{ kind: 'lost-response' }, 1],
])('under TLS too, %j sends a RST', async (fault, runs) => {
  const chaos = chaosFor({ rules: [{ name: 'broken', fault }] });
  const { handler, seen } = countingHandler();
  const port = await serveOver(true, onExpress5(chaos.middleware(), handler));
  expect(await raw(port, requestFor(), true)).toEqual({ bytes: '', ending: 'ECONNRESET' });
  expect(seen).toHaveLength(runs);
});

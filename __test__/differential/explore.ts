import { compareFirst, compareReplay, type Difference } from './compare.js';
import type { Fixtures } from './fixtures.js';
import { run } from './run.js';
import type { Scenario } from './scenario.js';

/** How long a quiet run is taken to have more to say: first in haste, then to be sure. */
const HASTE = { quietMs: 30 };
const CARE = { quietMs: 150 };

/** How often a difference has to be seen before it counts. */
const TIMES = 3;

/** What differs with us in a scenario; nothing where the same differs without us from one run to the next. */
export async function differencesIn(fixtures: Fixtures, scenario: Scenario): Promise<Difference[]> {
  const bare = await run(fixtures, scenario, 'bare', HASTE);
  const guarded = await run(fixtures, scenario, 'guarded', HASTE);
  let found = [...compareFirst(scenario, bare.first, guarded.first), ...compareReplay(scenario, guarded)];
  for (let time = 0; time < TIMES && found.length > 0; time++) {
    const one = await run(fixtures, scenario, 'bare', CARE);
    const other = await run(fixtures, scenario, 'bare', CARE);
    const restless = new Set(compareFirst(scenario, one.first, other.first).map(({ what }) => what));
    const again = await run(fixtures, scenario, 'guarded', CARE);
    const now = [...compareFirst(scenario, one.first, again.first), ...compareReplay(scenario, again)];
    found = now.filter(({ what }) => !restless.has(what) && found.some((difference) => difference.what === what));
  }
  return found;
}

import { compareFirst, compareReplay, type Difference } from './compare.js';
import { stays } from './clients.js';
import type { Fixtures } from './fixtures.js';
import { run, type Side } from './run.js';
import type { Scenario } from './scenario.js';

/** How long a quiet run is taken to have more to say: first in haste, then to be sure. */
const HASTE = { quietMs: 30 };
const CARE = { quietMs: 100 };

/** How often a difference has to be seen again before it counts: on a busy machine, moments repeat themselves. */
const TIMES = 8;

/**
 * What differs with us in a scenario. A difference counts if it comes again each time, if two runs without us do not
 * differ in the same thing, and if it is not what a slow network does, too.
 */
export async function differencesIn(fixtures: Fixtures, scenario: Scenario, times = TIMES): Promise<Difference[]> {
  const bare = await run(fixtures, scenario, 'bare', HASTE);
  const guarded = await run(fixtures, scenario, 'guarded', HASTE);
  let found = [...compareFirst(scenario, bare.first, guarded.first), ...compareReplay(scenario, guarded)];
  for (let time = 0; time < times && found.length > 0; time++) {
    const again = await run(fixtures, scenario, 'guarded', CARE);
    const { first } = await run(fixtures, scenario, 'bare', CARE);
    const now = [...compareFirst(scenario, first, again.first), ...compareReplay(scenario, again)];
    found = now.filter((difference) => found.some(isLike(difference)));
    if (found.length === 0) break;
    for (const side of ['bare', 'bare, slowly', 'bare, to the end'] as const) {
      const other = (await run(fixtures, ...inWorld(scenario, side), CARE)).first;
      const restless = compareFirst(scenario, first, other);
      const differs = compareFirst(scenario, other, again.first);
      // What is said of a replay does not lean on a run without us; and no slow network excuses the end of a process.
      found = found.filter(
        (difference) =>
          isOfReplay(difference) ||
          (difference.what === 'process errors' && side === 'bare, slowly') ||
          (differs.some(isLike(difference)) && (side !== 'bare' || !restless.some(isLike(difference)))),
      );
    }
  }
  return found;
}

/** With us, a handler goes on when its client has left: it does what it does without us for a client that stays. */
function inWorld(scenario: Scenario, side: Side | 'bare, to the end'): [Scenario, Side] {
  if (side !== 'bare, to the end') return [scenario, side];
  const { client } = scenario;
  return [stays(client) ? scenario : { ...scenario, client: { ...client, does: { is: 'plain' } } }, 'bare'];
}

function isLike({ what }: Difference): (other: Difference) => boolean {
  return (other) => other.what === what;
}

function isOfReplay({ what }: Difference): boolean {
  return what.startsWith('replay') || what.startsWith('retry');
}

// Calls of stores, measured in interleaved blocks as requests are (see paired.mjs): A B C A B C …, one after the other or
// so many in flight.
import { summary } from './statistics.mjs';

/** Rounds that are not counted. */
const WARM_UP_ROUNDS = 2;

/**
 * @param subjects `{ name, step(number) }`, where a step is told its number, never told before; the first is what the
 *   others are compared with
 * @returns of each its time and CPU time per step in microseconds, and both in shares of the first subject's
 */
export async function measureSteps(subjects, { rounds, steps, inFlight, onRound }) {
  const times = subjects.map(() => []);
  const cpus = subjects.map(() => []);
  const next = subjects.map(() => 0);
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (let turn = 0; turn < subjects.length; turn++) {
      // Another one begins each round.
      const at = (turn + Math.max(round, 0)) % subjects.length;
      const { step } = subjects[at];
      const end = next[at] + steps;
      const caller = async () => {
        while (next[at] < end) await step(next[at]++);
      };
      const cpu = process.cpuUsage();
      const since = performance.now();
      await Promise.all(Array.from({ length: inFlight }, caller));
      const micros = (performance.now() - since) * 1000;
      const { user, system } = process.cpuUsage(cpu);
      if (round < 0) continue;
      times[at].push(micros / steps);
      cpus[at].push((user + system) / steps);
    }
    onRound(round + WARM_UP_ROUNDS + 1, rounds + WARM_UP_ROUNDS);
  }
  const shares = (series, at) => summary(series[at].map((value, round) => value / series[0][round]));
  return subjects.map(({ name }, at) => ({
    name,
    steps: next[at],
    time: summary(times[at]),
    timeShare: shares(times, at),
    cpu: summary(cpus[at]),
    cpuShare: shares(cpus, at),
  }));
}

/** The value below which a share of the samples lies. */
export function quantile(samples, share) {
  const sorted = Float64Array.from(samples).sort();
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)];
  return below + (sorted[Math.ceil(at)] - below) * (at - Math.floor(at));
}

export function median(samples) {
  return quantile(samples, 0.5);
}

/** The median with its quartiles: what a table quotes of a series. */
export function summary(samples) {
  return { median: median(samples), low: quantile(samples, 0.25), high: quantile(samples, 0.75) };
}

const RESAMPLINGS = 2000;

/**
 * The median of one series in shares of another one's, both of the same rounds. How sure that is, resampling the rounds
 * tells: in 95 of 100 cases it lies from `low` to `high`.
 */
export function ratioOfMedians(above, below) {
  const ratioIn = (rounds) => median(rounds.map((round) => above[round])) / median(rounds.map((round) => below[round]));
  const anyRound = () => Math.floor(Math.random() * above.length);
  const resampled = Array.from({ length: RESAMPLINGS }, () => ratioIn(above.map(anyRound)));
  return { ratio: ratioIn([...above.keys()]), low: quantile(resampled, 0.025), high: quantile(resampled, 0.975) };
}

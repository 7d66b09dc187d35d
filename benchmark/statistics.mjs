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

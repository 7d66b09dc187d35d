// Numbers as the tables quote them.

export function micros(value) {
  return value.toFixed(value < 10 ? 1 : 0);
}

export function signed(value) {
  const text = Math.abs(value) < 10 ? value.toFixed(1) : value.toFixed(0);
  return value > 0 ? `+${text}` : text.replace('-', '−');
}

export function ratio(value) {
  return value.toFixed(2).replace('-', '−');
}

/** Nanoseconds, or what they are in a unit that reads better. */
export function nanos(value) {
  if (Math.abs(value) < 10_000) return `${value.toFixed(0)} ns`;
  if (Math.abs(value) < 1e7) return `${(value / 1000).toFixed(1)} µs`;
  return `${(value / 1e6).toFixed(1)} ms`;
}

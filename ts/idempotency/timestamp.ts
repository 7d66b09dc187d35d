let second = -1;
let secondText = '';

/**
 * A time of the clock in ISO 8601 with milliseconds, as `toISOString` writes it. That costs more than a record does
 * to write; within a second, only its end changes.
 *
 * @param millis since 1970
 */
export function timestamp(millis: number): string {
  const current = Math.floor(millis / 1000);
  if (current !== second) {
    second = current;
    secondText = new Date(current * 1000).toISOString().slice(0, -'000Z'.length);
  }
  return `${secondText}${String(millis - current * 1000).padStart(3, '0')}Z`;
}

let minute = -1;
let minuteText = '';

/**
 * A time of the clock in ISO 8601 with milliseconds, as `toISOString` writes it. That costs more than a record does
 * to write; within a minute, only its end changes.
 *
 * @param millis since 1970
 */
export function timestamp(millis: number): string {
  const current = Math.floor(millis / 60_000);
  if (current !== minute) {
    minute = current;
    minuteText = new Date(current * 60_000).toISOString().slice(0, -'00.000Z'.length);
  }
  const left = millis - current * 60_000;
  const seconds = Math.floor(left / 1000);
  return `${minuteText}${String(seconds).padStart(2, '0')}.${String(left - seconds * 1000).padStart(3, '0')}Z`;
}

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { timestamp } from '../../ts/idempotency/timestamp.js';

it('a time is written as `toISOString` writes it, whichever came before', () => {
  const minute = 29_333_333 * 60_000;
  const near = fc.integer({ min: minute - 2_000, max: minute + 62_000 });
  fc.assert(
    fc.property(fc.array(fc.oneof(near, fc.nat(Date.UTC(9999, 11, 31)))), (times) => {
      expect(times.map(timestamp)).toEqual(times.map((time) => new Date(time).toISOString()));
    }),
  );
});

import { expect, it, vi } from 'vitest';
import { Parking, type Parked } from '../../ts/idempotency/parking.js';
import { Tally } from '../../ts/tally.js';

const SAME = { key: 'k', fingerprint: 'f', identity: 'i' };

function waiting(steps: Partial<Parked>): Parked {
  return { resume: vi.fn(), share: vi.fn(), giveUp: vi.fn(), ...steps };
}

it('one of those that wait throws when it is woken: the others ask for themselves', () => {
  let settled = (): void => undefined;
  const parking = new Parking(60_000, () => ({ then: (done: () => void) => (settled = done) }) as never, new Tally());
  const failing = waiting({
    resume: () => {
      throw new Error('the handler failed');
    },
  });
  const resumes = [vi.fn(), vi.fn()];
  const others = resumes.map((resume) => waiting({ resume }));
  for (const parked of [failing, ...others]) parking.park(SAME, parked);
  expect(() => {
    settled();
  }).toThrow('the handler failed');
  for (const resume of resumes) expect(resume).toHaveBeenCalledTimes(1);
  parking.close();
});

it('one of those that waited for too long throws: the others are told, too', () => {
  const parking = new Parking(60_000, () => new Promise<void>(() => undefined), new Tally());
  const failing = waiting({
    giveUp: () => {
      throw new Error('onProblem failed');
    },
  });
  const giveUp = vi.fn();
  const other = waiting({ giveUp });
  for (const parked of [failing, other]) parking.park(SAME, parked);
  expect(() => {
    parking.close();
  }).toThrow('onProblem failed');
  expect(giveUp).toHaveBeenCalledTimes(1);
});

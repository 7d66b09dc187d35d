import { describe, expect, it } from 'vitest';
import { NonRetryableError, type TaskContext } from '../../ts/index.js';
import { verifyResumable, type ResumableTask } from '../../ts/testing/index.js';

/** A bank that knows a charge by its key, as a good one does, or charges whatever it is told. */
class Bank {
  readonly charges = new Map<string, number>();
  charge(amount: number, key: string): string {
    this.charges.set(key, amount);
    return `charged ${amount}`;
  }
}

const careful: ResumableTask<Bank> = {
  world: () => new Bank(),
  run: async (bank, ctx) => {
    const charge = await ctx.step('charge', () => bank.charge(5, ctx.derive('charge')));
    const fee = await ctx.step('fee', () => bank.charge(1, ctx.derive('fee')));
    return [charge, fee];
  },
  effects: (bank) => [...bank.charges.values()],
};

describe('verifyResumable', () => {
  it.each([undefined, 1, 2, 3])('finds nothing in a task whose effects have keys (seed %s)', async (seed) => {
    const report = await verifyResumable(careful, { seed });
    // The claim, the attempt noted, two steps and the result: before and after each.
    expect(report).toEqual({ points: 10 });
  });

  it('reports the first point after which an effect happens twice', async () => {
    let calls = 0;
    const careless = {
      ...careful,
      run: async (bank: Bank, ctx: TaskContext) => {
        await ctx.step('charge', () => bank.charge(5, `no key ${++calls}`));
      },
    };
    expect((await verifyResumable(careless)).failure).toEqual({
      // It has the claim and notes the attempt; when it goes on, the charge of the other process is made already.
      point: 4,
      at: 'after a save',
      by: 'lease lost',
      expected: { result: undefined, effects: [5] },
      actual: { result: undefined, effects: [5, 5] },
    });
  });

  it('reports an effect that is kept from the late by its fence, but not from a repetition after a crash', async () => {
    const fenced = {
      ...careful,
      world: () => ({ charges: [] as number[], lastFence: 0 }),
      run: async (bank: { charges: number[]; lastFence: number }, ctx: TaskContext) => {
        await ctx.step('charge', () => {
          if (ctx.fence < bank.lastFence) throw new NonRetryableError('a newer run has been here');
          bank.lastFence = ctx.fence;
          bank.charges.push(5);
        });
      },
      effects: (bank: { charges: number[] }) => bank.charges,
    };
    expect((await verifyResumable(fenced)).failure).toMatchObject({
      point: 5,
      at: 'before a save',
      by: 'killed',
      actual: { effects: [5, 5] },
    });
  });

  it('interrupts the wait after a failure, too', async () => {
    const failing = {
      ...careful,
      run: async (bank: Bank, ctx: TaskContext) => {
        await ctx.step('charge', () => bank.charge(5, ctx.derive('charge')));
        if (ctx.attempt === 1) throw new Error('the first attempt fails');
      },
    };
    // The claim, attempt, step, failure, second attempt and result: before and after each.
    expect(await verifyResumable(failing)).toEqual({ points: 12 });
  });

  it('reports a result that depends on where the task was interrupted', async () => {
    const forgetful = {
      ...careful,
      run: (_: Bank, ctx: TaskContext<number>) => ctx.saveCheckpoint(1).then(() => ctx.checkpointState ?? 0),
    } as ResumableTask<Bank>;
    const { failure } = await verifyResumable(forgetful);
    expect([failure?.at, failure?.expected.result, failure?.actual.result]).toEqual(['after a save', 0, 1]);
  });
});

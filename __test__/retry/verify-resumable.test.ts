import { describe, expect, it } from 'vitest';
import type { TaskContext } from '../../ts/index.js';
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
      point: 5,
      at: 'before a save',
      expected: { result: undefined, effects: [5] },
      actual: { result: undefined, effects: [5, 5] },
    });
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

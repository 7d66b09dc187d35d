import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { getRetryInfo, retry, RetryBudget } from '../../ts/index.js';

const failing = () => Promise.reject(new Error('down'));
const quickly = { maxAttempts: 100, initialDelayMs: 0, maxDelayMs: 0 };

describe('a budget that is spent', () => {
  it('ends the run at once with the original error, as Finagle does: a share of the calls', async () => {
    const budget = new RetryBudget({ retryRatio: 5, minRetriesPerSecond: 0 });
    const error = await retry(failing, { ...quickly, budget }).catch((error: unknown) => error);
    expect(error).toMatchObject({ message: 'down' });
    expect(getRetryInfo(error)).toMatchObject({ attempts: 6, stopReason: 'budget' });
  });

  it('as gRPC does: until half of the tokens are left, and successes give back', async () => {
    const budget = new RetryBudget({ mode: 'throttle', maxTokens: 10, tokenRatio: 1 });
    const error = await retry(failing, { ...quickly, budget }).catch((error: unknown) => error);
    expect(getRetryInfo(error)).toMatchObject({ attempts: 5, stopReason: 'budget' });
    expect(budget.balance()).toBe(5);
    await retry(() => 1, { budget });
    expect(budget.balance()).toBe(6);
  });

  it('is one for each key', async () => {
    const budget = new RetryBudget({ retryRatio: 1, minRetriesPerSecond: 0 });
    const attempts = async (key: string) => {
      const error = await retry(failing, { ...quickly, budget: budget.for(key) }).catch((error: unknown) => error);
      return getRetryInfo(error)?.attempts;
    };
    expect(await Promise.all([attempts('a'), attempts('b')])).toEqual([2, 2]);
    expect(budget.balance('a')).toBe(0);
  });

  it('forgets with its window', () => {
    const budget = new RetryBudget({ retryRatio: 1, minRetriesPerSecond: 0, windowMs: 1_000 });
    void retry(() => 1, { budget });
    expect(budget.balance()).toBe(1);
    budget.advanceClock(1_100);
    expect(budget.balance()).toBe(0);
  });
});

it('a budget with a name is one in all threads', async () => {
  const here = new RetryBudget({ name: 'shared', retryRatio: 0.5, minRetriesPerSecond: 0 });
  const code = `
    const { RetryBudget, retry } = require(${JSON.stringify(join(__dirname, '../../index.js'))});
    const budget = new RetryBudget({ name: 'shared', retryRatio: 0.5, minRetriesPerSecond: 0 });
    Promise.all(Array.from({ length: 10 }, () => retry(() => 1, { budget })));
  `;
  await once(new Worker(code, { eval: true }), 'exit');
  expect(here.balance()).toBe(5);
  expect(() => new RetryBudget({ name: 'shared' })).toThrow(/a budget of that name has other numbers/);
});

it('numbers of the other mode are refused', () => {
  expect(() => new RetryBudget({ mode: 'throttle', retryRatio: 1 })).toThrow(/option "retryRatio" is 1/);
  expect(() => new RetryBudget({ tokenRatio: 1 })).toThrow(/option "tokenRatio" is 1/);
});

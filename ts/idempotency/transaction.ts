import { withCode } from '../errors.js';
import type { Answered } from './answer.js';
import type { Capture } from './capture.js';
import { withinAround } from '../timeout.js';

/**
 * Runs a handler's function inside a transaction of the store that also ends its claim. The answer is held back until
 * it is known what became of both.
 */
export async function transact<T>(
  capture: Capture,
  storeTimeoutMs: number,
  run: (tx: unknown) => Promise<T>,
): Promise<T> {
  const begin = capture.claim.transaction;
  if (begin === undefined) {
    throw withCode(
      new Error('The store of this middleware has no transactions; a PostgresStore over a pool has'),
      'ERR_REPRISE_NO_TRANSACTION',
    );
  }
  if (capture.isOver || capture.isDeferred) {
    throw withCode(
      new Error('The request is answered already, or in a transaction already'),
      'ERR_REPRISE_TRANSACTION_MISUSED',
    );
  }
  let done: { readonly value: T; readonly answered: Answered } | undefined;
  capture.defer();
  try {
    const answerInside = async (tx: unknown): Promise<Answered['how'] | undefined> => {
      const value = await run(tx);
      const { answered } = capture;
      if (answered === undefined) {
        throw withCode(
          new Error('The function of transaction() ended without an answer: answer inside of it, as a whole'),
          'ERR_REPRISE_TRANSACTION_MISUSED',
        );
      }
      done = { value, answered };
      return answered.commits ? answered.how : undefined;
    };
    const committed = await withinAround(storeTimeoutMs, (inside) =>
      begin(async (tx) => inside(async () => answerInside(tx))),
    );
    // Undefined where the store has found the claim lost before it called the function.
    const ended = done as { readonly value: T; readonly answered: Answered } | undefined;
    if (ended === undefined || (ended.answered.commits && !committed)) {
      throw withCode(
        new Error('The claim of this idempotency key was lost: nothing was committed'),
        'ERR_REPRISE_CLAIM_LOST',
      );
    }
    capture.resume(committed);
    return ended.value;
  } catch (error) {
    capture.takeBack();
    throw error;
  }
}

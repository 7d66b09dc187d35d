import type { NativeClaimOutcome, NativeFailure } from '../../../native/binding.js';
import type { ClaimOutcome } from '../contract.js';
import { outcomeOf } from '../native-outcome.js';
import { errorOf } from './failure.js';

interface Asker {
  resolve: (answer: never) => void;
  reject: (error: Error) => void;
}

/**
 * What a file has been asked and has not answered yet. It answers in groups, and brings a group by one call: a function
 * to call from another thread for each promise, as the runtime has it, costs more than all the rest.
 */
export class Questions {
  /** By ticket. Those that are free are in `#free`. */
  readonly #askers: (Asker | undefined)[] = [];
  readonly #free: number[] = [];

  /** Asks with a ticket. */
  ask<T extends boolean | ClaimOutcome>(send: (ticket: number) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const ticket = this.#free.at(-1) ?? this.#askers.length;
      // No answer comes before this returns. What throws here has used no ticket.
      send(ticket);
      this.#free.pop();
      this.#askers[ticket] = { resolve, reject };
    });
  }

  /** Takes tickets and answers, in turn. */
  readonly settle = (answers: (number | boolean | NativeClaimOutcome | NativeFailure)[]): void => {
    for (let place = 0; place < answers.length; place += 2) {
      const ticket = answers[place] as number;
      const asker = this.#askers[ticket];
      this.#askers[ticket] = undefined;
      this.#free.push(ticket);
      const answer = answers[place + 1];
      if (asker === undefined || answer === undefined) continue;
      if (typeof answer === 'object' && 'failure' in answer) asker.reject(errorOf(answer));
      else asker.resolve(found(answer) as never);
    }
  };
}

function found(answer: number | boolean | NativeClaimOutcome): boolean | ClaimOutcome {
  if (typeof answer === 'boolean') return answer;
  return typeof answer === 'number' ? { outcome: 'claimed', fence: answer } : outcomeOf(answer);
}

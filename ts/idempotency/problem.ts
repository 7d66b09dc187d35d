import type { RequestFacts } from '../../native/binding.js';
import { isBodyOpaque } from './facts.js';
import { problemsOf } from '../problem.js';
import type { ProblemDetails, ProblemKinds } from '../problem.js';

/** Why a request was refused. Stable, for programs. */
export type ProblemCode =
  | 'invalid-key'
  | 'missing-key'
  | 'unread-body'
  | 'key-reused'
  | 'key-of-another-caller'
  | 'in-progress'
  | 'not-replayable'
  | 'indeterminate'
  | 'store-unavailable';

/** The answer to a refused request: problem details by RFC 9457. */
export type Problem = ProblemDetails<ProblemCode>;

const KINDS: ProblemKinds<ProblemCode> = {
  'invalid-key': { status: 400, title: 'The idempotency key is not valid' },
  'missing-key': { status: 400, title: 'An idempotency key is required' },
  'unread-body': { status: 415, title: 'The body of this request cannot be compared with that of another' },
  'key-reused': { status: 422, title: 'The idempotency key was used for another request' },
  'key-of-another-caller': { status: 422, title: 'The idempotency key was used by another caller' },
  'in-progress': { status: 409, title: 'A request with this idempotency key is in progress' },
  'not-replayable': { status: 409, title: 'The answer to this idempotency key was not kept' },
  indeterminate: { status: 409, title: 'The outcome of this idempotency key is unknown' },
  'store-unavailable': { status: 503, title: 'Idempotency cannot be guaranteed at the moment' },
};

/** Makes the problem of a kind. */
export const problem = problemsOf(KINDS);

/** What a request is told whose key was used before, for something else or by somebody else. */
export function mismatchOf(facts: RequestFacts, differs: 'fingerprint' | 'identity'): Problem {
  if (differs === 'identity') {
    return problem(
      'key-of-another-caller',
      'The first request with this key came with other credentials, or asked another host. If it was yours, it may have ' +
        'been done: find out before you send it again, under whatever key.',
    );
  }
  if (isBodyOpaque(facts)) {
    return problem(
      'unread-body',
      'A request with this key has come before. Nobody can tell whether it asked for the same.',
    );
  }
  return problem('key-reused', 'Use a new key for a new request.');
}

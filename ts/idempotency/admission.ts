import type { RequestFacts } from '../../native/binding.js';
import { show, withCode } from '../errors.js';
import type { WarningCode } from '../warnings.js';
import { factsOf, isBodyKnown, isBodyUnread, type Caller, type ServerRequest } from './facts.js';
import type { Settings } from './options.js';
import { problem, type Problem } from './problem.js';

/** What becomes of a request before anybody asks the store for its key. */
export type Admission =
  | { readonly outcome: 'left-alone' }
  | { readonly outcome: 'refused'; readonly problem: Problem }
  | { readonly outcome: 'guarded'; readonly facts: RequestFacts };

const LEFT_ALONE: Admission = { outcome: 'left-alone' };

/**
 * Decides what becomes of a request.
 *
 * @param json the bytes of its body, if `parseJson` has read them
 * @param warn told of a likely mistake
 * @throws what a function of the user's throws, and TypeError with code `ERR_REPRISE_INVALID_ARGUMENT` for what it
 *   returns and must not
 */
export function admissionOf(
  req: ServerRequest,
  settings: Settings,
  json: Uint8Array | undefined,
  warn: (code: WarningCode) => void,
): Admission {
  const skipped = settings.skip?.(req) as unknown;
  // A promise is true whatever it resolves to: nothing would be guarded any more.
  if (skipped instanceof Promise) throw wrongResult('skip(req)', skipped, 'true or false');
  if (skipped) return LEFT_ALONE;
  const keyHeader = settings.headerName.toLowerCase();
  const facts = factsOf(req, keyHeader, callerOf(req, settings), json ?? rawBodyOf(req, settings));
  const hasKey = facts[2] !== undefined;
  if (!hasKey && settings.missingKey === 'pass') return LEFT_ALONE;
  if (!hasKey && settings.missingKey === 'reject') {
    const detail = `Send a key of your own in the ${settings.headerName} header.`;
    return { outcome: 'refused', problem: problem('missing-key', detail) };
  }
  const isKnown = hasKey ? !isBodyUnread(facts) : isBodyKnown(req, facts);
  if (isKnown) return { outcome: 'guarded', facts };
  warn('WRN_REPRISE_BODY_NOT_PARSED');
  if (settings.unreadBody === 'reject') {
    const detail = 'Send a body of a type that is read here, or a Content-Digest with a key of your own.';
    return { outcome: 'refused', problem: problem('unread-body', detail) };
  }
  // A key cannot be derived from a body that nobody knows.
  return hasKey ? { outcome: 'guarded', facts } : LEFT_ALONE;
}

function callerOf(req: ServerRequest, { scope, identity }: Settings): Caller {
  const named = scope && nameIn(scope(req), 'scope(req)');
  return named === undefined ? { identity: identity && nameIn(identity(req), 'identity(req)') } : { scope: named };
}

function rawBodyOf(req: ServerRequest, { rawBody }: Settings): Uint8Array | undefined {
  const bytes = rawBody?.(req) as unknown;
  if (bytes === undefined || bytes instanceof Uint8Array) return bytes;
  throw wrongResult('rawBody(req)', bytes, 'a Uint8Array, or undefined');
}

/** Whom a function of the user's names; an empty text names nobody. */
function nameIn(result: unknown, call: string): string | undefined {
  if (result === undefined || result === null || result === '') return undefined;
  // NaN is a tenant's number gone wrong, and all lone surrogates are one in UTF-8: whom they name would share keys.
  if (typeof result === 'number' && Number.isFinite(result)) return String(result);
  if (typeof result === 'string' && !/\p{Surrogate}/u.test(result)) return result;
  throw wrongResult(call, result, 'a well-formed string, or undefined');
}

/** A function of the user's gave what cannot be used. */
function wrongResult(call: string, result: unknown, allowed: string): Error {
  return withCode(
    new TypeError(`idempotencyMiddleware: ${call} returned ${show(result)}; allowed: ${allowed}`),
    'ERR_REPRISE_INVALID_ARGUMENT',
  );
}

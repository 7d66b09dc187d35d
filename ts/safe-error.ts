import type { Answer } from './idempotency/answer.js';
import { show } from './errors.js';

/** Characters of a message. */
const LONGEST_MESSAGE = 500;

/** Errors inside of errors. */
const DEEPEST = 4;

/** Characters in a row by which a part of an answer is known again. */
const PIECE = 8;

/** Bytes of an answer that is looked for in a message. Of a larger one, no message is shown: looking would take too long. */
const LARGEST_SOUGHT = 64 * 1024;

const WITHHELD = 'the message is withheld: it may quote what is kept';

/**
 * An error as logs and listeners may have it: its name, code, message and stack, and those of its causes. Clients of
 * databases hang a command with all its arguments on their errors, and so the answer that was to be kept.
 *
 * @param answer what the message must not hold a part of
 */
export function safeError(error: unknown, answer?: Answer): Error {
  return safe(error, answer && textsOf(answer), DEEPEST);
}

function safe(error: unknown, kept: readonly string[] | undefined, depth: number): Error {
  try {
    return copyOf(error, kept, depth);
  } catch {
    // Its properties may be anybody's getters.
    return new Error('an error that cannot be shown');
  }
}

function copyOf(error: unknown, kept: readonly string[] | undefined, depth: number): Error {
  if (typeof error !== 'object' || error === null) return new Error(messageOf(show(error), '', kept));
  const { name, message, stack, code, cause, errors } = error as Partial<Record<string, unknown>>;
  const copy = new Error(messageOf(typeof message === 'string' ? message : show(error), name, kept));
  const named = typeof name === 'string' ? name.slice(0, 100) : 'Error';
  const frames = typeof stack === 'string' ? stack.split('\n').filter((line) => /^\s+at /.test(line)) : [];
  Object.defineProperty(copy, 'name', { value: named, configurable: true, writable: true });
  copy.stack = [`${named}: ${copy.message}`, ...frames].join('\n');
  if (typeof code === 'string' || typeof code === 'number') Object.assign(copy, { code });
  if (depth > 0 && cause !== undefined) {
    Object.defineProperty(copy, 'cause', { value: safe(cause, kept, depth - 1), configurable: true, writable: true });
  }
  // Several addresses that were tried, say.
  if (depth > 0 && Array.isArray(errors)) {
    Object.assign(copy, { errors: errors.slice(0, 5).map((one) => safe(one, kept, depth - 1)) });
  }
  return copy;
}

/** A parser of JSON quotes the text that it stumbles over. */
function messageOf(message: string, name: unknown, kept: readonly string[] | undefined): string {
  if (name === 'SyntaxError' || quotes(message, kept)) return WITHHELD;
  return message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message;
}

function quotes(message: string, kept: readonly string[] = []): boolean {
  if (kept.some((text) => text.length > LARGEST_SOUGHT * 2)) return true;
  const start = message.slice(0, LONGEST_MESSAGE);
  for (let at = 0; at + PIECE <= start.length; at += PIECE / 2) {
    const piece = start.slice(at, at + PIECE);
    if (kept.some((text) => text.includes(piece))) return true;
  }
  return false;
}

/** What an answer looks like in a message: as text, and as the base64 that simple stores are given. */
function textsOf({ headers, body }: Answer): readonly string[] {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : Buffer.from(body);
  return [bytes.toString(), bytes.toString('base64'), headers.join('\n')];
}

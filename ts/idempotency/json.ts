import { types } from 'node:util';

/**
 * The JSON text of what a parser left of a body; undefined where no text shows all of it: a Map, a stream, an object
 * with private fields, a cycle, a `toJSON` that throws, at whatever depth. Whatever the depth is, too.
 *
 * `JSON.stringify` does nearly all the work. Three things it gets wrong, and each leaves a trace: it throws at a BigInt;
 * what it has no text for is `{}`, as an empty object is; a number beyond the doubles, which `JSON.parse('1e400')` makes,
 * is `null`. Only where there is such a trace the value is looked through, and only what is wrong is written anew. And
 * its time grows with the square of the depth (measured on Node 20: 4 ms for 3,000 levels, and beyond 4,000 to 6,000 it
 * overflows the stack), so that what is deep is written here from the start.
 *
 * @param bytes how long the body is, if that is known: a short one is not deep enough to look
 */
export function jsonText(value: unknown, bytes = Infinity): string | undefined {
  try {
    if (bytes > DEEP && typeof value === 'object' && value !== null && isDeep(value, DEEP_LEVELS)) {
      return writtenText(value);
    }
    const text = stringify(value);
    if (text === undefined) return undefined;
    const isSuspect = text.includes('{}') || text.includes('null') || isInstance(value);
    return isSuspect && !isShownByJson(value) ? writtenText(value) : text;
  } catch {
    try {
      return writtenText(value);
    } catch {
      // A getter, a proxy or a `toJSON` of the application's. The handler may never touch it.
      return undefined;
    }
  }
}

/** Whether a value is an object of a class. */
function isInstance(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !isPlain(value);
}

/** Bytes from which on a body is looked at for its depth. */
const DEEP = 1024;
const DEEP_LEVELS = 100;

/** Whether there are so many levels; so there are on a path that leads round for ever. */
function isDeep(value: object, levels: number): boolean {
  if (levels === 0) return true;
  if (Array.isArray(value)) {
    for (const member of value as unknown[]) {
      if (typeof member === 'object' && member !== null && isDeep(member, levels - 1)) return true;
    }
    return false;
  }
  for (const name in value) {
    const member = (value as Record<string, unknown>)[name];
    if (typeof member === 'object' && member !== null && isDeep(member, levels - 1)) return true;
  }
  return false;
}

/** A body has no more levels than bytes; a getter that makes ever new objects never ends. */
const MOST_LEVELS = 1_000_000;

type Container = Record<string, unknown> | readonly unknown[];

/** Thrown for a value of which nobody knows all. */
const OPAQUE = new Error('opaque');

/** What an object says that JSON should show in its place. */
function converted(value: unknown, name: string): unknown {
  const type = typeof value;
  if ((type !== 'object' && type !== 'bigint') || value === null) return value;
  const { toJSON } = value as { toJSON?: unknown };
  return typeof toJSON === 'function' ? toJSON.call(value, name) : value;
}

/** What a value holds, as far as that is known: a container whose members JSON should show, or what is none. */
function contentOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || isPlain(value)) return value;
  const bytes = bytesIn(value);
  if (bytes !== undefined) return { bytes: Buffer.from(bytes).toString('base64') };
  if (types.isBoxedPrimitive(value)) return value.valueOf();
  switch (Object.prototype.toString.call(value)) {
    case '[object URLSearchParams]':
    case '[object FormData]':
      return fieldsOf(value as Iterable<[string, unknown]>);
    case '[object Object]':
      // An instance is known by its fields, if it has any. Those of a stream say nothing.
      if (typeof (value as { pipe?: unknown }).pipe !== 'function' && Object.keys(value).length > 0) return value;
  }
  throw OPAQUE;
}

/** Whether an object is a list, or of no class. Those of another realm have another `Object.prototype`. */
export function isPlain(value: object): boolean {
  if (Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The bytes of an `ArrayBuffer` or of a view of one, of whatever kind and realm. */
export function bytesIn(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (types.isArrayBufferView(value)) return unshared(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  return types.isAnyArrayBuffer(value) ? unshared(new Uint8Array(value)) : undefined;
}

/** Other threads may write to what they share. */
function unshared(bytes: Uint8Array): Uint8Array {
  return types.isSharedArrayBuffer(bytes.buffer) ? Uint8Array.from(bytes) : bytes;
}

/** The values of each field, in their order, as parsers of forms give them. */
function fieldsOf(form: Iterable<[string, unknown]>): Container {
  const fields = Object.create(null) as Record<string, string[]>;
  for (const [name, value] of form) {
    // A file can be read only later.
    if (typeof value !== 'string') throw OPAQUE;
    (fields[name] ??= []).push(value);
  }
  return fields;
}

/** Whether JSON has a text for a value, right or wrong. */
function isShown(value: unknown): boolean {
  return value !== undefined && typeof value !== 'function' && typeof value !== 'symbol';
}

/** Whether `JSON.stringify`, which has come to its end, has shown all of a value. */
function isShownByJson(root: unknown): boolean {
  const left = [root];
  while (left.length > 0) {
    const value = converted(left.pop(), '');
    const content = contentOf(value);
    if (content !== value || (typeof value === 'number' && !Number.isFinite(value))) return false;
    if (typeof value !== 'object' || value === null) continue;
    const members: unknown[] = Object.values(value);
    if (members.length > 0 && !Array.isArray(value) && isHidden(members)) return false;
    for (const member of members) {
      if (typeof member === 'object' ? member !== null : typeof member === 'number' && !Number.isFinite(member)) {
        left.push(member);
      }
    }
  }
  return true;
}

/** Whether an object has members, and JSON shows none of them: nothing but functions looks empty, and is not. */
function isHidden(members: readonly unknown[]): boolean {
  return !members.some(isShown) && members.some((member) => member !== undefined);
}

/** A container that is being written. */
interface Open {
  readonly container: Container;
  /** The names of its members; of a list, there are none. */
  readonly names: readonly string[] | undefined;
  readonly length: number;
  /** Which member is next. */
  next: number;
  /** Whether no member has been written yet. */
  isEmpty: boolean;
}

/** Without recursion: what is still to be written is on a stack of our own. */
function writtenText(root: unknown): string {
  const open: Open[] = [];
  // On a path that leads round for ever, this one comes by again: it is replaced at each power of two.
  let mark: { container: unknown; level: number } = { container: undefined, level: 0 };
  // Where there is much to write, its members mostly have the same few names.
  const namesPrinted = new Map<string, string>();
  let text = '';
  let value = contentOf(converted(root, ''));
  if (!isShown(value)) throw OPAQUE;
  for (;;) {
    if (typeof value === 'object' && value !== null) {
      if (value === mark.container || open.length >= MOST_LEVELS) throw OPAQUE;
      const container = value as Container;
      const names = Array.isArray(container) ? undefined : Object.keys(container);
      if (names && isHidden(Object.values(container))) throw OPAQUE;
      open.push({ container, names, length: names?.length ?? (value as unknown[]).length, next: 0, isEmpty: true });
      if (open.length > 2 * mark.level) mark = { container, level: open.length };
      text += names ? '{' : '[';
    } else {
      text += scalarText(value);
    }
    // To the next value to write: the rest of the innermost container that has one.
    for (;;) {
      const inner = open.at(-1);
      if (inner === undefined) return text;
      if (inner.next === inner.length) {
        text += inner.names ? '}' : ']';
        open.pop();
        if (open.length < mark.level) mark = { container: undefined, level: 0 };
        continue;
      }
      const name = inner.names === undefined ? inner.next : (inner.names[inner.next] ?? '');
      value = (inner.container as Record<string, unknown>)[name];
      if (typeof value !== 'string' && typeof value !== 'number') value = contentOf(converted(value, String(name)));
      inner.next++;
      if (!isShown(value)) {
        if (inner.names) continue;
        value = null;
      }
      if (!inner.isEmpty) text += ',';
      inner.isEmpty = false;
      if (inner.names) {
        let printed = namesPrinted.get(name as string);
        if (printed === undefined) namesPrinted.set(name as string, (printed = `${JSON.stringify(name)}:`));
        text += printed;
      }
      break;
    }
  }
}

function scalarText(value: unknown): string {
  switch (typeof value) {
    case 'number':
      // Numbers that nobody sends, for the canonical form, which keeps all numbers apart.
      if (Number.isNaN(value)) return '1e-999';
      if (Math.abs(value) === Infinity) return value > 0 ? '1e999' : '-1e999';
      return String(value);
    case 'bigint':
      return String(value);
    default:
      return JSON.stringify(value);
  }
}

/** Typed as it is: `undefined` for what JSON has no text for. */
function stringify(value: unknown): string | undefined {
  return JSON.stringify(value);
}

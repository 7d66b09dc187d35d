import { IncomingMessage, ServerResponse, type OutgoingHttpHeader, type OutgoingHttpHeaders } from 'node:http';
import { Socket } from 'node:net';

/** The headers of a response on entry: what other middleware set, and will set again for a replay. */
export type Snapshot = ReadonlyMap<string, OutgoingHttpHeader>;

/** Headers as `writeHead` takes them. */
export type HeadArgument = OutgoingHttpHeaders | readonly unknown[];

/** Of this connection or this moment, so of no other: never kept. */
const DROPPED = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'date',
  'age',
  'content-length',
  'www-authenticate',
]);
const DROPPED_FAMILY = /^(proxy-|(x-)?ratelimit)/;

/** Takes the headers that are set by now. */
export function snapshot(res: ServerResponse): Snapshot {
  const headers = new Map<string, OutgoingHttpHeader>();
  for (const name of res.getHeaderNames()) {
    const value = res.getHeader(name);
    if (value !== undefined) headers.set(name, Array.isArray(value) ? [...value] : value);
  }
  return headers;
}

/**
 * The headers that were set since the snapshot, as they will go on the wire, among them those handed to `writeHead`,
 * which `getHeaders()` does not show. To be called before the real `writeHead`: other middleware adds its own inside.
 */
export function headersSince(
  before: Snapshot,
  res: ServerResponse,
  argument: HeadArgument | undefined,
  keepCookies: boolean,
): string[] {
  const fields: [name: string, value: OutgoingHttpHeader][] = [];
  // HTTP/2's compatible response knows no raw names; there they are lower case on the wire anyway.
  const own = res as { getRawHeaderNames?: () => string[] };
  const names = own.getRawHeaderNames?.() ?? res.getHeaderNames();
  for (const name of names) {
    const value = res.getHeader(name);
    if (value !== undefined && !isSame(before.get(name.toLowerCase()), value)) fields.push([name, value]);
  }
  const merged = argument === undefined ? fields : merge(fields, fieldsOf(argument), names.length > 0);
  const flat: string[] = [];
  for (const [name, value] of merged) {
    const lower = name.toLowerCase();
    if (DROPPED.has(lower) || DROPPED_FAMILY.test(lower) || (lower === 'set-cookie' && !keepCookies)) continue;
    if (Array.isArray(value)) for (const item of value) flat.push(name, item);
    else flat.push(name, String(value));
  }
  return flat;
}

/** The value of a header among those that will go out; the argument of `writeHead` wins. */
export function effectiveHeader(
  res: ServerResponse,
  argument: HeadArgument | undefined,
  name: string,
): string | undefined {
  const given = argument && fieldsOf(argument).find(([given]) => given.toLowerCase() === name);
  const value = given ? given[1] : res.getHeader(name);
  return value === undefined ? undefined : String(value);
}

function isSame(a: OutgoingHttpHeader | undefined, b: OutgoingHttpHeader): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

function fieldsOf(argument: HeadArgument): [name: string, value: OutgoingHttpHeader][] {
  if (!Array.isArray(argument)) {
    return Object.entries(argument as OutgoingHttpHeaders).filter(isField);
  }
  const list = argument as readonly unknown[];
  const pairs = Array.isArray(list[0])
    ? (list as readonly [unknown, unknown][])
    : Array.from({ length: Math.floor(list.length / 2) }, (_, i) => [list[i * 2], list[i * 2 + 1]] as const);
  return pairs.map(([name, value]) => [String(name), value as OutgoingHttpHeader]);
}

function isField(field: [string, OutgoingHttpHeader | undefined]): field is [string, OutgoingHttpHeader] {
  return field[1] !== undefined;
}

/** What Node makes of headers set before and headers given to `writeHead`: the given ones win. */
function merge(
  set: [string, OutgoingHttpHeader][],
  given: [string, OutgoingHttpHeader][],
  anySet: boolean,
): [string, OutgoingHttpHeader][] {
  const names = new Set(given.map(([name]) => name.toLowerCase()));
  // Without headers set before, an array goes out as it is. With some, Node 20 keeps the last of repeated names,
  // later versions keep all.
  const kept =
    !anySet || keepsRepeated()
      ? given
      : given.filter(([name], i) => given.findLastIndex(([other]) => isSameName(name, other)) === i);
  return [...set.filter(([name]) => !names.has(name.toLowerCase())), ...kept];
}

function isSameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

let repeatedAreKept: boolean | undefined;

/** Asks this version of Node, once: the documentation does not say. */
function keepsRepeated(): boolean {
  if (repeatedAreKept === undefined) {
    const probe = new ServerResponse(new IncomingMessage(new Socket()));
    probe.setHeader('a', '1');
    probe.writeHead(200, ['b', '1', 'b', '2']);
    repeatedAreKept = String(probe.getHeader('b')) !== '2';
  }
  return repeatedAreKept;
}

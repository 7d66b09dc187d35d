import {
  STATUS_CODES,
  type IncomingMessage,
  type OutgoingHttpHeader,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import type { Head } from '../stores/head.js';

/** The headers of a response on entry: what other middleware set, and will set again for a replay. */
export type Snapshot = ReadonlyMap<string, OutgoingHttpHeader>;

/** Headers as `writeHead` takes them. */
type HeadArgument = OutgoingHttpHeaders | readonly unknown[];

/** The arguments of `writeHead`: a status code; a reason phrase, headers, or both. */
export type HeadArguments = [statusCode: number, second?: string | HeadArgument, third?: HeadArgument];

/** The head of an answer as it is about to be sent. Of its header fields, those to be kept. */
export interface SeenHead extends Omit<Head, 'timestamp'> {
  /** Names that other middleware had set, and that are gone. */
  readonly removed: readonly string[];
  /** Bytes of the body, if the head says so. */
  readonly contentLength: number | undefined;
  /** Whether it sets a cookie, be that kept or not. */
  readonly setsCookie: boolean;
  readonly isEventStream: boolean;
  /** Whether what is kept says that its body is encoded. */
  readonly isCompressed: boolean;
}

/** Of this connection or this moment, so of no other: never kept. */
const DROPPED = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'date',
  'age',
  'content-length',
  'www-authenticate',
]);
const DROPPED_FAMILY = /^(proxy-|(x-)?ratelimit)/;

/** A field's name in lower case, and whether its field is never kept. */
interface FieldName {
  readonly lower: string;
  readonly isDropped: boolean;
}

/** An application sends the same few names with every answer; but it may also make them up. */
const KNOWN_NAMES = new Map<string, FieldName>();
const MOST_KNOWN_NAMES = 256;

function fieldName(name: string): FieldName {
  const known = KNOWN_NAMES.get(name);
  if (known) return known;
  const lower = name.toLowerCase();
  const fresh = { lower, isDropped: DROPPED.has(lower) || DROPPED_FAMILY.test(lower) };
  if (KNOWN_NAMES.size < MOST_KNOWN_NAMES) KNOWN_NAMES.set(name, fresh);
  return fresh;
}

/** What HTTP/1 lets into a field or a reason phrase; HTTP/2 of Node does not check, and its clients ignore the rest. */
const TEXT = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Takes the headers that are set by now. */
export function snapshot(res: ServerResponse): Snapshot {
  const headers = new Map<string, OutgoingHttpHeader>();
  for (const name of namesOf(res)) {
    const value = res.getHeader(name);
    if (value !== undefined) headers.set(name, Array.isArray(value) ? [...value] : value);
  }
  return headers;
}

/** What a response would say if it were sent now. */
export interface ResponseState {
  readonly statusCode: number;
  readonly statusMessage: string;
  readonly headers: Snapshot;
}

/** Takes what a response would say now, for {@link restore}. */
export function stateOf(res: ServerResponse): ResponseState {
  return { statusCode: res.statusCode, statusMessage: res.statusMessage, headers: snapshot(res) };
}

/** Makes a response say again what it would have said before. */
export function restore(res: ServerResponse, { statusCode, statusMessage, headers }: ResponseState): void {
  res.statusCode = statusCode;
  // HTTP/2 has none, and warns of whoever sets one.
  if (res.statusMessage !== statusMessage) res.statusMessage = statusMessage;
  for (const name of namesOf(res)) if (!headers.has(name)) res.removeHeader(name);
  for (const [name, value] of headers) res.setHeader(name, value);
}

/**
 * Reads the head that a call of `writeHead` is about to send. Kept of it are the headers set since the snapshot, as
 * they will go on the wire, among them those handed to `writeHead`, which `getHeaders()` does not show. To be called
 * before the real `writeHead`: other middleware adds its own inside.
 */
export function readHead(
  before: Snapshot,
  req: IncomingMessage,
  res: ServerResponse,
  args: HeadArguments,
  keepCookies: boolean,
): SeenHead {
  const [, second, third] = args;
  // Express 4 hands on a status that was given as a string.
  const statusCode = args[0] | 0;
  const given = typeof second === 'string' ? third : (third ?? second);
  const headers: string[] = [];
  const isHttp2 = req.httpVersionMajor > 1;
  let contentLength: number | undefined;
  let isChunked = false;
  let setsCookie = false;
  let isEventStream = false;
  let isCompressed = false;
  const fields = given == null ? fieldsSet(res) : fieldsWith(res, given, before);
  for (const [name, value] of fields) {
    const { lower, isDropped } = fieldName(name);
    const earlier = before.get(lower);
    if (lower === 'content-length') contentLength = Number(listOf(value).at(-1));
    if (lower === 'transfer-encoding') {
      isChunked = /chunked/i.test(String(value));
      // HTTP/2 has none, and leaves it out.
      if (isHttp2) continue;
    }
    if (lower === 'content-type') isEventStream = /^\s*text\/event-stream/i.test(String(value));
    if (isDropped) continue;
    if (lower === 'set-cookie') {
      const cookies = listOf(value).filter((cookie) => !listOf(earlier ?? []).includes(cookie));
      if (cookies.length > 0) setsCookie = true;
      if (keepCookies) for (const cookie of cookies) headers.push(name, cookie);
    } else if (!isSame(earlier, value)) {
      if (lower === 'content-encoding') isCompressed = true;
      if (typeof value === 'string' && !isHttp2) headers.push(name, value);
      else for (const item of listOf(value)) if (!isHttp2 || TEXT.test(item)) headers.push(name, item);
    }
  }
  const removed: string[] = [];
  for (const name of before.keys()) {
    if (res.getHeader(name) === undefined && !fields.some((field) => field[0].toLowerCase() === name))
      removed.push(name);
  }
  return {
    statusCode,
    statusMessage: messageOf(res, statusCode, second, isHttp2),
    headers,
    removed,
    // Beside an encoding for the transfer a length means nothing (RFC 9112 §6.3).
    contentLength: isChunked ? undefined : contentLength,
    setsCookie,
    isEventStream,
    isCompressed,
  };
}

/** Whether Node will take a head without arguments: the header fields were checked when they were set. */
export function isSendable({ statusCode, statusMessage }: SeenHead, res: ServerResponse): boolean {
  // Not every framing of a body allows for trailers.
  return statusCode >= 100 && statusCode <= 999 && TEXT.test(statusMessage) && res.getHeader('trailer') === undefined;
}

/**
 * The head as it was sent, to be called after the real `writeHead`. Of a list given to that, versions of Node and
 * middleware in front differ in what becomes of repeated names, and in which order the fields leave.
 */
export function asSent(head: SeenHead, args: HeadArguments, res: ServerResponse): SeenHead {
  const given = typeof args[1] === 'string' ? args[2] : (args[2] ?? args[1]);
  const order = namesOf(res);
  // Where nothing was set before, the list goes out as it is.
  if (!Array.isArray(given) || order.length === 0) return head;
  const fields = new Map<string, { name: string; values: string[] }>();
  for (let i = 0; i < head.headers.length; i += 2) {
    const [name = '', value = ''] = head.headers.slice(i, i + 2);
    const field = fields.get(name.toLowerCase());
    if (field) field.values.push(value);
    else fields.set(name.toLowerCase(), { name, values: [value] });
  }
  const headers = [...fields]
    .sort(([a], [b]) => order.indexOf(a) - order.indexOf(b))
    .flatMap(([lower, { name, values }]) => {
      const sent = listOf(res.getHeader(lower) ?? values);
      return (sent.length < values.length ? sent : values).flatMap((value) => [name, value]);
    });
  return { ...head, headers };
}

/** Whether middleware in front has added a cookie of its own, which it does while the head is written. */
export function setsAnotherCookie(before: Snapshot, res: ServerResponse): boolean {
  const now = res.getHeader('set-cookie');
  if (now === undefined) return false;
  const earlier = listOf(before.get('set-cookie') ?? []);
  return listOf(now).some((cookie) => !earlier.includes(cookie));
}

/** The reason phrase, as Node chooses it. */
function messageOf(res: ServerResponse, statusCode: number, second: unknown, isHttp2: boolean): string {
  if (typeof second === 'string') return second;
  // HTTP/2 has none, and warns of whoever asks. Node's types promise a string where there is none as yet.
  const set = isHttp2 ? '' : res.statusMessage;
  return set || (STATUS_CODES[statusCode] ?? 'unknown');
}

/** Names of the headers that are set; a stand-in for a response may not be able to tell. */
function namesOf(res: ServerResponse): string[] {
  const { getHeaderNames } = res as Partial<ServerResponse>;
  return typeof getHeaderNames === 'function' ? getHeaderNames.call(res) : [];
}

function listOf(value: OutgoingHttpHeader): string[] {
  return Array.isArray(value) ? value : [String(value)];
}

function isSame(a: OutgoingHttpHeader | undefined, b: OutgoingHttpHeader): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

type Field = readonly [name: string, value: OutgoingHttpHeader];

/** The fields that are set by now. */
function fieldsSet(res: ServerResponse): Field[] {
  // HTTP/2's compatible response knows no raw names; there they are lower case on the wire anyway.
  const { getRawHeaderNames } = res as { getRawHeaderNames?: () => string[] };
  const names = getRawHeaderNames?.call(res) ?? namesOf(res);
  const fields: Field[] = [];
  for (const name of names) {
    // In lower case, which Node asks for, and as a string that it has seen before.
    const value = res.getHeader(fieldName(name).lower);
    if (value !== undefined) fields.push([name, value]);
  }
  return fields;
}

/** What Node makes of the fields set before and those given to `writeHead`: the given ones win. */
function fieldsWith(res: ServerResponse, given: HeadArgument, before: Snapshot): readonly Field[] {
  const set = fieldsSet(res);
  const fields = fieldsOf(given);
  // Where none was ever set, they go out as they are.
  if (set.length === 0 && before.size === 0) return fields;
  const merged = new Map(set.map((field) => [field[0].toLowerCase(), field]));
  if (!Array.isArray(given)) {
    for (const field of fields) merged.set(field[0].toLowerCase(), field);
    return [...merged.values()];
  }
  const isGiven = new Set<string>();
  for (const field of fields) {
    const lower = field[0].toLowerCase();
    const earlier = isGiven.has(lower) ? merged.get(lower) : undefined;
    isGiven.add(lower);
    // All its values are one field: as a whole it is compared with what other middleware had set.
    merged.set(lower, earlier ? [earlier[0], [...listOf(earlier[1]), ...listOf(field[1])]] : field);
  }
  return [...merged.values()];
}

function fieldsOf(given: HeadArgument): Field[] {
  if (!Array.isArray(given)) {
    return Object.entries(given as OutgoingHttpHeaders).filter((field): field is [string, OutgoingHttpHeader] =>
      isField(field),
    );
  }
  const list = given as readonly unknown[];
  const pairs = Array.isArray(list[0])
    ? (list as readonly [unknown, unknown][])
    : Array.from({ length: Math.floor(list.length / 2) }, (_, i) => [list[i * 2], list[i * 2 + 1]] as const);
  return pairs.map(([name, value]) => [String(name), value as OutgoingHttpHeader]);
}

function isField(field: [string, OutgoingHttpHeader | undefined]): boolean {
  return field[0] !== '' && field[1] !== undefined;
}

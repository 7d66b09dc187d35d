import type { IncomingMessage } from 'node:http';
import type { RequestFacts } from '../../native/binding.js';
import { jsonText } from './json.js';

/** A request as Express, connect or `node:http` hands it on. */
export type ServerRequest = IncomingMessage & {
  /** The URL as it came in; Express and connect change `url` where a router is mounted. */
  originalUrl?: string;
  /** What a body parser made of the body. */
  body?: unknown;
};

/** Kinds of body; the numbers are those of the binding. */
const ABSENT = 0;
const UNREAD = 1;
const JSON_TEXT = 2;
const FORM_TEXT = 3;
const RAW_BYTES = 4;
const RAW_TEXT = 5;
const CONTENT_DIGEST = 6;
const JSON_BYTES = 7;

/**
 * Whether all of the body is known, so that a key may be derived from it. It is not where nobody has read it, not even
 * by a digest, which its sender may have got wrong; nor by the fields of a form that files may have come with.
 */
export function isBodyKnown(req: ServerRequest): boolean {
  if (!hasBody(req)) return true;
  if (isLeftUnread(req)) return false;
  return !isMultipart(req.headers['content-type']) || req.headers['content-digest'] !== undefined;
}

/** Two header lines are refused, not joined: the space makes that sure. */
const NO_KEY = 'two lines';

/**
 * The facts by which a request is known, in the order of the binding.
 *
 * @param json the bytes of its body, if that is JSON
 */
export function factsOf(
  req: ServerRequest,
  keyHeader: string,
  scope: string | undefined,
  json: Uint8Array | undefined,
): RequestFacts {
  const { headers } = req;
  const contentType = headers['content-type'];
  const key = headers[keyHeader];
  const sentTwice = typeof key === 'object' || (key?.includes(',') === true && countLines(req, keyHeader) > 1);
  const [bodyKind, body] = bodyOf(req, contentType ?? '', json);
  return [
    req.method ?? '',
    req.originalUrl ?? req.url ?? '',
    sentTwice ? NO_KEY : key,
    contentType,
    scope,
    scope === undefined ? credentialsOf(req) : undefined,
    bodyKind,
    body,
  ];
}

/** Who asks. A line break, which no header may have, keeps a cookie apart from an `Authorization` of the same text. */
function credentialsOf({ headers: { authorization, cookie } }: ServerRequest): string | undefined {
  return authorization ?? (cookie === undefined ? undefined : `cookie\n${cookie}`);
}

/** A key as it is without the quotes that a client may have put around it. */
export function unquote(key: string): string {
  return key.startsWith('"') ? key.slice(1, -1).replace(/\\(.)/g, '$1') : key;
}

/** Whether there is a body that nobody has read, so that nothing is known of it. */
export function isUnread(facts: RequestFacts): boolean {
  return facts[6] === UNREAD;
}

/** Node joins repeated lines with commas, which one key may have too, and an empty line leaves no other trace. */
function countLines({ rawHeaders }: ServerRequest, name: string): number {
  return rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === name).length;
}

function bodyOf(
  req: ServerRequest,
  contentType: string,
  json: Uint8Array | undefined,
): [kind: number, body: string | Uint8Array | undefined] {
  const { body } = req;
  if (!hasBody(req) && (body === undefined || isEmptyObject(body))) return [ABSENT, undefined];
  const multipart = isMultipart(contentType);
  const digest = req.headers['content-digest'];
  if (isLeftUnread(req) || (multipart && digest !== undefined)) {
    return typeof digest === 'string' ? [CONTENT_DIGEST, digest] : [UNREAD, undefined];
  }
  if (body instanceof Uint8Array) return [RAW_BYTES, body];
  if (typeof body === 'string' && !/[/+]json\s*(;|$)/i.test(contentType)) return [RAW_TEXT, body];
  const form = multipart || /^\s*application\/x-www-form-urlencoded/i.test(contentType);
  if (form) return [FORM_TEXT, jsonText(body)];
  return json === undefined ? [JSON_TEXT, jsonText(body)] : [JSON_BYTES, json];
}

/** Whether no parser took the body; Express 4 then has an empty object for it. */
export function isLeftUnread({ body, readableEnded }: ServerRequest): boolean {
  return body === undefined || (isEmptyObject(body) && !readableEnded);
}

function isMultipart(contentType: string | undefined): boolean {
  return contentType !== undefined && /^\s*multipart\//i.test(contentType);
}

/** Whether a body follows the head. */
export function hasBody(req: ServerRequest): boolean {
  if (req.httpVersionMajor > 1) {
    // HTTP/2 needs no header to say so: the stream ends with the headers, or it does not.
    return !(req as unknown as { stream: { endAfterHeaders: boolean } }).stream.endAfterHeaders;
  }
  const length = req.headers['content-length'];
  return req.headers['transfer-encoding'] !== undefined || (length !== undefined && Number(length) !== 0);
}

function isEmptyObject(body: unknown): boolean {
  if (typeof body !== 'object' || body === null || Array.isArray(body) || body instanceof Uint8Array) return false;
  for (const name in body) if (Object.hasOwn(body, name)) return false;
  return true;
}

import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { RequestFacts } from '../../native/binding.js';
import { bytesIn, isPlain, jsonText } from './json.js';

/** A request as Express, connect or `node:http` hands it on. */
export type ServerRequest = IncomingMessage & {
  /** The URL as it came in; Express and connect change `url` where a router is mounted. */
  originalUrl?: string;
  /** What a body parser made of the body. */
  body?: unknown;
};

/** Whose request it is, as far as the application says. Both absent: what the request shows of itself. */
export interface Caller {
  /** Whose key it is. */
  readonly scope?: string | undefined;
  /** Who asks. */
  readonly identity?: string | undefined;
}

/** Kinds of body; the numbers are those of the binding. */
const ABSENT = 0;
const UNREAD = 1;
const JSON_TEXT = 2;
const FORM_TEXT = 3;
const RAW_BYTES = 4;
const RAW_TEXT = 5;
const CONTENT_DIGEST = 6;
const JSON_BYTES = 7;
const OPAQUE = 8;

/** Two header lines are refused, not joined: the space makes that sure. */
const NO_KEY = 'two lines';

/**
 * The facts by which a request is known, in the order of the binding.
 *
 * @param bytes those of its body, if they are known
 */
export function factsOf(
  req: ServerRequest,
  keyHeader: string,
  { scope, identity }: Caller,
  bytes: Uint8Array | undefined,
): RequestFacts {
  const { headers } = req;
  const contentType = headers['content-type'];
  const key = headers[keyHeader];
  const sentTwice = typeof key === 'object' || (key?.includes(',') === true && countLines(req, keyHeader) > 1);
  const { host, url } = targetOf(req);
  const [bodyKind, body] = bodyOf(req, contentType ?? '', bytes);
  return [
    req.method ?? '',
    url,
    sentTwice ? NO_KEY : key,
    contentType,
    scope,
    scope === undefined ? callerOf(req, host, identity) : undefined,
    bodyKind,
    body,
  ];
}

/** Who asks, as far as anybody says. No header has a line break: it keeps the parts apart. */
function callerOf(
  { headers: { authorization, cookie } }: ServerRequest,
  host: string,
  identity: string | undefined,
): string | undefined {
  if (identity !== undefined) return `identity\n${identity}`;
  // An empty header names nobody.
  if (authorization) return `authorization\n${host}\n${authorization}`;
  if (cookie) return `cookie\n${host}\n${cookie}`;
  return isDomain(host) ? `host\n${host}` : undefined;
}

/** A domain name may be a tenant's. An address, or a name of one label (`localhost`, a container), is the server's own. */
function isDomain(host: string): boolean {
  const dot = host.lastIndexOf('.');
  return dot >= 0 && /[a-z]/.test(host.slice(dot + 1));
}

/** A target in absolute form, as a client of a proxy sends it (RFC 9112 §3.2.2): authority, path and query. */
const ABSOLUTE_FORM = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)(.*)$/i;

/** The name of the host that is asked, and the path with its query. An authority in the target overrides `Host`. */
function targetOf(req: ServerRequest): { host: string; url: string } {
  const target = req.originalUrl ?? req.url ?? '';
  // HTTP/2 calls the host `:authority`, and allows either.
  const host = (req.headers[':authority'] as string | undefined) ?? req.headers.host ?? '';
  const absolute = target.startsWith('/') ? null : ABSOLUTE_FORM.exec(target);
  if (absolute === null) return { host: hostName(host), url: target };
  const [, authority = '', rest = ''] = absolute;
  const url = rest.startsWith('/') ? rest : `/${rest}`;
  return { host: hostName(authority.slice(authority.lastIndexOf('@') + 1) || host), url };
}

/** Without the port, which cookies do not tell apart either (RFC 6265 §8.5): one service may listen at several. */
function hostName(authority: string): string {
  return authority.replace(/:\d*$/, '').toLowerCase();
}

/** A key as it is without the quotes that a client may have put around it. */
export function unquote(key: string): string {
  return key.startsWith('"') ? key.slice(1, -1).replace(/\\(.)/g, '$1') : key;
}

/** Whether there is a body of which nothing is known: nobody has read it, or a parser left what nobody can read. */
export function isBodyUnread([, , , , , , kind]: RequestFacts): boolean {
  return kind === UNREAD || kind === OPAQUE;
}

/** Whether no other request may be taken for this one, since a parser left of its body what nobody can read. */
export function isBodyOpaque([, , , , , , kind]: RequestFacts): boolean {
  return kind === OPAQUE;
}

/**
 * Whether all of the body is known, so that a key may be derived from it. It is not where nobody has read it, not even
 * by a digest, which its sender may have got wrong; nor by the fields of a form that files may have come with.
 */
export function isBodyKnown(req: ServerRequest, facts: RequestFacts): boolean {
  const digest = facts[6] === CONTENT_DIGEST;
  if (isBodyUnread(facts) || (digest && isLeftUnread(req))) return false;
  return digest === isMultipart(req.headers['content-type']) || !hasBody(req);
}

/** Node joins repeated lines with commas, which one key may have too, and an empty line leaves no other trace. */
function countLines({ rawHeaders }: ServerRequest, name: string): number {
  return rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === name).length;
}

function bodyOf(
  req: ServerRequest,
  contentType: string,
  bytes: Uint8Array | undefined,
): [kind: number, body: string | Uint8Array | undefined] {
  const { body, headers } = req;
  if (!hasBody(req) && (body === undefined || isEmptyObject(body))) return [ABSENT, undefined];
  const multipart = isMultipart(contentType);
  const digest = headers['content-digest'];
  const isLeft = isLeftUnread(req);
  if (typeof digest === 'string' && (isLeft || multipart)) return [CONTENT_DIGEST, digest];
  if (isLeft) return [UNREAD, headers['content-length'] ?? ''];
  if (typeof body === 'string' && !/[/+]json\s*(;|$)/i.test(contentType)) return [RAW_TEXT, body];
  const raw = bytesIn(body);
  if (raw !== undefined) return [RAW_BYTES, raw];
  const form = multipart || /^\s*application\/x-www-form-urlencoded/i.test(contentType);
  if (bytes !== undefined && !form) return [JSON_BYTES, bytes];
  const text = jsonText(body, headers['content-encoding'] ? undefined : Number(headers['content-length'] ?? Infinity));
  if (text !== undefined) return [form ? FORM_TEXT : JSON_TEXT, text];
  if (bytes !== undefined) return [RAW_BYTES, bytes];
  if (typeof digest === 'string') return [CONTENT_DIGEST, digest];
  return [OPAQUE, randomUUID()];
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
  if (typeof body !== 'object' || body === null || Array.isArray(body) || !isPlain(body)) return false;
  for (const name in body) if (Object.hasOwn(body, name)) return false;
  return true;
}

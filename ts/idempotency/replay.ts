import { STATUS_CODES, type IncomingMessage, type OutgoingHttpHeader, type ServerResponse } from 'node:http';
import zlib, { type CompressCallback } from 'node:zlib';
import { exposeHeaders } from '../problem.js';
import { bytesOf, REMOVED, type Answer } from './answer.js';

/**
 * Answers with what was answered before, in the way of a handler: status, headers, then one `end`. Middleware in front
 * sees no difference. Never through Express's `send`, which would add an ETag and rewrite the content type.
 */
export function replay(req: IncomingMessage, res: ServerResponse, answer: Answer): void {
  const isHttp2 = req.httpVersionMajor > 1;
  const fields = new Map<string, { name: string; values: string[] }>();
  for (let i = 0; i < answer.headers.length; i += 2) {
    const name = answer.headers[i] ?? '';
    const value = answer.headers[i + 1] ?? '';
    const field = fields.get(name.toLowerCase());
    if (name === REMOVED) res.removeHeader(value);
    else if (field) field.values.push(value);
    else fields.set(name.toLowerCase(), { name, values: [value] });
  }
  res.statusCode = answer.statusCode;
  // Node adds the usual phrase itself. HTTP/2 has none, and Node warns of whoever sets one there.
  const isUsual = answer.statusMessage === (STATUS_CODES[answer.statusCode] ?? 'unknown');
  if (!isUsual && !isHttp2) res.statusMessage = answer.statusMessage;
  // An encoding for the transfer that the handler chose is part of its bytes; other versions of HTTP have none.
  if (req.httpVersion !== '1.1') fields.delete('transfer-encoding');
  for (const [lower, { name, values }] of fields) res.setHeader(name, valueOf(res, lower, values));
  res.setHeader('X-Idempotency-Replay', 'true');
  res.setHeader('X-Original-Timestamp', answer.timestamp);
  exposeHeaders(res, 'X-Idempotency-Replay', 'X-Original-Timestamp');
  const body = bytesOf(answer.body);
  const hasLength = answer.statusCode !== 204 && answer.statusCode !== 304 && !fields.has('transfer-encoding');
  if (hasLength) res.setHeader('Content-Length', body.length);
  // An empty phrase can be said in no other way.
  if (answer.statusMessage === '' && !isHttp2) res.writeHead(answer.statusCode, '');
  if (body.length === 0) res.end();
  else res.end(body);
}

/** What a header is set to, beside what other middleware has said this time. */
function valueOf(res: ServerResponse, lower: string, values: string[]): OutgoingHttpHeader {
  const now = res.getHeader(lower);
  // Other middleware may set cookies of its own, for this request.
  if (lower === 'set-cookie' && now !== undefined) return [now].flat().map(String).concat(values);
  if (lower === 'vary') return union(now === undefined ? values : [String(now), ...values]);
  return values.length === 1 && values[0] !== undefined ? values[0] : values;
}

/** Lists as one, without repeating what they have in common. */
function union(lists: readonly string[]): string {
  const seen = new Set<string>();
  return lists
    .flatMap((list) => list.split(/\s*,\s*/))
    .filter((token) => token && !seen.has(token.toLowerCase()) && seen.add(token.toLowerCase()))
    .join(', ');
}

type Decoder = (bytes: Uint8Array, options: { maxOutputLength: number }, callback: CompressCallback) => void;

const DECODERS: Partial<Record<string, Decoder>> = {
  gzip: zlib.gunzip,
  'x-gzip': zlib.gunzip,
  deflate: zlib.inflate,
  br: zlib.brotliDecompress,
  // Since Node 22.15.
  ...('zstdDecompress' in zlib && { zstd: zlib.zstdDecompress as Decoder }),
};

/** Bytes that a decoded answer may have: a few kilobytes of gzip can stand for gigabytes. */
const MOST_DECODED_BYTES = 16 * 1024 * 1024;

/** Of the encoded bytes, so not of the decoded ones. */
const DIGESTS = new Set(['content-digest', 'repr-digest', 'content-md5']);

/**
 * The answer in an encoding that this request accepts; a retry may come from another client than the first. One that
 * cannot be decoded, or is too large then, is answered as it is: the first client got these bytes.
 */
export function acceptableOf(req: IncomingMessage, answer: Answer): Answer | Promise<Answer> {
  const at = answer.headers.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === 'content-encoding');
  if (at < 0) return answer;
  const encoding = (answer.headers[at + 1] ?? '').trim().toLowerCase();
  const decode = DECODERS[encoding];
  if (decode === undefined || accepts(req.headers['accept-encoding'], encoding)) return answer;
  return new Promise((resolve) => {
    decode(bytesOf(answer.body), { maxOutputLength: MOST_DECODED_BYTES }, (error, body) => {
      resolve(error ? answer : { ...answer, headers: decodedHeaders(answer.headers, at), body });
    });
  });
}

/** The headers of an answer without its encoding, which is named at `at`. */
function decodedHeaders(encoded: readonly string[], at: number): string[] {
  const headers: string[] = [];
  for (let i = 0; i < encoded.length; i += 2) {
    const name = encoded[i] ?? '';
    const value = encoded[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (i === at || DIGESTS.has(lower)) continue;
    // A strong validator names bytes, and these are others.
    headers.push(name, lower === 'etag' && !value.startsWith('W/') ? `W/${value}` : value);
  }
  return headers;
}

/** Whether an `Accept-Encoding` header takes an encoding; without one, any will do (RFC 9110 §12.5.3). */
function accepts(header: string | string[] | undefined, encoding: string): boolean {
  if (header === undefined) return true;
  const weights = new Map<string, number>();
  for (const item of String(header).toLowerCase().split(',')) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    weights.set(name === 'x-gzip' ? 'gzip' : name, weight === undefined ? 1 : Number(weight.slice(2)));
  }
  return (weights.get(encoding === 'x-gzip' ? 'gzip' : encoding) ?? weights.get('*') ?? 0) > 0;
}

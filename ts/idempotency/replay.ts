import type { IncomingMessage, ServerResponse } from 'node:http';
import zlib from 'node:zlib';
import { bytesOf, REMOVED, type Answer } from './answer.js';
import { exposeHeaders } from '../problem.js';

/**
 * Answers with what was answered before. Through Node's own `writeHead` and `end`, never Express's `send`, which
 * would add an ETag and rewrite the content type.
 */
export function replay(req: IncomingMessage, res: ServerResponse, kept: Answer): void {
  const answer = acceptable(req, kept);
  const { headers } = answer;
  const set: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? '';
    const value = headers[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (name === REMOVED) res.removeHeader(value);
    else if (lower === 'vary') setUnion(res, name, value);
    // Other middleware may set cookies of its own, for this request.
    else if (lower === 'set-cookie' || set.includes(lower)) res.appendHeader(name, value);
    else res.setHeader(name, value);
    set.push(lower);
  }
  res.setHeader('X-Idempotency-Replay', 'true');
  res.setHeader('X-Original-Timestamp', answer.timestamp);
  exposeHeaders(res, 'X-Idempotency-Replay', 'X-Original-Timestamp');
  if (answer.statusCode !== 204 && answer.statusCode !== 304) res.setHeader('Content-Length', answer.body.length);
  if (req.httpVersionMajor === 1) res.writeHead(answer.statusCode, answer.statusMessage);
  else res.writeHead(answer.statusCode);
  if (answer.body.length === 0) res.end();
  else if (typeof answer.body === 'string') res.end(answer.body, 'latin1');
  else res.end(answer.body);
}

/** Adds to a list-valued header what other middleware has not said this time. */
function setUnion(res: ServerResponse, name: string, value: string): void {
  const now = res.getHeader(name);
  const all = [...(now === undefined ? [] : [String(now)]), value].flatMap((list) => list.split(/\s*,\s*/));
  const seen = new Set<string>();
  const union = all.filter((token) => token && !seen.has(token.toLowerCase()) && seen.add(token.toLowerCase()));
  res.setHeader(name, union.join(', '));
}

const DECODERS: Partial<Record<string, (bytes: Uint8Array) => Buffer>> = {
  gzip: zlib.gunzipSync,
  'x-gzip': zlib.gunzipSync,
  deflate: zlib.inflateSync,
  br: zlib.brotliDecompressSync,
  // Since Node 22.15.
  ...('zstdDecompressSync' in zlib && { zstd: zlib.zstdDecompressSync as typeof zlib.gunzipSync }),
};

/** Of the encoded bytes, so not of the decoded ones. */
const DIGESTS = new Set(['content-digest', 'repr-digest', 'content-md5']);

/** The answer in an encoding that this request accepts; a retry may come from another client than the first. */
function acceptable(req: IncomingMessage, answer: Answer): Answer {
  const at = answer.headers.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === 'content-encoding');
  if (at < 0) return answer;
  const encoding = (answer.headers[at + 1] ?? '').trim().toLowerCase();
  const decode = DECODERS[encoding];
  if (decode === undefined || accepts(req.headers['accept-encoding'] ?? '', encoding)) return answer;
  const bytes = bytesOf(answer.body);
  let body;
  try {
    body = decode(bytes);
  } catch {
    // It was never what its header says: the first client got these bytes, and so does this one.
    return answer;
  }
  const headers: string[] = [];
  for (let i = 0; i < answer.headers.length; i += 2) {
    const name = answer.headers[i] ?? '';
    const value = answer.headers[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (i === at || DIGESTS.has(lower)) continue;
    // A strong validator names bytes, and these are others.
    headers.push(name, lower === 'etag' && !value.startsWith('W/') ? `W/${value}` : value);
  }
  return { ...answer, headers, body };
}

/** Whether an `Accept-Encoding` header takes an encoding (RFC 9110 §12.5.3). */
function accepts(header: string, encoding: string): boolean {
  const weights = new Map<string, number>();
  for (const item of header.toLowerCase().split(',')) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    weights.set(name === 'x-gzip' ? 'gzip' : name, weight === undefined ? 1 : Number(weight.slice(2)));
  }
  return (weights.get(encoding === 'x-gzip' ? 'gzip' : encoding) ?? weights.get('*') ?? 0) > 0;
}

import { AsyncResource } from 'node:async_hooks';
import { brotliDecompress, gunzip, inflate, type CompressCallback } from 'node:zlib';
import { withCode } from '../errors.js';
import { hasBody, isLeftUnread, type ServerRequest } from './facts.js';

/** What body parsers call it when they refuse a body; error handlers of applications know these names. */
type BodyErrorType =
  'charset.unsupported' | 'encoding.unsupported' | 'entity.parse.failed' | 'entity.too.large' | 'request.aborted';

/** Told how the reading of a body ended: with an error for `next`, or with the bytes of the JSON. */
type Done = (error: Error | undefined, json?: Buffer) => void;

type Decoder = (bytes: Buffer, options: { maxOutputLength: number }, callback: CompressCallback) => void;

/** What undoes an encoding of the content, if it is one. */
const DECODERS = new Map<string, Decoder | undefined>([
  ['', undefined],
  ['identity', undefined],
  ['gzip', gunzip],
  ['x-gzip', gunzip],
  ['deflate', inflate],
  ['br', brotliDecompress],
]);

const JSON_TYPE = /^\s*application\/json\s*(?:;|$)/i;
const CHARSET = /;\s*charset\s*=\s*"?([^\s";]+)/i;

/** Whether a request has a body of JSON that nobody has read yet, be it an empty one. */
export function hasUnreadJson(req: ServerRequest): boolean {
  const type = req.headers['content-type'];
  if (type === undefined || !JSON_TYPE.test(type)) return false;
  if (!hasBody(req) && req.headers['content-length'] === undefined) return false;
  return isLeftUnread(req) && (isAborted(req) || !isTaken(req));
}

/** Whether somebody reads the stream, or has read all of it, though they left no `body`. */
function isTaken({ readableDidRead, readableEnded, readableEncoding }: ServerRequest): boolean {
  return readableDidRead || readableEnded || readableEncoding !== null;
}

/** Whether the client left before its body was complete. Node has another word for it in HTTP/1 now, but not in HTTP/2. */
function isAborted({ aborted }: { aborted: boolean }): boolean {
  return aborted;
}

/**
 * Reads a body of JSON, and sets `req.body` as `express.json()` does: objects and lists only, in UTF-8, compressed or not.
 * Calls back once, in the asynchronous context of the caller, which the events of a request do not have.
 *
 * @param maxBytes what it may have, before and after it is decompressed
 */
export function readJson(req: ServerRequest, maxBytes: number, done: Done): void {
  const { headers } = req;
  const charset = CHARSET.exec(headers['content-type'] ?? '')?.[1]?.toLowerCase() ?? 'utf-8';
  // RFC 8259 §8.1 knows no other.
  if (charset !== 'utf-8' && charset !== 'utf8') {
    done(bodyError(415, 'charset.unsupported', `JSON is UTF-8, and not ${charset}`));
    return;
  }
  const encoding = headers['content-encoding']?.toLowerCase() ?? '';
  if (!DECODERS.has(encoding)) {
    done(bodyError(415, 'encoding.unsupported', `A body may be encoded by gzip, deflate or br, not by ${encoding}`));
    return;
  }
  if (Number(headers['content-length']) > maxBytes) {
    done(tooLarge(maxBytes));
    return;
  }
  if (isAborted(req)) {
    done(aborted());
    return;
  }
  const decoder = DECODERS.get(encoding);
  const caller = new AsyncResource('reprise.body');
  const gathered = new Gathered();
  let isOver = false;
  const end = (error: Error | undefined, json?: Buffer) => {
    if (isOver) return;
    isOver = true;
    caller.runInAsyncScope(done, undefined, error, json);
  };
  const parsed = (bytes: Buffer) => {
    const json = jsonIn(bytes);
    try {
      req.body = parse(json);
    } catch (error) {
      end(error as Error);
      return;
    }
    // By this connect's parsers, and those of Express 4, know that a body is read.
    (req as { _body?: boolean })._body = true;
    end(undefined, json);
  };
  req.on('data', (chunk: Buffer) => {
    // The rest is read and dropped, so that the connection can serve the next request.
    if (isOver) return;
    if (gathered.length + chunk.length <= maxBytes) gathered.add(chunk);
    else end(tooLarge(maxBytes));
  });
  req.on('end', () => {
    if (isOver) return;
    // HTTP/2 ends a request that its client has reset, as if that were all.
    if (isAborted(req)) {
      end(aborted());
      return;
    }
    const { bytes } = gathered;
    if (decoder === undefined) {
      parsed(bytes);
      return;
    }
    decoder(bytes, { maxOutputLength: maxBytes }, (error, decoded) => {
      if (error === null) parsed(decoded);
      else if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') end(tooLarge(maxBytes));
      else end(bodyError(400, 'entity.parse.failed', `The body is not what ${encoding} makes`));
    });
  });
  req.on('close', () => {
    if (!req.readableEnded) end(aborted());
  });
  // Whoever was in front may have paused it.
  req.resume();
}

/**
 * Bytes that come in pieces, in one buffer that doubles as it fills. The pieces are not kept: each is an object, and
 * may hold on to a larger buffer, so that a body in pieces of one byte would take some hundred times its size.
 */
class Gathered {
  #buffer: Buffer | undefined;
  length = 0;

  get bytes(): Buffer {
    return this.#buffer?.subarray(0, this.length) ?? Buffer.alloc(0);
  }

  add(piece: Buffer): void {
    const needed = this.length + piece.length;
    if (this.#buffer === undefined) {
      // Most bodies come in one piece, which is kept as it is.
      this.#buffer = piece;
    } else {
      if (needed > this.#buffer.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length));
        this.#buffer.copy(larger, 0, 0, this.length);
        this.#buffer = larger;
      }
      piece.copy(this.#buffer, this.length);
    }
    this.length = needed;
  }
}

/** Without the byte order mark, which RFC 8259 §8.1 lets a parser ignore. Nothing at all is an empty object, as for Express. */
function jsonIn(bytes: Buffer): Buffer {
  const json = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
  return json.length === 0 ? Buffer.from('{}') : json;
}

function parse(json: Buffer): unknown {
  const text = json.toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The engine's own message has a piece of the body in it, which may be a secret.
    throw notJson('The body is said to be JSON, and is not', text);
  }
  if (typeof value === 'object' && value !== null) return value;
  throw notJson('The body is neither an object nor a list', text);
}

/** Error handlers look for a `SyntaxError` with a `body`; consoles and loggers do not show it. */
function notJson(message: string, body: string): Error {
  const error = describe(new SyntaxError(message), 400, 'entity.parse.failed');
  return Object.defineProperty(error, 'body', { value: body });
}

function aborted(): Error {
  return bodyError(400, 'request.aborted', 'The client left before its body was complete');
}

function tooLarge(maxBytes: number): Error {
  return bodyError(413, 'entity.too.large', `The body has more than ${maxBytes} bytes (maxRequestBytes)`);
}

function bodyError(status: number, type: BodyErrorType, message: string): Error {
  return describe(new Error(message), status, type);
}

/** As Express and its error handlers expect errors of a request: `status` is that of the answer. */
function describe(error: Error, status: number, type: BodyErrorType): Error {
  return Object.assign(withCode(error, 'ERR_REPRISE_UNREADABLE_BODY'), {
    status,
    statusCode: status,
    type,
    expose: true,
  });
}

import type { IncomingMessage } from 'node:http';
import type { ChaosProblem } from './problem.js';
import { problem } from './problem.js';

/** Bytes that a request of the control may have. */
const MAX_BODY_BYTES = 65_536;

/** What came with a request, or why it cannot be taken. */
export type Body = { readonly json: Record<string, unknown> } | { readonly problem: ChaosProblem };

/**
 * Reads the JSON object of a request; an empty body is an empty object. What a parser in front has read is taken from
 * `req.body`. Rejects if the client leaves.
 */
export async function readJson(req: IncomingMessage & { readonly body?: unknown }): Promise<Body> {
  const type = req.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  // No form of a page can send this type without being asked by CORS first.
  if (type !== 'application/json') {
    return { problem: problem('chaos-not-json', 'Send it with Content-Type: application/json') };
  }
  if (req.body !== undefined) return objectOf(req.body);
  const tooLarge = { problem: problem('chaos-body-too-large', `At most ${MAX_BODY_BYTES} bytes are read`) };
  if (Number(req.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return tooLarge;
  const bytes = await read(req);
  if (bytes === undefined) return tooLarge;
  const text = bytes.toString();
  if (text.trim() === '') return { json: {} };
  try {
    return objectOf(JSON.parse(text));
  } catch (error) {
    return { problem: problem('chaos-body-invalid', (error as Error).message) };
  }
}

/** The bytes of a request; undefined if they are too many, with the rest left unread. */
function read(req: IncomingMessage): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const take = (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_BODY_BYTES) end(undefined);
    };
    const end = (bytes: Buffer | undefined) => {
      req.off('data', take);
      req.pause();
      resolve(bytes);
    };
    req.on('data', take);
    req.once('end', () => {
      end(Buffer.concat(chunks));
    });
    // Also for a client that leaves in the middle.
    req.once('error', reject);
  });
}

function objectOf(value: unknown): Body {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return { json: value as Record<string, unknown> };
  }
  return { problem: problem('chaos-body-invalid', 'The body is no JSON object') };
}

import { randomUUID } from 'node:crypto';
import type { OutgoingHttpHeader, ServerResponse } from 'node:http';

/** The answer to a refused request: problem details by RFC 9457. */
export interface ProblemDetails<Code extends string> {
  /** A URI that names the kind of problem: `urn:reprise:problem:` and the code. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Names this occurrence, for logs. */
  readonly instance: string;
  readonly code: Code;
  /** Seconds for the `Retry-After` header, where waiting helps. */
  readonly retryAfter?: number;
}

/** What all problems of one code have in common. */
export type ProblemKinds<Code extends string> = Readonly<
  Record<Code, { readonly status: number; readonly title: string }>
>;

/** Makes problems of these kinds. */
export function problemsOf<Code extends string>(kinds: ProblemKinds<Code>) {
  return (code: Code, detail: string, retryAfterMs?: number): ProblemDetails<Code> => ({
    type: `urn:reprise:problem:${code}`,
    ...kinds[code],
    detail,
    instance: `urn:uuid:${randomUUID()}`,
    code,
    // Whole seconds, at least one: zero would invite a client to come back at once.
    ...(retryAfterMs !== undefined && { retryAfter: Math.max(1, Math.ceil(retryAfterMs / 1000)) }),
  });
}

/** Answers with a problem. */
export function sendProblem(res: ServerResponse, { retryAfter, ...body }: ProblemDetails<string>): void {
  const text = Buffer.from(JSON.stringify(body));
  res.statusCode = body.status;
  res.setHeader('Content-Type', 'application/problem+json');
  res.setHeader('Content-Length', text.length);
  res.setHeader('Cache-Control', 'no-store');
  if (retryAfter !== undefined) {
    res.setHeader('Retry-After', String(retryAfter));
    exposeHeaders(res, 'Retry-After');
  }
  res.end(text);
}

/** Where CORS is at work, lets the page's script read these headers too. */
export function exposeHeaders(res: ServerResponse, ...names: string[]): void {
  const exposed = exposedWith(
    {
      'access-control-allow-origin': res.getHeader('Access-Control-Allow-Origin'),
      'access-control-expose-headers': res.getHeader('Access-Control-Expose-Headers'),
    },
    ...names,
  );
  if (exposed !== undefined) res.setHeader('Access-Control-Expose-Headers', exposed);
}

/** What `Access-Control-Expose-Headers` must say for scripts to read these headers too; undefined where it need not change. */
export function exposedWith(
  headers: Readonly<Record<string, OutgoingHttpHeader | undefined>>,
  ...names: string[]
): string | undefined {
  const exposed = headers['access-control-expose-headers'];
  if (exposed === undefined && headers['access-control-allow-origin'] === undefined) return undefined;
  const list = [exposed ?? ''].flat().join(', ');
  if (list.trim() === '*') return undefined;
  const known = new Set(list.split(',').map((name) => name.trim().toLowerCase()));
  const added = names.filter((name) => !known.has(name.toLowerCase()));
  return added.length > 0 ? [...(list ? [list] : []), ...added].join(', ') : undefined;
}

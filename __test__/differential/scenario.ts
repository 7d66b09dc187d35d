/**
 * What the differential machine tries: one application, one client, one store. All of it is plain JSON, so that what
 * failed can be printed, and pasted into `regressions.ts`.
 */
export interface Scenario {
  readonly express: 4 | 5;
  readonly store: StoreKind;
  /** What of ours is mounted on the guarded side. */
  readonly mounts: 'idempotency' | 'chaos' | 'both';
  readonly key: 'explicit' | 'derived';
  /** Bytes of an answer that are kept; without it, our default. */
  readonly maxResponseBytes?: number;
  /** Whether two retries come at once, and wait for the first request's answer. */
  readonly waits?: boolean;
  /** Mounted in front of ours, outermost first. */
  readonly outside: readonly Layer[];
  /** Mounted between ours and the handler. */
  readonly inside: readonly Layer[];
  readonly handler: Handler;
  readonly client: Client;
}

/** `simple` and `atomic` take a few milliseconds for every call. */
export type StoreKind = 'memory' | 'simple' | 'atomic' | 'file';

/** One middleware of a stack: of the registry, or a kind that users write. */
export type Layer =
  | { readonly use: 'compression'; readonly threshold: number }
  | { readonly use: 'express-session'; readonly saveUninitialized: boolean }
  | { readonly use: 'cookie-session' }
  | { readonly use: 'cors' }
  | { readonly use: 'helmet' }
  | { readonly use: 'morgan'; readonly immediate: boolean }
  | { readonly use: 'response-time' }
  | { readonly use: 'rate-limit' }
  | { readonly use: 'timeout'; readonly ms: number }
  | { readonly use: 'mung-json' }
  | { readonly use: 'mung-json-async' }
  | { readonly use: 'mung-headers' }
  | { readonly use: 'mung-headers-async' }
  | { readonly use: 'mung-write' }
  | { readonly use: 'fileupload' }
  | { readonly use: 'multer' }
  | { readonly use: 'method-override' }
  | { readonly use: 'json' }
  | { readonly use: 'urlencoded' }
  | { readonly use: 'raw' }
  /** Listens by on-finished, and notes what the response says of itself then. */
  | { readonly use: 'on-finished' }
  /** Sets a header by on-headers. */
  | { readonly use: 'on-headers' }
  /** Set a header in their own `end`, `write` or `writeHead`. */
  | { readonly use: 'header-in-end' }
  | { readonly use: 'header-in-write' }
  | { readonly use: 'header-in-write-head' }
  /** Calls the real `end` a moment later, as sessions do. */
  | { readonly use: 'late-end'; readonly ms: number }
  /** Passes on what is given to `setHeader`, by a function of its own. */
  | { readonly use: 'wraps-set-header' }
  /** Sets a header before the handler runs. */
  | { readonly use: 'sets'; readonly name: string; readonly value: HeaderValue }
  /** Answers 503 after a while, if nobody has. */
  | { readonly use: 'watchdog'; readonly ms: number };

export type HeaderValue = string | number | readonly string[];

/** A function that answers: its steps, one behind the other. */
export interface Handler {
  readonly form: 'sync' | 'async';
  /** What becomes of an error that a step meets. */
  readonly onError: 'throw' | 'next' | 'catch';
  /** Whether it listens to the response's `error`. */
  readonly listens: boolean;
  readonly steps: readonly Timed[];
}

/** A step, and what it waits for first. */
export interface Timed {
  readonly when: When;
  readonly step: Step;
}

export type When = 'now' | 'microtask' | 'tick' | 'immediate' | 'timer' | 'later';

/** A piece of a body, and what it is handed over as. */
export interface Chunk {
  readonly as:
    | 'string'
    | 'latin1'
    | 'hex'
    | 'base64'
    | 'utf16le'
    | 'buffer'
    | 'uint8array'
    | 'foreign'
    /** Bytes in a buffer that the handler uses for other bytes a moment later. */
    | 'reused'
    | 'number'
    | 'null'
    | 'object';
  readonly text: string;
  /** Its text this many times. */
  readonly times?: number;
}

/** One thing that a handler does. */
export type Step =
  | { readonly do: 'json'; readonly value: unknown }
  | { readonly do: 'send'; readonly chunk?: Chunk }
  | { readonly do: 'end'; readonly chunk?: Chunk; readonly callback: boolean }
  | { readonly do: 'write'; readonly chunk: Chunk; readonly callback: boolean }
  /** `res.status(code)`; null stands for undefined. */
  | { readonly do: 'status'; readonly code: number | null }
  | { readonly do: 'message'; readonly text: string }
  | { readonly do: 'set'; readonly name: string; readonly value: HeaderValue }
  | { readonly do: 'append'; readonly name: string; readonly value: string }
  | { readonly do: 'remove'; readonly name: string }
  | {
      readonly do: 'writeHead';
      readonly code: number;
      readonly reason?: string;
      readonly form: 'none' | 'object' | 'flat' | 'pairs';
      readonly fields: readonly (readonly [string, string | number])[];
    }
  | { readonly do: 'flushHeaders' }
  | { readonly do: 'hints' | 'continue' | 'processing' }
  | { readonly do: 'trailers' }
  | { readonly do: 'strict' }
  | { readonly do: 'cork' | 'uncork' }
  /** Streams pieces into the response; `breaks`: the stream fails behind its pieces. */
  | {
      readonly do: 'stream';
      readonly how: 'pipe' | 'pipeline' | 'iterate';
      readonly pieces: readonly string[];
      readonly breaks: boolean;
      readonly slow: boolean;
    }
  | { readonly do: 'sendFile' | 'download'; readonly file: FileName; readonly callback: boolean }
  | { readonly do: 'redirect'; readonly code: number }
  | { readonly do: 'sendStatus'; readonly code: number }
  /** Passes the request on to another server. */
  | { readonly do: 'proxy'; readonly path: string }
  /** Reads the request's body by itself; `minds`: goes on, too, where it breaks off. */
  | { readonly do: 'read'; readonly minds?: boolean }
  /** Touches the session, if there is one. */
  | { readonly do: 'session' }
  /** Looks at what the response says of itself. */
  | { readonly do: 'look' }
  | { readonly do: 'throw' }
  | { readonly do: 'next'; readonly error: boolean }
  | { readonly do: 'destroy'; readonly what: 'res' | 'req' | 'socket'; readonly error: boolean };

export type FileName = 'small' | 'large' | 'empty' | 'missing';

export interface Client {
  readonly version: '1.1' | '1.0';
  readonly connection: 'close' | 'keep-alive';
  /** Its `Accept-Encoding`; null for none. */
  readonly accepts: string | null;
  /** That of its retry. */
  readonly acceptsThen: string | null;
  readonly body: BodyKind;
  readonly does: Behaviour;
  /** Retries at once when its connection is gone; otherwise when the handler has come to an end. */
  readonly isHasty?: boolean;
}

export type BodyKind = 'none' | 'json' | 'chunked-json' | 'form' | 'text' | 'multipart';

export type Behaviour =
  | { readonly is: 'plain' }
  /** The head first, the body a moment later. */
  | { readonly is: 'split' }
  /** Begins to read late, and stops in between. */
  | { readonly is: 'slow' }
  /** Ends its half of the connection behind the request. */
  | { readonly is: 'half-close' }
  /** Two requests at once on one connection. */
  | { readonly is: 'pipeline' }
  /** Leaves so many milliseconds after the request, or when the first byte comes. */
  | { readonly is: 'abort'; readonly after: number | 'first-byte'; readonly reset: boolean }
  /** Sends half of its body, and leaves. */
  | { readonly is: 'broken-upload' }
  /** Sends what is no request behind its request: the server breaks the connection. */
  | { readonly is: 'garbage' };

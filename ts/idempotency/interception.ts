import type { ServerResponse } from 'node:http';
import type { HeadArguments } from './headers.js';

type WriteCallback = (error?: Error | null) => void;

/** The arguments of `write` and `end`. */
export type WriteArguments = [chunk?: unknown, encoding?: BufferEncoding | WriteCallback, callback?: WriteCallback];

/** The methods of a response that are taken over. */
export interface Methods {
  readonly writeHead: (...args: HeadArguments) => ServerResponse;
  readonly write: (...args: WriteArguments) => boolean;
  readonly end: (...args: WriteArguments) => ServerResponse;
  readonly flushHeaders: () => void;
  readonly destroy: (error?: Error) => ServerResponse;
  readonly emit: (event: string | symbol, ...args: unknown[]) => boolean;
}

/** What is called in place of the methods of a response. */
export interface Interceptor {
  onWriteHead(args: HeadArguments): ServerResponse;
  onWrite(args: WriteArguments): boolean;
  onEnd(args: WriteArguments): ServerResponse;
  onFlushHeaders(): void;
  onDestroy(error?: Error): ServerResponse;
  /** Hears of an event before anybody else does. */
  onEvent(event: string | symbol, detail: unknown): void;
}

/** Where a response has its interceptor. */
const INTERCEPTOR = Symbol('reprise.interceptor');

interface InterceptedResponse extends ServerResponse {
  [INTERCEPTOR]: { readonly interceptor: Interceptor; readonly emit: Methods['emit'] };
}

/** The same functions for all responses: closures of each response's own cost more than the store does. */
const INTERCEPTED = {
  writeHead(this: InterceptedResponse, ...args: HeadArguments): ServerResponse {
    return this[INTERCEPTOR].interceptor.onWriteHead(args);
  },
  write(this: InterceptedResponse, ...args: WriteArguments): boolean {
    return this[INTERCEPTOR].interceptor.onWrite(args);
  },
  end(this: InterceptedResponse, ...args: WriteArguments): ServerResponse {
    return this[INTERCEPTOR].interceptor.onEnd(args);
  },
  flushHeaders(this: InterceptedResponse): void {
    this[INTERCEPTOR].interceptor.onFlushHeaders();
  },
  destroy(this: InterceptedResponse, error?: Error): ServerResponse {
    return this[INTERCEPTOR].interceptor.onDestroy(error);
  },
  emit(this: InterceptedResponse, event: string | symbol, ...args: unknown[]): boolean {
    this[INTERCEPTOR].interceptor.onEvent(event, args[0]);
    return this[INTERCEPTOR].emit.call(this, event, ...args);
  },
} as unknown as Pick<ServerResponse, keyof Methods>;

/** Takes over the methods of a response. Returns them as they were, whoever had taken them over before. */
export function intercept(res: ServerResponse, interceptor: Interceptor): Methods {
  const { writeHead, write, end, flushHeaders, destroy, emit } = res as unknown as Methods;
  (res as InterceptedResponse)[INTERCEPTOR] = { interceptor, emit };
  res.writeHead = INTERCEPTED.writeHead;
  res.write = INTERCEPTED.write;
  res.end = INTERCEPTED.end;
  res.flushHeaders = INTERCEPTED.flushHeaders;
  res.destroy = INTERCEPTED.destroy;
  res.emit = INTERCEPTED.emit;
  return { writeHead, write, end, flushHeaders, destroy, emit };
}

/** Whether nobody has taken over the head of a response since: middleware inside adds its headers there. */
export function isHeadOurs(res: ServerResponse): boolean {
  return res.writeHead === INTERCEPTED.writeHead;
}

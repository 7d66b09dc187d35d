import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isUint8Array } from 'node:util/types';
import type { Visit, World } from './world.js';

const RECORDED = [
  'setHeader',
  'setHeaders',
  'appendHeader',
  'removeHeader',
  'writeHead',
  'write',
  'end',
  'flushHeaders',
  'addTrailers',
  'writeContinue',
  'writeProcessing',
  'writeEarlyHints',
  'cork',
  'uncork',
  'destroy',
] as const;

/** Header fields whose values the clock makes. */
export const OF_THE_MOMENT = /^(date|(x-)?ratelimit.*)$/i;

type Method = (this: ServerResponse, ...args: unknown[]) => unknown;

/** For which request code runs, as a program asks that keeps its transaction or its log there. */
export const visiting = new AsyncLocalStorage<Visit>();

/** Notes what is done for one request in the context of another. What has lost its context is in none. */
export function noteStray(world: World, visit: Visit): void {
  const store = visiting.getStore();
  if (store !== undefined && store !== visit) world.seen.strays++;
}

/** Begins a visit: a request has come. */
export function visitOf(world: World, req: IncomingMessage, res: ServerResponse): Visit {
  const visit: Visit = { path: req.url ?? '', outer: [], near: [], steps: [], events: [], errors: [] };
  world.seen.visits.push(visit);
  world.opened(res);
  return visit;
}

/**
 * Middleware that writes down each call on the response, how deep inside of another call it is, what the response says
 * of itself at that moment, and its events.
 */
export function record(world: World, log: string[], res: ServerResponse): void {
  const methods = res as unknown as Record<string, Method>;
  let depth = 0;
  // Many listen to a response here.
  res.setMaxListeners(0);
  for (const name of RECORDED) {
    const real = methods[name];
    if (real === undefined) continue;
    methods[name] = function (...args) {
      world.touch();
      if (world.hasGivenUp) return real.apply(this, args);
      const at = log.length;
      const said = OF_THE_MOMENT.test(String(args[0])) ? `'${String(args[0])}'` : args.map(describe).join(', ');
      const call = `${'  '.repeat(depth)}${name}(${said}) ${stateOf(res)}`;
      log.push(call);
      depth++;
      try {
        return real.apply(this, args);
      } catch (error) {
        log[at] = `${call} threw ${nameOf(error)}`;
        throw error;
      } finally {
        depth--;
      }
    };
  }
  for (const event of ['finish', 'close'] as const) {
    res.on(event, () => {
      world.touch();
      if (world.hasGivenUp) return;
      // Not the status: a handler that is too late changes it, but not the answer.
      log.push(`${event} ${stateOf(res).replace(/\d+ /, '')}`);
    });
  }
}

/** What everybody may read from a response. */
export function stateOf(res: ServerResponse): string {
  const words = [
    String(res.statusCode),
    res.headersSent ? 'sent' : 'unsent',
    res.writableEnded ? 'ended' : 'open',
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- on-finished and compression read it
    res.finished ? 'finished' : 'unfinished',
  ];
  return `[${words.join(' ')}]`;
}

/** An argument, or a result, in short. */
export function describe(value: unknown): string {
  if (typeof value === 'function') return 'callback';
  if (typeof value === 'string') return `'${shorten(value)}'`;
  if (Buffer.isBuffer(value)) return `Buffer'${shorten(value.toString('latin1'))}'`;
  if (isUint8Array(value)) return `Uint8Array'${shorten(Buffer.from(value).toString('latin1'))}'`;
  if (value instanceof Error) return nameOf(value);
  if (value === undefined) return 'undefined';
  return shorten(JSON.stringify(value));
}

function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 40)}…${text.slice(-20)} (${text.length})` : text;
}

/** An error by its code, or what else tells it from others. */
export function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return `no error: ${describe(error)}`;
  const { code } = error as NodeJS.ErrnoException;
  return code === undefined ? `${error.name}: ${error.message}` : `${error.name} ${code}`;
}

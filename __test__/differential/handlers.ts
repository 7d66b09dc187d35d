import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, pipeline, Readable } from 'node:stream';
import { createContext, runInContext } from 'node:vm';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { Fixtures } from './fixtures.js';
import { describe, nameOf, stateOf } from './recorder.js';
import type { Chunk, Handler, Step, Timed, When } from './scenario.js';
import type { Visit, World } from './world.js';

const realm = createContext({});
const foreignBytes = runInContext('(bytes) => Uint8Array.from(bytes)', realm) as (bytes: Uint8Array) => Uint8Array;

/** What a handler's steps act upon. */
interface Scene {
  readonly world: World;
  readonly fixtures: Fixtures;
  readonly visit: Visit;
  readonly req: Request;
  readonly res: Response;
  readonly next: NextFunction;
}

/** Makes a request handler of what a scenario says. */
export function handlerOf(
  world: World,
  fixtures: Fixtures,
  handler: Handler,
  visitOf: (req: IncomingMessage) => Visit,
  running: Map<string, number>,
  signals: Set<AbortSignal>,
): RequestHandler {
  return (req, res, next) => {
    world.seen.runs++;
    // A proxy is given another one later.
    const { path } = req;
    const already = running.get(path) ?? 0;
    if (already > 0) world.seen.overlaps++;
    running.set(path, already + 1);
    const signal = req.idempotency?.signal;
    if (signal) signals.add(signal);
    const over = () => {
      if (signal) signals.delete(signal);
      running.set(path, (running.get(path) ?? 1) - 1);
    };
    const visit = visitOf(req);
    const scene: Scene = { world, fixtures, visit, req, res, next };
    for (const event of ['pipe', 'unpipe', 'finish', 'close']) {
      res.on(event, () => {
        hear(scene, event);
      });
    }
    if (handler.listens) {
      res.on('error', (error) => {
        hear(scene, `error ${nameOf(error)}`);
      });
    }
    if (handler.form === 'sync') {
      perform(scene, handler, 0, over, undefined);
      return;
    }
    return new Promise<void>((resolve, reject) => {
      const end = () => {
        over();
        resolve();
      };
      perform(scene, handler, 0, end, (error) => {
        over();
        reject(error);
      });
    });
  };
}

function hear({ world, visit }: Scene, what: string): void {
  world.touch();
  if (!world.hasGivenUp) visit.events.push(what);
}

/** Does the steps from the given one on. */
function perform(
  scene: Scene,
  handler: Handler,
  from: number,
  done: () => void,
  fail: ((error: Error) => void) | undefined,
): void {
  const timed: Timed | undefined = handler.steps[from];
  if (timed === undefined) {
    done();
    return;
  }
  const over = scene.world.begin();
  const goOn = () => {
    over();
    perform(scene, handler, from + 1, done, fail);
  };
  schedule(timed.when, () => {
    const at = scene.visit.steps.length;
    const name = nameOfStep(timed.step);
    scene.visit.steps.push(name);
    let later: Later | undefined;
    try {
      later = take(scene, timed.step);
    } catch (error) {
      scene.visit.steps[at] = `${name} threw ${nameOf(error)}`;
      over();
      if (handler.onError === 'catch') {
        goOn();
      } else if (handler.onError === 'next') {
        scene.next(error);
        done();
      } else if (fail) {
        fail(error as Error);
      } else {
        done();
        throw error;
      }
      return;
    }
    scene.visit.steps[at] = `${name} ${stateOf(scene.res)}`;
    if (later) later(goOn);
    else goOn();
  });
}

function schedule(when: When, run: () => void): void {
  switch (when) {
    case 'now':
      run();
      return;
    case 'microtask':
      queueMicrotask(run);
      return;
    case 'tick':
      process.nextTick(run);
      return;
    case 'immediate':
      setImmediate(run);
      return;
    case 'timer':
      setTimeout(run, 1);
      return;
    case 'later':
      setTimeout(run, 5);
  }
}

function nameOfStep({ do: name, ...rest }: Step): string {
  return Object.keys(rest).length === 0 ? name : `${name} ${JSON.stringify(rest)}`;
}

/** Calls back when the next step may be done. */
type Later = (goOn: () => void) => void;

/** Does one step; returns what is waited for before the next one. */
function take(scene: Scene, step: Step): Later | undefined {
  const { res } = scene;
  switch (step.do) {
    case 'json':
      res.json(step.value);
      return undefined;
    case 'send':
      res.send(step.chunk && bodyOf(step.chunk));
      return undefined;
    case 'sendStatus':
      res.sendStatus(step.code);
      return undefined;
    case 'redirect':
      res.redirect(step.code, '/elsewhere');
      return undefined;
    case 'sendFile':
    case 'download':
      sendFile(scene, step);
      return undefined;
    case 'write':
    case 'end':
      sendPiece(scene, step);
      return undefined;
    case 'stream':
      stream(scene, step);
      return undefined;
    case 'proxy':
      scene.fixtures.proxy(scene.req, res, step.path, (error) => {
        hear(scene, `proxy ${nameOf(error)}`);
        if (!res.headersSent) res.status(502);
        res.end();
      });
      return undefined;
    case 'read':
      return (goOn) => {
        readBody(scene, step.minds === true, goOn);
      };
    default:
      touchHead(scene, step);
      return undefined;
  }
}

/** The steps that send nothing of a body. */
function touchHead(scene: Scene, step: Step): void {
  const { req, res, next } = scene;
  switch (step.do) {
    case 'status':
      res.status(step.code ?? (undefined as unknown as number));
      return;
    case 'message':
      res.statusMessage = step.text;
      return;
    case 'set':
      res.setHeader(step.name, step.value);
      return;
    case 'append':
      res.appendHeader(step.name, step.value);
      return;
    case 'remove':
      res.removeHeader(step.name);
      return;
    case 'writeHead':
      writeHead(res, step);
      return;
    case 'flushHeaders':
      res.flushHeaders();
      return;
    case 'hints':
      res.writeEarlyHints({ link: '</a.css>; rel=preload' });
      return;
    case 'continue':
      res.writeContinue();
      return;
    case 'processing':
      res.writeProcessing();
      return;
    case 'trailers':
      res.addTrailers({ 'X-Sum': '1' });
      return;
    case 'strict':
      res.strictContentLength = true;
      return;
    case 'cork':
      res.cork();
      return;
    case 'uncork':
      res.uncork();
      return;
    case 'session':
      touchSession(req);
      return;
    case 'throw':
      throw new Error('thrown by the handler');
    case 'next':
      next(step.error ? new Error('handed to next') : undefined);
      return;
    case 'destroy': {
      const target = { res, req, socket: req.socket }[step.what];
      target.destroy(step.error ? new Error('destroyed by the handler') : undefined);
      return;
    }
  }
}

function touchSession(req: Request & { session?: unknown }): void {
  const session = req.session as { count?: number } | undefined;
  if (session) session.count = (session.count ?? 0) + 1;
}

function writeHead(res: ServerResponse, step: Extract<Step, { do: 'writeHead' }>): void {
  const { code, reason, form, fields } = step;
  const headers = {
    none: () => undefined,
    object: () => Object.fromEntries(fields),
    flat: () => fields.flat(),
    pairs: () => fields.map((field) => [...field]),
  }[form]();
  const args = [code, ...(reason === undefined ? [] : [reason]), ...(headers === undefined ? [] : [headers])];
  (res.writeHead as (...args: unknown[]) => unknown).apply(res, args);
}

function sendPiece(scene: Scene, step: Extract<Step, { do: 'write' | 'end' }>): void {
  const { res } = scene;
  const args: unknown[] = step.chunk ? argumentsOf(step.chunk) : [];
  if (step.callback) {
    args.push((error?: Error | null) => {
      hear(scene, `${step.do} callback ${error ? nameOf(error) : ''}`);
    });
  }
  (res[step.do] as (...args: unknown[]) => unknown).apply(res, args);
}

/** A chunk and its encoding, as they are given to `write` and `end`. */
function argumentsOf(chunk: Chunk): unknown[] {
  const text = chunk.text.repeat(chunk.times ?? 1);
  switch (chunk.as) {
    case 'latin1':
    case 'utf16le':
      return [text, chunk.as];
    case 'hex':
    case 'base64':
      return [Buffer.from(text).toString(chunk.as), chunk.as];
    default:
      return [bodyOf(chunk)];
  }
}

/** A chunk by itself, as it is given to `send`. */
function bodyOf(chunk: Chunk): unknown {
  const text = chunk.text.repeat(chunk.times ?? 1);
  switch (chunk.as) {
    case 'buffer':
      return Buffer.from(text);
    case 'reused': {
      const bytes = Buffer.from(text);
      setImmediate(() => bytes.fill('!'));
      return bytes;
    }
    case 'uint8array':
      return new Uint8Array(Buffer.from(text));
    case 'foreign':
      return foreignBytes(Buffer.from(text));
    case 'number':
      return text.length;
    case 'null':
      return null;
    case 'object':
      return { text };
    default:
      return text;
  }
}

function sendFile(scene: Scene, step: Extract<Step, { do: 'sendFile' | 'download' }>): void {
  const { res, fixtures } = scene;
  const path = fixtures.files[step.file];
  // Without a callback, Express hands the error on to `next`.
  const callback = (error?: Error | null) => {
    hear(scene, `${step.do} callback ${error ? nameOf(error) : ''}`);
    if (error && !res.headersSent) scene.next(error);
  };
  if (step.do === 'sendFile') {
    if (step.callback) res.sendFile(path, callback);
    else res.sendFile(path);
  } else if (step.callback) {
    res.download(path, 'named.txt', callback);
  } else {
    res.download(path, 'named.txt');
  }
}

function stream(scene: Scene, step: Extract<Step, { do: 'stream' }>): void {
  const { res } = scene;
  const source = Readable.from(pieces(step.pieces, step.breaks, step.slow));
  const failed = (error: unknown) => {
    hear(scene, `stream failed ${describe(error)}`);
  };
  switch (step.how) {
    case 'pipe':
      // Nobody else listens: a handler that pipes, and looks after its source.
      source.on('error', failed);
      source.pipe(new PassThrough()).pipe(res);
      return;
    case 'pipeline':
      pipeline(source, res, (error) => {
        // In which words it learns that its destination is gone is a matter of the moment.
        hear(
          scene,
          `pipeline callback ${error ? nameOf(error).replace(/PREMATURE_CLOSE|WRITE_AFTER_END/, 'GONE') : ''}`,
        );
      });
      return;
    case 'iterate':
      void iterate(source, res).catch(failed);
  }
}

async function iterate(source: AsyncIterable<Buffer>, res: ServerResponse): Promise<void> {
  for await (const piece of source) if (!res.write(piece) && !res.destroyed) await drained(res);
  res.end();
}

async function drained(res: ServerResponse): Promise<void> {
  await Promise.race([once(res, 'drain'), once(res, 'close')]);
}

async function* pieces(texts: readonly string[], breaks: boolean, slow: boolean): AsyncGenerator<Buffer> {
  for (const text of texts) {
    yield Buffer.from(text);
    if (slow) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  if (breaks) throw new Error('the stream broke');
}

/** Reads what of the body nobody has read yet, as handlers do by themselves; then calls back, in the midst of the event. */
function readBody({ req, visit }: Scene, minds: boolean, goOn: () => void): void {
  if (req.readableEnded || req.destroyed) {
    goOn();
    return;
  }
  let bytes = 0;
  req.on('data', (piece: Buffer) => (bytes += piece.length));
  req.on('end', () => {
    visit.steps.push(`read ${bytes} bytes`);
    goOn();
  });
  if (minds) req.on('aborted', goOn);
}

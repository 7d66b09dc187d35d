import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { Socket, type AddressInfo } from 'node:net';
import express5, { type ErrorRequestHandler, type Express, type Request } from 'express';
import express4 from 'express4';
import { idempotencyMiddleware, type IdempotencyHandler } from '../../ts/index.js';
import { ask, LAST, stays, type Patience } from './clients.js';
import { storeFor, type Fixtures } from './fixtures.js';
import { handlerOf } from './handlers.js';
import { layerOf } from './layers.js';
import { nameOf, noteStray, record, visiting, visitOf as begin } from './recorder.js';
import type { Scenario } from './scenario.js';
import { World, type Observation, type Visit } from './world.js';

/**
 * Which application: without us, with us, or without us behind a network that takes its time. With us an answer is
 * later; what a handler does meanwhile meets a response as it is while a slow network has not taken its bytes yet.
 */
export type Side = 'bare' | 'bare, slowly' | 'guarded';

/** What was seen of a scenario's request, and of its retry, which only the guarded side is asked. */
export interface Seen {
  readonly first: Observation;
  readonly again: Observation | undefined;
}

let runs = 0;

/** Runs a scenario on one side, from the start of its server to its end. */
export async function run(fixtures: Fixtures, scenario: Scenario, side: Side, patience: Patience): Promise<Seen> {
  const world = new World(scenario.store, `run-${runs++}`);
  const retried = new World(scenario.store, world.tenant);
  let now = world;
  const { app, ours } = appOf(() => now, fixtures, scenario, side);
  const server = createServer(app);
  // As many programs have it.
  server.on('clientError', (_error, socket) => socket.destroy());
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  if (side === 'bare, slowly') server.on('connection', slowDown);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const isHasty = scenario.client.isHasty === true && !stays(scenario.client);
  const hasRetry = side === 'guarded' && scenario.mounts !== 'chaos';
  try {
    await watched(world, async () => {
      await ask(world, port, scenario, patience, false);
      if (!isHasty) await settled(world, patience);
    });
    now = retried;
    if (hasRetry) {
      await watched(retried, async () => {
        const retry = () => ask(retried, port, scenario, patience, true);
        await Promise.all(scenario.waits === true ? [retry(), retry()] : [retry()]);
        await settled(retried, patience);
        await settled(world, patience);
      });
    }
  } finally {
    await stop(server, sockets, hasRetry ? retried : world);
    // A handler that never answers is waited for no longer than its client does.
    await ours?.close({ timeoutMs: patience.quietMs });
  }
  return { first: world.seen, again: hasRetry ? retried.seen : undefined };
}

/** Waits until nothing is under way any more. */
async function settled(world: World, { quietMs }: Patience): Promise<void> {
  const until = performance.now() + 4 * quietMs;
  // What a store does in its own threads is not known here.
  const least = world.store === 'file' ? 6 : 2;
  do await new Promise((resolve) => setTimeout(resolve, 2));
  while (!(world.isQuiet(least) && world.isClosed) && performance.now() < until);
}

function visitIn(visits: WeakMap<IncomingMessage, Visit>, req: IncomingMessage): Visit {
  const visit = visits.get(req);
  if (!visit) throw new Error('The request did not pass the recorder');
  return visit;
}

/** Has a connection take its time with every write. */
function slowDown(socket: Socket): void {
  for (const name of ['_write', '_writev'] as const) {
    const real = Reflect.get(socket, name) as ((...args: unknown[]) => void) | undefined;
    socket[name] = (...args: unknown[]) => {
      setTimeout(() => real?.apply(socket, args), 4);
    };
  }
}

/** Closes a server with all that is connected to it, as a program does that ends. */
async function stop(server: Server, sockets: ReadonlySet<Socket>, world: World): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  const inTime = await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 500, 'late'))]);
  if (inTime !== 'late') return;
  world.seen.processErrors.push('the server does not close');
  // Past whoever holds it.
  for (const socket of sockets) Socket.prototype.destroy.call(socket);
  await closed;
}

function appOf(
  worldNow: () => World,
  fixtures: Fixtures,
  scenario: Scenario,
  side: Side,
): { app: Express; ours: IdempotencyHandler | undefined } {
  const app = (scenario.express === 4 ? express4 : express5)();
  // The error handler of Express is quiet then.
  app.set('env', 'test');
  app.get(LAST, (_req, res) => {
    res.end('last');
  });
  const running = new Map<string, number>();
  const signals = new Set<AbortSignal>();
  const visits = new WeakMap<IncomingMessage, Visit>();
  const visitOf = (req: IncomingMessage) => visitIn(visits, req);
  app.use((req, res, next) => {
    const visit = begin(worldNow(), req, res);
    visits.set(req, visit);
    record(worldNow(), visit.outer, res);
    next();
  });
  const world = worldNow();
  const guards = side === 'guarded' ? scenario.mounts : 'none';
  if (guards === 'chaos' || guards === 'both') app.use(fixtures.chaos.middleware());
  for (const layer of scenario.outside) app.use(layerOf(worldNow, layer));
  app.use((req, res, next) => {
    const visit = visitOf(req);
    record(worldNow(), visit.near, res);
    // A replay begins with its headers.
    const setHeader = res.setHeader.bind(res);
    res.setHeader = (name, value) => {
      if (name === 'X-Idempotency-Replay') noteStray(worldNow(), visit);
      return setHeader(name, value);
    };
    visiting.run(visit, next);
  });
  let ours: IdempotencyHandler | undefined;
  if (guards === 'idempotency' || guards === 'both') {
    const store = storeFor(world, fixtures, signals);
    ours = idempotencyMiddleware<Request>({
      ...(store && { store }),
      ...(scenario.maxResponseBytes !== undefined && { maxResponseBytes: scenario.maxResponseBytes }),
      onConcurrent: scenario.waits === true ? 'wait' : 'reject',
      scope: () => world.tenant,
      silence: ['WRN_REPRISE_STORE_NOT_ATOMIC', 'WRN_REPRISE_CAPTURED_COMPRESSED', 'WRN_REPRISE_BODY_NOT_PARSED'],
    });
    app.use(ours);
  }
  for (const layer of scenario.inside) app.use(layerOf(worldNow, layer));
  app.post(['/one', '/two'], (req, res, next) => {
    noteStray(worldNow(), visitOf(req));
    return handlerOf(worldNow(), fixtures, scenario.handler, visitOf, running, signals)(req, res, next);
  });
  const onError: ErrorRequestHandler = (error, req, res, next) => {
    worldNow().touch();
    visitOf(req).errors.push(nameOf(error));
    // The last error handler shows the stack, in which the layers are.
    if (error instanceof Error) error.stack = nameOf(error);
    if (res.headersSent) {
      next(error);
      return;
    }
    try {
      res.status(500).send(nameOf(error));
    } catch (worse) {
      (worse as Error).stack = nameOf(worse);
      throw worse;
    }
  };
  app.use(onError);
  return { app, ours };
}

/** Runs something, and notes what reaches the process meanwhile; nobody else hears of it. */
async function watched(world: World, run: () => Promise<void>): Promise<void> {
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const others = events.map((event) => process.rawListeners(event));
  const note = (error: unknown) => {
    world.touch();
    world.seen.processErrors.push(nameOf(error));
  };
  for (const event of events) process.removeAllListeners(event).on(event, note);
  try {
    await run();
    // What a rejection has to say comes a turn later.
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    for (const [i, event] of events.entries()) {
      process.removeAllListeners(event);
      for (const listener of others[i] ?? []) process.on(event, listener as () => void);
    }
  }
}

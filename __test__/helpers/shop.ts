import express5, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { onTestFinished } from 'vitest';
import { idempotencyMiddleware, type IdempotencyHandler, type IdempotencyOptions } from '../../ts/index.js';
import { send, serve, type Received, type Running, type Sent } from './server.js';

/** An application that counts how often its handler ran. */
export interface Shop extends Running {
  readonly guard: IdempotencyHandler;
  /** How often the handler ran. */
  readonly runs: number;
  /** Sends one request; see `send`. */
  readonly send: (sent?: Sent) => Promise<Received>;
}

/** Answers a request; `run` counts how often it was called. */
export type Handler = (req: Request, res: Response, next: NextFunction, run: number) => unknown;

/** How a shop is built, where it is not the usual way. */
export interface ShopPlan {
  readonly express?: typeof express5;
  /** Mounted before the guard. Default `express.json()`. */
  readonly before?: readonly RequestHandler[];
  /** Answers each request of any method and path that gets through. Default 201 with `{ run }`. */
  readonly handler?: Handler;
  /** Takes what goes to `next(error)`, which is then answered as Express answers errors. */
  readonly errors?: unknown[];
}

const countingHandler: Handler = (_req, res, _next, run) => res.status(201).json({ run });

/** Opens a shop behind a guard with these options; both are closed after the test. */
export async function shop(options: IdempotencyOptions = {}, plan: ShopPlan = {}): Promise<Shop> {
  const { express = express5, handler = countingHandler } = plan;
  const { before = [express.json()], errors = [] } = plan;
  const guard = idempotencyMiddleware(options);
  onTestFinished(() => {
    void guard.close();
  });
  let runs = 0;
  const app = express();
  for (const middleware of before) app.use(middleware);
  app.use(guard);
  app.use((req, res, next) => handler(req, res, next, ++runs));
  app.use((error: unknown, _req: Request, res: Response, next: NextFunction) => {
    errors.push(error);
    // Without its stack on the console of the tests.
    if (res.headersSent) next(error);
    else res.status((error as { status?: number }).status ?? 500).send('failed');
  });
  const running = await serve(app);
  return {
    ...running,
    guard,
    get runs() {
      return runs;
    },
    send: (sent) => send(running, sent),
  };
}

/** The members of a JSON answer. */
export function membersOf(answer: Received): Record<string, unknown> {
  return JSON.parse(answer.text) as Record<string, unknown>;
}

/** Status and problem code, which is what most tests want to know of a refusal. */
export function refusal(answer: Received): string {
  return `${answer.status} ${String(membersOf(answer)['code'])}`;
}

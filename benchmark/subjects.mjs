// What is put between a body parser and a handler: nothing, reprise, and what else one could use.
import { createHash } from 'node:crypto';
import { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache';
import { Idempotency } from '@node-idempotency/core';
import { MemoryStorageAdapter } from '@node-idempotency/storage-adapter-memory';
import express from 'express';
import { idempotencyMiddleware } from '../index.js';

const require = createRequire(import.meta.url);

/**
 * A server to be measured. `guard` is its middleware, if any, and `parsesJson` says that no body parser stands in front of
 * it; `wrap` may take the handler's place where a package wraps
 * handlers; `isDone` says that a middleware has answered and yet called the handler (express-idempotency does).
 */
export const bare = { name: 'bare Express' };

export const noOp = { name: 'no-op middleware', guard: () => (_req, _res, next) => next() };

/**
 * The same on a server that makes its requests and responses as Express wants them: it finds their prototypes in place,
 * and changes none. The options are Node's, the properties those that Express's guide to overriding its API names.
 */
export function inExpressClasses(subject) {
  return {
    ...subject,
    name: `${subject.name}, in classes of its own`,
    serverOptions: (app) => {
      class Request extends IncomingMessage {}
      class Response extends ServerResponse {}
      app.request = Object.setPrototypeOf(Request.prototype, app.request);
      app.response = Object.setPrototypeOf(Response.prototype, app.response);
      return { IncomingMessage: Request, ServerResponse: Response };
    },
  };
}

/** With its defaults, all of its features are on. */
export function reprise(options = {}, name = 'reprise') {
  return {
    name,
    guard: () => {
      const handler = idempotencyMiddleware(options);
      return Object.assign(handler, { stop: handler.close });
    },
  };
}

/** The same where it reads JSON bodies itself, in place of `express.json()`, which all others stand behind. */
export function repriseParsing() {
  return { ...reprise({ parseJson: true }, 'reprise, parseJson'), parsesJson: true };
}

/** What one writes in an afternoon: single flight, a fingerprint, replay; no limits, no leases, no last byte that waits. */
export const handWritten = {
  name: 'hand-written Map',
  guard: () => {
    const records = new Map();
    return (req, res, next) => {
      const fingerprint = createHash('sha256')
        .update(`${req.method} ${req.originalUrl} ${JSON.stringify(req.body)}`)
        .digest('hex');
      const key = req.get('idempotency-key') ?? fingerprint;
      const record = records.get(key);
      if (record !== undefined) {
        if (record.fingerprint !== fingerprint) return res.status(422).json({ error: 'key reused' });
        if (record.body === undefined) return res.status(409).json({ error: 'in progress' });
        res.set('x-idempotency-replay', 'true').set('content-type', record.type);
        return res.status(record.status).send(record.body);
      }
      const fresh = { fingerprint, status: 0, type: '', body: undefined };
      records.set(key, fresh);
      res.on('close', () => {
        if (fresh.body === undefined) records.delete(key);
      });
      const send = res.send;
      res.send = function (body) {
        // `json` calls `send` again, with its text.
        if (typeof body === 'string' || Buffer.isBuffer(body)) {
          fresh.status = res.statusCode;
          fresh.type = String(res.get('content-type') ?? 'text/html');
          fresh.body = body;
        }
        return send.call(this, body);
      };
      next();
    };
  },
};

export const nodeIdempotency = {
  name: '@node-idempotency/core',
  guard: () => nodeIdempotencyGuard(new MemoryStorageAdapter()),
};

/** The package has no middleware of its own for Express: its two calls, joined as its documentation shows. */
export function nodeIdempotencyGuard(storage) {
  const idempotency = new Idempotency(storage, {});
  return (req, res, next) => {
    const asked = { method: req.method, headers: req.headers, path: req.originalUrl, body: req.body };
    idempotency.onRequest(asked).then(
      (kept) => {
        if (kept !== undefined) {
          res.status(kept.additional.status).json(kept.body);
          return;
        }
        const json = res.json.bind(res);
        res.json = (body) => {
          idempotency.onResponse(asked, { body, additional: { status: res.statusCode } }).then(() => json(body), next);
          return res;
        };
        next();
      },
      (error) => res.status(error.code === 'REQUEST_IN_PROGRESS' ? 409 : 422).json({ error: error.code }),
    );
  };
}

export const expressIdempotency = {
  name: 'express-idempotency',
  guard: () => {
    // One service per process: each server of ours gets a fresh one.
    const { idempotency } = require('express-idempotency');
    return idempotency();
  },
  isDone: (req) => require('express-idempotency').getSharedIdempotencyService().isHit(req),
};

/** It wraps functions, not responses: the handler's value is kept, and written by Express each time. No fingerprint. */
export const powertools = {
  name: 'AWS Powertools (local)',
  wrap: (handler) => {
    const config = new IdempotencyConfig({ eventKeyJmesPath: 'key' });
    config.registerLambdaContext({ getRemainingTimeInMillis: () => 60_000 });
    const run = makeIdempotent(async () => handler(), {
      config,
      persistenceStore: new CachePersistenceLayer({ client: localCache() }),
    });
    return async (req) => run({ key: req.get('idempotency-key'), body: req.body });
  },
};

/** The client of a cache that is a Map, so that no network is measured. */
function localCache() {
  const entries = new Map();
  return {
    get: async (name) => entries.get(name) ?? null,
    set: async (name, value, options) => {
      if (options?.NX && entries.has(name)) return null;
      entries.set(name, value);
      return 'OK';
    },
    del: async (names) => names.filter((name) => entries.delete(name)).length,
  };
}

/** An Express application with a subject in front of one handler, which counts how often it ran. */
export function application(subject, { answer, delayMs = 0, keepRawBody = false }) {
  const guard = subject.guard?.();
  const state = { executions: 0, stop: () => guard?.stop?.() };
  const app = express();
  if (!subject.parsesJson)
    app.use(express.json(keepRawBody ? { verify: (req, _res, bytes) => (req.rawBody = bytes) } : {}));
  if (guard) app.use(guard);
  const work = () => {
    state.executions++;
    return delayMs === 0 ? answer : new Promise((resolve) => setTimeout(resolve, delayMs, answer));
  };
  const respond = (res, value) => res.status(201).json(value);
  const wrapped = subject.wrap?.(work);
  app.post('/orders', (req, res, next) => {
    if (subject.isDone?.(req)) return;
    const value = wrapped ? wrapped(req) : work();
    if (value instanceof Promise) value.then((value) => respond(res, value), next);
    else respond(res, value);
  });
  return { app, state };
}

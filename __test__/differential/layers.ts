import type { IncomingMessage } from 'node:http';
import { urlencoded, type Request, type RequestHandler, type Response } from 'express';
import express from 'express';
import compression from 'compression';
import timeout from 'connect-timeout';
import cookieSession from 'cookie-session';
import cors from 'cors';
import fileUpload from 'express-fileupload';
import mung from 'express-mung';
import { rateLimit } from 'express-rate-limit';
import session from 'express-session';
import helmet from 'helmet';
import methodOverride from 'method-override';
import morgan from 'morgan';
import multer from 'multer';
import onFinished from 'on-finished';
import onHeaders from 'on-headers';
import responseTime from 'response-time';
import { describe, nameOf, stateOf } from './recorder.js';
import type { Layer } from './scenario.js';
import type { World } from './world.js';

/** Makes middleware of what a scenario says, anew for each run: limits and sessions begin at nothing. */
export function layerOf(worldNow: () => World, layer: Layer): RequestHandler {
  switch (layer.use) {
    case 'compression':
      return compression({ threshold: layer.threshold });
    case 'express-session':
      return session({
        secret: 'secret',
        resave: false,
        saveUninitialized: layer.saveUninitialized,
        genid: () => 'a-session',
        cookie: {},
      });
    case 'cookie-session':
      return cookieSession({ name: 'small', keys: ['secret'] });
    case 'cors':
      return cors({ origin: 'https://shop.example', exposedHeaders: ['X-A'] });
    case 'helmet':
      return helmet();
    case 'morgan':
      return morgan(':method :url :status :res[content-length] :res[content-type]', {
        immediate: layer.immediate,
        stream: {
          write: (line) => {
            worldNow().note(`morgan ${line.trim()}`);
          },
        },
      });
    case 'response-time':
      return responseTime((_req, res) => {
        res.setHeader('X-Response-Time', 'measured');
      });
    case 'rate-limit':
      return rateLimit({ windowMs: 60_000, limit: 100, standardHeaders: 'draft-7', validate: false });
    case 'timeout':
      return counted(worldNow, layer.ms, timeout(layer.ms));
    case 'fileupload':
      return fileUpload();
    case 'multer':
      return multer().any();
    case 'method-override':
      return methodOverride();
    case 'json':
      return express.json();
    case 'urlencoded':
      return urlencoded({ extended: false });
    case 'raw':
      return express.raw({ type: () => true });
    case 'on-finished':
      return (_req, res, next) => {
        onFinished(res, (error) => {
          worldNow().note(`on-finished ${error ? nameOf(error) : ''} ${stateOf(res)}`);
        });
        next();
      };
    case 'on-headers':
      return (_req, res, next) => {
        onHeaders(res, () => {
          res.setHeader('X-On-Headers', String(res.statusCode));
        });
        next();
      };
    default:
      return ownLayerOf(worldNow, layer);
  }
}

type Own = Extract<
  Layer,
  {
    use: `mung-${string}` | `header-${string}` | `late-${string}` | 'wraps-set-header' | 'sets' | 'watchdog';
  }
>;

/** Middleware that lies in wait for `json`, `end`, `write`, … */
function ownLayerOf(worldNow: () => World, layer: Own): RequestHandler {
  switch (layer.use) {
    case 'mung-json':
      return mung.json((body) => ({ munged: body }));
    case 'mung-json-async':
      return mung.jsonAsync((body) => Promise.resolve({ munged: body }));
    case 'mung-headers':
      return mung.headers((_req, res) => {
        res.setHeader('X-Munged', 'yes');
      });
    case 'mung-headers-async':
      return mung.headersAsync((_req, res) => {
        res.setHeader('X-Munged', 'yes');
        return Promise.resolve();
      });
    case 'mung-write':
      return mung.write((chunk) => chunk);
    case 'header-in-end':
      return patching((res) => {
        wrap(res, 'end', (real, args) => {
          if (!res.headersSent) res.setHeader('X-In-End', 'yes');
          worldNow().note(`end saw ${describe(args[0])} ${stateOf(res)}`);
          return real(args);
        });
      });
    case 'header-in-write':
      return patching((res) => {
        wrap(res, 'write', (real, args) => {
          if (!res.headersSent) res.setHeader('X-In-Write', 'yes');
          return real(args);
        });
      });
    case 'header-in-write-head':
      return patching((res) => {
        wrap(res, 'writeHead', (real, args) => {
          res.setHeader('X-In-Write-Head', String(args[0]));
          return real(args);
        });
      });
    case 'late-end':
      return patching((res) => {
        let waits = false;
        wrap(res, 'end', (real, args) => {
          if (waits) return false;
          waits = true;
          const done = worldNow().begin();
          setTimeout(() => {
            done();
            real(args);
          }, layer.ms);
          return true;
        });
      });
    case 'wraps-set-header':
      return patching((res) => {
        wrap(res, 'setHeader', (real, [name, value]) =>
          real([name, Array.isArray(value) ? [...(value as string[])] : value]),
        );
      });
    case 'sets':
      return (_req, res, next) => {
        res.setHeader(layer.name, layer.value);
        next();
      };
    case 'watchdog':
      return counted(worldNow, layer.ms, (_req, res, next) => {
        const timer = setTimeout(() => {
          if (!res.headersSent) res.status(503).json({ error: 'too slow' });
        }, layer.ms);
        res.on('close', () => {
          clearTimeout(timer);
        });
        next();
      });
  }
}

/** Middleware that waits: a run is not over before it has. */
function counted(worldNow: () => World, ms: number, layer: RequestHandler): RequestHandler {
  return (req, res, next) => {
    const done = worldNow().begin();
    const timer = setTimeout(done, ms + 5);
    res.on('close', () => {
      clearTimeout(timer);
      done();
    });
    return layer(req, res, next);
  };
}

function patching(patch: (res: Response) => void): RequestHandler {
  return (_req: Request<unknown> | IncomingMessage, res, next) => {
    patch(res);
    next();
  };
}

function wrap(
  res: Response,
  name: 'end' | 'write' | 'writeHead' | 'setHeader',
  around: (real: (args: unknown[]) => unknown, args: unknown[]) => unknown,
): void {
  const methods = res as unknown as Record<string, (...args: unknown[]) => unknown>;
  const real = methods[name];
  if (real === undefined) return;
  methods[name] = (...args) => around((given) => real.apply(res, given), args);
}

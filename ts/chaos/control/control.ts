import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RepriseError } from '../../errors.js';
import { aFunction, checkOptions, hasMethods, invalidArgument, invalidOption, numberBetween } from '../../options.js';
import type { OptionRule, OptionRules } from '../../options.js';
import { sendProblem } from '../../problem.js';
import type { Chaos, ChaosMiddleware } from '../api.js';
import { isProduction } from '../environment.js';
import { refuseCrossOrigin, refuseRemote } from './access.js';
import type { Refusal } from './access.js';
import { readJson } from './body.js';
import { problem } from './problem.js';
import type { ChaosProblem } from './problem.js';
import { PROMETHEUS_TYPE, toPrometheus } from './prometheus.js';

/** What {@link chaosControl} takes. */
export interface ChaosControlOptions {
  /**
   * Who may use it: true, or a promise of that, lets the request pass; everything else refuses it, and what it throws
   * goes to `next`. Default: who asks from this machine. In production it must be given.
   */
  readonly authorize?: ((req: IncomingMessage) => boolean | PromiseLike<boolean>) | undefined;
}

/** The content of an answer. */
type Content = readonly [type: string, text: string];

/** What one resource does, by method. */
interface Resource {
  readonly GET?: (chaos: Chaos, req: IncomingMessage) => Content;
  readonly POST?: (chaos: Chaos, body: Record<string, unknown>) => void;
}

/** A value on each line. */
const NDJSON = 'application/x-ndjson';

const OPTIONS: OptionRules<ChaosControlOptions> = {
  authorize: aFunction('(req) => boolean | Promise<boolean>, needed in production'),
};

const aReason: OptionRule = {
  allowed: 'a text of 1 to 256 characters',
  type: (value) => typeof value === 'string',
  range: (reason: string) => reason.length >= 1 && reason.length <= 256,
};

const RESOURCES: Readonly<Record<string, Resource>> = {
  '/status': { GET: status },
  '/metrics': {
    GET: (chaos, req) =>
      accepts(req, 'text/plain', 'application/openmetrics-text')
        ? [PROMETHEUS_TYPE, toPrometheus(chaos)]
        : json(chaos.metrics()),
  },
  '/journal': {
    GET: (chaos, req) =>
      accepts(req, NDJSON) ? [NDJSON, [...chaos.journal().lines()].join('')] : json(chaos.journal()),
  },
  '/arm': {
    POST: (chaos, body) => {
      checkOptions('arm', body, { forMs: numberBetween(1, 2_147_483_647, 'milliseconds') });
      chaos.arm(body['forMs'] as number | undefined);
    },
  },
  '/disarm': {
    POST: (chaos, body) => {
      checkOptions('disarm', body, { reason: aReason });
      chaos.disarm((body['reason'] as string | undefined) ?? 'disarmed over HTTP');
    },
  },
  '/update': {
    POST: (chaos, body) => {
      chaos.update(body);
    },
  },
  '/reset': {
    POST: (chaos, body) => {
      checkOptions('reset', body, {});
      chaos.reset();
    },
  },
};

/**
 * Shows and controls a chaos over HTTP: a middleware to mount at a path of its own, before the chaos itself, in Express
 * 4 and 5 and Connect. On plain `node:http`, take the path of the mount off `req.url` first. `GET /status`,
 * `GET /metrics` (JSON, or the text format of Prometheus for those who accept it), `GET /journal` (JSON, or NDJSON for
 * those who accept it); `POST /arm`, `/disarm`, `/update`,
 * `/reset`, with JSON, each answered with the new status. All else passes.
 *
 * Whoever may use it can make the server fail, so without `authorize` it serves this machine only: by the address of
 * the socket, never by a header, and with a Host that names it. Pages of other origins are refused in any case.
 *
 * @throws TypeError with code `ERR_REPRISE_INVALID_OPTION` without `authorize` in production, or another code for what
 *   is wrong otherwise
 * @example
 * app.use('/chaos', chaosControl(chaos, { authorize: (req) => isOperator(req) }));
 * app.use(chaos.middleware());
 */
export function chaosControl(chaos: Chaos, options: ChaosControlOptions = {}): ChaosMiddleware {
  if (!hasMethods(chaos, 'arm', 'disarm', 'update', 'status', 'metrics')) {
    throw invalidArgument(TypeError, 'chaosControl', 'chaos', chaos, 'what createChaos or initChaos returned');
  }
  checkOptions('chaosControl', options, OPTIONS);
  const { authorize } = options;
  if (authorize === undefined && isProduction(process.env)) {
    throw invalidOption(TypeError, 'chaosControl', 'authorize', undefined, OPTIONS.authorize.allowed);
  }

  const answer = async (resource: Resource, req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const refusal = authorize === undefined ? refuseRemote(req) : await refuseBy(authorize, req);
    if (refusal !== undefined) {
      refuse(req, res, problem('chaos-forbidden', refusal));
      return;
    }
    const crossing = refuseCrossOrigin(req);
    if (crossing !== undefined) {
      refuse(req, res, problem('chaos-cross-origin', crossing));
      return;
    }
    const { GET: read, POST: change } = resource;
    if (read && (req.method === 'GET' || req.method === 'HEAD')) {
      send(res, read(chaos, req));
    } else if (change && req.method === 'POST') {
      const body = await readJson(req);
      const found = 'problem' in body ? body.problem : changed(change, chaos, body.json);
      if (found) refuse(req, res, found);
      else send(res, status(chaos));
    } else {
      const allowed = read ? 'GET, HEAD' : 'POST';
      res.setHeader('Allow', allowed);
      refuse(req, res, problem('chaos-method', `It takes ${allowed}`));
    }
  };

  return (req, res, next) => {
    const [path = ''] = (req.url ?? '').split('?', 1);
    const resource = Object.hasOwn(RESOURCES, path) ? RESOURCES[path] : undefined;
    if (resource === undefined) next();
    else answer(resource, req, res).catch(next);
  };
}

/** Only true is yes: a user, or anything else that a check may return, is not. */
async function refuseBy(
  authorize: NonNullable<ChaosControlOptions['authorize']>,
  req: IncomingMessage,
): Promise<Refusal> {
  const verdict: unknown = await authorize(req);
  return verdict === true ? undefined : 'It was not authorized';
}

/** Whether a client names one of these types: a scraper does, and nobody else by accident. */
function accepts(req: IncomingMessage, ...types: readonly string[]): boolean {
  const ranges = (req.headers.accept ?? '').split(',');
  return ranges.some((range) => types.includes(range.split(';', 1)[0]?.trim().toLowerCase() ?? ''));
}

function status(chaos: Chaos): Content {
  return json({ ...chaos.status(), kernels: chaos.kernels() });
}

function json(value: unknown): Content {
  return ['application/json; charset=utf-8', JSON.stringify(value)];
}

/** Makes a change; the problem where chaos refused it. */
function changed(
  change: NonNullable<Resource['POST']>,
  chaos: Chaos,
  body: Record<string, unknown>,
): ChaosProblem | undefined {
  try {
    change(chaos, body);
    return undefined;
  } catch (error) {
    const { code, message } = error as Partial<RepriseError>;
    switch (code) {
      case 'ERR_REPRISE_CHAOS_CLOSED':
        return problem('chaos-closed', String(message));
      case 'ERR_REPRISE_CHAOS_IN_PRODUCTION':
        return problem('chaos-in-production', String(message));
      case 'ERR_REPRISE_INVALID_ARGUMENT':
      case 'ERR_REPRISE_INVALID_OPTION':
      case 'ERR_REPRISE_UNKNOWN_OPTION':
        return problem('chaos-refused', String(message));
      default:
        throw error;
    }
  }
}

function send(res: ServerResponse, [type, text]: Content): void {
  res.statusCode = 200;
  res.setHeader('Content-Type', type);
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Vary', 'Accept');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.end(text);
}

/** A body that was not read is not waited for. */
function refuse(req: IncomingMessage, res: ServerResponse, found: ChaosProblem): void {
  const hasBody = req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;
  if (hasBody && !req.complete) res.setHeader('Connection', 'close');
  sendProblem(res, found);
}

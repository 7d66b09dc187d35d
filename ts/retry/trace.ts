import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage } from 'node:http';

/** Where in a distributed trace a piece of work belongs: W3C Trace Context. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  /** As it goes on to other services: `00-<trace id>-<span id>-<flags>`. */
  readonly traceparent: string;
}

/** The part of `@opentelemetry/api` that is used: pass the whole as the option `openTelemetry`. */
export interface OpenTelemetryApi {
  readonly trace: {
    getActiveSpan(): { spanContext(): { traceId: string; spanId: string; traceFlags: number } } | undefined;
  };
}

const storage = new AsyncLocalStorage<TraceContext>();

/**
 * Middleware that reads `traceparent` off each request, so that everything logged while the request is handled names
 * its trace, and `retryFetch` passes it on. Not needed where OpenTelemetry is given.
 *
 * @example
 * app.use(traceContext());
 */
export function traceContext(): (req: IncomingMessage, res: unknown, next: () => unknown) => void {
  return (req, _, next) => {
    const { traceparent } = req.headers;
    const context = typeof traceparent === 'string' ? parseTraceparent(traceparent) : undefined;
    if (context === undefined) next();
    else storage.run(context, next);
  };
}

/** The trace of the work at hand: of the user's active span, or else of the request. */
export function currentTrace(openTelemetry: OpenTelemetryApi | undefined): TraceContext | undefined {
  try {
    const span = openTelemetry?.trace.getActiveSpan()?.spanContext();
    if (span !== undefined) {
      const flags = span.traceFlags.toString(16).padStart(2, '0');
      const { traceId, spanId } = span;
      return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` };
    }
  } catch {
    // Telemetry that fails must not fail the work.
  }
  return storage.getStore();
}

/** Reads a `traceparent`; of a later version what is known of it. Undefined for what is none. */
export function parseTraceparent(value: string): TraceContext | undefined {
  const found = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(value.trim());
  if (found === null) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', more] = found;
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` };
}

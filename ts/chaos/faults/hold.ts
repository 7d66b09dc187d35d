import { endConnection } from './connection.js';
import type { Injection } from './inject.js';

/**
 * Goes on after `ms` milliseconds, or when chaos is turned off, if that comes first. Never, if the client has left or
 * someone else has answered by then: there is nobody to run a handler for.
 */
export function holdRequest({ req, res, active, next }: Injection, ms: number): void {
  const forget = () => {
    clearTimeout(timer);
    res.off('close', forget);
    over();
  };
  const release = () => {
    forget();
    // The close of a response that was queued behind another one (pipelining) is not told; its socket knows.
    if (!res.headersSent && !res.destroyed && !req.socket.destroyed) next();
  };
  const timer = setTimeout(release, ms);
  res.once('close', forget);
  const over = active.add(release);
}

/** Never answers. When chaos is turned off, the connection is closed, unless the client has left by then. */
export function hang({ req, res, active }: Injection): void {
  const forget = () => {
    res.off('close', forget);
    over();
  };
  res.once('close', forget);
  const over = active.add(() => {
    forget();
    endConnection(req, 'hangup');
  });
}

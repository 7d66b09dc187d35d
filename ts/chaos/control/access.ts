import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** Why a request may not control chaos; undefined where it may. */
export type Refusal = string | undefined;

/** Headers of a proxy: what comes with one was not sent by this machine, whoever the socket belongs to. */
const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'];

/**
 * Whether a request was sent on this machine, to this machine. The socket says so, and no header can: but a header can
 * show the opposite. A page of the web reaches loopback too, under a name that its owner points there (DNS rebinding);
 * then the Host is that name.
 */
export function refuseRemote(req: IncomingMessage): Refusal {
  if (!isLoopback(req.socket.remoteAddress ?? '')) return 'The request does not come from this machine';
  const proxy = FORWARDED.find((name) => req.headers[name] !== undefined);
  if (proxy !== undefined) return `The request was forwarded: it has the header ${proxy}`;
  const host = hostOf(`http://${req.headers.host ?? ''}`);
  if (host === undefined) return 'The Host header is absent, or names no host';
  const name = host.hostname.replace(/^\[|\]$/g, '');
  if (name === 'localhost' || name.endsWith('.localhost') || isLoopback(name)) return undefined;
  return 'The Host header does not name this machine';
}

/**
 * Whether a request comes from a page of another origin. A client that is no browser sends neither header, and is let
 * pass: it cannot be tricked.
 */
export function refuseCrossOrigin(req: IncomingMessage): Refusal {
  const site = req.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    return 'The request comes from a page of another origin (Sec-Fetch-Site)';
  }
  const { origin } = req.headers;
  if (origin === undefined) return undefined;
  const from = hostOf(origin);
  // TLS may end in front of this server, so the scheme is not known here: the Origin's own is taken for both.
  const here = from && hostOf(`${from.protocol}//${req.headers.host ?? ''}`);
  return here !== undefined && from?.host === here.host ? undefined : 'The Origin is not that of the Host';
}

function hostOf(url: string): URL | undefined {
  try {
    const parsed = new URL(url);
    return parsed.host === '' ? undefined : parsed;
  } catch {
    return undefined;
  }
}

function isLoopback(address: string): boolean {
  const bare = address.replace(/^::ffff:(?=\d+\.)/i, '');
  return bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

import { once } from 'node:events';
import {
  Agent,
  createServer,
  request,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type Server,
} from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import express5 from 'express';
import express4 from 'express4';
import { onTestFinished } from 'vitest';

/** For `describe.each(expresses)('$name', ({ express }) => …)`. */
export const expresses = [
  { name: 'Express 5', express: express5 },
  { name: 'Express 4', express: express4 },
];

/** A server that listens, as {@link send} and {@link open} want it. */
export interface Running {
  readonly port: number;
  readonly server: Server;
}

/** Starts an app (Express, connect, a listener of `node:http`) on a free port; closed with all its sockets after the test. */
export async function serve(app: Parameters<typeof createServer>[1] | Server): Promise<Running> {
  const server = typeof app === 'function' ? createServer(app) : (app ?? createServer());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  return { port: (server.address() as AddressInfo).port, server };
}

/** An answer as it came over the wire. */
export interface Received {
  readonly status: number;
  readonly statusMessage: string;
  readonly httpVersion: string;
  /** Name, value, name, value, … as sent: case, order and repeated names kept. */
  readonly rawHeaders: string[];
  /** As Node joins them, names in lower case. */
  readonly headers: IncomingHttpHeaders;
  readonly rawTrailers: string[];
  /** The 1xx answers that came before. */
  readonly informational: readonly { readonly status: number; readonly headers: IncomingHttpHeaders }[];
  readonly body: Buffer;
  /** The body as UTF-8. */
  readonly text: string;
  /** Whether the answer came whole; false where the connection broke in its middle. */
  readonly complete: boolean;
  /** Whether it is marked as a replay. */
  readonly isReplay: boolean;
}

/** What to send. */
export interface Sent {
  /** Default POST. */
  readonly method?: string;
  /** Default `/`. */
  readonly path?: string;
  /** A list of values is sent line by line. */
  readonly headers?: OutgoingHttpHeaders;
  /** The `Idempotency-Key` header. */
  readonly key?: string;
  /** Text and bytes go out as they are; anything else as JSON, with its content type. */
  readonly body?: unknown;
  /** Default a connection of its own that is kept alive until the answer is there. */
  readonly agent?: Agent;
}

/**
 * Sends one request and reads the answer to its end, or to where the connection broke.
 * Rejects where it broke before the answer began (`ECONNRESET`).
 */
export async function send({ port }: Pick<Running, 'port'>, sent: Sent = {}): Promise<Received> {
  const { method = 'POST', path = '/', headers = {}, key, body, agent = new Agent({ keepAlive: true }) } = sent;
  const raw = typeof body === 'string' || body instanceof Uint8Array;
  const bytes = body === undefined || raw ? body : JSON.stringify(body);
  const req = request({ port, method, path, agent, headers });
  if (key !== undefined) req.setHeader('Idempotency-Key', key);
  if (bytes !== undefined) req.setHeader('Content-Length', Buffer.byteLength(bytes));
  if (bytes !== undefined && !raw) req.setHeader('Content-Type', 'application/json');
  const informational: { status: number; headers: IncomingHttpHeaders }[] = [];
  req.on('information', ({ statusCode, headers }) => informational.push({ status: statusCode, headers }));
  try {
    return await new Promise((resolve, reject) => {
      req.on('error', reject);
      req.on('response', (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        // The connection may break; `complete` says so.
        res.on('error', () => undefined);
        res.on('close', () => {
          const body = Buffer.concat(chunks);
          resolve({
            status: res.statusCode ?? 0,
            statusMessage: res.statusMessage ?? '',
            httpVersion: res.httpVersion,
            rawHeaders: res.rawHeaders,
            headers: res.headers,
            rawTrailers: res.rawTrailers,
            informational,
            body,
            text: body.toString(),
            complete: res.complete,
            isReplay: res.headers['x-idempotency-replay'] === 'true',
          });
        });
      });
      req.end(bytes);
    });
  } finally {
    if (sent.agent === undefined) agent.destroy();
  }
}

/** A connection of which every byte is seen. */
export interface RawConnection {
  readonly socket: Socket;
  /** What has come so far, one character a byte. */
  readonly received: string;
  /** Sends text, one byte a character. */
  write(text: string): void;
  /** Resolves with what has come when it holds `text`, or matches; rejects if the connection closes first. */
  until(text: string | RegExp): Promise<string>;
  /** Resolves with all that came when the server has closed the connection, in whichever way. */
  ended(): Promise<string>;
}

/** Opens a connection, for what a client library would not show: bytes as they come, pipelining, HTTP/1.0, aborts. */
export async function open({ port }: Running): Promise<RawConnection> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1');
  let received = '';
  socket.on('data', (text: string) => (received += text));
  // A reset shows as the end.
  socket.on('error', () => undefined);
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, 'connect');
  return {
    socket,
    get received() {
      return received;
    },
    write: (text) => {
      socket.write(text, 'latin1');
    },
    until: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (typeof text === 'string' ? received.includes(text) : text.test(received)) {
            done();
            resolve(received);
          } else if (socket.closed) {
            done();
            reject(new Error(`The connection closed before ${String(text)} came. Until then: ${received}`));
          }
        };
        const done = () => socket.off('data', look).off('close', look);
        socket.on('data', look).on('close', look);
        look();
      }),
    ended: async () => {
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
      return received;
    },
  };
}

/** A promise, and what resolves it: to hold a handler or a store where a test wants it. */
export interface Gate<T = void> {
  readonly opened: Promise<T>;
  readonly open: (value: T) => void;
}

/** Makes a closed gate. */
export function gate<T = void>(): Gate<T> {
  let open: (value: T) => void = () => undefined;
  const opened = new Promise<T>((resolve) => (open = resolve));
  return { opened, open };
}

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { onTestFinished } from 'vitest';
import { serve } from './harness.js';

/** What a client that knows nothing of HTTP sees of one connection. */
export interface RawClient {
  /** What has come so far, one character a byte. */
  readonly bytes: string;
  /** The sizes in which it came. */
  readonly sizes: readonly number[];
  /** `open`, then `FIN`, or the code of an error. */
  readonly ending: string;
  /** Resolves when `bytes` matches, or the connection ends. */
  readonly until: (what: RegExp) => Promise<string>;
  /** Resolves when the connection has ended. */
  readonly ended: Promise<{ bytes: string; ending: string }>;
  readonly write: (text: string) => void;
  readonly leave: () => void;
}

/** Connects, over TLS if `secure`, and sends `text`. */
export function rawClient(port: number, text: string, secure = false): RawClient {
  const at = { port, host: '127.0.0.1' };
  const socket = secure ? tls.connect({ ...at, rejectUnauthorized: false }) : net.connect(at);
  const client = { bytes: '', sizes: [] as number[], ending: 'open' };
  socket.on('data', (chunk: Buffer) => {
    client.bytes += chunk.toString('latin1');
    client.sizes.push(chunk.length);
  });
  socket.on('end', () => (client.ending = 'FIN'));
  socket.on('error', (error: NodeJS.ErrnoException) => (client.ending = error.code ?? ''));
  const ended = new Promise<{ bytes: string; ending: string }>((resolve) => {
    socket.on('close', () => {
      resolve({ bytes: client.bytes, ending: client.ending });
    });
  });
  onTestFinished(() => {
    socket.destroy();
  });
  socket.write(text);
  return Object.assign(client, {
    ended,
    until: (what: RegExp) =>
      new Promise<string>((resolve) => {
        const look = () => {
          if (what.test(client.bytes) || client.ending !== 'open') resolve(client.bytes);
        };
        socket.on('data', look).on('close', look);
        look();
      }),
    write: (more: string) => {
      socket.write(more);
    },
    leave: () => {
      socket.destroy();
    },
  });
}

/** The bytes of a request. */
export function requestFor(target = '/', { method = 'GET', headers = '' } = {}): string {
  return `${method} ${target} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;
}

/** What a raw client sees of one request, until the connection ends. */
export function raw(port: number, text = requestFor(), secure = false) {
  return rawClient(port, text, secure).ended;
}

let made: { key: Buffer; cert: Buffer } | undefined;

/** A key and a certificate for nobody, made for this run. */
export function selfSigned() {
  if (made) return made;
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-tls-'));
  const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync('openssl', [...kind, '-keyout', key, '-out', cert, '-subj', '/CN=localhost'], { stdio: 'ignore' });
  made = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(folder, { recursive: true });
  return made;
}

/** A server on a free port, of HTTP or HTTPS, gone after the test. */
export async function serveOver(secure: boolean, listener: RequestListener): Promise<number> {
  if (!secure) return serve(listener);
  const server = https.createServer(selfSigned(), listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import type { ChaosFault } from '../../ts/index.js';
import { chaosFor, countingHandler, onExpress5 } from './harness.js';

/** A key and a certificate for nobody, made for this run. */
function selfSigned() {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-tls-'));
  const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync('openssl', [...kind, '-keyout', key, '-out', cert, '-subj', '/CN=localhost'], { stdio: 'ignore' });
  const made = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(folder, { recursive: true });
  return made;
}

it.each<[ChaosFault, number]>([
  [{ kind: 'reset' }, 0],
  [{ kind: 'lost-response' }, 1],
])('under TLS too, %j sends a RST', async (fault, runs) => {
  const chaos = chaosFor({ rules: [{ name: 'broken', fault }] });
  const { handler, seen } = countingHandler();
  const server = https.createServer(selfSigned(), onExpress5(chaos.middleware(), handler));
  onTestFinished(() => {
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const seenByClient = await new Promise((resolve) => {
    const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      client.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n');
    });
    let bytes = '';
    client.on('data', (chunk: Buffer) => (bytes += chunk.toString()));
    client.on('error', (error: NodeJS.ErrnoException) => {
      resolve([bytes, error.code]);
    });
    client.on('end', () => {
      resolve([bytes, 'FIN']);
    });
  });
  expect(seenByClient).toEqual(['', 'ECONNRESET']);
  expect(seen).toHaveLength(runs);
});

import { once } from 'node:events';
import http from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import compression from 'compression';
import express from 'express';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ChaosFault } from '../../ts/index.js';
import { ask, chaosFor, serve, stacks, until } from './harness.js';
import { raw, rawClient, requestFor, serveOver } from './raw.js';
import { draw, share } from './reference.js';

const TEXT = Array.from({ length: 400 }, (_, n) => `line ${n} of the answer, ünïcödé\n`).join('');

/** The ways in which an answer gets its length. All say the same. */
const ways: Record<string, (res: ServerResponse) => void> = {
  'Content-Length': (res) => {
    res.setHeader('Content-Length', Buffer.byteLength(TEXT));
    res.end(TEXT);
  },
  'Content-Length, written in pieces': (res) => {
    res.setHeader('Content-Length', Buffer.byteLength(TEXT));
    for (const line of TEXT.split(/(?<=\n)/)) res.write(line);
    res.end();
  },
  chunked: (res) => {
    res.write(TEXT.slice(0, 5000));
    res.write(Buffer.from(TEXT.slice(5000, 9000)));
    res.end(TEXT.slice(9000));
  },
};

interface Served {
  readonly port: number;
  /** The answers that were given in full, for all that runs inside of chaos. */
  readonly finished: number[];
}

/** A server that answers in one way, with chaos outside of compression and of the handler. */
async function serveWay(way: string, fault: ChaosFault | undefined, { secure = false, seed = 42 } = {}) {
  const chaos = chaosFor({ seed, rules: fault ? [{ name: 'broken', fault }] : [] });
  const finished: number[] = [];
  const app = express();
  app.use(chaos.middleware(), compression({ threshold: 0 }) as never, (_req: IncomingMessage, res: ServerResponse) => {
    res.on('finish', () => finished.push(res.statusCode));
    res.setHeader('Date', 'today');
    res.setHeader('Content-Type', 'text/plain; charset=utf-8');
    ways[way]?.(res);
  });
  const served: Served = { port: await serveOver(secure, app), finished };
  return { ...served, chaos };
}

const CLOSE = { headers: 'Connection: close\r\n' };
const ZIPPED = { headers: 'Connection: close\r\nAccept-Encoding: gzip\r\n' };

/** Where the body begins. */
const bodyAt = (bytes: string) => bytes.indexOf('\r\n\r\n') + 4;

const cases = Object.keys(ways).flatMap((way) =>
  [CLOSE, ZIPPED].flatMap((asked) =>
    [false, true].map((secure) => ({
      name: `${way}${asked === ZIPPED ? ', compressed' : ''}${secure ? ', over TLS' : ''}`,
      way,
      asked,
      secure,
    })),
  ),
);

describe.each(cases)('an answer with $name', ({ way, asked, secure }) => {
  /** The same answer, unharmed. */
  const whole = async () => {
    const answer = await raw((await serveWay(way, undefined, { secure })).port, requestFor('/', asked), secure);
    expect(answer.bytes.includes('Content-Encoding: gzip')).toBe(asked === ZIPPED);
    return answer;
  };

  it.each([
    ['hangup', 'FIN'],
    ['reset', 'ECONNRESET'],
  ] as const)('truncate (%s): a part of the body, then %s; the handler has finished', async (ending, seen) => {
    const { port, finished, chaos } = await serveWay(way, { kind: 'truncate', ending }, { secure });
    const unharmed = await whole();
    const cut = await raw(port, requestFor('/', asked), secure);
    expect(cut.ending).toBe(seen);
    expect(unharmed.bytes.startsWith(cut.bytes)).toBe(true);
    expect(cut.bytes.length).toBeGreaterThanOrEqual(bodyAt(unharmed.bytes));
    expect(cut.bytes.length).toBeLessThan(unharmed.bytes.length);
    expect(finished).toEqual([200]);
    expect(chaos.metrics()).toMatchObject({ failuresInjected: 1, latenciesInjected: 0 });
  });

  it('stall: a part of the body, then nothing until chaos is closed; the handler has finished', async () => {
    const { port, finished, chaos } = await serveWay(way, { kind: 'stall', at: { bytes: 70 } }, { secure });
    const unharmed = await whole();
    const client = rawClient(port, requestFor('/', asked), secure);
    await until(() => finished.length === 1);
    await client.until(/\r\n\r\n[^]{70}/);
    // Another answer, whole: whatever was on its way has arrived.
    await whole();
    expect([client.ending, unharmed.bytes.startsWith(client.bytes)]).toEqual(['open', true]);
    const stalled = client.bytes;
    chaos.close();
    expect(await client.ended).toEqual({ bytes: stalled, ending: 'FIN' });
    expect(chaos.metrics().failuresInjected).toBe(1);
  });

  it.each<ChaosFault>([{ kind: 'slice' }, { kind: 'drip', bytes: 999, everyMs: 1 }])(
    '$kind: the same bytes, in pieces',
    async (fault) => {
      const { port, finished } = await serveWay(way, fault, { secure });
      const unharmed = await whole();
      const client = rawClient(port, requestFor('/', asked), secure);
      expect(await client.ended).toEqual(unharmed);
      expect(finished).toEqual([200]);
      expect(client.sizes.length).toBeGreaterThan(1);
    },
  );

  it('corrupt: as long as before, and as many bits differ in the body as were asked for', async () => {
    const { port, finished } = await serveWay(way, { kind: 'corrupt', bits: 7 }, { secure });
    const unharmed = Buffer.from((await whole()).bytes, 'latin1');
    const corrupt = Buffer.from((await raw(port, requestFor('/', asked), secure)).bytes, 'latin1');
    expect(corrupt.length).toBe(unharmed.length);
    const differing = [...corrupt.keys()].filter((at) => corrupt[at] !== unharmed[at]);
    expect(differing[0]).toBeGreaterThanOrEqual(bodyAt(unharmed.toString('latin1')));
    const bits = differing.map(
      (at) => ((corrupt[at] ?? 0) ^ (unharmed[at] ?? 0)).toString(2).replaceAll('0', '').length,
    );
    expect(bits.reduce((sum, n) => sum + n, 0)).toBe(7);
    expect(finished).toEqual([200]);
  });
});

/** A server of which every answer has one fault; `handler` answers. */
async function serveBroken(fault: ChaosFault, handler: (req: IncomingMessage, res: ServerResponse) => unknown) {
  const chaos = chaosFor({ rules: [{ name: 'broken', match: { paths: ['/broken'] }, fault }] });
  const port = await serve((req, res) => {
    chaos.middleware()(req, res, () => {
      void handler(req, res);
    });
  });
  return { chaos, port };
}

/** A server without chaos that sends these bytes, whatever it is asked. */
async function serveBytes(bytes: string): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => socket.end(bytes, 'latin1'));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

describe('where an answer is cut', () => {
  it('is drawn by the seed, for each attempt anew', async () => {
    const { port } = await serveBroken({ kind: 'truncate' }, (_req, res) => res.end('x'.repeat(1000)));
    for (let attempt = 0; attempt < 8; attempt++) {
      const { bytes } = await raw(port, requestFor('/broken'));
      const drawn = share(draw('42', 'GET /broken', attempt, 'broken', 'cut'));
      expect(bytes.length - bodyAt(bytes)).toBe(Math.floor(drawn * 1000));
    }
  });

  it.each([
    [{ bytes: 0 }, 0],
    [{ bytes: 3 }, 3],
    [{ share: 0 }, 0],
    [{ share: 0.5 }, 5],
    [{ share: 0.999 }, 9],
  ])('is where the rule says: %j', async (at, sent) => {
    const { port } = await serveBroken({ kind: 'truncate', at }, (_req, res) => res.end('0123456789'));
    const { bytes, ending } = await raw(port, requestFor('/broken'));
    expect(bytes).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\nContent-Length: 10\r\n/);
    expect([bytes.slice(bodyAt(bytes)), ending]).toEqual(['0123456789'.slice(0, sent), 'FIN']);
  });

  it('leaves out the end of a chunked answer, though all its bytes were sent', async () => {
    const { port, chaos } = await serveBroken({ kind: 'truncate', at: { bytes: 8 } }, async (_req, res) => {
      res.write('four');
      // Node 26 makes one chunk of what is written in one turn.
      await turn();
      res.end('more');
    });
    const { bytes } = await raw(port, requestFor('/broken'));
    expect(bytes.slice(bodyAt(bytes))).toBe('4\r\nfour\r\n4\r\nmore');
    expect(chaos.metrics().failuresInjected).toBe(1);
  });

  it.each<[string, string, (res: ServerResponse) => void]>([
    ['a HEAD', 'HEAD', (res) => res.end('0123456789')],
    ['a 204', 'GET', (res) => res.writeHead(204).end()],
    ['an empty answer', 'GET', (res) => res.end()],
    ['a cut behind the end', 'GET', (res) => res.end('01')],
  ])('spares %s, of which no byte of a body can be missing, and counts nothing', async (_, method, answer) => {
    const fault: ChaosFault = { kind: 'truncate', at: { bytes: 2 } };
    const { port, chaos } = await serveBroken(fault, (_req, res) => {
      answer(res);
    });
    // The connection goes on to its next answer.
    const both = requestFor('/broken', { method }) + requestFor('/', { ...CLOSE, method });
    const { bytes } = await raw(port, both);
    expect(bytes.match(/HTTP\/1\.1 20/g)).toHaveLength(2);
    expect(chaos.metrics().failuresInjected).toBe(0);
  });

  it('an answer that no one knows the length of is cut in its first 64 KiB, and flows before it ends', async () => {
    let write: ((text: string) => void) | undefined;
    const { port } = await serveBroken({ kind: 'stall', at: { share: 0.9 } }, (_req, res) => {
      write = (text) => res.write(text);
    });
    const client = rawClient(port, requestFor('/broken'));
    await until(() => write !== undefined);
    for (let n = 0; n < 70; n++) {
      write?.('x'.repeat(1000));
      await turn();
    }
    const payload = () => client.bytes.slice(bodyAt(client.bytes)).replaceAll(/\r\n|3e8\r\n/g, '');
    const sent = Math.floor(0.9 * 66_000);
    await until(() => payload().length >= sent);
    expect(payload()).toBe('x'.repeat(sent));
  });
});

describe('what clients make of it', () => {
  const long = (_req: IncomingMessage, res: ServerResponse) => res.end('0123456789'.repeat(100));

  const read = async (port: number) => (await fetch(`http://127.0.0.1:${port}/broken`)).text();

  it.each<[ChaosFault, string]>([
    [{ kind: 'truncate', at: { share: 0.5 } }, 'UND_ERR_SOCKET'],
    [{ kind: 'truncate', at: { share: 0.5 }, ending: 'reset' }, 'ECONNRESET'],
  ])('%j: fetch fails with %s', async (fault, code) => {
    const { port } = await serveBroken(fault, long);
    await expect(read(port)).rejects.toMatchObject({ cause: { code } });
  });

  it.each([
    ['status-line', 'HTTP/1.1 2x0 OK\r\nContent-Length: 1000\r\n\r\n'],
    ['content-length', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Length: 1001\r\n\r\n'],
    ['chunk-size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n'],
  ] as const)('malformed (%s): fetch refuses it as it refuses such bytes by hand', async (what, head) => {
    // Which error that is differs between versions of Node.
    const refusal = async (port: number) => {
      const { cause } = (await read(port).then(unexpected, (error: unknown) => error)) as {
        cause: Error & { code?: string };
      };
      return [cause.name, cause.code, cause.message];
    };
    const unexpected = (text: string) => {
      throw new Error(`Read as if nothing were wrong: ${text}`);
    };
    const { port } = await serveBroken({ kind: 'malformed', what }, long);
    expect(await refusal(port)).toEqual(await refusal(await serveBytes(head + '0123456789'.repeat(100))));
  });

  it('a truncated answer begins as ever for node:http, and is not complete', async () => {
    const { port } = await serveBroken({ kind: 'truncate', at: { bytes: 500 } }, long);
    const seen = await new Promise((resolve) => {
      http.get({ port, path: '/broken', host: '127.0.0.1' }, (res) => {
        let length = 0;
        res.on('data', (chunk: Buffer) => (length += chunk.length));
        res.on('error', (error: NodeJS.ErrnoException) => {
          resolve([res.statusCode, length, res.complete, error.code]);
        });
      });
    });
    expect(seen).toEqual([200, 500, false, 'ECONNRESET']);
  });

  it.each(['status-line', 'content-length', 'chunk-size'] as const)(
    'malformed (%s), of an answer with a length and of a chunked one: node:http refuses it',
    async (what) => {
      const { port, chaos } = await serveBroken({ kind: 'malformed', what }, (req, res) => {
        if (req.headers['x-chunked'] !== undefined) res.write('some');
        res.end('thing');
      });
      for (const headers of [{}, { 'X-Chunked': '1' }] as Record<string, string>[]) {
        await expect(ask(port, { path: '/broken', headers })).rejects.toMatchObject({
          code: expect.stringMatching(/^HPE_/) as string,
        });
      }
      expect(chaos.metrics().failuresInjected).toBe(2);
    },
  );

  it('malformed without a say: the seed draws which', async () => {
    const { port } = await serveBroken({ kind: 'malformed' }, long);
    const codes = new Set<unknown>();
    for (let n = 0; n < 20; n++)
      codes.add(await ask(port, { path: '/broken' }).catch((error: unknown) => (error as { code: string }).code));
    expect(codes).toEqual(new Set(['HPE_INVALID_STATUS', 'HPE_UNEXPECTED_CONTENT_LENGTH', 'HPE_INVALID_CHUNK_SIZE']));
  });
});

describe('a connection that is kept alive', () => {
  const benign: ChaosFault[] = [
    { kind: 'slice' },
    { kind: 'drip', bytes: 4, everyMs: 1 },
    { kind: 'corrupt' },
    { kind: 'latency', when: 'after', delay: { law: 'uniform', minMs: 5, maxMs: 5 } },
  ];

  it.each(benign)('goes on after $kind, for pipelined answers in their order', async (fault) => {
    const { port } = await serveBroken(fault, (req, res) => res.end(`answer to ${String(req.headers['x-n'])}`));
    const paths = ['/', '/broken', '/', '/broken', '/broken', '/'];
    const requests = paths.map((path, n) => requestFor(path, { headers: `X-N: ${n}\r\n` }));
    requests.push(requestFor('/', { headers: 'X-N: 6\r\nConnection: close\r\n' }));
    const { bytes } = await raw(port, requests.join(''));
    const bodies = bytes
      .split(/HTTP\/1\.1 200 OK\r\n/)
      .slice(1)
      .map((text) => text.slice(bodyAt(text)));
    expect(bodies.map((body) => body.length)).toEqual(Array(7).fill('answer to 0'.length));
    for (const n of [0, 2, 5, 6]) expect(bodies[n]).toBe(`answer to ${n}`);
    if (fault.kind !== 'corrupt') expect(bodies).toEqual(bodies.map((_body, n) => `answer to ${n}`));
  });

  it.each(benign)('has the socket as it was after $kind', async (fault) => {
    const sockets = new Set<IncomingMessage['socket']>();
    const { port } = await serveBroken(fault, (req, res) => {
      sockets.add(req.socket);
      res.end('answer');
    });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const listeners: number[] = [];
    for (let n = 0; n < 4; n++) {
      await ask(port, { path: '/broken', agent });
      const [socket] = sockets;
      await until(() => socket !== undefined && !Object.hasOwn(socket, 'write'));
      listeners.push(socket?.listenerCount('close') ?? 0);
    }
    agent.destroy();
    expect(sockets.size).toBe(1);
    expect(new Set(listeners).size).toBe(1);
  });
});

it.each(stacks)('on %s, a truncated answer does not keep a piping handler from its end', async (_, mount) => {
  const chaos = chaosFor({ rules: [{ name: 'cut', fault: { kind: 'truncate', at: { bytes: 10 } } }] });
  let finished = false;
  const port = await serve(
    mount(chaos.middleware(), (_req, res) => {
      res.on('finish', () => (finished = true));
      Readable.from(Array.from({ length: 50 }, () => Buffer.alloc(50_000))).pipe(res);
    }),
  );
  const { bytes, ending } = await raw(port);
  expect([bytes.endsWith('\0'.repeat(10)), ending, finished]).toEqual([true, 'FIN', true]);
});

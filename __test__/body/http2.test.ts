import { once } from 'node:events';
import * as http2 from 'node:http2';
import { connect, type AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { expect, describe, it, onTestFinished } from 'vitest';
import { idempotencyMiddleware } from '../../ts/index.js';
import { gate } from '../helpers/server.js';
import { until } from '../helpers/until.js';

interface Served {
  readonly port: number;
  readonly session: http2.ClientHttp2Session;
  readonly errors: unknown[];
  readonly runs: () => number;
}

/** Answers what it read; errors of the guard by their status. `inFront` lets a request through when it likes. */
async function serveHttp2(
  inFront = (_req: http2.Http2ServerRequest, next: () => void) => {
    next();
  },
): Promise<Served> {
  const guard = idempotencyMiddleware({ parseJson: true, maxRequestBytes: 100 });
  const errors: unknown[] = [];
  let runs = 0;
  const server = http2.createServer((req, res) => {
    inFront(req, () => {
      // The types of the compatible request and response are others, though middleware cannot tell.
      guard(req as never, res as never, (error) => {
        if (error !== undefined) {
          errors.push(error);
          res.writeHead((error as { status: number }).status).end();
          return;
        }
        runs++;
        res.end(JSON.stringify((req as { body?: unknown }).body));
      });
    });
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const session = http2.connect(`http://127.0.0.1:${port}`);
  onTestFinished(() => {
    void guard.close();
    session.destroy();
    for (const open of sessions) open.destroy();
    server.close();
  });
  return { port, session, errors, runs: () => runs };
}

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
  readonly isReplay: boolean;
}

function ask(
  { session }: Served,
  chunks: (string | Buffer)[],
  headers: http2.OutgoingHttpHeaders = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(
      { ':method': 'POST', ':path': '/', 'idempotency-key': 'k', 'content-type': 'application/json', ...headers },
      { endStream: chunks.length === 0 },
    );
    let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
    let body = '';
    stream.setEncoding('utf8');
    stream.on('response', (fields) => (head = fields));
    stream.on('data', (text: string) => (body += text));
    stream.on('error', reject);
    stream.on('close', () => {
      resolve({ status: head[':status'], body, isReplay: head['x-idempotency-replay'] === 'true' });
    });
    for (const chunk of chunks) stream.write(chunk);
    if (chunks.length > 0) stream.end();
  });
}

/** Types, flags and settings of RFC 9113, as far as a request needs them: Node's client always ends what it resets. */
function frame(type: number, flags: number, stream: number, payload = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The head of a request, with each field spelled out (RFC 7541 §6.2.2), and the beginning of its body. */
function halfARequest(body: string): Buffer {
  const fields = { ':method': 'POST', ':path': '/', ':scheme': 'http', ':authority': 'test' };
  const all = Object.entries({ ...fields, 'content-type': 'application/json', 'idempotency-key': 'k' });
  const block = all.map(([name, value]) =>
    Buffer.from(`\0${String.fromCharCode(name.length)}${name}${String.fromCharCode(value.length)}${value}`),
  );
  return Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(4, 0, 0),
    frame(1, 4, 1, Buffer.concat(block)),
    frame(0, 0, 1, Buffer.from(body)),
  ]);
}

describe('over HTTP/2, `parseJson`', () => {
  it('reads a body', async () => {
    const server = await serveHttp2();
    expect(await ask(server, ['{"a":', '1}'])).toEqual({ status: 200, body: '{"a":1}', isReplay: false });
    expect(await ask(server, ['{ "a": 1 }'])).toEqual({ status: 200, body: '{"a":1}', isReplay: true });
    const gzipped = await ask(server, [gzipSync('{"a":1}')], { 'content-encoding': 'gzip' });
    expect(gzipped).toEqual({ status: 200, body: '{"a":1}', isReplay: true });
    expect((await ask(server, ['{"a":2}'])).status).toBe(422);
    expect([server.runs(), server.errors]).toEqual([1, []]);
  });

  it('reads nothing as an empty object, where there is to be a body', async () => {
    const server = await serveHttp2();
    expect((await ask(server, [], { 'content-length': 0 })).body).toBe('{}');
    expect((await ask(server, [''], { 'idempotency-key': 'other' })).body).toBe('{}');
    expect((await ask(server, [], { 'idempotency-key': 'none' })).body).toBe('');
  });

  /** More than a stream's window: to be sent, somebody must take it. */
  const LARGE = ' '.repeat(500_000);

  it.each<[string, number, string[], http2.OutgoingHttpHeaders]>([
    ['no JSON', 400, ['{"a"'], {}],
    ['too large', 413, [LARGE, '[]'], {}],
    ['said to be too large', 413, [LARGE], { 'content-length': LARGE.length }],
    ['of another charset', 415, [LARGE], { 'content-type': 'application/json; charset=latin1' }],
    ['of an encoding that nobody knows', 415, [LARGE], { 'content-encoding': 'compress' }],
  ])(
    'refuses what cannot be read, takes all of it, and the session goes on: %s',
    async (_what, status, chunks, head) => {
      const server = await serveHttp2();
      expect((await ask(server, chunks, head)).status).toBe(status);
      expect(await ask(server, ['{"a":1}'])).toEqual({ status: 200, body: '{"a":1}', isReplay: false });
      expect(server.errors).toEqual([expect.objectContaining({ code: 'ERR_REPRISE_UNREADABLE_BODY', status })]);
    },
  );

  const reset = (code: number) => frame(3, 0, 1, Buffer.of(0, 0, 0, code));

  describe.each<[string, (socket: ReturnType<typeof connect>) => unknown]>([
    ['resets its stream', (socket) => socket.write(reset(http2.constants.NGHTTP2_CANCEL))],
    ['resets its stream without an error', (socket) => socket.write(reset(http2.constants.NGHTTP2_NO_ERROR))],
    ['resets its connection', (socket) => socket.resetAndDestroy()],
  ])('of a client that %s in the middle of its body', (_how, leave) => {
    async function leaveHalfway(server: Served, begun: Promise<void>): Promise<void> {
      const socket = connect(server.port, '127.0.0.1')
        .on('error', () => undefined)
        .resume();
      onTestFinished(() => {
        socket.destroy();
      });
      // What has come of it is JSON, too.
      socket.write(halfARequest('{"a":1}'));
      await begun;
      leave(socket);
      await until(() => server.errors.length > 0);
      expect(server.runs()).toBe(0);
      expect(await ask(server, ['{"a":1}   '])).toEqual({ status: 200, body: '{"a":1}', isReplay: false });
      expect(server.errors).toEqual([expect.objectContaining({ status: 400, type: 'request.aborted' })]);
    }

    it('gives an error, once, and takes no key', async () => {
      const begun = gate();
      const server = await serveHttp2((req, next) => {
        next();
        req.once('data', () => {
          begun.open();
        });
      });
      await leaveHalfway(server, begun.opened);
    });

    it('gives an error, once, and takes no key, where it was still in front', async () => {
      const begun = gate();
      let isFirst = true;
      const server = await serveHttp2((req, next) => {
        if (isFirst) req.on('close', () => setImmediate(next));
        else next();
        isFirst = false;
        begun.open();
      });
      await leaveHalfway(server, begun.opened);
    });
  });
});

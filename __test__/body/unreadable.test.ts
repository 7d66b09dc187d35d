import { inspect } from 'node:util';
import { deflateSync, gzipSync } from 'node:zlib';
import type { NextFunction, Request, RequestHandler } from 'express';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware } from '../../ts/index.js';
import { expresses, gate, open, serve, type RawConnection } from '../helpers/server.js';
import { shop, type Shop } from '../helpers/shop.js';
import { until } from '../helpers/until.js';

interface Refused {
  readonly name: string;
  readonly status: number;
  /** What it is as an error of ours, and, where that is something else, of `express.json()`. */
  readonly type: string;
  readonly typeOfTheirs?: unknown;
  /** Lines of the head. */
  readonly head?: string[];
  readonly body: string | Buffer;
}

const LIMIT = 102_400;
const gzip = ['Content-Encoding: gzip'];
/** Ten million bytes, of which the later half would not decompress: to be told so, one has to get there. */
const bomb = gzipSync(`["SECRET${' '.repeat(10_000_000)}"]`);
const halfABomb = bomb.subarray(0, bomb.length / 2);
const broken = Buffer.from(gzipSync('["SECRET"]').fill(0xff, 12, 16));

function chunked(...chunks: string[]): Pick<Refused, 'head' | 'body'> {
  const body = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');
  return { head: ['Transfer-Encoding: chunked'], body: `${body}0\r\n\r\n` };
}

const REFUSED: Refused[] = [
  { name: 'no JSON', status: 400, type: 'entity.parse.failed', body: '{"SECRET' },
  { name: 'no JSON from its first letter', status: 400, type: 'entity.parse.failed', body: 'SECRET' },
  { name: 'more than one value', status: 400, type: 'entity.parse.failed', body: '{"SECRET":1}{}' },
  { name: 'text', status: 400, type: 'entity.parse.failed', body: ' "SECRET"' },
  { name: 'a number', status: 400, type: 'entity.parse.failed', body: '1' },
  { name: 'null', status: 400, type: 'entity.parse.failed', body: 'null' },
  { name: 'white space', status: 400, type: 'entity.parse.failed', body: ' \n' },
  { name: 'no JSON, compressed', status: 400, type: 'entity.parse.failed', head: gzip, body: gzipSync('["SECRET') },
  { name: 'too long', status: 413, type: 'entity.too.large', body: `["SECRET${'a'.repeat(LIMIT)}"]` },
  { name: 'a byte too long', status: 413, type: 'entity.too.large', body: `[${' '.repeat(LIMIT - 1)}]` },
  {
    name: 'too long, in chunks',
    status: 413,
    type: 'entity.too.large',
    ...chunked('["SECRET', ...Array.from({ length: 30 }, () => ' '.repeat(LIMIT / 10)), '"]'),
  },
  { name: 'too long, decompressed', status: 413, type: 'entity.too.large', head: gzip, body: bomb },
  { name: 'too long before its encoding breaks', status: 413, type: 'entity.too.large', head: gzip, body: halfABomb },
  {
    name: 'of another charset',
    status: 415,
    type: 'charset.unsupported',
    head: ['charset=latin1'],
    body: '["SECRET"]',
  },
  {
    name: 'of an encoding that nobody knows',
    status: 415,
    type: 'encoding.unsupported',
    head: ['Content-Encoding: compress'],
    body: '["SECRET"]',
  },
  {
    name: 'not what its encoding says',
    status: 400,
    type: 'entity.parse.failed',
    typeOfTheirs: undefined,
    head: gzip,
    body: '["SECRET"]',
  },
  {
    name: 'of an encoding that breaks',
    status: 400,
    type: 'entity.parse.failed',
    typeOfTheirs: undefined,
    head: gzip,
    body: broken,
  },
  {
    name: 'of an encoding that is cut off',
    status: 400,
    type: 'entity.parse.failed',
    typeOfTheirs: undefined,
    head: ['Content-Encoding: deflate'],
    body: deflateSync('["SECRET"]').subarray(0, -6),
  },
];

/** A request with the key `k`, as it goes over the wire. */
function requestOf(body: string | Buffer, head: string[] = []): string {
  const bytes = Buffer.from(body).toString('latin1');
  const charset = head.find((line) => line.startsWith('charset='));
  return [
    'POST / HTTP/1.1',
    'Host: test',
    'Idempotency-Key: k',
    `Content-Type: application/json${charset === undefined ? '' : `; ${charset}`}`,
    ...head.filter((line) => line !== charset),
    ...(head.includes('Transfer-Encoding: chunked') ? [] : [`Content-Length: ${bytes.length}`]),
    '',
    bytes,
  ].join('\r\n');
}

const statusesOf = ({ received }: RawConnection) => [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code);

describe.each(expresses)('a body that cannot be read, $name', ({ express }) => {
  it.each(REFUSED)('$name: an error as that of `express.json()`', async ({ status, type, head, body, ...refused }) => {
    const [theirs, ours]: [unknown[], unknown[]] = [[], []];
    const shops = [
      await shop({}, { express, errors: theirs }),
      await shop({ parseJson: true }, { express, before: [], errors: ours }),
    ];
    for (const orders of shops) {
      const connection = await open(orders);
      connection.write(requestOf(body, head));
      await connection.until('failed');
      expect(orders.runs).toBe(0);
      // The connection is as before, and the key is free.
      connection.write(requestOf('["good"]'));
      await connection.until('{"run":1}');
      expect(statusesOf(connection)).toEqual([`${status}`, '201']);
    }
    const typeOfTheirs = 'typeOfTheirs' in refused ? refused.typeOfTheirs : type;
    expect(theirs).toEqual([expect.objectContaining({ status, statusCode: status })]);
    expect((theirs[0] as { type?: string }).type).toBe(typeOfTheirs);
    expect(ours).toEqual([
      expect.objectContaining({ code: 'ERR_REPRISE_UNREADABLE_BODY', status, statusCode: status, type, expose: true }),
    ]);
    const [error] = ours as [Error];
    const shown = [error.message, String(error), inspect(error, { depth: null }), error.stack, JSON.stringify(error)];
    expect(shown.join('\n')).not.toContain('SECRET');
  });

  it('is a SyntaxError with the text as `body`, where it is no JSON', async () => {
    const errors: unknown[] = [];
    const orders = await shop({ parseJson: true }, { express, before: [], errors });
    for (const body of ['{"a"', '"a"']) {
      await orders.send({ body, headers: { 'Content-Type': 'application/json' } });
      const error = errors.pop() as Error;
      expect(error).toBeInstanceOf(SyntaxError);
      expect('body' in error && error.body).toBe(body);
      expect(Object.keys(error)).not.toContain('body');
    }
  });

  it('is refused before it comes, where it says that it is too large', async () => {
    const connection = await open(await shop({ parseJson: true }, { express, before: [] }));
    connection.write(requestOf('').replace('Content-Length: 0', `Content-Length: ${LIMIT + 1}`));
    expect(await connection.until('failed')).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('is too large beyond `maxRequestBytes`', async () => {
    const orders = await shop({ parseJson: true, maxRequestBytes: 5 }, { express, before: [] });
    const sendIt = (body: string | Buffer, headers = {}) =>
      orders.send({ body, headers: { 'Content-Type': 'application/json', ...headers } });
    expect((await sendIt('[123]')).status).toBe(201);
    expect((await sendIt('[1234]')).status).toBe(413);
    expect((await sendIt('[12 ]')).status).toBe(201);
    const large = await shop({ parseJson: true, maxRequestBytes: 1_000_000 }, { express, before: [] });
    const body = JSON.stringify(['a'.repeat(900_000)]);
    expect((await large.send({ body, headers: { 'Content-Type': 'application/json' } })).status).toBe(201);
  });
});

describe.each(expresses)('a client that leaves before its body is complete, $name', ({ express }) => {
  const HALF = requestOf('{"a":1}').slice(0, -3);
  const aborted = [
    expect.objectContaining({ code: 'ERR_REPRISE_UNREADABLE_BODY', status: 400, type: 'request.aborted' }),
  ];

  /** Waits for the error, and that the key is free. */
  async function expectAborted(orders: Shop, errors: unknown[]): Promise<void> {
    await until(() => errors.length > 0);
    expect(orders.runs).toBe(0);
    expect(await orders.send({ body: { a: 1 }, key: 'k' })).toMatchObject({ status: 201, isReplay: false });
    expect(errors).toEqual(aborted);
  }

  /** Sends half a request, and leaves once it has been in front; `inFront` lets it through when it likes. */
  async function leaveHalfway(
    leave: (connection: RawConnection) => unknown,
    inFront: (req: Request, next: NextFunction) => void,
  ): Promise<void> {
    const errors: unknown[] = [];
    const begun = gate();
    const before: RequestHandler[] = [
      (req, _res, next) => {
        inFront(req, next);
        begun.open();
      },
    ];
    const orders = await shop({ parseJson: true }, { express, before, errors });
    const connection = await open(orders);
    connection.write(HALF);
    await begun.opened;
    leave(connection);
    await expectAborted(orders, errors);
  }

  const LEAVING: [string, (connection: RawConnection) => unknown][] = [
    ['resets its connection', ({ socket }) => socket.resetAndDestroy()],
    ['ends its connection', ({ socket }) => socket.end()],
  ];

  it.each(LEAVING)('%s: an error, once, and no key is taken', async (_how, leave) => {
    await leaveHalfway(leave, (_req, next) => {
      next();
    });
  });

  it.each(LEAVING)('%s while authentication takes its time: the same', async (_how, leave) => {
    let isFirst = true;
    await leaveHalfway(leave, (req, next) => {
      if (isFirst) req.on('close', next);
      else next();
      isFirst = false;
    });
  });

  it('is destroyed in front: the same', async () => {
    const errors: unknown[] = [];
    let isFirst = true;
    const before: RequestHandler[] = [
      (req, _res, next) => {
        if (isFirst) req.destroy(new Error('not wanted'));
        isFirst = false;
        next();
      },
    ];
    const orders = await shop({ parseJson: true }, { express, before, errors });
    const connection = await open(orders);
    connection.write(requestOf('{"a":1}'));
    await connection.ended();
    await expectAborted(orders, errors);
  });
});

describe('a client whose body is refused, and which leaves before it is told', () => {
  it('is worth one error', async () => {
    const errors: unknown[] = [];
    const closed = gate();
    const guard = idempotencyMiddleware({ parseJson: true, maxRequestBytes: 3 });
    const server = await serve((req, res) => {
      guard(req, res, (error) => errors.push(error));
      req.on('close', closed.open);
    });
    const connection = await open(server);
    connection.write(requestOf('6\r\n[12345\r\n', ['Transfer-Encoding: chunked']));
    await until(() => errors.length > 0);
    connection.socket.resetAndDestroy();
    await closed.opened;
    expect(errors).toEqual([expect.objectContaining({ type: 'entity.too.large' })]);
    void guard.close();
  });
});

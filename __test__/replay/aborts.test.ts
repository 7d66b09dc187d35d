import { createReadStream } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { finished, pipeline, Readable } from 'node:stream';
import { pipeline as pipelined } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';
import { expresses, gate, open, send, type RawConnection, type Running } from '../helpers/server.js';
import { expectReplay, servePair, type Middleware } from './exchange.js';
import { mountOn } from './express.js';
import { files, handlerOf, ways } from './ways.js';

/** A retry waits until the first request's claim has ended. */
const options = { onConcurrent: 'wait' } as const;

/** Sends a request with a key. */
async function begin(server: Running, key = 'k'): Promise<RawConnection> {
  const connection = await open(server);
  connection.write(`POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: ${key}\r\n\r\n`);
  return connection;
}

/** Resolves when the response has heard that its client left. */
function closed(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    res.once('close', () => {
      resolve();
    });
  });
}

/** A first run that does one thing, and later ones that answer. */
function firstThen(first: Middleware, later: Middleware): Middleware {
  let runs = 0;
  return (req, res, next) => (runs++ === 0 ? first : later)(req, res, next);
}

const done: Middleware = (_req, res) => res.end('done');

describe.each(expresses)('$name', ({ express }) => {
  const mount = mountOn(express);

  describe.each(['ends the connection', 'resets the connection'])('§4.4 a client that %s before the answer', (how) => {
    it.each(ways)('changes nothing: $name', async (way) => {
      const running = gate();
      const answer = handlerOf(way);
      const afterwards: Middleware = async (req, res, next) => {
        running.open();
        await closed(res);
        try {
          await answer(req, res, next);
        } catch (error) {
          next(error);
        }
      };
      const { guarded, bare, runs } = await servePair(mount, firstThen(afterwards, answer), { options });
      const { socket } = await begin(guarded);
      await running.opened;
      if (how === 'ends the connection') socket.destroy();
      else socket.resetAndDestroy();
      const retry = await send(guarded, { key: 'k' });
      const expected = await send(bare);
      expect(runs()).toBe(expected.status < 500 ? 1 : 2);
      if (expected.status < 500) expectReplay(retry, expected);
    });
  });

  describe('§4.4 a client that leaves in the middle of the answer', () => {
    /** Waits in its middle until the client has left. */
    async function* halves(res: ServerResponse): AsyncGenerator<string> {
      const gone = closed(res);
      yield 'first ';
      await gone;
      yield 'second ';
      yield 'third';
    }

    it.each<[string, Middleware]>([
      ['pipe', (_req, res) => Readable.from(halves(res)).pipe(res)],
      [
        'pipe, and a last word',
        (_req, res) => {
          const source = Readable.from(halves(res));
          source.pipe(res, { end: false });
          finished(source, () => setImmediate(() => res.end(', last')));
        },
      ],
      [
        'pipe of a second stream that begins afterwards',
        (_req, res) => {
          const source = Readable.from(halves(res));
          source.pipe(res, { end: false });
          source.on('end', () => Readable.from([', fourth']).pipe(res));
        },
      ],
      [
        'write',
        async (_req, res) => {
          for await (const piece of halves(res)) res.write(piece);
          res.end();
        },
      ],
      [
        'write with callbacks',
        async (_req, res) => {
          for await (const piece of halves(res)) await new Promise((written) => res.write(piece, written));
          res.end();
        },
      ],
      [
        'pipeline that begins afterwards',
        async (_req, res, next) => {
          for await (const piece of halves(res)) res.write(piece);
          await pipelined(Readable.from([', end']), res).catch(next);
        },
      ],
    ])('changes nothing: %s', async (_name, handler) => {
      const { guarded, runs } = await servePair(mount, handler, { options });
      const first = await begin(guarded);
      await first.until('first ');
      first.socket.destroy();
      const retry = await send(guarded, { key: 'k' });
      expect(retry.isReplay).toBe(true);
      expect(retry.text).toMatch(/^first second third(, \w+)?$/);
      expect(runs()).toBe(1);
    });

    it('does not leave the handler waiting for its pipeline', async () => {
      const settled = gate();
      const running = gate();
      const handler: Middleware = async (_req, res) => {
        running.open();
        await closed(res);
        await pipelined(Readable.from(['all']), res).catch(() => undefined);
        settled.open();
      };
      const { guarded } = await servePair(mount, handler, { options });
      const first = await begin(guarded);
      await running.opened;
      first.socket.destroy();
      await settled.opened;
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'all', isReplay: true });
    });

    it('looks open to its handler until it has answered, and closed from then on', async () => {
      const seen: unknown[] = [];
      const running = gate();
      const look = (res: ServerResponse) => seen.push([res.destroyed, res.closed, res.socket?.writable ?? false]);
      const handler: Middleware = async (_req, res) => {
        running.open();
        await closed(res);
        look(res);
        res.end('all');
        look(res);
      };
      const { guarded } = await servePair(mount, handler, { options });
      const first = await begin(guarded);
      await running.opened;
      first.socket.destroy();
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'all', isReplay: true });
      expect(seen).toEqual([
        [false, false, true],
        [true, true, false],
      ]);
    });

    it('§4.6 frees the key where its leaving breaks the stream: pipeline', async () => {
      const handler = firstThen((_req, res, next) => {
        pipeline(Readable.from(halves(res)), res, next);
      }, done);
      const { guarded, runs } = await servePair(mount, handler, { options });
      const first = await begin(guarded);
      await first.until('first ');
      first.socket.destroy();
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'done', isReplay: false });
      expect(runs()).toBe(2);
    });

    it('§4.6 frees the key where the handler fails afterwards', async () => {
      const failing: Middleware = async (_req, res, next) => {
        res.write('half');
        await closed(res);
        next(new Error('too late to say'));
      };
      const { guarded, runs } = await servePair(mount, firstThen(failing, done), { options });
      const first = await begin(guarded);
      await first.until('half');
      first.socket.destroy();
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'done', isReplay: false });
      expect(runs()).toBe(2);
    });

    it('§4.6 frees the key where the stream breaks afterwards', async () => {
      const failing: Middleware = (_req, res) => {
        const source = Readable.from(
          (async function* () {
            yield 'half';
            await closed(res);
            throw new Error('broken');
          })(),
        );
        source.on('error', () => undefined);
        source.pipe(res);
      };
      const { guarded, runs } = await servePair(mount, firstThen(failing, done), { options });
      const first = await begin(guarded);
      await first.until('half');
      first.socket.destroy();
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'done', isReplay: false });
      expect(runs()).toBe(2);
    });
  });

  it('§4.4 a client that does not read keeps neither the handler nor the record waiting', async () => {
    const handler: Middleware = (_req, res) => createReadStream(files.large).pipe(res);
    const { guarded, runs } = await servePair(mount, handler, { options });
    const first = await begin(guarded);
    first.socket.pause();
    expect((await send(guarded, { key: 'k' })).body).toHaveLength(200_000);
    expect(runs()).toBe(1);
    first.socket.resume();
    await first.until('0\r\n\r\n');
  });

  it('§4.4 a client that leaves after the answer gets it again', async () => {
    const { guarded, runs } = await servePair(mount, done);
    const first = await begin(guarded);
    await first.until('done');
    first.socket.resetAndDestroy();
    expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'done', isReplay: true });
    expect(runs()).toBe(1);
  });

  describe('§4.6 an answer that breaks', () => {
    const breaks: [string, Middleware][] = [
      ['res.destroy()', (_req, res) => res.destroy()],
      ['res.destroy(error)', (_req, res) => res.destroy(new Error('broken'))],
      ['req.destroy()', (req) => req.destroy()],
      ['req.socket.destroy()', (req) => req.socket.destroy()],
      ['res.socket.destroy()', (_req, res) => res.socket?.destroy()],
    ];
    const midway: [string, Middleware][] = [
      ...breaks.map(([name, act]): [string, Middleware] => [
        `${name} in the middle`,
        (req, res, next) => res.write('half', () => act(req, res, next)),
      ]),
      [
        'a stream that breaks in a pipeline',
        (_req, res) => {
          pipeline(createReadStream(files.large).on('data', destroyIt), res, () => undefined);
        },
      ],
      [
        'a stream that breaks in a pipe',
        (_req, res) =>
          createReadStream(files.large)
            .on('data', destroyIt)
            .on('error', (error) => res.destroy(error))
            .pipe(res),
      ],
      [
        'an error after the head',
        (_req, res, next) =>
          res.write('half', () => {
            next(new Error('too late to say'));
          }),
      ],
    ];

    it.each([...breaks, ...midway])('frees the key: %s', async (_name, act) => {
      const { guarded, runs } = await servePair(mount, firstThen(act, done), { options });
      const first = await send(guarded, { key: 'k' }).catch((error: unknown) => error as Error);
      expect(first instanceof Error || !first.complete).toBe(true);
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'done', isReplay: false });
      expect(runs()).toBe(2);
    });

    it.each([...breaks, ...midway])('leaves it indeterminate behind the commit point: %s', async (_name, act) => {
      const committed: Middleware = async (req, res, next) => {
        await (req as unknown as Express.Request).idempotency?.commitPoint();
        return act(req, res, next);
      };
      const { guarded, runs } = await servePair(mount, committed, { options });
      await send(guarded, { key: 'k' }).catch(() => undefined);
      const retry = await send(guarded, { key: 'k' });
      expect(retry.status).toBe(409);
      expect(JSON.parse(retry.text)).toMatchObject({ code: 'indeterminate' });
      expect(runs()).toBe(1);
    });

    it('is never taken for whole where its body is shorter than announced', async () => {
      const short: Middleware = (_req, res) => {
        res.setHeader('Content-Length', '10');
        res.write('short');
        res.end();
        res.destroy();
      };
      const { guarded, runs } = await servePair(mount, firstThen(short, done), { options });
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'short', complete: false });
      expect(await send(guarded, { key: 'k' })).toMatchObject({ text: 'done', isReplay: false });
      expect(runs()).toBe(2);
    });
  });

  it('§4.6 an answer that never ends is no answer: its key stays taken', async () => {
    const { guarded, runs } = await servePair(mount, (_req, res) => res.write('half'));
    const first = await begin(guarded);
    await first.until('half');
    const retry = await send(guarded, { key: 'k' });
    expect(retry.status).toBe(409);
    expect(JSON.parse(retry.text)).toMatchObject({ code: 'in-progress' });
    expect(runs()).toBe(1);
  });
});

/** Breaks a stream at its first piece. */
function destroyIt(this: Readable): void {
  this.destroy(new Error('broken'));
}

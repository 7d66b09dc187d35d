import type { Request, Response } from 'express';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware } from '../../ts/index.js';
import { expresses, gate, send, serve, type Running } from '../helpers/server.js';

type Handler = (req: Request, res: Response) => unknown;

describe.each(expresses)('$name', ({ express }) => {
  async function shop(handler: Handler, options = {}): Promise<Running> {
    const app = express().set('env', 'test');
    app.use(express.json(), idempotencyMiddleware(options));
    app.post('/', handler as never);
    return serve(app);
  }

  describe('§4.8 `signal` aborts when the claim is given up while the handler may still run', () => {
    it.each([503, 408, 504])('by a time limit that answers %i', async (status) => {
      const isLimited = gate();
      const effects: boolean[] = [];
      const server = await shop(async (req, res) => {
        const { signal } = req.idempotency ?? {};
        setTimeout(() => res.status(status).json({ error: 'too slow' }), 10);
        await isLimited.opened;
        effects.push(signal?.aborted ?? false);
      });
      expect((await send(server, { key: 'k', body: {} })).status).toBe(status);
      isLimited.open();
      await new Promise((resolve) => setImmediate(resolve));
      expect(effects).toEqual([true]);
    });

    it('by a connection that the handler broke', async () => {
      let signal: AbortSignal | undefined;
      const server = await shop((req, res) => {
        ({ signal } = req.idempotency ?? {});
        res.destroy();
      });
      await send(server, { key: 'k', body: {} }).catch(() => undefined);
      expect(signal?.aborted).toBe(true);
    });

    it('but not by an answer that is kept', async () => {
      let signal: AbortSignal | undefined;
      const server = await shop((req, res) => {
        ({ signal } = req.idempotency ?? {});
        res.json({ paid: true });
      });
      await send(server, { key: 'k', body: {} });
      expect(signal?.aborted).toBe(false);
    });
  });

  describe('§4.7 what a client without a key gets again', () => {
    const unkept: [string, Handler][] = [
      [
        'an event stream',
        (_req, res) => {
          res.type('text/event-stream');
          res.end('data: hello\n\n');
        },
      ],
      ['an answer over maxResponseBytes', (_req, res) => res.send('more than ten bytes')],
    ];

    it.each(unkept)('%s runs again without a key, and is refused with one', async (_name, handler) => {
      let runs = 0;
      const server = await shop(
        (req, res) => {
          runs++;
          return handler(req, res);
        },
        { maxResponseBytes: 10 },
      );
      for (let i = 0; i < 2; i++) expect((await send(server, { body: { q: 1 } })).status).toBe(200);
      expect(runs).toBe(2);
      expect((await send(server, { key: 'k', body: {} })).status).toBe(200);
      const refused = await send(server, { key: 'k', body: {} });
      expect([refused.status, JSON.parse(refused.text)]).toMatchObject([409, { code: 'not-replayable' }]);
    });

    it('an event stream that is still open does not hold up the same question, nor does that end it', async () => {
      const ends: (() => unknown)[] = [];
      const signals: (AbortSignal | undefined)[] = [];
      const server = await shop((req, res) => {
        signals.push(req.idempotency?.signal);
        res.type('text/event-stream');
        res.write('data: hello\n\n');
        ends.push(() => res.end());
        if (ends.length === 2) for (const end of ends) end();
      });
      const both = await Promise.all([1, 2].map(() => send(server, { body: { q: 1 } })));
      expect(both.map(({ status }) => status)).toEqual([200, 200]);
      expect(signals.map((signal) => signal?.aborted)).toEqual([false, false]);
    });

    it.each<[string, Handler]>([
      ['its handler', (_req, res) => res.cookie('session', 'new').json({ ok: true })],
      [
        'its handler, to writeHead',
        (_req, res) => {
          res.writeHead(200, { 'Set-Cookie': 'session=new' });
          res.end('ok');
        },
      ],
    ])('an answer that sets a cookie runs again without a key: by %s', async (_name, handler) => {
      let runs = 0;
      const server = await shop((req, res) => {
        runs++;
        return handler(req, res);
      });
      for (let i = 0; i < 2; i++) {
        expect((await send(server, { body: { user: 'ann' } })).headers).toHaveProperty('set-cookie');
      }
      expect(runs).toBe(2);
      await send(server, { key: 'k', body: {} });
      expect((await send(server, { key: 'k', body: {} })).isReplay).toBe(true);
    });

    it('by a session in front, which sets its cookie while the head is written', async () => {
      const app = express().set('env', 'test');
      app.use(express.json());
      app.use((_req, res, next) => {
        const writeHead = res.writeHead.bind(res) as (...given: unknown[]) => typeof res;
        res.writeHead = ((...given: unknown[]) => {
          res.setHeader('Set-Cookie', 'session=new');
          return writeHead(...given);
        }) as typeof res.writeHead;
        next();
      });
      app.use(idempotencyMiddleware());
      let runs = 0;
      app.post('/', (_req, res) => res.json({ run: ++runs }));
      const server = await serve(app);
      for (let i = 0; i < 2; i++) await send(server, { body: { user: 'ann' } });
      expect(runs).toBe(2);
    });
  });
});

import { AsyncLocalStorage } from 'node:async_hooks';
import type { ErrorRequestHandler, Request } from 'express';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware, type IdempotencyOptions } from '../../ts/index.js';
import { expresses, gate, send, serve, type Running } from '../helpers/server.js';

/** Who asks, as a program keeps it for what a request calls. */
const context = new AsyncLocalStorage<string>();

describe.each(expresses)('$name', ({ express }) => {
  async function shop(options: IdempotencyOptions, handler: (req: Request) => unknown): Promise<Running> {
    const app = express().set('env', 'test');
    app.use((req, _res, next) => {
      context.run(req.get('x-id') ?? '', next);
    });
    app.use(express.json(), idempotencyMiddleware({ scope: () => 'shop', onConcurrent: 'wait', ...options }));
    app.post('/', (req, res, next) => {
      Promise.resolve(handler(req)).then((answer) => res.json(answer ?? {}), next);
    });
    app.use(((_error, _req, res, _next) => {
      res.status(500).send('failed');
    }) as ErrorRequestHandler);
    return serve(app);
  }

  const ask = (server: Running, id: string) => send(server, { key: 'k', body: {}, headers: { 'x-id': id } });

  describe('§4.9 requests that waited go on in the asynchronous context of their own', () => {
    it('the handler that runs after the first one failed', async () => {
      const ran: [string | undefined, string | undefined][] = [];
      const first = gate();
      const server = await shop({}, async (req) => {
        ran.push([req.get('x-id'), context.getStore()]);
        if (ran.length === 1) await first.opened;
        if (ran.length < 3) throw new Error('try again');
      });
      const all = [ask(server, 'A')];
      while (ran.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      all.push(ask(server, 'B'), ask(server, 'C'));
      await new Promise((resolve) => setTimeout(resolve, 30));
      first.open();
      await Promise.all(all);
      expect(ran).toHaveLength(3);
      for (const [asked, found] of ran) expect(found).toBe(asked);
    });

    it('onProblem of those that waited for too long', async () => {
      const told: [string | undefined, string | undefined][] = [];
      const first = gate();
      const onProblem: IdempotencyOptions['onProblem'] = (problem, req, res) => {
        told.push([(req as Request).get('x-id'), context.getStore()]);
        res.statusCode = problem.status;
        res.end();
      };
      const server = await shop({ waitTimeoutMs: 40, onProblem }, () => first.opened);
      const all = [ask(server, 'A')];
      await new Promise((resolve) => setTimeout(resolve, 20));
      all.push(ask(server, 'B'), ask(server, 'C'));
      await Promise.all(all.slice(1));
      first.open();
      await Promise.all(all);
      expect(told.map(([asked]) => asked).sort()).toEqual(['B', 'C']);
      for (const [asked, found] of told) expect(found).toBe(asked);
    });

    it('an error of middleware in front goes to the error handler of its own request', async () => {
      const first = gate();
      const app = express().set('env', 'test');
      app.use((req, res, next) => {
        const end = res.end.bind(res) as (...given: unknown[]) => typeof res;
        let fails = req.get('x-id') === 'B';
        res.end = ((...given: unknown[]) => {
          if (!fails) return end(...given);
          fails = false;
          throw new Error('in front');
        }) as typeof res.end;
        next();
      });
      app.use(express.json(), idempotencyMiddleware({ scope: () => 'shop', onConcurrent: 'wait', waitTimeoutMs: 40 }));
      app.post('/', (_req, res) => {
        void first.opened.then(() => res.json({}));
      });
      app.use(((error, _req, res, _next) => {
        res.status(500).send((error as Error).message);
      }) as ErrorRequestHandler);
      const server = await serve(app);
      const running = ask(server, 'A');
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await ask(server, 'B')).toMatchObject({ status: 500, text: 'in front' });
      first.open();
      await running;
    });

    it('what middleware in front does when the answer is shared among them', async () => {
      const seen: [string | undefined, string | undefined][] = [];
      const first = gate();
      const app = express().set('env', 'test');
      app.use((req, res, next) => {
        context.run(req.get('x-id') ?? '', () => {
          const end = res.end.bind(res) as (...given: unknown[]) => typeof res;
          res.end = ((...given: unknown[]) => {
            seen.push([req.get('x-id'), context.getStore()]);
            return end(...given);
          }) as typeof res.end;
          next();
        });
      });
      app.use(express.json(), idempotencyMiddleware({ scope: () => 'shop', onConcurrent: 'wait' }));
      app.post('/', (_req, res) => {
        void first.opened.then(() => res.json({}));
      });
      const server = await serve(app);
      const all = ['A', 'B', 'C'].map((id) => ask(server, id));
      await new Promise((resolve) => setTimeout(resolve, 40));
      first.open();
      await Promise.all(all);
      expect(seen).toHaveLength(3);
      for (const [asked, found] of seen) expect(found).toBe(asked);
    });
  });
});

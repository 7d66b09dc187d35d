import { createServer, type IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware, MemoryStore, type IdempotencyStore } from '../../ts/index.js';
import { expresses, send, serve } from '../helpers/server.js';
import { shop } from '../helpers/shop.js';

describe.each(expresses)('§1 which requests, $name', ({ express }) => {
  it.each(['POST', 'PUT', 'PATCH'])('§1.1 %s is handled by default', async (method) => {
    const orders = await shop({}, { express });
    const first = await orders.send({ method, key: 'k' });
    const second = await orders.send({ method, key: 'k' });
    expect([first.isReplay, second.isReplay, second.text]).toEqual([false, true, first.text]);
    expect(orders.runs).toBe(1);
  });

  it.each(['DELETE', 'GET', 'OPTIONS', 'PROPFIND'])('§1.1 %s is left alone by default', async (method) => {
    const orders = await shop({}, { express });
    await orders.send({ method, key: 'k' });
    expect((await orders.send({ method, key: 'k' })).isReplay).toBe(false);
    expect(orders.runs).toBe(2);
  });

  it('§1.1 `methods` says which, in any case of letters', async () => {
    const orders = await shop({ methods: ['delete'] }, { express });
    await orders.send({ method: 'DELETE', key: 'k' });
    expect((await orders.send({ method: 'DELETE', key: 'k' })).isReplay).toBe(true);
    await orders.send({ key: 'k' });
    await orders.send({ key: 'k' });
    expect(orders.runs).toBe(3);
  });

  it.each(['GET', 'HEAD', 'OPTIONS', 'TRACE'])('§1.1 %s never is, even if listed', async (method) => {
    const orders = await shop({ methods: ['POST', method, method.toLowerCase()] }, { express });
    for (let i = 0; i < 2; i++) expect((await orders.send({ method, key: 'k' })).isReplay).toBe(false);
    expect(orders.runs).toBe(2);
  });

  it('§1.2 `skip(req)` leaves a request alone, with a key that would be refused too', async () => {
    const orders = await shop({ skip: (req) => req.headers['x-dry-run'] === '1' }, { express });
    for (const key of ['k', 'k', 'not a key']) {
      expect((await orders.send({ key, headers: { 'X-Dry-Run': '1' } })).status).toBe(201);
    }
    expect(orders.runs).toBe(3);
    await orders.send({ key: 'k' });
    expect((await orders.send({ key: 'k' })).isReplay).toBe(true);
  });

  it('§1.2 what `skip(req)` throws goes to next(error)', async () => {
    const failing = () => {
      throw Object.assign(new Error('no tenant'), { status: 418 });
    };
    const orders = await shop({ skip: failing }, { express });
    expect((await orders.send({ key: 'k' })).status).toBe(418);
    expect(orders.runs).toBe(0);
  });

  it('§1.2 passing the same middleware at the application and at a router is handled once', async () => {
    const guard = idempotencyMiddleware();
    const router = express.Router();
    let runs = 0;
    router.use(guard);
    router.post('/', (_req, res) => void res.json({ run: ++runs }));
    const app = express();
    app.use(guard, express.json(), guard);
    app.use('/orders', guard, router);
    const server = await serve(app);
    const order = { path: '/orders', key: 'k' };
    expect((await send(server, order)).status).toBe(200);
    expect(await send(server, order)).toMatchObject({ status: 200, isReplay: true });
    expect(runs).toBe(1);
  });

  it('§1.2 passing two middlewares is handled by the first', async () => {
    let runs = 0;
    const inner = new MemoryStore();
    const app = express();
    app.use(idempotencyMiddleware());
    app.post('/', idempotencyMiddleware({ store: inner }), (_req, res) => void res.json({ run: ++runs }));
    const server = await serve(app);
    await send(server, { key: 'k' });
    expect(await send(server, { key: 'k' })).toMatchObject({ isReplay: true, text: '{"run":1}' });
    expect(inner.stats()).toMatchObject({ held: 0, settled: 0 });
  });

  it('§1.2 a second middleware handles what the first leaves alone', async () => {
    let runs = 0;
    const app = express();
    app.use(idempotencyMiddleware({ missingKey: 'pass', skip: (req) => req.url === '/skipped' }));
    app.use(idempotencyMiddleware(), (_req, res) => void res.json({ run: ++runs }));
    const server = await serve(app);
    await send(server, { path: '/skipped', key: 'k' });
    expect(await send(server, { path: '/skipped', key: 'k' })).toMatchObject({ isReplay: true });
    await send(server);
    expect(await send(server)).toMatchObject({ isReplay: true, text: '{"run":2}' });
  });

  it('§1.2 a request let through by `onStoreError` asks the failed store only once', async () => {
    let asked = 0;
    const broken: IdempotencyStore = {
      get: () => {
        asked++;
        throw new Error('down');
      },
      set: () => undefined,
      delete: () => undefined,
    };
    const guard = idempotencyMiddleware({ store: broken, onStoreError: 'pass' });
    const app = express();
    app.use(guard, guard, (_req, res) => void res.json({}));
    expect((await send(await serve(app), { key: 'k' })).status).toBe(200);
    expect(asked).toBe(1);
  });

  it('§1.3 the path is `originalUrl`: one router mounted at two paths is two places', async () => {
    let runs = 0;
    const router = express.Router();
    router.use(idempotencyMiddleware());
    router.post('/new', (req, res) => void res.json({ at: req.baseUrl, url: req.url, run: ++runs }));
    const app = express();
    app.use('/orders', router);
    app.use('/refunds', router);
    const server = await serve(app);
    const order = await send(server, { path: '/orders/new', key: 'k' });
    const refund = await send(server, { path: '/refunds/new', key: 'k' });
    expect(JSON.parse(order.text)).toEqual({ at: '/orders', url: '/new', run: 1 });
    expect(JSON.parse(refund.text)).toEqual({ at: '/refunds', url: '/new', run: 2 });
    expect(await send(server, { path: '/refunds/new', key: 'k' })).toMatchObject({ isReplay: true, text: refund.text });
  });
});

describe('§1 which requests, without a framework', () => {
  it('§1.3 the path is `url` where there is no `originalUrl`', async () => {
    const guard = idempotencyMiddleware();
    const seen: (string | undefined)[] = [];
    const server = await serve(
      createServer((req: IncomingMessage, res) => {
        guard(req, res, () => {
          seen.push(req.url);
          res.end('done');
        });
      }),
    );
    for (const path of ['/a', '/b', '/a', '/b']) await send(server, { path, key: 'k' });
    expect(seen).toEqual(['/a', '/b']);
  });
});

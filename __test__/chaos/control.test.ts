import http from 'node:http';
import type { IncomingMessage, RequestListener } from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import connect from 'connect';
import express from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { chaosControl, createChaos } from '../../ts/index.js';
import type { Chaos, ChaosControlOptions, ChaosMiddleware, ChaosOptions } from '../../ts/index.js';
import { ask, chaosFor, serve, type Answer, type Ask } from './harness.js';

const express4 = createRequire(__filename)('express4') as typeof express;

const mounts: readonly [string, (control: ChaosMiddleware, chaos: Chaos) => RequestListener][] = [
  ['Express 5', (control, chaos) => express().use('/chaos', control).use(chaos.middleware()) as RequestListener],
  [
    'Express 5, behind express.json()',
    (control, chaos) => express().use(express.json()).use('/chaos', control).use(chaos.middleware()) as RequestListener,
  ],
  ['Express 4', (control, chaos) => express4().use('/chaos', control).use(chaos.middleware()) as RequestListener],
  ['connect', (control, chaos) => connect().use('/chaos', control).use(chaos.middleware())],
  [
    'node:http',
    (control, chaos) => (req, res) => {
      const notFound = () => {
        res.statusCode = 404;
        res.end();
      };
      if (req.url?.startsWith('/chaos/') === true) {
        req.url = req.url.slice('/chaos'.length);
        control(req, res, notFound);
      } else chaos.middleware()(req, res, notFound);
    },
  ],
];
const [[, onExpress]] = mounts as [(typeof mounts)[0]];

interface Controlled {
  readonly chaos: Chaos;
  readonly get: (path: string, headers?: Record<string, string>) => Promise<Answer>;
  readonly post: (path: string, body?: unknown, headers?: Record<string, string>) => Promise<Answer>;
  readonly port: number;
}

async function controlled(
  options: ChaosOptions = { failureProbability: 0 },
  control: ChaosControlOptions = {},
  mount = onExpress,
): Promise<Controlled> {
  const chaos = chaosFor(options);
  const port = await serve(mount(chaosControl(chaos, control), chaos));
  const send = (sent: Ask) => ask(port, sent);
  return {
    chaos,
    port,
    get: (path, headers = {}) => send({ path, headers }),
    post: (path, body, headers = {}) =>
      send({
        method: 'POST',
        path,
        headers: { 'Content-Type': 'application/json', ...headers },
        ...(body !== undefined && { body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) }),
      }),
  };
}

const jsonOf = ({ text }: Answer) => JSON.parse(text) as Record<string, unknown>;

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.each(mounts)('on %s', (_, mount) => {
  it('shows, arms, updates, resets and disarms', async () => {
    const { chaos, get, post, port } = await controlled({ enabled: false, failureProbability: 1 }, {}, mount);
    const status = await get('/chaos/status');
    expect(status.status).toBe(200);
    expect(status.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    expect(jsonOf(status)).toMatchObject({
      state: 'disarmed',
      reason: 'not enabled',
      seed: '42',
      activeFaults: 0,
      kernels: { killsAttempted: 0, kernelsPaused: 0, live: [] },
    });

    const armed = await post('/chaos/arm', { forMs: 600_000 });
    expect(armed.status).toBe(200);
    expect(jsonOf(armed)).toMatchObject({ state: 'armed', until: expect.any(String) as string });
    expect((await ask(port)).headers['x-chaos-fault']).toBe('error');

    expect((await post('/chaos/update', { failureProbability: 0, latencyRange: [0, 0] })).status).toBe(200);
    expect((await ask(port)).headers['x-chaos-fault']).toBeUndefined();
    expect(jsonOf(await get('/chaos/metrics'))).toEqual({ ...chaos.metrics() });
    expect(chaos.metrics()).toMatchObject({ totalRequests: 2, failuresInjected: 1 });

    expect((await post('/chaos/reset')).status).toBe(200);
    expect(chaos.metrics().totalRequests).toBe(0);
    expect(jsonOf(await post('/chaos/disarm', { reason: 'seen enough' }))).toMatchObject({
      state: 'disarmed',
      reason: 'seen enough',
    });
    expect(chaos.armed).toBe(false);
  });

  it('leaves every other path alone, and answers a wrong method', async () => {
    const { get, post } = await controlled({ failureProbability: 0 }, {}, mount);
    for (const path of ['/chaos/', '/chaos/statuses', '/chaos/status/more', '/chaos/__proto__']) {
      expect((await get(path)).status).toBe(404);
    }
    const wrong = await get('/chaos/arm');
    expect(wrong.status).toBe(405);
    expect(wrong.headers.allow).toBe('POST');
    expect((await post('/chaos/status', {})).headers.allow).toBe('GET, HEAD');
  });
});

it('metrics come as Prometheus reads them, for who asks for it', async () => {
  const { chaos, get, port } = await controlled({ failureProbability: 1 });
  chaos.registerKernel('kernel-1', () => undefined);
  await ask(port);
  const accept = 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1';
  const { text, headers } = await get('/chaos/metrics', { accept });
  expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(text).toMatch(
    /^# HELP reprise_chaos_requests_total .+\.\n# TYPE reprise_chaos_requests_total counter\nreprise_chaos_requests_total 1\n/,
  );
  // Every line is one of the format, every sample has its type, and no name comes twice.
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  expect(samples.every((line) => /^[a-z_]+ \d+$/.test(line))).toBe(true);
  const names = samples.map((line) => line.split(' ', 1)[0]);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(text).toContain(`\n# TYPE ${name} `.trimStart());
  expect(samples).toContain('reprise_chaos_failures_injected_total 1');
  expect(samples).toContain('reprise_chaos_kernels_live 1');
  expect(samples).toContain('reprise_chaos_armed 1');
  for (const other of ['*/*', 'application/json', 'text/html,application/xhtml+xml,*/*;q=0.8']) {
    expect((await get('/chaos/metrics', { accept: other })).headers['content-type']).toMatch(/^application\/json/);
  }
});

it('the journal comes as JSON, or line by line, and can be replayed', async () => {
  const { chaos, get, port } = await controlled({ failureProbability: 0.5 });
  for (let n = 0; n < 10; n++) await ask(port, { key: `request-${n}` });
  const asJson = await get('/chaos/journal');
  expect(jsonOf(asJson)).toEqual(JSON.parse(JSON.stringify(chaos.journal())));
  expect(jsonOf(asJson)['entries']).toHaveLength(10);
  const asLines = await get('/chaos/journal', { accept: 'application/x-ndjson' });
  expect(asLines.headers['content-type']).toBe('application/x-ndjson');
  expect(asLines.text.trim().split('\n')).toHaveLength(11);
  expect(chaos.replay(asLines.text).report()).toMatchObject({ replayed: 0, unexpected: 0 });
});

it('a chaos that fails every request does not fail its own control, mounted before it', async () => {
  const { get, post } = await controlled({ failureProbability: 1 });
  expect((await get('/chaos/status')).status).toBe(200);
  expect((await post('/chaos/disarm')).status).toBe(200);
});

describe('without authorize, only this machine is served', () => {
  /** A server that takes its clients for ones at this address. */
  async function from(remoteAddress: string): Promise<Answer> {
    const chaos = chaosFor({ failureProbability: 0 });
    const pretend: ChaosMiddleware = (req, _res, next) => {
      Object.defineProperty(req.socket, 'remoteAddress', { value: remoteAddress, configurable: true });
      next();
    };
    const port = await serve(express().use(pretend).use('/chaos', chaosControl(chaos)) as RequestListener);
    return ask(port, { path: '/chaos/status', headers: { host: 'localhost' } });
  }

  it.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1'])('%s is', async (address) => {
    expect((await from(address)).status).toBe(200);
  });

  it.each(['192.0.2.7', '10.0.0.1', '2001:db8::1', '::ffff:192.0.2.7', '::ffff:0:0', '1270.0.0.1', ''])(
    '%j is not',
    async (address) => {
      const refused = await from(address);
      expect(refused.status).toBe(403);
      expect(refused.headers['content-type']).toBe('application/problem+json');
      expect(jsonOf(refused)).toMatchObject({ code: 'chaos-forbidden', type: 'urn:reprise:problem:chaos-forbidden' });
    },
  );

  it.each(['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'Via'])('what has %s came from elsewhere', async (name) => {
    const { get } = await controlled();
    const refused = await get('/chaos/status', { [name]: '127.0.0.1' });
    expect(refused.status).toBe(403);
    expect(jsonOf(refused)['detail']).toContain(name.toLowerCase());
  });

  it.each([
    ['localhost', 200],
    ['localhost:5000', 200],
    ['app.localhost', 200],
    ['127.0.0.1:80', 200],
    ['[::1]:5000', 200],
    ['rebound.example', 403],
    ['localhost.example', 403],
    ['127.0.0.1.example', 403],
    ['127.0.0.1@rebound.example', 403],
    ['a b', 403],
  ])('Host: %s gets %i, against DNS rebinding', async (host, status) => {
    const { get } = await controlled();
    expect((await get('/chaos/status', { host })).status).toBe(status);
  });

  it('a request without Host is refused', async () => {
    const { port } = await controlled();
    const socket = net.connect(port, '127.0.0.1');
    socket.end('GET /chaos/status HTTP/1.0\r\n\r\n');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
  });
});

describe('no page of another origin controls it', () => {
  it.each<[string, Record<string, string>, number]>([
    ['a client that is no browser', {}, 200],
    ['its own page', { origin: 'http://localhost:5000', 'sec-fetch-site': 'same-origin' }, 200],
    ['its own page behind TLS', { origin: 'https://localhost:5000' }, 200],
    ['another site', { origin: 'http://evil.example', 'sec-fetch-site': 'cross-site' }, 403],
    ['another origin of the site', { origin: 'http://localhost:5000', 'sec-fetch-site': 'same-site' }, 403],
    ['another port', { origin: 'http://localhost:5001' }, 403],
    ['a page without origin', { origin: 'null' }, 403],
  ])('%s', async (_, headers, status) => {
    const { chaos, post } = await controlled({ failureProbability: 1 });
    const answer = await post('/chaos/disarm', {}, { host: 'localhost:5000', ...headers });
    expect(answer.status).toBe(status);
    expect(chaos.armed).toBe(status !== 200);
    if (status === 403) expect(jsonOf(answer)).toMatchObject({ code: 'chaos-cross-origin' });
  });

  it('nor reads it', async () => {
    const { get } = await controlled();
    expect((await get('/chaos/status', { 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    expect((await get('/chaos/status', { 'sec-fetch-site': 'none' })).status).toBe(200);
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'application/jsonp', ''])(
    'Content-Type: %s, as a form can send it, changes nothing',
    async (type) => {
      const { chaos, post } = await controlled({ failureProbability: 1 });
      const answer = await post('/chaos/disarm', '{}', { 'Content-Type': type });
      expect(answer.status).toBe(415);
      expect(jsonOf(answer)).toMatchObject({ code: 'chaos-not-json' });
      expect(chaos.armed).toBe(true);
    },
  );
});

describe('authorize', () => {
  it('decides alone who may, from anywhere', async () => {
    const authorize = vi.fn((req: IncomingMessage) => Promise.resolve(req.headers.authorization === 'Bearer secret'));
    const { get } = await controlled({ failureProbability: 0 }, { authorize });
    const remote = { host: 'shop.example', 'x-forwarded-for': '192.0.2.7' };
    expect((await get('/chaos/status', { ...remote, authorization: 'Bearer secret' })).status).toBe(200);
    expect((await get('/chaos/status', remote)).status).toBe(403);
    expect((await get('/chaos/other', remote)).status).toBe(404);
    expect(authorize).toHaveBeenCalledTimes(2);
  });

  it.each<[string, () => unknown]>([
    ['false', () => false],
    ['nothing', () => undefined],
    ['a user, which is not true', () => ({ name: 'ada' })],
    ['a promise of 1', () => Promise.resolve(1)],
  ])('that gives %s refuses', async (_, authorize) => {
    const { chaos, post } = await controlled({ failureProbability: 0 }, { authorize: authorize as () => boolean });
    expect((await post('/chaos/disarm', {})).status).toBe(403);
    expect(chaos.armed).toBe(true);
  });

  it('that throws, or rejects, goes to the error handler', async () => {
    for (const authorize of [
      () => {
        throw new Error('no');
      },
      () => Promise.reject(new Error('no')),
    ]) {
      // prettier-ignore
      const chaos = chaosFor({ failureProbability: 0 });
      const handled = vi.fn();
      const control = chaosControl(chaos, { authorize });
      const port = await serve((req, res) => {
        control(req, res, (error) => {
          handled(error);
          res.statusCode = 500;
          res.end();
        });
      });
      expect((await ask(port, { path: '/status' })).status).toBe(500);
      expect(handled).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ message: 'no' }));
    }
  });

  it('must be given in production', () => {
    vi.stubEnv('NODE_ENV', 'production');
    const chaos = chaosFor({ enabled: false });
    const make = () => chaosControl(chaos);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(expect.objectContaining({ code: 'ERR_REPRISE_INVALID_OPTION' }));
    expect(make).toThrow(/chaosControl: option "authorize" is undefined; allowed: .*needed in production/);
    expect(chaosControl(chaos, { authorize: () => true })).toBeTypeOf('function');
  });
});

describe('what cannot be right is refused, and changes nothing', () => {
  it.each<[string, unknown, number, string, RegExp]>([
    ['arm', { forMs: 0 }, 422, 'chaos-refused', /"forMs" is 0/],
    ['arm', { forMs: 99_999 }, 422, 'chaos-refused', /at most maxDurationMs \(1000\)/],
    ['arm', { for: 5 }, 422, 'chaos-refused', /unknown option "for"; did you mean "forMs"/],
    ['update', { failureProbability: 2 }, 422, 'chaos-refused', /"failureProbability" is 2/],
    ['update', { enabled: false }, 422, 'chaos-refused', /call arm\(\) or disarm\(\)/],
    ['update', '{"__proto__":{"seed":1}}', 422, 'chaos-refused', /unknown option "__proto__"/],
    ['disarm', { reason: 'x'.repeat(257) }, 422, 'chaos-refused', /"reason"/],
    ['reset', { all: true }, 422, 'chaos-refused', /unknown option "all"/],
    ['update', '{', 400, 'chaos-body-invalid', /JSON/],
    ['update', '[]', 400, 'chaos-body-invalid', /no JSON object/],
    ['update', '7', 400, 'chaos-body-invalid', /no JSON object/],
  ])('%s %j', async (what, body, status, code, detail) => {
    const { chaos, post } = await controlled({ failureProbability: 1, maxDurationMs: 1_000, enabled: false });
    chaos.arm();
    const { since } = chaos.status();
    const answer = await post(`/chaos/${what}`, body);
    expect(answer.status).toBe(status);
    expect(jsonOf(answer)).toMatchObject({ code, status });
    expect(jsonOf(answer)['detail']).toMatch(detail);
    expect(chaos.status()).toMatchObject({ state: 'armed', since });
  });

  it('a closed chaos, and production without the override', async () => {
    const { chaos, post } = await controlled({ enabled: false }, { authorize: () => true });
    vi.stubEnv('NODE_ENV', 'production');
    const forbidden = await post('/chaos/arm', { forMs: 5 });
    expect(forbidden.status).toBe(409);
    expect(jsonOf(forbidden)).toMatchObject({ code: 'chaos-in-production' });
    vi.unstubAllEnvs();
    chaos.close();
    expect(jsonOf(await post('/chaos/arm'))).toMatchObject({ code: 'chaos-closed', status: 409 });
  });

  it('a body of more than 64 KiB, announced or not', async () => {
    const { chaos, port } = await controlled({ failureProbability: 1 });
    const status = (headers: Record<string, string>, body: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const common = { port, host: '127.0.0.1', method: 'POST', path: '/chaos/disarm', agent: false };
        const request = http.request({ ...common, headers: { 'Content-Type': 'application/json', ...headers } });
        request.on('error', reject).on('response', (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        // It is never ended: the answer does not wait for the rest.
        request.write(body);
      });
    expect(await status({ 'Content-Length': '65537' }, '{')).toBe(413);
    expect(await status({}, ' '.repeat(65_537))).toBe(413);
    expect(chaos.armed).toBe(true);
  });

  it('a client that leaves in the middle of its body', async () => {
    const chaos = chaosFor({ failureProbability: 1 });
    const control = chaosControl(chaos);
    const failed = new Promise<unknown>((resolve) => {
      void serve((req, res) => {
        control(req, res, resolve);
      }).then((port) => {
        const socket = net.connect(port, '127.0.0.1');
        socket.write(
          'POST /disarm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
          () => socket.destroy(),
        );
      });
    });
    expect(await failed).toBeInstanceOf(Error);
    expect(chaos.armed).toBe(true);
  });

  it('at construction', () => {
    const chaos = chaosFor({ failureProbability: 0 });
    const make =
      (...args: unknown[]) =>
      () =>
        (chaosControl as (...args: unknown[]) => unknown)(...args);
    expect(make(undefined)).toThrow(/argument "chaos" is undefined; allowed: what createChaos or initChaos returned/);
    expect(make(createChaos)).toThrow(expect.objectContaining({ code: 'ERR_REPRISE_INVALID_ARGUMENT' }));
    expect(make(chaos, { authorise: () => true })).toThrow(/did you mean "authorize"/);
    expect(make(chaos, { authorize: true })).toThrow(expect.objectContaining({ code: 'ERR_REPRISE_INVALID_OPTION' }));
  });
});

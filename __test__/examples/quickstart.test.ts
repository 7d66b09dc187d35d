import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { node, root, succeed } from '../package/harness.js';
import { codeBlocks, read } from '../docs/markdown.js';
import { curl } from './curl.js';
import { projectWith, startProgram } from './programs.js';

const folder = path.join(root, 'examples/quickstart');
/** The TypeScript variant, compiled. */
let compiled: string;

beforeAll(async () => {
  const project = await projectWith('reprise', 'express');
  await succeed(node([path.join(root, 'node_modules/typescript/bin/tsc'), '-p', folder, '--outDir', project]));
  compiled = path.join(project, 'server.js');
}, 60_000);

describe.each([
  ['in TypeScript', () => compiled],
  ['in CommonJS', () => path.join(folder, 'server.cjs')],
])('examples/quickstart %s', { timeout: 60_000 }, (_, file) => {
  /** Starts it on a free port, and gives what asks it. */
  async function start(env: NodeJS.ProcessEnv) {
    const program = await startProgram([file()], /listening on/, { env: { PORT: '0', ...env } });
    const [, port] = /port: (\d+)/.exec(program.output) ?? [];
    const url = `http://localhost:${String(port)}`;
    return {
      search: async (query: string, key?: string) => {
        const headers = { 'Content-Type': 'application/json', ...(key !== undefined && { 'Idempotency-Key': key }) };
        const response = await fetch(`${url}/api/search-jobs`, {
          method: 'POST',
          headers,
          body: JSON.stringify({ query }),
        });
        const isReplay = response.headers.get('X-Idempotency-Replay') === 'true';
        return { status: response.status, isReplay, body: await response.json() };
      },
      get: async (path: string) => await (await fetch(`${url}${path}`)).json(),
    };
  }

  it('runs a search once, and replays it; there is no chaos unless it is asked for', async () => {
    const { search, get } = await start({ CHAOS_FAILURE_RATE: '1' });
    expect(await search('otters', 'key')).toEqual({ status: 200, isReplay: false, body: { job: 1, query: 'otters' } });
    expect(await search('otters', 'key')).toEqual({ status: 200, isReplay: true, body: { job: 1, query: 'otters' } });
    expect(await search('seals')).toEqual({ status: 200, isReplay: false, body: { job: 2, query: 'seals' } });
    expect(await search('seals')).toEqual({ status: 200, isReplay: true, body: { job: 2, query: 'seals' } });
    expect(await get('/api/chaos/metrics')).toMatchObject({ totalRequests: 0, failuresInjected: 0 });
  });

  const chaos = { NODE_ENV: 'development', CHAOS_ENABLED: 'true', CHAOS_LATENCY_RATE: '0' };

  it('meets chaos in development when it is enabled, but for its health and its metrics', async () => {
    const { search, get } = await start({ ...chaos, CHAOS_FAILURE_RATE: '1' });
    expect([429, 500, 503, 504]).toContain((await search('otters', 'key')).status);
    expect(await get('/api/health')).toEqual({ ok: true });
    expect(await get('/api/chaos/metrics')).toMatchObject({ totalRequests: 1, failuresInjected: 1, failureRate: 1 });
  });

  it('tries a search again whose kernel was killed, until the kernel is up again', async () => {
    const { search, get } = await start({ ...chaos, CHAOS_FAILURE_RATE: '0', CHAOS_KERNEL_KILL_RATE: '1' });
    expect(await search('otters', 'key')).toEqual({ status: 200, isReplay: false, body: { job: 1, query: 'otters' } });
    expect(await get('/api/chaos/metrics')).toMatchObject({ kernelsKilled: 1 });
  });
});

it('the commands of examples/README.md do what is said there', async () => {
  const [, ask = ''] = codeBlocks(read('examples/README.md'), 'sh');
  const program = await startProgram([path.join(folder, 'server.cjs')], /listening on/, { env: { PORT: '0' } });
  const [, port = ''] = /port: (\d+)/.exec(program.output) ?? [];
  const command = ask.trim().replace('5000', port);
  const answers = [...(await curl(command)), ...(await curl(command))];
  expect(answers.map(({ status, headers }) => [status, headers.get('X-Idempotency-Replay')])).toEqual([
    [200, null],
    [200, 'true'],
  ]);
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import express from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { idempotencyMiddleware, MemoryStore, NonRetryableError, resumable, type TaskContext } from '../../ts/index.js';
import { ContractOnly } from './contract-only.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

const post = (port: number, key: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${port}/payments`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key, ...headers },
    body: JSON.stringify(body),
  });

async function serve(task: (req: express.Request, ctx: TaskContext) => unknown, store: unknown = new MemoryStore()) {
  const app = express();
  const errors: unknown[] = [];
  app.use(express.json(), idempotencyMiddleware({ store: store as MemoryStore }));
  app.post('/payments', resumable(task, { maxAttempts: 1 }));
  app.use((error: { status?: number }, _req: express.Request, res: express.Response, next: express.NextFunction) => {
    errors.push(error);
    if (res.headersSent) next(error);
    else res.status(error.status ?? 500).end();
  });
  const server = app.listen(0);
  await once(server, 'listening');
  ends.push(() => server.close());
  return { port: (server.address() as AddressInfo).port, errors };
}

describe.each([
  ['the memory store', () => new MemoryStore()],
  ['a store over the contract', () => new ContractOnly(new MemoryStore())],
])('a resumable route over %s', (_, makeStore) => {
  it('goes on after the last step when the client asks again, and then replays its answer', async () => {
    const charge = vi.fn(() => ({ id: 'c1' }));
    let mailIsDown = true;
    const { port } = await serve(async (req, task) => {
      const charged = await task.step('charge', charge);
      if (mailIsDown) throw new Error('mail is down');
      return { charged, amount: (req.body as { amount: number }).amount };
    }, makeStore());
    expect((await post(port, 'k', { amount: 5 })).status).toBe(500);
    mailIsDown = false;
    const second = await post(port, 'k', { amount: 5 });
    expect([second.status, await second.json()]).toEqual([200, { charged: { id: 'c1' }, amount: 5 }]);
    expect(charge).toHaveBeenCalledTimes(1);
    const third = await post(port, 'k', { amount: 5 });
    expect([third.headers.get('x-idempotency-replay'), await third.json()]).toEqual([
      'true',
      { charged: { id: 'c1' }, amount: 5 },
    ]);
    expect((await post(port, 'other', { amount: 5 })).status).toBe(200);
    expect(charge).toHaveBeenCalledTimes(2);
  });

  it('shows what one client left under a key to no other one, nor to another request', async () => {
    const seen: unknown[] = [];
    const { port, errors } = await serve(async (_, task) => {
      seen.push(task.checkpointState);
      await task.saveCheckpoint('secret');
      throw new Error('fails');
    }, makeStore());
    await post(port, 'k', {}, { Authorization: 'a' });
    expect((await post(port, 'k', {}, { Authorization: 'b' })).status).toBe(422);
    expect((await post(port, 'k', { more: 1 }, { Authorization: 'a' })).status).toBe(422);
    await post(port, 'k', {}, { Authorization: 'a' });
    expect(seen).toEqual([undefined, 'secret']);
    expect(errors).toHaveLength(4);
  });

  it('has the key, the fence and the derived keys of its request', async () => {
    const seen: unknown[] = [];
    const { port } = await serve((req, task) => {
      seen.push([task.fence, task.derive('charge') === req.idempotency?.derive('charge')]);
      if (seen.length === 1) throw new NonRetryableError('once');
    }, makeStore());
    await post(port, 'k', {});
    expect((await post(port, 'k', {})).status).toBe(204);
    expect(seen).toEqual([
      [1, true],
      [2, true],
    ]);
  });
});

it('without a key it says what to mount', async () => {
  const next = vi.fn();
  resumable(() => 1)({} as never, {} as never, next);
  expect(next).toHaveBeenCalledWith(
    expect.objectContaining({ message: expect.stringContaining('mount idempotencyMiddleware()') as string }),
  );
  await Promise.resolve();
});

describe('the example, killed with SIGKILL in the middle of a payment', () => {
  async function start(directory: string, hangAt: string) {
    const fixture = join(__dirname, 'fixtures/payment-server.cjs');
    const child = spawn(process.execPath, [fixture, directory, hangAt], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_PATH: join(directory, 'modules') },
    });
    ends.push(() => child.kill('SIGKILL'));
    const [line] = (await once(child.stdout, 'data')) as [unknown];
    return { child, port: Number(line) };
  }

  it("answers the client's retry from where it stopped: charged once", async () => {
    const directory = mkdtempSync(join(tmpdir(), 'reprise-payment-'));
    ends.push(() => {
      rmSync(directory, { recursive: true });
    });
    const { mkdirSync, symlinkSync } = await import('node:fs');
    mkdirSync(join(directory, 'modules'));
    symlinkSync(resolve(__dirname, '../..'), join(directory, 'modules/reprise'), 'dir');

    const first = await start(directory, 'receipt');
    const lost = expect(post(first.port, 'order-1', { amount: 5 })).rejects.toThrow();
    await once(first.child.stdout, 'data');
    first.child.kill('SIGKILL');
    await lost;

    const second = await start(directory, '');
    let answer = await post(second.port, 'order-1', { amount: 5 });
    while (answer.status === 409) {
      // The lease of the dead process has to run out first.
      expect(answer.headers.get('retry-after')).toBe('1');
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      answer = await post(second.port, 'order-1', { amount: 5 });
    }
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { charge: { id: 'charge-1' }, receipt: { id: 'receipt-1' } },
    ]);
    expect(readFileSync(join(directory, 'effects'), 'utf8')).toBe('charge receipt receipt ');
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { Chaos } from '../../ts/index.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, until } from './harness.js';
import { choose, draw, fires } from './reference.js';

/** An instance on a server of its own, and a way to send it a request. */
async function serving(chaos: Chaos) {
  const { handler, seen } = countingHandler();
  const port = await serve(onExpress5(chaos.middleware(), handler));
  return { seen, request: (key: string) => ask(port, { key }) };
}

function warnings(): Error[] {
  const found: Error[] = [];
  const emit = vi.spyOn(process, 'emitWarning').mockImplementation((warning, options) => {
    found.push(Object.assign(new Error(String(warning)), options));
  });
  onTestFinished(() => {
    emit.mockRestore();
  });
  return found;
}

it('without a registered kernel nothing is killed and nothing is counted', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request } = await serving(chaos);
  expect((await request('a')).status).toBe(200);
  expect(chaos.metrics()).toMatchObject({ totalRequests: 1, kernelsKilled: 0 });
});

it('a kill happens before the handler runs, counts once, and the request goes on', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request, seen } = await serving(chaos);
  const kill = vi.fn(() => {
    expect(seen).toEqual([]);
  });
  chaos.registerKernel('kernel-1', kill);
  expect((await request('a')).text).toBe('handled');
  expect(chaos.metrics().kernelsKilled).toBe(1);

  // A killed kernel is not there any more.
  await request('b');
  expect(kill).toHaveBeenCalledTimes(1);
  expect(chaos.metrics().kernelsKilled).toBe(1);

  // It was restarted.
  chaos.registerKernel('kernel-1', kill.mockReturnValue(undefined));
  seen.length = 0;
  await request('c');
  expect(chaos.metrics().kernelsKilled).toBe(2);
});

it('which request kills, and whom, is what the definition says, in whatever order kernels were registered', async () => {
  const ids = ['kernel-3', 'kernel-1', 'kernel-2', 'Kernel-4'];
  const sorted = ['Kernel-4', 'kernel-1', 'kernel-2', 'kernel-3'];
  for (const order of [ids, [...ids].reverse()]) {
    const chaos = chaosFor({ kernelKillProbability: 0.5 });
    const { request } = await serving(chaos);
    const killed: string[] = [];
    const register = (id: string) => {
      chaos.registerKernel(id, () => {
        killed.push(id);
        register(id);
      });
    };
    order.forEach(register);
    const expected: string[] = [];
    for (let n = 0; n < 30; n++) {
      await request(`order-${n}`);
      const of = (purpose: 'fire' | 'victim') => draw('42', `key:order-${n}`, 0, 'kernel-kill', purpose);
      if (fires(0.5, of('fire'))) expected.push(sorted[choose(4, of('victim'))] ?? '');
    }
    expect(killed).toEqual(expected);
    expect(chaos.metrics().kernelsKilled).toBe(expected.length);
  }
});

it('a worker thread is killed, and counted when it is gone', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request } = await serving(chaos);
  const worker = new Worker('setInterval(() => undefined, 1000)', { eval: true });
  const exit = once(worker, 'exit');
  chaos.registerKernel('worker', () => worker.terminate());
  await request('a');
  await exit;
  await until(() => chaos.metrics().kernelsKilled === 1);
});

it('a child process is killed; one that was gone already (false) is not counted', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request } = await serving(chaos);
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
  const exit = once(child, 'exit');
  chaos.registerKernel('child', () => child.kill('SIGKILL'));
  await request('a');
  expect(await exit).toEqual([null, 'SIGKILL']);
  expect(chaos.metrics().kernelsKilled).toBe(1);

  chaos.registerKernel('child', () => child.kill('SIGKILL'));
  await request('b');
  expect(chaos.metrics().kernelsKilled).toBe(1);
});

it('a kill that is under way is neither repeated nor counted', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request } = await serving(chaos);
  let finish = () => undefined as unknown;
  const kill = vi.fn(() => new Promise((resolve) => (finish = () => { resolve(undefined); }))); // prettier-ignore
  chaos.registerKernel('slow', kill);
  await request('a');
  await request('b');
  expect(kill).toHaveBeenCalledTimes(1);
  expect(chaos.metrics().kernelsKilled).toBe(0);
  finish();
  await until(() => chaos.metrics().kernelsKilled === 1);
});

it.each([
  ['throws', () => { throw new Error('it would not die'); }], // prettier-ignore
  ['rejects', () => Promise.reject(new Error('it would not die'))],
])('a kill that %s harms no request, is not counted, leaves the kernel, and warns once', async (_, fail) => {
  const found = warnings();
  const unhandled = vi.fn();
  process.on('unhandledRejection', unhandled);
  onTestFinished(() => {
    process.off('unhandledRejection', unhandled);
  });
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request } = await serving(chaos);
  const kill = vi.fn(fail);
  chaos.registerKernel('kernel-1', kill);
  for (const key of ['a', 'b', 'c']) expect((await request(key)).status).toBe(200);
  expect(kill).toHaveBeenCalledTimes(3);
  expect(chaos.metrics().kernelsKilled).toBe(0);
  expect(found).toHaveLength(1);
  expect(found[0]).toMatchObject({ type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_KERNEL_KILL_FAILED' });
  expect(found[0]?.message).toMatch(/kernel "kernel-1" failed: it would not die/);
  expect(unhandled).not.toHaveBeenCalled();
});

it('a kill that gives false, or promises it, leaves the kernel without a word', async () => {
  const found = warnings();
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request } = await serving(chaos);
  const kill = vi.fn().mockReturnValueOnce(false).mockResolvedValueOnce(false).mockReturnValueOnce(true);
  chaos.registerKernel('kernel-1', kill);
  for (const key of ['a', 'b', 'c', 'd']) await request(key);
  expect(kill).toHaveBeenCalledTimes(3);
  expect(chaos.metrics().kernelsKilled).toBe(1);
  expect(found).toEqual([]);
});

it('taking a registration back takes that one, not a later one of the same id', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request } = await serving(chaos);
  const [first, second] = [vi.fn(), vi.fn()];
  const takeFirstBack = chaos.registerKernel('kernel-1', first);
  const takeSecondBack = chaos.registerKernel('kernel-1', second);
  takeFirstBack();
  await request('a');
  expect(second).toHaveBeenCalledTimes(1);

  const takeThirdBack = chaos.registerKernel('kernel-1', first);
  takeSecondBack();
  takeThirdBack();
  takeThirdBack();
  await request('b');
  expect(first).not.toHaveBeenCalled();
});

it('a kernel that was taken back while its kill failed does not return', async () => {
  const chaos = chaosFor({ kernelKillProbability: 1 });
  const { request } = await serving(chaos);
  const registration = { takeBack: () => undefined as unknown };
  const kill = vi.fn(() => {
    registration.takeBack();
    return false;
  });
  registration.takeBack = chaos.registerKernel('kernel-1', kill);
  await request('a');
  await request('b');
  expect(kill).toHaveBeenCalledTimes(1);
});

it.each<[unknown[], RegExp]>([
  [[undefined, () => undefined], /argument "id" is undefined; allowed: a text that is not empty/],
  [['', () => undefined], /argument "id" is ""/],
  [[7, () => undefined], /argument "id" is 7/],
  [['kernel-1'], /argument "kill" is undefined; allowed: a function/],
  [['kernel-1', 'SIGKILL'], /argument "kill" is "SIGKILL"/],
])('registerKernel(...%j) is refused', (args, message) => {
  const register = chaosFor({ failureProbability: 0 }).registerKernel as (...args: unknown[]) => unknown;
  expect(() => register(...args)).toThrow(expect.objectContaining({ code: 'ERR_REPRISE_INVALID_ARGUMENT' }));
  expect(() => register(...args)).toThrow(TypeError);
  expect(() => register(...args)).toThrow(message);
});

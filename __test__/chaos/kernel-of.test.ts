import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { expect, it, onTestFinished, vi } from 'vitest';
import { kernelOf, type Kernel, type KernelOfOptions } from '../../ts/index.js';
import { node } from '../package/harness.js';
import { until } from './harness.js';

/** A process that says when it is ready, and is gone after the test. */
async function child(script = ''): Promise<ChildProcess> {
  const started = spawn(process.execPath, [
    '-e',
    `${script}; setInterval(() => undefined, 1000); console.log('ready')`,
  ]);
  onTestFinished(() => {
    started.kill('SIGKILL');
  });
  await once(started.stdout, 'data');
  return started;
}

async function worker(script = ''): Promise<Worker> {
  const started = new Worker(`${script}; setInterval(() => undefined, 1000)`, { eval: true });
  onTestFinished(async () => {
    await started.terminate();
  });
  await once(started, 'online');
  return started;
}

const never = new AbortController().signal;
const strike = (kernel: Kernel, released = never) => Promise.resolve(kernel.kill(released));

/** The state of a process as Linux tells it: T is stopped. */
const stateOf = ({ pid }: { readonly pid?: number | undefined }) =>
  /\) (\w) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];

it('a worker thread is terminated, even in the middle of a loop without end', async () => {
  const started = await worker('while (true);');
  const kernel = kernelOf(started, { id: 'kernel-1', group: 'search' });
  expect(kernel).toMatchObject({ id: 'kernel-1', group: 'search' });
  expect(kernel.isAlive?.()).toBe(true);
  const exit = once(started, 'exit');
  expect(await strike(kernel)).not.toBe(false);
  await exit;
  expect(kernel.isAlive?.()).toBe(false);
  expect(await strike(kernel)).toBe(false);
});

it('a child process is killed, and that is known when it has exited', async () => {
  const started = await child();
  const kernel = kernelOf(started, { id: 'kernel-1' });
  expect(kernel.isAlive?.()).toBe(true);
  expect(await strike(kernel)).toBe(true);
  expect(started.signalCode).toBe('SIGKILL');
  expect(kernel.isAlive?.()).toBe(false);
  expect(await strike(kernel)).toBe(false);
});

it('a child process that could not be started is not alive, and no kill', async () => {
  const failed = spawn('/nowhere/to/be/found');
  await once(failed, 'error');
  const kernel = kernelOf(failed, { id: 'kernel-1' });
  expect(kernel.isAlive?.()).toBe(false);
  expect(await strike(kernel)).toBe(false);
});

it('term lets a process clean up', async () => {
  const started = await child(`process.on('SIGTERM', () => process.exit(7))`);
  expect(await strike(kernelOf(started, { id: 'kernel-1', mode: 'term' }))).toBe(true);
  expect(started.exitCode).toBe(7);
});

it('term kills a process that does not heed it, after the grace', async () => {
  const started = await child(`process.on('SIGTERM', () => undefined)`);
  expect(await strike(kernelOf(started, { id: 'kernel-1', mode: 'term', graceMs: 50 }))).toBe(true);
  expect(started.signalCode).toBe('SIGKILL');
});

it('term released in its grace kills no more', async () => {
  const started = await child(`process.on('SIGTERM', () => console.log('no'))`);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const heard = once(started.stdout as NodeJS.ReadableStream, 'data');
  const release = new AbortController();
  const struck = strike(kernelOf(started, { id: 'kernel-1', mode: 'term', graceMs: 50 }), release.signal);
  await heard;
  release.abort();
  expect(await struck).toBe(false);
  expect(vi.getTimerCount()).toBe(0);
  expect(started.signalCode).toBeNull();
});

it.runIf(process.platform === 'linux')('pause stops a process for its time, and it goes on', async () => {
  const started = await child();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const struck = strike(kernelOf(started, { id: 'kernel-1', mode: 'pause', forMs: 30_000 }));
  await until(() => stateOf(started) === 'T');
  expect(process.listenerCount('exit')).toBeGreaterThan(0);
  vi.advanceTimersByTime(30_000);
  expect(await struck).toBe('paused');
  await until(() => stateOf(started) !== 'T');
});

it.runIf(process.platform === 'linux')('pause ends at once when it is released', async () => {
  const before = process.listenerCount('exit');
  const started = await child();
  const release = new AbortController();
  const struck = strike(kernelOf(started, { id: 'kernel-1', mode: 'pause', forMs: 2_000_000 }), release.signal);
  await until(() => stateOf(started) === 'T');
  release.abort();
  expect(await struck).toBe('paused');
  await until(() => stateOf(started) !== 'T');
  expect(process.listenerCount('exit')).toBe(before);
});

it.runIf(process.platform === 'linux')('a process that exits leaves nobody paused behind', async () => {
  const { output } = await node([
    '-e',
    `const { spawn } = require('node:child_process');
     const { kernelOf } = require('.');
     const child = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)'], { stdio: 'ignore', detached: true });
     child.unref();
     void kernelOf(child, { id: 'kernel-1', mode: 'pause', forMs: 2_000_000 }).kill(new AbortController().signal);
     const isStopped = () => require('node:fs').readFileSync('/proc/' + child.pid + '/stat', 'utf8').includes(') T ');
     while (!isStopped());
     console.log(child.pid);`,
  ]);
  const pid = Number(output);
  onTestFinished(() => {
    process.kill(pid, 'SIGKILL');
  });
  await until(() => stateOf({ pid }) !== 'T');
});

it('only what can be done is taken', async () => {
  const [thread, forked] = [await worker(), await child()];
  const refused = (kernel: unknown, options: unknown) => {
    try {
      kernelOf(kernel as Worker, options as KernelOfOptions);
    } catch (error) {
      return error as Error;
    }
    throw new Error('it was taken');
  };
  const invalid = { code: 'ERR_REPRISE_INVALID_OPTION' };
  for (const mode of ['term', 'pause']) {
    const error = refused(thread, { id: 'kernel-1', mode });
    expect(error).toBeInstanceOf(RangeError);
    expect(error).toMatchObject(invalid);
    expect(error.message).toBe(
      `kernelOf: option "mode" is "${mode}"; allowed: 'kill', since a worker thread takes no signals`,
    );
  }
  const platform = Object.getOwnPropertyDescriptor(process, 'platform') ?? {};
  Object.defineProperty(process, 'platform', { ...platform, value: 'win32' });
  try {
    expect(refused(forked, { id: 'kernel-1', mode: 'term' }).message).toMatch(/since Windows has no such signals/);
    expect(kernelOf(forked, { id: 'kernel-1' }).id).toBe('kernel-1');
  } finally {
    Object.defineProperty(process, 'platform', platform);
  }
  expect(refused(forked, { id: 'kernel-1', mode: 'oom' })).toMatchObject(invalid);
  expect(refused(forked, { mode: 'kill' }).message).toMatch(/option "id" is undefined/);
  expect(refused(forked, undefined)).toMatchObject(invalid);
  expect(refused(forked, { id: 'kernel-1', graceMs: 5 })).toMatchObject({ code: 'ERR_REPRISE_UNKNOWN_OPTION' });
  expect(refused(forked, { id: 'kernel-1', mode: 'pause', forMs: -1 })).toMatchObject(invalid);
  const argument = refused({ kill: () => true }, { id: 'kernel-1' });
  expect(argument).toMatchObject({ code: 'ERR_REPRISE_INVALID_ARGUMENT' });
  expect(argument.message).toMatch(/argument "kernel" is an object; allowed: a Worker/);
});

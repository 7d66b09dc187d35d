import type { ChildProcess } from 'node:child_process';
import type { Worker } from 'node:worker_threads';
import { checkShape, hasMethods, invalidArgument, invalidOption, oneOf, wholeNumberBetween } from '../../options.js';
import { kernelName } from './registry.js';
import type { Kernel, KillKernel } from './registry.js';

/** How a kernel is hit. */
export type KernelMode =
  /** `worker.terminate()`, or SIGKILL: no code of its own runs any more. Default. */
  | { readonly mode?: 'kill' | undefined }
  /** SIGTERM, and SIGKILL when it is still there `graceMs` (default 5 000) later. Child processes, not on Windows. */
  | { readonly mode: 'term'; readonly graceMs?: number | undefined }
  /**
   * SIGSTOP, and SIGCONT `forMs` (default 1 000) later: it looks like a machine that hangs, and comes back. It goes on
   * at once when chaos is disarmed or closed, or this process exits. Child processes, not on Windows.
   */
  | { readonly mode: 'pause'; readonly forMs?: number | undefined };

/** What {@link kernelOf} takes besides the kernel. */
export type KernelOfOptions = Pick<Kernel, 'id' | 'group'> & KernelMode;

const mode = oneOf('kill', 'term', 'pause');
const ms = wholeNumberBetween(0, 2_147_483_647, 'milliseconds');
const named = { id: kernelName, group: kernelName, mode };
const MODES = { kill: named, term: { ...named, graceMs: ms }, pause: { ...named, forMs: ms } };

/**
 * A registration of a worker thread or a child process: `isAlive` as Node knows it, and a kill that is done when the
 * kernel has exited.
 *
 * @example
 * chaos.registerKernel(kernelOf(new Worker('./kernel.js'), { id: 'kernel-1', group: 'search' }));
 * chaos.registerKernel(kernelOf(fork('./kernel.js'), { id: 'kernel-2', group: 'search', mode: 'term', graceMs: 2_000 }));
 *
 * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_ARGUMENT`, `ERR_REPRISE_INVALID_OPTION` or
 *   `ERR_REPRISE_UNKNOWN_OPTION`; also for a mode that this kernel, or this platform, cannot be hit in
 */
export function kernelOf(kernel: Worker | ChildProcess, options: KernelOfOptions): Kernel {
  const kind = kindOf(kernel);
  if (kind === undefined) {
    throw invalidArgument(TypeError, 'kernelOf', 'kernel', kernel, 'a Worker (worker_threads) or a ChildProcess');
  }
  checkShape('kernelOf', { mode: 'kill', ...options }, 'mode', MODES, ['group', 'graceMs', 'forMs']);
  checkMode(kind, options.mode ?? 'kill');
  const { id, group } = options;
  if (kind === 'worker') {
    const worker = kernel as Worker;
    return { id, group, isAlive: () => isRunning(worker), kill: () => isRunning(worker) && worker.terminate() };
  }
  const child = kernel as ChildProcess;
  return { id, group, isAlive: () => hasProcess(child), kill: killOf(child, options) };
}

/** By what it has, not by its class: that would load `node:child_process` into every program. */
function kindOf(kernel: object): 'worker' | 'process' | undefined {
  if (hasMethods(kernel, 'once', 'terminate') && 'threadId' in kernel) return 'worker';
  return hasMethods(kernel, 'once', 'kill') && 'exitCode' in kernel && 'signalCode' in kernel ? 'process' : undefined;
}

/** Refuses what cannot be done, here and to this kind of kernel. */
function checkMode(kind: 'worker' | 'process', mode: 'kill' | 'term' | 'pause'): void {
  if (mode === 'kill' || (kind === 'process' && process.platform !== 'win32')) return;
  const why = kind === 'worker' ? 'a worker thread takes no signals' : 'Windows has no such signals';
  throw invalidOption(RangeError, 'kernelOf', 'mode', mode, `'kill', since ${why}`);
}

function killOf(child: ChildProcess, options: KernelMode): KillKernel {
  switch (options.mode) {
    case 'term':
      return (released) => terminate(child, options.graceMs ?? 5_000, released);
    case 'pause':
      return (released) => pause(child, options.forMs ?? 1_000, released);
    default:
      return () => kill(child);
  }
}

function isRunning(worker: Worker): boolean {
  return worker.threadId !== -1;
}

function hasProcess(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

/** False where it was gone already, or went some other way just now. */
function kill(child: ChildProcess): false | Promise<boolean> {
  if (!hasProcess(child) || !child.kill('SIGKILL')) return false;
  return new Promise((resolve) => {
    child.once('exit', (_code, signal) => {
      resolve(signal === 'SIGKILL');
    });
  });
}

function terminate(child: ChildProcess, graceMs: number, released: AbortSignal): false | Promise<boolean> {
  if (!hasProcess(child) || !child.kill('SIGTERM')) return false;
  return new Promise((resolve) => {
    const settle = (isGone: boolean) => () => {
      clearTimeout(grace);
      child.off('exit', gone);
      released.removeEventListener('abort', spared);
      resolve(isGone);
    };
    const gone = settle(true);
    const spared = settle(false);
    const grace = setTimeout(() => child.kill('SIGKILL'), graceMs).unref();
    child.once('exit', gone);
    released.addEventListener('abort', spared);
  });
}

function pause(child: ChildProcess, forMs: number, released: AbortSignal): false | Promise<'paused'> {
  if (!hasProcess(child) || !child.kill('SIGSTOP')) return false;
  return new Promise((resolve) => {
    const goOn = () => {
      clearTimeout(timer);
      child.off('exit', goOn);
      released.removeEventListener('abort', goOn);
      continueAtExit(child, false);
      child.kill('SIGCONT');
      resolve('paused');
    };
    const timer = setTimeout(goOn, forMs).unref();
    child.once('exit', goOn);
    released.addEventListener('abort', goOn);
    continueAtExit(child, true);
  });
}

/** What is stopped now. Nobody else would ever continue it. */
const stopped = new Set<ChildProcess>();

function continueAll(): void {
  for (const child of stopped) child.kill('SIGCONT');
}

/** One listener for all, and none while nothing is stopped. */
function continueAtExit(child: ChildProcess, isStopped: boolean): void {
  process.off('exit', continueAll);
  if (isStopped) stopped.add(child);
  else stopped.delete(child);
  if (stopped.size > 0) process.on('exit', continueAll);
}

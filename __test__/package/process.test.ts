import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { node, root, succeed } from './harness.js';

const entry = JSON.stringify(path.join(root, 'index.js'));

describe('the addon leaves the process alone', () => {
  it('loaded, and middlewares made: the process ends by itself', async () => {
    const program = `
      const { chaosMiddleware, idempotencyMiddleware, initChaos, retryKernelTask } = require(${entry});
      initChaos({ enabled: true, seed: 1 });
      chaosMiddleware();
      idempotencyMiddleware();
      retryKernelTask(async () => {})('task').then(() => console.log('done'));`;
    expect(await succeed(node(['-e', program]))).toContain('done');
  });

  it('loaded by worker threads only, 200 of them ended in the middle of their work: no crash', async () => {
    const program = `
      const { Worker } = require('node:worker_threads');
      const worker = \`
        const { parentPort } = require('node:worker_threads');
        const { idempotencyMiddleware, retryKernelTask } = require(${entry.replaceAll('\\', '\\\\')});
        const work = retryKernelTask(async () => {});
        idempotencyMiddleware();
        parentPort.postMessage('at work');
        setInterval(() => work('task'), 0);\`;
      let ended = 0;
      async function oneAfterTheOther() {
        for (let i = 0; i < 50; i++) {
          const thread = new Worker(worker, { eval: true });
          await new Promise((resolve, reject) => thread.once('message', resolve).once('error', reject));
          await thread.terminate();
          ended++;
        }
      }
      // Four at a time, so that threads come while others go.
      Promise.all(Array.from({ length: 4 }, oneAfterTheOther)).then(() => console.log(ended + ' ended'));`;
    expect(await succeed(node(['-e', program]))).toBe('200 ended\n');
  }, 90_000);
});

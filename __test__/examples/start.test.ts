import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from '../package/harness.js';
import { curl } from './curl.js';
import { startProgram } from './programs.js';

const server = path.join(root, 'examples/demo/server.mjs');

/** Starts the server; its commands are all there when that for the ledger is. */
const start = () => startProgram([server], /\/ledger\n/);

describe('npm start', { timeout: 60_000 }, () => {
  it('prints commands to try, each of which does what is said above it', async () => {
    const program = await start();
    const steps = [...program.output.matchAll(/^\d+\. (.+)\n\n((?: +curl .+\n)+)/gm)];
    const commands = steps.flatMap(([, , lines = '']) => lines.trim().split(/\n +/));
    /** Does the next step, which must have said this, and gives the answers to its commands. */
    const next = async (said: string, count = 1) => {
      expect(steps.shift()?.[1]).toBe(said);
      const answers = [];
      for (const command of commands.splice(0, count)) answers.push(...(await curl(command)));
      return answers;
    };

    const [paid] = await next('Pay. 201: the order is charged.');
    expect(paid?.status).toBe(201);
    expect(JSON.parse(paid?.text ?? '')).toMatchObject({ payment: 'P-1', order: 'A-1', amount: 20 });

    const [again] = await next(
      'The same again. The same answer, with X-Idempotency-Replay: true. The handler does not run.',
    );
    expect(again).toMatchObject({ status: 201, text: paid?.text });
    expect(again?.headers.get('X-Idempotency-Replay')).toBe('true');

    const [other] = await next('Another amount under that key. 422: a key stands for one request.');
    expect(other?.status).toBe(422);

    const fifty = await next('Fifty at once under one key. The handler runs once; fifty times the same payment.');
    expect(fifty).toHaveLength(50);
    expect(new Set(fifty.map(({ text }) => text)).size).toBe(1);

    const keyless = await next(
      'Twice without a key. One charge: the key is made of the request, and kept for five minutes.',
      2,
    );
    expect(keyless.map(({ headers }) => headers.get('X-Idempotency-Replay'))).toEqual([null, 'true']);

    const [on] = await next('Chaos on, by seed 42: half of all requests fail.');
    expect(JSON.parse(on?.text ?? '')).toEqual({ armed: true, seed: '42' });

    const [retried] = await next('curl retries with one key until it succeeds. By that seed, the third try does.');
    expect(retried?.status).toBe(201);

    const [counts, off] = await next('What chaos did, and chaos off.', 2);
    expect(JSON.parse(counts?.text ?? '')).toMatchObject({ totalRequests: 3, failuresInjected: 2 });
    expect(off?.status).toBe(204);

    const [ledger] = await next('The ledger: every order was charged once.');
    const charges = JSON.parse(ledger?.text ?? '') as { order: string }[];
    expect(charges.map(({ order }) => order)).toEqual(['A-1', 'A-2', 'A-3', 'B-3']);

    expect(steps).toEqual([]);
    expect(program.output.match(/the handler runs/g)).toHaveLength(4);
  });

  it('ends by Ctrl+C, also with connections open', async () => {
    const program = await start();
    await fetch(/http:\S+(?=\/ledger)/.exec(program.output)?.[0] ?? '');
    // Windows has no signals: the process is killed there.
    expect(await program.stop()).toBe(process.platform === 'win32' ? null : 0);
  });
});

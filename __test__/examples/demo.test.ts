import { cp } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import * as reprise from '../../ts/index.js';
import { emptyFolder, node, root, succeed, withoutSettings, writeProgram } from '../package/harness.js';
import { projectWith } from './programs.js';

const demo = path.join(root, 'examples/demo/demo.mjs');

/** A story without its ports and times, which are all that may differ from one telling to the next. */
const story = (output: string) =>
  output.replace(/127\.0\.0\.1:\d+/, 'HOST').replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME');

const broken = (output: string) =>
  output
    .split('\n')
    .filter((line) => line.includes('✗'))
    .map((line) => line.replace('✗', '').trim());

describe.concurrent('npm run demo', { timeout: 60_000 }, () => {
  it('tells the whole story, and every claim holds', async ({ expect }) => {
    const output = await succeed(node([demo]));
    expect(output).toContain('X-Idempotency-Replay: true');
    expect(output).toContain('1 runs, 49 wait for its answer');
    expect(output).toContain('… and 49 × the same with X-Idempotency-Replay: true');
    expect(output).toContain('← 422 Unprocessable Entity');
    expect(output).toContain('the client hangs up: 1 charge, no answer');
    expect(output).toContain('By seed 42,');
    // What this seed does to these keys: a change of this line is a change of what a seed means.
    expect(output).toContain('B-2   503 → 504 → 429 → 201');
    expect(output).toMatch(/Of 19 requests, chaos failed 11 and delayed 6\./);
    expect(output).toContain('✓ 11 orders, 11 charges: every order once.');
    expect(output).not.toContain('✗');
    expect(output.trimEnd().split('\n').at(-1)).toBe('All 19 claims held.');
  });

  it('is the same every time, whatever the shell has set', async ({ expect }) => {
    const shell = { ...withoutSettings(process.env), NODE_ENV: 'production', CHAOS_ENABLED: 'false', CHAOS_SEED: '1' };
    const [once, again] = await Promise.all([succeed(node([demo])), succeed(node([demo], { env: shell }))]);
    expect(story(again)).toBe(story(once));
  });

  it('is another one under another seed, and holds there too', async ({ expect }) => {
    const output = await succeed(node([demo, '7']));
    expect(output).toContain('By seed 7,');
    expect(output).not.toContain('B-2   503 → 504 → 429 → 201');
  });

  it('fits into 100 columns, and has no colour where there is no terminal', async ({ expect }) => {
    const output = await succeed(node([demo]));
    expect(output.split('\n').filter((line) => line.length > 100)).toEqual([]);
    expect(output).not.toContain('\u001B');
  });

  it.each([
    ['has colours at a terminal', {}, true],
    ['has none there with NO_COLOR', { NO_COLOR: '1' }, false],
  ])('%s', async (_, settings, expected) => {
    const env = Object.fromEntries(
      Object.entries(withoutSettings(process.env)).filter(([name]) => !['NO_COLOR', 'CI'].includes(name)),
    );
    const terminal = await writeProgram(
      await emptyFolder(),
      'terminal.cjs',
      `const { getColorDepth, hasColors } = require('node:tty').WriteStream.prototype;
      Object.assign(process.stdout, { isTTY: true, getColorDepth, hasColors });`,
    );
    const output = await succeed(
      node(['--require', terminal, demo], { env: { ...env, TERM: 'xterm-256color', ...settings } }),
    );
    expect(output.includes('\u001B[32m✓')).toBe(expected);
  });
});

describe.concurrent('npm run demo notices a promise that is broken', { timeout: 60_000 }, () => {
  /** Tells the story over a package that is reprise, but for some functions. */
  async function tellOver(replacement: string) {
    const project = await projectWith('express');
    await cp(path.dirname(demo), path.join(project, 'demo'), { recursive: true });
    const names = Object.keys(reprise).join(', ');
    await writeProgram(
      project,
      'node_modules/reprise/index.mjs',
      `import reprise from ${JSON.stringify(pathToFileURL(path.join(root, 'index.js')))};
      /** Has a guard count what runs, as reprise does. */
      function counted(guard) {
        let running = 0;
        const handle = (req, res, next) => {
          const { json } = res;
          running++;
          res.json = (body) => {
            running--;
            return json.call(res, body);
          };
          guard(req, res, next);
        };
        return Object.assign(handle, { metrics: () => ({ running, waiting: 0 }), close() {} });
      }
      export const { ${names} } = { ...reprise, ${replacement} };`,
    );
    await writeProgram(project, 'node_modules/reprise/package.json', '{ "exports": "./index.mjs" }');
    const { code, output } = await node(['demo/demo.mjs'], { cwd: project });
    return { code, output, broken: broken(output) };
  }

  it('nothing is guarded', async ({ expect }) => {
    const told = await tellOver(`idempotencyMiddleware: () => counted((req, res, next) => next())`);
    expect(told.broken).toEqual([
      'Same status, same headers, same bytes.',
      'It is marked as a replay.',
      'The handler did not run: still one charge.',
      'The handler ran once: one charge.',
      'One is the original and 49 are replays of it, byte for byte.',
      'It is refused with 422.',
      'The handler did not run: still one charge.',
      'The retry gets the answer that nobody heard.',
      'The handler did not run again: still one charge.',
      'Every receipt is a replay of the first one.',
      'Nobody is charged again.',
      expect.stringMatching(/^11 orders, \d+ charges: every order once\.$/),
    ]);
    expect(told.output.trimEnd().split('\n').at(-1)).toBe('12 of 19 claims did not hold.');
    expect(told.code).toBe(1);
  });

  it('answers are kept by key alone, once they are there', async ({ expect }) => {
    const told = await tellOver(`
      idempotencyMiddleware() {
        const answers = new Map();
        return counted((req, res, next) => {
          const key = req.headers['idempotency-key'];
          if (answers.has(key)) {
            res.set('X-Idempotency-Replay', 'true').status(201).json(answers.get(key));
            return;
          }
          const { json } = res;
          res.json = (body) => {
            answers.set(key, body);
            return json.call(res, body);
          };
          next();
        });
      }`);
    expect(told.broken).toEqual([
      'The handler ran once: one charge.',
      'One is the original and 49 are replays of it, byte for byte.',
      'It is refused with 422.',
      'Nothing of the first answer is shown.',
      'The retry gets the answer that nobody heard.',
      'The handler did not run again: still one charge.',
      expect.stringMatching(/^11 orders, \d+ charges: every order once\.$/),
    ]);
    expect(told.code).toBe(1);
  });

  it('chaos forgets its seed', async ({ expect }) => {
    const told = await tellOver(`initChaos: ({ seed, ...options }) => reprise.initChaos(options)`);
    expect(told.broken).toEqual(['The same clients meet the same failures.']);
    expect(told.code).toBe(1);
  });

  it('chaos does nothing', async ({ expect }) => {
    const told = await tellOver(`chaosMiddleware: () => (req, res, next) => next()`);
    expect(told.broken).toEqual(['There was something to retry.']);
    expect(told.code).toBe(1);
  });

  it('nothing is retried', async ({ expect }) => {
    const told = await tellOver(`
      retryWithCheckpoint: (options) =>
        reprise.retryWithCheckpoint({ ...options, config: { ...options.config, maxAttempts: 1 } })`);
    expect(told.broken).toEqual([
      'Every client got its receipt in the end.',
      'Every order is charged once.',
      'Every receipt is a replay of the first one.',
      'Nobody is charged again.',
      expect.stringMatching(/^11 orders, \d+ charges: every order once\.$/),
    ]);
    expect(told.code).toBe(1);
  });
});

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';

const fixture = join(__dirname, 'fixtures/stored-task.cjs');
let directory = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'reprise-stored-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const written = (name: string) => readFileSync(join(directory, name), 'utf8');

/** Starts the task in a process of its own; resolves once it says that it has reached `point`. */
async function startedTo(point: string, ...more: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [fixture, directory, point, ...more], { stdio: ['ignore', 'pipe', 'inherit'] });
  // One that is left over would keep this file's process from ending, by the stderr that they share.
  onTestFinished(() => void child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [unknown];
  expect(String(line)).toBe('reached\n');
  return child;
}

async function killAt(point: string, ...more: string[]): Promise<void> {
  const child = await startedTo(point, ...more);
  child.kill('SIGKILL');
  await once(child, 'exit');
}

function runToTheEnd(...more: string[]): string {
  const { stdout, stderr } = spawnSync(process.execPath, [fixture, directory, '', ...more], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return stdout.trim();
}

describe('a task killed with SIGKILL goes on in the next process where it stopped', () => {
  // An effect is repeated only where the kill fell between it and the save of its step.
  it.each([
    ['before save 1', 'abc', 'before the first attempt is noted'],
    ['attempt 1', 'abc', 'after it is noted'],
    ['effect a 1', 'aabc', 'after an effect, before its save'],
    ['during save 2', 'aabc', 'in the middle of a save'],
    ['effect b 1', 'abbc', 'in the second step'],
    ['before complete 1', 'abc', 'after success, before the result is saved'],
    ['wait', 'abc', 'in the wait before a retry'],
  ])('killed at %s: effects %s (%s)', async (point, effects) => {
    await killAt(point);
    expect(JSON.parse(runToTheEnd())).toEqual({ done: 3, fence: 2 });
    expect(written('effects')).toBe(effects);
    // Done is done: another process gets the kept result, and nothing runs.
    const attempts = written('attempts');
    expect(JSON.parse(runToTheEnd())).toEqual({ done: 3, fence: 2 });
    expect(written('attempts')).toBe(attempts);
  });

  it('counts its attempts on, over the processes, and ends a crash loop', async () => {
    await killAt('attempt 1');
    await new Promise((resolve) => setTimeout(resolve, 450));
    await killAt('attempt 1');
    await new Promise((resolve) => setTimeout(resolve, 450));
    await killAt('attempt 1');
    expect(written('attempts')).toBe('123');
    expect(runToTheEnd()).toBe('ERR_REPRISE_ATTEMPT_INTERRUPTED');
    expect(written('attempts')).toBe('123');
    // Whoever calls after that has been told, and begins anew.
    expect(JSON.parse(runToTheEnd())).toMatchObject({ done: 3 });
    expect(written('attempts')).toBe('1231');
  });

  it('at most once: an attempt that was interrupted is not made again', async () => {
    await killAt('effect b 1', 'at-most-once');
    expect(runToTheEnd('at-most-once')).toBe('ERR_REPRISE_ATTEMPT_INTERRUPTED');
    expect(written('effects')).toBe('ab');
  });
});

it('a process stopped past its lease and continued writes nothing over its successor', async () => {
  const stopped = await startedTo('effect b 1');
  stopped.kill('SIGSTOP');
  expect(JSON.parse(runToTheEnd())).toEqual({ done: 3, fence: 2 });
  const records = written('records.json');
  const said = once(stopped.stdout as NodeJS.ReadableStream, 'data') as Promise<[unknown]>;
  stopped.kill('SIGCONT');
  expect(String((await said)[0]).trim()).toBe('ERR_REPRISE_CHECKPOINT_LOST');
  expect(written('records.json')).toBe(records);
});

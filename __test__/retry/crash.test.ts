import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';

const fixture = join(__dirname, 'fixtures/five-steps.cjs');
let directory = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'reprise-crash-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** Runs the task in a process of its own and kills it with SIGKILL once it says that it has reached `point`. */
async function killAt(point: string): Promise<void> {
  const child = spawn(process.execPath, [fixture, directory, point], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exit = once(child, 'exit') as Promise<[number | null, string | null]>;
  const [line] = (await Promise.race([once(child.stdout, 'data'), exit])) as [unknown];
  expect(String(line)).toBe('reached\n');
  child.kill('SIGKILL');
  expect(await exit).toEqual([null, 'SIGKILL']);
}

describe('a task killed with SIGKILL, called again in a new process, resumes from its checkpoint', () => {
  // An effect is repeated only where the kill fell between it and the save of the progress: at least once, never lost.
  it.each([
    ['step 1, before its effect', '12345'],
    ['step 3, before its effect', '12345'],
    ['step 3, after its effect', '123345'],
    ['the wait before a retry', '12345'],
    ['the save of the result', '12345'],
    ['what comes after the save of the result', '12345'],
  ])('killed at %s', async (point, effects) => {
    await killAt(point);
    const { status, stdout, stderr } = spawnSync(process.execPath, [fixture, directory, ''], { encoding: 'utf8' });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '{"done":5,"complete":true}\n', stderr: '' });
    expect(readFileSync(join(directory, 'effects'), 'utf8').replaceAll('\n', '')).toBe(effects);
    expect(JSON.parse(readFileSync(join(directory, 'order.json'), 'utf8'))).toEqual({ done: 5, complete: true });
  });
});

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';

const PROGRAM = path.join(__dirname, 'fixtures/shuts-down.cjs');

interface Server {
  readonly child: ChildProcess;
  readonly url: string;
}

async function start(...args: readonly string[]): Promise<Server> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, url: `http://127.0.0.1:${Number(String(port))}/pay` };
}

it('nothing is done twice, and nothing is left out, while a server is restarted by SIGTERM under load', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-sigterm-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const [file, effects] = [path.join(folder, 'keys.db'), path.join(folder, 'effects')];
  writeFileSync(effects, '');
  let server = await start(file, effects);
  let isOver = false;
  const paid: string[] = [];

  /** Retries until it is answered, as a client does. */
  const pay = async (key: string): Promise<void> => {
    for (;;) {
      try {
        const response = await fetch(server.url, {
          method: 'POST',
          headers: { 'Idempotency-Key': key, 'Content-Type': 'application/json' },
          body: '{"amount":5}',
        });
        await response.text();
        if (response.status === 201) break;
      } catch {
        // The server is away.
      }
      await delay(5);
    }
    paid.push(key);
  };
  const client = async (name: number): Promise<void> => {
    for (let order = 0; !isOver; order++) await pay(`${name}-${order}`);
  };
  const clients = Array.from({ length: 12 }, async (_, name) => client(name));

  for (let restart = 0; restart < 4; restart++) {
    await delay(300);
    const exited = once(server.child, 'exit');
    server.child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    server = await start(file, effects);
  }
  await delay(300);
  isOver = true;
  await Promise.all(clients);

  const done = readFileSync(effects, 'utf8').trim().split('\n').sort();
  expect(done.length).toBeGreaterThan(50);
  expect(done).toEqual([...paid].sort());
}, 60_000);

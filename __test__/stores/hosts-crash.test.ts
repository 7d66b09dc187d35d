import { fork, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { postgresPrograms, redisServer, startPostgres, startRedis, type TestServer } from './servers.js';

const program = path.join(__dirname, 'fixtures/host.cjs');

/** `REPRISE_CRASH_KEYS=2000` for the long run. */
const KEYS = Number(process.env['REPRISE_CRASH_KEYS'] ?? 12);
const AT_ONCE = 6;
const DUPLICATES = 64;
const PROCESSES = 4;
const KILL_EVERY_MS = 100;

/** A process that comes back when it is killed. */
class Phoenix {
  url: string | undefined;
  #child: ChildProcess | undefined;
  #isOver = false;
  readonly #args: readonly string[];

  constructor(args: readonly string[]) {
    this.#args = args;
    this.#start();
  }

  kill(): void {
    this.url = undefined;
    this.#child?.kill('SIGKILL');
  }

  async end(): Promise<void> {
    this.#isOver = true;
    if (this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.kill();
    await gone;
  }

  #start(): void {
    const child = fork(program, this.#args);
    this.#child = child;
    child.once('message', (port) => (this.url = `http://127.0.0.1:${port as number}/`));
    child.once('exit', () => {
      this.url = undefined;
      if (!this.#isOver) this.#start();
    });
  }
}

/** What a client was told in the end: an answer, or that nobody knows. */
async function ask(processes: readonly Phoenix[], key: string, nth: number): Promise<string | undefined> {
  for (let i = nth; ; i++) {
    const url = processes[i % processes.length]?.url;
    try {
      if (url !== undefined) {
        const signal = AbortSignal.timeout(10_000);
        const response = await fetch(url, { method: 'POST', headers: { 'Idempotency-Key': key }, signal });
        const text = await response.text();
        if (response.status === 200) return text;
        if (response.status === 409 && text.includes('"indeterminate"')) return undefined;
        if (![409, 500, 503].includes(response.status)) throw new Error(`answered ${response.status} ${text}`);
      }
    } catch (error) {
      // The process is gone, and its connections with it.
      if (error instanceof Error && error.message.startsWith('answered')) throw error;
    }
    await delay(100);
  }
}

async function trial(kind: 'redis' | 'postgres', server: TestServer, url: string) {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-hosts-'));
  const effects = path.join(folder, 'effects');
  writeFileSync(effects, '');
  const processes = Array.from({ length: PROCESSES }, () => new Phoenix([kind, url, effects]));
  let isOver = false as boolean;
  let kills = 0;
  const killing = (async () => {
    for (let i = 0; !isOver; i++) {
      await delay(KILL_EVERY_MS);
      const alive = processes.filter(({ url: ready }) => ready !== undefined);
      // One is always there, or nothing would ever be answered.
      if (alive.length < 2) continue;
      alive[i % alive.length]?.kill();
      kills++;
    }
  })();
  const answers = new Map<string, (string | undefined)[]>();
  try {
    const keys = Array.from({ length: KEYS }, () => randomUUID());
    for (let from = 0, restarts = 0; from < KEYS; from += AT_ONCE) {
      const asked = keys.slice(from, from + AT_ONCE).map(async (key) => {
        const duplicates = Array.from({ length: DUPLICATES }, async (_, i) => ask(processes, key, i));
        answers.set(key, await Promise.all(duplicates));
      });
      if (from >= ((restarts + 1) * KEYS) / 3) {
        restarts++;
        await delay(20);
        await server.kill();
        await server.restart();
      }
      await Promise.all(asked);
    }
  } finally {
    isOver = true;
    await killing;
    await Promise.all(processes.map(async (one) => one.end()));
  }
  const runs = new Map<string, number>();
  for (const key of readFileSync(effects, 'utf8').trimEnd().split('\n')) runs.set(key, (runs.get(key) ?? 0) + 1);
  rmSync(folder, { recursive: true });
  return { answers, runs, kills };
}

function judge({ answers, runs, kills }: Awaited<ReturnType<typeof trial>>): void {
  expect(kills).toBeGreaterThan(0);
  expect(answers.size).toBe(KEYS);
  expect([...runs.values()].filter((count) => count > 1)).toEqual([]);
  let replayedToAll = 0;
  for (const [key, all] of answers) {
    const told = new Set(all.filter((answer) => answer !== undefined));
    // Whoever was answered was answered the same, and it had happened.
    expect(told.size).toBeLessThanOrEqual(1);
    if (told.size === 1) expect(runs.get(key)).toBe(1);
    if (!all.includes(undefined)) replayedToAll++;
  }
  expect(replayedToAll).toBeGreaterThan(0);
  if (process.env['REPRISE_CRASH_KEYS'] !== undefined) {
    console.log(
      `${KEYS} keys, ${kills} kills: ${replayedToAll} replayed to all, ${KEYS - replayedToAll} indeterminate`,
    );
  }
}

const LONG_MS = 300_000 + KEYS * 2_000;

describe.skipIf(redisServer === undefined)('two hosts on one Redis (appendfsync always)', () => {
  it(
    'never run a key twice, with processes and the server killed and restarted',
    async () => {
      const server = await startRedis('--appendonly', 'yes', '--appendfsync', 'always');
      try {
        judge(await trial('redis', server, `redis://127.0.0.1:${server.port}`));
      } finally {
        await server.stop();
      }
    },
    LONG_MS,
  );
});

describe.skipIf(postgresPrograms === undefined)('two hosts on one PostgreSQL', () => {
  it(
    'never run a key twice, with processes and the server killed and restarted',
    async () => {
      const server = await startPostgres();
      try {
        judge(await trial('postgres', server, `postgres://postgres@127.0.0.1:${server.port}/postgres`));
      } finally {
        await server.stop();
      }
    },
    LONG_MS,
  );
});

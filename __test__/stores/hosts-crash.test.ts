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
const KEYS_AT_ONCE = 6;
const KEYS_PER_RESTART = Math.max(KEYS_AT_ONCE, KEYS / 20);
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

/** What a client was told in the end: an answer, and whether it is kept; or that nobody knows. */
type Told = { answer: string; isKept: boolean } | 'indeterminate';

/** What the run was like, for who runs it by hand. */
interface Course {
  kills: number;
  restarts: number;
  unavailable: number;
  /** Over all tries, of which most meet a process that is killed. */
  longestMs: number;
  /** Of one try, by a process that lived to answer it. */
  longestAnswerMs: number;
}

/** Asks one process after the other, as clients do, until one knows. */
async function ask(processes: readonly Phoenix[], key: string, nth: number, course: Course): Promise<Told> {
  const since = performance.now();
  for (let tries = 0; ; tries++) {
    const urls = processes.flatMap(({ url }) => url ?? []);
    const url = urls[(nth + tries) % urls.length];
    const asked = performance.now();
    const response = url === undefined ? undefined : await post(url, key);
    if (response) course.longestAnswerMs = Math.max(course.longestAnswerMs, performance.now() - asked);
    if (response?.status === 503) course.unavailable++;
    const told = response && toldBy(response);
    if (told) {
      course.longestMs = Math.max(course.longestMs, performance.now() - since);
      return told;
    }
    await delay(200);
  }
}

/** Undefined where the process is gone, and its connections with it. */
async function post(url: string, key: string) {
  try {
    const signal = AbortSignal.timeout(10_000);
    const response = await fetch(url, { method: 'POST', headers: { 'Idempotency-Key': key }, signal });
    return { status: response.status, headers: response.headers, text: await response.text() };
  } catch {
    return undefined;
  }
}

function toldBy({ status, headers, text }: NonNullable<Awaited<ReturnType<typeof post>>>): Told | undefined {
  if (status === 200) return { answer: text, isKept: headers.get('Idempotency-Stored') !== 'false' };
  if (status === 409 && text.includes('"indeterminate"')) return 'indeterminate';
  if (![409, 500, 503].includes(status)) throw new Error(`answered ${status} ${text}`);
  return undefined;
}

interface Trial {
  /** What each key's duplicates were told. */
  answers: Map<string, Told[]>;
  /** What each key is told once all is calm. */
  afterwards: Map<string, Told>;
  /** How often each key's handler ran. */
  runs: Map<string, number>;
  course: Course;
}

async function trial(kind: 'redis' | 'postgres', server: TestServer, url: string): Promise<Trial> {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-hosts-'));
  const effects = path.join(folder, 'effects');
  writeFileSync(effects, '');
  const processes = Array.from({ length: PROCESSES }, () => new Phoenix([kind, url, effects]));
  const course: Course = { kills: 0, restarts: 0, unavailable: 0, longestMs: 0, longestAnswerMs: 0 };
  const calm = new AbortController();
  const killing = (async () => {
    for (let i = 0; !calm.signal.aborted; i++) {
      await delay(KILL_EVERY_MS);
      const alive = processes.filter(({ url: ready }) => ready !== undefined);
      // One is always there, or nothing would ever be answered.
      if (alive.length < 2) continue;
      alive[i % alive.length]?.kill();
      course.kills++;
    }
  })();
  const answers = new Map<string, Told[]>();
  const afterwards = new Map<string, Told>();
  try {
    const keys = Array.from({ length: KEYS }, () => randomUUID());
    const left = keys.values();
    let begun = 0;
    const someKeys = async (): Promise<void> => {
      for (const key of left) {
        const duplicates = Array.from({ length: DUPLICATES }, async (_, i) => ask(processes, key, i, course));
        const told = Promise.all(duplicates);
        if (++begun % KEYS_PER_RESTART === 0 && begun < KEYS) {
          await delay(20);
          await server.kill();
          await server.restart();
          course.restarts++;
        }
        answers.set(key, await told);
      }
    };
    await Promise.all(Array.from({ length: KEYS_AT_ONCE }, someKeys));
    calm.abort();
    await killing;
    for (const key of keys) afterwards.set(key, await ask(processes, key, 0, course));
  } finally {
    calm.abort();
    await killing;
    await Promise.all(processes.map(async (one) => one.end()));
  }
  const runs = new Map<string, number>();
  for (const key of readFileSync(effects, 'utf8').trimEnd().split('\n')) runs.set(key, (runs.get(key) ?? 0) + 1);
  rmSync(folder, { recursive: true });
  return { answers, afterwards, runs, course };
}

function judge({ answers, afterwards, runs, course }: Trial): void {
  expect(course.kills).toBeGreaterThan(0);
  expect(course.restarts).toBeGreaterThan(0);
  expect(answers.size).toBe(KEYS);
  expect([...runs.values()].filter((count) => count > 1)).toEqual([]);
  let replayedToAll = 0;
  for (const [key, all] of answers) {
    const heard = all.filter((told) => told !== 'indeterminate');
    const told = new Set(heard.map(({ answer }) => answer));
    // Whoever was answered was answered the same, and it had happened.
    expect(told.size).toBeLessThanOrEqual(1);
    if (told.size === 1) expect(runs.get(key)).toBe(1);
    // What was said to be kept, nobody was denied, and it still is.
    const kept = heard.find(({ isKept }) => isKept);
    if (kept === undefined) continue;
    expect(all).not.toContain('indeterminate');
    expect(afterwards.get(key)).toEqual(kept);
    replayedToAll++;
  }
  expect(replayedToAll).toBeGreaterThan(0);
  if (process.env['REPRISE_CRASH_KEYS'] !== undefined) {
    console.log(
      `${KEYS} keys: ${replayedToAll} replayed to all, ${KEYS - replayedToAll} indeterminate; ${course.kills} kills, ` +
        `${course.restarts} restarts of the server, ${course.unavailable} answers of 503; ` +
        `the longest wait of a client was ${Math.round(course.longestMs)} ms, over all its tries, ` +
        `and ${Math.round(course.longestAnswerMs)} ms where it was answered`,
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

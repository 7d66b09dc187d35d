import { fork, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { poolOf, postgresPrograms, startPostgres, type TestServer } from './servers.js';

const program = path.join(__dirname, 'fixtures/orders.cjs');
/** Each kills a process at another instant; `REPRISE_CRASH_KILLS=200` takes about ten times as long. */
const ROUNDS = Number(process.env['REPRISE_CRASH_KILLS'] ?? 20);
const ORDERS_PER_ROUND = 10;

describe.skipIf(postgresPrograms === undefined)('a process that is killed inside of transactions', () => {
  let server: TestServer;
  let connectionString: string;
  let pool: Pool;

  beforeAll(async () => {
    server = await startPostgres();
    connectionString = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
    pool = poolOf(server);
    await pool.query('CREATE TABLE orders (key text NOT NULL, id text NOT NULL)');
  });

  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  const shop = async (): Promise<{ process: ChildProcess; url: string }> => {
    const child = fork(program, [connectionString]);
    const [port] = (await once(child, 'message')) as [number];
    return { process: child, url: `http://127.0.0.1:${port}/` };
  };

  const answerTo = async (url: string, key: string): Promise<string | undefined> => {
    try {
      const response = await fetch(url, { method: 'POST', headers: { 'Idempotency-Key': key } });
      return response.status === 201 ? await response.text() : undefined;
    } catch {
      // The process is gone.
      return undefined;
    }
  };

  it(
    `leaves rows and records in agreement, killed ${ROUNDS} times with 10 orders under way; each order is made once`,
    async () => {
      const answered = new Map<string, string>();
      const asked: string[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const { process, url } = await shop();
        // Its first requests connect it: the kill is to meet transactions.
        await answerTo(url, randomUUID());
        const keys = Array.from({ length: ORDERS_PER_ROUND }, () => randomUUID());
        asked.push(...keys);
        const answers = keys.map(async (key, i) => {
          await delay(i);
          const id = await answerTo(url, key);
          if (id !== undefined) answered.set(key, id);
        });
        // Before any is answered, and right after one is, while others are under way.
        if (round % 2 === 0) await delay(round % 20);
        else await answers[round % 5];
        const gone = once(process, 'exit');
        process.kill('SIGKILL');
        await Promise.all([gone, ...answers]);
      }
      expect(await disagreements()).toEqual([]);
      expect(answered.size).toBeGreaterThan(0);
      expect(answered.size).toBeLessThan(asked.length);

      const { process, url } = await shop();
      for (const key of asked) {
        let id: string | undefined;
        while ((id = await answerTo(url, key)) === undefined) await delay(50);
        // What a client was told once, it is told again.
        expect(id).toBe(answered.get(key) ?? id);
      }
      process.kill('SIGKILL');
      expect(await disagreements()).toEqual([]);
      const { rows } = await pool.query<{ key: string }>('SELECT key FROM orders WHERE key = ANY($1)', [asked]);
      expect(rows.map(({ key }) => key).sort()).toEqual([...asked].sort());
    },
    ROUNDS * 6_000,
  );

  /** Orders without a record of their answer, and records without their order. */
  const disagreements = async (): Promise<unknown[]> => {
    const { rows } = await pool.query<{ id: string; answer: string }>(`
      SELECT id, answer FROM orders FULL JOIN
        (SELECT convert_from(body, 'UTF8') AS answer FROM reprise_records WHERE state = 'completed') AS answers
      ON id = answer WHERE id IS NULL OR answer IS NULL`);
    return rows;
  };
});

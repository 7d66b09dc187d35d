import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import express from 'express';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware, MemoryStore, type IdempotencyOptions } from '../../ts/index.js';
import { gate, open, send, serve, type Received, type Sent } from '../helpers/server.js';
import { emptyFolder, node, succeed } from '../package/harness.js';
import { curl } from './curl.js';
import { codeBlocks, section, tableRows } from '../docs/markdown.js';
import { projectWith, startProgram } from './programs.js';

describe('the example of the README', { timeout: 60_000 }, () => {
  const use = section('README.md', '## Use');

  it('pays once and replays, as it is shown', async () => {
    const [program = ''] = codeBlocks(use, 'js');
    const [commands = ''] = codeBlocks(use, 'sh');
    const [shown = ''] = codeBlocks(use, 'http');
    const project = await projectWith('reprise', 'express');
    // A free port, and a word when it listens; all else as it stands.
    const listen = 'app.listen(3000)';
    expect(program).toContain(listen);
    const listenAnywhere = "const server = app.listen(0, () => console.log('port', server.address().port))";
    await writeFile(path.join(project, 'server.mjs'), program.replace(listen, listenAnywhere));
    const { output } = await startProgram(['server.mjs'], /port \d+\n/, { cwd: project });
    const port = /port (\d+)/.exec(output)?.[1] ?? '';

    const answers = [];
    for (const command of commands.trim().split('\n')) answers.push(...(await curl(command.replace('3000', port))));
    expect(answers).toHaveLength(2);
    const [first, second] = answers;
    expect(first?.headers.has('X-Idempotency-Replay')).toBe(false);
    expect(second?.text).toBe(first?.text);

    const [head = '', body = ''] = shown.trim().split('\n\n');
    const [status, ...headers] = head.split('\n');
    expect(status).toBe(`HTTP/1.1 ${String(second?.status)} Created`);
    for (const [name = '', value] of headers.map((line) => line.split(': '))) {
      expect(second?.headers.get(name)).toBe(value);
    }
    expect(second?.text).toBe(body);
  });

  it('goes on with chaos and with retry', async () => {
    const pieces = ['### `initChaos(options)`', '### `RetryConfig`'].flatMap((heading) =>
      codeBlocks(section('README.md', heading), 'js'),
    );
    expect(pieces).toHaveLength(2);
    const program = `
      import express from 'express';
      import {
        chaosMiddleware, getChaosMetrics, idempotencyMiddleware, initChaos, retryKernelTask,
      } from 'reprise';
      const app = express();
      const kernel = { search: async (query) => [query] };
      ${pieces.join('')}
      console.log(hits);`;
    const project = await projectWith('reprise', 'express');
    await writeFile(path.join(project, 'pieces.mjs'), program);
    expect(await succeed(node(['pieces.mjs'], { cwd: project }))).toBe("[ 'otters' ]\n");
  });

  it('has twelve lines', () => {
    const [program = ''] = codeBlocks(use, 'js');
    expect(program.trim().split('\n').slice(1)).toHaveLength(12);
  });
});

/** What became of the request that a row of the table speaks of. */
interface Happened {
  readonly answer: Received;
  /** How often the handler ran for it. */
  readonly ran: number;
  /** Whether the handler had run before. */
  readonly again?: boolean;
}

/** A server that counts how often its handler runs; it answers 201, unless a row needs another one. */
async function shop(options: IdempotencyOptions = {}, handler: Handler = (run, res) => res.status(201).json({ run })) {
  let runs = 0;
  const app = express();
  app.use(express.json(), idempotencyMiddleware(options), (_req, res, next) => handler(++runs, res, next));
  const running = await serve(app);
  return {
    ...running,
    get runs() {
      return runs;
    },
    send: (sent: Sent) => send(running, sent),
  };
}

type Handler = (run: number, res: express.Response, next: express.NextFunction) => unknown;
type Shop = Awaited<ReturnType<typeof shop>>;

const order = { key: 'key', body: { order: 'A-1' } };
const someone = (name: string) => ({ ...order, headers: { authorization: name } });

/** Sends a request, and sees what becomes of it. */
async function happens(at: Shop, sent = order): Promise<Happened> {
  const before = at.runs;
  const answer = await at.send(sent);
  return { answer, ran: at.runs - before, again: before > 0 };
}

/** A server is killed in its first run of a key, and another one is started, to which the client retries. */
async function killed(route: 'plain' | 'committed' | 'resumable'): Promise<Happened> {
  const folder = await emptyFolder();
  const [file, effects] = [path.join(folder, 'keys.db'), path.join(folder, 'runs')];
  const start = async () => {
    const { output } = await startProgram([path.join(__dirname, 'fixtures/is-killed.cjs'), file, effects], /\d+\n/);
    return { port: Number(output) };
  };
  const runs = async () => (await readFile(effects, 'utf8')).split('\n').length - 1;
  await expect(send(await start(), { ...order, path: `/${route}` })).rejects.toThrow();
  expect(await runs()).toBe(1);
  const server = await start();
  let answer: Received;
  // It is noticed within 100 ms that its owner has died.
  do answer = await send(server, { ...order, path: `/${route}` });
  while (answer.text.includes('in-progress'));
  if (route === 'resumable') expect(JSON.parse(answer.text)).toEqual({ steps: 1 });
  return { answer, ran: (await runs()) - 1, again: true };
}

/** The rows of "What happens when", acted out. */
const rows: Record<string, () => Promise<Happened[]>> = {
  'with a new key': async () => [await happens(await shop())],
  'with a key that was answered': async () => {
    const at = await shop();
    await at.send(order);
    const happened = await happens(at);
    expect(happened.answer.headers).toHaveProperty('x-original-timestamp');
    return [happened];
  },
  'with a key whose first request is still running': async () => {
    const started = gate();
    const answered = gate();
    const at = await shop({}, async (run, res) => {
      started.open();
      await answered.opened;
      res.status(201).json({ run });
    });
    const first = at.send(order);
    await started.opened;
    const happened = await happens(at);
    expect(happened.answer.headers['retry-after']).toMatch(/^[1-9]\d*$/);
    answered.open();
    await first;
    return [happened];
  },
  'with a key that was used, and another body': async () => {
    const at = await shop();
    await at.send(order);
    return [await happens(at, { ...order, body: { order: 'A-2' } })];
  },
  'with a key that another caller has used': async () => {
    const at = await shop();
    await at.send(someone('ada'));
    return [await happens(at, someone('bob'))];
  },
  'with a key that was answered with a 5xx': async () => {
    const at = await shop({}, (run, res) => res.status(run === 1 ? 500 : 201).json({ run }));
    expect((await at.send(order)).status).toBe(500);
    return [await happens(at)];
  },
  'with a key whose handler threw': async () => {
    const at = await shop({}, (run, res, next) => {
      // Without a stack, which Express would write to stderr.
      if (run === 1) next(Object.assign(new Error('failed'), { stack: '' }));
      else res.status(201).json({ run });
    });
    expect((await at.send(order)).status).toBe(500);
    return [await happens(at)];
  },
  'with a key whose client hung up': async () => {
    const started = gate();
    const left = gate();
    const answered = gate();
    const at = await shop({}, async (run, res) => {
      res.once('close', () => {
        left.open();
      });
      started.open();
      await left.opened;
      res.status(201).json({ run });
      answered.open();
    });
    const client = await open(at);
    const body = JSON.stringify(order.body);
    client.write(
      'POST / HTTP/1.1\r\nHost: shop\r\nIdempotency-Key: key\r\nContent-Type: application/json\r\n' +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    await started.opened;
    client.socket.destroy();
    await answered.opened;
    return [await happens(at)];
  },
  'with a key whose process was killed in the middle': async () => [await killed('plain')],
  'with a key whose process was killed behind commitPoint()': async () => [await killed('committed')],
  'with a key whose process was killed in a resumable route': async () => [await killed('resumable')],
  'with a key whose answer was over 1 MiB': async () => {
    const at = await shop({}, (_run, res) => res.status(201).send(Buffer.alloc(1024 * 1024 + 1)));
    expect((await at.send(order)).body).toHaveLength(1024 * 1024 + 1);
    return [await happens(at)];
  },
  'with a key from before a restart (MemoryStore)': async () => {
    // What a new process starts with: a store that has never seen the key.
    await (await shop({ store: new MemoryStore() })).send(order);
    return [{ ...(await happens(await shop({ store: new MemoryStore() }))), again: true }];
  },
  'without a key, for the first time': async () => {
    const at = await shop();
    const before = at.runs;
    return [{ answer: await at.send({ body: order.body }), ran: at.runs - before }];
  },
  'without a key, the same within 5 minutes': async () => {
    const store = new MemoryStore();
    const at = await shop({ store });
    await at.send({ body: order.body });
    store.advanceClock(4 * 60_000);
    const before = at.runs;
    const answer = await at.send({ body: order.body });
    const ran = at.runs - before;
    store.advanceClock(60_000);
    expect((await at.send({ body: order.body })).isReplay).toBe(false);
    return [{ answer, ran }];
  },
  'with a key that is empty, or over 255 characters': async () => {
    const at = await shop();
    return [await happens(at, { ...order, key: '' }), await happens(at, { ...order, key: 'k'.repeat(256) })];
  },
  'while the store fails': async () => {
    const fail = () => Promise.reject(new Error('down'));
    const at = await shop({ store: { get: fail, set: fail, delete: fail }, silence: ['WRN_REPRISE_STORE_NOT_ATOMIC'] });
    const happened = await happens(at);
    expect(happened.answer.headers['retry-after']).toBe('1');
    return [happened];
  },
  'while the server shuts down (close())': async () => {
    let runs = 0;
    const guard = idempotencyMiddleware();
    const app = express().use(express.json(), guard, (_req, res) => res.status(201).json({ run: ++runs }));
    const server = await serve(app);
    await guard.close();
    const answer = await send(server, order);
    expect(answer.headers['retry-after']).toBe('1');
    return [{ answer, ran: runs }];
  },
  'with GET, HEAD, OPTIONS or DELETE': async () => {
    const happened = [];
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE']) {
      const at = await shop();
      await at.send({ key: 'key', method });
      const answer = await at.send({ key: 'key', method });
      happened.push({ answer, ran: at.runs - 1 });
    }
    return happened;
  },
};

describe('what happens when: a request comes', { timeout: 20_000 }, () => {
  const table = tableRows(section('README.md', '## What happens when'));

  it.each(table)('%s: its answer is %s, the handler %s', async (request, says, handler) => {
    const happened = await rows[request]?.();
    expect(happened).toBeDefined();
    for (const { answer, ran, again = false } of happened ?? []) {
      const first = answer.isReplay
        ? 'the first one again'
        : answer.status === 201
          ? "the handler's"
          : `${answer.status}`;
      expect(says.startsWith(first), `it was ${first}`).toBe(true);
      expect(handler).toBe(ran === 0 ? 'does not' : again ? 'runs again' : 'runs');
    }
  });

  it('and every row is acted out', () => {
    expect(table.map(([request]) => request).sort()).toEqual(Object.keys(rows).sort());
  });
});

import { readFile } from 'node:fs/promises';
import { createNamer } from '../idempotency/desk.js';
import { recordInfo, type RecordInfo } from '../idempotency/inspection.js';
import { invalidArgument } from '../options.js';
import { encodeHead } from '../stores/head.js';
import type { KeptAnswer } from '../stores/contract.js';
import type { DamagedRecord, ListedRecord, Resolution } from '../stores/operations.js';
import { count, duration, facts, row, rowWidth, size, type Column } from './format.js';
import type { OpenStore } from './open.js';
import type { Screen } from './screen.js';

/** How a command ended, as its exit code. */
export const EXIT = { done: 0, no: 1, usage: 2, failed: 3 } as const;

export type Exit = (typeof EXIT)[keyof typeof EXIT];

/** One option of a command. */
export interface Option {
  /** What stands for its value in the help; absent for a switch. */
  readonly value?: string;
  readonly help: string;
}

/** What a command works with. */
export interface Job {
  readonly open: OpenStore;
  readonly screen: Screen;
  /** The value of an option, if it was given. */
  readonly option: (name: string) => string | undefined;
  readonly json: boolean;
  /** The record's name, of a command that takes one. */
  readonly recordKey: string;
}

/** A command: what it is called is its name in {@link COMMANDS}. */
export interface Command {
  readonly summary: string;
  /** What it does, for its help. */
  readonly details: string;
  /** Whether it takes a key. */
  readonly takesKey: boolean;
  /** Whether it changes anything. */
  readonly writes: boolean;
  readonly options: Readonly<Record<string, Option>>;
  readonly run: (job: Job) => Promise<Exit>;
}

/** Options of the commands that take a key. */
const OF_KEY: Readonly<Record<string, Option>> = {
  method: { value: 'method', help: 'the method of the request that the key came with' },
  path: { value: 'path', help: 'its path, as the client sent it, without the query' },
  scope: { value: 'scope', help: 'what scope(req) gave for it, if your middleware has a scope' },
};

const STATES = ['in-progress', 'completed', 'not-replayable', 'indeterminate', 'damaged'];

export const COMMANDS: Readonly<Record<string, Command>> = {
  inspect: {
    summary: 'show what is kept for a key',
    details: `The key is the client's, with --method and --path of its request, or the record's own name
as list, logs and events give it (64 hexadecimal digits). The answer's body is never shown.`,
    takesKey: true,
    writes: false,
    options: OF_KEY,
    run: inspect,
  },
  list: {
    summary: 'list the records',
    details: `Free keys are left out. With --json each record is one line.
States are ${STATES.join(', ')}.`,
    takesKey: false,
    writes: false,
    options: {
      state: { value: 'state', help: 'only records in this state' },
      limit: { value: 'n', help: 'stop after so many' },
    },
    run: list,
  },
  forget: {
    summary: 'free a key: its next request runs',
    details: `Whatever its state. A request that still runs under the key has lost its claim: its answer
is not kept. The key is given as for inspect.`,
    takesKey: true,
    writes: true,
    options: OF_KEY,
    run: forget,
  },
  resolve: {
    summary: 'say what became of an indeterminate key',
    details: `An indeterminate record says that nobody knows whether the request had its effect. Find out,
then say:
  free            it did not: the next request runs
  completed       it did: every retry is answered with --status and --body
  not-replayable  it did, but there is no answer to give: retries get 409
The key is given as for inspect. A record in any other state is left as it is.`,
    takesKey: true,
    writes: true,
    options: {
      as: { value: 'verdict', help: 'free, completed or not-replayable' },
      status: { value: 'code', help: 'the status to answer with, of a completed one' },
      body: { value: 'text', help: 'the body to answer with; default none' },
      'body-file': { value: 'file', help: 'a file with the body' },
      type: { value: 'type', help: 'the Content-Type of the body; default application/json' },
      ttl: { value: 'seconds', help: 'how long that is kept; default 86400' },
      ...OF_KEY,
    },
    run: resolve,
  },
  stats: {
    summary: 'count what is kept',
    details: `Free keys are those of which the fence, or saved progress, is still remembered.`,
    takesKey: false,
    writes: false,
    options: {},
    run: stats,
  },
  verify: {
    summary: 'check whether anything is damaged',
    details:
      'Every record of a Redis or a PostgreSQL; the whole file of a FileStore. Ends with 1 where there is\na problem.',
    takesKey: false,
    writes: false,
    options: {},
    run: verify,
  },
  compact: {
    summary: 'give back space',
    details: `Of a FileStore: makes the file smaller; requests wait meanwhile. Of a PostgreSQL: deletes what
has expired, and makes its space free (VACUUM). Redis does so by itself.`,
    takesKey: false,
    writes: true,
    options: {},
    run: compact,
  },
};

/** The record's name for a key of a client, or for itself. */
export function recordKeyOf(key: string, option: Job['option']): string {
  const [method, path, scope] = [option('method'), option('path'), option('scope')];
  if (method === undefined && path === undefined && scope === undefined) {
    if (/^[0-9a-f]{64}$/i.test(key)) return key.toLowerCase();
    throw invalidArgument(
      TypeError,
      'reprise',
      'key',
      key,
      "a client's key with --method and --path of its request, or a record's name of 64 hexadecimal digits",
    );
  }
  if (method === undefined)
    throw invalidArgument(TypeError, 'reprise', '--method', method, 'the method of the request');
  if (!path?.startsWith('/')) throw invalidArgument(TypeError, 'reprise', '--path', path, 'a path that begins with /');
  const name = createNamer(LONGEST_KEY)(key, scope, { method, path: path.replace(/\?.*$/, '') });
  if (name !== '') return name;
  throw invalidArgument(RangeError, 'reprise', 'key', key, 'visible ASCII characters, quoted or not');
}

/** A middleware's `maxKeyLength` may be any. */
const LONGEST_KEY = 65_535;

async function inspect({ open, screen, json, recordKey }: Job): Promise<Exit> {
  const kept = await open.store.inspect(recordKey);
  const info = kept && recordInfo(recordKey, kept);
  if (json) await screen.write(`${JSON.stringify(info ?? null)}\n`);
  else await screen.write(info ? factsOf(info) : `Nothing is kept for ${recordKey}.\n`);
  return info ? EXIT.done : EXIT.no;
}

function factsOf({ state, recordKey, fence, leftMs, statusCode, timestamp, bodyBytes }: RecordInfo): string {
  const pairs: [string, string][] = [
    ['record', recordKey],
    ['state', state],
  ];
  if (fence !== undefined) pairs.push(['fence', String(fence)]);
  if (leftMs !== undefined) pairs.push([state === 'in-progress' ? 'lease left' : 'kept for', duration(leftMs)]);
  if (statusCode) pairs.push(['status', String(statusCode)]);
  if (timestamp) pairs.push(['answered', timestamp]);
  if (bodyBytes !== undefined) pairs.push(['body', size(bodyBytes)]);
  return facts(pairs);
}

const COLUMNS: readonly Column[] = [
  { title: 'STATE', width: 14, align: 'left' },
  { title: 'FENCE', width: 5, align: 'right' },
  { title: 'LEFT', width: 11, align: 'right' },
  { title: 'SIZE', width: 10, align: 'right' },
  { title: 'RECORD', width: 64, align: 'left' },
];

async function list({ open, screen, option, json }: Job): Promise<Exit> {
  const wanted = option('state');
  if (wanted !== undefined && !STATES.includes(wanted)) {
    throw invalidArgument(RangeError, 'reprise', '--state', wanted, STATES.join(', '));
  }
  const limit = wholeNumber('limit', option('limit'), 1) ?? Infinity;
  // Where not every row fits, every row has two lines.
  const isNarrow = screen.width !== undefined && screen.width < rowWidth(COLUMNS);
  const width = isNarrow ? 0 : undefined;
  let looked = 0;
  let shown = 0;
  for await (const record of open.store.list()) {
    screen.progress(`${count(++looked, 'record')} looked at`);
    if (wanted !== undefined && record.state !== wanted) continue;
    if (json) await screen.write(`${JSON.stringify(record)}\n`);
    else {
      if (shown === 0)
        await screen.write(
          row(
            COLUMNS,
            COLUMNS.map(({ title }) => title),
            width,
          ),
        );
      await screen.write(row(COLUMNS, cellsOf(record), width));
    }
    if (++shown >= limit) break;
  }
  if (!json && shown === 0) await screen.write('No records.\n');
  return EXIT.done;
}

function cellsOf(record: ListedRecord | DamagedRecord): string[] {
  if (record.state === 'damaged') return [record.state, '', '', '', `${record.key} ${record.problem}`];
  const { key, state, fence, leftMs, bytes } = record;
  return [state, String(fence), duration(leftMs), size(bytes), key];
}

async function forget({ open, screen, json, recordKey }: Job): Promise<Exit> {
  const before = await open.store.inspect(recordKey);
  const forgotten = await open.store.forget(recordKey);
  if (json) await screen.write(`${JSON.stringify({ recordKey, forgotten })}\n`);
  else if (forgotten)
    await screen.write(`Forgotten${before ? `; it was ${before.state}` : ''}. The next request runs.\n`);
  else await screen.write(`Nothing is kept for ${recordKey}.\n`);
  return forgotten ? EXIT.done : EXIT.no;
}

async function resolve({ open, screen, option, json, recordKey }: Job): Promise<Exit> {
  const as = await resolutionOf(option);
  const ttl = wholeNumber('ttl', option('ttl'), 1) ?? 86_400;
  const resolved = await open.store.resolve(recordKey, as, ttl);
  const state = resolved ? undefined : ((await open.store.inspect(recordKey))?.state ?? 'free');
  if (json) await screen.write(`${JSON.stringify({ recordKey, resolved, ...(state && { state }) })}\n`);
  else if (state) await screen.write(`Nothing was changed: the key is ${state}, not indeterminate.\n`);
  else await screen.write(`Resolved: the key is ${option('as') ?? ''} now.\n`);
  return resolved ? EXIT.done : EXIT.no;
}

async function resolutionOf(option: Job['option']): Promise<Resolution> {
  const as = option('as');
  const ofAnswer = ['status', 'body', 'body-file', 'type'].find((name) => option(name) !== undefined);
  if (as === 'free' || as === 'not-replayable') {
    if (ofAnswer === undefined) return as;
    throw invalidArgument(TypeError, 'reprise', `--${ofAnswer}`, option(ofAnswer), 'only with --as completed');
  }
  if (as !== 'completed') {
    throw invalidArgument(TypeError, 'reprise', '--as', as, 'free, completed or not-replayable');
  }
  const status = wholeNumber('status', option('status'), 200, 599);
  if (status === undefined) {
    throw invalidArgument(TypeError, 'reprise', '--status', status, 'the status that retries are to be answered with');
  }
  return answerOf(status, option);
}

async function answerOf(statusCode: number, option: Job['option']): Promise<KeptAnswer> {
  const [text, file] = [option('body'), option('body-file')];
  if (text !== undefined && file !== undefined) {
    throw invalidArgument(TypeError, 'reprise', '--body-file', file, 'one of --body and --body-file');
  }
  const body = file === undefined ? Buffer.from(text ?? '') : await readFile(file);
  const headers = body.length === 0 ? [] : ['Content-Type', option('type') ?? 'application/json'];
  // As the headers of an answer are: what cannot go on the wire is refused here, not at the replay.
  if (/[^\t\x20-\x7E]/.test(headers[1] ?? '')) {
    throw invalidArgument(RangeError, 'reprise', '--type', headers[1], 'visible ASCII characters');
  }
  const timestamp = new Date().toISOString();
  return { head: encodeHead({ statusCode, statusMessage: '', headers, timestamp }), body };
}

async function stats({ open, screen, json }: Job): Promise<Exit> {
  const found = await screen.during('Counting', open.stats());
  if (json) await screen.write(`${JSON.stringify(found)}\n`);
  else {
    const pairs = Object.entries(found).map(([name, n]): [string, string] => [
      // In words: notReplayable is "not replayable".
      name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).replace(/^bytes$/, 'size'),
      /bytes$/i.test(name) ? size(n) : n.toLocaleString('en-US'),
    ]);
    await screen.write(facts(pairs));
  }
  return EXIT.done;
}

async function verify({ open, screen, json }: Job): Promise<Exit> {
  let checked = 0;
  const verifying = open.verify(() => {
    screen.progress(`${count(++checked, 'record')} checked`);
  });
  const problems = await screen.during('Checking', verifying);
  if (json) await screen.write(`${JSON.stringify({ problems })}\n`);
  else {
    for (const { key, problem } of problems) await screen.write(`${key === undefined ? '' : `${key} `}${problem}\n`);
    await screen.write(problems.length === 0 ? 'Nothing is damaged.\n' : `${count(problems.length, 'problem')}.\n`);
  }
  return problems.length === 0 ? EXIT.done : EXIT.no;
}

async function compact({ open, screen, json }: Job): Promise<Exit> {
  const { said, done } = await screen.during('Giving back space', open.compact());
  await screen.write(json ? `${JSON.stringify(done)}\n` : `${said}\n`);
  return EXIT.done;
}

function wholeNumber(name: string, text: string | undefined, min: number, max?: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= (max ?? Number.MAX_SAFE_INTEGER)) return value;
  const allowed = max === undefined ? `a whole number of at least ${min}` : `a whole number from ${min} to ${max}`;
  throw invalidArgument(RangeError, 'reprise', `--${name}`, text, allowed);
}

import type { ServerResponse } from 'node:http';
import compression from 'compression';
import express from 'express';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ChaosFault } from '../../ts/index.js';
import { chaosFor, until } from './harness.js';
import { rawClient, requestFor, serveOver } from './raw.js';

const EVENTS = [
  'id: 1\ndata: one\n\n',
  ': a comment is no event\n\n',
  'id: 2\ndata: zwölf\ndata: more\n\n',
  'event: third\r\nid: 3\r\ndata: three\r\n\r\n',
  'id: 4\ndata: four 🙂\n\n',
];

const latin1 = (text: string) => Buffer.from(text).toString('latin1');

/** What has come of a stream, without head and chunks, one character a byte. */
function streamOf(bytes: string): string {
  const body = bytes.slice(bytes.indexOf('\r\n\r\n') + 4);
  let [text, rest] = ['', body];
  for (let match; (match = /^([0-9a-f]+)\r\n/.exec(rest));) {
    const size = Number.parseInt(match[1] ?? '', 16);
    text += rest.slice(match[0].length, match[0].length + size);
    rest = rest.slice(match[0].length + size + 2);
  }
  return text;
}

/** Opens a stream over a raw socket, and writes `parts` into it. */
async function stream(fault: ChaosFault, parts: readonly (string | Buffer)[], { secure = false, seed = 42 } = {}) {
  const chaos = chaosFor({ seed, rules: [{ name: 'broken', fault }] });
  const given: ServerResponse[] = [];
  const closed: boolean[] = [];
  const app = express();
  app.use(chaos.middleware(), (_req, res) => {
    res.on('close', () => closed.push(res.writableFinished));
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const part of parts) res.write(part);
    given.push(res);
  });
  const client = rawClient(await serveOver(secure, app), requestFor(), secure);
  await until(() => given.length === 1);
  return { client, chaos, closed, write: (text: string) => given[0]?.write(text), end: () => given[0]?.end() };
}

describe.each([false, true])('sse-cut, over TLS: %s', (secure) => {
  it.each([
    [1, 1],
    [2, 3],
    [3, 4],
    [4, 5],
  ])('after event %i: all of it, and nothing more', async (event, parts) => {
    const { client, chaos, closed } = await stream({ kind: 'sse-cut', where: 'after-event', event }, EVENTS, {
      secure,
    });
    const { bytes, ending } = await client.ended;
    expect([streamOf(bytes), ending]).toEqual([latin1(EVENTS.slice(0, parts).join('')), 'FIN']);
    expect(bytes.endsWith('0\r\n\r\n')).toBe(false);
    await until(() => closed.length === 1);
    expect(chaos.metrics().failuresInjected).toBe(1);
  });

  it('in the middle of an event: at least a byte of it, at most what comes before its empty line', async () => {
    const before = EVENTS.slice(0, 2).join('');
    const fields = Buffer.from('id: 2\ndata: zwölf\ndata: more\n').toString('latin1');
    const cuts = new Set<number>();
    for (let seed = 0; seed < 6; seed++) {
      const { client } = await stream({ kind: 'sse-cut', event: 2 }, EVENTS, { secure, seed });
      const text = streamOf((await client.ended).bytes);
      expect(text.startsWith(before)).toBe(true);
      const cut = text.slice(before.length);
      expect(fields.startsWith(cut)).toBe(true);
      cuts.add(cut.length);
    }
    expect(cuts.has(0)).toBe(false);
    expect(cuts.size).toBeGreaterThan(2);
  });

  it('in the middle of a character: behind some of its bytes, in the first event that has one', async () => {
    const cuts = new Set<string>();
    for (let seed = 0; seed < 8; seed++) {
      const fault: ChaosFault = { kind: 'sse-cut', where: 'mid-character', event: 3 };
      const { client } = await stream(fault, EVENTS, { secure, seed });
      const bytes = Buffer.from(streamOf((await client.ended).bytes), 'latin1');
      const whole = Buffer.from(EVENTS.join(''));
      expect(whole.subarray(0, bytes.length).equals(bytes)).toBe(true);
      cuts.add(bytes.subarray(bytes.indexOf('four ') + 5).toString('hex'));
    }
    // The four bytes of the character, less at least one.
    expect(cuts).toEqual(new Set(['f0', 'f09f', 'f09f99']));
  });

  it('reset: a RST behind the last byte', async () => {
    const fault: ChaosFault = { kind: 'sse-cut', where: 'after-event', event: 1, ending: 'reset' };
    const { client } = await stream(fault, EVENTS, { secure });
    const { bytes, ending } = await client.ended;
    expect([streamOf(bytes), ending]).toEqual([EVENTS[0], 'ECONNRESET']);
  });
});

describe('a stream of events', () => {
  it('is cut at the same place, in whatever pieces it comes', async () => {
    const bytes = Buffer.from(EVENTS.join(''));
    const pieces = Array.from(bytes, (_byte, at) => bytes.subarray(at, at + 1));
    for (const fault of [
      { kind: 'sse-cut', where: 'after-event', event: 3 },
      { kind: 'sse-cut', event: 3 },
      { kind: 'sse-cut', where: 'mid-character', event: 1 },
    ] as const) {
      const [whole, bytewise] = [await stream(fault, EVENTS), await stream(fault, pieces)];
      const expected = streamOf((await whole.client.ended).bytes);
      // A pair of CR and LF that comes in two pieces ends with its CR.
      expect(expected.replace(/\n$/, '')).toContain(
        streamOf((await bytewise.client.ended).bytes).replace(/[\r\n]+$/, ''),
      );
    }
  });

  it('whose event has not come yet goes on as ever, heartbeats too', async () => {
    const { client, write } = await stream({ kind: 'sse-cut', event: 3 }, EVENTS.slice(0, 1));
    await client.until(/data: one/);
    write(': heartbeat\n\n');
    await client.until(/: heartbeat\n\n/);
    write('data: two\n\n');
    await client.until(/data: two\n\n/);
    expect(client.ending).toBe('open');
  });

  it('that ends before its event comes is whole, and nothing counts', async () => {
    const { client, chaos, end } = await stream({ kind: 'sse-cut', event: 9 }, [...EVENTS, 'data: half']);
    end();
    const bytes = await client.until(/0\r\n\r\n$/);
    expect(streamOf(bytes)).toBe(latin1(`${EVENTS.join('')}data: half`));
    expect(chaos.metrics().failuresInjected).toBe(0);
  });

  it('of which no event was named is cut in one of the first eight, as the seed draws', async () => {
    const events = Array.from({ length: 9 }, (_, n) => `data: ${n}\n\n`);
    const counts = new Set<number>();
    for (let seed = 0; seed < 12; seed++) {
      const { client } = await stream({ kind: 'sse-cut', where: 'after-event' }, events, { seed });
      counts.add(streamOf((await client.ended).bytes).split('\n\n').length - 1);
    }
    expect(Math.max(...counts)).toBeLessThanOrEqual(8);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
    expect(counts.size).toBeGreaterThan(3);
  });

  it('stalls behind an event: not even a heartbeat comes, until chaos is closed', async () => {
    const { client, chaos, write } = await stream({ kind: 'sse-stall', event: 1 }, EVENTS);
    await client.until(/data: one\n\n/);
    write(': heartbeat\n\n');
    const other = await stream({ kind: 'sse-stall', event: 9 }, EVENTS);
    await other.client.until(/data: four/);
    expect([streamOf(client.bytes), client.ending]).toEqual([EVENTS[0], 'open']);
    chaos.close();
    expect((await client.ended).ending).toBe('FIN');
    expect(chaos.metrics().failuresInjected).toBe(1);
  });
});

it('an answer that is no stream of events passes, and nothing counts', async () => {
  const chaos = chaosFor({ rules: [{ name: 'broken', fault: { kind: 'sse-cut', event: 1 } }] });
  const app = express().use(chaos.middleware(), (_req, res) => void res.send(EVENTS.join('')));
  const port = await serveOver(false, app);
  const { bytes } = await rawClient(port, requestFor('/', { headers: 'Connection: close\r\n' })).ended;
  expect(bytes.endsWith(latin1(EVENTS.join('')))).toBe(true);
  expect(chaos.metrics().failuresInjected).toBe(0);
});

it('a compressed stream passes unharmed, and a warning says so, once', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on('warning', onWarning);
  onTestFinished(() => void process.off('warning', onWarning));
  const chaos = chaosFor({ rules: [{ name: 'broken', fault: { kind: 'sse-cut', event: 1 } }] });
  const app = express().use(chaos.middleware(), compression({ filter: () => true }), (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.end(EVENTS.join(''));
  });
  const port = await serveOver(false, app);
  for (let n = 0; n < 2; n++) {
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    expect(answer.headers.get('content-encoding')).toBe('gzip');
    expect(await answer.text()).toBe(EVENTS.join(''));
  }
  await until(() => warnings.length > 0);
  expect(warnings).toMatchObject([{ name: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_UNDONE' }]);
  expect(warnings[0]?.message).toMatch(/"sse-cut".*compressed \(gzip\)/);
  expect(chaos.metrics().failuresInjected).toBe(0);
});

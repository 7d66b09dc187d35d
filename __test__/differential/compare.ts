import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { stays } from './clients.js';
import type { Seen } from './run.js';
import type { BodyKind, Scenario } from './scenario.js';
import type { Observation, WireAnswer } from './world.js';

/** Something that is not as it is without us. */
export interface Difference {
  /** What differs, in a word; the same fault mostly shows in the same words. */
  readonly what: string;
  readonly expected: unknown;
  readonly got: unknown;
}

/** Compares the first request's side without us to that with us. */
export function compareFirst(scenario: Scenario, bare: Observation, guarded: Observation): Difference[] {
  const found: Difference[] = [];
  const differ = (what: string, expected: unknown, got: unknown) => {
    if (JSON.stringify(expected) !== JSON.stringify(got)) found.push({ what, expected, got });
  };
  if (!stays(scenario.client)) {
    // How far an answer came until its client left is a matter of moments.
    const news = guarded.processErrors.filter((error) => !bare.processErrors.includes(error));
    if (guarded.runs <= bare.runs) differ('process errors', [], news);
    else differ('runs', bare.runs, guarded.runs);
    return found;
  }
  differ('process errors', setOf(bare.processErrors), setOf(guarded.processErrors));
  // Such an error ends a process: nothing comes behind it.
  if (bare.processErrors.length > 0) return found;
  differ('runs', bare.runs, guarded.runs);
  // A connection that the handler breaks behind its answer: whether the answer has left by then is a matter of moments.
  if (breaksLate(scenario)) return found;
  for (const [i, wire] of bare.wires.entries()) {
    const other = guarded.wires[i];
    // An error behind the answer breaks the connection: how much of the answer has left by then is a matter of moments.
    if (bare.visits.some(({ errors }) => errors.length > 0) && wire.answers.some(({ complete }) => !complete)) continue;
    if (bare.visits.some(({ errors }) => errors.length > 0) && wire.answers.length === 0) continue;
    // Whether bytes that nobody has read turn a close into a reset is a matter of moments.
    if (!breaksOff(scenario)) differ('wire: end', wire.end, other?.end);
    differ('wire: number of answers', wire.answers.length, other?.answers.length);
    for (const [j, answer] of wire.answers.entries()) {
      const its = other?.answers[j];
      for (const part of ['statusLine', 'headers', 'framing', 'body', 'trailers', 'complete'] as const) {
        differ(`wire: ${part}`, answer[part], its?.[part]);
      }
    }
  }
  differ('notes', bare.notes, guarded.notes);
  for (const [i, visit] of bare.visits.entries()) {
    const other = guarded.visits[i];
    for (const part of ['errors', 'steps'] as const) differ(`seen: ${part}`, visit[part], other?.[part]);
    // What a late call still hears, and when a pipe lets go of a response that has ended: matters of moments.
    const isHeard = isTooLate(scenario) ? (event: string) => event === 'finish' || event === 'close' : isCalm;
    // Behind a store the handler begins in a microtask: its own microtasks then come before its callbacks, not after.
    const inOrder = (events: readonly string[]) => (beginsInTurns(scenario) ? events.toSorted() : events);
    differ('seen: events', inOrder(visit.events.filter(isHeard)), other && inOrder(other.events.filter(isHeard)));
    // Before or behind `finish`: that is a matter of moments.
    differ('seen: error events', visit.events.filter(isError), other?.events.filter(isError));
    differ('near: calls', callsIn(visit.near), other && callsIn(other.near));
    if (!isTooLate(scenario)) differ('outer: calls', allCallsIn(visit.outer), other && allCallsIn(other.outer));
    for (const place of ['near', 'outer'] as const) {
      differ(`${place}: events`, eventsIn(visit[place]), other && eventsIn(other[place]));
    }
  }
  return found;
}

const EVENT = /^(finish|close) /;

/**
 * The calls that make an answer, up to its end. Node's refusals are seen where the handler stands: in its steps.
 * In which order late calls come to a response that has ended is a matter of moments.
 */
function callsIn(log: readonly string[]): string[] {
  const calls = allCallsIn(log);
  const end = calls.findIndex((line) => line.startsWith('end('));
  const next = calls.findIndex((line, i) => i > end && !line.startsWith(' '));
  return end < 0 || next < 0 ? calls : calls.slice(0, next);
}

function allCallsIn(log: readonly string[]): string[] {
  return log.filter((line) => !EVENT.test(line) && !line.includes(' threw '));
}

function isError(event: string): boolean {
  return /^error | callback \S*Error/.test(event);
}

function isCalm(event: string): boolean {
  return !isError(event);
}

function setOf(texts: readonly string[]): string[] {
  return [...new Set(texts)].toSorted();
}

function breaksLate(scenario: Scenario): boolean {
  return isTooLate(scenario) && scenario.handler.steps.some(({ step }) => step.do === 'destroy');
}

/** Whether a handler does anything behind a step that answers. */
function isTooLate({ handler: { steps } }: Scenario): boolean {
  const answers = ['json', 'send', 'end', 'stream', 'sendFile', 'download', 'redirect', 'sendStatus', 'proxy', 'next'];
  return steps.slice(0, -1).some(({ step }) => answers.includes(step.do));
}

function breaksOff({ handler: { steps } }: Scenario): boolean {
  return steps.some(({ step }) => step.do === 'destroy');
}

/** Whether a handler goes on within the turn in which it begins. */
function beginsInTurns({ handler: { steps } }: Scenario): boolean {
  return steps.some(({ when }) => when === 'microtask' || when === 'tick');
}

/** Where middleware ends an answer a moment later, a second answer may overtake the first one, or say how long it is. */
function isOvertaken(scenario: Scenario): boolean {
  const layers = [...scenario.outside, ...scenario.inside];
  const isAsync = layers.some(({ use }) => use.endsWith('-async') || use === 'late-end' || use.includes('session'));
  return isAsync && isTooLate(scenario);
}

function eventsIn(log: readonly string[]): string[] {
  return log.filter((line) => EVENT.test(line));
}

/** Compares a retry to the answer that it repeats. */
export function compareReplay(scenario: Scenario, { first, again }: Seen): Difference[] {
  if (again === undefined) return [];
  const found: Difference[] = [];
  const stuck = again.processErrors.filter((error) => error === 'the server does not close');
  if (stuck.length > 0) found.push({ what: 'replay: server closes', expected: [], got: stuck });
  const differ = (what: string, expected: unknown, got: unknown) => {
    if (JSON.stringify(expected) !== JSON.stringify(got)) found.push({ what, expected, got });
  };
  // What a handler breaks off itself is over, whatever it does then; one that reads a body that broke off never goes on.
  if (isNamed(scenario) && !scenario.handler.steps.some(({ step }) => ['destroy', 'next', 'read'].includes(step.do))) {
    differ('retry: runs at once with the first', 0, again.overlaps);
  }
  differ('retry: asynchronous context', 0, first.strays + again.strays);
  // The key of a request whose client left is freed, too, while the other one of a pipeline runs.
  // An event stream frees a derived key from its start, and says nothing to its handler.
  const isStream = scenario.key === 'derived' && JSON.stringify(scenario.handler).includes('text/event-stream');
  if (scenario.client.does.is !== 'pipeline' && !isStream) {
    differ('retry: signal', 0, first.unwarned + again.unwarned);
  }
  const firsts = first.wires[0]?.answers.filter(isFinal) ?? [];
  const agains = again.wires[0]?.answers.filter(isFinal) ?? [];
  // What is said before an answer (1xx) comes in the midst of the one before.
  const isMixed = scenario.client.does.is === 'pipeline' && saysBefore(scenario);
  if (isMixed || isNoAnswer(scenario)) return found;
  const fate = fateOf(scenario, first, firsts[0]);
  for (const [i, answer] of agains.entries()) {
    if (!isReplay(answer)) continue;
    // In haste, they may be those of the first request's handler.
    if (scenario.client.isHasty !== true) differ('replay: process errors', [], again.processErrors);
    differ('replay: complete', true, answer.complete);
    const visit = again.visits[i];
    // Without a reason phrase, which no property of a response can say.
    const hasReason = !/^HTTP\/1\.1 \d+ ?$/.test(answer.statusLine);
    const isLast = scenario.outside.length === 0;
    if (visit && hasReason) differ('replay: called like an answer', '', unlikeAnAnswer(visit.near, isLast));
    const original = firsts[i];
    if (original === undefined || !stays(scenario.client) || !original.complete || isLate(scenario)) continue;
    if (isOvertaken(scenario)) continue;
    differ('replay: status line', original.statusLine, answer.statusLine);
    differ('replay: body', decoded(original), decoded(answer));
    const sameEncoding = fieldOf(original, 'content-encoding') === fieldOf(answer, 'content-encoding');
    const encoding = fieldOf(original, 'content-encoding');
    if (encoding !== undefined && isKeptEncoding(scenario, encoding)) {
      differ('replay: encoding', encoding, fieldOf(answer, 'content-encoding'));
    }
    differ('replay: headers', lasting(original, sameEncoding), lasting(answer, sameEncoding));
    const varies = tokensOf(answer, 'vary');
    differ(
      'replay: Vary',
      [],
      sameEncoding ? tokensOf(original, 'vary').filter((token) => !varies.includes(token)) : [],
    );
  }
  if (fate === 'unknown' || agains[0] === undefined) {
    if (agains[0] === undefined && fate === 'replayed') differ('retry', fate, 'no answer');
    return found;
  }
  const became = isReplay(agains[0]) ? 'replayed' : again.runs > 0 ? 'runs again' : `refused: ${agains[0].statusLine}`;
  differ('retry', fate, fate === 'refused' && became.startsWith(fate) ? fate : became);
  return found;
}

/** What has to become of a retry, as docs/semantics.md has it. */
type Fate = 'replayed' | 'runs again' | 'refused' | 'unknown';

const PASSING = new Set([401, 407, 408, 421, 423, 425, 429]);
const PARSERS: Partial<Record<BodyKind, string>> = { json: 'json', 'chunked-json': 'json', form: 'urlencoded' };

function fateOf(scenario: Scenario, first: Observation, answer: WireAnswer | undefined): Fate {
  const { client, key } = scenario;
  if (client.does.is === 'broken-upload' && isReadByHandler(scenario)) return 'runs again';
  if (!stays(client) || isLate(scenario) || first.runs === 0 || first.visits.length === 0) return 'unknown';
  if (client.does.is === 'pipeline') return 'unknown';
  if (!isNamed(scenario)) return 'unknown';
  // Who gives a length may give a wrong one, and what the client took for an answer was none.
  if (JSON.stringify(scenario.handler.steps).includes('Content-Length')) return 'unknown';
  if (isOvertaken(scenario)) return 'unknown';
  if (first.visits.some(({ errors }) => errors.length > 0) || first.processErrors.length > 0) return 'unknown';
  if (answer === undefined || !answer.complete || first.wires[0]?.end !== 'closed') return 'unknown';
  // Its end may only mean that the connection broke.
  if (answer.framing === 'close') return 'unknown';
  const status = Number(answer.statusLine.split(' ')[1]);
  if (status >= 500 || PASSING.has(status)) return 'runs again';
  // What is kept is the compressed body.
  const isSmaller = scenario.inside.some(({ use }) => use === 'compression');
  if (isSmaller && scenario.maxResponseBytes !== undefined) return 'unknown';
  const isTooLarge = Buffer.byteLength(decoded(answer), 'latin1') > (scenario.maxResponseBytes ?? 2 ** 20);
  const isStream = /^text\/event-stream/i.test(fieldOf(answer, 'content-type') ?? '');
  if (isTooLarge || isStream) return key === 'derived' ? 'runs again' : 'refused';
  const hasSession = [...scenario.outside, ...scenario.inside].some(({ use }) => use.includes('session'));
  if (key === 'derived' && hasSession) return 'unknown';
  // Who logs in again wants a session again.
  if (key === 'derived' && fieldOf(answer, 'set-cookie') !== undefined) return 'runs again';
  return 'replayed';
}

/** Whether a retry is known for one: without a key, a body that nobody read names nothing. */
function isNamed({ key, client, outside }: Scenario): boolean {
  if (key === 'explicit' || client.body === 'none') return true;
  return client.body !== 'multipart' && outside.some(({ use }) => use === 'raw' || use === PARSERS[client.body]);
}

function saysBefore({ handler }: Scenario): boolean {
  return handler.steps.some(({ step }) => step.do === 'hints' || step.do === 'continue' || step.do === 'processing');
}

/** Whether a handler answers with a status that is none of an answer: the next one on the connection is taken for it. */
function isNoAnswer({ handler }: Scenario): boolean {
  return handler.steps.some(({ step }) => 'code' in step && step.code === 103);
}

/** Whether the handler reads the body before it does anything else, so that it never answers where the body breaks off. */
function isReadByHandler({ client, handler, outside, inside, store }: Scenario): boolean {
  const reads = handler.steps[0]?.step.do === 'read' && handler.steps[0].when === 'now';
  // A late store may not have let the handler run before the client left.
  return (
    reads &&
    client.body !== 'none' &&
    client.isHasty !== true &&
    store === 'memory' &&
    outside.length + inside.length === 0
  );
}

/** Whether a retry takes an answer's encoding, and no middleware in front has a say in it; without a header, any will do. */
function isKeptEncoding({ client: { acceptsThen }, outside }: Scenario, encoding: string): boolean {
  const isTaken = acceptsThen === null || acceptsThen.split(', ').includes(encoding);
  return isTaken && outside.every(({ use }) => use !== 'compression');
}

/** Whether a time limit may answer in the handler's place. */
function isLate({ outside, inside }: Scenario): boolean {
  return [...outside, ...inside].some(({ use }) => use === 'timeout' || use === 'watchdog');
}

function isFinal({ statusLine }: WireAnswer): boolean {
  return !/^HTTP\/1\.1 1\d\d/.test(statusLine);
}

function isReplay(answer: WireAnswer): boolean {
  return fieldOf(answer, 'x-idempotency-replay') === 'true';
}

function fieldOf({ headers }: WireAnswer, name: string): string | undefined {
  const line = headers.find((field) => field.toLowerCase().startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim();
}

function tokensOf(answer: WireAnswer, name: string): string[] {
  return (fieldOf(answer, name) ?? '').toLowerCase().split(/\s*,\s*/);
}

/** A replay sets headers, then calls `end` once, with bytes or nothing: what is wrong with that. */
function unlikeAnAnswer(near: readonly string[], isLast: boolean): string {
  const calls = near.filter((line) => !line.startsWith(' ') && !EVENT.test(line));
  const last = calls.findIndex((line) => !/^(setHeader|setHeaders|appendHeader|removeHeader)\(/.test(line));
  const end = calls[last] ?? 'no end';
  if (!/^end\((|(Buffer|Uint8Array)'.*)\) \[/s.test(end)) return end;
  // Middleware in front may call the real `end` later, and does what it has to do then.
  return isLast ? (calls[last + 1] ?? '') : '';
}

const DECODERS: Partial<Record<string, (bytes: Buffer) => Buffer>> = {
  gzip: gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
};

/** The body without its `Content-Encoding`. */
function decoded(answer: WireAnswer): string {
  const decode = DECODERS[fieldOf(answer, 'content-encoding') ?? ''];
  if (decode === undefined || answer.body === '') return answer.body;
  try {
    return decode(Buffer.from(answer.body, 'latin1')).toString('latin1');
  } catch {
    return answer.body;
  }
}

/** Fields of this connection, of this moment, or ours. */
const PASSING_FIELDS = new Set([
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
  'trailer',
  'date',
  'set-cookie',
  'www-authenticate',
  'x-idempotency-replay',
  'x-original-timestamp',
  // A replay is one `end`: what middleware in front does in its own `write` and `end` is done there, or not.
  'x-in-end',
  'x-in-write',
  'x-munged',
  // What a handler replaced of it comes back: middleware in front says it anew.
  'vary',
]);
/** Those that tell one encoding from another. */
const ENCODING_FIELDS = new Set(['content-encoding', 'etag', 'content-digest', 'repr-digest', 'content-md5']);
const OURS = /,? ?\b(X-Idempotency-Replay|X-Original-Timestamp|Idempotency-Stored)\b/gi;

function lasting({ headers }: WireAnswer, sameEncoding: boolean): string[] {
  const fields = headers.map((line) => {
    const at = line.indexOf(':');
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const;
  });
  const names = [...new Set(fields.map(([name]) => name))].toSorted();
  return names
    .filter((name) => !PASSING_FIELDS.has(name) && !/^(x-)?ratelimit|^proxy-/.test(name))
    .filter((name) => sameEncoding || !ENCODING_FIELDS.has(name))
    .flatMap((name) =>
      fields
        .filter((field) => field[0] === name)
        .map(
          ([, value]) => `${name}: ${name === 'access-control-expose-headers' ? value.replaceAll(OURS, '') : value}`,
        ),
    )
    .filter((line) => line !== 'access-control-expose-headers: ');
}

import { OF_THE_MOMENT } from './recorder.js';
import type { WireAnswer } from './world.js';

/** Reads the answers that came over a connection: as many as were asked for, without the one that ended it. */
export function parseAnswers(bytes: Buffer, most: number): WireAnswer[] {
  const text = bytes.toString('latin1');
  const answers: WireAnswer[] = [];
  let at = 0;
  let finals = 0;
  while (at < text.length && finals < most) {
    const { answer, next } = parseAnswer(text, at);
    answers.push(answer);
    at = next;
    if (!/^HTTP\/1\.1 1\d\d/.test(answer.statusLine)) finals++;
  }
  return answers;
}

function parseAnswer(text: string, from: number): { answer: WireAnswer; next: number } {
  const endOfHead = text.indexOf('\r\n\r\n', from);
  if (endOfHead < 0) {
    const answer = { statusLine: text.slice(from), headers: [], framing: 'none', body: '', trailers: [] } as const;
    return { answer: { ...answer, complete: false }, next: text.length };
  }
  const [statusLine = '', ...lines] = text.slice(from, endOfHead).split('\r\n');
  const start = endOfHead + 4;
  const status = Number(statusLine.split(' ')[1]);
  const headers = lines.filter((line) => !OF_THE_MOMENT.test(line.slice(0, line.indexOf(':'))));
  const field = (name: string) => lines.find((line) => line.toLowerCase().startsWith(`${name}:`));
  const head = { statusLine, headers };
  if (status < 200 || status === 204 || status === 304) {
    return { answer: { ...head, framing: 'none', body: '', trailers: [], complete: true }, next: start };
  }
  if (/chunked/i.test(field('transfer-encoding') ?? '')) return parseChunks(text, start, head);
  const length = field('content-length');
  if (length === undefined) {
    const body = text.slice(start);
    return { answer: { ...head, framing: 'close', body, trailers: [], complete: true }, next: text.length };
  }
  const size = Number(length.slice('content-length:'.length));
  const body = text.slice(start, start + size);
  const complete = body.length === size;
  return { answer: { ...head, framing: 'length', body, trailers: [], complete }, next: start + size };
}

/** A body in chunks. Where they are cut says nothing, so that only what they hold is kept. */
function parseChunks(
  text: string,
  from: number,
  head: Pick<WireAnswer, 'statusLine' | 'headers'>,
): { answer: WireAnswer; next: number } {
  let body = '';
  let at = from;
  for (;;) {
    const endOfSize = text.indexOf('\r\n', at);
    const size = endOfSize < 0 ? Number.NaN : Number.parseInt(text.slice(at, endOfSize), 16);
    const data = endOfSize + 2;
    if (Number.isNaN(size) || data + size > text.length) {
      if (!Number.isNaN(size)) body += text.slice(data);
      return {
        answer: { ...head, framing: 'chunked', body, trailers: [], complete: false },
        next: text.length,
      };
    }
    if (size === 0) {
      const end = text.startsWith('\r\n', data) ? data : text.indexOf('\r\n\r\n', data) + 2;
      const trailers = text.slice(data, end).split('\r\n').filter(Boolean);
      return { answer: { ...head, framing: 'chunked', body, trailers, complete: end >= data }, next: end + 2 };
    }
    body += text.slice(data, data + size);
    at = data + size + 2;
  }
}

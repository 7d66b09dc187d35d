// How the demo speaks to a person at a terminal: chapters, what is sent, what comes back, and a tick or a cross for
// every claim.
import { STATUS_CODES } from 'node:http';
import { styleText } from 'node:util';

// Also no for a file, a pipe, a dumb terminal, and where NO_COLOR is set.
const inColor = process.stdout.isTTY && process.stdout.hasColors();
const paint = (style, text) => (inColor ? styleText(style, text) : text);

/** Headers that tell what reprise did. */
const TELLING = ['X-Idempotency-Replay', 'X-Original-Timestamp'];

let chapters = 0;
const claims = { held: 0, broken: 0 };

/** Begins a chapter: a title, and what happens in it. */
export function chapter(title, what) {
  console.log(`\n${paint('bold', `${++chapters}. ${title}`)}\n   ${what}\n`);
}

/** What goes over the wire to the server. */
export function sent(request, body) {
  console.log(`   ${paint('cyan', '→')} ${request}`);
  if (body !== undefined) console.log(`     ${paint('dim', JSON.stringify(body))}`);
}

/** What came back. Of problem details (RFC 9457) only what names the problem. */
export function received({ status, headers, text }) {
  console.log(`   ${paint('cyan', '←')} ${status} ${STATUS_CODES[status]}`);
  for (const name of TELLING) if (headers.has(name)) console.log(`     ${name}: ${headers.get(name)}`);
  console.log(`     ${paint('dim', shortened(headers, text))}`);
}

function shortened(headers, text) {
  if (headers.get('Content-Type') !== 'application/problem+json') return text;
  const { code, title } = JSON.parse(text);
  return JSON.stringify({ code, title }).replace(/}$/, ', … }');
}

/** A line of what happened. */
export function line(text) {
  console.log(`     ${text}`);
}

/** Something that reprise promises, and whether it came true. */
export function claim(promise, held) {
  claims[held ? 'held' : 'broken']++;
  console.log(`   ${held ? paint('green', '✓') : paint('red', '✗')} ${promise}`);
}

/** The sum of all claims; gives the exit code. */
export function verdict() {
  const { held, broken } = claims;
  if (broken === 0) console.log(paint('green', `\nAll ${held} claims held.\n`));
  else console.log(paint('red', `\n${broken} of ${held + broken} claims did not hold.\n`));
  return broken === 0 ? 0 : 1;
}

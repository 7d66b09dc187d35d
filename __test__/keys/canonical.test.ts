import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createIdentifier } from '../../ts/idempotency/desk.js';
import { factsOf, type ServerRequest } from '../../ts/idempotency/facts.js';
import { jsonText } from '../../ts/idempotency/json.js';

const identify = createIdentifier(255);

/** The fingerprint of a request whose body `express.json()` parsed. */
function fingerprint(body: unknown): string {
  const headers = { 'content-type': 'application/json', 'content-length': '1' };
  const req = { method: 'POST', url: '/', headers, rawHeaders: [], httpVersionMajor: 1, readableEnded: true, body };
  const identified = identify(factsOf(req as unknown as ServerRequest, 'idempotency-key', {}, undefined));
  if (typeof identified === 'string') throw new Error(identified);
  return identified.fingerprint;
}

/** Whether two values that came out of `JSON.parse` are one: no member more, numbers as doubles, texts by code units. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.getOwnPropertyNames(a);
  return (
    names.length === Object.getOwnPropertyNames(b).length &&
    names.every((name) => Object.hasOwn(b, name) && isSame(member(a, name), member(b, name)))
  );
}

function member(of: object, name: string): unknown {
  return Object.getOwnPropertyDescriptor(of, name)?.value;
}

/** One value's spellings, so that two texts are often one value and often nearly one. */
const spelled = (...spellings: string[]) => fc.constantFrom(...spellings);
const backslash = (escapes: string) => escapes.replaceAll('!', '\\');
const names = spelled(
  '"a"',
  '"!u0061"',
  '"b"',
  '""',
  '"__proto__"',
  '"!ud800"',
  '"!uD801"',
  '"!udc00"',
  '"é"',
  '"toJSON"',
).map(backslash);
const space = fc.oneof(
  { weight: 5, arbitrary: fc.constant('') },
  { weight: 1, arbitrary: spelled(' ', '\n\t', '\r ') },
);

const jsonTexts = fc.letrec<{ text: string; bare: string; list: string; record: string }>((tie) => ({
  text: fc.tuple(space, tie('bare'), space).map((parts) => parts.join('')),
  bare: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    spelled('0', '-0', '0.0', '1', '1.0', '10e-1', '"1"', '2', '1e400', '2e999', '-1e400', '9007199254740993'),
    spelled('null', 'true', 'false', '"null"', '9007199254740992', '1e-7', '0.0000001'),
    names,
    spelled('"!ud83d!ude00"', '"😀"', '"!ude00!ud83d"', '"!!ud800"', '"!/"', '"/"', '"!u0000"', '"!n"', '"!u000A"').map(
      backslash,
    ),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => JSON.stringify(number)),
    tie('list'),
    tie('record'),
  ),
  list: fc.array(tie('text'), { maxLength: 3 }).map((items) => `[${items.join(',')}]`),
  record: fc
    .array(
      fc
        .tuple(space, names, space, tie('text'))
        .map(([before, name, after, value]) => `${before}${name}${after}:${value}`),
      { maxLength: 3 },
    )
    .map((members) => `{${members.join(',')}}`),
})).text;

/** The same value in other words: members the other way round, escapes, exponents, white space. */
function respelled(value: unknown): string {
  if (Array.isArray(value)) return `[ ${value.map(respelled).join(' , ')} ]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.getOwnPropertyNames(value).reverse();
    return `{ ${members.map((name) => `${respelled(name)} :\t${respelled(member(value, name))}`).join(' ,\n')} }`;
  }
  if (typeof value === 'string') {
    return `"${Array.from({ length: value.length }, (_, i) => `\\u${value.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`;
  }
  if (typeof value === 'number')
    return Number.isFinite(value) ? value.toExponential(20) : value > 0 ? '9e9999' : '-9e9999';
  return String(value);
}

describe('§2.4 JSON bodies have one fingerprint exactly when they parse to the same value', () => {
  it('§2.4 of any two texts', () => {
    let same = 0;
    fc.assert(
      fc.property(jsonTexts, jsonTexts, (a, b) => {
        const [left, right] = [JSON.parse(a) as unknown, JSON.parse(b) as unknown];
        const expected = isSame(left, right);
        if (expected) same++;
        return (fingerprint(left) === fingerprint(right)) === expected;
      }),
      { numRuns: 5_000 },
    );
    // Otherwise this would show no more than that different texts differ.
    expect(same).toBeGreaterThan(50);
  });

  it('§2.4 of a text and the same value in other words', () => {
    fc.assert(
      fc.property(jsonTexts, (text) => {
        const value = JSON.parse(text) as unknown;
        const again = JSON.parse(respelled(value)) as unknown;
        expect(isSame(value, again)).toBe(true);
        expect(fingerprint(again)).toBe(fingerprint(value));
      }),
      { numRuns: 2_000 },
    );
  });

  it('§2.4 of two values that differ in one place', () => {
    fc.assert(
      fc.property(jsonTexts, fc.nat(), (text, at) => {
        const characters = [...text.matchAll(/[0-9a-zA-Zé]/g)];
        fc.pre(characters.length > 0);
        const index = characters[at % characters.length]?.index ?? 0;
        for (const other of ['0', '1', 'a', 'b']) {
          const changed = text.slice(0, index) + other + text.slice(index + 1);
          let right;
          try {
            right = JSON.parse(changed) as unknown;
          } catch {
            continue;
          }
          const left = JSON.parse(text) as unknown;
          expect(fingerprint(left) === fingerprint(right)).toBe(isSame(left, right));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('§2.4 any JSON value of any strings and doubles, too', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        expect(fingerprint(a) === fingerprint(b)).toBe(isSame(a, b));
        expect(fingerprint(JSON.parse(JSON.stringify(a)))).toBe(fingerprint(a));
      }),
    );
  });
});

describe('§2.4 the text that the canonical form is made from', () => {
  it('§2.4 says the same however deep the value is', () => {
    const levels = 200_000;
    const lists = JSON.parse('['.repeat(levels) + 'null,1e400' + ']'.repeat(levels)) as unknown;
    expect(jsonText(lists)).toBe('['.repeat(levels) + 'null,1e999' + ']'.repeat(levels));
    const records = JSON.parse('{"a":'.repeat(levels) + '{"b":1,"c":[]}' + '}'.repeat(levels)) as unknown;
    expect(jsonText(records)).toBe('{"a":'.repeat(levels) + '{"b":1,"c":[]}' + '}'.repeat(levels));
  });

  it('§2.4 is that of JSON.stringify for what is neither deep nor beyond the doubles', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(jsonText(value)).toBe(JSON.stringify(value));
        // The slow way, which an infinity asks for, writes the rest in the same words.
        expect(jsonText([value, Infinity])).toBe(`[${JSON.stringify(value)},1e999]`);
      }),
    );
  });

  it('§2.4 takes what parsers make beside JSON as JSON.stringify does', () => {
    for (const value of [{ at: new Date(0) }, { a: undefined, b: null }, [undefined], 'null']) {
      expect(jsonText(value)).toBe(JSON.stringify(value));
      expect(jsonText([value, -Infinity])).toBe(`[${JSON.stringify([value]).slice(1, -1)},-1e999]`);
    }
  });
});

import { describe, expect, it } from 'vitest';
import { expresses, open } from '../helpers/server.js';
import { refusal, shop } from '../helpers/shop.js';

describe.each(expresses)('§2.1 the key, $name', ({ express }) => {
  it.each([
    ['quoted and bare', ['"abc"', 'abc']],
    ['with white space around it', ['  abc \t', 'abc', ' "abc" ']],
    ['with escapes in its quotes', [String.raw`"a\"b\\c"`, String.raw`a"b\c`]],
    ['a UUID', ['8e03978e-40d5-43e8-bc93-6894a57f9324', '"8e03978e-40d5-43e8-bc93-6894a57f9324"']],
    ['a number', ['12345', '"12345"']],
    ['every visible character', [visible(), `"${visible().replace(/["\\]/g, String.raw`\$&`)}"`]],
    ['255 characters', ['k'.repeat(255), `"${'k'.repeat(255)}"`]],
  ])('§2.1 one key: %s', async (_what, spellings) => {
    const orders = await shop({}, { express });
    for (const key of spellings) expect((await orders.send({ key })).status).toBe(201);
    expect(orders.runs).toBe(1);
  });

  it('§2.1 other letters, case included, are another key', async () => {
    const orders = await shop({}, { express });
    const keys = ['abc', 'ABC', 'abcd', "'abc'", 'a,bc', ',', 'a;b=c'];
    for (const key of keys) expect((await orders.send({ key })).isReplay).toBe(false);
    expect(orders.runs).toBe(keys.length);
  });

  it.each([
    ['empty', ''],
    ['white space only', ' \t '],
    ['empty quotes', '""'],
    ['256 characters', 'k'.repeat(256)],
    ['256 characters in quotes', `"${'k'.repeat(256)}"`],
    ['8,000 characters', 'k'.repeat(8000)],
    ['a space inside', 'a b'],
    ['a space inside of quotes', '"a b"'],
    ['a tab inside', 'a\tb'],
    ['a letter beyond ASCII', 'schön'],
    ['half of a pair of quotes', '"abc'],
    ['a quote alone', '"'],
    ['a quoted string and more', '"abc";q=1'],
    ['an escape that is none', String.raw`"a\bc"`],
    ['an escaped end', String.raw`"abc\"`],
  ])('§2.1 400 for %s, and the handler does not run', async (_what, key) => {
    const orders = await shop({}, { express });
    expect(refusal(await orders.send({ key }))).toBe('400 invalid-key');
    expect(orders.runs).toBe(0);
  });

  it('§2.1 400 for bytes beyond ASCII, as they come over the wire', async () => {
    const orders = await shop({}, { express });
    const connection = await open(orders);
    connection.write('POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIdempotency-Key: \xf0\x9f\x94\x91\r\n\r\n');
    expect(await connection.ended()).toMatch(/^HTTP\/1.1 400 .*"code":"invalid-key"/s);
    expect(orders.runs).toBe(0);
  });

  it.each([
    ['different', ['a', 'b']],
    ['the same', ['a', 'a']],
    ['quoted', ['"a"', '"b"']],
    ['together one string', ['"a', 'b"']],
    ['the second empty', ['a', '']],
    ['the first empty', ['', 'a']],
    ['both empty', ['', '']],
    ['together short of the limit', ['a'.repeat(100), 'b'.repeat(100)]],
    ['together at the limit', ['a'.repeat(126), 'b'.repeat(127)]],
    ['each at the limit', ['a'.repeat(255), 'b'.repeat(255)]],
    ['one at the limit, the other empty', ['a'.repeat(254), '']],
  ])('§2.1 400 for two header lines, %s', async (_what, lines) => {
    const orders = await shop({}, { express });
    expect(refusal(await orders.send({ headers: { 'Idempotency-Key': lines } }))).toBe('400 invalid-key');
    expect(orders.runs).toBe(0);
  });

  it('§2.1 `headerName` names the header, in any case of letters; the usual one then says nothing', async () => {
    const orders = await shop({ headerName: 'X-Request-Token' }, { express });
    for (const name of ['x-request-token', 'X-REQUEST-TOKEN']) await orders.send({ headers: { [name]: 'a' } });
    expect(orders.runs).toBe(1);
    expect(refusal(await orders.send({ headers: { 'X-Request-Token': '' }, key: 'a' }))).toBe('400 invalid-key');
    expect(refusal(await orders.send({ headers: { 'X-Request-Token': ['a', ''] } }))).toBe('400 invalid-key');
  });

  it('§2.1 `maxKeyLength` counts the characters of the key, not those that quote it', async () => {
    const orders = await shop({ maxKeyLength: 4 }, { express });
    for (const key of ['abcd', '"abcd"', String.raw`"a\"\"d"`]) {
      expect((await orders.send({ key })).status).toBe(201);
    }
    expect(refusal(await orders.send({ key: 'abcde' }))).toBe('400 invalid-key');
  });

  it('§2.1 a refused key is not told back', async () => {
    const orders = await shop({}, { express });
    const answer = await orders.send({ key: 'secret secret' });
    expect(JSON.stringify(answer)).not.toContain('secret');
  });
});

/** The 94 characters from `!` to `~`, none of them first that would open a quoted string. */
function visible(): string {
  return Array.from({ length: 94 }, (_, i) => String.fromCharCode(0x21 + i)).join('');
}

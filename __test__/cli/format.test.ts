import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { count, duration, facts, row, size, type Column } from '../../ts/cli/format.js';
import { masked } from '../../ts/cli/mask.js';
import { Screen, type Output } from '../../ts/cli/screen.js';

describe('how things are said', () => {
  it.each([
    [0, '0 ms'],
    [-5, '0 ms'],
    [999, '999 ms'],
    [4_230, '4.2 s'],
    [61_000, '1 min 1 s'],
    [86_399_000, '23 h 59 min'],
    [60 * 86_400_000, '60 d 0 h'],
  ])('%d ms: %s', (ms, text) => {
    expect(duration(ms)).toBe(text);
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [5.5 * 1024 * 1024, '5.5 MiB'],
  ])('%d bytes: %s', (bytes, text) => {
    expect(size(bytes)).toBe(text);
  });

  it('counts as people do', () => {
    expect([count(1, 'record'), count(12_345, 'record')]).toEqual(['1 record', '12,345 records']);
  });

  it('stands values under each other', () => {
    expect(
      facts([
        ['state', 'completed'],
        ['fence', '1'],
        ['kept for', '1.0 s'],
      ]),
    ).toBe('state     completed\nfence     1\nkept for  1.0 s\n');
  });

  it.each([
    ['redis://app:secret@host:6379/0', 'redis://app:***@host:6379/0'],
    ['rediss://:secret@host', 'rediss://:***@host'],
    ['postgres://app:se@cret@host/db?password=secret&x=1', 'postgres://app:***@host/db?password=***&x=1'],
    ['redis://host:6379', 'redis://host:6379'],
    ['mail me@example.com', 'mail me@example.com'],
  ])('%s has no password left', (text, shown) => {
    expect(masked(text)).toBe(shown);
  });
});

describe('a row', () => {
  const columns: Column[] = [
    { title: 'STATE', width: 9, align: 'left' },
    { title: 'SIZE', width: 6, align: 'right' },
    { title: 'RECORD', width: 10, align: 'left' },
  ];

  it('is one line for a pipe, and where it fits', () => {
    expect(row(columns, ['completed', '1 B', '0123456789'], undefined)).toBe('completed     1 B  0123456789\n');
    expect(row(columns, ['free', '1 B', '0123456789'], 80)).toBe('free          1 B  0123456789\n');
  });

  it('has its last cell on a line of its own in a narrow terminal', () => {
    expect(row(columns, ['free', '1 B', '0123456789'], 20)).toBe('free          1 B\n  0123456789\n');
  });
});

describe('what is said of the way there', () => {
  const streams = (isTTY: boolean) => {
    const out = new PassThrough() as Output & PassThrough;
    const err = Object.assign(new PassThrough(), { isTTY });
    return { screen: new Screen(out, err), out, err };
  };
  /** All that was written; Node 26 reads a piece at a time. */
  const textOf = (stream: PassThrough) => {
    let text = '';
    for (let piece = stream.read() as unknown; piece !== null; piece = stream.read())
      text += (piece as Buffer).toString();
    return text;
  };
  const later = async (screen: Screen) => screen.during('Counting', new Promise((resolve) => setTimeout(resolve, 700)));

  it('is shown to people, and gone before the result', async () => {
    const { screen, out, err } = streams(true);
    await later(screen);
    await screen.write('done\n');
    const shown = textOf(err).split('\r\u001B[K');
    expect(shown.length).toBeGreaterThanOrEqual(3);
    expect([shown[0], shown.at(-1)]).toEqual(['', '']);
    for (const text of shown.slice(1, -1)) expect(text).toMatch(/^Counting \(\d+ s\)$/);
    expect(textOf(out)).toBe('done\n');
  });

  it('is not shown to a file or a pipe', async () => {
    const { screen, err } = streams(false);
    await later(screen);
    expect(textOf(err)).toBe('');
  });
});

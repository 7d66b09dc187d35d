import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const root = path.join(__dirname, '../..');

test('every code of an error or a warning has its page, and every page its code', () => {
  const sources = readdirSync(path.join(root, 'ts'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(path.join(root, 'ts', file), 'utf8'));
  const codes = new Set(sources.flatMap((text) => text.match(/\b(?:ERR|WRN)_REPRISE_[A-Z_]+[A-Z]\b/g) ?? []));
  const pages = readdirSync(path.join(root, 'docs/errors')).map((file) => path.basename(file, '.md'));
  expect(pages.sort()).toEqual([...codes].sort());
});

test('a page has its code for a title', () => {
  for (const file of readdirSync(path.join(root, 'docs/errors'))) {
    const text = readFileSync(path.join(root, 'docs/errors', file), 'utf8');
    expect(text.split('\n', 1)[0]).toBe(`# ${path.basename(file, '.md')}`);
  }
});

import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { read } from './markdown.js';

const root = path.join(__dirname, '../..');

describe('no link leads nowhere', () => {
  const below = ['docs', 'examples'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => path.join(folder, name)),
  );
  const files = [...readdirSync(root), ...below].filter((name) => name.endsWith('.md'));

  /** The anchor that GitHub gives a heading. */
  const anchor = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');

  it.each(files)('%s', (file) => {
    const text = read(file);
    const links = [...text.matchAll(/\]\(([^)]+)\)/g), ...text.matchAll(/^\[[^\]]+\]: (\S+)$/gm)].map(
      ([, to = '']) => to,
    );
    for (const link of links.filter((link) => !/^[a-z]+:/.test(link))) {
      const [to = '', fragment] = link.split('#');
      const target = to === '' ? file : path.join(path.dirname(file), to);
      expect(existsSync(path.join(root, target)), link).toBe(true);
      if (fragment === undefined) continue;
      const headings = [...read(target).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchor(heading));
      expect(headings, link).toContain(fragment);
    }
  });
});

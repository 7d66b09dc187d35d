import { readFileSync } from 'node:fs';
import path from 'node:path';

/** A file of the checkout. */
export function read(file: string): string {
  return readFileSync(path.join(__dirname, '../..', file), 'utf8');
}

/** What stands under a heading of a Markdown file, up to the next one. */
export function section(file: string, heading: string): string {
  const [, text] = read(file).split(`\n${heading}\n`);
  if (text === undefined) throw new Error(`${file} has no "${heading}"`);
  return text.split(/\n#+ /, 1)[0] ?? '';
}

/** The code blocks of a language in a Markdown file. */
export function codeBlocks(markdown: string, language: string): string[] {
  const blocks = markdown.matchAll(/^```(\w+)\n(.*?)^```/gms);
  return [...blocks].filter(([, found]) => found === language).map(([, , code = '']) => code);
}

/** The rows of the tables in a piece of Markdown, cell by cell, code marks taken off; without the heads. */
export function tableRows(markdown: string): string[][] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split(/(?<!\\)\|/).slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim().replaceAll('`', '')))
    .filter((_, i, rows) => !isRule(rows[i + 1]) && !isRule(rows[i]));
}

function isRule(cells: readonly string[] | undefined): boolean {
  return cells?.every((cell) => /^-+$/.test(cell)) ?? false;
}

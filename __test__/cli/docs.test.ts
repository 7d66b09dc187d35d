import { expect, it } from 'vitest';
import { COMMANDS } from '../../ts/cli/commands.js';
import { codeBlocks, read, tableRows, section } from '../docs/markdown.js';
import { reprise } from './run.js';

it('docs/cli.md shows the help as it is', async () => {
  const [shown = ''] = codeBlocks(read('docs/cli.md'), 'console');
  const { out, code } = await reprise(['--help']);
  expect({ shown, code }).toEqual({ shown: `$ npx reprise --help\n${out}`, code: 0 });
});

it.each(Object.entries(COMMANDS))('%s says what it is for, and each of its options', async (name, { options }) => {
  const { out, code } = await reprise([name, '--help']);
  expect(code).toBe(0);
  expect(out).toContain(`Usage: reprise ${name}`);
  for (const option of Object.keys(options)) expect(out).toMatch(new RegExp(`^ {2}--${option}\\b`, 'm'));
  // Fits a terminal of 100 columns.
  for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
});

it('docs/cli.md knows every verdict', () => {
  const verdicts = tableRows(section('docs/cli.md', '## resolve')).map(([verdict]) => verdict);
  expect(verdicts.sort()).toEqual(['completed', 'free', 'not-replayable']);
});

it('without a command, it shows the help and ends with 2', async () => {
  expect(await reprise([])).toEqual({ code: 2, out: (await reprise(['help'])).out, err: '' });
});

#!/usr/bin/env node
import { parseArgs } from 'node:util';
import type { RepriseError } from '../errors.js';
import { invalidArgument } from '../options.js';
import { COMMANDS, EXIT, recordKeyOf, type Command, type Exit } from './commands.js';
import { COMMON_OPTIONS, helpOf } from './help.js';
import { masked } from './mask.js';
import { openStore } from './open.js';
import { Screen } from './screen.js';

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed);
});

const screen = new Screen(process.stdout, process.stderr);
const args = process.argv.slice(2);

main(args).then(
  (exit) => {
    process.exitCode = exit;
  },
  (error: unknown) => {
    screen.clear();
    process.stderr.write(said(error, args.includes('--json')));
    process.exitCode = isOfUsage(error) ? EXIT.usage : EXIT.failed;
  },
);

async function main([name, ...rest]: readonly string[]): Promise<Exit> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    await screen.write(helpOf(rest[0]));
    return name === undefined ? EXIT.usage : EXIT.done;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    throw invalidArgument(TypeError, 'reprise', 'command', name, Object.keys(COMMANDS).join(', '));
  }
  const { values, positionals } = parse(command, rest);
  if (values['help'] === true) {
    await screen.write(helpOf(name));
    return EXIT.done;
  }
  return runOn(command, positionals, (option) => {
    const value = values[option];
    return typeof value === 'boolean' ? String(value) : value;
  });
}

async function runOn(
  command: Command,
  positionals: readonly string[],
  option: (name: string) => string | undefined,
): Promise<Exit> {
  const [key] = positionals;
  if (positionals.length > (command.takesKey ? 1 : 0)) {
    throw invalidArgument(TypeError, 'reprise', 'arguments', [...positionals], command.takesKey ? 'one key' : 'none');
  }
  if (command.takesKey && key === undefined) throw invalidArgument(TypeError, 'reprise', 'key', key, 'a key');
  const recordKey = key === undefined ? '' : recordKeyOf(key, option);
  const where = option('store') ?? process.env['REPRISE_STORE'];
  if (where === undefined || where === '') {
    throw invalidArgument(TypeError, 'reprise', '--store', where, 'where the records are; $REPRISE_STORE does it, too');
  }
  const { writes } = command;
  const open = await screen.during(
    'Connecting',
    openStore({ where, folder: process.cwd(), prefix: option('prefix'), table: option('table'), writes }),
  );
  try {
    return await command.run({ open, screen, option, json: option('json') === 'true', recordKey });
  } finally {
    await open.close();
  }
}

function parse(command: Command, args: readonly string[]) {
  const known = { ...command.options, ...COMMON_OPTIONS };
  const options = Object.fromEntries(
    Object.entries(known).map(([name, { value }]) => [
      name,
      { type: value ? ('string' as const) : ('boolean' as const) },
    ]),
  );
  return parseArgs({ args: [...args], options, allowPositionals: true });
}

/** What was wrong, without secrets; one line of JSON for programs. */
function said(error: unknown, json: boolean): string {
  const { code = '', message } = error as Partial<RepriseError> & Error;
  const text = masked(message).replace(/^reprise: /, '');
  if (json) return `${JSON.stringify({ error: { code, message: text } })}\n`;
  return `reprise: ${text}${code.startsWith('ERR_REPRISE_') ? ` (${code})` : ''}\n`;
}

function isOfUsage(error: unknown): boolean {
  const { code = '' } = error as { code?: string };
  return code === 'ERR_REPRISE_INVALID_ARGUMENT' || code.startsWith('ERR_PARSE_ARGS_');
}

import { COMMANDS, type Option } from './commands.js';

/** Options of every command. */
export const COMMON_OPTIONS: Readonly<Record<string, Option>> = {
  store: { value: 'where', help: 'a file, or a redis:// or postgres:// URL; default $REPRISE_STORE' },
  prefix: { value: 'prefix', help: 'what the keys of a Redis begin with; default reprise:' },
  table: { value: 'table', help: 'the table in a PostgreSQL; default reprise_records' },
  json: { help: 'for programs: results as JSON, errors too' },
  help: { help: 'show this' },
};

const EXIT_CODES = `Exit codes
  0  done, found
  1  no: nothing is kept, nothing was changed, something is damaged
  2  the command was not understood; nothing was done
  3  the store could not be reached, or failed`;

/** The help of the whole, or of one command. */
export function helpOf(name: string | undefined): string {
  const command = name === undefined ? undefined : COMMANDS[name];
  if (name === undefined || command === undefined) {
    const names = Object.entries(COMMANDS).map(([each, { summary }]): [string, string] => [each, summary]);
    return `Looks into a store of idempotency records, and puts it right.

Usage: reprise <command> [options]

Commands
${lines(names)}
reprise <command> --help tells more.

${EXIT_CODES}
`;
  }
  const key = command.takesKey ? ' <key>' : '';
  return `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.

Usage: reprise ${name}${key} [options]

${command.details}

Options
${lines(Object.entries({ ...command.options, ...COMMON_OPTIONS }).map(([option, { value, help }]) => [`--${option}${value ? ` <${value}>` : ''}`, help]))}
${EXIT_CODES}
`;
}

function lines(pairs: readonly [string, string][]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, text]) => `  ${name.padEnd(width)}  ${text}\n`).join('');
}

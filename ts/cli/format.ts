// How things are said to people.

/** `12,345 records`, `1 record`. */
export function count(n: number, noun: string): string {
  return `${n.toLocaleString('en-US')} ${noun}${n === 1 ? '' : 's'}`;
}

/** Milliseconds in their two largest units: `23 h 59 min`, `4.2 s`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Bytes, in binary units. */
export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${'KMGT'.charAt(power - 1)}iB`;
}

/** Names and values, the values under each other. */
export function facts(pairs: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

/** One column of a table. */
export interface Column {
  readonly title: string;
  /** Characters; a longer cell pushes the rest of its line. */
  readonly width: number;
  readonly align: 'left' | 'right';
}

/**
 * One line of a table that is written while it is read, so that no row can be measured before. The last cell stands
 * alone on a second line, indented, where the terminal is too narrow for both; `width` is undefined for a pipe or a
 * file, where a row is a line.
 */
export function row(columns: readonly Column[], cells: readonly string[], width: number | undefined): string {
  const parts = cells.map((cell, i) => {
    const column = columns[i];
    if (column === undefined) return cell;
    return column.align === 'left' ? cell.padEnd(column.width) : cell.padStart(column.width);
  });
  const last = cells.at(-1) ?? '';
  const first = parts.slice(0, -1).join('  ');
  return width !== undefined && first.length + 2 + last.length > width
    ? `${first.trimEnd()}\n  ${last}\n`
    : `${first}  ${last}\n`;
}

/** The widest that a row may be. */
export function rowWidth(columns: readonly Column[]): number {
  return columns.reduce((sum, { width }) => sum + width + 2, -2);
}

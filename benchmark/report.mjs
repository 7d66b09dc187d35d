// Tables for the terminal and for docs/benchmarks.md, and the chart.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import prettier from 'prettier';
import { barChart } from './chart.mjs';
import { howItWasMeasured, notes } from './notes.mjs';

const docs = path.join(import.meta.dirname, '..', 'docs');

export function printScenario({ id, title, tables, verdicts }) {
  console.log(`\n(${id}) ${title}`);
  for (const table of tables) {
    const lines = [table.columns, ...table.rows];
    const widths = table.columns.map((_, at) => Math.max(...lines.map((cells) => cells[at].length)));
    console.log(`\n  ${table.title}`);
    for (const cells of lines) console.log(`    ${cells.map((cell, at) => cell.padEnd(widths[at])).join('  ')}`);
  }
  console.log('');
  for (const { target, measured, isMet } of verdicts) console.log(`  ${isMet ? '✓' : '✗'} ${target}: ${measured}`);
}

function markdownTable(columns, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(columns), line(columns.map((_, at) => (at === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

/** Writes the page from what was measured last of each scenario. */
export async function writePage(results, scenarios) {
  const records = scenarios
    .map(({ id }) => path.join(results, `${id}.json`))
    .filter((file) => existsSync(file))
    .map((file) => JSON.parse(readFileSync(file, 'utf8')));
  const verdicts = records.flatMap(({ id, verdicts }) =>
    verdicts.map(({ target, measured, isMet }) => [`(${id}) ${target}`, measured, isMet ? 'yes' : '**no**']),
  );
  const sections = records.map(({ id, title, machine, tables }) =>
    [
      `## (${id}) ${title}`,
      ...tables.map((table) => `${table.title}:\n\n${markdownTable(table.columns, table.rows)}`),
      notes[id] ?? '',
      `Measured ${machine.date} UTC; load average of the machine ${machine.load}.`,
    ].join('\n\n'),
  );
  const { machine } = records.reduce((a, b) => (a.machine.date > b.machine.date ? a : b));
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const page = [
    '# Benchmarks',
    howItWasMeasured,
    `Machine: ${machine.cpu}, ${machine.memory}, ${machine.system}; Node ${machine.node}; ${versions.join(', ')}.`,
    '## Targets',
    markdownTable(['target', 'measured', 'met'], verdicts),
    '![What each middleware adds to a request](benchmarks.svg)',
    ...sections,
  ].join('\n\n');
  const file = path.join(docs, 'benchmarks.md');
  const style = await prettier.resolveConfig(file);
  writeFileSync(file, await prettier.format(page, { ...style, filepath: file }));
  const bars = records.flatMap(({ bars }) => bars ?? []);
  if (bars.length > 0) {
    const caption = `${machine.date.slice(0, 10)}, Node ${machine.node}, Express ${machine.versions.express}, ${machine.cpu}`;
    writeFileSync(
      path.join(docs, 'benchmarks.svg'),
      barChart('Added to a request of 300 B by each middleware, µs (less than 0: faster than without)', bars, caption),
    );
  }
}

// npm run bench [scenario …]: measures, prints tables, and writes docs/benchmarks.md with its chart.
//   -- --quick  a first look: few rounds, nothing written
//   -- --no-load  without requests per second, which take most of the time on a busy machine
//   -- --page   writes the page anew from what was measured last
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { machine } from './machine.mjs';
import { printScenario, writePage } from './report.mjs';
import { scenarios } from './scenarios/index.mjs';

const results = path.join(import.meta.dirname, 'results');
const quick = process.argv.includes('--quick');
const onlyPage = process.argv.includes('--page');
const withLoad = !process.argv.includes('--no-load');
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const unknown = wanted.filter((id) => !scenarios.some((scenario) => scenario.id === id));
if (unknown.length > 0) {
  const known = scenarios.map(({ id, title }) => `  ${id}  ${title}`).join('\n');
  console.error(`There is no scenario ${unknown.join(', ')}. There are:\n${known}`);
  process.exit(1);
}

const progress = (text) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
};

mkdirSync(results, { recursive: true });
for (const scenario of onlyPage ? [] : scenarios) {
  if (wanted.length > 0 && !wanted.includes(scenario.id)) continue;
  const heading = `(${scenario.id}) ${scenario.title}`;
  const result = await scenario.run({
    rounds: quick ? 6 : 20,
    withLoad,
    progress: (step) => progress(`${heading}: ${step}`),
  });
  progress('');
  const record = { id: scenario.id, title: scenario.title, machine: machine(), ...result };
  printScenario(record);
  // A quick look is no measurement: it leaves the page alone.
  if (!quick) writeFileSync(path.join(results, `${scenario.id}.json`), `${JSON.stringify(record, null, 2)}\n`);
}
if (!quick) await writePage(results, scenarios);
process.exit(0);

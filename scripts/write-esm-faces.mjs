// Writes the ES-module face of every entry point in package.json's "exports": the same objects as its CommonJS
// implementation, by name. State, classes and `instanceof` so exist once, whoever loads the package and how.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { root } from './tools.mjs';

const require = createRequire(path.join(root, 'package.json'));
const entryPoints = Object.values(JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).exports);

for (const { import: esm, require: commonjs } of entryPoints.filter((entry) => typeof entry === 'object')) {
  const names = Object.keys(require(commonjs.default)).sort();
  writeFileSync(
    path.join(root, esm.default),
    `// auto-generated from the exports of ${commonjs.default} by \`npm run build:ts\`; do not edit\n` +
      `import implementation from '${commonjs.default}';\n\n` +
      `export const {\n${names.map((name) => `  ${name},\n`).join('')}} = implementation;\n`,
  );
}

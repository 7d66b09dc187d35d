import { dts } from 'rollup-plugin-dts';

// The public types of each entry point: its declarations with everything they reach, in one self-contained file for
// each module system.
const banner = '/* auto-generated from ts/ by `npm run build:ts`; do not edit */';

const entryPoints = [
  ['dist/index.d.ts', 'index'],
  ['dist/stores/postgres/index.d.ts', 'postgres'],
  ['dist/stores/redis/index.d.ts', 'redis'],
  ['dist/testing/index.d.ts', 'testing'],
];

export default entryPoints.map(([input, name]) => ({
  input,
  output: [
    { file: `${name}.d.ts`, banner },
    { file: `${name}.d.mts`, banner },
  ],
  external: [/^node:/],
  plugins: [dts()],
}));

import { dts } from 'rollup-plugin-dts';

// The public types: dist/index.d.ts with everything it reaches, in one self-contained file for each module system.
const banner = '/* auto-generated from ts/ by `npm run build:ts`; do not edit */';

export default {
  input: 'dist/index.d.ts',
  output: [
    { file: 'index.d.ts', banner },
    { file: 'index.d.mts', banner },
  ],
  external: [/^node:/],
  plugins: [dts()],
};

import type * as Binding from '../native/binding.js';
import { withCode } from './errors.js';

// The only module that touches the binary: a second path to it would load a second copy of its state.
export const native: typeof Binding = load();

function load(): typeof Binding {
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- an import could not be caught and explained
    const binding = require('../native/binding.js') as typeof Binding;
    return binding;
  } catch (cause) {
    throw withCode(
      new Error(`reprise: no native binary for ${process.platform}-${process.arch}`, { cause }),
      'ERR_REPRISE_NATIVE_UNAVAILABLE',
    );
  }
}

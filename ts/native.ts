import type * as Binding from '../native/binding.js';
import { withCode } from './errors.js';

/** Where a prebuilt binary exists: the folders of `npm/`, each the package `reprise-<platform>`. */
export const platforms: readonly string[] = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-x64-msvc',
];

/** The binary. Only this module touches it: a second path to it would load a second copy of its state. */
export const native: typeof Binding = load();

function load(): typeof Binding {
  /* eslint-disable @typescript-eslint/no-require-imports -- an import that fails could not be caught and explained */
  const { version } = require('../package.json') as { version: string };
  let failure: unknown;
  try {
    const binding = require('../native/binding.js') as typeof Binding;
    const found = binding.version();
    /* eslint-enable @typescript-eslint/no-require-imports */
    if (found === version) return binding;
    failure = new Error(`The binary that was found is of reprise ${found}, not ${version}`);
  } catch (error) {
    failure = error;
  }
  // Not given as the cause: what matters of it is in the message, and its own advice would contradict ours.
  throw withCode(new Error(explain(version, failure)), 'ERR_REPRISE_NATIVE_UNAVAILABLE');
}

function explain(version: string, failure: unknown): string {
  const { platform, described } = thisSystem();
  const remedies = platforms.includes(platform)
    ? [
        `npm install --no-save reprise-${platform}@${version}`,
        'If node_modules or package-lock.json came from another operating system, CPU or libc, or optional ' +
          'dependencies were left out (--omit=optional): delete both and install again on this system.',
        'In a checkout of the source: npm run build',
      ]
    : [
        `There is no prebuilt binary for ${platform}. There is one for: ${platforms.join(', ')}.`,
        'Build one from the source with Rust (CONTRIBUTING.md) and name the file in NAPI_RS_NATIVE_LIBRARY_PATH.',
      ];
  const list = (items: string[]) => items.map((item) => `\n  - ${item}`).join('');
  return (
    `reprise ${version} has no usable native binary on ${described}, Node ${process.version}.` +
    `\nTried:${list(attempts(failure))}\nWhat to do:${list(remedies)}`
  );
}

/** What the generated loader tried, oldest first: it chains one error to the next by `cause`. */
function attempts(failure: unknown): string[] {
  const messages: string[] = [];
  for (let error = failure; error instanceof Error; error = error.cause) {
    messages.unshift(error.message.split('\n', 1)[0] ?? '');
  }
  // Its headline tells people to delete their lockfile, and it looks for a WebAssembly build that does not exist.
  return messages.filter((message) => !/^Cannot find native binding|wasi/.test(message));
}

function thisSystem(): { platform: string; described: string } {
  const system = `${process.platform}-${process.arch}`;
  if (process.platform === 'win32') return { platform: `${system}-msvc`, described: system };
  if (process.platform !== 'linux') return { platform: system, described: system };
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined
    ? { platform: `${system}-musl`, described: `${system} (musl)` }
    : { platform: `${system}-gnu`, described: `${system} (glibc ${header.glibcVersionRuntime})` };
}

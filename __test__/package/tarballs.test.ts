import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, node, requireFromRoot, succeed } from './harness.js';
import { pack } from './tarballs.js';
import type { Tarballs } from './tarballs.js';

let tarballs: Tarballs;
beforeAll(async () => {
  tarballs = await pack();
});

const contents = (tarball: string) =>
  execFileSync('tar', ['-tzf', path.basename(tarball)], { cwd: path.dirname(tarball), encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((name) => name.replace('package/', ''));

describe('the package that everybody installs', () => {
  it('carries the wrapper, its types and the loader: no binary, no source, no test', () => {
    const names = contents(tarballs.root);
    expect(names.filter((name) => !name.startsWith('dist/')).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'index.d.mts',
      'index.d.ts',
      'index.js',
      'index.mjs',
      'native/binding.d.ts',
      'native/binding.js',
      'package.json',
      'postgres.d.mts',
      'postgres.d.ts',
      'postgres.js',
      'postgres.mjs',
      'redis.d.mts',
      'redis.d.ts',
      'redis.js',
      'redis.mjs',
      'testing.d.mts',
      'testing.d.ts',
      'testing.js',
      'testing.mjs',
    ]);
    expect(names.filter((name) => name.startsWith('dist/') && !name.endsWith('.js'))).toEqual([]);
  });

  it('is clean for publint', async () => {
    expect(await lint(tarballs.root)).toEqual([]);
  });

  it('has the right types for every way of importing it, for attw', async () => {
    const attw = path.join(
      path.dirname(requireFromRoot.resolve('@arethetypeswrong/cli/package.json')),
      'dist/index.js',
    );
    expect(await succeed(node([attw, tarballs.root]))).toContain('No problems found');
  });
});

describe('the package of this platform', () => {
  it('carries the binary and nothing that runs', () => {
    expect(contents(tarballs.platform).sort()).toEqual(['README.md', 'package.json', path.basename(addon.file)].sort());
  });

  it('is clean for publint', async () => {
    // Without its suggestions: napi writes this package.json, and a `type` would mean nothing to one binary.
    expect(await lint(tarballs.platform, 'warning')).toEqual([]);
  });
});

async function lint(tarball: string, level: 'suggestion' | 'warning' = 'suggestion'): Promise<(string | undefined)[]> {
  const bytes = await readFile(tarball);
  const { messages, pkg } = await publint({ strict: true, level, pack: { tarball: new Uint8Array(bytes).buffer } });
  return messages.map((message) => formatMessage(message, pkg));
}

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  createChaos,
  FileStore,
  idempotencyMiddleware,
  MemoryStore,
  RetryConfig,
  type FileStoreOptions,
} from '../../ts/index.js';
import { projectWith } from '../examples/programs.js';
import { node, root, succeed } from '../package/harness.js';
import { codeBlocks, section, tableRows } from './markdown.js';

describe('the options that are documented are those that there are', () => {
  /** An unknown name that is near no other makes every known one be named. */
  function known(make: (options: object) => unknown): string[] {
    try {
      make({ ['?'.repeat(40)]: 1 });
    } catch (error) {
      return (/known: (.*)$/.exec((error as Error).message)?.[1] ?? '').split(', ').sort();
    }
    throw new Error('an unknown option was taken');
  }

  it.each([
    ['README.md', '### `idempotencyMiddleware(options)`', idempotencyMiddleware],
    ['docs/idempotency.md', '## Options', idempotencyMiddleware],
    ['README.md', '### `initChaos(options)`', createChaos],
    ['docs/chaos.md', '## Options', createChaos],
    ['README.md', '### `RetryConfig`', (options: object) => new RetryConfig(options)],
    ['docs/retry.md', '## The delay', (options: object) => new RetryConfig(options)],
    ['docs/idempotency.md', '## Stores', (options: object) => new MemoryStore(options)],
    ['docs/stores.md', '## A file', (options: object) => new FileStore(options as FileStoreOptions)],
  ])('%s, %s', (file, heading, make) => {
    const documented = tableRows(section(file, heading)).map(([name]) => name);
    expect(documented.sort()).toEqual(known(make));
  });

  it.each([
    ['### `idempotencyMiddleware(options)`', 'docs/idempotency.md', '## Options'],
    ['### `initChaos(options)`', 'docs/chaos.md', '## Options'],
    ['### `RetryConfig`', 'docs/retry.md', '## The delay'],
  ])('the README says the same defaults under %s as %s', (heading, file, there) => {
    const defaults = (text: string) =>
      new Map(tableRows(text).map(([name, value]) => [name, value?.replaceAll('_', '')]));
    expect(defaults(section('README.md', heading))).toEqual(defaults(section(file, there)));
  });

  it('RetryConfig has the defaults that are documented', () => {
    const documented = tableRows(section('README.md', '### `RetryConfig`')).map(([name, value]) => [
      name,
      Number(value),
    ]);
    expect(new RetryConfig()).toMatchObject(Object.fromEntries(documented));
  });
});

it('the store over Redis in docs/idempotency.md compiles', { timeout: 60_000 }, async () => {
  const [source = ''] = codeBlocks(section('docs/idempotency.md', '### A store of your own'), 'ts');
  const project = await projectWith('reprise', 'ioredis', '@types/node');
  await writeFile(path.join(project, 'store.mts'), source);
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'];
  await succeed(
    node([path.join(root, 'node_modules/typescript/bin/tsc'), ...options, '--skipLibCheck', 'store.mts'], {
      cwd: project,
    }),
  );
});

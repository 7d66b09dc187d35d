import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { codeBlocks, read } from '../docs/markdown.js';
import { node, succeed } from '../package/harness.js';
import { projectWith } from './programs.js';

it('the tests of docs/testing.md pass as they stand', { timeout: 60_000 }, async () => {
  const project = await projectWith('reprise', 'express', 'node-mocks-http');
  const files: string[] = [];
  for (const block of codeBlocks(read('docs/testing.md'), 'js')) {
    const [, name = ''] = /^\/\/ (\S+)\n/.exec(block) ?? [];
    await writeFile(path.join(project, name), block);
    // supertest is no package of this checkout.
    if (name.endsWith('.test.mjs') && !block.includes("from 'supertest'")) files.push(name);
  }
  expect(files).toHaveLength(3);
  await succeed(node(['--test', ...files], { cwd: project }));
});

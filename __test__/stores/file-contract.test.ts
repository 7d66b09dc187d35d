import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as framework from 'vitest';
import { afterAll } from 'vitest';
import { FileStore } from '../../ts/index.js';
import { storeContract } from '../../ts/testing/index.js';

const folder = mkdtempSync(path.join(tmpdir(), 'reprise-file-'));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

for (const durability of ['os', 'fsync'] as const) {
  storeContract((namespace) => new FileStore({ path: path.join(folder, `${namespace}-${durability}`), durability }), {
    title: `FileStore, durability: '${durability}'`,
    framework,
  });
}

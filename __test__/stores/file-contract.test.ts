import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { FileStore } from '../../ts/index.js';
import { storeContract } from '../../ts/testing/index.js';
import { waitingTogether } from './waiting-together.js';

const folder = mkdtempSync(path.join(tmpdir(), 'reprise-file-'));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

for (const durability of ['os', 'fsync'] as const) {
  const at = (namespace: string) => path.join(folder, `${namespace}-${durability}`);
  storeContract((namespace) => new FileStore({ path: at(namespace), durability }), {
    title: `FileStore, durability: '${durability}'`,
    makeSmallStore: (namespace) => new FileStore({ path: `${at(namespace)}-small`, durability, maxEntries: 20 }),
    framework: waitingTogether,
  });
}

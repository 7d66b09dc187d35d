import * as framework from 'vitest';
import { MemoryStore } from '../../ts/index.js';
import { storeContract } from '../../ts/testing/index.js';

storeContract((name) => new MemoryStore({ name }), {
  title: 'MemoryStore',
  framework,
  makeSmallStore: (name) => new MemoryStore({ name: `${name}-small`, maxEntries: 8 }),
  // Stores of one name have one clock.
  passTime: ([store], ms) => {
    if (store instanceof MemoryStore) store.advanceClock(ms);
  },
});

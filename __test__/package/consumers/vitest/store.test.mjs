import { MemoryStore } from 'reprise';
import { storeContract } from 'reprise/testing';
import * as framework from 'vitest';

storeContract((name) => new MemoryStore({ name }), {
  framework,
  passTime: ([store], ms) => store.advanceClock(ms),
});

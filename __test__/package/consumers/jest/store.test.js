const { MemoryStore } = require('reprise');
const { storeContract } = require('reprise/testing');

// Jest's own describe and it are global.
storeContract((name) => new MemoryStore({ name }), { passTime: ([store], ms) => store.advanceClock(ms) });

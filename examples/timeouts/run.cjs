'use strict';

// node examples/timeouts/run.cjs
//
// Three searches, of which four in five requests are held for 5 to 10 seconds, while the client waits for 3. The same as
// CHAOS_LATENCY_RATE=0.8 CHAOS_LATENCY_RANGE=5000-10000; those variables change it.
const { once } = require('node:events');
const { chaosMiddleware, initChaos } = require('reprise');
const { search } = require('./search.cjs');
const { createApp } = require('./server.cjs');

async function main() {
  const chaos = initChaos({ latencyProbability: 0.8, latencyRange: [5_000, 10_000], seed: 42 });
  const run = (query) => Promise.resolve({ query, hits: 3 });
  const server = createApp({ chaos: chaosMiddleware(), run }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}/search`;
  for (const query of ['otters', 'seals', 'walruses']) {
    console.log(`Searching for ${query}`);
    const tell = (message) => console.log(`  ${message}`);
    try {
      const { hits } = await search(url, { query, key: `search-for-${query}` }, tell);
      tell(`${hits} hits`);
    } catch (error) {
      tell(error.message);
    }
  }
  chaos.close();
  server.close();
}

void main();

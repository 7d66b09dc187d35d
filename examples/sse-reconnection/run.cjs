'use strict';

// node examples/sse-reconnection/run.cjs [seed]
//
// Reads a stream that breaks off in the middle of events, in the middle of characters, and falls silent, and checks
// that every event was seen once. With CHAOS_ENABLED=true the environment says what happens instead.
const { once } = require('node:events');
const { createChaos, initChaos } = require('reprise');
const { events } = require('./events.cjs');
const { createApp } = require('./server.cjs');

const [seed = '42'] = process.argv.slice(2);
const STEPS = 20;

const breaking = {
  seed,
  rules: [
    { name: 'in the middle of an event', fault: { kind: 'sse-cut' }, probability: 0.5 },
    { name: 'in the middle of a character', fault: { kind: 'sse-cut', where: 'mid-character' }, probability: 0.3 },
    { name: 'silence', fault: { kind: 'sse-stall' }, probability: 0.2 },
  ],
};

async function main() {
  const chaos = process.env.CHAOS_ENABLED === 'true' ? initChaos() : createChaos(breaking);
  const server = createApp({ chaos: chaos.middleware(), steps: STEPS }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}/search/otters/progress`;

  const ids = [];
  const onBroken = (why) => console.log(`   broken: ${why}; connecting again after event ${ids.at(-1) ?? 'none'}`);
  for await (const { id, data } of events(url, { idleMs: 500, onBroken })) {
    console.log(`${id.padStart(2)} ${data}`);
    ids.push(Number(id));
  }
  chaos.close();
  server.close();
  const isEachOnce = ids.length === STEPS && ids.every((id, n) => id === n + 1);
  console.log(
    isEachOnce ? `All ${STEPS} events came, each once, in their order.` : `Lost or doubled: ${ids.join(' ')}`,
  );
  process.exitCode = isEachOnce ? 0 : 1;
}

void main();

// A small payment API that is safe to retry. `npm start` keeps it running and prints what to try;
// `npm run demo` tells a story over it (demo.mjs).
import { once } from 'node:events';
import { realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { chaosMiddleware, getChaosMetrics, idempotencyMiddleware, initChaos } from 'reprise';

/**
 * Starts the API on this machine only: on `port`, or on a free one. `bank` is what takes a moment in every payment,
 * `log` is told of each. Gives its `url`, its `ledger`, what runs and waits in its guard, and `close()`.
 */
export async function start({ port = 0, bank = () => sleep(200), log = () => {} } = {}) {
  // Every charge that was made. An order that is here twice was charged twice.
  const ledger = [];
  const app = express();

  // First the body: what a key stands for is told by it. (JSON for programs, forms for short curl lines.)
  app.use(express.json(), express.urlencoded());

  // Before chaos, so that looking at it always works.
  app.get('/ledger', (req, res) => res.json(ledger));
  app.get('/chaos', (req, res) => res.json(getChaosMetrics()));
  app.put('/chaos/:seed', (req, res) => {
    // Half of all requests fail and a third is late, which ones is in the seed.
    const { armed, seed } = initChaos({
      failureProbability: 0.5,
      latencyProbability: 0.33,
      latencyRange: [20, 80],
      seed: req.params.seed,
    });
    res.json({ armed, seed });
  });
  app.delete('/chaos', (req, res) => {
    initChaos({ enabled: false });
    res.sendStatus(204);
  });

  // Then chaos, as a bad network would come first: what it refuses has not arrived, and takes no key.
  app.use(chaosMiddleware());

  // Then the guard. While the first request of a key runs, its duplicates wait for its answer ("reject", the default,
  // would send them away with a 409).
  const guard = idempotencyMiddleware({ onConcurrent: 'wait' });
  app.use(guard);

  // The handler knows nothing of keys, retries or duplicates.
  app.post('/payments', async (req, res) => {
    const { order, amount } = req.body ?? {};
    if (typeof order !== 'string' || !(Number(amount) > 0)) {
      res.status(400).json({ error: 'A payment needs an order and an amount in cents.' });
      return;
    }
    const charge = {
      payment: `P-${ledger.length + 1}`,
      order,
      amount: Number(amount),
      chargedAt: new Date().toISOString(),
    };
    ledger.push(charge);
    log(`the handler runs: order ${order} is charged, payment ${charge.payment}`);
    // The money has moved, the receipt takes a moment. This is when clients hang up, and send again.
    await bank();
    res.status(201).json(charge);
  });

  const server = app.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    ledger,
    metrics: () => guard.metrics(),
    async close() {
      const closed = once(server.close(), 'close');
      server.closeAllConnections();
      await closed;
      guard.close();
      initChaos({ enabled: false });
    },
  };
}

/** What to type in another terminal. Only double quotes, so that cmd.exe takes it too. */
function thingsToTry(url) {
  const pay = (order, amount = 20) =>
    `${url}/payments -H "Idempotency-Key: ${order}" -d "order=${order}&amount=${amount}"`;
  const withoutKey = `curl -i ${url}/payments -d "order=A-3&amount=20"`;
  return [
    ['Pay. 201: the order is charged.', `curl -i ${pay('A-1')}`],
    [
      'The same again. The same answer, with X-Idempotency-Replay: true. The handler does not run.',
      `curl -i ${pay('A-1')}`,
    ],
    ['Another amount under that key. 422: a key stands for one request.', `curl -i ${pay('A-1', 5)}`],
    [
      'Fifty at once under one key. The handler runs once; fifty times the same payment.',
      `curl -sZ -w "\\n" "${url}/payments#[1-50]" -H "Idempotency-Key: A-2" -d "order=A-2&amount=20"`,
    ],
    [
      'Twice without a key. One charge: the key is made of the request, and kept for five minutes.',
      withoutKey,
      withoutKey,
    ],
    ['Chaos on, by seed 42: half of all requests fail.', `curl -X PUT ${url}/chaos/42`],
    ['curl retries with one key until it succeeds. By that seed, the third try does.', `curl --retry 9 ${pay('B-3')}`],
    ['What chaos did, and chaos off.', `curl ${url}/chaos`, `curl -X DELETE ${url}/chaos`],
    ['The ledger: every order was charged once.', `curl ${url}/ledger`],
  ];
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === import.meta.filename) {
  const server = await start({ port: Number(process.env.PORT ?? 0), log: (text) => console.log(`  > ${text}`) });
  console.log(`A payment API (Express 5 with reprise) runs at ${server.url}. Ctrl+C stops it.`);
  console.log('Try these in another terminal, one after the other:\n');
  for (const [index, [what, ...commands]] of thingsToTry(server.url).entries()) {
    console.log(`${index + 1}. ${what}\n`);
    for (const command of commands) console.log(`   ${command}`);
    console.log('');
  }
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close());
}

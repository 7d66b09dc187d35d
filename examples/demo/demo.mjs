// The story of reprise, over real HTTP: `npm run demo`, or `npm run demo -- 7` for the chaos of another seed.
// Every ✓ was checked. The exit code is 0 only if all of them held.
import { setTimeout as sleep } from 'node:timers/promises';
import { retryWithCheckpoint } from 'reprise';
import { chapter, claim, line, received, sent, verdict } from './report.mjs';
import { start } from './server.mjs';

const [seed = '42'] = process.argv.slice(2);

// The story does not depend on what the shell has set: in production there would be no chaos.
for (const name of Object.keys(process.env)) if (/^(CHAOS_.*|NODE_ENV)$/.test(name)) delete process.env[name];

let bank = () => sleep(50);
const server = await start({ bank: () => bank() });
console.log('A payment API: Express 5 with reprise, examples/demo/server.mjs.');
console.log(`What follows goes to ${server.url}. Every ✓ was checked.`);

/** Pays, as any client would. All requests with one key are one payment. */
async function pay(key, order, amount, signal) {
  const response = await fetch(`${server.url}/payments`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body: JSON.stringify({ order, amount }),
    signal,
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** The same, told step by step. */
async function payAloud(key, order, amount) {
  sent(`POST /payments   Idempotency-Key: ${key}`, { order, amount });
  const answer = await pay(key, order, amount);
  received(answer);
  return answer;
}

/** From now on the bank takes as long as the story needs: until what this gives is called. */
function holdTheBank() {
  let confirm;
  const confirmed = new Promise((resolve) => (confirm = resolve));
  bank = () => confirmed;
  return confirm;
}

/** Waits until something is so; not for ever, since the story goes on in any case. */
async function until(isSo) {
  for (let i = 0; i < 1000 && !isSo(); i++) await sleep(5);
}

const guarded = () => server.metrics().running + server.metrics().waiting;
const charges = (order) => server.ledger.filter((charge) => charge.order === order).length;
const isReplay = ({ headers }) => headers.get('X-Idempotency-Replay') === 'true';

/** All that must be the same in a replay: everything but what is of one transmission, and the two marks of a replay. */
const essence = ({ status, headers, text }) => {
  const own = ['date', 'connection', 'keep-alive', 'x-idempotency-replay', 'x-original-timestamp'];
  return JSON.stringify([status, [...headers].filter(([name]) => !own.includes(name)), text]);
};

// ------------------------------------------------------------------------------------------------------------------

chapter('A payment', 'A client pays. It gives the payment a key of its own.');
const first = await payAloud('key-1', 'A-1', 1999);
claim('The order is charged.', first.status === 201 && charges('A-1') === 1);

chapter('The same request again', 'The client is not sure that it got through, so it sends the same once more.');
const second = await payAloud('key-1', 'A-1', 1999);
claim('Same status, same headers, same bytes.', essence(second) === essence(first));
claim('It is marked as a replay.', isReplay(second) && !isReplay(first));
claim('The handler did not run: still one charge.', charges('A-1') === 1);

chapter('Fifty duplicates at once', 'A client sends the same fifty times, without waiting for an answer.');
sent('50 × POST /payments   Idempotency-Key: key-2', { order: 'A-2', amount: 4900 });
const confirmAll = holdTheBank();
const clients = Array.from({ length: 50 }, () => pay('key-2', 'A-2', 4900));
await until(() => guarded() === 50);
line(`${server.metrics().running} runs, ${server.metrics().waiting} wait for its answer`);
confirmAll();
const fifty = await Promise.all(clients);
received(fifty.find((answer) => !isReplay(answer)) ?? fifty[0]);
line(`… and ${fifty.filter(isReplay).length} × the same with X-Idempotency-Replay: true`);
claim('The handler ran once: one charge.', charges('A-2') === 1);
claim(
  'One is the original and 49 are replays of it, byte for byte.',
  fifty.filter(isReplay).length === 49 && new Set(fifty.map(essence)).size === 1,
);

chapter('Another body under the same key', 'A bug in the client: a new payment under the key of the first one.');
const other = await payAloud('key-1', 'A-1', 5);
claim('It is refused with 422.', other.status === 422 && JSON.parse(other.text).code === 'key-reused');
claim('Nothing of the first answer is shown.', !other.text.includes(JSON.parse(first.text).payment));
claim('The handler did not run: still one charge.', charges('A-1') === 1);

chapter('The answer gets lost', 'The client hangs up when the money has moved, and has no answer yet.');
const hangUp = new AbortController();
const confirm = holdTheBank();
sent('POST /payments   Idempotency-Key: key-3', { order: 'A-3', amount: 2500 });
const unheard = pay('key-3', 'A-3', 2500, hangUp.signal).then(
  () => 'an answer',
  () => 'no answer',
);
await until(() => charges('A-3') === 1);
hangUp.abort();
line(`the client hangs up: ${charges('A-3')} charge, ${await unheard}`);
const trying = payAloud('key-3', 'A-3', 2500);
await until(() => guarded() === 2);
confirm();
const retried = await trying;
claim('The retry gets the answer that nobody heard.', retried.status === 201 && isReplay(retried));
claim('The handler did not run again: still one charge.', charges('A-3') === 1);

// ------------------------------------------------------------------------------------------------------------------

bank = () => sleep(50);
const customers = ['B-1', 'B-2', 'B-3', 'B-4', 'B-5', 'B-6', 'B-7', 'B-8'];

/** Eight clients pay at once, each retrying with one key until it succeeds. */
async function payThroughChaos() {
  await fetch(`${server.url}/chaos/${encodeURIComponent(seed)}`, { method: 'PUT' });
  const statuses = Object.fromEntries(customers.map((order) => [order, []]));
  const receipts = new Map();
  // The key of the payment is the name of the task: whoever takes the task up again, also after a crash, uses it again.
  const payUntilPaid = retryWithCheckpoint({
    config: { maxAttempts: 20, initialDelayMs: 20, maxDelayMs: 200 },
    checkpointSaver: (order, receipt) => receipts.set(order, receipt),
  })(async (order) => {
    const answer = await pay(order, order, 1000);
    statuses[order].push(answer.status);
    if (answer.status !== 201) throw new Error(`${order} was answered with ${answer.status}`);
    return answer;
  });
  await Promise.allSettled(customers.map((order) => payUntilPaid(order)));
  const metrics = await (await fetch(`${server.url}/chaos`)).json();
  await fetch(`${server.url}/chaos`, { method: 'DELETE' });
  return { statuses, receipts, metrics };
}

const failures = ({ statuses }) =>
  Object.values(statuses)
    .flat()
    .filter((status) => status !== 201).length;

chapter(
  'Chaos',
  `By seed ${seed}, half of the requests fail and a third is late. Eight clients pay, each with one key,\n   and retry until they succeed. What they were answered, try by try:`,
);
const chaos = await payThroughChaos();
for (const [order, statuses] of Object.entries(chaos.statuses)) line(`${order}   ${statuses.join(' → ')}`);
const { totalRequests, failuresInjected, latenciesInjected } = chaos.metrics;
line(`Of ${totalRequests} requests, chaos failed ${failuresInjected} and delayed ${latenciesInjected}.`);
claim('There was something to retry.', failuresInjected > 0);
claim('The clients saw exactly the failures that chaos counted.', failures(chaos) === failuresInjected);
claim('Every client got its receipt in the end.', chaos.receipts.size === customers.length);
claim(
  'Every order is charged once.',
  customers.every((order) => charges(order) === 1),
);

chapter('The same seed again', 'Chaos starts anew. The same eight clients pay again, with the same keys.');
const again = await payThroughChaos();
for (const [order, statuses] of Object.entries(again.statuses)) line(`${order}   ${statuses.join(' → ')}`);
claim(
  'The same clients meet the same failures.',
  JSON.stringify(again.statuses) === JSON.stringify(chaos.statuses) &&
    again.metrics.latenciesInjected === latenciesInjected,
);
claim(
  'Every receipt is a replay of the first one.',
  customers.every((order) => {
    const [before, now] = [chaos.receipts.get(order), again.receipts.get(order)];
    return before !== undefined && now !== undefined && isReplay(now) && now.text === before.text;
  }),
);
claim(
  'Nobody is charged again.',
  customers.every((order) => charges(order) === 1),
);

chapter('The ledger', 'What was charged, all in all.');
const orders = ['A-1', 'A-2', 'A-3', ...customers];
for (const order of orders) {
  const amounts = server.ledger.filter((charge) => charge.order === order).map(({ amount }) => amount);
  line(`${order}   ${amounts.map((amount) => (amount / 100).toFixed(2).padStart(6)).join(' + ')}`);
}
claim(
  `${orders.length} orders, ${server.ledger.length} charges: every order once.`,
  orders.every((order) => charges(order) === 1) && server.ledger.length === orders.length,
);

process.exitCode = verdict();
await server.close();

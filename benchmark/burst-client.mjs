// Clients that all send the same request at once, in a process of their own, so that none of their time is the server's.
// See scenarios/duplicates.mjs.
import { Client } from './client.mjs';

const [port, connections] = process.argv.slice(2).map(Number);
const clients = await Promise.all(Array.from({ length: connections }, () => Client.open(port)));

process.on('message', async (text) => {
  const since = performance.now();
  const answers = await Promise.all(clients.map((client) => client.send(text)));
  const millis = performance.now() - since;
  process.send({ millis, answers: answers.map(({ status, body }) => ({ status, body })) });
});
process.once('disconnect', () => process.exit());
process.send('ready');

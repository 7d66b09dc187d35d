// The other side of `load.mjs`, in a process of its own, so that the server's CPU time is the server's alone.
import { Client, postText } from './client.mjs';

process.once('message', async ({ port, connections, millis, body, keys }) => {
  const since = performance.now();
  const until = since + millis;
  let answered = 0;
  const one = async (_, connection) => {
    const client = await Client.open(port);
    while (performance.now() < until) {
      const key = keys === undefined ? `${process.pid}-${connection}-${answered}` : `load-${answered % keys}`;
      await client.send(postText('/orders', body, { 'Idempotency-Key': key }));
      answered++;
    }
    client.close();
  };
  await Promise.all(Array.from({ length: connections }, one));
  process.send({ answered, seconds: (performance.now() - since) / 1000 });
  process.disconnect();
});

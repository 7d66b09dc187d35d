import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { median } from './statistics.mjs';

const CONNECTIONS = 32;
const CLIENT = path.join(import.meta.dirname, 'load-client.mjs');

/** Requests per second under load and CPU microseconds per request, each server in turn, several times. */
export async function load(servers, { body, keys, onBlock, blocks = 5, millis = 500 }) {
  const runs = servers.map(() => []);
  for (let block = 0; block < blocks; block++) {
    for (const [at, { port }] of servers.entries()) {
      const client = fork(CLIENT);
      await once(client, 'spawn');
      const cpu = process.cpuUsage();
      client.send({ port, connections: CONNECTIONS, millis, body, keys });
      const [{ answered, seconds }] = await once(client, 'message');
      const { user, system } = process.cpuUsage(cpu);
      runs[at].push({ perSecond: answered / seconds, cpu: (user + system) / answered });
      await once(client, 'exit');
      onBlock(block * servers.length + at + 1, blocks * servers.length);
    }
  }
  return runs.map((run) => ({
    perSecond: median(run.map(({ perSecond }) => perSecond)),
    cpu: median(run.map(({ cpu }) => cpu)),
  }));
}

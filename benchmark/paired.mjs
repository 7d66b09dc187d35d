// Subjects measured against the bare server in interleaved blocks: A B C A B C …, in one process, one request in
// flight. What is quoted is the median of the differences between the blocks of one round, so that what disturbs the
// machine for seconds disturbs all of them alike.
import { createServer } from 'node:http';
import { Client } from './client.mjs';
import { lastMicros, timed } from './stopwatch.mjs';
import { median, summary } from './statistics.mjs';
import { application } from './subjects.mjs';

/** Rounds that are not counted: measured, added times fall by half over the first 1,500 requests of a server. */
export const WARM_UP_ROUNDS = 10;

/** A subject behind a listening server. */
export async function open(subject, handling) {
  const { app, state } = application(subject, handling);
  return listening(subject, app, state);
}

/** The same with an application of one's own, whose `state` counts the runs of its handler and may be stopped. */
export async function listening(subject, app, state) {
  const server = createServer(subject.serverOptions?.(app) ?? {}, timed(app));
  // A subject may have to wait for longer than that for its turn.
  server.keepAliveTimeout = 0;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const client = await Client.open(port);
  const close = () => {
    client.close();
    server.close();
    state.stop();
  };
  return { subject, port, client, state, close };
}

/**
 * @param groups lists of servers that `open` gave: each is compared with the first of its list, the bare one, and all take
 *   turns in the same rounds
 * @param requests how many make a block
 * @param warmUpRounds how many rounds are not counted
 * @param request `(round, i)` gives the text of a request; `seed(round)` those that are sent before a block, unmeasured
 * @param expected `{ body, executions(sent) }`, against which every answer and the handler's runs are checked
 */
export async function measure(groups, options) {
  const { rounds, requests = 150, warmUpRounds = WARM_UP_ROUNDS, request, seed = () => [] } = options;
  const { expectedBody, expectedRuns, onRound } = options;
  const series = groups.map((servers) => servers.map((server) => ({ server, blocks: [], wrongBodies: 0 })));
  const all = series.flat();
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (let turn = 0; turn < all.length; turn++) {
      // Another one begins each round.
      const one = all[(turn + Math.max(round, 0)) % all.length];
      const { client } = one.server;
      for (const text of seed(round)) await client.send(text);
      const samples = new Float64Array(requests);
      for (let i = 0; i < samples.length; i++) {
        const { body } = await client.send(request(round, i));
        samples[i] = lastMicros();
        if (body !== expectedBody) one.wrongBodies++;
      }
      if (round >= 0) one.blocks.push(median(samples));
    }
    onRound(round + warmUpRounds + 1, rounds + warmUpRounds);
  }
  const sent = (rounds + warmUpRounds) * requests;
  const seeded = (rounds + warmUpRounds) * seed(0).length;
  return series.flatMap((group) =>
    group.map(({ server: { subject, state }, blocks, wrongBodies }, at) => {
      const bare = group[0].blocks;
      const differences = blocks.map((micros, round) => micros - bare[round]);
      return {
        name: subject.name,
        time: summary(blocks),
        differences,
        added: summary(differences),
        share: summary(blocks.map((micros, round) => micros / bare[round])),
        wrongBodies,
        surplusRuns: state.executions - expectedRuns({ sent, seeded, isGuarded: at > 1 }),
      };
    }),
  );
}

'use strict';

// A kernel: a worker thread that counts the words of documents, some at a time. What it has counted is in its memory
// only, and is lost with it, until the server has it.
const { parentPort } = require('node:worker_threads');

/** One document, which takes its time. */
async function count(document) {
  await new Promise((resolve) => setTimeout(resolve, 5));
  return (document * 7_919) % 1_000;
}

parentPort.on('message', async ({ state, upTo, answer }) => {
  let { next, words } = state;
  for (; next < upTo; next++) {
    words += await count(next);
    answer.postMessage({ counted: next });
  }
  answer.postMessage({ state: { next, words } });
  answer.close();
});

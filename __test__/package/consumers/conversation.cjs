'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');

/**
 * Talks to an app of a consumer over a real socket: an order, and the same order again under the same key, which
 * must be answered from the record. `charges` tells how often the app really charged.
 */
exports.converse = async function converse(app, charges) {
  const [first, second] = await orders(app, 2);
  assert.equal(first.status, 201, first.body);
  assert.equal(first.replayed, undefined);
  assert.deepEqual(JSON.parse(first.body), { order: 'A-1', charge: 1 });
  assert.deepEqual(second, { ...first, replayed: 'true' });
  assert.equal(charges(), 1);
};

/** Sends an order to an app until it is taken, which must be at this attempt, and charged once. */
exports.insist = async function insist(app, charges, attempt) {
  const statuses = (await orders(app, attempt)).map(({ status }) => status);
  assert.equal(statuses.pop(), 201);
  assert.ok(
    statuses.every((status) => [429, 500, 503, 504].includes(status)),
    String(statuses),
  );
  assert.equal(charges(), 1);
};

/** The answers to one order that is sent so many times, one after the other. */
async function orders(app, count) {
  const server = http.createServer(app);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const answers = [];
    for (let n = 0; n < count; n++) answers.push(await order(server.address().port));
    return answers;
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

function order(port) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': 'order-A-1' };
  return new Promise((resolve, reject) => {
    // No agent: the connection ends with the answer, and nothing is left open.
    const request = http.request({ port, host: '127.0.0.1', method: 'POST', path: '/orders', headers, agent: false });
    request.on('error', reject);
    request.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => (body += text));
      response.on('error', reject).on('end', () => {
        resolve({ status: response.statusCode, replayed: response.headers['x-idempotency-replay'], body });
      });
    });
    request.end(JSON.stringify({ order: 'A-1' }));
  });
}

'use strict';

// A payment in three steps that is charged once, whatever fails in between: the client sends the request again with
// the same Idempotency-Key, and it goes on after the last step that was done.
const express = require('express');
const { idempotencyMiddleware, resumable } = require('reprise');

/** `store` keeps the records; `bank` and `mail` are the world outside. */
exports.createApp = function createApp({ store, bank, mail }) {
  const app = express();
  app.use(express.json());
  app.use(idempotencyMiddleware({ store, leaseMs: 1_000 }));
  app.post(
    '/payments',
    resumable(
      async (req, task) => {
        const charge = await task.step('charge', () => bank.charge(req.body.amount, task.derive('charge')));
        const receipt = await task.step('receipt', () => mail.send(charge));
        return { charge, receipt };
      },
      { maxAttempts: 1 },
    ),
  );
  return app;
};

'use strict';

// A search behind idempotency and chaos.
const express = require('express');
const { idempotencyMiddleware } = require('reprise');

/** `chaos` is a middleware; `run` searches. */
exports.createApp = function createApp({ chaos, run }) {
  const app = express();
  app.use(express.json());
  app.use(chaos);
  app.use(idempotencyMiddleware());
  app.post('/search', async (req, res) => {
    res.json(await run(req.body.query));
  });
  return app;
};

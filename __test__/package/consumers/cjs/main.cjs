'use strict';

const { chaosMiddleware, idempotencyMiddleware, retryKernelTask } = require('reprise');
const { converse } = require('../conversation.cjs');

async function main() {
  for (const version of ['express', 'express4']) {
    const express = require(version);
    let charges = 0;
    const charge = retryKernelTask(async (order) => ({ order, charge: ++charges }));

    const app = express();
    app.use(express.json());
    app.use(chaosMiddleware());
    app.use(idempotencyMiddleware());
    app.post('/orders', (req, res, next) => {
      charge(req.body.order).then((receipt) => res.status(201).json(receipt), next);
    });

    await converse(app, () => charges);
  }
}

// No process.exit: the process must end by itself.
main();

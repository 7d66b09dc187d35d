import express5 from 'express';
import express4 from 'express4';
import { chaosMiddleware, idempotencyMiddleware, retryKernelTask } from 'reprise';
import { converse } from '../conversation.cjs';

for (const express of [express5, express4]) {
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

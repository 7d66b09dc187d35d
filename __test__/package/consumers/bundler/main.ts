import express from 'express';
import { chaosMiddleware, idempotencyMiddleware, retryKernelTask } from 'reprise';
import { converse } from '../conversation.cjs';

let charges = 0;

class Till {
  // A decorator of the older kind here (experimentalDecorators), and a wrapper of a function below.
  @retryKernelTask
  async charge(order: string): Promise<{ order: string; charge: number }> {
    return { order, charge: ++charges };
  }
}

const till = new Till();
const charge = retryKernelTask((order: string) => till.charge(order));

const app = express();
app.use(express.json());
app.use(chaosMiddleware());
app.use(idempotencyMiddleware());
app.post('/orders', async (req, res) => {
  const { order } = req.body as { order: string };
  const receipt: { order: string; charge: number } = await charge(order);
  res.status(201).json(receipt);
});

void converse(app, () => charges);

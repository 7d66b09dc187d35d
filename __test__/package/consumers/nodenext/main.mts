import express from 'express';
import { chaosMiddleware, idempotencyMiddleware, retryKernelTask } from 'reprise';
import { converse } from '../conversation.cjs';

let charges = 0;

class Till {
  @retryKernelTask
  async charge(order: string): Promise<{ order: string; charge: number }> {
    return { order, charge: ++charges };
  }
}

const app = express();
app.use(express.json());
app.use(chaosMiddleware());
app.use(idempotencyMiddleware({ headerName: 'Idempotency-Key', ttl: 86_400, methods: ['POST', 'PUT', 'PATCH'] }));
app.post('/orders', async (req, res) => {
  const { order } = req.body as { order: string };
  const receipt = await new Till().charge(order);
  res.status(201).json({ order: receipt.order, charge: receipt.charge });
});

void converse(app, () => charges);

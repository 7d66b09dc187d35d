import assert from 'node:assert/strict';
import { test } from 'node:test';
import express from 'express';
import { idempotencyMiddleware } from 'reprise';
import { withChaos } from 'reprise/testing';
import { insist } from '../conversation.cjs';

test('an order that fails twice is taken at its third attempt', async () => {
  await withChaos({ fail: { attempts: [1, 2] } }, async (chaos) => {
    let charges = 0;
    const app = express();
    app.use(express.json(), chaos.middleware(), idempotencyMiddleware());
    app.post('/orders', (req, res) => {
      res.status(201).json({ order: req.body.order, charge: ++charges });
    });
    await insist(app, () => charges, 3);
    assert.equal(chaos.metrics().failuresInjected, 2);
  });
});

import express from 'express';
import { chaosMiddleware, getChaosMetrics, idempotencyMiddleware, initChaos, retryKernelTask } from 'reprise';
import { withChaos } from 'reprise/testing';
import { expect, test } from 'vitest';
import { converse, insist } from '../conversation.cjs';

function shop(chaos = chaosMiddleware()) {
  let charges = 0;
  const charge = retryKernelTask(async (order) => ({ order, charge: ++charges }));
  const app = express();
  app.use(express.json());
  app.use(chaos);
  app.use(idempotencyMiddleware());
  app.post('/orders', async (req, res) => {
    res.status(201).json(await charge(req.body.order));
  });
  return { app, charges: () => charges };
}

test('an order is charged once', async () => {
  const { app, charges } = shop();
  await converse(app, charges);
});

test('a second shop in the same process has its own records', async () => {
  const { app, charges } = shop();
  await converse(app, charges);
});

test('chaos that is armed and never strikes disturbs nothing', async () => {
  initChaos({ enabled: true, failureProbability: 0, latencyProbability: 0, kernelKillProbability: 0 });
  const { app, charges } = shop();
  await converse(app, charges);
  expect(getChaosMetrics()).toMatchObject({ totalRequests: 2, failuresInjected: 0, latenciesInjected: 0 });
});

test('an order that fails twice is taken at its third attempt', async () => {
  await withChaos({ fail: { attempts: [1, 2] } }, async (chaos) => {
    const { app, charges } = shop(chaos.middleware());
    await insist(app, charges, 3);
    expect(chaos.metrics()).toMatchObject({ totalRequests: 3, failuresInjected: 2 });
  });
});

test('a bad option is a TypeError or RangeError of this realm', () => {
  expect(() => idempotencyMiddleware({ ttl: -5 })).toThrow(RangeError);
  expect(() => idempotencyMiddleware({ methods: 'POST' })).toThrow(TypeError);
});

import { describe, expect, it } from 'vitest';
import {
  createChaos,
  FileStore,
  idempotencyMiddleware,
  MemoryStore,
  RetryBudget,
  RetryConfig,
  schedule,
  setTestMode,
} from '../../ts/index.js';
import { expresses } from '../helpers/server.js';
import { shop } from '../helpers/shop.js';

/** Options as configuration libraries make them: an object of a class, whose getters say what they are. */
function inherited(options: object): object {
  const getters = Object.fromEntries(
    Object.entries(options).map(([name, value]) => [name, { get: () => value as unknown }]),
  );
  return Object.create(Object.create({ describe: () => 'not an option' }, getters) as object) as object;
}

describe('inherited options', () => {
  it.each<[string, (options: object) => unknown, object]>([
    ['idempotencyMiddleware', idempotencyMiddleware, { ttl: -1 }],
    ['MemoryStore', (options) => new MemoryStore(options), { maxBytes: -1 }],
    ['FileStore', (options) => new FileStore(options as never), { durability: 'perhaps' }],
    ['createChaos', createChaos, { failureProbability: 2 }],
    ['schedule', schedule, { maxAttempts: -1 }],
    ['RetryConfig', (options) => new RetryConfig(options), { maxAttempts: -1 }],
    ['RetryBudget', (options) => new RetryBudget(options), { retryRatio: -1 }],
    ['setTestMode', (options) => setTestMode(options), { maxAttempts: -1 }],
  ])('are checked like own ones: %s', (_owner, take, wrong) => {
    const [name = ''] = Object.keys(wrong);
    expect(() => take(wrong)).toThrow(`"${name}"`);
    expect(() => take(inherited(wrong))).toThrow(`"${name}"`);
  });

  it('count like own ones', async () => {
    expect(schedule(inherited({ maxAttempts: 2, initialDelayMs: 7 }))).toEqual([7]);
    expect(new RetryConfig(inherited({ maxAttempts: 9 })).maxAttempts).toBe(9);
    const chaos = createChaos(inherited({ failureProbability: 1, journalSize: 0 }));
    expect(chaos.status().rules).toContainEqual(expect.objectContaining({ name: 'failure', probability: 1 }));
    chaos.close();
    const orders = await shop(inherited({ headerName: 'X-Key' }), expresses[0]);
    await orders.send({ headers: { 'X-Key': 'k' }, body: { a: 1 } });
    expect((await orders.send({ headers: { 'X-Key': 'k' }, body: { a: 2 } })).status).toBe(422);
  });

  it('are read once: a getter may say something else the next time', () => {
    let reads = 0;
    const options = Object.defineProperty({}, 'maxAttempts', { enumerable: true, get: () => ++reads });
    schedule(options);
    expect(reads).toBe(1);
  });
});

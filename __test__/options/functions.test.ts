import { describe, expect, it } from 'vitest';
import type { IdempotencyOptions } from '../../ts/index.js';
import { expresses } from '../helpers/server.js';
import { refusal, shop, type Handler } from '../helpers/shop.js';

/** What a function of the user's may do wrong, whatever its type says. */
const wrongly = (option: object): IdempotencyOptions => option;
const fail = () => {
  throw new Error('mine');
};
const reject = () => Promise.reject(new Error('mine'));
const silence = ['WRN_REPRISE_SHOULD_STORE_FAILED'] as const;

describe.each(expresses)('$name', ({ express }) => {
  describe("what a function of the user's throws goes to next(error)", () => {
    it.each<[string, object]>([
      ['skip throws', { skip: fail }],
      ['scope throws', { scope: fail }],
      ['rawBody throws', { rawBody: fail }],
      ['onProblem throws', { onProblem: fail }],
      ['onProblem rejects', { onProblem: reject }],
    ])('%s', async (_name, options) => {
      const errors: unknown[] = [];
      const orders = await shop(wrongly(options), { express, errors });
      expect(await orders.send({ key: '' })).toMatchObject({ status: 500 });
      expect(errors).toEqual([new Error('mine')]);
      expect(orders.runs).toBe(0);
    });
  });

  it('§1.2 a skip that returns a promise is refused: it would skip every request', async () => {
    const errors: unknown[] = [];
    const orders = await shop(wrongly({ skip: () => Promise.resolve(false) }), { express, errors });
    expect(await orders.send({ key: 'k' })).toMatchObject({ status: 500 });
    expect(errors).toEqual([
      expect.objectContaining({
        code: 'ERR_REPRISE_INVALID_ARGUMENT',
        message: 'idempotencyMiddleware: skip(req) returned an object; allowed: true or false',
      }),
    ]);
    expect(orders.runs).toBe(0);
  });

  it.each<[string, unknown]>([
    ['a promise', Promise.resolve(true)],
    ['nothing', undefined],
    ['a text', 'yes'],
  ])('§4.5 a shouldStore that returns %s decides nothing: the default rule does', async (_name, verdict) => {
    const handler: Handler = (_req, res, _next, run) => res.status(run === 1 ? 500 : 201).json({ run });
    const orders = await shop(wrongly({ shouldStore: () => verdict, silence }), { express, handler });
    expect((await orders.send({ key: 'k' })).status).toBe(500);
    expect(await orders.send({ key: 'k' })).toMatchObject({ status: 201, isReplay: false });
    expect(await orders.send({ key: 'k' })).toMatchObject({ status: 201, isReplay: true });
  });

  it('an onProblem may be asynchronous', async () => {
    const onProblem: IdempotencyOptions['onProblem'] = async (problem, _req, res) => {
      await Promise.resolve();
      res.statusCode = problem.status;
      res.end(problem.code);
    };
    const orders = await shop({ onProblem }, { express });
    expect(await orders.send({ key: '' })).toMatchObject({ status: 400, text: 'invalid-key' });
  });

  it.each([undefined, null, 5, {}])(
    '§4.8 derive(%o) is refused: it would be the key of another name too',
    async (name) => {
      const handler: Handler = (req, res) => res.json(req.idempotency?.derive(name as string));
      const errors: unknown[] = [];
      const orders = await shop({}, { express, handler, errors });
      expect(await orders.send({ key: 'k' })).toMatchObject({ status: 500 });
      expect(errors).toEqual([expect.objectContaining({ code: 'ERR_REPRISE_INVALID_ARGUMENT' })]);
    },
  );

  it('§2.1 inspect and forget know a key with its quotes and without', async () => {
    const { guard, send } = await shop({}, { express });
    await send({ key: '"k"' });
    const record = await guard.inspect('k');
    expect(record).toMatchObject({ state: 'completed' });
    expect(await guard.inspect('"k"')).toMatchObject({ recordKey: record?.recordKey });
    expect(await guard.inspect('"k"', undefined, { method: 'POST', path: '/' })).toMatchObject({ state: 'completed' });
    expect(await guard.forget('"k"')).toBe(true);
    expect(await guard.inspect('k')).toBeUndefined();
  });

  it.each<[string, unknown[], string]>([
    ['key', [undefined], 'is undefined; allowed: a string'],
    ['key', [7], 'is 7; allowed: a string'],
    ['scope', ['k', 7], 'is 7; allowed: a string, or undefined'],
    ['endpoint', ['k', undefined, '/'], 'is "/"; allowed: { method, path }, the path without its query'],
    ['endpoint', ['k', undefined, null], 'is null; allowed: { method, path }'],
    ['endpoint', ['k', undefined, { method: 'POST' }], 'is an object; allowed: { method, path }'],
    ['endpoint', ['k', undefined, { method: 'POST', path: '/?a=1' }], 'is an object; allowed: { method, path }'],
  ])('inspect and forget say what is wrong with an argument: %s, %o', async (name, given, message) => {
    const { guard } = await shop({}, { express });
    const error = expect.objectContaining({
      code: 'ERR_REPRISE_INVALID_ARGUMENT',
      message: expect.stringContaining(`argument "${name}" ${message}`) as string,
    }) as Error;
    await expect(guard.inspect(...(given as Parameters<typeof guard.inspect>))).rejects.toEqual(error);
    await expect(guard.forget(...(given as Parameters<typeof guard.forget>))).rejects.toEqual(error);
  });

  it('§3 a refusal that onProblem passes on runs, unguarded', async () => {
    const orders = await shop({ onProblem: (_problem, _req, _res, next) => next() }, { express });
    expect(refusal(await orders.send({ key: '' }))).not.toContain('400');
    expect(orders.runs).toBe(1);
  });
});

import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { connect } from '../../ts/stores/redis/client.js';
import { safeError } from '../../ts/safe-error.js';

const ANSWER = {
  statusCode: 200,
  statusMessage: 'OK',
  headers: ['x-session', 'token-of-ann-in-a-header'],
  body: Buffer.from('{"token":"secret-of-ann"}'),
  timestamp: '2026-01-01T00:00:00.000Z',
};

const all = (error: Error) => inspect(error, { depth: 10, showHidden: true });

describe('an error of a store, as logs and listeners have it', () => {
  it('has its name, code, message, stack and causes', () => {
    const cause = Object.assign(new RangeError('refused'), { code: 'ECONNREFUSED' });
    const error = Object.assign(new TypeError('The store is away', { cause }), { code: '57P01' });
    const told = safeError(error, ANSWER);
    expect(told).toMatchObject({ name: 'TypeError', message: 'The store is away', code: '57P01' });
    expect(told.cause).toMatchObject({ name: 'RangeError', message: 'refused', code: 'ECONNREFUSED' });
    expect(told.stack).toMatch(/^TypeError: The store is away\n\s+at /);
  });

  it('has nothing else that a client puts on it', () => {
    const error = Object.assign(new Error('READONLY'), {
      command: { name: 'evalsha', args: [ANSWER.body] },
      parameters: ['secret-of-ann'],
      detail: 'Failing row contains (secret-of-ann)',
    });
    expect(all(safeError(new Error('outer', { cause: error })))).not.toContain('secret-of-ann');
    expect(all(safeError(new AggregateError([error], 'all failed')))).not.toContain('secret-of-ann');
  });

  it.each([
    ['as text', new Error('cannot write {"token":"secret-of-ann"}')],
    ['as base64', new Error(`cannot write ${ANSWER.body.toString('base64')}`)],
    ['a header', new Error('bad value: token-of-ann-in-a-header')],
    ['by a parser of JSON', new SyntaxError('Unexpected token, "{"token":"sec" is not valid JSON')],
    ['in its cause', new Error('failed', { cause: new Error('{"token":"secret-of-ann"}') })],
  ])('whose message quotes the answer, %s: the message is withheld, the rest is told', (_name, error) => {
    const told = safeError(error, ANSWER);
    expect(all(told)).not.toMatch(/secret-of|"sec"|of-ann|c2VjcmV0/);
    expect(told.stack).toMatch(/\n\s+at /);
  });

  it('is bounded', () => {
    expect(safeError(new Error('x'.repeat(10_000))).message.length).toBeLessThan(600);
    const circle = new Error('circle');
    circle.cause = circle;
    expect(all(safeError(circle))).toContain('circle');
  });

  it.each([['a string'], [undefined], [null], [{ message: 5 }]])('is an error, whatever was thrown: %s', (thrown) => {
    expect(safeError(thrown)).toBeInstanceOf(Error);
  });

  it('is one, though its properties throw', () => {
    const hostile = Object.defineProperty(new Error('x'), 'message', {
      get: () => {
        throw new Error('no');
      },
    });
    expect(safeError(hostile).message).toBe('an error that cannot be shown');
  });
});

it('an error of ioredis has its command by name only, also where it is not ours to tell', async () => {
  const command = { name: 'eval', args: [ANSWER.body] };
  const lastNodeError = Object.assign(new Error('READONLY'), { command });
  const error = Object.assign(new Error('all nodes failed'), { command, lastNodeError });
  const refused = () => Promise.reject(error);
  const client = { callBuffer: refused, pipeline: refused, duplicate: refused, evalBuffer: refused };
  await expect(connect(client).send(['EVAL'], 'k')).rejects.toBe(error);
  expect(error).toMatchObject({ command: { name: 'eval' }, lastNodeError: { command: { name: 'eval' } } });
  expect(inspect(error, { depth: 10 })).not.toContain('args');
});

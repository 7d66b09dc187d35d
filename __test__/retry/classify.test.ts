import assert from 'node:assert';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import vm from 'node:vm';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CheckpointSaveError, retryQuickTask } from '../../ts/index.js';
import { settled } from './helpers.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** How often a task that always throws `value` is called, having checked that the very value comes out. */
async function callsFor(value: unknown): Promise<number> {
  let calls = 0;
  const task = retryQuickTask(() => {
    calls++;
    throw value;
  });
  const outcome = await settled(task());
  expect(outcome.status === 'rejected' && Object.is(outcome.reason, value)).toBe(true);
  return calls;
}

function errorFrom(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('it was expected to throw');
}

const withCode = (error: Error, code: unknown) => Object.assign(error, { code });

describe('retried', () => {
  const hostile = new Proxy(
    {},
    {
      get() {
        throw new Error('do not look at me');
      },
      getPrototypeOf() {
        throw new Error('nor at my kind');
      },
    },
  );
  const retried: [string, unknown][] = [
    ['an Error', new Error('boom')],
    ['a frozen Error', Object.freeze(new Error('boom'))],
    ['a class of its own', new (class PaymentError extends Error {})('declined')],
    ['a system error', withCode(new Error('connect ECONNREFUSED'), 'ECONNREFUSED')],
    ['an AggregateError', new AggregateError([new TypeError('inner')], 'all failed')],
    ['the timeout of an AbortSignal', new DOMException('too slow', 'TimeoutError')],
    ['what fetch throws for a refused connection', new TypeError('fetch failed', { cause: new Error('ECONNREFUSED') })],
    ['what fetch throws for a lost body', new TypeError('terminated')],
    ['what interceptors throw for a network error', new TypeError('Failed to fetch')],
    ['undefined', undefined],
    ['null', null],
    ['a string', 'boom'],
    ['a number', 0],
    ['a symbol', Symbol('boom')],
    ['an object', { boom: true }],
    ['a hostile proxy', hostile],
    ['an error whose cause is itself', withCause(new Error('loop'))],
  ];
  function withCause(error: Error): Error {
    error.cause = error;
    return error;
  }
  it.each(retried)('%s', async (_, value) => {
    expect(await callsFor(value)).toBe(3);
  });
});

describe('not retried', () => {
  const final: [string, unknown][] = [
    ['a TypeError', errorFrom(() => (undefined as unknown as { name: string }).name)],
    ['a RangeError', errorFrom(() => 'x'.repeat(-1))],
    ['a SyntaxError', errorFrom(() => JSON.parse('{') as unknown)],
    ['a ReferenceError', errorFrom(() => vm.runInThisContext('nowhere') as unknown)],
    [
      'an AssertionError',
      errorFrom(() => {
        assert.equal(1, 2);
      }),
    ],
    ['a TypeError of another realm', errorFrom(() => vm.runInNewContext('null.name') as unknown)],
    ['an ERR_INVALID_* of Node', withCode(new Error('bad'), 'ERR_INVALID_STATE')],
    ['an AbortError of fetch', new DOMException('aborted', 'AbortError')],
    ['an AbortError of Node', Object.assign(new Error('aborted'), { name: 'AbortError', code: 'ABORT_ERR' })],
    ['an error of reprise', new CheckpointSaveError('t', undefined, new Error('disk full'))],
    ['an error caused by one of these', new Error('wrapped', { cause: new RangeError('too long') })],
    ['an error caused ten levels down', nested(10)],
    ['a fetch that failed over a wrong argument', fetchOver(withCode(new Error('bad header'), 'UND_ERR_INVALID_ARG'))],
  ];
  function nested(depth: number): Error {
    return depth === 0 ? new TypeError('the mistake') : new Error(`level ${depth}`, { cause: nested(depth - 1) });
  }
  function fetchOver(cause: Error): Error {
    return new TypeError('fetch failed', { cause });
  }
  it.each(final)('%s', async (_, value) => {
    expect(await callsFor(value)).toBe(1);
  });
});

describe('the real fetch', () => {
  it('is retried when the connection is refused, and not when an argument is wrong', async () => {
    const server = createServer().listen(0);
    const { port } = server.address() as AddressInfo;
    await new Promise((closed) => server.close(closed));
    const errorOf = (url: string, init?: RequestInit) => fetch(url, init).catch((error: unknown) => error);
    expect(await callsFor(await errorOf(`http://127.0.0.1:${port}`))).toBe(3);
    expect(await callsFor(await errorOf('not a url'))).toBe(1);
    expect(await callsFor(await errorOf(`http://127.0.0.1:${port}`, { headers: { a: '\n\u0001' } }))).toBe(1);
  });
});

it('whatever is thrown comes out as it went in, after one call or three', async () => {
  await fc.assert(
    fc.asyncProperty(fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true }), async (value) => {
      expect([1, 3]).toContain(await callsFor(value));
    }),
  );
});

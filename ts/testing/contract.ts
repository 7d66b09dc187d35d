import { hasMethods } from '../options.js';
import { withCode } from '../errors.js';
import { isAtomicStore, type AtomicStore } from '../stores/contract.js';
import { SimpleStoreAdapter } from '../stores/simple.js';
import type { IdempotencyStore } from '../stores/types.js';
import { cases, type StoreContractCase, type StoreContractCaseName } from './contract-cases.js';

/**
 * Makes a store for one case. Stores of one `namespace` keep one set of records, as two processes of one program
 * would; stores of two namespaces may, since every case uses keys of its own.
 */
export type MakeStore = (namespace: string) => MadeStore | Promise<MadeStore>;

type MadeStore = AtomicStore | IdempotencyStore;
type PassTime = (stores: readonly [AtomicStore, AtomicStore], ms: number) => Promise<void> | void;

/** Options of {@link storeContract}. */
export interface StoreContractOptions {
  /** The title of the suite. Default `the store contract`. */
  title?: string;
  /**
   * Cases that the store is known not to hold. Each is listed with that remark, and fails when the store holds it
   * after all: nothing is skipped.
   */
  cannotHold?: readonly StoreContractCaseName[];
  /**
   * Moves the store's clock forward, where a test can. Default: the suite waits, for the store's clock is not
   * the test's.
   */
  passTime?: PassTime;
  /**
   * Makes a store with room for few claims. With it, the rules of a full store are checked; leave it out for a store
   * that has no bounds of its own.
   */
  makeSmallStore?: MakeStore;
  /** The test framework's functions. Default the global ones of Jest, Mocha and Vitest (`globals: true`). */
  framework?: TestFramework;
}

/** What the suite needs of a test framework: `import * as framework from 'node:test'` will do. */
export interface TestFramework {
  describe: (title: string, body: () => void) => unknown;
  it: (title: string, body: () => Promise<void>) => unknown;
}

/**
 * Registers one test for each rule that a store has to hold; `docs/stores.md` says them in words. Assertions are
 * Node's own, so that any test framework runs it.
 *
 * A store with only `get`, `set` and `delete` is tested as the middleware uses it. It cannot hold the rules between
 * processes: {@link SIMPLE_STORE_LIMITS} names them.
 *
 * @throws TypeError (`ERR_REPRISE_INVALID_OPTION`) where there is no test framework
 * @example
 * ```ts
 * import * as framework from 'node:test';
 * import { storeContract } from 'reprise/testing';
 *
 * storeContract((namespace) => new MyStore({ prefix: namespace }), { framework });
 * ```
 */
export function storeContract(makeStore: MakeStore, options: StoreContractOptions = {}): void {
  const { title = 'the store contract', cannotHold = [], passTime = waiting, framework = globalFramework() } = options;
  const { makeSmallStore } = options;
  const applicable = cases.filter(({ isOfFullStore }) => !isOfFullStore || makeSmallStore !== undefined);
  if (!hasMethods({ ...framework }, 'describe', 'it')) throw noFramework();
  const strangers = cannotHold.filter((name) => !cases.some((one) => one.name === name));
  if (strangers.length > 0) {
    throw withCode(
      new RangeError(`storeContract: option "cannotHold" names no such case: ${strangers.join('; ')}`),
      'ERR_REPRISE_INVALID_OPTION',
    );
  }
  framework.describe(title, () => {
    for (const one of applicable) {
      const run = () => check(one, makeStore, one.isOfFullStore ? makeSmallStore : undefined, passTime);
      if (!cannotHold.includes(one.name)) framework.it(one.name, run);
      else {
        framework.it(`${one.name} (this store cannot hold it)`, async () => {
          const held = await run().then(
            () => true,
            () => false,
          );
          if (held) throw new Error('It holds it. Take the case out of "cannotHold".');
        });
      }
    }
  });
}

/**
 * The cases that a store with only `get`, `set` and `delete` cannot hold: those between processes, and one of progress,
 * which is kept in the process and not in such a store.
 */
export const SIMPLE_STORE_LIMITS: readonly StoreContractCaseName[] = [
  'between processes: of many claims of one key at once, one is granted',
  'between processes: of many that take over one claim at once, one is granted',
  'between processes: an owner that was taken over can write nothing',
  'between processes: a commit point is known to all',
  'between processes: one that waits is woken by the end of the claim',
  'between processes: progress goes to the next claim, wherever it is made',
  'progress goes to the claim over an indeterminate record',
];

async function check(
  one: StoreContractCase,
  makeStore: MakeStore,
  makeSmallStore: MakeStore | undefined,
  passTime: PassTime,
): Promise<void> {
  const namespace = `contract-${process.pid}-${++namespaces}`;
  const store = asAtomic(await makeStore(namespace));
  const peer = asAtomic(await makeStore(namespace));
  const small = makeSmallStore && asAtomic(await makeSmallStore(namespace));
  try {
    await one.run({ store, peer, small, passTime: async (ms) => passTime([store, peer], ms) });
  } finally {
    await store.close?.();
    await peer.close?.();
    await small?.close?.();
  }
}

let namespaces = 0;

function asAtomic(store: MadeStore): AtomicStore {
  return isAtomicStore(store) ? store : new SimpleStoreAdapter(store);
}

function waiting(_: readonly [AtomicStore, AtomicStore], ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms + 20);
  });
}

function globalFramework(): TestFramework {
  const { describe, it } = globalThis as unknown as Partial<TestFramework>;
  if (describe === undefined || it === undefined) throw noFramework();
  return { describe, it };
}

function noFramework(): Error {
  return withCode(
    new TypeError(
      'storeContract: option "framework" is undefined; allowed: an object with describe and it, like ' +
        "`import * as framework from 'node:test'` or 'vitest'",
    ),
    'ERR_REPRISE_INVALID_OPTION',
  );
}

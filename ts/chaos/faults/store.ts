/** The calls of a store that can be made to fail or be slow: all but `close`. */
export const STORE_CALLS = [
  ...(['get', 'set', 'delete'] as const),
  ...([
    'claim',
    'complete',
    'renew',
    'release',
    'mark',
    'save',
    'inspect',
    'forget',
    'waitFor',
    'transaction',
  ] as const),
] as const;

/** One of them. */
export type StoreCall = (typeof STORE_CALLS)[number];

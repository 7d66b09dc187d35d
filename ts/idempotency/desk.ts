import type { NativeMemoryStore, RequestFacts } from '../../native/binding.js';
import { native } from '../native.js';
import { decodeHead, encodeHead } from '../stores/head.js';
import type { MemoryStore } from '../stores/memory.js';
import { ENDS, refusalOf, refusalParts } from '../stores/native-outcome.js';
import { bytesOf, type Answer } from './answer.js';
import { memoryRegistrar, type NameRecord, type Registrar } from './inspection.js';

/** Whether a write named the current claim; false says that the claim was lost and nothing was written. */
export type Written = boolean | Promise<boolean>;

/** How a claim ends without an answer to replay. A release behind the commit point is indeterminate. */
export type Settlement = 'release' | 'not-replayable' | 'indeterminate';

/** A claim that this process holds. It ends with one of `complete` and `settle`. */
export interface HeldClaim {
  readonly fence: number;
  /** Whether it ends within the call, so that the bytes of an answer are free again after it. */
  readonly endsAtOnce: boolean;
  /** Whether the store keeps the claim by itself while this thread lives; see `AtomicStore.keepsClaims`. */
  readonly isSelfKept: boolean;
  complete(answer: Answer): Written;
  settle(how: Settlement): Written;
  renew(): Written;
  commitPoint(): Written;
  /** What this claim, or an earlier one of the key, has saved of its progress. */
  progress(): Uint8Array | undefined;
  /** Saves how far the owner has come, for the next claim of the key. */
  save(progress: Uint8Array): Written;
  /** Ends the claim in a transaction of the store's database; see the contract. Absent where the store has none. */
  readonly transaction?:
    ((run: (tx: unknown) => Promise<Answer | Settlement | undefined>) => Promise<boolean>) | undefined;
}

/** What a request is answered at the desk. */
export type Begun =
  | { readonly outcome: 'claimed'; readonly claim: HeldClaim }
  | { readonly outcome: 'completed'; readonly answer: Answer }
  | { readonly outcome: 'invalid-key'; readonly reason: string }
  | { readonly outcome: 'mismatch'; readonly differs: 'fingerprint' | 'identity' }
  | { readonly outcome: 'in-progress'; readonly leaseLeftMs: number }
  | { readonly outcome: 'not-replayable' | 'indeterminate' | 'full' };

/** One middleware's place at a store: where requests ask for their key. */
export interface Desk {
  /** Names the request and claims its key; over an indeterminate record only if told so. */
  begin(facts: RequestFacts, overIndeterminate: boolean): Begun | Promise<Begun>;
  /** Resolves when the claim of a record's key is settled, or may be. Absent where the store cannot tell. */
  readonly waitFor: ((recordKey: string) => Promise<void>) | undefined;
  /** For operators. */
  readonly registrar: Registrar;
}

/** What a desk needs to know of the middleware. */
export interface DeskSettings {
  readonly maxKeyLength: number;
  readonly leaseMs: number;
  readonly maxHoldMs: number;
  /** Seconds, as everywhere in the specification. */
  readonly ttl: number;
  readonly derivedTtl: number;
}

const KEY_PROBLEMS = [
  'it is empty',
  'it is too long',
  'it has characters other than visible ASCII (or the header was sent twice)',
  'its quotes do not make a well-formed string',
];

/** A claim's slot and its fence come in one number; see `DeskCalls` in the binding. */
const SLOTS = 2 ** 21;

/** The desk at a store in the memory of this process: synchronous, one crossing to begin and one to complete. */
export class MemoryDesk implements Desk {
  readonly registrar: Registrar;
  readonly #store;
  readonly #calls;

  constructor(store: MemoryStore, settings: DeskSettings) {
    this.registrar = memoryRegistrar(store, createNamer(settings.maxKeyLength));
    this.#store = store;
    const { maxKeyLength, leaseMs, maxHoldMs, ttl, derivedTtl } = settings;
    this.#calls = store.open().desk(maxKeyLength, leaseMs, maxHoldMs, ttl * 1000, derivedTtl * 1000);
  }

  begin(facts: RequestFacts, overIndeterminate: boolean): Begun {
    const [method, url, key, contentType, scope, caller, bodyKind, body] = facts;
    const begun = this.#calls.begin(method, url, key, contentType, scope, caller, bodyKind, body, overIndeterminate);
    if (typeof begun !== 'number') {
      return { outcome: 'completed', answer: { ...decodeHead(begun[0]), body: begun[1] } };
    }
    if (begun >= 0) {
      const slot = begun % SLOTS;
      const fence = (begun - slot) / SLOTS;
      return { outcome: 'claimed', claim: new MemoryClaim(this.#calls, slot, fence, key === undefined) };
    }
    return refusal(begun);
  }

  waitFor(recordKey: string): Promise<void> {
    return this.#store.waitFor(recordKey);
  }
}

function refusal(told: number): Begun {
  const [code, detail] = refusalParts(told);
  return code === 1 ? { outcome: 'invalid-key', reason: KEY_PROBLEMS[detail] ?? '' } : refusalOf(code, detail);
}

class MemoryClaim implements HeldClaim {
  readonly #calls;
  readonly #slot;
  readonly fence: number;
  readonly endsAtOnce = true;
  readonly #isDerived;
  readonly isSelfKept = true;

  constructor(calls: ReturnType<NativeMemoryStore['desk']>, slot: number, fence: number, isDerived: boolean) {
    this.#calls = calls;
    this.#slot = slot;
    this.fence = fence;
    this.#isDerived = isDerived;
  }

  complete(answer: Answer): boolean {
    const { body } = answer;
    const dropFirst = isDroppedFirst(answer, this.#isDerived);
    if (body.length === 0) return this.#calls.complete(this.#slot, dropFirst, encodeHead(answer));
    return this.#calls.complete(this.#slot, dropFirst, encodeHead(answer), bytesOf(body));
  }

  settle(how: Settlement): boolean {
    return this.#calls.settle(this.#slot, ENDS[how]);
  }

  renew(): boolean {
    return this.#calls.renew(this.#slot);
  }

  commitPoint(): boolean {
    return this.#calls.commitPoint(this.#slot);
  }

  progress(): Uint8Array | undefined {
    return this.#calls.progress(this.#slot) ?? undefined;
  }

  save(progress: Uint8Array): boolean {
    return this.#calls.save(this.#slot, progress);
  }
}

/** Whether anyone can fill a store with such answers: it then drops them before those that were paid for. */
export function isDroppedFirst({ statusCode }: Answer, isDerived: boolean): boolean {
  return isDerived || statusCode === 404;
}

/** A request as stores know it, in hexadecimal. */
export interface Identified {
  readonly key: string;
  readonly fingerprint: string;
  readonly identity: string;
}

/** Names requests as {@link MemoryDesk} does, without a store; a text instead says what is wrong with the key. */
export function createIdentifier(maxKeyLength: number): (facts: RequestFacts) => Identified | string {
  const identify = native.identifier(maxKeyLength);
  return (facts) => {
    const found = identify(...facts);
    if (typeof found === 'number') return KEY_PROBLEMS[found] ?? '';
    return { key: found.slice(0, 64), fingerprint: found.slice(64, 128), identity: found.slice(128) };
  };
}

/** Names records by what an operator knows of them. */
export function createNamer(maxKeyLength: number): NameRecord {
  const identify = createIdentifier(maxKeyLength);
  return (key, scope, { method, path }) => {
    const found = identify([method.toUpperCase(), path, key, undefined, scope, undefined, 0, undefined]);
    return typeof found === 'string' ? '' : found.key;
  };
}

import { randomUUID } from 'node:crypto';
import type { RequestFacts } from '../../native/binding.js';
import { withCode } from '../errors.js';
import { keepsClaims, type AtomicStore, type ClaimRef, type KeptAnswer } from '../stores/contract.js';
import { decodeHead, encodeHead, isHead } from '../stores/head.js';
import { bytesOf, type Answer } from './answer.js';
import {
  createIdentifier,
  createNamer,
  isDroppedFirst,
  type Begun,
  type Desk,
  type DeskSettings,
  type HeldClaim,
  type Settlement,
} from './desk.js';
import type { Registrar } from './inspection.js';

/** The desk at any store that holds the contract. */
export class ContractDesk implements Desk {
  readonly registrar: Registrar;
  readonly #store: AtomicStore;
  readonly #settings: DeskSettings;
  readonly #identify;
  /** Tells this process from any other that claims from the same store. */
  readonly #process = randomUUID();
  #claims = 0;

  constructor(store: AtomicStore, settings: DeskSettings) {
    this.#store = store;
    this.#settings = settings;
    this.#identify = createIdentifier(settings.maxKeyLength);
    this.registrar = contractRegistrar(store, createNamer(settings.maxKeyLength));
  }

  async begin(facts: RequestFacts, overIndeterminate: boolean): Promise<Begun> {
    const identified = this.#identify(facts);
    if (typeof identified === 'string') return { outcome: 'invalid-key', reason: identified };
    const { leaseMs, maxHoldMs: holdMs } = this.#settings;
    const isDerived = facts[2] === undefined;
    const ttl = isDerived ? this.#settings.derivedTtl : this.#settings.ttl;
    const owner = `${this.#process}/${++this.#claims}`;
    const hold = keepsClaims(this.#store) ? { holdMs } : {};
    const found = await this.#store.claim({ ...identified, owner, leaseMs, ...hold, ttl, overIndeterminate });
    if (!isOutcome(found)) {
      throw withCode(new TypeError('The store answered a claim with no outcome of one'), 'ERR_REPRISE_STORE_RECORD');
    }
    if (found.outcome === 'completed') {
      const { head, body } = found.answer;
      const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
      return { outcome: 'completed', answer: { ...decodeHead(head), body: bytes } };
    }
    if (found.outcome !== 'claimed') return found;
    const ref = { key: identified.key, owner, fence: found.fence };
    const terms = { ref, leaseMs, ttl, isDerived };
    return { outcome: 'claimed', claim: new ContractClaim(this.#store, terms, found.progress) };
  }

  get waitFor(): Desk['waitFor'] {
    const store = this.#store;
    // Asynchronous, as the steps of a claim are.
    return store.waitFor && (async (recordKey) => store.waitFor?.(recordKey));
  }
}

/** Its steps are asynchronous even where they only pass one on: a store that throws at once is one that rejects. */
class ContractClaim implements HeldClaim {
  readonly endsAtOnce = false;
  readonly #store: AtomicStore;
  readonly #terms: ClaimTerms;
  readonly #progress: Uint8Array | undefined;
  /** The last save, which may be under way still: what comes after it must not overtake it. */
  #saved: Promise<unknown> | undefined;

  constructor(store: AtomicStore, terms: ClaimTerms, progress: Uint8Array | undefined) {
    this.#store = store;
    this.#terms = terms;
    this.#progress = progress;
  }

  get isSelfKept(): boolean {
    return keepsClaims(this.#store);
  }

  get fence(): number {
    return this.#terms.ref.fence;
  }

  async complete(answer: Answer): Promise<boolean> {
    const { ref, ttl } = this.#terms;
    return this.#store.complete(ref, this.#kept(answer), ttl);
  }

  async settle(how: Settlement): Promise<boolean> {
    const { ref, ttl } = this.#terms;
    await this.#saved;
    return how === 'release' ? this.#store.release(ref, ttl) : this.#store.mark(ref, how, ttl);
  }

  async renew(): Promise<boolean> {
    return this.#store.renew(this.#terms.ref, this.#terms.leaseMs);
  }

  get transaction(): HeldClaim['transaction'] {
    const store = this.#store;
    if (!store.transaction) return undefined;
    return async (run) => {
      const ended = async (tx: unknown) => {
        const end = await run(tx);
        return typeof end === 'object' ? this.#kept(end) : end;
      };
      const { ref, ttl } = this.#terms;
      return (await store.transaction?.(ref, ttl, ended)) ?? false;
    };
  }

  async commitPoint(): Promise<boolean> {
    return this.#store.mark(this.#terms.ref, 'committed', this.#terms.ttl);
  }

  progress(): Uint8Array | undefined {
    return this.#progress;
  }

  async save(progress: Uint8Array): Promise<boolean> {
    const { ref } = this.#terms;
    const before = this.#saved;
    const saving = before ? before.then(() => this.#store.save(ref, progress)) : this.#store.save(ref, progress);
    this.#saved = saving.catch(() => undefined);
    return saving;
  }

  #kept(answer: Answer): KeptAnswer {
    const dropFirst = isDroppedFirst(answer, this.#terms.isDerived);
    return { head: encodeHead(answer), body: bytesOf(answer.body), ...(dropFirst && { dropFirst }) };
  }
}

/** What a claim was made with. */
interface ClaimTerms {
  readonly ref: ClaimRef;
  readonly leaseMs: number;
  /** Seconds. */
  readonly ttl: number;
  readonly isDerived: boolean;
}

/** Whether an answer is one: a store may be the user's own, and a record may have been written by another program. */
function isOutcome(found: Partial<Record<string, unknown>> | null | undefined): boolean {
  switch (found?.['outcome']) {
    case 'claimed':
      return Number.isSafeInteger(found['fence']);
    case 'completed': {
      const { head, body } = (found['answer'] ?? {}) as Partial<KeptAnswer>;
      return isHead(head) && body instanceof Uint8Array;
    }
    case 'in-progress':
      return Number.isFinite(found['leaseLeftMs']);
    case 'mismatch':
    case 'not-replayable':
    case 'indeterminate':
    case 'full':
      return true;
    default:
      return false;
  }
}

/** Looks into a store that can be asked for a record only by its name. */
function contractRegistrar(store: AtomicStore, nameRecord: ReturnType<typeof createNamer>): Registrar {
  return {
    find(key, scope, endpoint) {
      if (endpoint) return [nameRecord(key, scope, endpoint)];
      throw withCode(
        new Error('This store cannot look for a key; say where it was used: { method, path }'),
        'ERR_REPRISE_ENDPOINT_NEEDED',
      );
    },
    inspect: (recordKey) => store.inspect(recordKey),
    forget: (recordKey) => store.forget(recordKey),
  };
}

import { AsyncResource } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { RequestFacts } from '../../native/binding.js';
import { withCode } from '../errors.js';
import { sendProblem } from '../problem.js';
import { isAtomicStore } from '../stores/contract.js';
import { isOfOneThread, MemoryStore } from '../stores/memory.js';
import { SimpleStoreAdapter } from '../stores/simple.js';
import { admissionOf, type Admission } from './admission.js';
import type { Answer } from './answer.js';
import { Capture, type CaptureHost } from './capture.js';
import { makeCheap } from '../cheap.js';
import { Completions } from './completions.js';
import { ContractDesk } from './contract-desk.js';
import { ClaimContext, type ContextHost, type IdempotencyContext } from './context.js';
import {
  createIdentifier,
  MemoryDesk,
  type Begun,
  type Desk,
  type HeldClaim,
  type Identified,
  type Settlement,
} from './desk.js';
import { runHandler } from './departure.js';
import { Durations } from './durations.js';
import { unquote, type ServerRequest } from './facts.js';
import { checkLookup, inspectOne, type Endpoint, type RecordInfo } from './inspection.js';
import { hasUnreadJson, readJson } from './json-body.js';
import { isWorthStoring, type AnswerSummary, type Settings, type StorePhase } from './options.js';
import { Parking, type Parked } from './parking.js';
import { mismatchOf, problem, type Problem } from './problem.js';
import { Renewals } from './renewals.js';
import { Reporter, type IdempotencyMetrics } from './reporter.js';
import { acceptableOf, replay } from './replay.js';
import { Tally } from '../tally.js';
import { within } from '../timeout.js';
import { isOneOfSeveral, Warnings } from '../warnings.js';

/** Hands a request on, or an error to whoever handles errors. */
export type Next = (error?: unknown) => unknown;
/** A request that may run under a key. */
export type GuardedRequest = ServerRequest & { idempotency?: IdempotencyContext };

/** Guards the requests of one middleware: asks the store for their keys, runs or replays them, and ends their claims. */
export class Guard implements CaptureHost, ContextHost {
  readonly maxResponseBytes: number;
  readonly replaySetCookie: boolean;
  readonly storeTimeoutMs: number;
  readonly #settings: Settings;
  readonly #ownsStore: boolean;
  readonly #desk: Desk;
  readonly #identify;
  readonly #renewals: Renewals<Capture>;
  readonly #parking: Parking;
  readonly #completions: Completions;
  readonly #reporter: Reporter;
  readonly #warnings: Warnings;
  readonly #counts = {
    claims: 0,
    replays: 0,
    conflicts: 0,
    mismatches: 0,
    invalidKeys: 0,
    unanswerable: 0,
    storeErrors: 0,
  };
  /** Requests that run unguarded for want of a store: one that comes by again does not ask it a second time. */
  readonly #unguarded = new WeakSet<GuardedRequest>();
  /** What has to end before the middleware is closed: claims, writes, requests that wait. */
  readonly #underWay = new Tally();
  readonly #durations = new Durations();
  #closed = false;
  /** Whether this is a worker thread with a store that no other thread sees. */
  #isOfOneThread = false;
  /** Whether the call that made this middleware has not returned to the event loop yet. */
  #isNew = true;
  #closing: Promise<void> | undefined;

  constructor(settings: Settings, ownsStore: boolean) {
    this.#settings = settings;
    this.#ownsStore = ownsStore;
    this.maxResponseBytes = settings.maxResponseBytes;
    this.replaySetCookie = settings.replaySetCookie;
    this.storeTimeoutMs = settings.storeTimeoutMs;
    this.#reporter = new Reporter(settings.logger);
    this.#warnings = new Warnings(settings.silence, settings.logger);
    this.#desk = this.#openDesk();
    this.#checkTheStart();
    this.#identify = createIdentifier(settings.maxKeyLength);
    this.#renewals = new Renewals(settings, this.#underWay);
    this.#parking = new Parking(
      settings.waitTimeoutMs,
      (recordKey) => this.#desk.waitFor?.(recordKey) ?? Promise.resolve(),
      this.#underWay,
    );
    this.#completions = new Completions(settings, this.#underWay);
    queueMicrotask(() => (this.#isNew = false));
  }

  handle(req: GuardedRequest, res: ServerResponse, next: Next): void {
    // No request can come from a socket before the program's own start has ended.
    if (this.#isNew && req.socket instanceof Socket) this.#warnings.warn('WRN_REPRISE_CREATED_IN_REQUEST');
    // A thread that serves no requests needs no store that others see.
    if (this.#isOfOneThread) this.#warnings.warn('WRN_REPRISE_MEMORY_STORE_IN_THREAD');
    const { parseJson, maxRequestBytes } = this.#settings;
    if (!parseJson || !hasUnreadJson(req)) {
      this.#admit(req, res, next, undefined);
      return;
    }
    // Before the body is read: that adds to the request, too.
    makeCheap(req, res);
    readJson(req, maxRequestBytes, (error, json) => {
      if (error === undefined) this.#admit(req, res, next, json);
      else next(error);
    });
  }

  /** @param json the bytes of its body, if `parseJson` has read them */
  #admit(req: GuardedRequest, res: ServerResponse, next: Next, json: Uint8Array | undefined): void {
    // A request that comes by a second time, at the application and at a router, is in good hands already.
    if (!this.#settings.methods.has(req.method ?? '') || req.idempotency !== undefined || this.#unguarded.has(req)) {
      if (req.idempotency instanceof ClaimContext && req.idempotency.host !== this) {
        this.#warnings.warn('WRN_REPRISE_DOUBLE_MOUNT');
      }
      next();
      return;
    }
    // Somebody has answered already, and passed the request on all the same.
    if (res.writableEnded) {
      next();
      return;
    }
    if (json === undefined) makeCheap(req, res);
    let admission: Admission;
    try {
      admission = admissionOf(req, this.#settings, json, this.#warnings);
    } catch (error) {
      next(error);
      return;
    }
    if (admission.outcome === 'left-alone') next();
    else if (admission.outcome === 'refused') this.#refuse({ req, res, next }, admission.problem);
    else {
      const visit: Visit = { req, res, next, facts: admission.facts, askedAt: 0 };
      if (this.#closed) this.#storeFailed(visit, closedError());
      else void this.#begin(visit, false);
    }
  }

  isWorthStoring(answer: AnswerSummary, req: IncomingMessage): boolean {
    try {
      const verdict = this.#settings.shouldStore(answer, req) as unknown;
      if (typeof verdict === 'boolean') return verdict;
    } catch {
      // The answer is on its way: an error would have nowhere to go but into the handler's own `end`.
    }
    this.#warnings.warn('WRN_REPRISE_SHOULD_STORE_FAILED');
    return isWorthStoring(answer);
  }

  settle(capture: Capture, how: Answer | Settlement): boolean | Promise<boolean> {
    this.#renewals.delete(capture);
    if (how !== 'release') this.#noteDuration(capture);
    const written = end(capture.claim, how);
    if (typeof written === 'boolean') return written;
    const settled = within(written, this.#settings.storeTimeoutMs).catch((error: unknown) => {
      // The handler has run: what it answered is known, and must not be forgotten for want of a store.
      this.#tellStoreError(error, capture.req, capture.facts, 'complete', how);
      this.#completions.add(capture, how);
      return false;
    });
    return this.#underWay.during(settled);
  }

  onCommitted(capture: Capture): void {
    this.#renewals.delete(capture);
    this.#noteDuration(capture);
  }

  judge(capture: Capture): void {
    this.#renewals.judge(capture);
  }

  inspect(key: string, scope?: string, endpoint?: Endpoint): Promise<RecordInfo | undefined> {
    return inspectOne(this.#desk.registrar, key, scope, endpoint);
  }

  async forget(key: string, scope?: string, endpoint?: Endpoint): Promise<boolean> {
    checkLookup('forget', key, scope, endpoint);
    const { registrar } = this.#desk;
    const found = await registrar.find(key, scope, endpoint);
    const forgotten = await Promise.all(found.map(async (recordKey) => registrar.forget(recordKey)));
    return forgotten.includes(true);
  }

  metrics(): IdempotencyMetrics {
    return { ...this.#counts, running: this.#renewals.size, waiting: this.#parking.size };
  }

  onCompressed(): void {
    this.#warnings.warn('WRN_REPRISE_CAPTURED_COMPRESSED');
  }

  /** Stops accepting, waits for what is under way, and closes; see `IdempotencyHandler.close`. */
  close(timeoutMs: number): Promise<void> {
    return (this.#closing ??= this.#shutDown(timeoutMs));
  }

  async #shutDown(timeoutMs: number): Promise<void> {
    this.#closed = true;
    this.#completions.hurry();
    if (!this.#underWay.isEmpty) {
      let timer: NodeJS.Timeout | undefined;
      // It holds the process: what is waited for may have nothing else that does.
      const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, timeoutMs)));
      await Promise.race([this.#underWay.empty(), late]);
      clearTimeout(timer);
    }
    this.#renewals.close(closedError());
    this.#parking.close();
    this.#completions.close();
    const { store } = this.#settings;
    if (this.#ownsStore && store instanceof MemoryStore) store.close();
  }

  /** Asks for the key, and goes on as the store says. What it said; `undefined` if it failed. */
  #begin(visit: Visit, overIndeterminate: boolean): Begun | undefined | Promise<Begun | undefined> {
    let begun: Begun | Promise<Begun>;
    visit.askedAt = performance.now();
    try {
      begun = this.#desk.begin(visit.facts, overIndeterminate);
    } catch (error) {
      this.#storeFailed(visit, error);
      return undefined;
    }
    if (!(begun instanceof Promise)) {
      this.#serve(visit, begun);
      return begun;
    }
    // A claim that comes later than its lease is none.
    const { storeTimeoutMs, leaseMs } = this.#settings;
    const served = within(begun, Math.min(storeTimeoutMs, leaseMs)).then(
      (begun) => this.#serveInTurn(visit, begun),
      (error: unknown) => {
        // A claim that comes after all is nobody's: free it.
        begun.then(
          (late) => {
            if (late.outcome === 'claimed') this.#release(late.claim);
          },
          () => undefined,
        );
        this.#storeFailed(visit, error);
        return undefined;
      },
    );
    return this.#underWay.during(served);
  }

  /** Not in a microtask: a handler that begins in one has its own microtasks run before what Node does after its calls. */
  #serveInTurn(visit: Visit, begun: Begun): Promise<Begun> {
    return new Promise((resolve) => {
      process.nextTick(() => {
        try {
          this.#serve(visit, begun);
        } finally {
          resolve(begun);
        }
      });
    });
  }

  #serve(visit: Visit, begun: Begun): void {
    if (this.#isOver(visit)) {
      if (begun.outcome === 'claimed') this.#release(begun.claim);
      return;
    }
    if (visit.parked && begun.outcome !== 'in-progress') this.#parking.leave(visit.parked);
    switch (begun.outcome) {
      case 'claimed':
        this.#counts.claims++;
        this.#report('claim', visit, { fence: begun.claim.fence });
        this.#run(visit, begun.claim);
        return;
      case 'completed':
        this.#counts.replays++;
        this.#report('replay', visit, {});
        this.#replay(visit, begun.answer);
        return;
      case 'invalid-key':
        this.#counts.invalidKeys++;
        this.#refuse(visit, problem('invalid-key', `The key is refused: ${begun.reason}.`));
        return;
      case 'mismatch':
        this.#counts.mismatches++;
        this.#report('mismatch', visit, { differs: begun.differs });
        this.#refuse(visit, mismatchOf(visit.facts, begun.differs));
        return;
      case 'in-progress':
        if (this.#settings.onConcurrent === 'wait' && this.#desk.waitFor) this.#park(visit, begun.leaseLeftMs);
        else this.#refuseInProgress(visit, begun.leaseLeftMs);
        return;
      case 'not-replayable':
        this.#counts.unanswerable++;
        this.#refuse(visit, problem('not-replayable', 'It ran; its answer was too large to keep, or a stream.'));
        return;
      case 'indeterminate':
        this.#onIndeterminate(visit);
        return;
      case 'full':
        this.#storeFailed(
          visit,
          withCode(new Error('The store is full of claims in progress'), 'ERR_REPRISE_STORE_FULL'),
        );
    }
  }

  #run(visit: Visit, claim: HeldClaim): void {
    const { req, res, next, facts } = visit;
    if (this.#closed) {
      this.#release(claim);
      this.#storeFailed(visit, closedError());
      return;
    }
    const capture = new Capture(this, req, res, claim, facts);
    const context = new ClaimContext(this, capture, clientKey(facts), () => this.#identified(facts));
    req.idempotency = context;
    capture.holder = context;
    this.#renewals.add(capture, context, visit.askedAt);
    const failed = (error: unknown) => {
      capture.abandon();
      throw error;
    };
    let returned: unknown;
    try {
      returned = runHandler(capture.run, next);
    } catch (error) {
      failed(error);
    }
    // Under plain node:http `next` is the handler itself, which may be asynchronous.
    if (returned instanceof Promise) returned.then(undefined, failed);
  }

  #replay({ req, res, next }: Visit, answer: Answer): void {
    const answering = (acceptable: Answer) => {
      try {
        replay(req, res, acceptable);
      } catch (error) {
        // Headers that are on their way already, or that a store of the user's made up.
        next(error);
      }
    };
    const acceptable = acceptableOf(req, answer);
    if (!(acceptable instanceof Promise)) {
      answering(acceptable);
      return;
    }
    const answered = acceptable.then((acceptable) => {
      // A time limit of the application may have answered meanwhile.
      if (!res.headersSent) answering(acceptable);
    });
    void this.#underWay.during(answered);
  }

  /**
   * Whether nobody asks for this any more: while the store was asked the client left, something else answered it (a
   * time limit of the application), or it had waited for as long as it may.
   */
  #isOver({ res, parked }: Visit): boolean {
    return res.destroyed || res.writableEnded || (parked !== undefined && !this.#parking.has(parked));
  }

  #park(visit: Visit, leaseLeftMs: number): void {
    visit.leaseUntil = performance.now() + leaseLeftMs;
    if (visit.res.destroyed) return;
    if (this.#closed && visit.parked === undefined) {
      this.#refuseInProgress(visit, 1000);
      return;
    }
    if (visit.parked === undefined) {
      // Those that wait are woken together; each goes on in the asynchronous context of its own request.
      const request = new AsyncResource('reprise.waiting');
      const inContext = <T>(step: () => T): T => request.runInAsyncScope(step);
      const parked: Parked = {
        resume: () =>
          inContext(() => {
            const begun = this.#begin(visit, false);
            return begun instanceof Promise ? begun.then(answerOf) : answerOf(begun);
          }),
        share: (answer) => {
          // Bytes of its own: they pass through middleware of the user's.
          const body = typeof answer.body === 'string' ? answer.body : Buffer.from(answer.body);
          inContext(() => {
            this.#serve(visit, { outcome: 'completed', answer: { ...answer, body } });
          });
        },
        giveUp: (error) => {
          inContext(() => {
            if (error !== undefined) this.#reportStoreError(error, visit.req, visit.facts, 'claim');
            this.#refuseInProgress(visit, (visit.leaseUntil ?? 0) - performance.now());
          });
        },
      };
      visit.parked = parked;
      visit.res.once('close', () => {
        this.#parking.leave(parked);
      });
    }
    this.#parking.park(this.#identified(visit.facts), visit.parked);
  }

  #onIndeterminate(visit: Visit): void {
    const { onIndeterminate } = this.#settings;
    const obey = (verdict: 'block' | 'retry') => {
      if (verdict === 'retry') void this.#begin(visit, true);
      else {
        this.#counts.unanswerable++;
        this.#refuse(visit, problem('indeterminate', 'It may have run. Ask before you send it under a new key.'));
      }
    };
    if (typeof onIndeterminate === 'string') {
      obey(onIndeterminate);
      return;
    }
    // The function is the user's: what it throws is theirs to handle.
    void Promise.resolve()
      .then(() => onIndeterminate(visit.req))
      .then(obey, (error: unknown) => {
        visit.next(error);
      });
  }

  #storeFailed(visit: Visit, error: unknown): void {
    // One that is closed accepts nothing, whatever is wished of a store that fails.
    const verdict = this.#closed ? 'fail' : this.#tellStoreError(error, visit.req, visit.facts, 'claim');
    if (this.#isOver(visit)) return;
    if (visit.parked) this.#parking.leave(visit.parked);
    if (verdict === 'pass') {
      this.#unguarded.add(visit.req);
      visit.next();
    } else this.#refuse(visit, problem('store-unavailable', 'Try again later, with the same key.', 1000));
  }

  /** @param how what the store was told and must not appear in what is reported */
  #tellStoreError(
    error: unknown,
    req: ServerRequest,
    facts: RequestFacts,
    phase: StorePhase,
    how?: Answer | Settlement,
  ): 'fail' | 'pass' {
    this.#reportStoreError(error, req, facts, phase, how);
    const { onStoreError } = this.#settings;
    if (typeof onStoreError === 'string') return onStoreError;
    try {
      return onStoreError(error, req, phase);
    } catch {
      return 'fail';
    }
  }

  #reportStoreError(
    error: unknown,
    req: ServerRequest,
    facts: RequestFacts,
    phase: StorePhase,
    how?: Answer | Settlement,
  ): void {
    this.#counts.storeErrors++;
    const answer = typeof how === 'object' ? how : undefined;
    this.#reporter.report('store-error', req, () => this.#recordKey(facts), { error, phase }, answer);
  }

  #refuse({ req, res, next }: Pick<Visit, 'req' | 'res' | 'next'>, problem: Problem): void {
    const { onProblem } = this.#settings;
    try {
      if (onProblem === undefined) {
        if (!res.headersSent) sendProblem(res, problem);
        return;
      }
      const returned = onProblem(problem, req, res, next);
      // It may be asynchronous, as any handler.
      if (returned instanceof Promise) returned.catch(next);
    } catch (error) {
      next(error);
    }
  }

  #refuseInProgress(visit: Visit, leaseLeftMs: number): void {
    this.#counts.conflicts++;
    this.#report('conflict', visit, {});
    const detail = 'The first request with this key is still running. Ask again for its answer.';
    this.#refuse(visit, problem('in-progress', detail, Math.min(this.#leftMs(visit.facts), leaseLeftMs)));
  }

  /** Milliseconds until the handler may be done that runs under the same key. */
  #leftMs(facts: RequestFacts): number {
    const [method, url] = facts;
    for (const running of this.#renewals.claims()) {
      // Content type and kind of body may differ under one key; a derived key is made of the body, too.
      const isSame = [0, 1, 2, 4, 5].every((part) => facts[part] === running.facts[part]);
      if (isSame && (facts[2] !== undefined || facts[7] === running.facts[7])) {
        return this.#durations.leftMs(method, url, performance.now() - running.since);
      }
    }
    return this.#durations.leftMs(method, url, undefined);
  }

  #noteDuration({ facts, since }: Capture): void {
    this.#durations.note(facts[0], facts[1], performance.now() - since);
  }

  #report(type: 'claim' | 'replay' | 'conflict' | 'mismatch', { req, facts }: Visit, details: object): void {
    this.#reporter.report(type, req, () => this.#recordKey(facts), details);
  }

  /** Frees a key that nobody asks for any more; where the store fails to, its lease runs out. */
  #release(claim: HeldClaim): void {
    const released = claim.settle('release');
    if (typeof released !== 'boolean') void this.#underWay.during(released.catch(() => false));
  }

  #openDesk(): Desk {
    const { store } = this.#settings;
    if (store instanceof MemoryStore) return new MemoryDesk(store, this.#settings);
    if (isAtomicStore(store)) return new ContractDesk(store, this.#settings);
    this.#warnings.warn('WRN_REPRISE_STORE_NOT_ATOMIC');
    return new ContractDesk(new SimpleStoreAdapter(store, this.#settings.storeTimeoutMs), this.#settings);
  }

  /** Says what looks like a mistake already now. */
  #checkTheStart(): void {
    this.#isOfOneThread = isOfOneThread(this.#settings.store);
    if (process.env['NODE_ENV'] !== 'production') return;
    if (!this.#settings.scope && !this.#settings.identity) this.#warnings.warn('WRN_REPRISE_NO_SCOPE');
    if (this.#settings.store instanceof MemoryStore && isOneOfSeveral()) {
      this.#warnings.warn('WRN_REPRISE_MEMORY_STORE_IN_PRODUCTION');
    }
  }

  #recordKey(facts: RequestFacts): string {
    return this.#identified(facts).key;
  }

  /** A key that is none names nothing. */
  #identified(facts: RequestFacts): Identified {
    const identified = this.#identify(facts);
    return typeof identified === 'string' ? { key: '', fingerprint: '', identity: '' } : identified;
  }
}

function answerOf(begun: Begun | undefined): Answer | undefined {
  return begun?.outcome === 'completed' ? begun.answer : undefined;
}

/** One request on its way through the middleware. */
interface Visit {
  readonly req: GuardedRequest;
  readonly res: ServerResponse;
  readonly next: Next;
  readonly facts: RequestFacts;
  /** When the store was asked for its key, the last time. */
  askedAt: number;
  parked?: Parked;
  /** When the lease of the claim that it waits for is over, as far as it was told. */
  leaseUntil?: number;
}

function closedError(): Error {
  return withCode(new Error('This idempotency middleware is closed'), 'ERR_REPRISE_STORE_CLOSED');
}

function end(claim: HeldClaim, how: Answer | Settlement): boolean | Promise<boolean> {
  return typeof how === 'string' ? claim.settle(how) : claim.complete(how);
}

/** The key as the client sent it, without the quotes that it may have put around it. */
function clientKey(facts: RequestFacts): string | undefined {
  return facts[2] === undefined ? undefined : unquote(facts[2].trim());
}

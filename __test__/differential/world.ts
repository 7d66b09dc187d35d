import type { ServerResponse } from 'node:http';
import type { StoreKind } from './scenario.js';

/** All that is seen of one side of a scenario: of a run with us, or without. */
export interface Observation {
  /** The answers on the wire, and how the connection ended, per connection. */
  readonly wires: Wire[];
  /** A view per request that came, in their order. */
  readonly visits: Visit[];
  /** Errors that reached the process. */
  readonly processErrors: string[];
  /** What the middleware of the stack noted (access logs, on-finished, …). */
  readonly notes: string[];
  /** How often the handler ran. */
  runs: number;
  /** How often it began while another one had still something to do for the same request. */
  overlaps: number;
  /** How often something was done for one request in the asynchronous context of another. */
  strays: number;
  /** How often a store was told to free a key whose handler still ran, and had not been told. */
  unwarned: number;
}

/** What passed over one connection. */
export interface Wire {
  readonly answers: WireAnswer[];
  /** `hung`: nothing more came, and the client gave up. */
  end: 'closed' | 'reset' | 'hung' | 'left';
}

/** One answer as it came. */
export interface WireAnswer {
  readonly statusLine: string;
  /** `Name: value`, in their order; without those of the moment. */
  readonly headers: readonly string[];
  readonly framing: 'chunked' | 'length' | 'close' | 'none';
  /** One character a byte. */
  readonly body: string;
  readonly trailers: readonly string[];
  readonly complete: boolean;
}

/** What is seen of one request from inside the process. */
export interface Visit {
  readonly path: string;
  /** What middleware in front of all others sees: calls on the response, with what it says of itself, and events. */
  readonly outer: string[];
  /** The same from the place right in front of ours. */
  readonly near: string[];
  /** What each of the handler's steps came to. */
  readonly steps: string[];
  /** Callbacks and events, as the handler hears them. */
  readonly events: string[];
  /** What came to the error handler. */
  readonly errors: string[];
}

/** The state of a run: what it has seen, and what is still under way. */
export class World {
  readonly seen: Observation = {
    wires: [],
    visits: [],
    processErrors: [],
    notes: [],
    runs: 0,
    overlaps: 0,
    strays: 0,
    unwarned: 0,
  };
  readonly store: StoreKind;
  /** Names this run's keys: stores may be shared by many. */
  readonly tenant: string;
  #pending = 0;
  #hasGivenUp = false;
  #lastActivity = performance.now();
  readonly #open = new Set<ServerResponse>();

  constructor(store: StoreKind, tenant: string) {
    this.store = store;
    this.tenant = tenant;
  }

  /** Something happened: the run is not over yet. */
  touch(): void {
    this.#lastActivity = performance.now();
  }

  /** The client left an answer that never comes. What follows from that is compared where clients leave. */
  giveUp(): void {
    this.#hasGivenUp = true;
  }

  get hasGivenUp(): boolean {
    return this.#hasGivenUp;
  }

  note(text: string): void {
    this.touch();
    if (!this.#hasGivenUp) this.seen.notes.push(text);
  }

  /** Something is under way; returns what is to be called when it is over. */
  begin(): () => void {
    this.touch();
    this.#pending++;
    let over = false;
    return () => {
      this.touch();
      if (over) return;
      over = true;
      this.#pending--;
    };
  }

  /** A response has begun. */
  opened(res: ServerResponse): void {
    this.#open.add(res);
    res.once('close', () => {
      this.touch();
      this.#open.delete(res);
    });
  }

  /** Whether all responses are closed. */
  get isClosed(): boolean {
    return this.#open.size === 0;
  }

  /** Whether nothing is under way, and nothing has happened for so many milliseconds. */
  isQuiet(ms: number): boolean {
    // A request that has not come yet is under way.
    const least = this.seen.visits.length === 0 ? 10 * ms : ms;
    return this.#pending === 0 && performance.now() - this.#lastActivity >= least;
  }
}

import { STATUS_CODES } from 'node:http';

import { isEventStream } from './framing.js';
import type { Head, Piece } from './framing.js';
import type { Wire, WireFault } from './wire.js';

/** An answer that chaos makes. */
export interface MadeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Headers of the handler's answer that stay: what the connection and a browser go by. */
const KEPT = /^(?:date|connection|keep-alive|vary|access-control-.*)$/i;

/** The handler answers, and the client gets another answer in its place. The connection goes on as it would have. */
export class SubstituteAnswer implements WireFault {
  readonly #wire: Wire;
  readonly #answer: MadeAnswer;
  readonly #method: string | undefined;
  readonly #done: () => void;

  constructor(wire: Wire, method: string | undefined, answer: MadeAnswer, done: () => void) {
    this.#wire = wire;
    this.#method = method;
    this.#answer = answer;
    this.#done = done;
  }

  take({ kind, bytes }: Piece): void {
    const { head } = this.#wire;
    if (kind === 'interim') this.#wire.send(bytes);
    // It may have no end to wait for.
    if (kind === 'head' && head && isEventStream(head)) {
      this.#substitute(head);
      this.#wire.break('hangup');
    }
  }

  end(): void {
    const { head } = this.#wire;
    if (head) this.#substitute(head);
    this.#wire.over();
  }

  release(): void {
    const { head } = this.#wire;
    if (head === undefined) {
      this.#wire.pass();
      return;
    }
    // Some of the handler's answer is gone, and the rest of it cannot follow this one.
    this.#substitute(head);
    this.#wire.break('hangup');
  }

  #substitute(head: Head): void {
    this.#done();
    const { status, headers, body } = this.#answer;
    const kept = head.headers.filter(([name]) => KEPT.test(name));
    const lines = [...kept, ...Object.entries(headers)].map(([name, value]) => `${name}: ${value}\r\n`);
    const line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
    const content = this.#method === 'HEAD' || status === 204 || status === 304 ? '' : body;
    this.#wire.send(Buffer.concat([Buffer.from(`${line}${lines.join('')}\r\n`, 'latin1'), Buffer.from(content)]));
  }
}

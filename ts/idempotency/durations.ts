/** Runs of one route that are remembered. */
const REMEMBERED = 8;

/** Routes that are remembered; of more, those that came by last. */
const MOST_ROUTES = 256;

/** How long the handlers of a route have taken of late, to say when a running one may be done. */
export class Durations {
  /** By route, the one used last at the end; each with its latest durations. */
  readonly #routes = new Map<string, number[]>();

  /** Notes that a handler has taken `ms` milliseconds. */
  note(method: string, url: string, ms: number): void {
    const route = routeOf(method, url);
    const known = this.#routes.get(route) ?? [];
    if (known.length === REMEMBERED) known.shift();
    known.push(ms);
    this.#routes.delete(route);
    this.#routes.set(route, known);
    if (this.#routes.size <= MOST_ROUTES) return;
    const [oldest] = this.#routes.keys();
    if (oldest !== undefined) this.#routes.delete(oldest);
  }

  /**
   * Milliseconds that a handler may go on for which has run for `ranMs`. One that has outlasted all that are known is
   * taken to be half-way. Where nobody knows how long it has run, it has just begun.
   */
  leftMs(method: string, url: string, ranMs = 0): number {
    const longest = Math.max(0, ...(this.#routes.get(routeOf(method, url)) ?? []));
    return ranMs < longest ? longest - ranMs : ranMs;
  }
}

/** Characters of a path that name its route: a stranger may send one of any length. */
const LONGEST_ROUTE = 256;

/** The method and the path, in which every segment with a digit stands for any: most of these are ids. */
function routeOf(method: string, url: string): string {
  const path = url.slice(0, LONGEST_ROUTE).split('?', 1)[0] ?? '';
  const segments = path.split('/').map((segment) => (/\d/.test(segment) ? ':' : segment));
  return `${method} ${segments.join('/')}`;
}

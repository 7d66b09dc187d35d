import { createHash } from 'node:crypto';
import { hasMethods } from '../../options.js';

/**
 * Runs one statement with its values, and gives its rows. Without values it may be several statements. Where it fails,
 * the `code` of the error is the SQLSTATE, as far as the client tells: by it the store knows that its table is missing,
 * or that two transactions met and one has to try again.
 */
export type PostgresQuery = (text: string, values?: readonly unknown[]) => Promise<readonly Row[]>;

/** One row, by the names of its columns; `bytea` comes as a Buffer or another Uint8Array. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * The way to a database, for a driver or a query builder that reprise does not know. `docs/stores.md` shows it for
 * Drizzle, Knex and Prisma.
 */
export interface PostgresAdapter<Tx = unknown> {
  /** Runs a statement of its own. */
  readonly query: PostgresQuery;
  /**
   * Runs a function inside a transaction: commits when it resolves, rolls back when it rejects, and rejects then with
   * the same error. `tx` is what handlers get; `query` runs in the transaction.
   */
  readonly transaction?: <T>(run: (tx: Tx, query: PostgresQuery) => Promise<T>) => Promise<T>;
  /**
   * Listens on a connection of its own. `onGap`: notifications may have been missed. `onLost`: there will be no more.
   */
  readonly listen?: (channel: string, on: Listener) => Promise<{ close: () => Promise<void> | void }>;
}

/** Whom a {@link PostgresAdapter} tells. */
export interface Listener {
  readonly onMessage: (payload: string) => void;
  readonly onGap: () => void;
  readonly onLost: () => void;
}

type Method = (...args: never[]) => unknown;

/** A `Pool` or `Client` of pg, the `sql` of postgres.js, or a {@link PostgresAdapter} under `adapter`. */
export type PostgresClient = { query: Method; connect: Method } | { unsafe: Method; begin: Method; listen: Method };

/** Whether a value is one of the clients that {@link adapt} knows. */
export function isPostgresClient(client: unknown): client is PostgresClient {
  return hasMethods(client, 'query', 'connect') || hasMethods({ ...(client as object) }, 'unsafe', 'begin', 'listen');
}

/** One way to speak to every client. */
export function adapt(client: PostgresClient): PostgresAdapter {
  if ('unsafe' in client) return postgresJs(client as unknown as PostgresJs);
  return 'totalCount' in client ? pgPool(client as unknown as PgPool) : pgClient(client as unknown as PgClient);
}

interface PgQueryable {
  query(text: string, values?: readonly unknown[]): Promise<{ rows: Row[] }>;
  query(named: { name: string; text: string; values: readonly unknown[] }): Promise<{ rows: Row[] }>;
}

interface PgClient extends PgQueryable {
  connect(): Promise<unknown>;
  end(): Promise<void>;
  on(event: string, listener: (argument: never) => void): this;
  off(event: string, listener: (argument: never) => void): this;
  unref?(): void;
  /** What the server, or a pooler before it, has told as the number of the process that serves the connection. */
  processID?: unknown;
}

type PgPoolClient = PgClient & { release(error?: unknown): void };

interface PgPool extends PgQueryable {
  connect(callback: (error: Error | undefined, client: PgPoolClient) => void): void;
  options: object;
  Client: new (options: object) => PgClient;
}

/** Several statements at once, as the table's are, come as several results. */
function pgQuery(client: PgQueryable): PostgresQuery {
  return async (text, values) => (await client.query(text, values)).rows;
}

/**
 * SQLSTATEs by which a prepared statement is refused before it runs: it is not there, is there already, or its table was
 * altered. (The text of errors is translated.)
 */
const REFUSED_PREPARED: ReadonlySet<unknown> = new Set(['26000', '42P05', '0A000']);

/**
 * The statements that each connection of a pool prepares once: to plan one of the store's takes longer than to run it.
 * Behind a pooler that knows no prepared ones, all goes on without from the first that is refused.
 */
class PreparedStatements {
  readonly #names = new Map<string, string>();
  readonly #isDirect = new WeakMap<PgClient, boolean>();
  #isRefused = false;

  /** @param run asks on a connection. No transaction may be open there: a statement that is refused would end it */
  queryBy(run: (ask: (client: PgQueryable) => Promise<Row[]>) => Promise<Row[]>): PostgresQuery {
    return async (text, values) => {
      if (!this.#isRefused && values !== undefined) {
        try {
          return await run(async (client) => this.#ask(client, text, values));
        } catch (error) {
          if (!isRefusal(error)) throw error;
          this.#isRefused = true;
        }
      }
      return run(async (client) => (await client.query(text, values)).rows);
    };
  }

  /** In a transaction they are used where PostgreSQL itself is at the other end of the connection. */
  async queryIn(client: PgClient): Promise<PostgresQuery> {
    if (!(this.#isDirect.get(client) ?? (await this.#reaches(client)))) return pgQuery(client);
    return async (text, values) => {
      if (this.#isRefused || values === undefined) return pgQuery(client)(text, values);
      try {
        return await this.#ask(client, text, values);
      } catch (error) {
        // Somebody has had the connection forget them: this transaction is over, and the next does without.
        this.#isRefused ||= isRefusal(error);
        throw error;
      }
    };
  }

  /** A pooler tells the client a number of its own, by which to cancel; asked once for each connection. */
  async #reaches(client: PgClient): Promise<boolean> {
    const [row] = await pgQuery(client)('SELECT pg_backend_pid() AS pid');
    const isDirect = row?.['pid'] === client.processID;
    this.#isDirect.set(client, isDirect);
    return isDirect;
  }

  async #ask(client: PgQueryable, text: string, values: readonly unknown[]): Promise<Row[]> {
    // By its text: two versions of this package may share the connection of a pooler.
    const name = this.#names.get(text) ?? `reprise:${createHash('sha256').update(text).digest('hex').slice(0, 32)}`;
    this.#names.set(text, name);
    return (await client.query({ name, text, values })).rows;
  }
}

function isRefusal(error: unknown): boolean {
  return REFUSED_PREPARED.has((error as { code?: unknown }).code);
}

/**
 * Runs a function on a connection of the pool. One that breaks says so by an event too, and may do so late: somebody
 * listens until it is gone, for an event that nobody hears would end the process.
 */
async function withConnection<T>(
  pool: PgPool,
  run: (client: PgClient, discard: (reason: unknown) => void) => Promise<T>,
): Promise<T> {
  let broken: unknown;
  const discard = (reason: unknown): void => {
    broken ??= reason;
  };
  const client = await new Promise<PgPoolClient>((resolve, reject) => {
    // By callback: the server's last words may come with its first, before a promise has been heard.
    pool.connect((error, connected) => {
      if (error) reject(error);
      else resolve(connected.on('error', discard));
    });
  });
  try {
    return await run(client, discard);
  } finally {
    client.release(broken);
    // The pool listens itself to what it takes back.
    if (broken === undefined) client.off('error', discard);
  }
}

function pgPool(pool: PgPool): PostgresAdapter {
  const prepared = new PreparedStatements();
  return {
    query: prepared.queryBy(async (ask) =>
      withConnection(pool, async (client, discard) => {
        try {
          return await ask(client);
        } catch (error) {
          discard(error);
          throw error;
        }
      }),
    ),
    transaction: async (run) =>
      withConnection(pool, async (client, discard) => {
        try {
          // What it asks, it asks before: handlers may begin with SET TRANSACTION.
          const query = await prepared.queryIn(client);
          await client.query('BEGIN');
          const value = await run(client, query);
          await client.query('COMMIT');
          return value;
        } catch (error) {
          await client.query('ROLLBACK').catch(discard);
          throw error;
        }
      }),
    listen: async (channel, on) => {
      const client = new pool.Client(pool.options);
      const close = async (): Promise<void> => {
        await client.end().catch(() => undefined);
      };
      client.on('error', on.onLost).on('end', on.onLost);
      // Whoever waits holds the process by a socket of its own.
      client.unref?.();
      try {
        await client.connect();
        client.unref?.();
        pgHear(client, channel, on);
        await client.query(`LISTEN ${quoted(channel)}`);
      } catch (error) {
        await close();
        throw error;
      }
      return { close };
    },
  };
}

/** One connection: what handlers do between BEGIN and COMMIT would run into each other, so it has no transactions. */
function pgClient(client: PgClient): PostgresAdapter {
  const shared = sharedConnections.get(client) ?? new SharedConnection(client);
  sharedConnections.set(client, shared);
  return {
    query: async (text, values) => shared.query(text, values),
    listen: async (channel, on) => shared.listen(channel, on),
  };
}

/**
 * What the stores of one connection have in common: it does one statement at a time, which pg asks its users to see to,
 * and it listens to a channel for all of them or for none.
 */
class SharedConnection {
  readonly #client: PgClient;
  readonly #listening = new Map<string, number>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: PgClient) {
    this.#client = client;
  }

  /** Not prepared: the connection is the user's, and may be in a transaction. */
  async query(text: string, values?: readonly unknown[]): Promise<readonly Row[]> {
    const rows = this.#last.then(async () => pgQuery(this.#client)(text, values));
    this.#last = rows.catch(() => undefined);
    return rows;
  }

  async listen(channel: string, on: Listener): Promise<{ close: () => Promise<void> }> {
    this.#count(channel, 1);
    this.#client.on('end', on.onLost);
    const forget = pgHear(this.#client, channel, on);
    const close = async (): Promise<void> => {
      forget();
      this.#client.off('end', on.onLost);
      // Those that begin to listen meanwhile say so after it: statements keep their order.
      if (this.#count(channel, -1) === 0) await this.query(`UNLISTEN ${quoted(channel)}`).catch(() => undefined);
    };
    try {
      await this.query(`LISTEN ${quoted(channel)}`);
    } catch (error) {
      await close();
      throw error;
    }
    return { close };
  }

  #count(channel: string, change: number): number {
    const count = (this.#listening.get(channel) ?? 0) + change;
    this.#listening.set(channel, count);
    return count;
  }
}

const sharedConnections = new WeakMap<PgClient, SharedConnection>();

/** Hears notifications until the returned function is called. */
function pgHear(client: PgClient, channel: string, { onMessage }: Listener): () => void {
  const onNotification = (notification: { channel: string; payload?: string }): void => {
    if (notification.channel === channel) onMessage(notification.payload ?? '');
  };
  client.on('notification', onNotification);
  return () => {
    client.off('notification', onNotification);
  };
}

interface PostgresJs {
  unsafe(text: string, values?: readonly unknown[], options?: object): Promise<Row[]>;
  begin<T>(run: (tx: PostgresJs) => Promise<T>): Promise<T>;
  listen(
    channel: string,
    onMessage: (payload: string) => void,
    onListen: () => void,
  ): Promise<{ unlisten: () => Promise<void> }>;
  options?: { prepare?: boolean };
}

function postgresJs(sql: PostgresJs): PostgresAdapter {
  // A prepared statement costs one round trip, any other two; behind some poolers there are none.
  const prepare = sql.options?.prepare !== false;
  const queryOf =
    (client: PostgresJs): PostgresQuery =>
    async (text, values) =>
      values === undefined ? client.unsafe(text) : client.unsafe(text, values, { prepare });
  return {
    query: queryOf(sql),
    transaction: async (run) => sql.begin(async (tx) => run(tx, queryOf(tx))),
    listen: async (channel, { onMessage, onGap }) => {
      // It listens again by itself after a connection was lost, and says so.
      const { unlisten } = await sql.listen(channel, onMessage, onGap);
      return { close: unlisten };
    },
  };
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

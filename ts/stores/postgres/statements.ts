import { createHash } from 'node:crypto';

/**
 * What a database is asked for one step; `$1` is always the record's key. Columns of results have names of one word in
 * small letters: a client may be told to write others in its own way (`postgres.camel`).
 */
export interface Statements {
  readonly claim: string;
  readonly settle: string;
  readonly renew: string;
  readonly commitPoint: string;
  readonly save: string;
  readonly inspect: string;
  readonly forget: string;
  readonly wait: string;
  readonly stateOf: string;
  readonly lock: string;
  readonly isolation: string;
  readonly sweep: string;
  readonly list: string;
  readonly stats: string;
  readonly resolve: string;
}

/**
 * The table that a `PostgresStore` keeps its records in, as SQL for your migrations: with `createTable: false` the store
 * needs no right to make tables.
 *
 * @example
 * ```ts
 * await pool.query(createTableSql());
 * ```
 */
export function createTableSql(table = 'reprise_records'): string {
  const name = identifier(table);
  const index = identifier(ofItsOwn(`${table.slice(table.lastIndexOf('.') + 1)}_expires_at`));
  // Two processes that start at once would get in each other's way without the lock.
  return `
SELECT pg_advisory_xact_lock(hashtext('reprise'));
CREATE TABLE IF NOT EXISTS ${name} (
  key text COLLATE "C" PRIMARY KEY,
  state text NOT NULL CHECK (state IN ('in-progress', 'completed', 'not-replayable', 'indeterminate', 'free')),
  fingerprint text NOT NULL,
  identity text NOT NULL,
  owner text NOT NULL,
  fence bigint NOT NULL,
  lease_until timestamptz NOT NULL,
  committed boolean NOT NULL DEFAULT false,
  retention_ms double precision NOT NULL,
  expires_at timestamptz NOT NULL,
  waited boolean NOT NULL DEFAULT false,
  head bytea,
  body bytea,
  progress bytea
);
CREATE INDEX IF NOT EXISTS ${index} ON ${name} (expires_at);
`;
}

/** The channel of a table, over which those that wait are woken. */
export function channelOf(table: string): string {
  return ofItsOwn(`reprise:${table}`);
}

/** Bytes of a name. PostgreSQL cuts what is longer, after which two names may be one. */
export const LONGEST_NAME = 63;

/** A name that no other has, also where it is too long for PostgreSQL. */
function ofItsOwn(name: string): string {
  if (Buffer.byteLength(name) <= LONGEST_NAME) return name;
  return `reprise_${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
}

/** A name, with its schema if it has one, for use in SQL. */
export function identifier(name: string): string {
  return name
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.');
}

/** Milliseconds as an interval. */
const ms = (value: string) => `${value}::float8 * interval '1 millisecond'`;

/** Milliseconds from now, as a number that every client gives as one. */
const left = (time: string) => `(extract(epoch FROM ${time} - now()) * 1000)::float8`;

// What a row is at this moment, by the clock of the server.
const IS_LAPSED = `(r.state = 'in-progress' AND r.lease_until <= now())`;
const IS_EXPIRED = `r.expires_at <= now()`;
const IS_FREE = `(${IS_EXPIRED} OR r.state = 'free' OR (${IS_LAPSED} AND NOT r.committed))`;
const IS_UNSURE = `(r.state = 'indeterminate' OR (${IS_LAPSED} AND r.committed))`;

// What a claim ($2 fingerprint, $3 identity, $4 owner, $7 over an indeterminate record) may do with it.
const IS_SAME = `(r.fingerprint = $2 AND r.identity = $3)`;
const TAKES = `(${IS_FREE} OR (${IS_UNSURE} AND ${IS_SAME} AND $7::boolean))`;
const REPEATS = `(r.state = 'in-progress' AND NOT ${IS_FREE} AND NOT ${IS_UNSURE} AND r.owner = $4 AND ${IS_SAME})`;
const FINDS_LAPSED = `(${IS_LAPSED} AND r.committed AND NOT ${TAKES})`;

// What no step can have left behind.
const PROBLEM = `CASE WHEN r.fence < 1 THEN 'has no fence'
  WHEN r.state = 'completed' AND (r.head IS NULL OR r.body IS NULL) THEN 'is completed, without an answer' END`;
const BYTES = `(coalesce(length(r.head), 0) + coalesce(length(r.body), 0) + coalesce(length(r.progress), 0))::float8`;

/** A write names its claim: $1 key, $2 owner, $3 fence. */
const IS_NAMED = `r.key = $1 AND r.owner = $2 AND r.fence = $3::bigint`;
const IS_OURS = `${IS_NAMED} AND r.state = 'in-progress'`;

/** The statements over one table. */
export function statementsFor(table: string): Statements {
  const records = identifier(table);
  const channel = channelOf(table);
  const wake = `CASE WHEN waited THEN pg_notify('${channel.replaceAll("'", "''")}', key)::text END`;
  const columns = `state, fence::text AS fence, owner = $4 AS mine, fingerprint = $2 AS samefingerprint,
    identity = $3 AS sameidentity, ${left('lease_until')} AS leaseleft, head, body, progress`;
  return {
    // A row that a claim cannot change is only read. Where the row was changed between the statement's snapshot and
    // its write, no row or a free one comes back, and the caller asks again.
    claim: `
WITH kept AS (SELECT * FROM ${records} WHERE key = $1),
written AS (
  INSERT INTO ${records} AS r (key, state, fingerprint, identity, owner, fence, lease_until, retention_ms, expires_at)
  SELECT $1, 'in-progress', $2, $3, $4, 1, now() + ${ms('$5')}, $6::float8, now() + ${ms('($5::float8 + $6::float8)')}
  WHERE NOT EXISTS (SELECT 1 FROM kept AS r WHERE NOT (${TAKES} OR ${REPEATS} OR ${FINDS_LAPSED}))
  ON CONFLICT (key) DO UPDATE SET
    state = CASE WHEN ${TAKES} OR ${REPEATS} THEN 'in-progress' ELSE 'indeterminate' END,
    fingerprint = CASE WHEN ${TAKES} THEN $2 ELSE r.fingerprint END,
    identity = CASE WHEN ${TAKES} THEN $3 ELSE r.identity END,
    owner = CASE WHEN ${TAKES} THEN $4 ELSE r.owner END,
    fence = CASE WHEN ${TAKES} THEN r.fence + 1 ELSE r.fence END,
    lease_until = CASE WHEN ${TAKES} OR ${REPEATS} THEN excluded.lease_until ELSE r.lease_until END,
    committed = CASE WHEN ${TAKES} THEN false ELSE r.committed END,
    retention_ms = CASE WHEN ${TAKES} THEN excluded.retention_ms ELSE r.retention_ms END,
    expires_at = CASE WHEN ${TAKES} OR ${REPEATS} THEN excluded.expires_at ELSE r.expires_at END,
    waited = r.waited AND NOT ${TAKES},
    progress = CASE WHEN ${IS_EXPIRED} THEN NULL ELSE r.progress END,
    head = NULL,
    body = NULL
  WHERE ${TAKES} OR ${REPEATS} OR ${FINDS_LAPSED}
  RETURNING *
)
SELECT ${columns}, false AS isfree FROM written
UNION ALL
SELECT ${columns}, ${IS_FREE} AS isfree FROM kept AS r WHERE NOT EXISTS (SELECT 1 FROM written)`,

    // $4 the state to end in, $5 retention, $6 head, $7 body. A completion that is repeated, by a driver that lost the
    // answer, is as good as the first. A released record keeps its progress, and one behind its commit point is not free.
    settle: `
WITH settled AS (
  UPDATE ${records} AS r SET
    state = CASE WHEN $4 = 'free' AND r.committed THEN 'indeterminate' ELSE $4 END,
    head = $6::bytea,
    body = $7::bytea,
    progress = CASE WHEN $4 IN ('completed', 'not-replayable') THEN NULL ELSE r.progress END,
    expires_at = clock_timestamp() + ${ms('$5')}
  WHERE ${IS_NAMED} AND
    (r.state = 'in-progress' OR (r.state = 'completed' AND $4 = 'completed' AND r.head = $6 AND r.body = $7))
  RETURNING key, waited
)
SELECT ${wake} FROM settled`,

    renew: `
UPDATE ${records} AS r SET
  lease_until = clock_timestamp() + ${ms('$4')},
  expires_at = clock_timestamp() + ${ms('($4::float8 + r.retention_ms)')}
WHERE ${IS_OURS} RETURNING 1`,

    commitPoint: `UPDATE ${records} AS r SET committed = true WHERE ${IS_OURS} RETURNING 1`,

    save: `UPDATE ${records} AS r SET progress = $4::bytea WHERE ${IS_OURS} RETURNING 1`,

    inspect: `
SELECT CASE WHEN ${IS_UNSURE} THEN 'indeterminate' ELSE r.state END AS state, fence::text AS fence, head, body,
  ${left('lease_until')} AS leaseleft, ${left('expires_at')} AS expiresin
FROM ${records} AS r WHERE r.key = $1 AND NOT ${IS_FREE}`,

    // The row stays, for the next claim's fence must be higher.
    forget: `
WITH kept AS (SELECT r.key, r.waited, ${IS_FREE} AS isfree FROM ${records} AS r WHERE r.key = $1 FOR UPDATE),
forgotten AS (
  UPDATE ${records} AS r SET state = 'free', committed = false, waited = false, head = NULL, body = NULL, progress = NULL
  FROM kept WHERE r.key = kept.key
)
SELECT isfree, ${wake} FROM kept`,

    wait: `
UPDATE ${records} AS r SET waited = true
WHERE r.key = $1 AND r.state = 'in-progress' AND r.lease_until > now()
RETURNING ${left('lease_until')} AS leaseleft`,

    // Waits for a transaction that is about to end the claim.
    stateOf: `
SELECT state FROM ${records} WHERE key = $1 AND owner = $2 AND fence = $3::bigint FOR UPDATE`,

    // For a transaction that sees the row as it was at its start: whoever writes to it meanwhile would end it.
    lock: `SELECT 1 AS locked FROM ${records} AS r WHERE ${IS_OURS} FOR UPDATE`,

    isolation: `SELECT current_setting('default_transaction_isolation') AS isolation`,

    // $1 the last key of the page before.
    list: `
SELECT r.key, ${PROBLEM} AS problem, CASE WHEN ${IS_UNSURE} THEN 'indeterminate' ELSE r.state END AS state,
  fence::text AS fence, ${left('lease_until')} AS leaseleft, ${left('expires_at')} AS expiresin, ${BYTES} AS bytes
FROM ${records} AS r WHERE r.key > $1 AND NOT ${IS_FREE} ORDER BY r.key LIMIT $2::int`,

    stats: `
SELECT state, count(*)::float8 AS records, coalesce(sum(bytes), 0)::float8 AS bytes FROM (
  SELECT ${BYTES} AS bytes, CASE WHEN ${PROBLEM} IS NOT NULL THEN 'damaged' WHEN ${IS_FREE} THEN 'free'
    WHEN ${IS_UNSURE} THEN 'indeterminate' ELSE r.state END AS state
  FROM ${records} AS r WHERE NOT ${IS_EXPIRED}
) AS kept GROUP BY state`,

    // $2 the state to end in, $3 retention, $4 head, $5 body. Nobody waits for an indeterminate record.
    resolve: `
UPDATE ${records} AS r SET
  state = $2,
  owner = '',
  committed = false,
  waited = false,
  head = $4::bytea,
  body = $5::bytea,
  progress = CASE WHEN $2 = 'free' THEN r.progress END,
  expires_at = now() + ${ms('$3')}
WHERE r.key = $1 AND ${IS_UNSURE} AND NOT ${IS_EXPIRED} RETURNING 1`,

    sweep: `
DELETE FROM ${records} WHERE key IN (
  SELECT key FROM ${records} WHERE expires_at <= now() ORDER BY expires_at LIMIT $1::int FOR UPDATE SKIP LOCKED
) RETURNING 1`,
  };
}

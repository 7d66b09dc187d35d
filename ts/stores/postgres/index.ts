export { PostgresStore, type PostgresStoreOptions } from './store.js';
export { createTableSql } from './statements.js';
export type { Listener, PostgresAdapter, PostgresClient, PostgresQuery, Row } from './client.js';

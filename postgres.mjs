// auto-generated from the exports of ./postgres.js by `npm run build:ts`; do not edit
import implementation from './postgres.js';

export const {
  PostgresStore,
  createTableSql,
} = implementation;

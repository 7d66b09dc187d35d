export type { RepriseError, RepriseErrorCode } from './errors.js';

// auto-generated from the exports of ./testing.js by `npm run build:ts`; do not edit
import implementation from './testing.js';

export const {
  SIMPLE_STORE_LIMITS,
  storeContract,
  verifyResumable,
  withChaos,
} = implementation;

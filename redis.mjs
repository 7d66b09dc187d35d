// auto-generated from the exports of ./redis.js by `npm run build:ts`; do not edit
import implementation from './redis.js';

export const {
  RedisStore,
} = implementation;

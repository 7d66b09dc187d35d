// auto-generated from the exports of ./index.js by `npm run build:ts`; do not edit
import implementation from './index.js';

export const {
  CheckpointLoadError,
  CheckpointSaveError,
  MemoryStore,
  RetryConfig,
  computeDelay,
  idempotencyMiddleware,
  retryCriticalTask,
  retryKernelTask,
  retryQuickTask,
  retryWithCheckpoint,
} = implementation;

// auto-generated from the exports of ./index.js by `npm run build:ts`; do not edit
import implementation from './index.js';

export const {
  CheckpointLoadError,
  CheckpointSaveError,
  MemoryStore,
  RetryConfig,
  chaosMiddleware,
  computeDelay,
  createChaos,
  getChaosMetrics,
  idempotencyMiddleware,
  initChaos,
  registerKernel,
  retryCriticalTask,
  retryKernelTask,
  retryQuickTask,
  retryWithCheckpoint,
} = implementation;

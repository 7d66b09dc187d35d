export type { RepriseError, RepriseErrorCode } from './errors.js';
export {
  retryWithCheckpoint,
  type CheckpointContext,
  type CheckpointedRetry,
  type CheckpointOptions,
} from './retry/checkpoint.js';
export { computeDelay, RetryConfig, type RetryConfigInit } from './retry/config.js';
export { CheckpointLoadError, CheckpointSaveError } from './retry/errors.js';
export { retryCriticalTask, retryKernelTask, retryQuickTask, type RetryPreset } from './retry/presets.js';

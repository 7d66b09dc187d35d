export type { RepriseError, RepriseErrorCode } from './errors.js';
export { idempotencyMiddleware, type IdempotencyHandler } from './idempotency/middleware.js';
export type { AnswerSummary, IdempotencyOptions, StorePhase } from './idempotency/options.js';
export type { IdempotencyContext } from './idempotency/context.js';
export type { Endpoint, RecordInfo } from './idempotency/inspection.js';
export type { Problem, ProblemCode } from './idempotency/problem.js';
export type { IdempotencyEvent, IdempotencyMetrics, Logger } from './idempotency/reporter.js';
export type { WarningCode } from './idempotency/warnings.js';
export type {
  AtomicStore,
  ClaimEnd,
  ClaimOutcome,
  ClaimRef,
  ClaimRequest,
  KeptAnswer,
  KeptRecord,
} from './stores/contract.js';
export { MemoryStore, type MemoryStoreOptions, type MemoryStoreStats } from './stores/memory.js';
export type { IdempotencyStore, StoredAnswer, StoredResponse, StoredVerdict } from './stores/types.js';
export {
  retryWithCheckpoint,
  type CheckpointContext,
  type CheckpointedRetry,
  type CheckpointOptions,
} from './retry/checkpoint.js';
export { computeDelay, RetryConfig, type RetryConfigInit } from './retry/config.js';
export { CheckpointLoadError, CheckpointSaveError } from './retry/errors.js';
export { retryCriticalTask, retryKernelTask, retryQuickTask, type RetryPreset } from './retry/presets.js';

export { createChaos } from './chaos/chaos.js';
export type { Chaos, ChaosMetrics, ChaosMiddleware } from './chaos/chaos.js';
export { chaosMiddleware, getChaosMetrics, initChaos, registerKernel } from './chaos/default.js';
export type { KillKernel } from './chaos/kernels.js';
export type { ChaosOptions } from './chaos/options.js';
export type { Ending } from './chaos/faults/connection.js';
export type { ChaosDelay, ChaosFault, ChaosMatch, ChaosRule } from './chaos/rules.js';

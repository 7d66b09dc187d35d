export type { RepriseError, RepriseErrorCode } from './errors.js';
export { idempotencyMiddleware, type CloseOptions, type IdempotencyHandler } from './idempotency/middleware.js';
export type { AnswerSummary, IdempotencyOptions, StorePhase } from './idempotency/options.js';
export type { IdempotencyContext } from './idempotency/context.js';
export type { Endpoint, RecordInfo } from './idempotency/inspection.js';
export type { Problem, ProblemCode } from './idempotency/problem.js';
export type { IdempotencyEvent, IdempotencyMetrics } from './idempotency/reporter.js';
export type { Logger } from './logger.js';
export type { WarningCode } from './warnings.js';
export type {
  AtomicStore,
  ClaimEnd,
  ClaimOutcome,
  ClaimRef,
  ClaimRequest,
  KeptAnswer,
  KeptRecord,
} from './stores/contract.js';
export type { DamagedRecord, ListedRecord, Resolution, StoreOperations, StoreStats } from './stores/operations.js';
export { layered } from './stores/layered.js';
export { FileStore, type FileStoreOptions, type FileStoreStats } from './stores/file/index.js';
export { MemoryStore, type MemoryStoreOptions, type MemoryStoreStats } from './stores/memory.js';
export type { KnownCache } from './stores/known-clients.js';
export type { IdempotencyStore, StoredAnswer, StoredResponse, StoredVerdict } from './stores/types.js';
export {
  retryWithCheckpoint,
  type CheckpointContext,
  type CheckpointedRetry,
  type CheckpointOptions,
  type StoredCheckpointOptions,
  type TaskOptions,
} from './retry/checkpoint.js';
export { resumable, type ResumableOptions } from './checkpoint/resumable.js';
export type { TaskContext } from './checkpoint/context.js';
export type { CheckpointBoundary, CheckpointPassage } from './checkpoint/boundary.js';
export { drain, type DrainReport } from './checkpoint/drain.js';
export {
  CheckpointCorruptError,
  CheckpointLostError,
  CheckpointMismatchError,
  CheckpointTooLargeError,
  DrainedError,
  InterruptedAttemptError,
  StaleAttemptError,
  TaskInProgressError,
} from './checkpoint/errors.js';
export { computeDelay, RetryConfig, type RetryConfigInit } from './retry/config.js';
export { BudgetShare, RetryBudget, type RetryBudgetOptions } from './retry/budget.js';
export {
  AttemptTimeoutError,
  CheckpointLoadError,
  CheckpointSaveError,
  NonRetryableError,
  RetryTimeoutError,
} from './retry/errors.js';
export type { RetryEvent } from './retry/events.js';
export { requestRetryOptions, retryFetch } from './retry/fetch.js';
export { getRetryInfo, type RetryInfo, type StopReason } from './retry/info.js';
export type { AttemptContext } from './retry/attempt.js';
export {
  schedule,
  worstCaseMs,
  type FailureContext,
  type Jitter,
  type RetryOptions,
  type ScheduleOptions,
} from './retry/plan.js';
export { retryCriticalTask, retryKernelTask, retryQuickTask, type RetryPreset } from './retry/presets.js';
export { parseRetryAfter } from './retry/retry-after.js';
export { Retry, retry, retrySync, withRetry, type Retrier, type RetrySyncOptions } from './retry/retry.js';
export { setTestMode, type TestMode } from './retry/test-mode.js';
export { traceContext, type OpenTelemetryApi, type TraceContext } from './retry/trace.js';

export { createChaos } from './chaos/chaos.js';
export type {
  Chaos,
  ChaosExplanation,
  ChaosMetrics,
  ChaosMiddleware,
  ChaosRuleStatus,
  ChaosStatus,
  ChaosVerdict,
} from './chaos/api.js';
export type { ChaosGuardOptions, ChaosGuardStatus } from './chaos/guard/guard.js';
export type { ChaosJournal, ChaosJournalData, ChaosJournalEntry, ChaosRecorded } from './chaos/journal.js';
export type { ChaosReplay, ChaosReplayReport } from './chaos/replay.js';
export { chaosMiddleware, getChaosMetrics, initChaos, registerKernel } from './chaos/default.js';
export { kernelOf } from './chaos/kernels/kernel-of.js';
export type { KernelMode, KernelOfOptions } from './chaos/kernels/kernel-of.js';
export type { KernelKillOptions, KernelReport } from './chaos/kernels/kills.js';
export type { Kernel, KillKernel, RegisterKernel } from './chaos/kernels/registry.js';
export type { ChaosState } from './chaos/life.js';
export type { ChaosOptions } from './chaos/options.js';
export type { ChaosDelay } from './chaos/delay.js';
export type { Ending } from './chaos/faults/connection.js';
export type { ChaosFault } from './chaos/faults/fault.js';
export type { StoreCall } from './chaos/faults/store.js';
export type { ChaosMatch } from './chaos/match.js';
export type { ChaosRule } from './chaos/rules.js';
export { chaosStore, type ChaosStoreMetrics } from './chaos/store.js';
export { chaosControl, type ChaosControlOptions } from './chaos/control/control.js';
export type { ChaosProblem, ChaosProblemCode } from './chaos/control/problem.js';

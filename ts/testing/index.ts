export {
  SIMPLE_STORE_LIMITS,
  storeContract,
  type MakeStore,
  type StoreContractOptions,
  type TestFramework,
} from './contract.js';
export type { StoreContractCaseName } from './contract-cases.js';
export { verifyResumable, type ResumableReport, type ResumableTask } from './verify-resumable.js';
export { withChaos, type FailingRequests, type WithChaosOptions } from './with-chaos.js';

import { retryScenario } from './calls.mjs';
import { duplicatesScenario } from './duplicates.mjs';
import { recordsScenario } from './records.mjs';
import { chaosScenario, derivedScenario, largeScenario, newKeyScenario, replayScenario } from './requests.mjs';

export const scenarios = [
  newKeyScenario,
  replayScenario,
  largeScenario,
  derivedScenario,
  duplicatesScenario,
  chaosScenario,
  retryScenario,
  recordsScenario,
];

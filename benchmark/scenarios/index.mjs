import { retryScenario } from './calls.mjs';
import { duplicatesScenario } from './duplicates.mjs';
import { filesScenario } from './files.mjs';
import { postgresScenario } from './postgres.mjs';
import { recordsScenario } from './records.mjs';
import { redisScenario } from './redis.mjs';
import { tablesScenario } from './tables.mjs';
import { threadsScenario } from './threads.mjs';
import { chaosScenario, derivedScenario, largeScenario, newKeyScenario, replayScenario } from './requests.mjs';

export const scenarios = [
  newKeyScenario,
  replayScenario,
  largeScenario,
  derivedScenario,
  duplicatesScenario,
  filesScenario,
  redisScenario,
  postgresScenario,
  chaosScenario,
  retryScenario,
  recordsScenario,
  threadsScenario,
  tablesScenario,
];

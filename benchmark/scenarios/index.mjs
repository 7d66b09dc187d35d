import { derivedScenario, largeScenario, newKeyScenario, replayScenario } from './requests.mjs';

export const scenarios = [newKeyScenario, replayScenario, largeScenario, derivedScenario];

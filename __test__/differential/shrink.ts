import type { Client, Scenario, Step } from './scenario.js';

/** The plainest client, handler and store: what a scenario is made simpler towards. */
const PLAIN: Partial<Scenario> = { express: 5, store: 'memory', mounts: 'idempotency', key: 'explicit' };
const PLAIN_CLIENT: Client = {
  version: '1.1',
  connection: 'close',
  accepts: null,
  acceptsThen: null,
  body: 'none',
  does: { is: 'plain' },
};

/** Makes a scenario that fails as small as it can while it still fails. */
export async function shrink(scenario: Scenario, fails: (candidate: Scenario) => Promise<boolean>): Promise<Scenario> {
  let smallest = scenario;
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false;
    for (const candidate of simpler(smallest)) {
      if (await fails(candidate)) {
        smallest = candidate;
        isSmaller = true;
        break;
      }
    }
  }
  return smallest;
}

/** Scenarios that are one step simpler, the boldest first. */
function* simpler(scenario: Scenario): Generator<Scenario> {
  const { handler, client, outside, inside, maxResponseBytes, waits, ...rest } = scenario;

  if (outside.length > 0) yield { ...scenario, outside: [] };
  if (inside.length > 0) yield { ...scenario, inside: [] };
  if (JSON.stringify(client) !== JSON.stringify(PLAIN_CLIENT)) yield { ...scenario, client: PLAIN_CLIENT };
  for (const [name, list] of [
    ['outside', outside],
    ['inside', inside],
  ] as const) {
    if (list.length > 1) for (const shorter of without(list)) yield { ...scenario, [name]: shorter };
  }
  for (const steps of without(handler.steps)) yield { ...scenario, handler: { ...handler, steps } };
  for (const [i, timed] of handler.steps.entries()) {
    if (timed.when === 'now') continue;
    const steps = handler.steps.with(i, { ...timed, when: 'now' });
    yield { ...scenario, handler: { ...handler, steps } };
  }
  for (const [i, { when, step }] of handler.steps.entries()) {
    for (const simple of simplerSteps(step)) {
      yield { ...scenario, handler: { ...handler, steps: handler.steps.with(i, { when, step: simple }) } };
    }
  }
  if (handler.form !== 'sync') yield { ...scenario, handler: { ...handler, form: 'sync' } };
  if (handler.onError !== 'throw') yield { ...scenario, handler: { ...handler, onError: 'throw' } };
  if (handler.listens) yield { ...scenario, handler: { ...handler, listens: false } };
  for (const [name, value] of Object.entries(PLAIN)) {
    if (scenario[name as keyof Scenario] !== value) yield { ...scenario, [name]: value };
  }
  for (const name of Object.keys(PLAIN_CLIENT) as (keyof Client)[]) {
    if (JSON.stringify(client[name]) === JSON.stringify(PLAIN_CLIENT[name])) continue;
    yield { ...scenario, client: { ...client, [name]: PLAIN_CLIENT[name] } };
  }
  const whole = { ...rest, handler, client, outside, inside };
  if (maxResponseBytes !== undefined) yield { ...whole, ...(waits !== undefined && { waits }) };
  if (waits !== undefined) yield { ...whole, ...(maxResponseBytes !== undefined && { maxResponseBytes }) };
}

function* without<T>(list: readonly T[]): Generator<T[]> {
  for (const i of list.keys()) yield list.toSpliced(i, 1);
}

function* simplerSteps(step: Step): Generator<Step> {
  if ((step.do === 'write' || step.do === 'end') && step.callback) yield { ...step, callback: false };
  if ((step.do === 'write' || step.do === 'end' || step.do === 'send') && step.chunk) {
    const { chunk } = step;
    if (chunk.times !== undefined) yield { ...step, chunk: { as: chunk.as, text: chunk.text } };
    if (chunk.as !== 'string') yield { ...step, chunk: { ...chunk, as: 'string' } };
    if (chunk.text !== 'a') yield { ...step, chunk: { ...chunk, text: 'a' } };
  }
  if (step.do === 'writeHead') {
    for (const fields of without(step.fields)) yield { ...step, fields };
    if (step.reason !== undefined) yield { do: step.do, code: step.code, form: step.form, fields: step.fields };
  }
  if (step.do === 'stream') {
    for (const pieces of without(step.pieces)) yield { ...step, pieces };
    if (step.slow) yield { ...step, slow: false };
  }
}

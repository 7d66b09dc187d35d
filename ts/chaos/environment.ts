import { show, withCode } from '../errors.js';
import { isLatencyRange, MAX_LATENCY_MS } from './options.js';
import type { ChaosOptions } from './options.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** How one variable is read: the option that it sets, and its value, `undefined` if it cannot be read. */
interface Variable<Name extends keyof ChaosOptions = keyof ChaosOptions> {
  readonly option: Name;
  readonly allowed: string;
  readonly read: (text: string) => ChaosOptions[Name];
}

const rate = (option: 'failureProbability' | 'latencyProbability' | 'kernelKillProbability'): Variable => ({
  option,
  allowed: 'a number from 0 to 1',
  read: (text) => {
    const value = /^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    return value >= 0 && value <= 1 ? value : undefined;
  },
});

const variables: Readonly<Record<string, Variable>> = {
  CHAOS_ENABLED: { option: 'enabled', allowed: 'true or false', read: readBoolean },
  CHAOS_FAILURE_RATE: rate('failureProbability'),
  CHAOS_LATENCY_RATE: rate('latencyProbability'),
  CHAOS_LATENCY_RANGE: {
    option: 'latencyRange',
    allowed: `min-max in whole milliseconds up to ${MAX_LATENCY_MS}, min not above max, such as 100-5000`,
    read: (text) => {
      const [, min, max] = (/^(\d+)-(\d+)$/.exec(text) ?? []).map(Number);
      return min !== undefined && max !== undefined && isLatencyRange(min, max) ? [min, max] : undefined;
    },
  },
  CHAOS_KERNEL_KILL_RATE: rate('kernelKillProbability'),
  CHAOS_SEED: {
    option: 'seed',
    allowed: 'a text of up to 256 characters',
    read: (text) => (text.length <= 256 ? text : undefined),
  },
};

function readBoolean(text: string): boolean | undefined {
  const lower = text.toLowerCase();
  return lower === 'true' ? true : lower === 'false' ? false : undefined;
}

/**
 * The options with what the environment says put over them: an operator's word is newer than the code's. Only for
 * `enabled` both must agree, so that an off is never overridden. A variable that is empty counts as absent.
 *
 * @throws RangeError with code `ERR_REPRISE_INVALID_ENVIRONMENT` for a value that cannot be read
 */
export function withEnvironment(owner: string, options: ChaosOptions, environment: Environment): ChaosOptions {
  const merged: Record<string, unknown> = { ...options };
  for (const [name, variable] of Object.entries(variables)) {
    const text = environment[name];
    if (text === undefined || text === '') continue;
    const value = variable.read(text);
    if (value === undefined) {
      throw withCode(
        new RangeError(`${owner}: environment variable ${name} is ${show(text)}; allowed: ${variable.allowed}`),
        'ERR_REPRISE_INVALID_ENVIRONMENT',
      );
    }
    merged[variable.option] = variable.option === 'enabled' ? value && options.enabled !== false : value;
  }
  return merged;
}

/** Whether the environment asks for chaos or against it, without a word of code. */
export function isMentioned(environment: Environment): boolean {
  return Boolean(environment['CHAOS_ENABLED']);
}

let warned = false;

/** Whether this process serves people. */
export function isProduction(environment: Environment): boolean {
  return environment['NODE_ENV']?.trim().toLowerCase() === 'production';
}

/**
 * Whether this is production and nobody allowed chaos there. If chaos was `wanted`, the first refusal of the process
 * warns.
 */
export function isForbidden(wanted: boolean, environment: Environment): boolean {
  const override = environment['CHAOS_ENGINEERING_OVERRIDE'];
  if (!isProduction(environment) || override === 'true') return false;
  if (wanted && !warned && readBoolean(environment['CHAOS_ENABLED'] ?? '') !== false) {
    warned = true;
    const found = override === undefined ? '' : ` (it is ${show(override)}; only "true" counts)`;
    process.emitWarning(
      `chaos stays off, since NODE_ENV is production. To allow it there, set CHAOS_ENGINEERING_OVERRIDE=true${found}`,
      { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_IN_PRODUCTION' },
    );
  }
  return true;
}

/** What an instance answers that is told to inject where nobody allowed it. */
export function forbiddenInProduction(name: string): Error {
  return withCode(
    new Error(
      `chaos.${name}: NODE_ENV is production, where chaos stays off; to allow it there, set CHAOS_ENGINEERING_OVERRIDE=true`,
    ),
    'ERR_REPRISE_CHAOS_IN_PRODUCTION',
  );
}

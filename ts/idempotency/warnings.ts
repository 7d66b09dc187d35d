/** Likely mistakes that are worth a word, once. `docs/errors/<code>.md` explains each. */
export type WarningCode =
  'WRN_REPRISE_BODY_NOT_PARSED' | 'WRN_REPRISE_SHOULD_STORE_FAILED' | 'WRN_REPRISE_STORE_NOT_ATOMIC';

const said = new Set<WarningCode>();

/** Says it once in a process: `process.emitWarning` with a code, which `--disable-warning=<code>` switches off. */
export function warnOnce(code: WarningCode, message: string): void {
  if (said.has(code)) return;
  said.add(code);
  process.emitWarning(message, { type: 'RepriseWarning', code });
}

/* auto-generated from ts/ by `npm run build:ts`; do not edit */
/**
 * Every code that reprise puts on an error. A code never changes its meaning; `docs/errors/<code>.md` explains each.
 */
type RepriseErrorCode = 'ERR_REPRISE_INVALID_OPTION' | 'ERR_REPRISE_UNKNOWN_OPTION' | 'ERR_REPRISE_INVALID_ENVIRONMENT' | 'ERR_REPRISE_INVALID_ARGUMENT' | 'ERR_REPRISE_NATIVE_UNAVAILABLE' | 'ERR_REPRISE_STORE_CLOSED' | 'ERR_REPRISE_STORE_FULL' | 'ERR_REPRISE_STORE_TIMEOUT';
/** What every error thrown by reprise carries besides its message. */
interface RepriseError extends Error {
    /** Stable, for programs. */
    readonly code: RepriseErrorCode;
}

export type { RepriseError, RepriseErrorCode };

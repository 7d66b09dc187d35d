import type { NativeClaimOutcome, NativeInspection } from '../../native/binding.js';
import type { ClaimOutcome, KeptRecord } from './contract.js';

/** What a native store answers to a claim, as the contract says it. */
export function outcomeOf(found: NativeClaimOutcome): ClaimOutcome {
  switch (found.outcome) {
    case 'claimed':
      return { outcome: 'claimed', fence: found.fence ?? 0, ...(found.progress && { progress: found.progress }) };
    case 'completed':
      return { outcome: 'completed', answer: { head: found.head ?? '', body: found.body ?? Buffer.alloc(0) } };
    case 'in-progress':
      return { outcome: 'in-progress', leaseLeftMs: found.leaseLeftMs ?? 0 };
    case 'mismatch':
      return { outcome: 'mismatch', differs: found.differs as 'fingerprint' | 'identity' };
    default:
      return { outcome: found.outcome as 'not-replayable' | 'indeterminate' | 'full' };
  }
}

/** How a claim ends without an answer, as the memory store takes it. See `DeskCalls` in the binding. */
export const ENDS = { release: 0, 'not-replayable': 1, indeterminate: 2 } as const;

/** The two parts of a refusal that the memory store tells in one number below 0. */
export function refusalParts(told: number): [code: number, detail: number] {
  return [-told % 16, Math.floor(-told / 16)];
}

/** A refusal as the memory store tells it: a code, and what goes with it. See `DeskCalls` in the binding. */
export function refusalOf(code: number, detail: number): Exclude<ClaimOutcome, { outcome: 'claimed' | 'completed' }> {
  switch (code) {
    case 2:
      return { outcome: 'mismatch', differs: detail === 0 ? 'fingerprint' : 'identity' };
    case 3:
      return { outcome: 'in-progress', leaseLeftMs: detail };
    case 4:
      return { outcome: 'not-replayable' };
    case 5:
      return { outcome: 'indeterminate' };
    default:
      return { outcome: 'full' };
  }
}

/** What a native store keeps for a key, as the contract says it. */
export function keptRecordOf(found: NativeInspection | null): KeptRecord | undefined {
  if (found === null) return undefined;
  const { fence, leftMs, head, body } = found;
  const state = found.state as KeptRecord['state'];
  if (state === 'in-progress') return { state, fence, leaseLeftMs: leftMs };
  if (state !== 'completed') return { state, fence, expiresInMs: leftMs };
  return { state, fence, expiresInMs: leftMs, answer: { head: head ?? '', body: body ?? Buffer.alloc(0) } };
}

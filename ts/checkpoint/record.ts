import type { NativeCheckpoint } from '../../native/binding.js';
import { native } from '../native.js';
import { CheckpointCorruptError } from './errors.js';

/** What is kept of a task; values are JSON texts. */
export type Checkpoint = Readonly<NativeCheckpoint>;

/** A record of a task that has not been begun. */
export function emptyCheckpoint(fingerprint: string): Checkpoint {
  return { attempts: 0, isRunning: false, nextAttemptAtMs: 0, sequence: 0, fingerprint, steps: [] };
}

/** The bytes of a record. */
export function encodeCheckpoint(record: Checkpoint): Buffer {
  return native.encodeCheckpoint(record);
}

/**
 * Reads what {@link encodeCheckpoint} wrote.
 *
 * @throws CheckpointCorruptError
 */
export function decodeCheckpoint(taskId: string, bytes: Uint8Array): Checkpoint {
  try {
    return native.decodeCheckpoint(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (cause) {
    throw new CheckpointCorruptError(taskId, cause);
  }
}

/**
 * A value as it is kept: JSON, or an empty text for `undefined`.
 *
 * @throws TypeError for what is no JSON: a cycle, a BigInt
 */
export function encodeValue(value: unknown): string {
  return stringify(value) ?? '';
}

/** Reads what {@link encodeValue} wrote. */
export function decodeValue(text: string): unknown {
  return text === '' ? undefined : JSON.parse(text);
}

/** Typed as it is: there is no text for `undefined`, a function or a symbol. */
function stringify(value: unknown): string | undefined {
  return JSON.stringify(value);
}

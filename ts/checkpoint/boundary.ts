import { channel } from 'node:diagnostics_channel';

/**
 * Where a crash hurts most: `before-work`, a call of the task or of a step begins; `before-save`, work is done and
 * nothing of it is saved; `during-save`, the write is under way and nobody knows how it will end.
 */
export type CheckpointBoundary = 'before-work' | 'before-save' | 'during-save';

/** What is published on `node:diagnostics_channel`, under `reprise:checkpoint:` and the boundary. */
export interface CheckpointPassage {
  readonly boundary: CheckpointBoundary;
  readonly taskId: string;
  /**
   * The number of the record's write that comes next, or is under way; it never comes twice for a task. Without a
   * store there is no record, and it is the number of the attempt.
   */
  readonly sequence: number;
}

/** All of them, in the order in which work passes them. */
export const BOUNDARIES: readonly CheckpointBoundary[] = ['before-work', 'before-save', 'during-save'];

/** The name of its channel. */
export function boundaryChannel(boundary: CheckpointBoundary): string {
  return `reprise:checkpoint:${boundary}`;
}

const CHANNELS = new Map(BOUNDARIES.map((boundary) => [boundary, channel(boundaryChannel(boundary))]));

/** Tells whoever listens that a task is at a boundary. What a listener throws goes to the process, not to the task. */
export function passes(boundary: CheckpointBoundary, taskId: string, sequence: number): void {
  const found = CHANNELS.get(boundary);
  if (found?.hasSubscribers !== true) return;
  const passage: CheckpointPassage = { boundary, taskId, sequence };
  found.publish(passage);
}

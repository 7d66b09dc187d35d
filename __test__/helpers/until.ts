import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves when it has happened; asks again and again, since nothing tells. The test's own time limit ends it. */
export async function until(happened: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await happened())) await sleep(2);
}

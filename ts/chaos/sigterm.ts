/**
 * A listener for SIGTERM changes what the signal does: a process that has one no longer dies by it. So there is one
 * only while someone else has one, too, and the end of the process is theirs to decide. Where nobody listens, the
 * process dies at once, and all that it held with it.
 */

/** On the listener, so that a second copy of this module knows it for one that decides nothing. */
const OURS = Symbol.for('reprise.chaos.sigterm');

const watchers = new Set<() => void>();

const listener = Object.assign(
  () => {
    for (const watcher of [...watchers]) watcher();
  },
  { [OURS]: true },
);

/** Calls `watcher` at SIGTERM, before the listeners of others; returns what ends that. */
export function watchSigterm(watcher: () => void): () => void {
  if (watchers.size === 0) {
    process.on('newListener', attach);
    process.on('removeListener', detach);
    if (isHeardByOthers()) process.prependListener('SIGTERM', listener);
  }
  watchers.add(watcher);
  return () => {
    if (!watchers.delete(watcher) || watchers.size > 0) return;
    process.off('newListener', attach);
    process.off('removeListener', detach);
    process.off('SIGTERM', listener);
  };
}

/** Before somebody's first listener is there. */
function attach(event: string | symbol, added: object): void {
  if (event !== 'SIGTERM' || OURS in added || process.listeners('SIGTERM').includes(listener)) return;
  process.prependListener('SIGTERM', listener);
}

/** After somebody's last one is gone; that of a `once` goes before it is called. */
function detach(event: string | symbol, removed: object): void {
  if (event === 'SIGTERM' && !(OURS in removed) && !isHeardByOthers()) process.off('SIGTERM', listener);
}

function isHeardByOthers(): boolean {
  return process.listeners('SIGTERM').some((other) => !(OURS in other));
}

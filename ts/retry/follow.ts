interface Followers {
  readonly all: Set<() => void>;
  readonly onAbort: () => void;
}

/** Who follows which signal. */
const followers = new WeakMap<AbortSignal, Followers>();

/**
 * Calls `follower` once the signal aborts; what it returns ends that. However many follow a signal, it has one listener
 * of ours, and none when they are gone: a signal that all requests of a server share must not collect listeners, nor
 * bring up Node's warning of a leak, which eleven do.
 */
export function follow(signal: AbortSignal, follower: () => void): () => void {
  const { all, onAbort } = followers.get(signal) ?? begin(signal);
  all.add(follower);
  return () => {
    if (!all.delete(follower) || all.size > 0 || signal.aborted) return;
    followers.delete(signal);
    signal.removeEventListener('abort', onAbort);
  };
}

function begin(signal: AbortSignal): Followers {
  const all = new Set<() => void>();
  const onAbort = () => {
    followers.delete(signal);
    for (const follower of all) follower();
  };
  const begun = { all, onAbort };
  followers.set(signal, begun);
  signal.addEventListener('abort', onAbort, { once: true });
  return begun;
}

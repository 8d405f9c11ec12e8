// Waiting for a signal's abort, many times over: loops that sleep between two looks listen and stop listening each time, and
// an EventTarget takes a microsecond for that.

type Callback = () => void;

const callbacks = new WeakMap<AbortSignal, Set<Callback>>();

/** Calls back once when the signal aborts, unless it was told to forget it. One that has aborted already does not call any more. */
export function onAbort(signal: AbortSignal, callback: Callback): () => void {
  let all = callbacks.get(signal);
  if (!all) {
    const made = new Set<Callback>();
    callbacks.set(signal, made);
    signal.addEventListener("abort", () => callAll(made), { once: true });
    all = made;
  }
  const listening = all;
  listening.add(callback);
  return () => void listening.delete(callback);
}

function callAll(all: Set<Callback>): void {
  const present = [...all];
  all.clear();
  for (const callback of present) callback();
}

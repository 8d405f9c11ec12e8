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

/** A controller that aborts when the signal does, until `over` is called, which aborts it too. */
export class Follower {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #forget: () => void;

  /** As AbortSignal.any would do it, but Node keeps what that makes, with all that listens, alive until it aborts. */
  constructor(leader: AbortSignal) {
    this.signal = this.#controller.signal;
    this.#forget = onAbort(leader, () => this.#controller.abort(leader.reason));
    if (leader.aborted) this.#controller.abort(leader.reason);
  }

  over(): void {
    this.#forget();
    this.#controller.abort();
  }
}

function callAll(all: Set<Callback>): void {
  const present = [...all];
  all.clear();
  for (const callback of present) callback();
}

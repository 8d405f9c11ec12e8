// Virtual time for a whole federation: a queue of events, ordered by time and then by when they were made.
//
// Nothing happens between two events. After each one, everything that it set going is let run to its end: nothing here waits
// for anything outside, so the same seed takes the same steps, however fast the machine is.

import { assert } from "#/lib/assert/assert.ts";

/** Between two turns of the event loop, so that signals are heard. */
const eventsPerTurn = 1000;

export interface Handle {
  cancel(): void;
}

class Event implements Handle {
  readonly sequence: number;
  /** Undefined once it was cancelled. */
  run: (() => void) | undefined;

  constructor(sequence: number, run: () => void) {
    this.sequence = sequence;
    this.run = run;
  }

  cancel(): void {
    this.run = undefined;
  }
}

export class Scheduler {
  /** Since the beginning of the world. */
  nowMs = 0;
  /** Events that were run. */
  steps = 0;
  /** What an event throws is told here. */
  onError: (error: unknown) => void = (error) => {
    throw error;
  };
  /** A heap, with its events' times beside it. */
  readonly #heap: Event[] = [];
  #times = new Float64Array(1024);
  #sequence = 0;

  at(timeMs: number, run: () => void): Handle {
    assert(!Number.isNaN(timeMs), "an event needs a time");
    const event = new Event(this.#sequence++, run);
    this.#push(event, Math.max(timeMs, this.nowMs));
    return event;
  }

  after(delayMs: number, run: () => void): Handle {
    return this.at(this.nowMs + Math.max(0, delayMs), run);
  }

  wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Runs everything up to that time, or until `isOver` says so. */
  async run(untilMs: number, isOver: () => boolean = () => false): Promise<void> {
    await new Promise<void>((resolve) => {
      const some = () => {
        drain();
        for (let left = eventsPerTurn; left > 0; left--) {
          if (isOver()) return resolve();
          const next = this.#heap[0];
          const timeMs = this.#times[0]!;
          if (!next || timeMs > untilMs) {
            this.nowMs = Math.max(this.nowMs, untilMs);
            return resolve();
          }
          this.#pop();
          if (next.run) this.#take(timeMs, next.run);
        }
        setImmediate(some);
      };
      setImmediate(some);
    });
  }

  #take(timeMs: number, run: () => void): void {
    this.nowMs = timeMs;
    this.steps++;
    try {
      run();
    } catch (error) {
      this.onError(error);
    }
    drain();
  }

  #push(event: Event, timeMs: number): void {
    const heap = this.#heap;
    if (heap.length === this.#times.length) {
      const times = new Float64Array(2 * heap.length);
      times.set(this.#times);
      this.#times = times;
    }
    const times = this.#times;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      // Of two at one time, the one that stands there was made first.
      if (timeMs >= times[parent]!) break;
      heap[at] = heap[parent]!;
      times[at] = times[parent]!;
      at = parent;
    }
    heap[at] = event;
    times[at] = timeMs;
  }

  #pop(): void {
    const heap = this.#heap;
    const times = this.#times;
    const last = heap.pop()!;
    const { length } = heap;
    if (length === 0) return;
    const lastMs = times[length]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= length) break;
      let childMs = times[child]!;
      if (child + 1 < length) {
        const otherMs = times[child + 1]!;
        if (otherMs < childMs || (otherMs === childMs && heap[child + 1]!.sequence < heap[child]!.sequence)) {
          child++;
          childMs = otherMs;
        }
      }
      if (childMs > lastMs || (childMs === lastMs && heap[child]!.sequence > last.sequence)) break;
      heap[at] = heap[child]!;
      times[at] = childMs;
      at = child;
    }
    heap[at] = last;
    times[at] = lastMs;
  }
}

/**
 * Runs every promise's continuation to its end, as Node does it after each callback. Only outside of such a continuation;
 * within the documented API a turn of the event loop does the same at several times the price.
 */
const drain = (process as unknown as { readonly _tickCallback: () => void })._tickCallback;
assert(typeof drain === "function", "this version of Node drains its queue of microtasks under that name");

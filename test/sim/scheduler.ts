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

interface Event {
  readonly timeMs: number;
  readonly sequence: number;
  run: (() => void) | undefined;
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
  readonly #heap: Event[] = [];
  #sequence = 0;

  at(timeMs: number, run: () => void): Handle {
    assert(!Number.isNaN(timeMs), "an event needs a time");
    const event: Event = { timeMs: Math.max(timeMs, this.nowMs), sequence: this.#sequence++, run };
    this.#push(event);
    return {
      cancel() {
        event.run = undefined;
      },
    };
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
          if (!next || next.timeMs > untilMs) {
            this.nowMs = Math.max(this.nowMs, untilMs);
            return resolve();
          }
          this.#pop();
          if (next.run) this.#take(next.timeMs, next.run);
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

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.sequence < b.sequence);
}

/**
 * Runs every promise's continuation to its end, as Node does it after each callback. Only outside of such a continuation;
 * within the documented API a turn of the event loop does the same at several times the price.
 */
const drain = (process as unknown as { readonly _tickCallback: () => void })._tickCallback;
assert(typeof drain === "function", "this version of Node drains its queue of microtasks under that name");

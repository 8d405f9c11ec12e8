// What is remembered of targets that were taken away a moment ago. A target that comes back soon, because its secondary's
// neighbour flaps or a list of targets was empty for a moment, goes on with its layout and need not be learnt anew.
//
// It costs no memory that was not there before: kept are so many that they and those assigned are no more than ever were
// assigned at once, and none for longer than half a minute.

import { secondMs } from "#/lib/bytes/units.ts";

/** What flaps does so within seconds; who is away for longer was taken away on purpose. */
export const awayMsMax = 30 * secondMs;

interface Kept<S> {
  readonly state: S;
  /** Time of the newest slot that had its outcome here. */
  readonly slotMs: number;
  readonly untilMs: number;
}

export class Away<S> {
  readonly #onGone: (state: S) => void;
  /** In the order in which they left. */
  readonly #kept = new Map<string, Kept<S>>();
  #assignedMax = 0;

  /** `onGone` gets the state of each that does not come back. */
  constructor(onGone: (state: S) => void) {
    this.#onGone = onGone;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** On the monotonic clock. */
  keep(id: string, state: S, slotMs: number, nowMs: number): void {
    this.#drop(id);
    this.#kept.set(id, { state, slotMs, untilMs: nowMs + awayMsMax });
  }

  /** Of a target that comes back; it is no longer kept here. */
  take(id: string): { readonly state: S; readonly slotMs: number } | undefined {
    const kept = this.#kept.get(id);
    this.#kept.delete(id);
    return kept;
  }

  /** Lets go what is there for too long, and the oldest of what is too much beside so many assigned targets. */
  trim(assigned: number, nowMs: number): void {
    this.#assignedMax = Math.max(this.#assignedMax, assigned);
    for (const [id, { untilMs }] of this.#kept) {
      if (untilMs > nowMs && assigned + this.#kept.size <= this.#assignedMax) return;
      this.#drop(id);
    }
  }

  clear(): void {
    for (const id of this.#kept.keys()) this.#drop(id);
  }

  #drop(id: string): void {
    const kept = this.#kept.get(id);
    if (!kept) return;
    this.#kept.delete(id);
    this.#onGone(kept.state);
  }
}

// An allowance that is spent and fills up again with time: so much at once, and so much an hour.

import { hourMs } from "#/lib/bytes/units.ts";

export class Allowance {
  #burst: number;
  #perHour: number;
  #left: number;
  #countedMs: number;

  /** Full at first. All times are those of the monotonic clock. */
  constructor(options: { readonly burst: number; readonly perHour: number }, nowMs: number) {
    this.#burst = options.burst;
    this.#perHour = options.perHour;
    this.#left = options.burst;
    this.#countedMs = nowMs;
  }

  /** Whole; below 0 after more was spent than there was. */
  left(nowMs: number): number {
    const regained = (Math.max(0, nowMs - this.#countedMs) / hourMs) * this.#perHour;
    this.#left = Math.min(this.#burst, this.#left + regained);
    this.#countedMs = nowMs;
    return Math.floor(this.#left);
  }

  spend(amount: number): void {
    this.#left -= amount;
  }

  /** From now on; what was spent of the old burst is spent of the new one. */
  resize(options: { readonly burst: number; readonly perHour: number }, nowMs: number): void {
    const left = this.left(nowMs);
    this.#left = options.burst - (this.#burst - left);
    this.#burst = options.burst;
    this.#perHour = options.perHour;
  }
}

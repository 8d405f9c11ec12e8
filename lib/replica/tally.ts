// How fast samples come, averaged over the last seconds.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** One round of the usual interval, so that the rate of an even load is even. */
const windowSeconds = 15;

export class Tally {
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #samples = new Float64Array(windowSeconds);
  #second = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  /** Samples that arrived now. */
  countSamples(samples: number): void {
    this.#turn();
    this.#samples[this.#second % windowSeconds]! += samples;
  }

  samplesPerSecond(): number {
    this.#turn();
    const elapsedMs = this.#clock.monotonicMs() - this.#startedMs;
    const seconds = Math.min(windowSeconds, Math.max(1, elapsedMs / secondMs));
    return this.#samples.reduce((sum, count) => sum + count, 0) / seconds;
  }

  /** Empties the buckets of the seconds that went by. */
  #turn(): void {
    const second = Math.floor((this.#clock.monotonicMs() - this.#startedMs) / secondMs);
    if (second - this.#second >= windowSeconds) this.#samples.fill(0);
    else for (let s = this.#second + 1; s <= second; s++) this.#samples[s % windowSeconds] = 0;
    this.#second = second;
  }
}

// What a page shows of a data centre at a glance: targets up and down, and how fast samples come.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { isFailed, isStored } from "#/lib/model/outcome.ts";
import type { Scrape } from "#/lib/model/scrape.ts";

/** One round of the usual interval, so that the rate of an even load is even. */
const windowSeconds = 15;

export class Tally {
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #targets = new Map<string, { timeMs: number; up: boolean }>();
  readonly #samples = new Float64Array(windowSeconds);
  #second = 0;
  #up = 0;
  #lastSampleMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  countScrape({ target, facts }: Scrape): void {
    const up = isStored(facts.outcome);
    if (!up && !isFailed(facts.outcome)) return;
    if (up) this.#lastSampleMs = Math.max(this.#lastSampleMs ?? facts.timestampMs, facts.timestampMs);
    const known = this.#targets.get(target.id);
    if (!known) this.#targets.set(target.id, { timeMs: facts.timestampMs, up });
    else if (facts.timestampMs < known.timeMs) return;
    else {
      if (known.up) this.#up--;
      known.timeMs = facts.timestampMs;
      known.up = up;
    }
    if (up) this.#up++;
  }

  /** Samples that arrived now. */
  countSamples(samples: number): void {
    this.#turn();
    this.#samples[this.#second % windowSeconds]! += samples;
  }

  /** Targets that are no more. */
  forget(ids: readonly string[]): void {
    for (const id of ids) {
      if (this.#targets.get(id)?.up) this.#up--;
      this.#targets.delete(id);
    }
  }

  summary() {
    this.#turn();
    const elapsedMs = this.#clock.monotonicMs() - this.#startedMs;
    const seconds = Math.min(windowSeconds, Math.max(1, elapsedMs / secondMs));
    return {
      up: this.#up,
      down: this.#targets.size - this.#up,
      samplesPerSecond: this.#samples.reduce((sum, count) => sum + count, 0) / seconds,
      lastSampleMs: this.#lastSampleMs,
    };
  }

  /** Empties the buckets of the seconds that went by. */
  #turn(): void {
    const second = Math.floor((this.#clock.monotonicMs() - this.#startedMs) / secondMs);
    if (second - this.#second >= windowSeconds) this.#samples.fill(0);
    else for (let s = this.#second + 1; s <= second; s++) this.#samples[s % windowSeconds] = 0;
    this.#second = second;
  }
}

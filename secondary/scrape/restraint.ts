// Keeps a target that brings too much from costing the others: this secondary's time, and everybody's memory.
//
// A series that is new has to be understood here and remembered by every replica for as long as its samples are kept, so a
// target has an allowance of new series, which fills up again with time. And finding out that a scrape brings too much is itself
// expensive: after it, the target rests. The operator's own limits are cheap to hold and no matter of this file.

import { secondMs } from "#/lib/bytes/units.ts";
import { seriesPerScrapeMax } from "#/secondary/scrape/layout.ts";

/** Every series of the largest target may get another name twice in a row, as when it is upgraded and taken back. */
export const seriesAddedBurst = 2 * seriesPerScrapeMax;
/** 180,000 an hour: a cluster's exporter with 100,000 series of which a hundredth change every 20 s. */
export const seriesAddedPerSecond = 50;

/** A scrape that is refused takes about a second of the event loop at most: a sixtieth of this. */
export const restMs = 60 * secondMs;

export class Restraint {
  #allowance = seriesAddedBurst;
  #countedMs: number;
  #restsUntilMs = Number.NEGATIVE_INFINITY;
  #reason = "";

  /** All times are those of the monotonic clock. */
  constructor(nowMs: number) {
    this.#countedMs = nowMs;
  }

  /** Takes that many new series out of the allowance; or takes nothing, and says why. */
  refuses(seriesAdded: number, nowMs: number): string | undefined {
    const regained = ((nowMs - this.#countedMs) / secondMs) * seriesAddedPerSecond;
    this.#allowance = Math.min(seriesAddedBurst, this.#allowance + regained);
    this.#countedMs = nowMs;
    if (seriesAdded > this.#allowance) {
      return `expected at most ${Math.floor(this.#allowance)} new series (${seriesAddedBurst}, and ${seriesAddedPerSecond} a second), got ${seriesAdded}`;
    }
    this.#allowance -= seriesAdded;
    return undefined;
  }

  /** Not to be scraped for a while; `reason` is for people. */
  rest(reason: string, nowMs: number): void {
    this.#reason = reason;
    this.#restsUntilMs = nowMs + restMs;
  }

  /** Why the target is not to be scraped now; undefined when it is. */
  resting(nowMs: number): string | undefined {
    if (nowMs >= this.#restsUntilMs) return undefined;
    return `${this.#reason}; tried again in ${Math.ceil((this.#restsUntilMs - nowMs) / secondMs)} s`;
  }
}

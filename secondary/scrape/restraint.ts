// Keeps a target of which nothing can be read from costing the others this secondary's time.
//
// Finding out that a scrape brings more than can be read is itself expensive: after it, the target rests. A target that brings
// too many series, but of which something can be read, is the guard's matter (guard.ts).

import { secondMs } from "#/lib/bytes/units.ts";

/** A scrape that is refused takes about a second of the event loop at most: a sixtieth of this. */
export const restMs = 60 * secondMs;

export class Restraint {
  #restsUntilMs = Number.NEGATIVE_INFINITY;
  #reason = "";

  /** Not to be scraped for a while; `reason` is for people. All times are those of the monotonic clock. */
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

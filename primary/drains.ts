// Which secondaries may drain their backlogs at full rate now: a few at a time, so that after a cut the primary, its log and the
// link behind it have room for what is scraped meanwhile, which comes first from everybody.
//
// A secondary says again and again how much it has; who says nothing any more, or that there is nothing, makes room. While others wait
// a turn ends, so that one with a day's backlog does not keep those with a minute's. Nobody stands still: without permission a
// secondary drains at a trickle, so losing a word here costs time only.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** At 8 MiB a second each, a quarter of a gigabit's link and of what one log server writes. */
export const drainsMax = 4;

/** Most backlogs end within it: at 8 MiB a second it is 20 minutes of a full secondary's batches. */
const turnMs = 30 * secondMs;

/** Secondaries say so every 5 s. */
const silenceMsMax = 20 * secondMs;

interface Drain {
  readonly sinceMs: number;
  heardMs: number;
}

export class Drains {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #max: number;
  readonly #admitted = new Map<string, Drain>();
  /** In the order in which they asked, and when they did so last. */
  readonly #waiting = new Map<string, number>();

  constructor(clock: Pick<Clock, "monotonicMs">, max = drainsMax) {
    this.#clock = clock;
    this.#max = max;
  }

  get admitted(): number {
    return this.#admitted.size;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** A secondary says how many batches of earlier runs it has. Whose permission has changed, and its own as it is. */
  said(secondary: string, batches: number): ReadonlyMap<string, boolean> {
    const nowMs = this.#clock.monotonicMs();
    const before = new Set(this.#admitted.keys());
    this.#forgetSilent(nowMs);
    const drain = this.#admitted.get(secondary);
    if (batches === 0) this.#forget(secondary);
    else if (!drain) this.#waiting.set(secondary, nowMs);
    else if (this.#waiting.size === 0 || nowMs - drain.sinceMs < turnMs) drain.heardMs = nowMs;
    else {
      this.#admitted.delete(secondary);
      this.#waiting.set(secondary, nowMs);
    }
    this.#fill(nowMs);
    return this.#changes(before, secondary);
  }

  /** Its stream ended. Whose permission has changed. */
  gone(secondary: string): ReadonlyMap<string, boolean> {
    const before = new Set(this.#admitted.keys());
    this.#forget(secondary);
    this.#fill(this.#clock.monotonicMs());
    const changes = new Map(this.#changes(before));
    changes.delete(secondary);
    return changes;
  }

  #changes(before: ReadonlySet<string>, always?: string): ReadonlyMap<string, boolean> {
    const names = new Set([...before, ...this.#admitted.keys()]);
    const changes = new Map<string, boolean>();
    for (const name of names) if (before.has(name) !== this.#admitted.has(name)) changes.set(name, !before.has(name));
    if (always !== undefined) changes.set(always, this.#admitted.has(always));
    return changes;
  }

  #fill(nowMs: number): void {
    for (const [secondary, heardMs] of this.#waiting) {
      if (this.#admitted.size >= this.#max) return;
      this.#waiting.delete(secondary);
      this.#admitted.set(secondary, { sinceMs: nowMs, heardMs });
    }
  }

  #forgetSilent(nowMs: number): void {
    for (const [name, { heardMs }] of this.#admitted) if (nowMs - heardMs > silenceMsMax) this.#admitted.delete(name);
    for (const [name, heardMs] of this.#waiting) if (nowMs - heardMs > silenceMsMax) this.#waiting.delete(name);
  }

  #forget(secondary: string): void {
    this.#admitted.delete(secondary);
    this.#waiting.delete(secondary);
  }
}

// What secondaries told of batches that they dropped, as far as the log was read. A run that lacks such batches goes on behind
// them at once: it is the one hole of which it is known that nobody will fill it.
//
// The word may come long before the run does, because the newest run is sent first, and it comes again when its secondary
// cannot know that it was heard. So all of it is kept, within a bound, and is in the journal's checkpoints.

import type { DroppedRange } from "#/lib/model/dropped.ts";
import { runKey } from "#/lib/model/identity.ts";

/** A thousand overflows of a data centre's secondaries. What is older is given up after an hour, like any other hole. */
export const droppedRangesMax = 4096;

export interface ToldRange extends DroppedRange {
  readonly secondary: string;
}

export class DroppedRanges {
  readonly #datacenter: string;
  #all: ToldRange[] = [];
  readonly #byRun = new Map<string, ToldRange[]>();

  constructor(datacenter: string) {
    this.#datacenter = datacenter;
  }

  /** Oldest first. */
  get all(): readonly ToldRange[] {
    return this.#all;
  }

  /** False when it was told before. */
  take(range: ToldRange): boolean {
    const key = runKey({ ...range, datacenter: this.#datacenter });
    const ofRun = this.#byRun.get(key);
    if (
      ofRun?.some(({ from, reason, until }) => from <= range.from && until >= range.until && reason === range.reason)
    ) {
      return false;
    }
    if (ofRun) ofRun.push(range);
    else this.#byRun.set(key, [range]);
    this.#all.push(range);
    if (this.#all.length > droppedRangesMax) this.#forget(this.#all.shift()!);
    return true;
  }

  /** The last sequence of those right after this one that were dropped; the same one when the next was not. */
  until(key: string, sequence: number): number {
    const ofRun = this.#byRun.get(key);
    for (let reached = sequence; ofRun; ) {
      const next = ofRun.find(({ from, until }) => from <= reached + 1 && until > reached);
      if (!next) return reached;
      reached = next.until;
    }
    return sequence;
  }

  #forget(range: ToldRange): void {
    const key = runKey({ ...range, datacenter: this.#datacenter });
    const left = this.#byRun.get(key)!.filter((each) => each !== range);
    if (left.length > 0) this.#byRun.set(key, left);
    else this.#byRun.delete(key);
  }
}

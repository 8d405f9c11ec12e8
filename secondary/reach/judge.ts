// Is it the targets, or is it us? When most targets fail at connect together, their outcomes are held until that is known.
//
// A scrape that fails without a byte, of a target that could be reached before, is held for a moment. If by then more than half of
// the scrapes that ended failed so, it is a suspicion: a primary is told, has another secondary probe a sample, and what is held
// waits for the verdict. Then it is told as it is, or, when this secondary is cut off, as a missed slot, which says nothing of the
// target. Where too few scrapes end in that moment to tell, some more targets are asked at once. Everything else goes on meanwhile.
//
// With threads each shard judges by itself: they share nothing, and a hash splits the targets between them, so what is most of
// one shard's is most of the secondary's.

import { assert } from "#/lib/assert/assert.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import { type ReachVerdict, reachSampleMax, type Suspicion } from "#/lib/model/reach.ts";

/** A cut shows in all scrapes of this time; one target that dies is told so much later. */
const holdMs = 2 * secondMs;
/** Fewer scrapes tell nothing, unless there are no more targets. */
const scrapesMin = 5;
/** A primary answers sooner, if only that nobody knows (secondary/reach/reporter.ts). */
const verdictMsMax = 12 * secondMs;
/**
 * After a verdict, the next suspicion takes its time: when all targets are down, each slot of an interval brings new failures, and
 * one question every `holdMs` is enough.
 */
const eagerAfterMs = 30 * secondMs;
/** Twice a full secondary's targets; beyond, outcomes are told at once as they are. */
const heldMax = 10_000;
/** What ended is counted by these, for as long as anything can be held before it is judged. */
const bucketMs = 100;
const bucketsKept = (3 * holdMs) / bucketMs;
assert(bucketsKept * bucketMs > holdMs + bucketMs, "what ended while something is held is known when it is judged");

/** `suspected`: a verdict is waited for. `cut_off`: a failure without a byte says nothing of its target. */
export type ReachState = "clear" | "suspected" | "cut_off";

/** How a held outcome is told. */
export type ToldAs = "failed" | "cut_off";

export interface ReachParts {
  readonly clock: Clock;
  /** How many targets there are that could be reached when last tried, or were not tried yet; counted up to a maximum. */
  readonly reachable: (max: number) => number;
  /** Asks so many of those that are not held, and tells of each whether it was reached; never rejects. */
  readonly ask: (count: number, isHeld: (id: string) => boolean) => Promise<readonly boolean[]>;
  /** A suspicion, and undefined when it is over, or the state that it led to is. */
  readonly onSuspicion: (suspicion: Suspicion | undefined) => void;
}

interface Held {
  readonly slotMs: number;
  readonly heldMs: number;
  readonly tell: (as: ToldAs) => void;
}

export class ReachJudge {
  readonly #parts: ReachParts;
  readonly #clock: Clock;
  /** By target, in the order in which the first one of each came. */
  readonly #held = new Map<string, Held[]>();
  readonly #buckets: { readonly fromMs: number; ended: number; failed: number }[] = [];
  #heldCount = 0;
  #state: ReachState = "clear";
  /** Scrapes in a row that got a byte. */
  #reachedInARow = 0;
  #asking = false;
  #judgedMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #closed = false;

  constructor(parts: ReachParts) {
    this.#parts = parts;
    this.#clock = parts.clock;
  }

  get state(): ReachState {
    return this.#state;
  }

  /** Outcomes that are held. */
  get held(): number {
    return this.#heldCount;
  }

  /** Time of the earliest slot whose outcome is held. */
  heldSinceMs(): number {
    let slotMs = Number.POSITIVE_INFINITY;
    for (const [first] of this.#held.values()) slotMs = Math.min(slotMs, first!.slotMs);
    return slotMs;
  }

  /** A scrape got a byte. To be told before its outcome is. */
  reached(id: string): void {
    this.#note(false);
    this.#reachedInARow++;
    // Its earlier slots come first. Had only it been away, they would not be held any more, or it is not to blame.
    if (this.#held.size > 0) this.#tell(id, this.#state === "suspected" ? "cut_off" : "failed");
    if (this.#state === "cut_off" && this.#reachedInARow >= this.#scrapesMin()) this.#become("clear");
  }

  /** A scrape got no byte, of a target that had been reached before, or was not tried before. */
  unreached(id: string, slotMs: number, tell: (as: ToldAs) => void): void {
    this.#note(true);
    this.#reachedInARow = 0;
    if (this.#state === "cut_off" || this.#closed || this.#heldCount >= heldMax) {
      tell(this.#state === "cut_off" ? "cut_off" : "failed");
      return;
    }
    const held = { slotMs, heldMs: this.#clock.monotonicMs(), tell };
    const before = this.#held.get(id);
    if (before) before.push(held);
    else this.#held.set(id, [held]);
    this.#heldCount++;
    if (this.#state !== "clear") return;
    const isEager = held.heldMs - this.#judgedMs >= eagerAfterMs;
    if (!isEager || !this.#suspects()) this.#timer ??= this.#clock.after(holdMs, () => this.#ripen());
  }

  /** The primary's word, or the secondary's own when no primary is heard. */
  verdict(verdict: ReachVerdict): void {
    if (this.#closed) return;
    if (verdict === "cut_off") this.#become("cut_off");
    // That may be about a time before what is suspected now.
    else if (verdict !== "reachable" || this.#state === "cut_off") this.#become("clear");
  }

  /** Tells what is held as it is. May be called twice. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#tellAll("failed");
  }

  #become(state: ReachState): void {
    // What is held while nothing is suspected ripens as it would have.
    if (this.#state === state) return;
    this.#state = state;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#judgedMs = this.#clock.monotonicMs();
    this.#reachedInARow = 0;
    this.#buckets.length = 0;
    this.#tellAll(state === "cut_off" ? "cut_off" : "failed");
    if (state === "clear") this.#parts.onSuspicion(undefined);
  }

  /** What was held for long enough is judged, and told as it is when it was too little for a suspicion. */
  #ripen(): void {
    this.#timer = undefined;
    if (this.#state !== "clear" || this.#suspects()) return;
    const { ended } = this.#count();
    if (ended < this.#scrapesMin() && !this.#asking) void this.#askMore(this.#scrapesMin() - ended);
    if (!this.#asking) this.#tellRipe();
  }

  #tellRipe(): void {
    const ripeMs = this.#clock.monotonicMs() - holdMs;
    for (const [id, held] of this.#held) {
      if (held[0]!.heldMs > ripeMs) {
        this.#timer ??= this.#clock.after(held[0]!.heldMs - ripeMs, () => this.#ripen());
        return;
      }
      this.#tell(id, "failed");
    }
  }

  async #askMore(count: number): Promise<void> {
    this.#asking = true;
    const answers = await this.#parts.ask(count, (id) => this.#held.has(id));
    this.#asking = false;
    if (this.#closed) return;
    for (const isReached of answers) this.#note(!isReached);
    if (this.#state === "clear" && !this.#suspects()) this.#tellRipe();
  }

  #scrapesMin(): number {
    return Math.max(1, this.#parts.reachable(scrapesMin));
  }

  #suspects(): boolean {
    const { ended, failed } = this.#count();
    const [first] = this.#held.values();
    if (!first || failed * 2 <= ended || ended < this.#scrapesMin()) return false;
    this.#state = "suspected";
    this.#timer?.cancel();
    this.#timer = this.#clock.after(verdictMsMax, () => this.verdict("unknown"));
    const agoMs = this.#clock.monotonicMs() - first[0]!.heldMs;
    const sinceMs = Math.floor(this.#clock.nowMs() - agoMs);
    this.#parts.onSuspicion({ sinceMs, failed, of: ended, sample: spread([...this.#held.keys()], reachSampleMax) });
    return true;
  }

  #tell(id: string, as: ToldAs): void {
    const held = this.#held.get(id);
    if (!held) return;
    this.#held.delete(id);
    this.#heldCount -= held.length;
    for (const { tell } of held) tell(as);
  }

  #tellAll(as: ToldAs): void {
    for (const id of this.#held.keys()) this.#tell(id, as);
  }

  #note(failed: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    let bucket = this.#buckets.at(-1);
    if (!bucket || nowMs - bucket.fromMs >= bucketMs) {
      this.#buckets.push((bucket = { fromMs: nowMs, ended: 0, failed: 0 }));
      if (this.#buckets.length > bucketsKept) this.#buckets.shift();
    }
    bucket.ended++;
    if (failed) bucket.failed++;
  }

  /** Of what ended in the last moment, or since the first one that is held. */
  #count(): { readonly ended: number; readonly failed: number } {
    const [first] = this.#held.values();
    const nowMs = this.#clock.monotonicMs();
    const sinceMs = Math.min(nowMs - holdMs, first?.[0]?.heldMs ?? nowMs) - bucketMs;
    let ended = 0;
    let failed = 0;
    for (const bucket of this.#buckets) {
      if (bucket.fromMs < sinceMs) continue;
      ended += bucket.ended;
      failed += bucket.failed;
    }
    return { ended, failed };
  }
}

/** So many of them at even distances: neighbours are often in the same rack. */
export function spread<T>(all: readonly T[], count: number): readonly T[] {
  if (all.length <= count) return all;
  return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)]!);
}

// What the files of one file_sd_config say, and what is kept of what they said before.
//
// A new reading counts at once when nothing is missing in it, and otherwise when it was read twice, all of a change together.
// Targets that the reading before had and none of the files has any more are then let go at once where they are few, and after
// a hold where they are many (hold.ts), by file or over all files together. A reading in which targets are refused that were
// not before is damaged: what it lacks is held too, however few they are.

import type { Clock } from "#/lib/clock/clock.ts";
import type { Target } from "#/lib/model/target.ts";
import {
  type Held,
  type Hold,
  heldOf,
  isSudden,
  type LossLimits,
  newHold,
  steadyMs,
  unsteadyMsMax,
  withoutPresent,
} from "#/primary/discover/hold.ts";
import { type FoundTargets, foundNothing } from "#/primary/discover/target.ts";

interface Reading {
  digest: string;
  found: FoundTargets;
  /** Read since, and waits to be read once more. */
  next: { readonly digest: string; readonly found: FoundTargets; readonly readMs: number } | undefined;
  /** Targets of earlier readings that it lacks. */
  kept: readonly Target[];
  hold: Hold | undefined;
  /** Targets, and refused ones, of the last reading that was taken as it was. */
  of: number;
  refusedBefore: number;
}

/** Of a file that is gone. */
const goneDigest = "";

/** What became of a file's missing targets. */
export interface Settled {
  readonly path: string;
  readonly what: "held" | "back" | "expired" | "gone";
  /** Targets that are held, or were let go. */
  readonly lost: number;
  readonly of: number;
}

export class Readings {
  readonly #limits: LossLimits;
  readonly #clock: Clock;
  readonly #readings = new Map<string, Reading>();
  /** Monotonic: since when a reading waits. */
  #waitsSinceMs: number | undefined;
  #changed = false;

  constructor(limits: LossLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  paths(): readonly string[] {
    return [...this.#readings.keys()];
  }

  digestOf(path: string): string | undefined {
    const reading = this.#readings.get(path);
    return reading?.next?.digest ?? reading?.digest;
  }

  /** Of the reading that counts; empty when there is none. */
  foundIn(path: string): FoundTargets {
    return this.#readings.get(path)?.found ?? foundNothing;
  }

  keptIn(path: string): readonly Target[] {
    return this.#readings.get(path)?.kept ?? [];
  }

  all(): readonly FoundTargets[] {
    return [...this.#readings.values()].map(({ found }) => found);
  }

  kept(): readonly Target[] {
    return [...this.#readings.values()].flatMap(({ kept }) => kept);
  }

  held(path: string, waits: boolean): Held | undefined {
    const reading = this.#readings.get(path);
    return reading?.hold && heldOf(reading.hold, reading.kept.length, reading.of, waits);
  }

  put(path: string, digest: string, found: FoundTargets): void {
    const known = this.#readings.get(path);
    if (known) known.next = { digest, found, readMs: this.#clock.monotonicMs() };
    else {
      const [of, refusedBefore] = [found.targets.length, found.refusedCount];
      this.#readings.set(path, { digest, found, next: undefined, kept: [], hold: undefined, of, refusedBefore });
      this.#changed = true;
    }
  }

  /** The file is not there any more. */
  remove(path: string): void {
    const digest = this.digestOf(path);
    if (digest !== undefined && digest !== goneDigest) this.put(path, goneDigest, foundNothing);
  }

  /**
   * Decides about what is missing; to be called after each round of readings, and again after `againMs`. `unreadable` says
   * of which files nothing is known at present: time does not end their holds.
   */
  settle(unreadable: (path: string) => boolean): {
    /** What is found or kept is otherwise than before, or held otherwise. */
    readonly changed: boolean;
    readonly settled: readonly Settled[];
    readonly againMs?: number;
  } {
    const nowMs = this.#clock.monotonicMs();
    const settled: Settled[] = [];
    for (const [path, reading] of this.#readings) if (unreadable(path)) reading.next = undefined;
    const waitMs = this.#adopt(nowMs);
    if (waitMs > 0) return { changed: this.#takeChanged(), settled, againMs: waitMs };
    let againMs = Number.POSITIVE_INFINITY;
    // Whether they are many together: of those that are held already, and of the others.
    const together = { held: this.#isSudden((reading) => !!reading.hold), new: this.#isSudden(({ hold }) => !hold) };
    for (const [path, reading] of this.#readings) {
      const event = (what: Settled["what"], lost = reading.kept.length) =>
        settled.push({ path, what, lost, of: Math.max(reading.of, lost) });
      if (reading.kept.length === 0) {
        if (reading.hold) event("back");
        this.#accept(path, reading);
      } else if (!this.#isSuddenAlone(reading) && !(reading.hold ? together.held : together.new)) {
        if (reading.hold) event("back");
        else if (reading.digest === goneDigest) event("gone");
        this.#accept(path, reading);
      } else if (!reading.hold) {
        this.#changed = true;
        reading.hold = newHold(this.#clock, this.#limits);
        event("held");
        againMs = Math.min(againMs, this.#limits.holdMs);
      } else if (nowMs < reading.hold.deadlineMs) againMs = Math.min(againMs, reading.hold.deadlineMs - nowMs);
      else if (!unreadable(path)) {
        event("expired");
        this.#accept(path, reading);
      }
    }
    return { changed: this.#takeChanged(), settled, ...(againMs < Number.POSITIVE_INFINITY && { againMs }) };
  }

  /** Lets go what is held: of that file, or of all. */
  confirm(path?: string): readonly { readonly path: string; readonly lost: number }[] {
    const confirmed: { path: string; lost: number }[] = [];
    for (const [each, reading] of this.#readings) {
      if (!reading.hold || (path !== undefined && path !== each)) continue;
      confirmed.push({ path: each, lost: reading.kept.length });
      this.#accept(each, reading);
    }
    return confirmed;
  }

  /**
   * Lets the newest readings count. When one lacks something and was not read twice, all wait, for what one file has lost another
   * may get: then it returns how long still, else 0.
   */
  #adopt(nowMs: number): number {
    const readings = [...this.#readings.values()];
    if (readings.every(({ kept, next }) => !next && kept.length === 0)) return 0;
    const urls = new Set(readings.flatMap(({ found, next }) => (next?.found ?? found).targets.map(({ url }) => url)));
    const missing = readings.map(({ found, kept, next }) =>
      withoutPresent(next ? [...found.targets, ...kept] : kept, urls),
    );
    const waits = readings.flatMap(({ next }, i) =>
      next && missing[i]!.length > 0 ? [next.readMs + steadyMs - nowMs] : [],
    );
    const waitMs = Math.max(0, ...waits);
    this.#waitsSinceMs ??= nowMs;
    if (waitMs > 0 && nowMs < this.#waitsSinceMs + unsteadyMsMax) return waitMs;
    this.#waitsSinceMs = undefined;
    for (const [i, reading] of readings.entries()) {
      if (reading.next || reading.kept.length !== missing[i]!.length) this.#changed = true;
      if (reading.next) Object.assign(reading, { digest: reading.next.digest, found: reading.next.found });
      reading.next = undefined;
      reading.kept = missing[i]!;
    }
    return 0;
  }

  #isSuddenAlone({ found, kept, of, refusedBefore }: Reading): boolean {
    const isDamaged = this.#limits.shareMax < 1 && found.refusedCount > refusedBefore;
    return isDamaged || isSudden(kept.length, of, this.#limits);
  }

  #isSudden(which: (reading: Reading) => boolean): boolean {
    const readings = [...this.#readings.values()].filter(which);
    const lost = readings.reduce((sum, { kept }) => sum + kept.length, 0);
    const of = readings.reduce((sum, reading) => sum + reading.of, 0);
    return isSudden(lost, of, this.#limits);
  }

  #takeChanged(): boolean {
    const changed = this.#changed;
    this.#changed = false;
    return changed;
  }

  #accept(path: string, reading: Reading): void {
    if (reading.kept.length > 0 || reading.hold) this.#changed = true;
    reading.kept = [];
    reading.hold = undefined;
    reading.of = reading.found.targets.length;
    reading.refusedBefore = reading.found.refusedCount;
    if (reading.digest === goneDigest) this.#readings.delete(path);
  }
}

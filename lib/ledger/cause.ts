// What can become of a due slot. Most have the outcome that a secondary told; the others are closed here, by rules that every
// reader of the log applies alike, or are still open.

import { type Outcome, outcomes } from "#/lib/model/outcome.ts";

/**
 * Without an outcome. `recent`: younger than the settle time. `backlog`: its owner lives and has not told of it yet, or what it
 * told waits in its spool. `lag`: the log was not read up to there yet. `dead`: its owner was not running or not heard then.
 * `asleep`: its owner's machine stood still, or its clock leapt, for more slots than are told. `unheard`: its owner never scraped by
 * that generation, only by one before and one after it. `unassigned`: nobody had room. `dropped_…`: a secondary let it go, and said
 * why. `hole`: batches are missing here. `unreadable`: a batch is here that refers to missing ones. `unknown_generation`: its owner
 * scraped by a generation that never came here. `dark`: nothing can be heard of the whole data centre, and what was due is supposed
 * from its last generation. `unexplained`: none of these, which must not be.
 */
export const closings = [
  "recent",
  "backlog",
  "lag",
  "dead",
  "asleep",
  "unheard",
  "unassigned",
  "dropped_full",
  "dropped_age",
  "dropped_disk",
  "dropped_refused",
  "hole",
  "unreadable",
  "unknown_generation",
  "dark",
  "unexplained",
] as const;
export type Closing = (typeof closings)[number];

export type Cause = Outcome | Closing;

/** In the order of a tally's columns. */
export const causes: readonly Cause[] = [...outcomes, ...closings];

/** The terms of the sum that is `due`. */
export const categories = [
  "stored",
  "partial",
  "failed",
  "missed",
  "dropped",
  "superseded",
  "in_flight",
  "unassigned",
  "lost",
  "dark",
  "unexplained",
] as const;
export type Category = (typeof categories)[number];

const closingCategories: Readonly<Record<Closing, Category>> = {
  recent: "in_flight",
  backlog: "in_flight",
  lag: "in_flight",
  dead: "missed",
  asleep: "missed",
  unheard: "missed",
  unassigned: "unassigned",
  dropped_full: "dropped",
  dropped_age: "dropped",
  dropped_disk: "dropped",
  dropped_refused: "dropped",
  hole: "lost",
  unreadable: "lost",
  unknown_generation: "lost",
  dark: "dark",
  unexplained: "unexplained",
};

export function isClosing(cause: Cause): cause is Closing {
  return Object.hasOwn(closingCategories, cause);
}

export function categoryOf(cause: Cause): Category {
  if (isClosing(cause)) return closingCategories[cause];
  if (cause === "stored" || cause === "partial" || cause === "superseded") return cause;
  return cause.startsWith("failed_") ? "failed" : "missed";
}

/** What stands behind the category: `connect` of `failed_connect`; "" where the category says it all. */
export function reasonOf(cause: Cause): string {
  const category = categoryOf(cause);
  if (cause === category) return "";
  return cause.startsWith(`${category}_`) ? cause.slice(category.length + 1) : cause;
}

/** Whether an outcome may still come in its place, when nothing was lost. */
export function isOpen(cause: Cause): boolean {
  const category = categoryOf(cause);
  return category === "in_flight" || category === "dark";
}

const columnOf = new Map(causes.map((cause, column) => [cause, column]));

/** How many slots had each cause. They always sum up to what was due, for every due slot is counted once. */
export class Tally {
  readonly counts: Float64Array;
  /** Outcomes that lost against another of the same slot; they are no slots of their own. */
  repeated: number;

  constructor(copied?: Tally) {
    this.counts = copied ? copied.counts.slice() : new Float64Array(causes.length);
    this.repeated = copied?.repeated ?? 0;
  }

  get due(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  count(cause: Cause, slots = 1): void {
    this.counts[columnOf.get(cause)!]! += slots;
  }

  add(other: Tally): void {
    for (let column = 0; column < this.counts.length; column++) this.counts[column]! += other.counts[column]!;
    this.repeated += other.repeated;
  }

  /** Whether all have an outcome, or none to wait for. */
  get isTold(): boolean {
    return closings.every((cause) => cause === "unassigned" || this.of(cause) === 0);
  }

  of(cause: Cause): number {
    return this.counts[columnOf.get(cause)!]!;
  }

  in(category: Category): number {
    let sum = 0;
    for (const [column, cause] of causes.entries()) if (categoryOf(cause) === category) sum += this.counts[column]!;
    return sum;
  }
}

// Batches that a secondary had to let go before every global had them, told in a later batch of it, so that nobody waits for
// them and everybody can account for them.

/**
 * full: the spool had no room for more. age: older than a spool keeps. disk: the disk did not take, or did not give back, them.
 * refused: a primary will never take them. In the order of their codes in docs/formats/batch.md; new ones are added at the end.
 */
export const dropReasons = ["full", "age", "disk", "refused"] as const;
export type DropReason = (typeof dropReasons)[number];

/** Batches of one run, one after the other, dropped for one reason. Its secondary is whoever tells it. */
export interface DroppedRange {
  readonly bootEpoch: number;
  readonly shard: number;
  readonly run: number;
  /** Sequences of the first and of the last one. */
  readonly from: number;
  readonly until: number;
  readonly reason: DropReason;
  /** In all of them. */
  readonly scrapes: number;
  /** Times of the earliest and of the latest slot in them. */
  readonly slotsFromMs: number;
  readonly slotsUntilMs: number;
}

/** The two as one, when the second goes on where the first ends, for the same reason. */
export function joinedRange(a: DroppedRange, b: DroppedRange): DroppedRange | undefined {
  const follows =
    a.bootEpoch === b.bootEpoch &&
    a.shard === b.shard &&
    a.run === b.run &&
    a.reason === b.reason &&
    a.until + 1 === b.from;
  if (!follows) return undefined;
  return {
    ...a,
    until: b.until,
    scrapes: a.scrapes + b.scrapes,
    slotsFromMs: Math.min(a.slotsFromMs, b.slotsFromMs),
    slotsUntilMs: Math.max(a.slotsUntilMs, b.slotsUntilMs),
  };
}

// At what pace slots are made up for whose owner was lost, or whose new owner heard of them late.
//
// They all come at the same instant, 5,000 with a whole secondary's targets: begun together they would be a herd, on this machine
// and on the network, and would hold the memory of all their bodies at once. So they are spread over a share of the interval, in
// order of urgency: whose next slot is near comes first, and each begins early enough before that, as long as that can be had.

import { assert } from "#/lib/assert/assert.ts";

/** A scrape that would run into the target's next slot is not worth it. */
export const makeUpRoomMsMin = 250;
/** A few at a time have no need of the whole window: a hundred begin in a second. */
const paceMs = 10;
/** Of the interval; a whole secondary's targets then come at four times the usual pace, which one that is not at its limit can do. */
const windowShare = 1 / 4;
/** They begin in company, as all scrapes do, because it costs less. */
export const makeUpGridMs = 20;
assert(makeUpGridMs < makeUpRoomMsMin / 4, "the grid costs nobody the room that it needs");

/** A target's slot that waits to be made up for. */
export interface MakeUp {
  /** Time of the target's next slot. */
  readonly dueMs: number;
  readonly target: { readonly intervalMs: number };
}

/** Who begins how long from now, in that order, the first at once. Those whose next slot is too near have been left out. */
export function paceMakeUps<M extends MakeUp>(
  waiting: Iterable<M>,
  nowMs: number,
): { readonly item: M; readonly afterMs: number }[] {
  const paced: { item: M; afterMs: number }[] = [];
  for (const item of waiting) {
    const roomMs = item.dueMs - nowMs - makeUpRoomMsMin;
    if (roomMs >= 0) paced.push({ item, afterMs: Math.min(roomMs, item.target.intervalMs * windowShare) });
  }
  paced.sort((a, b) => a.afterMs - b.afterMs || a.item.dueMs - b.item.dueMs);
  // The gap at which each of those from here on is in time; only what is urgent makes it narrower before.
  let gapMs = paceMs;
  for (let i = paced.length - 1; i >= 0; i--) {
    const each = paced[i]!;
    gapMs = Math.min(gapMs, each.afterMs / (i + 1));
    const afterMs = gapMs * i;
    each.afterMs = afterMs - (afterMs % makeUpGridMs);
  }
  return paced;
}

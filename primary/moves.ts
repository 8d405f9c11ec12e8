// When a generation begins to rule, and what it moves.

import { secondMs } from "#/lib/bytes/units.ts";
import { type Generation, stateOf } from "#/lib/model/generation.ts";

/**
 * So long before it rules, a generation that takes targets from one living secondary to another stands in the log: both hear of
 * it in time, one scrapes until then and the other from then on. It is far more than a log and two streams take.
 */
const calmAheadMs = secondMs;

/** 0 when somebody was lost, whose targets nobody scrapes: then each moment counts. */
export function aheadMsOf(previous: Generation | undefined, next: Generation): number {
  if (!previous) return 0;
  const after = new Map(next.secondaries.map((secondary) => [secondary.name, stateOf(secondary)]));
  const owners = new Map<string, string>();
  let moves = false;
  for (const { owner, target } of previous.targets) owners.set(target.id, owner);
  for (const { owner, target } of next.targets) {
    const before = owners.get(target.id);
    if (before === undefined || before === "" || before === owner) continue;
    const state = after.get(before);
    if (state === undefined || state === "cut_off") return 0;
    moves = true;
  }
  return moves ? calmAheadMs : 0;
}

/** Targets whose owner would no longer have room for them if this secondary got none. */
export function leftWithout(generation: Generation, secondary: string): number {
  const room = generation.secondaries
    .filter((each) => stateOf(each) === "active" && each.name !== secondary)
    .reduce((sum, { capacity }) => sum + capacity, 0);
  return Math.max(0, generation.targets.length - room);
}

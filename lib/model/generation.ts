// A generation says who scrapes what from when on: the lease-holding primary's list of targets, owners and time of validity.
// What was due follows from it, never from a secondary's word.

import type { Target } from "#/lib/model/target.ts";

export interface AssignedTarget {
  readonly target: Target;
  /** The secondary's name, or "" when none lives that could take it. */
  readonly owner: string;
}

export interface Generation {
  readonly datacenter: string;
  /** Grows by one with each generation of the data centre's log. */
  readonly number: number;
  /** The lease's fencing token under which it was made: readers refuse one below the highest seen. */
  readonly token: number;
  /** The primary that made it. */
  readonly primary: string;
  /** Slots due from this time on are its own. */
  readonly validFromMs: number;
  /** The secondaries that it counts as living. */
  readonly secondaries: readonly { readonly name: string; readonly capacity: number }[];
  /** Sorted by target id. */
  readonly targets: readonly AssignedTarget[];
}

/**
 * Whether one takes the other's place. The token counts first: a primary that lost the lease may still have written the number
 * that its successor writes too.
 */
export function isNewer(a: Generation, b: Generation): boolean {
  return a.token === b.token ? a.number > b.number : a.token > b.token;
}

/** The part of it that one secondary scrapes. */
export function partOf(generation: Generation, secondary: string): Generation {
  return { ...generation, targets: generation.targets.filter((assigned) => assigned.owner === secondary) };
}

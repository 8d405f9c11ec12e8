// A generation says who scrapes what from when on: the lease-holding primary's list of targets, owners and time of validity.
// What was due follows from it, never from a secondary's word.

import type { Target } from "#/lib/model/target.ts";

export interface AssignedTarget {
  readonly target: Target;
  /** The secondary's name, or "" when none lives that could take it. */
  readonly owner: string;
}

/**
 * draining: the operator wants it empty. cut_off: it cannot reach its targets. damped: it came and went too often, and gets
 * nothing for a while. In the order of the bytes; later versions append.
 */
export const secondaryStates = ["active", "draining", "cut_off", "damped"] as const;

export type SecondaryState = (typeof secondaryStates)[number];

export interface GenerationSecondary {
  readonly name: string;
  /** In ordinary targets. */
  readonly capacity: number;
  /** Only an active one gets targets. Absent: active. */
  readonly state?: SecondaryState;
}

/**
 * Why a generation was made. The subject of `first`, `reload` and `periodic` is "", that of `targets` a job, and that of all
 * others a secondary. In the order of the bytes; later versions append, and readers leave out what they do not know.
 */
export const causeKinds = [
  "first",
  "joined",
  "left",
  "drain",
  "undrain",
  "cut_off",
  "recovered",
  "damped",
  "targets",
  "capacity",
  "reload",
  "periodic",
] as const;

export type CauseKind = (typeof causeKinds)[number];

export interface GenerationCause {
  readonly kind: CauseKind;
  readonly subject: string;
  /** Of `targets`: how many came, went or changed. Of `capacity`: what it is now. Above 0. */
  readonly count?: number;
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
  /** Those that live, whatever their state. */
  readonly secondaries: readonly GenerationSecondary[];
  /** Absent: not told. */
  readonly causes?: readonly GenerationCause[];
  /** Sorted by target id. */
  readonly targets: readonly AssignedTarget[];
}

/** What tells one generation of a data centre from all others. */
export type GenerationName = Pick<Generation, "number" | "token" | "validFromMs">;

/**
 * Whether one takes the other's place. The token counts first: a primary that lost the lease may still have written the number
 * that its successor writes too. The time counts last: a primary that did not read what it had written writes another with
 * that number, but later.
 */
export function isNewer(a: GenerationName, b: GenerationName): boolean {
  if (a.token !== b.token) return a.token > b.token;
  return a.number === b.number ? a.validFromMs > b.validFromMs : a.number > b.number;
}

export function isSameGeneration(a: GenerationName, b: GenerationName): boolean {
  return a.number === b.number && a.token === b.token && a.validFromMs === b.validFromMs;
}

/** Null for one that it does not count as living. */
export function standingIn(generation: Generation | undefined, secondary: string): SecondaryState | null {
  const found = generation?.secondaries.find(({ name }) => name === secondary);
  return found ? stateOf(found) : null;
}

export function stateOf(secondary: GenerationSecondary): SecondaryState {
  return secondary.state ?? "active";
}

/** The part of it that one secondary scrapes. */
export function partOf(generation: Generation, secondary: string): Generation {
  return { ...generation, targets: generation.targets.filter((assigned) => assigned.owner === secondary) };
}

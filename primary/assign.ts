// Makes the next generation: every discovered target, and which living secondary scrapes it.
//
// The owners follow from the targets and the living secondaries alone (topology/ring.ts), so either primary would make the
// same, and a secondary that comes back gets back what it had.

import { assert } from "#/lib/assert/assert.ts";
import { type Generation, type GenerationCause, type GenerationSecondary, stateOf } from "#/lib/model/generation.ts";
import { compareText } from "#/lib/model/labels.ts";
import { sameTarget, type Target } from "#/lib/model/target.ts";
import { causesOf } from "#/primary/cause.ts";
import { assignOwners } from "#/topology/ring.ts";

export interface GenerationPlan {
  /** The newest generation read from the log, when there is one. */
  readonly previous?: Generation | undefined;
  /** Distinct by id; in any order. */
  readonly targets: readonly Target[];
  /** Only the active ones get targets. */
  readonly living: readonly GenerationSecondary[];
  /** Why it is made, as far as a comparison with the previous one does not tell it. */
  readonly causes?: readonly GenerationCause[];
  readonly number: number;
  /** The lease's fencing token. */
  readonly token: number;
  /** The primary that makes it. */
  readonly primary: string;
  /** Wall time; the generation is valid from then on. */
  readonly nowMs: number;
  readonly datacenter: string;
}

/** Targets that no living secondary has room for get the owner "" (see `unassignedReason`). */
export function planGeneration(plan: GenerationPlan): Generation {
  const { previous, number } = plan;
  assert(!previous || number > previous.number, `generation ${number} does not follow ${previous?.number}`);
  const owners = assignOwners(plan.targets, plan.living.filter(isActive));
  const planned: Generation = {
    datacenter: plan.datacenter,
    number,
    token: plan.token,
    primary: plan.primary,
    validFromMs: Math.floor(plan.nowMs),
    secondaries: plan.living
      .map(({ name, capacity, state = "active" }) => ({ name, capacity, ...(state !== "active" && { state }) }))
      .toSorted((a, b) => compareText(a.name, b.name)),
    targets: plan.targets
      .toSorted((a, b) => compareText(a.id, b.id))
      .map((target) => ({ target, owner: owners.get(target.id) ?? "" })),
  };
  return { ...planned, causes: causesOf(previous, planned, plan.causes) };
}

function isActive(secondary: GenerationSecondary): boolean {
  return stateOf(secondary) === "active";
}

/**
 * Whether a secondary would do the same by both: then the newer need not be written. Number, token, primary, time of
 * validity and causes do not count.
 */
export function sameAssignments(a: Generation, b: Generation): boolean {
  return (
    a.datacenter === b.datacenter &&
    a.targets.length === b.targets.length &&
    a.secondaries.length === b.secondaries.length &&
    a.secondaries.every((secondary, i) => {
      const other = b.secondaries[i]!;
      const { name, capacity } = secondary;
      return name === other.name && capacity === other.capacity && stateOf(secondary) === stateOf(other);
    }) &&
    a.targets.every(({ target, owner }, i) => owner === b.targets[i]!.owner && sameTarget(target, b.targets[i]!.target))
  );
}

export function unassignedCount(generation: Generation): number {
  return generation.targets.reduce((count, { owner }) => count + (owner === "" ? 1 : 0), 0);
}

/** Why some targets have no owner, for a log line or a page; undefined when all have one. */
export function unassignedReason(generation: Generation): string | undefined {
  const unassigned = unassignedCount(generation);
  if (unassigned === 0) return undefined;
  const counted = `${unassigned} of ${generation.targets.length} targets have no owner`;
  if (generation.secondaries.length === 0) return `${counted}: no secondary lives`;
  const active = generation.secondaries.filter(isActive);
  if (active.length === 0) {
    const states = generation.secondaries.map((secondary) => `${secondary.name} is ${stateOf(secondary)}`);
    return `${counted}: no living secondary takes any (${states.join(", ")})`;
  }
  const capacity = active.reduce((sum, secondary) => sum + secondary.capacity, 0);
  const names = active.map(({ name }) => name).join(", ");
  return `${counted}: the living secondaries (${names}) have room for ${capacity}; add one, or raise a capacity`;
}

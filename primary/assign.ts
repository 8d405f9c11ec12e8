// Makes the next generation: every discovered target, and which living secondary scrapes it.
//
// The owners follow from the targets and the living secondaries alone (topology/ring.ts), so either primary would make the
// same, and a secondary that comes back gets back what it had. Where there are more targets than room, those of the scrape
// configs with the highest `priority` choose first, and of one priority those with the lowest id.

import { assert } from "#/lib/assert/assert.ts";
import { type Generation, type GenerationCause, type GenerationSecondary, stateOf } from "#/lib/model/generation.ts";
import { compareText } from "#/lib/model/labels.ts";
import { sameTarget, type Target } from "#/lib/model/target.ts";
import { causesOf } from "#/primary/cause.ts";
import { assignOwnersInOrder } from "#/topology/ring.ts";

/** By the job's name; 0 for those that are not in it. Higher ones choose first. */
export type Priorities = ReadonlyMap<string, number>;

export interface GenerationPlan {
  /** The newest generation read from the log, when there is one. */
  readonly previous?: Generation | undefined;
  /** Distinct by id; in any order. */
  readonly targets: readonly Target[];
  /** Only the active ones get targets. */
  readonly living: readonly GenerationSecondary[];
  readonly priorities?: Priorities;
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
  const sorted = plan.targets.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const ordered = inOrderOfPriority(sorted, plan.priorities ?? new Map());
  const owners = assignOwnersInOrder(ordered, plan.living.filter(isActive));
  const planned: Generation = {
    datacenter: plan.datacenter,
    number,
    token: plan.token,
    primary: plan.primary,
    validFromMs: Math.floor(plan.nowMs),
    secondaries: plan.living
      .map(({ name, capacity, state = "active" }) => ({ name, capacity, ...(state !== "active" && { state }) }))
      .toSorted((a, b) => compareText(a.name, b.name)),
    targets: sorted.map((target) => ({ target, owner: owners.get(target.id) ?? "" })),
  };
  return { ...planned, causes: causesOf(previous, planned, plan.causes) };
}

function isActive(secondary: GenerationSecondary): boolean {
  return stateOf(secondary) === "active";
}

/** The order within a priority is kept. */
function inOrderOfPriority(targets: readonly Target[], priorities: Priorities): readonly Target[] {
  const groups = Map.groupBy(targets, ({ job }) => priorities.get(job) ?? 0);
  if (groups.size <= 1) return targets;
  return [...groups].sort(([a], [b]) => b - a).flatMap(([, group]) => group);
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

/** Targets without an owner, by job; jobs that have none are not in it. */
export function unassignedByJob(generation: Generation): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { owner, target } of generation.targets) {
    if (owner === "") counts.set(target.job, (counts.get(target.job) ?? 0) + 1);
  }
  return counts;
}

/** Of what a reason lists, this many are named. */
const namedMax = 5;

/** Why some targets have no owner, and of which jobs, for a log line or a page; undefined when all have one. */
export function unassignedReason(generation: Generation, priorities: Priorities = new Map()): string | undefined {
  const byJob = unassignedByJob(generation);
  if (byJob.size === 0) return undefined;
  const counted = `${unassignedCount(generation)} of ${generation.targets.length} targets have no owner`;
  if (generation.secondaries.length === 0) return `${counted}: no secondary lives`;
  const active = generation.secondaries.filter(isActive);
  if (active.length === 0) {
    const states = generation.secondaries.map((secondary) => `${secondary.name} is ${stateOf(secondary)}`);
    return `${counted}: no living secondary takes any (${listed(states)})`;
  }
  const capacity = active.reduce((sum, secondary) => sum + secondary.capacity, 0);
  const names = listed(active.map(({ name }) => name));
  const priorityOf = (job: string) => priorities.get(job) ?? 0;
  const jobs = [...byJob]
    .sort(([a], [b]) => priorityOf(a) - priorityOf(b) || compareText(a, b))
    .map(([job, count]) => `${count} of ${job} (priority ${priorityOf(job)})`);
  const room = `the living secondaries (${names}) have room for ${capacity}`;
  return `${counted}: ${room}; left out: ${listed(jobs)}; add a secondary, or raise a capacity`;
}

function listed(names: readonly string[]): string {
  const more = names.length - namedMax;
  return more > 0 ? `${names.slice(0, namedMax).join(", ")} and ${more} more` : names.join(", ");
}

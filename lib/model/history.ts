// The log of generations, as it is told to people: when owners changed, why, and how many targets that moved.

import { type Generation, type GenerationCause, type SecondaryState, stateOf } from "#/lib/model/generation.ts";

export interface GenerationSummary {
  readonly number: number;
  /** The lease's fencing token. */
  readonly token: number;
  readonly primary: string;
  readonly validFromMs: number;
  readonly causes: readonly GenerationCause[];
  readonly targets: number;
  /** Those of them without an owner. */
  readonly unassigned: number;
  readonly secondaries: readonly SecondaryShare[];
  /** Against the one before; null where that is not known. */
  readonly changes: GenerationChanges | null;
  /** How it stands in the log. */
  readonly form: "full" | "delta";
  readonly bytes: number;
}

export interface SecondaryShare {
  readonly name: string;
  readonly state: SecondaryState;
  readonly targets: number;
}

export interface GenerationChanges {
  /** Targets of both that have another owner, or none any more. */
  readonly moved: number;
  readonly added: number;
  readonly removed: number;
}

/** What `/api/v1/generations` tells of each. */
export interface GenerationAnswer extends Omit<GenerationSummary, "validFromMs"> {
  readonly datacenter: string;
  /** RFC 3339 in UTC. */
  readonly validFrom: string;
}

export interface GenerationsAnswer {
  readonly status: "success";
  readonly data: {
    /** Who tells it. */
    readonly server: string;
    /** Newest first. */
    readonly generations: readonly GenerationAnswer[];
  };
}

export function summaryOf(
  generation: Generation,
  previous: Generation | undefined,
  written: Pick<GenerationSummary, "form" | "bytes">,
): GenerationSummary {
  const { causes = [], number, primary, secondaries, targets, token, validFromMs } = generation;
  const counts = new Map<string, number>();
  for (const { owner } of targets) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return {
    number,
    token,
    primary,
    validFromMs,
    causes,
    targets: targets.length,
    unassigned: counts.get("") ?? 0,
    secondaries: secondaries.map((secondary) => ({
      name: secondary.name,
      state: stateOf(secondary),
      targets: counts.get(secondary.name) ?? 0,
    })),
    changes: previous ? changesBetween(previous.targets, targets) : null,
    ...written,
  };
}

/** Both are sorted by id. */
export function changesBetween(before: Generation["targets"], after: Generation["targets"]): GenerationChanges {
  let moved = 0;
  let kept = 0;
  let place = 0;
  for (const assigned of after) {
    const { id } = assigned.target;
    while (place < before.length && before[place]!.target.id < id) place++;
    const earlier = before[place];
    if (earlier?.target.id !== id) continue;
    kept++;
    place++;
    if (earlier.owner !== assigned.owner) moved++;
  }
  return { moved, added: after.length - kept, removed: before.length - kept };
}

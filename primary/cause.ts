// Why a generation is made, told by what is different from the one before, for the log of generations.

import { causesMax } from "#/lib/codec/limits.ts";
import { type Generation, type GenerationCause, type GenerationSecondary, stateOf } from "#/lib/model/generation.ts";
import { sameTarget } from "#/lib/model/target.ts";

/** A name of a job or a secondary as a person reads it. */
const subjectLengthMax = 120;

/** The given ones first, then what the comparison tells; at most `causesMax`. */
export function causesOf(
  previous: Generation | undefined,
  next: Pick<Generation, "secondaries" | "targets">,
  given: readonly GenerationCause[] = [],
): readonly GenerationCause[] {
  const found: GenerationCause[] = previous
    ? [...secondaryCauses(previous.secondaries, next.secondaries), ...targetCauses(previous.targets, next.targets)]
    : [{ kind: "first", subject: "" }];
  return [...given, ...found]
    .slice(0, causesMax)
    .map((cause) => ({ ...cause, subject: cause.subject.slice(0, subjectLengthMax).toWellFormed() }));
}

function* secondaryCauses(
  before: readonly GenerationSecondary[],
  after: readonly GenerationSecondary[],
): Generator<GenerationCause> {
  const known = new Map(before.map((secondary) => [secondary.name, secondary]));
  for (const secondary of after) {
    const { name: subject, capacity } = secondary;
    const earlier = known.get(subject);
    known.delete(subject);
    const state = stateOf(secondary);
    const was = earlier && stateOf(earlier);
    if (!earlier) yield { kind: "joined", subject };
    if (was === "draining" && state !== "draining") yield { kind: "undrain", subject };
    if (state !== (was ?? "active")) {
      if (state === "draining") yield { kind: "drain", subject };
      else if (state !== "active") yield { kind: state, subject };
      else if (was !== "draining") yield { kind: "recovered", subject };
    }
    if (earlier && earlier.capacity !== capacity) {
      yield { kind: "capacity", subject, ...(capacity > 0 && { count: capacity }) };
    }
  }
  for (const subject of known.keys()) yield { kind: "left", subject };
}

/** A line a job, those with most changes first. Both lists are sorted by id. */
function targetCauses(before: Generation["targets"], after: Generation["targets"]): GenerationCause[] {
  const counts = new Map<string, number>();
  const count = (job: string) => counts.set(job, (counts.get(job) ?? 0) + 1);
  let b = 0;
  for (const { target } of after) {
    for (; b < before.length && before[b]!.target.id < target.id; b++) count(before[b]!.target.job);
    const earlier = before[b]?.target;
    if (earlier?.id !== target.id) count(target.job);
    else {
      if (earlier !== target && !sameTarget(earlier, target)) count(target.job);
      b++;
    }
  }
  for (; b < before.length; b++) count(before[b]!.target.job);
  return [...counts]
    .sort(([, one], [, other]) => other - one)
    .map(([subject, changed]) => ({ kind: "targets", subject, count: changed }));
}

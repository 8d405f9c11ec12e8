// A group of inputs by one seed, in one process from its beginning to its end: everything that is remembered from input to input
// is part of it, so a group is what repeats a finding. Then it is made as small as it gets.

import { secondMs } from "#/lib/bytes/units.ts";
import { seededRandom } from "#/lib/random/random.ts";
import type { Fuzzed } from "#/test/fuzz/fuzz.ts";

export interface GroupPlan {
  readonly seed: number;
  readonly inputs: number;
  /** Shared with whoever watches: how many steps were begun. */
  readonly progress: Int32Array;
}

export interface GroupResult {
  readonly inputs: number;
  readonly steps: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly slowestMs: number;
  readonly finding: Finding | undefined;
}

export interface Finding {
  readonly difference: string;
  /** The steps that show it, told for people, after they were made few and small. */
  readonly steps: readonly string[];
  /** False when it shows only after everything that the group did before. */
  readonly isMinimised: boolean;
}

/** Making a finding smaller takes so long at most; what there is then is small enough. */
const minimisingMsMax = 60 * secondMs;

/** Most inputs are refused with an Error, whose stack takes longer to write down than the rest and is looked at by nobody. */
const stackLines = { running: 0, minimising: 20 };

export function runGroup<Step>(fuzzed: Fuzzed<Step>, { inputs, progress, seed }: GroupPlan): GroupResult {
  Error.stackTraceLimit = stackLines.running;
  const random = seededRandom(seed);
  const trial = fuzzed.open();
  const taken: Step[] = [];
  let done = 0;
  let slowestMs = 0;
  let difference: string | undefined;
  while (done < inputs && difference === undefined) {
    const steps = fuzzed.steps(random);
    for (let next = steps.next(); !next.done; next = steps.next(trial.isTaken)) {
      const step = next.value;
      taken.push(step);
      if (step.isNew) done++;
      Atomics.add(progress, 0, 1);
      const beganMs = performance.now();
      difference = attempt(() => trial.try(step));
      slowestMs = Math.max(slowestMs, performance.now() - beganMs);
      if (difference !== undefined) break;
    }
  }
  difference ??= attempt(() => trial.end());
  const finding = difference === undefined ? undefined : minimised(fuzzed, taken, difference, progress);
  return { inputs: done, steps: taken.length, counts: trial.counts, slowestMs, finding };
}

/** Whatever is thrown is a finding too: nothing here may throw. */
function attempt(what: () => string | undefined): string | undefined {
  try {
    return what();
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

function minimised<Step>(
  fuzzed: Fuzzed<Step>,
  taken: readonly Step[],
  difference: string,
  progress: Int32Array,
): Finding {
  Error.stackTraceLimit = stackLines.minimising;
  const untilMs = performance.now() + minimisingMsMax;
  let seen = difference;
  const shows = (steps: readonly Step[]): boolean => {
    Atomics.add(progress, 0, 1);
    const trial = fuzzed.open();
    let found: string | undefined;
    for (const step of steps) if ((found = attempt(() => trial.try(step))) !== undefined) break;
    found ??= attempt(() => trial.end());
    if (found !== undefined) seen = found;
    return found !== undefined;
  };
  let steps: readonly Step[] = [];
  for (let count = 1; steps.length === 0 && count / 2 < taken.length; count *= 2) {
    const last = taken.slice(-count);
    if (shows(last)) steps = last;
  }
  if (steps.length === 0) {
    return { difference, steps: taken.slice(-5).map((step) => fuzzed.tell(step)), isMinimised: false };
  }
  const canTry = () => performance.now() < untilMs;
  steps = reduced(steps, shows, canTry);
  // Bodies are alike, and what one has not, the others can do without.
  const lines = steps.map((step) => fuzzed.parts(step).split("\n"));
  const withLines = (some: readonly number[]) =>
    steps.map((step, i) => fuzzed.withParts(step, some.map((line) => lines[i]![line] ?? "").join("\n")));
  const all = Array.from({ length: Math.max(...lines.map(({ length }) => length)) }, (_, i) => i);
  steps = withLines(reduced(all, (some) => shows(withLines(some)), canTry));
  for (let i = 0; i < steps.length; i++) {
    const withBody = (body: string) => steps.map((step, j) => (j === i ? fuzzed.withParts(step, body) : step));
    for (const separator of ["\n", ""]) {
      const parts = fuzzed.parts(steps[i]!).split(separator);
      const smaller = reduced(parts, (some) => shows(withBody(some.join(separator))), canTry);
      steps = withBody(smaller.join(separator));
    }
  }
  shows(steps);
  return { difference: seen, steps: steps.map((step) => fuzzed.tell(step)), isMinimised: true };
}

/** Some of the parts that still show it: halves are left out, then quarters, and so on to single ones. */
export function reduced<T>(
  parts: readonly T[],
  shows: (some: readonly T[]) => boolean,
  canTry: () => boolean,
): readonly T[] {
  let kept = parts;
  for (
    let size = Math.ceil(kept.length / 2);
    size >= 1 && kept.length > 0;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let at = 0; at < kept.length && canTry(); ) {
      const without = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (shows(without)) kept = without;
      else at += size;
    }
  }
  return kept;
}

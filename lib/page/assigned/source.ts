// What is known of a data centre's targets where its log is read: who owns each by the newest generation, and what became of
// its last slot. Primaries know it of their own data centre, globals of all.

import { secondMs } from "#/lib/bytes/units.ts";
import { type AssignedTarget, type Generation, type SecondaryState, stateOf } from "#/lib/model/generation.ts";
import type { GenerationSummary } from "#/lib/model/history.ts";
import { isFailed, isStored, type LastOutcome } from "#/lib/model/outcome.ts";
import type { LastWord } from "#/lib/page/assigned/words.ts";
import type { Health } from "#/lib/page/target.ts";

/** From the end of a scrape to here: a batch is sealed once a second, sent, written to the log and read. */
const wordMsMax = 5 * secondMs;

/** As the newest generation has it; `silent` when that does not count it as living, `unknown` when nobody ever heard it either. */
export type SecondaryCondition = SecondaryState | "silent" | "unknown";

export interface SecondaryFacts {
  readonly name: string;
  /** Targets that it has room for. */
  readonly capacity: number;
  readonly state: SecondaryCondition;
  /** Since a primary last heard it; null when none ever did. */
  readonly ageMs: number | null;
  /** The primary that heard it last; "" when none did. */
  readonly primary: string;
  /** Where its own pages are. */
  readonly url: string;
}

export interface AssignedSource {
  readonly datacenter: string;
  /** Undefined before the first. */
  generation(): Generation | undefined;
  last(id: string): LastOutcome | undefined;
  /** The last ones, newest first. */
  generations(limit: number): readonly GenerationSummary[];
  /** In the order of the topology file. */
  secondaries(): readonly SecondaryFacts[];
  /** Targets that relabelling dropped, by job; empty where nobody discovers. */
  dropped(): Readonly<Record<string, number>>;
  /** Why targets of it have no owner, and which, for who knows more than the generation says. */
  readonly whyUnassigned?: (generation: Generation) => string | undefined;
}

export interface AssignedSources {
  /** Who answers. */
  readonly server: string;
  list(): readonly AssignedSource[];
  /** Why they do not know everything yet; undefined when they do. */
  incomplete(): string | undefined;
}

/**
 * How a target is, worst first. `unassigned`: nobody scrapes it. `silent`: nobody told what became of its last slots. `missed`: it
 * was not asked. None of these three says anything of the target itself.
 */
export const conditions = ["failing", "unassigned", "silent", "missed", "partial", "waiting", "up"] as const;
export type Condition = (typeof conditions)[number];

export function conditionOf(
  { owner, target }: AssignedTarget,
  last: LastOutcome | undefined,
  { nowMs, validFromMs }: { readonly nowMs: number; readonly validFromMs: number },
): Condition {
  if (owner === "") return "unassigned";
  const lateMs = target.intervalMs + target.timeoutMs + wordMsMax;
  if (nowMs > (last?.timestampMs ?? validFromMs) + lateMs) return "silent";
  if (!last) return "waiting";
  if (last.outcome === "partial") return "partial";
  if (isStored(last.outcome)) return "up";
  return isFailed(last.outcome) ? "failing" : "missed";
}

export function healthOf(condition: Condition): Health {
  if (condition === "up" || condition === "partial") return "up";
  return condition === "failing" ? "down" : "unknown";
}

/** Why a target of it has no owner, as part of a sentence. */
export function unassignedReason({ secondaries }: Generation): string {
  if (secondaries.length === 0) return "no secondary lives";
  const active = secondaries.filter((secondary) => stateOf(secondary) === "active");
  if (active.length === 0) return "no living secondary takes any";
  const room = active.reduce((sum, { capacity }) => sum + capacity, 0);
  return `the living secondaries have room for ${room}`;
}

/** In the order of the configured ones. */
export function secondaryFacts(
  configured: readonly Pick<SecondaryFacts, "capacity" | "name" | "url">[],
  words: ReadonlyMap<string, LastWord>,
  generation: Generation | undefined,
): readonly SecondaryFacts[] {
  const living = new Map(generation?.secondaries.map((secondary) => [secondary.name, stateOf(secondary)]));
  return configured.map(({ capacity, name, url }) => {
    const word = words.get(name);
    const state = living.get(name) ?? (word ? "silent" : "unknown");
    return { name, capacity, state, ageMs: word?.ageMs ?? null, primary: word?.primary ?? "", url };
  });
}

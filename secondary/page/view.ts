// Which targets a page or an answer is about: counted, narrowed, put in order, and cut into pages on this side, so that a reader
// gets a hundred rows and not five thousand.
//
// It is work for thousands of targets on the event loop that scrapes begin on. So it is done in slices with the loop let go in
// between; none comes near the time after which a scrape would be late.

import type { Clock } from "#/lib/clock/clock.ts";
import { type Labels, labelValue } from "#/lib/model/labels.ts";
import { isFailed, isStored, type Outcome } from "#/lib/model/outcome.ts";
import type { ScheduledTarget } from "#/secondary/schedule.ts";
import type { TargetState } from "#/secondary/scrape/scrape.ts";

/** Targets looked at before the event loop is let go: about 2 ms when each is searched for a text. */
export const sliceTargets = 250;

/** Rows of one page: more than one screen, and about 15 kB once compressed. */
export const pageRowsMax = 100;

export interface PageSource {
  readonly name: string;
  readonly datacenter: string;
  readonly generation: number;
  /** The primary that takes our batches; "" while none does. */
  readonly primary: string;
  readonly spoolBatches: number;
  readonly spoolBytes: number;
  targets(): Iterable<Scheduled>;
}

export type Scheduled = ScheduledTarget<TargetState>;

/** How a target is, worst first. `missed` says nothing of the target: it was not asked. */
export const conditions = ["failing", "missed", "partial", "waiting", "up"] as const;
export type Condition = (typeof conditions)[number];

export function conditionOf({ state: { last } }: Scheduled): Condition {
  if (!last) return "waiting";
  if (last.outcome === "partial") return "partial";
  if (isStored(last.outcome)) return "up";
  return isFailed(last.outcome) ? "failing" : "missed";
}

export const orders = ["worst", "slow", "samples", "name"] as const;
export type Order = (typeof orders)[number];

export interface Filter {
  readonly show: Condition | "all";
  /** "" for every one; so are the next two. */
  readonly outcome: string;
  readonly job: string;
  /** In URL, labels (as `name=value`), outcome or error, in any case. */
  readonly find: string;
  readonly sort: Order;
  /** From 1. */
  readonly page: number;
}

/** What a query string says; what cannot be understood is as if it were not there. */
export function filterOf(query: unknown): Filter {
  const given = (query ?? {}) as Readonly<Record<string, unknown>>;
  const text = (name: string) => {
    const value = Array.isArray(given[name]) ? given[name][0] : given[name];
    return typeof value === "string" ? value : "";
  };
  return {
    show: conditions.find((condition) => condition === text("show")) ?? "all",
    outcome: text("outcome"),
    job: text("job") || text("scrapePool"),
    find: text("find"),
    sort: orders.find((order) => order === text("sort")) ?? "worst",
    page: Math.max(1, Math.min(1e6, Math.floor(Number(text("page"))) || 1)),
  };
}

export interface Selection {
  /** All that the filter lets through, in order; not cut into pages. */
  readonly targets: readonly Scheduled[];
  readonly total: number;
  /** Of what job and text let through, whatever the condition. */
  readonly counts: Readonly<Record<Condition | "all", number>>;
  /** Of those that are failing or missed among them, the most frequent first. */
  readonly outcomes: readonly (readonly [outcome: Outcome, count: number])[];
  /** All of them, sorted. */
  readonly jobs: readonly string[];
  /** Labels that every target has with the same value. */
  readonly common: Labels;
}

interface Ranked {
  readonly scheduled: Scheduled;
  /** Descending. */
  readonly weight: number;
  /** Ascending where weights are equal. */
  readonly key: string;
}

/** A selection is of one moment but for what changes while it is made. */
export async function select(source: PageSource, filter: Filter, clock: Clock): Promise<Selection> {
  const all = [...source.targets()];
  const counts = { all: 0, failing: 0, missed: 0, partial: 0, waiting: 0, up: 0 };
  const outcomes = new Map<Outcome, number>();
  const jobs = new Set<string>();
  const runs: Ranked[][] = [];
  let run: Ranked[] = [];
  const find = filter.find.toLowerCase();
  let common: Labels = all[0]?.target.labels ?? [];
  for (const [i, scheduled] of all.entries()) {
    if (i > 0 && i % sliceTargets === 0) {
      runs.push(run.sort(compareRanked));
      run = [];
      await clock.sleep(0);
    }
    const { job, labels } = scheduled.target;
    jobs.add(job);
    if (common.length > 0 && !common.every((label) => labelValue(labels, label[0]) === label[1])) {
      common = common.filter(([name, value]) => labelValue(labels, name) === value);
    }
    if (filter.job !== "" && job !== filter.job) continue;
    if (find !== "" && !searchText(scheduled).includes(find)) continue;
    const condition = conditionOf(scheduled);
    counts.all++;
    counts[condition]++;
    const outcome = scheduled.state.last?.outcome;
    if (outcome && (condition === "failing" || condition === "missed")) {
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    if (filter.show !== "all" && condition !== filter.show) continue;
    if (filter.outcome !== "" && outcome !== filter.outcome) continue;
    run.push(ranked(scheduled, condition, filter.sort));
  }
  runs.push(run.sort(compareRanked));
  const sorted = await mergeRuns(runs, clock);
  return {
    targets: sorted.map(({ scheduled }) => scheduled),
    total: all.length,
    counts,
    outcomes: [...outcomes].sort((a, b) => b[1] - a[1]),
    jobs: [...jobs].sort(),
    common: all.length > 1 ? common : [],
  };
}

function compareRanked(a: Ranked, b: Ranked): number {
  return b.weight - a.weight || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

/** Sorted runs become one, two at a time. */
async function mergeRuns(runs: readonly (readonly Ranked[])[], clock: Clock): Promise<readonly Ranked[]> {
  let level = runs;
  while (level.length > 1) {
    await clock.sleep(0);
    const next: (readonly Ranked[])[] = [];
    for (let i = 0; i < level.length; i += 2) next.push(merged(level[i]!, level[i + 1] ?? []));
    level = next;
  }
  return level[0] ?? [];
}

function merged(a: readonly Ranked[], b: readonly Ranked[]): readonly Ranked[] {
  const both: Ranked[] = [];
  let ofA = 0;
  let ofB = 0;
  while (ofA < a.length && ofB < b.length) {
    both.push(compareRanked(a[ofA]!, b[ofB]!) <= 0 ? a[ofA++]! : b[ofB++]!);
  }
  while (ofA < a.length) both.push(a[ofA++]!);
  while (ofB < b.length) both.push(b[ofB++]!);
  return both;
}

function ranked(scheduled: Scheduled, condition: Condition, sort: Order): Ranked {
  const { state, target } = scheduled;
  const key = `${target.job}\0${target.url}\0${target.id}`;
  switch (sort) {
    case "worst":
      return { scheduled, weight: -conditions.indexOf(condition), key };
    case "slow":
      return { scheduled, weight: shareOfTimeout(scheduled) ?? -1, key };
    case "samples":
      return { scheduled, weight: state.last?.samples ?? -1, key };
    case "name":
      return { scheduled, weight: 0, key };
    default:
      return sort satisfies never;
  }
}

/** Of its last scrape; undefined when there was none, or it was missed. */
export function shareOfTimeout({ state: { last }, target }: Scheduled): number | undefined {
  if (!last || !(isStored(last.outcome) || isFailed(last.outcome))) return undefined;
  return last.durationUs / 1000 / target.timeoutMs;
}

function searchText({ state: { last }, target }: Scheduled): string {
  let text = `${target.url}\n${last?.outcome ?? "waiting"}\n${last?.error ?? ""}`;
  for (const [name, value] of target.labels) text += `\n${name}=${value}`;
  return text.toLowerCase();
}

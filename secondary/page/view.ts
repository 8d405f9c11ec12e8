// Which targets a page or an answer is about: counted, narrowed, put in order, and cut into pages on this side, so that a reader
// gets a hundred rows and not five thousand.
//
// It is work for thousands of targets on the event loop that scrapes begin on. So it is done in slices with the loop let go in
// between; none comes near the time after which a scrape would be late. Each shard narrows and orders its own targets, and gives
// plain data of those that are asked for; what the shards give is put together here.

import type { Clock } from "#/lib/clock/clock.ts";
import type { Labels } from "#/lib/model/labels.ts";
import type { Layout } from "#/lib/model/layout.ts";
import { isFailed, isStored, type Outcome } from "#/lib/model/outcome.ts";
import type { Target } from "#/lib/model/target.ts";
import { type Filter as AnyFilter, readFilter } from "#/lib/page/filter.ts";
import { compareRanks, mergeRuns, type Rank } from "#/lib/page/order.ts";
import { type ShownTarget, sharedLabels } from "#/lib/page/target.ts";
import type { ScheduledTarget } from "#/secondary/schedule.ts";
import type { LastScrape, TargetState } from "#/secondary/scrape/scrape.ts";

/** Targets looked at before the event loop is let go: about 2 ms when each is searched for a text. */
export const sliceTargets = 250;

export interface PageSource {
  readonly name: string;
  readonly datacenter: string;
  readonly generation: number;
  /** The primary that takes our batches; "" while none does. */
  readonly primary: string;
  readonly spool: SpoolView;
  /** Of all targets. */
  select(asked: Asked): Promise<Selection>;
  layout(id: string): Promise<LayoutShare | undefined>;
}

export type Scheduled = ScheduledTarget<TargetState>;

/** How full the spool is. */
export interface SpoolView {
  readonly batches: number;
  readonly bytes: number;
  readonly bytesMax: number;
  /** Until something must be dropped that is nowhere else, at the present rate; Infinity while nothing piles up. */
  readonly roomMs: number;
  /** False while batches are in memory alone, which has `memoryBytes` of them. */
  readonly diskTakes: boolean;
  readonly memoryBytes: number;
}

/** What is shown of a target: plain data, of one moment. */
export interface TargetView {
  readonly target: ShownTarget;
  readonly last: LastScrape | undefined;
  /** When the last scrape that was stored began; undefined before the first. */
  readonly lastStoredMs: number | undefined;
  /** Of that scrape. */
  readonly layout: { readonly id: string; readonly series: number } | undefined;
  readonly generation: number;
  /** Time of its next slot. */
  readonly dueMs: number;
  readonly running: boolean;
}

/** How a target is, worst first. `missed` says nothing of the target: it was not asked. */
export const conditions = ["failing", "missed", "partial", "waiting", "up"] as const;
export type Condition = (typeof conditions)[number];

export function conditionOf({ last }: Pick<TargetView, "last">): Condition {
  if (!last) return "waiting";
  if (last.outcome === "partial") return "partial";
  if (isStored(last.outcome)) return "up";
  return isFailed(last.outcome) ? "failing" : "missed";
}

export const orders = ["worst", "slow", "samples", "name"] as const;
export type Order = (typeof orders)[number];

export type Filter = AnyFilter<Condition, Order>;

/** What a query string says; what cannot be understood is as if it were not there. */
export function filterOf(query: unknown): Filter {
  return readFilter(query, { shows: conditions, orders });
}

/** Which targets, and how many of them at most. */
export interface Asked {
  readonly filter: Filter;
  readonly rowsMax: number;
}

export interface Selection {
  /** The first of those that the filter lets through, in order. */
  readonly rows: readonly TargetView[];
  /** How many it lets through. */
  readonly found: number;
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

/** What one shard has of a selection. */
export interface SelectionPart extends Omit<Selection, "rows"> {
  readonly rows: readonly RankedView[];
}

interface Ranked extends Rank {
  readonly scheduled: Scheduled;
}

export interface RankedView extends Rank {
  readonly view: TargetView;
}

/** A selection is of one moment but for what changes while it is made. */
export async function selectPart(
  targets: Iterable<Scheduled>,
  { filter, rowsMax }: Asked,
  clock: Clock,
): Promise<SelectionPart> {
  const all = [...targets];
  const counts = { all: 0, failing: 0, missed: 0, partial: 0, waiting: 0, up: 0 };
  const outcomes = new Map<Outcome, number>();
  const jobs = new Set<string>();
  const runs: Ranked[][] = [];
  let run: Ranked[] = [];
  const find = filter.find.toLowerCase();
  let common: Labels = all[0]?.target.labels ?? [];
  for (const [i, scheduled] of all.entries()) {
    if (i > 0 && i % sliceTargets === 0) {
      runs.push(run.sort(compareRanks));
      run = [];
      await clock.sleep(0);
    }
    const { job, labels } = scheduled.target;
    jobs.add(job);
    common = sharedLabels(common, labels);
    if (filter.job !== "" && job !== filter.job) continue;
    if (find !== "" && !searchText(scheduled).includes(find)) continue;
    const condition = conditionOf(scheduled.state);
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
  runs.push(run.sort(compareRanks));
  const sorted = await mergeRuns(runs, () => clock.sleep(0));
  const rows: RankedView[] = [];
  for (const { key, scheduled, weight } of sorted.slice(0, rowsMax)) {
    if (rows.length > 0 && rows.length % sliceTargets === 0) await clock.sleep(0);
    rows.push({ key, weight, view: viewOf(scheduled) });
  }
  return {
    rows,
    found: sorted.length,
    total: all.length,
    counts,
    outcomes: byFrequency(outcomes),
    jobs: [...jobs].sort(),
    common,
  };
}

/** What the shards have, as if it were of one. */
export async function mergeParts(
  parts: readonly SelectionPart[],
  { rowsMax }: Asked,
  clock: Clock,
): Promise<Selection> {
  const sorted = await mergeRuns(
    parts.map(({ rows }) => rows),
    () => clock.sleep(0),
  );
  const counts = { all: 0, failing: 0, missed: 0, partial: 0, waiting: 0, up: 0 };
  const outcomes = new Map<Outcome, number>();
  for (const part of parts) {
    for (const show of ["all", ...conditions] as const) counts[show] += part.counts[show];
    for (const [outcome, count] of part.outcomes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + count);
  }
  const total = parts.reduce((sum, part) => sum + part.total, 0);
  const filled = parts.filter((part) => part.total > 0);
  return {
    rows: sorted.slice(0, rowsMax).map(({ view }) => view),
    found: parts.reduce((sum, { found }) => sum + found, 0),
    total,
    counts,
    outcomes: byFrequency(outcomes),
    jobs: [...new Set(parts.flatMap(({ jobs }) => jobs))].sort(),
    common: total > 1 ? filled.map(({ common }) => common).reduce(sharedLabels) : [],
  };
}

function byFrequency(outcomes: ReadonlyMap<Outcome, number>): readonly (readonly [Outcome, number])[] {
  return [...outcomes].sort((a, b) => b[1] - a[1]);
}

function viewOf({ dueMs, generation, runningMs, state, target }: Scheduled): TargetView {
  const { id, intervalMs, job, labels, timeoutMs, url } = target;
  const { last, lastStoredMs, layout } = state;
  return {
    target: { id, intervalMs, job, labels, timeoutMs, url },
    last,
    lastStoredMs,
    layout: layout && { id: layout.id, series: layout.rows.length },
    generation,
    dueMs,
    running: runningMs !== undefined,
  };
}

/** Who has a layout, and the layout itself. */
export interface LayoutShare {
  readonly layout: Layout;
  /** Whose last stored scrape has it. */
  readonly targets: number;
  /** Of the first of them. */
  readonly urls: readonly string[];
}

/** Targets that are named of those that share a layout. */
export const sharersShownMax = 20;

/** Undefined when no target has it. */
export function findLayout(targets: Iterable<Scheduled>, id: string): LayoutShare | undefined {
  let layout: Layout | undefined;
  let count = 0;
  const urls: string[] = [];
  for (const { state, target } of targets) {
    if (state.layout?.id !== id) continue;
    layout = state.layout;
    count++;
    if (urls.length < sharersShownMax) urls.push(target.url);
  }
  return layout && { layout, targets: count, urls };
}

export function mergeShares(shares: readonly (LayoutShare | undefined)[]): LayoutShare | undefined {
  const found = shares.filter((share) => share !== undefined);
  if (!found[0]) return undefined;
  return {
    layout: found[0].layout,
    targets: found.reduce((sum, { targets }) => sum + targets, 0),
    urls: found.flatMap(({ urls }) => urls).slice(0, sharersShownMax),
  };
}

function ranked(scheduled: Scheduled, condition: Condition, sort: Order): Ranked {
  const { state, target } = scheduled;
  const key = `${target.job}\0${target.url}\0${target.id}`;
  switch (sort) {
    case "worst":
      return { scheduled, weight: -conditions.indexOf(condition), key };
    case "slow":
      return { scheduled, weight: shareOfTimeout(state, target) ?? -1, key };
    case "samples":
      return { scheduled, weight: state.last?.samples ?? -1, key };
    case "name":
      return { scheduled, weight: 0, key };
    default:
      return sort satisfies never;
  }
}

/** Of its last scrape; undefined when there was none, or it was missed. */
export function shareOfTimeout(
  { last }: Pick<TargetView, "last">,
  { timeoutMs }: Pick<Target, "timeoutMs">,
): number | undefined {
  if (!last || !(isStored(last.outcome) || isFailed(last.outcome))) return undefined;
  return last.durationUs / 1000 / timeoutMs;
}

function searchText({ state: { last }, target }: Scheduled): string {
  let text = `${target.url}\n${last?.outcome ?? "waiting"}\n${last?.error ?? ""}`;
  for (const [name, value] of target.labels) text += `\n${name}=${value}`;
  return text.toLowerCase();
}

// Which of a hundred thousand targets an answer is about: counted, narrowed and put in order, with the event loop let go in
// between. Of those that are asked for only the places in their generations are kept, and each is told when its turn comes.

import { setImmediate } from "node:timers/promises";
import type { AssignedTarget, Generation } from "#/lib/model/generation.ts";
import type { Labels } from "#/lib/model/labels.ts";
import type { LastOutcome, Outcome } from "#/lib/model/outcome.ts";
import { type AssignedSource, type Condition, conditionOf, conditions } from "#/lib/page/assigned/source.ts";
import { type Filter as AnyFilter, parameter, readFilter } from "#/lib/page/filter.ts";
import { compareRanks, mergeRuns, type Rank } from "#/lib/page/order.ts";
import { sharedLabels } from "#/lib/page/target.ts";

/** Targets looked at before the event loop is let go: about 5 ms when each is searched for a text. */
const sliceTargets = 2000;

export const orders = ["worst", "slow", "samples", "name", "since"] as const;
export type Order = (typeof orders)[number];

export interface Filter extends AnyFilter<Condition, Order> {
  /** A secondary's name; "" for every one. */
  readonly owner: string;
  /** "" for every one. */
  readonly datacenter: string;
}

/** What a query string says; what cannot be understood is as if it were not there. */
export function filterOf(query: unknown): Filter {
  return {
    ...readFilter(query, { shows: conditions, orders }),
    owner: parameter(query, "owner"),
    datacenter: parameter(query, "datacenter"),
  };
}

/** One moment of a data centre: generations are never changed. */
export interface Snapshot {
  readonly source: AssignedSource;
  readonly generation: Generation;
}

export interface Row {
  readonly snapshot: Snapshot;
  readonly assigned: AssignedTarget;
}

export interface SecondaryLoad {
  targets: number;
  failing: number;
}

export interface Selection {
  /** Those that were asked for, of those that the filter lets through, in order. */
  readonly rows: readonly Row[];
  /** How many it lets through. */
  readonly found: number;
  /** In the data centres that were asked for. */
  readonly total: number;
  /** Of what job, owner and text let through, whatever the condition. */
  readonly counts: Readonly<Record<Condition | "all", number>>;
  /** Of those that are failing or missed among them, the most frequent first. */
  readonly outcomes: readonly (readonly [outcome: Outcome, count: number])[];
  /** Sorted. */
  readonly jobs: readonly string[];
  /** Of all targets, by data centre and owner; the owner "" has those that nobody scrapes. */
  readonly loads: ReadonlyMap<string, ReadonlyMap<string, SecondaryLoad>>;
  /** Labels that every target has with the same value. */
  readonly common: Labels;
  readonly snapshots: readonly Snapshot[];
}

interface Ranked extends Rank {
  readonly snapshot: Snapshot;
  /** In its generation. */
  readonly at: number;
}

export async function select(
  sources: readonly AssignedSource[],
  {
    filter,
    from,
    nowMs,
    rowsMax,
  }: { readonly filter: Filter; readonly from: number; readonly rowsMax: number; readonly nowMs: number },
): Promise<Selection> {
  const counts = { all: 0, failing: 0, unassigned: 0, silent: 0, missed: 0, partial: 0, waiting: 0, up: 0 };
  const outcomes = new Map<Outcome, number>();
  const jobs = new Set<string>();
  const loads = new Map<string, Map<string, SecondaryLoad>>();
  const snapshots: Snapshot[] = [];
  const find = filter.find.toLowerCase();
  const runs: Ranked[][] = [];
  let run: Ranked[] = [];
  let common: Labels | undefined;
  let total = 0;
  for (const source of sources) {
    if (filter.datacenter !== "" && source.datacenter !== filter.datacenter) continue;
    const generation = source.generation();
    if (!generation) continue;
    const snapshot: Snapshot = { source, generation };
    snapshots.push(snapshot);
    const owners = new Map<string, SecondaryLoad>();
    loads.set(source.datacenter, owners);
    for (const at of await inOrderOfName(generation)) {
      if (++total % sliceTargets === 0) {
        runs.push(run.sort(compareRanks));
        run = [];
        await setImmediate();
      }
      const assigned = generation.targets[at]!;
      const { owner, target } = assigned;
      jobs.add(target.job);
      common = common ? sharedLabels(common, target.labels) : target.labels;
      const last = source.last(target.id);
      const condition = conditionOf(assigned, last, { nowMs, validFromMs: generation.validFromMs });
      const load = loadOf(owners, owner);
      load.targets++;
      if (condition === "failing") load.failing++;
      if (filter.job !== "" && target.job !== filter.job) continue;
      if (filter.owner !== "" && owner !== filter.owner) continue;
      if (find !== "" && !searchText(assigned, last, condition).includes(find)) continue;
      counts.all++;
      counts[condition]++;
      const outcome = condition === "failing" || condition === "missed" ? last?.outcome : undefined;
      if (outcome) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (filter.show !== "all" && condition !== filter.show) continue;
      if (filter.outcome !== "" && outcome !== filter.outcome) continue;
      run.push({ snapshot, at, weight: weightOf(assigned, { condition, last, sort: filter.sort }), key: total });
    }
  }
  runs.push(run.sort(compareRanks));
  const sorted = await mergeRuns(runs, () => setImmediate());
  return {
    rows: sorted
      .slice(from, from + rowsMax)
      .map(({ at, snapshot }) => ({ snapshot, assigned: snapshot.generation.targets[at]! })),
    found: sorted.length,
    total,
    counts,
    outcomes: [...outcomes].sort((a, b) => b[1] - a[1]),
    jobs: [...jobs].sort(),
    loads,
    common: total > 1 ? (common ?? []) : [],
    snapshots,
  };
}

/** A generation's targets by job and address: worked out when it is first asked for, and gone with it. */
const orderOf = new WeakMap<Generation, Promise<Uint32Array>>();

function inOrderOfName(generation: Generation): Promise<Uint32Array> {
  let order = orderOf.get(generation);
  if (!order) {
    order = sortByName(generation);
    orderOf.set(generation, order);
  }
  return order;
}

async function sortByName({ targets }: Generation): Promise<Uint32Array> {
  const runs: (Rank & { readonly at: number })[][] = [];
  for (let from = 0; from < targets.length; from += sliceTargets) {
    const run = targets
      .slice(from, from + sliceTargets)
      .map(({ target }, i) => ({ weight: 0, key: `${target.job}\0${target.url}\0${target.id}`, at: from + i }));
    runs.push(run.sort(compareRanks));
    await setImmediate();
  }
  const sorted = await mergeRuns(runs, () => setImmediate());
  return Uint32Array.from(sorted, ({ at }) => at);
}

function loadOf(owners: Map<string, SecondaryLoad>, owner: string): SecondaryLoad {
  let load = owners.get(owner);
  if (!load) {
    load = { targets: 0, failing: 0 };
    owners.set(owner, load);
  }
  return load;
}

function weightOf(
  { target }: AssignedTarget,
  {
    condition,
    last,
    sort,
  }: { readonly condition: Condition; readonly last: LastOutcome | undefined; readonly sort: Order },
): number {
  switch (sort) {
    case "worst":
      return -conditions.indexOf(condition);
    case "slow":
      return last ? last.durationUs / 1000 / target.timeoutMs : -1;
    case "samples":
      return last?.samples ?? -1;
    case "since":
      return last?.sinceMs ?? 0;
    case "name":
      return 0;
    default:
      return sort satisfies never;
  }
}

function searchText({ owner, target }: AssignedTarget, last: LastOutcome | undefined, condition: Condition): string {
  let text = `${target.url}\n${owner}\n${condition}\n${last?.outcome ?? ""}`;
  for (const [name, value] of target.labels) text += `\n${name}=${value}`;
  return text.toLowerCase();
}

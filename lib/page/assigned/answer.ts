// `/api/v1/targets` and `/api/v1/scrape_pools` of whoever reads a data centre's log: Prometheus' shape, and who scrapes each target
// beside it under `heliograph`.
//
// Answers are written piece by piece as their reader takes them, so that a hundred thousand targets hold nobody up and are
// nowhere as a whole.

import { setImmediate } from "node:timers/promises";
import type { Outcome } from "#/lib/model/outcome.ts";
import { slotAt, slotTimeMs } from "#/lib/model/target.ts";
import type { Row, Selection } from "#/lib/page/assigned/select.ts";
import {
  type AssignedSource,
  type Condition,
  conditionOf,
  healthOf,
  type SecondaryFacts,
  unassignedReason,
} from "#/lib/page/assigned/source.ts";
import { explain } from "#/lib/page/outcome.ts";
import { activeTargetOf, neverText, type TargetAnswer } from "#/lib/page/target.ts";
import { timeText } from "#/lib/page/text.ts";

/** About 100 kB of JSON, and a millisecond or two to make. */
const sliceTargetsWritten = 100;

export interface AssignedFacts {
  readonly id: string;
  readonly datacenter: string;
  readonly condition: Condition;
  /** Of the last slot that had one; null before the first, as are the next ones. */
  readonly outcome: Outcome | null;
  /** The slots since then had that outcome too. */
  readonly since: string | null;
  readonly slot: number | null;
  readonly slotTime: string | null;
  /** Who told it. */
  readonly scrapedBy: string | null;
  readonly lastStored: string | null;
  /** Who scrapes it now; null when nobody does, and then `unassigned` says why. */
  readonly owner: string | null;
  readonly unassigned: string | null;
  /** Under which the last slot was due; before the first, the newest one. */
  readonly generation: number;
  readonly nextScrape: string | null;
  readonly samples: number;
}

export type AssignedAnswer = TargetAnswer<AssignedFacts>;

/** Beside Prometheus' data. */
export interface AssignedSummary {
  readonly server: string;
  readonly now: string;
  readonly datacenters: readonly DatacenterSummary[];
  readonly counts: Readonly<Record<Condition | "all", number>>;
  /** Targets that the filter lets through. */
  readonly found: number;
  readonly offset: number;
  /** The `offset` of what follows; null at the end. */
  readonly next: number | null;
}

export interface DatacenterSummary {
  readonly name: string;
  readonly generation: number;
  /** That made the generation. */
  readonly primary: string;
  readonly validFrom: string;
  readonly targets: number;
  readonly unassigned: number;
  readonly secondaries: readonly (SecondaryFacts & { readonly targets: number; readonly failing: number })[];
}

export function assignedTarget({ assigned, snapshot }: Row, nowMs: number): AssignedAnswer {
  const { owner, target } = assigned;
  const { generation, source } = snapshot;
  const last = source.last(target.id);
  const condition = conditionOf(assigned, last, { nowMs, validFromMs: generation.validFromMs });
  const tried = last !== undefined && !last.outcome.startsWith("missed_") && last.outcome !== "superseded";
  return activeTargetOf(
    target,
    {
      lastError: last ? explain(last.outcome) : "",
      lastScrape: tried ? timeText(last.timestampMs) : neverText,
      lastScrapeDuration: tried ? last.durationUs / 1e6 : 0,
      health: healthOf(condition),
    },
    {
      id: target.id,
      datacenter: source.datacenter,
      condition,
      outcome: last?.outcome ?? null,
      since: last ? timeText(last.sinceMs) : null,
      slot: last?.slot ?? null,
      slotTime: last ? timeText(slotTimeMs(target, last.slot)) : null,
      scrapedBy: last?.secondary ?? null,
      lastStored: last?.lastStoredMs === undefined ? null : timeText(last.lastStoredMs),
      owner: owner === "" ? null : owner,
      unassigned: owner === "" ? unassignedReason(generation) : null,
      generation: last?.generation ?? generation.number,
      nextScrape: owner === "" ? null : timeText(nextSlotMs(assigned.target, nowMs)),
      samples: last?.samples ?? 0,
    },
  );
}

export interface TargetsAsked {
  readonly server: string;
  readonly selection: Selection;
  readonly offset: number;
  readonly withDropped: boolean;
  readonly nowMs: number;
}

/** Together one JSON document. */
export async function* targetsText({
  nowMs,
  offset,
  selection,
  server,
  withDropped,
}: TargetsAsked): AsyncGenerator<string> {
  const { counts, found, rows, snapshots } = selection;
  yield '{"status":"success","data":{"activeTargets":[';
  for (let from = 0; from < rows.length; from += sliceTargetsWritten) {
    const slice = rows.slice(from, from + sliceTargetsWritten).map((row) => assignedTarget(row, nowMs));
    yield (from > 0 ? "," : "") + JSON.stringify(slice).slice(1, -1);
    await setImmediate();
  }
  const until = offset + rows.length;
  const summary: AssignedSummary = {
    server,
    now: timeText(nowMs),
    datacenters: datacentersOf(selection),
    counts,
    found,
    offset,
    next: rows.length > 0 && until < found ? until : null,
  };
  const dropped = withDropped ? droppedOf(snapshots.map(({ source }) => source)) : {};
  // Of what relabelling dropped only the numbers are kept.
  yield `],"droppedTargets":[],"droppedTargetCounts":${JSON.stringify(dropped)},"heliograph":${JSON.stringify(summary)}}}`;
}

export function datacentersOf({ loads, snapshots }: Selection): readonly DatacenterSummary[] {
  return snapshots.map(({ generation, source }) => {
    const owners = loads.get(source.datacenter);
    return {
      name: source.datacenter,
      generation: generation.number,
      primary: generation.primary,
      validFrom: timeText(generation.validFromMs),
      targets: generation.targets.length,
      unassigned: owners?.get("")?.targets ?? 0,
      secondaries: source.secondaries().map((secondary) => ({
        ...secondary,
        targets: owners?.get(secondary.name)?.targets ?? 0,
        failing: owners?.get(secondary.name)?.failing ?? 0,
      })),
    };
  });
}

export function scrapePoolsText(jobs: readonly string[]): string {
  return JSON.stringify({ status: "success", data: { scrapePools: jobs } });
}

function droppedOf(sources: readonly AssignedSource[]): Record<string, number> {
  const dropped: Record<string, number> = {};
  for (const source of sources) {
    for (const [job, count] of Object.entries(source.dropped())) dropped[job] = (dropped[job] ?? 0) + count;
  }
  return dropped;
}

export function nextSlotMs(target: Parameters<typeof slotTimeMs>[0], nowMs: number): number {
  return slotTimeMs(target, slotAt(target, nowMs) + 1);
}

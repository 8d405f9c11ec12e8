// `/api/v1/targets` in the shape that Prometheus gives it, so that its clients understand it, with what else is known here
// beside it under `heliograph`; and the series of a layout.
//
// Answers are written piece by piece, so that five thousand targets hold nobody up.

import type { Clock } from "#/lib/clock/clock.ts";
import { labelsRecord, metricNameLabel } from "#/lib/model/labels.ts";
import type { Layout } from "#/lib/model/layout.ts";
import { isStored } from "#/lib/model/outcome.ts";
import { activeTargetOf, neverText, type TargetAnswer } from "#/lib/page/target.ts";
import { timeText } from "#/lib/page/text.ts";
import {
  type Condition,
  conditionOf,
  type PageSource,
  type Selection,
  type TargetView,
} from "#/secondary/page/view.ts";

/** About 100 kB of JSON, and a millisecond or two to make. */
const sliceTargetsWritten = 100;
const sliceRowsWritten = 500;

export type ActiveTarget = TargetAnswer<TargetFacts>;

export interface TargetFacts {
  readonly id: string;
  readonly condition: Condition;
  /** Of the last slot that had one; null before the first, as are `slot` and `lastStored`. */
  readonly outcome: string | null;
  readonly owner: string;
  /** Under which that slot was due; before the first, that which is scraped by. */
  readonly generation: number;
  readonly slot: number | null;
  readonly running: boolean;
  readonly nextScrape: string;
  readonly lastStored: string | null;
  readonly samples: number;
  readonly seriesAdded: number;
  /** Samples that metric_relabel_configs dropped. */
  readonly dropped: number;
  /** Series that were left out, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** Decompressed. */
  readonly bodyBytes: number;
  /** Of the last scrape that was stored; null before. Its series are at /api/v1/targets/layout?id=…. */
  readonly layout: string | null;
}

export function activeTarget(view: TargetView, owner: string): ActiveTarget {
  const { last, lastStoredMs, target } = view;
  const condition = conditionOf(view);
  return activeTargetOf(
    target,
    {
      lastError: last?.error ?? "",
      lastScrape: last && condition !== "missed" ? timeText(last.beganMs) : neverText,
      lastScrapeDuration: (last?.durationUs ?? 0) / 1e6,
      health: condition === "failing" ? "down" : last && isStored(last.outcome) ? "up" : "unknown",
    },
    {
      id: target.id,
      condition,
      outcome: last?.outcome ?? null,
      owner,
      generation: last?.generation ?? view.generation,
      slot: last?.slot ?? null,
      running: view.running,
      nextScrape: timeText(view.dueMs),
      lastStored: lastStoredMs === undefined ? null : timeText(lastStoredMs),
      samples: last?.samples ?? 0,
      seriesAdded: last?.added ?? 0,
      dropped: last?.dropped ?? 0,
      refused: Object.fromEntries(Object.entries(last?.refused ?? {}).filter(([, count]) => count > 0)),
      bodyBytes: last?.bodyBytes ?? 0,
      layout: view.layout?.id ?? null,
    },
  );
}

export interface TargetsAsked {
  readonly source: PageSource;
  readonly selection: Selection;
  readonly targets: readonly TargetView[];
  readonly clock: Clock;
}

/** Together one JSON document. */
export async function* targetsText({ clock, selection, source, targets }: TargetsAsked): AsyncGenerator<string> {
  yield '{"status":"success","data":{"activeTargets":[';
  for (let from = 0; from < targets.length; from += sliceTargetsWritten) {
    const slice = targets.slice(from, from + sliceTargetsWritten).map((view) => activeTarget(view, source.name));
    yield (from > 0 ? "," : "") + JSON.stringify(slice).slice(1, -1);
    await clock.sleep(0);
  }
  const { datacenter, generation, name, primary } = source;
  const { counts, total } = selection;
  const spool = spoolAnswer(source.spool);
  const ours = { name, datacenter, generation, primary, spool, targets: total, counts, now: timeText(clock.nowMs()) };
  // What relabel_configs drop never gets here: primaries count it (heliograph_primary_dropped_targets).
  yield `],"droppedTargets":[],"droppedTargetCounts":{},"heliograph":${JSON.stringify(ours)}}}`;
}

function spoolAnswer({ batches, bytes, bytesMax, diskTakes, roomMs }: PageSource["spool"]) {
  const roomSeconds = Number.isFinite(roomMs) ? Math.round(roomMs / 1000) : null;
  return { batches, bytes, bytesMax, roomSeconds, diskTakes };
}

/** Together one JSON document: each row's name and labels, without the target's, and what is known of its metric. */
export async function* layoutText(layout: Layout, targets: number, clock: Clock): AsyncGenerator<string> {
  yield `{"status":"success","data":{"id":"${layout.id}","targets":${targets},"series":[`;
  for (let from = 0; from < layout.rows.length; from += sliceRowsWritten) {
    const slice = layout.rows.slice(from, from + sliceRowsWritten).map(({ family, labels, name }) => {
      const { help, type, unit } = layout.families[family]!;
      return { labels: { [metricNameLabel]: name, ...labelsRecord(labels) }, type, help, unit };
    });
    yield (from > 0 ? "," : "") + JSON.stringify(slice).slice(1, -1);
    await clock.sleep(0);
  }
  yield "]}}";
}

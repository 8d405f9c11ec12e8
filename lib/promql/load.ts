// Finds every selector of a query and fetches its samples, once, before anything is evaluated.
//
// A selector's samples are wanted for the times at which it is looked at, widened by its range or the lookback, and by those
// of every subquery around it. Selectors that ask for the same are fetched together.

import { labelValue, metricNameLabel } from "#/lib/model/labels.ts";
import type { SampleSource, SeriesSamples, TimeRange } from "#/lib/model/source.ts";
import { childrenOf, type Expression, type VectorSelector } from "#/lib/promql/ast.ts";
import { type Bounds, queryDurations, resolveShift } from "#/lib/promql/context.ts";
import { durationMs } from "#/lib/promql/duration.ts";
import { executionError } from "#/lib/promql/errors.ts";
import { seriesPerSelectorMax } from "#/lib/promql/limits.ts";

export interface LoadedSamples {
  readonly of: ReadonlyMap<VectorSelector, readonly SeriesSamples[]>;
  readonly samples: number;
}

export async function loadSelectors(
  root: Expression,
  options: {
    readonly bounds: Bounds;
    readonly lookbackMs: number;
    readonly source: SampleSource;
    readonly samplesMax: number;
    readonly signal: AbortSignal;
  },
): Promise<LoadedSamples> {
  const { bounds, lookbackMs, source, samplesMax, signal } = options;
  const wanted = selectorRanges(root, { bounds, lookbackMs });
  const fetched = new Map<string, readonly SeriesSamples[]>();
  const loaded = new Map<VectorSelector, readonly SeriesSamples[]>();
  let samples = 0;
  for (const [selector, range] of wanted) {
    const matchers = selector.matchers.map(({ name, operator, value }) => [name, operator, value]);
    const key = JSON.stringify([range.fromMs, range.untilMs, matchers]);
    let series = fetched.get(key);
    if (!series) {
      series = (await source.select(selector.matchers, range, signal)).series;
      fetched.set(key, series);
      if (series.length > seriesPerSelectorMax) {
        const name = selector.name || labelValue(series[0]!.labels, metricNameLabel);
        throw executionError(
          `selector ${name}: expected at most ${seriesPerSelectorMax} series, got ${series.length}; add matchers`,
        );
      }
      for (const one of series) samples += one.timesMs.length;
      if (samples > samplesMax) throw tooManySamples();
    }
    loaded.set(selector, series);
  }
  return { of: loaded, samples };
}

export function tooManySamples() {
  return executionError("query processing would load too many samples into memory in query execution");
}

/** When each selector is looked at, both ends included. */
function selectorRanges(
  root: Expression,
  options: { readonly bounds: Bounds; readonly lookbackMs: number },
): Map<VectorSelector, TimeRange> {
  const { bounds, lookbackMs } = options;
  const ranges = new Map<VectorSelector, TimeRange>();
  visit(root, { fromMs: bounds.startMs, untilMs: bounds.endMs });
  return ranges;

  function visit(expression: Expression, times: TimeRange): void {
    switch (expression.kind) {
      case "selector":
        want(expression, times, lookbackMs);
        break;
      case "matrix": {
        const rangeMs = durationMs(expression.range, queryDurations(bounds), { positive: true });
        want(expression.selector, times, rangeMs + (expression.selector.edges ? lookbackMs : 0));
        break;
      }
      case "subquery": {
        const { offsetMs, atMs } = resolveShift(expression, bounds);
        const rangeMs = durationMs(expression.range, queryDurations(bounds), { positive: true });
        visit(expression.operand, {
          fromMs: (atMs ?? times.fromMs) - offsetMs - rangeMs,
          untilMs: (atMs ?? times.untilMs) - offsetMs,
        });
        break;
      }
      default:
        for (const child of childrenOf(expression)) visit(child, times);
    }
  }

  function want(selector: VectorSelector, times: TimeRange, backMs: number): void {
    const { offsetMs, atMs } = resolveShift(selector, bounds);
    ranges.set(selector, {
      fromMs: (atMs ?? times.fromMs) - offsetMs - backMs,
      untilMs: (atMs ?? times.untilMs) - offsetMs + (selector.edges === "smoothed" ? lookbackMs : 0),
    });
  }
}

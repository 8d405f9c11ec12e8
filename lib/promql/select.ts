// Instant selectors: for each step the newest sample that is not older than the lookback and not a stale marker.

import { metricNameLabel } from "#/lib/model/labels.ts";
import type { SeriesSamples } from "#/lib/model/source.ts";
import { isStale, wordsOf } from "#/lib/model/value.ts";
import type { VectorSelector } from "#/lib/promql/ast.ts";
import { type Context, type RangeSeries, resolveShift } from "#/lib/promql/context.ts";
import { interpolate } from "#/lib/promql/edges.ts";
import { firstAfterIn } from "#/lib/promql/search.ts";
import { type Grid, type Vector, VectorBuilder } from "#/lib/promql/vector.ts";

/** `timestamps`: the samples' own times in seconds in place of their values, for `timestamp()`. */
export async function evaluateSelector(
  context: Context,
  selector: VectorSelector,
  options: { readonly grid: Grid; readonly timestamps: boolean },
): Promise<Vector> {
  const { grid, timestamps } = options;
  const series = context.samples(selector);
  const { offsetMs, atMs } = resolveShift(selector, context.bounds);
  const look: Look = {
    firstMs: (atMs ?? grid.startMs) - offsetMs,
    stepMs: atMs === undefined ? grid.stepMs : 0,
    steps: grid.steps,
    lookbackMs: context.lookbackMs,
  };
  context.reserve(series.length * grid.steps);
  const builder = new VectorBuilder(grid.steps, series.length);
  for (const one of series) {
    const offset = builder.addRow(one.labels);
    let found: number;
    if (selector.edges === "smoothed") found = lookSmoothed(one, look, builder.values, builder.present, offset);
    else found = lookBack(one, look, timestamps, builder.values, builder.present, offset);
    if (found === 0) builder.dropRow();
    const turn = context.pace(grid.steps);
    if (turn) await turn;
  }
  return builder.finish();
}

interface Look {
  readonly firstMs: number;
  readonly stepMs: number;
  readonly steps: number;
  readonly lookbackMs: number;
}

/** How many steps have a value. */
function lookBack(
  series: SeriesSamples,
  look: Look,
  timestamps: boolean,
  values: Float64Array,
  present: Uint8Array,
  offset: number,
): number {
  const times = series.timesMs;
  const words = wordsOf(series.values);
  const { firstMs, stepMs, steps, lookbackMs } = look;
  let next = firstAfterIn(times, 0, times.length, firstMs);
  let found = 0;
  for (let i = 0; i < steps; i++) {
    const atMs = firstMs + i * stepMs;
    while (next < times.length && times[next]! <= atMs) next++;
    const last = next - 1;
    if (last < 0 || times[last]! <= atMs - lookbackMs || isStale(words, last)) continue;
    values[offset + i] = timestamps ? times[last]! / 1000 : series.values[last]!;
    present[offset + i] = 1;
    found++;
  }
  return found;
}

/** On the straight line between the samples around the step; the last sample's value where none follows. */
function lookSmoothed(
  series: SeriesSamples,
  look: Look,
  values: Float64Array,
  present: Uint8Array,
  offset: number,
): number {
  const { times, values: source, count } = withoutStale(series);
  const { firstMs, stepMs, steps, lookbackMs } = look;
  let found = 0;
  for (let i = 0; i < steps; i++) {
    const atMs = firstMs + i * stepMs;
    const next = firstAfterIn(times, 0, count, atMs);
    const last = next - 1;
    if (last < 0 || times[last]! <= atMs - lookbackMs) continue;
    const between = next < count && times[last]! < atMs && times[next]! <= atMs + lookbackMs;
    values[offset + i] = between
      ? interpolate(times[last]!, source[last]!, times[next]!, source[next]!, atMs, "gauge")
      : source[last]!;
    present[offset + i] = 1;
    found++;
  }
  return found;
}

/** Shares the source's arrays when there is no stale marker among them, which is nearly always. */
export function withoutStale(series: SeriesSamples): RangeSeries {
  const { labels, timesMs, values } = series;
  const words = wordsOf(values);
  let stale = 0;
  for (let i = 0; i < timesMs.length; i++) if (isStale(words, i)) stale++;
  if (stale === 0) return { labels, times: timesMs, values, count: timesMs.length };
  const count = timesMs.length - stale;
  const keptTimes = new Float64Array(count);
  const keptValues = new Float64Array(count);
  for (let i = 0, k = 0; i < timesMs.length; i++) {
    if (isStale(words, i)) continue;
    keptTimes[k] = timesMs[i]!;
    keptValues[k++] = values[i]!;
  }
  return { labels, times: keptTimes, values: keptValues, count };
}

/** The labels that `absent()` can promise: those that the selector asks for by equality, and only once. */
export function absentLabels(selector: VectorSelector): readonly (readonly [string, string])[] {
  const labels = new Map<string, string>();
  const seen = new Set<string>();
  for (const { name, operator, value } of selector.matchers) {
    if (name === metricNameLabel) continue;
    if (operator === "=" && !seen.has(name)) {
      seen.add(name);
      labels.set(name, value);
    } else {
      labels.delete(name);
    }
  }
  return [...labels];
}

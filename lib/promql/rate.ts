// rate, increase and delta: how much a series grew over a window, extrapolated to the window's edges.
//
// The samples seldom lie on the edges, so the growth between the first and the last is stretched to the whole window, but at
// most by half a sample distance where a series seems to begin or end within, and never below a counter's zero. After
// Prometheus' extrapolatedRate. Where a counter fell it was reset, and what it had before is added: the places of all falls
// are found once a series, each window then adds up its own.

import { withEdges } from "#/lib/promql/edges.ts";
import { firstAfterIn } from "#/lib/promql/search.ts";
import type { Target, Windows } from "#/lib/promql/windows.ts";

export interface RateKind {
  /** Falls are resets, and there is nothing below zero. */
  readonly counter: boolean;
  /** Per second. */
  readonly perSecond: boolean;
}

export const rateKinds: Readonly<Record<string, RateKind>> = {
  rate: { counter: true, perSecond: true },
  increase: { counter: true, perSecond: false },
  delta: { counter: false, perSecond: false },
};

/** How many steps have a value. */
export function slideRate(
  times: Float64Array,
  values: Float64Array,
  count: number,
  windows: Windows,
  target: Target,
  kind: RateKind,
): number {
  const falls = kind.counter ? fallsOf(values, count) : noFalls;
  const { steps, firstEndMs, endStepMs, rangeMs } = windows;
  const divisor = kind.perSecond ? rangeMs / 1000 : 1;
  let low = 0;
  let high = 0;
  let fall = 0;
  let found = 0;
  for (let i = 0; i < steps; i++) {
    const endMs = firstEndMs + i * endStepMs;
    const startMs = endMs - rangeMs;
    while (high < count && times[high]! <= endMs) high++;
    while (low < high && times[low]! <= startMs) low++;
    if (high - low < 2) continue;
    const first = values[low]!;
    let growth = values[high - 1]! - first;
    while (fall < falls.length && falls[fall]! <= low) fall++;
    for (let k = fall; k < falls.length && falls[k]! < high; k++) growth += values[falls[k]! - 1]!;

    const sampledSeconds = (times[high - 1]! - times[low]!) / 1000;
    const distanceSeconds = sampledSeconds / (high - low - 1);
    let toStartSeconds = (times[low]! - startMs) / 1000;
    let toEndSeconds = (endMs - times[high - 1]!) / 1000;
    if (toStartSeconds >= distanceSeconds * 1.1) toStartSeconds = distanceSeconds / 2;
    if (kind.counter && growth > 0 && first >= 0) {
      const toZeroSeconds = sampledSeconds * (first / growth);
      if (toZeroSeconds < toStartSeconds) toStartSeconds = toZeroSeconds;
    }
    if (toEndSeconds >= distanceSeconds * 1.1) toEndSeconds = distanceSeconds / 2;
    const factor = (sampledSeconds + toStartSeconds + toEndSeconds) / sampledSeconds / divisor;
    target.values[target.offset + i] = growth * factor;
    target.present[target.offset + i] = 1;
    found++;
  }
  return found;
}

const noFalls = new Int32Array(0);

/** The indexes of samples that are below the one before. */
function fallsOf(values: Float64Array, count: number): Int32Array {
  let falls = 0;
  for (let i = 1; i < count; i++) if (values[i]! < values[i - 1]!) falls++;
  if (falls === 0) return noFalls;
  const indexes = new Int32Array(falls);
  for (let i = 1, k = 0; i < count; i++) if (values[i]! < values[i - 1]!) indexes[k++] = i;
  return indexes;
}

/** The same over windows with edges: nothing is extrapolated. The samples reach `lookbackMs` beyond the windows. */
export function slideEdgedRate(
  times: Float64Array,
  values: Float64Array,
  count: number,
  windows: Windows,
  target: Target,
  kind: RateKind,
  options: { readonly edges: "anchored" | "smoothed"; readonly lookbackMs: number },
): number {
  const divisor = kind.perSecond ? windows.rangeMs / 1000 : 1;
  return slideEdges(times, count, windows, options, (startMs, endMs, low, high, i) => {
    const edged = withEdges(times, values, low, high, {
      startMs,
      endMs,
      edges: options.edges,
      counter: kind.counter,
    });
    if (!edged) return false;
    const points = edged.values;
    let growth = points[points.length - 1]! - points[0]!;
    if (kind.counter) {
      for (let k = 1; k < points.length; k++) if (points[k]! < points[k - 1]!) growth += points[k - 1]!;
    }
    target.values[target.offset + i] = growth / divisor;
    target.present[target.offset + i] = 1;
    return true;
  });
}

/** Calls back with each step's window and the samples [low, high) in it and within the lookback of it. */
export function slideEdges(
  times: Float64Array,
  count: number,
  windows: Windows,
  options: { readonly edges: "anchored" | "smoothed"; readonly lookbackMs: number },
  visit: (startMs: number, endMs: number, low: number, high: number, i: number) => boolean,
): number {
  const { lookbackMs, edges } = options;
  let found = 0;
  for (let i = 0; i < windows.steps; i++) {
    const endMs = windows.firstEndMs + i * windows.endStepMs;
    const startMs = endMs - windows.rangeMs;
    const low = firstAfterIn(times, 0, count, startMs - lookbackMs);
    const high = firstAfterIn(times, low, count, edges === "smoothed" ? endMs + lookbackMs : endMs);
    if (visit(startMs, endMs, low, high, i)) found++;
  }
  return found;
}

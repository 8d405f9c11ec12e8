// `anchored` and `smoothed` ranges (Prometheus 3.7): the window is given a value at each of its edges, so that neighbouring
// windows neither overlap nor leave a gap between them, and nothing has to be extrapolated.
//
// Anchored: the last sample before the window stands at its left edge, the last within at its right. Smoothed: the value at
// an edge lies on the straight line between the samples around it.

import type { RangeEdges } from "#/lib/promql/ast.ts";
import { firstAfterIn } from "#/lib/promql/search.ts";

/** Which side of a counter's reset the interpolated point is on; a gauge has no resets. */
type Side = "gauge" | "left" | "right";

/** The value at `atMs` on the line from (fromMs, from) to (toMs, to). */
export function interpolate(fromMs: number, from: number, toMs: number, to: number, atMs: number, side: Side): number {
  let low = from;
  let high = to;
  if (side !== "gauge" && to < from) {
    if (side === "left") low = 0;
    else high += from;
  }
  return low + ((high - low) * (atMs - fromMs)) / (toMs - fromMs);
}

/** The samples of a window with its edges made up: times ascending from the left edge to the right. */
export interface EdgedWindow {
  readonly times: Float64Array;
  readonly values: Float64Array;
}

/**
 * Takes the samples [low, high) around a window, the lookback before it included (and after it, when smoothed).
 * Undefined when the window is without any. The first and last of what it gives are the edges.
 */
export function withEdges(
  times: Float64Array,
  values: Float64Array,
  low: number,
  high: number,
  window: { readonly startMs: number; readonly endMs: number; readonly edges: RangeEdges; readonly counter: boolean },
): EdgedWindow | undefined {
  if (high <= low) return undefined;
  const { startMs, endMs, edges, counter } = window;
  const smoothed = edges === "smoothed";
  let last = high - 1;
  let first = Math.max(low, firstAfterIn(times, low, last, startMs) - 1);
  if (smoothed) last = firstAfterIn(times, low, last, endMs - 1);
  if (times[last]! <= startMs || times[first]! > endMs) return undefined;
  // A reset between two samples that are both outside is one reset, not one at each edge.
  const oneGap = last === first + 1;

  const left =
    smoothed && times[first]! < startMs
      ? interpolate(
          times[first]!,
          values[first]!,
          times[first + 1]!,
          values[first + 1]!,
          startMs,
          counter ? "left" : "gauge",
        )
      : values[first]!;
  const right =
    smoothed && last > low && times[last]! > endMs
      ? interpolate(
          times[last - 1]!,
          values[last - 1]!,
          times[last]!,
          values[last]!,
          endMs,
          counter ? (oneGap ? "left" : "right") : "gauge",
        )
      : values[last]!;
  if (times[first]! <= startMs) first++;
  if (times[last]! >= endMs) last--;
  const inner = Math.max(0, last + 1 - first);
  const edgedTimes = new Float64Array(inner + 2);
  const edgedValues = new Float64Array(inner + 2);
  edgedTimes.set(times.subarray(first, first + inner), 1);
  edgedValues.set(values.subarray(first, first + inner), 1);
  edgedTimes[0] = startMs;
  edgedValues[0] = left;
  edgedTimes[inner + 1] = endMs;
  edgedValues[inner + 1] = right;
  return { times: edgedTimes, values: edgedValues };
}

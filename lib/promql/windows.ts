// Functions over range vectors: two indexes move along a series' samples and enclose each step's window in turn, so that
// no window is ever copied.

import type { Labels } from "#/lib/model/labels.ts";
import type { RangeInput } from "#/lib/promql/context.ts";

/**
 * One window's value, of the samples [low, high), at least as many as the function needs. `atMs` is the step's own time,
 * which an offset does not move; `a` and `b` are the scalar parameters at this step.
 */
export type WindowFunction = (
  times: Float64Array,
  values: Float64Array,
  low: number,
  high: number,
  atMs: number,
  a: number,
  b: number,
) => number;

/** Where the windows are, in numbers alone. */
export interface Windows {
  readonly steps: number;
  readonly firstEndMs: number;
  readonly endStepMs: number;
  readonly rangeMs: number;
  /** The first step's own time and the time between steps. */
  readonly startMs: number;
  readonly stepMs: number;
}

/** Where one series' results go. */
export interface Target {
  readonly values: Float64Array;
  readonly present: Uint8Array;
  readonly offset: number;
}

/** How many steps have a value. */
export function slide(
  times: Float64Array,
  values: Float64Array,
  count: number,
  windows: Windows,
  target: Target,
  compute: WindowFunction,
  samplesMin: number,
  a: Float64Array,
  b: Float64Array,
): number {
  const { steps, firstEndMs, endStepMs, rangeMs, startMs, stepMs } = windows;
  const { offset } = target;
  let low = 0;
  let high = 0;
  let found = 0;
  for (let i = 0; i < steps; i++) {
    const endMs = firstEndMs + i * endStepMs;
    while (high < count && times[high]! <= endMs) high++;
    while (low < high && times[low]! <= endMs - rangeMs) low++;
    if (high - low < samplesMin) continue;
    target.values[offset + i] = compute(times, values, low, high, startMs + i * stepMs, a[i]!, b[i]!);
    target.present[offset + i] = 1;
    found++;
  }
  return found;
}

/** 1 at each step at which the window holds a sample of this series; what is 1 already stays. */
export function markPresence(times: Float64Array, count: number, windows: Windows, present: Uint8Array): void {
  let high = 0;
  for (let i = 0; i < windows.steps; i++) {
    const endMs = windows.firstEndMs + i * windows.endStepMs;
    while (high < count && times[high]! <= endMs) high++;
    if (high > 0 && times[high - 1]! > endMs - windows.rangeMs) present[i] = 1;
  }
}

/** The samples in the window of the first step, for an instant query of a range vector. */
export function windowSamples(
  input: RangeInput,
): { readonly labels: Labels; readonly timesMs: Float64Array; readonly values: Float64Array }[] {
  const found = [];
  for (const { labels, times, values, count } of input.series) {
    let low = 0;
    let high = count;
    while (low < count && times[low]! <= input.firstEndMs - input.rangeMs) low++;
    while (high > low && times[high - 1]! > input.firstEndMs) high--;
    if (high > low) found.push({ labels, timesMs: times.slice(low, high), values: values.slice(low, high) });
  }
  return found;
}

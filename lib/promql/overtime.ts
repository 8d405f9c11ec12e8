// What a window of samples comes to: sums, means, extremes, changes, trends. Each takes the samples [low, high).

import { KahanSum } from "#/lib/promql/kahan.ts";
import { quantileOf } from "#/lib/promql/quantile.ts";
import type { WindowFunction } from "#/lib/promql/windows.ts";

export interface OverTime {
  readonly compute: WindowFunction;
  /** Fewer samples give no value. */
  readonly samplesMin: number;
  /** The result is still a sample of that metric. */
  readonly keepsName: boolean;
}

export const overTime: Readonly<Record<string, OverTime>> = {
  avg_over_time: plain(average),
  changes: plain(changes),
  count_over_time: plain((_times, _values, low, high) => high - low),
  deriv: { compute: derivative, samplesMin: 2, keepsName: false },
  double_exponential_smoothing: { compute: smoothing, samplesMin: 2, keepsName: false },
  first_over_time: { compute: (_times, values, low) => values[low]!, samplesMin: 1, keepsName: true },
  idelta: { compute: instantDelta, samplesMin: 2, keepsName: false },
  irate: { compute: instantRate, samplesMin: 2, keepsName: false },
  last_over_time: { compute: (_times, values, _low, high) => values[high - 1]!, samplesMin: 1, keepsName: true },
  mad_over_time: plain(medianDeviation),
  max_over_time: plain((_times, values, low, high) => values[extreme(values, low, high, 1)]!),
  min_over_time: plain((_times, values, low, high) => values[extreme(values, low, high, -1)]!),
  predict_linear: { compute: prediction, samplesMin: 2, keepsName: false },
  present_over_time: plain(() => 1),
  quantile_over_time: plain((_times, values, low, high, _atMs, quantile) =>
    quantileOf(quantile, values.slice(low, high)),
  ),
  resets: plain(resets),
  stddev_over_time: plain((times, values, low, high) => Math.sqrt(variance(times, values, low, high))),
  stdvar_over_time: plain(variance),
  sum_over_time: plain(sum),
  ts_of_first_over_time: plain((times, _values, low) => times[low]! / 1000),
  ts_of_last_over_time: plain((times, _values, _low, high) => times[high - 1]! / 1000),
  ts_of_max_over_time: plain((times, values, low, high) => times[lastExtreme(values, low, high, 1)]! / 1000),
  ts_of_min_over_time: plain((times, values, low, high) => times[lastExtreme(values, low, high, -1)]! / 1000),
};

function plain(compute: WindowFunction): OverTime {
  return { compute, samplesMin: 1, keepsName: false };
}

const accumulator = new KahanSum();
const second = new KahanSum();

function sum(_times: Float64Array, values: Float64Array, low: number, high: number): number {
  accumulator.reset();
  for (let i = low; i < high; i++) accumulator.add(values[i]!);
  return accumulator.total;
}

/** The sum by the count; where the sum leaves the doubles, a running mean. */
function average(_times: Float64Array, values: Float64Array, low: number, high: number): number {
  accumulator.reset();
  for (let i = low; i < high; i++) {
    const { sum: sumBefore, compensation: compensationBefore } = accumulator;
    accumulator.add(values[i]!);
    if (i > low && !Number.isFinite(accumulator.sum) && !Number.isNaN(accumulator.sum)) {
      accumulator.sum = sumBefore;
      accumulator.compensation = compensationBefore;
      return runningMean(values, low, high, i);
    }
  }
  const count = high - low;
  return accumulator.sum / count + accumulator.compensation / count;
}

/** Goes on from the sum of [low, from), which is in the accumulator. */
function runningMean(values: Float64Array, low: number, high: number, from: number): number {
  accumulator.sum /= from - low;
  accumulator.compensation /= from - low;
  for (let i = from; i < high; i++) {
    const count = i - low + 1;
    const share = (count - 1) / count;
    accumulator.sum *= share;
    accumulator.compensation *= share;
    accumulator.add(values[i]! / count);
  }
  return accumulator.sum + accumulator.compensation;
}

/** Welford's, with compensated sums. */
function variance(_times: Float64Array, values: Float64Array, low: number, high: number): number {
  const mean = accumulator;
  const squares = second;
  mean.reset();
  squares.reset();
  for (let i = low; i < high; i++) {
    const value = values[i]!;
    const delta = value - (mean.sum + mean.compensation);
    mean.add(delta / (i - low + 1));
    squares.add(delta * (value - (mean.sum + mean.compensation)));
  }
  return (squares.sum + squares.compensation) / (high - low);
}

/** The first index of the largest (sign 1) or smallest (−1); NaN only where there is nothing else. */
function extreme(values: Float64Array, low: number, high: number, sign: 1 | -1): number {
  let best = low;
  for (let i = low + 1; i < high; i++) {
    if (sign * values[i]! > sign * values[best]! || Number.isNaN(values[best]!)) best = i;
  }
  return best;
}

/** The last index at which the extreme was reached. */
function lastExtreme(values: Float64Array, low: number, high: number, sign: 1 | -1): number {
  let best = low;
  for (let i = low + 1; i < high; i++) {
    if (sign * values[i]! >= sign * values[best]! || Number.isNaN(values[best]!)) best = i;
  }
  return best;
}

function changes(_times: Float64Array, values: Float64Array, low: number, high: number): number {
  let count = 0;
  for (let i = low + 1; i < high; i++) {
    const differs = values[i] !== values[i - 1];
    if (differs && !(Number.isNaN(values[i]!) && Number.isNaN(values[i - 1]!))) count++;
  }
  return count;
}

function resets(_times: Float64Array, values: Float64Array, low: number, high: number): number {
  let count = 0;
  for (let i = low + 1; i < high; i++) if (values[i]! < values[i - 1]!) count++;
  return count;
}

function instantRate(times: Float64Array, values: Float64Array, _low: number, high: number): number {
  const last = values[high - 1]!;
  const before = values[high - 2]!;
  const growth = last < before ? last : last - before;
  return growth / ((times[high - 1]! - times[high - 2]!) / 1000);
}

function instantDelta(_times: Float64Array, values: Float64Array, _low: number, high: number): number {
  return values[high - 1]! - values[high - 2]!;
}

function medianDeviation(_times: Float64Array, values: Float64Array, low: number, high: number): number {
  const window = values.slice(low, high);
  if (window.some(Number.isNaN)) return Number.NaN;
  const median = quantileOf(0.5, window);
  for (let i = 0; i < window.length; i++) window[i] = Math.abs(window[i]! - median);
  return quantileOf(0.5, window);
}

/** Holt and Winters' double exponential smoothing; `factor` for the level, `trendFactor` for the trend. */
function smoothing(
  _times: Float64Array,
  values: Float64Array,
  low: number,
  high: number,
  _atMs: number,
  factor: number,
  trendFactor: number,
): number {
  let level = values[low]!;
  let levelBefore = 0;
  let trend = values[low + 1]! - values[low]!;
  for (let i = 1; i < high - low; i++) {
    const weighted = factor * values[low + i]!;
    if (i > 1) trend = trendFactor * (level - levelBefore) + (1 - trendFactor) * trend;
    levelBefore = level;
    level = weighted + (1 - factor) * (levelBefore + trend);
  }
  return level;
}

const line = { slope: 0, intercept: 0 };

function derivative(times: Float64Array, values: Float64Array, low: number, high: number): number {
  fitLine(times, values, low, high, times[low]!);
  return line.slope;
}

function prediction(
  times: Float64Array,
  values: Float64Array,
  low: number,
  high: number,
  atMs: number,
  aheadSeconds: number,
): number {
  fitLine(times, values, low, high, atMs);
  return line.slope * aheadSeconds + line.intercept;
}

const sumX = new KahanSum();
const sumY = new KahanSum();
const sumXY = new KahanSum();
const sumXX = new KahanSum();

/** Least squares, into `line`; a constant stays exactly that. */
function fitLine(times: Float64Array, values: Float64Array, low: number, high: number, interceptMs: number): void {
  const first = values[low]!;
  const count = high - low;
  let constant = true;
  for (const part of [sumX, sumY, sumXY, sumXX]) part.reset();
  for (let i = low; i < high; i++) {
    const y = values[i]!;
    if (y !== first) constant = false;
    const x = (times[i]! - interceptMs) / 1000;
    sumX.add(x);
    sumY.add(y);
    sumXY.add(x * y);
    sumXX.add(x * x);
  }
  if (constant) {
    const finite = Number.isFinite(first);
    line.slope = finite ? 0 : Number.NaN;
    line.intercept = finite ? first : Number.NaN;
    return;
  }
  const x = sumX.sum + sumX.compensation;
  const y = sumY.sum + sumY.compensation;
  const covariance = sumXY.sum + sumXY.compensation - (x * y) / count;
  const spread = sumXX.sum + sumXX.compensation - (x * x) / count;
  line.slope = covariance / spread;
  line.intercept = y / count - (line.slope * x) / count;
}

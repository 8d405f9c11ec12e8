// Quantiles and fractions of classic histograms: series of cumulative counts, told apart by the label `le`.
//
// Within a bucket the observations are taken to lie evenly. After Prometheus' promql/quantile.go.

import { type Labels, labelsKey, metricNameLabel } from "#/lib/model/labels.ts";
import { badBucketLabelText, badQuantileText, forcedMonotonicityText } from "#/lib/promql/annotations.ts";
import type { Context } from "#/lib/promql/context.ts";
import type { Span } from "#/lib/promql/errors.ts";
import { mergeRows, type Vector, VectorBuilder } from "#/lib/promql/vector.ts";

/** Differences between neighbouring buckets below this are rounding, not observations. */
const smallDelta = 1e-12;

interface Group {
  readonly labels: Labels;
  readonly metric: string;
  /** By upper bound; equal bounds next to each other. */
  readonly buckets: { readonly bound: number; readonly row: number }[];
}

/** The present buckets of one group at one step: distinct ascending bounds and their counts, the first `length` of both. */
interface Buckets {
  readonly bounds: Float64Array;
  readonly counts: Float64Array;
  length: number;
}

type Estimate = (buckets: Buckets, i: number, group: Group) => number;

export function histogramQuantile(
  context: Context,
  vector: Vector,
  quantiles: Float64Array,
  spans: { readonly quantile: Span; readonly vector: Span },
): Vector {
  for (const quantile of new Set(quantiles)) {
    if (!(quantile >= 0 && quantile <= 1)) context.annotations.warn(badQuantileText(quantile), spans.quantile);
  }
  return estimate(context, vector, spans.vector, (buckets, i, group) => {
    return bucketQuantile(quantiles[i]!, buckets, () =>
      context.annotations.inform(forcedMonotonicityText(group.metric), spans.vector),
    );
  });
}

export function histogramFraction(
  context: Context,
  vector: Vector,
  bounds: { readonly lower: Float64Array; readonly upper: Float64Array },
  span: Span,
): Vector {
  return estimate(context, vector, span, (buckets, i) => bucketFraction(bounds.lower[i]!, bounds.upper[i]!, buckets));
}

function estimate(context: Context, vector: Vector, span: Span, value: Estimate): Vector {
  const { steps } = vector;
  const groups = groupBuckets(context, vector, span);
  context.reserve(groups.length * steps);
  const builder = new VectorBuilder(steps, groups.length);
  for (const group of groups) {
    const offset = builder.addRow(group.labels);
    const size = group.buckets.length;
    const buckets: Buckets = { bounds: new Float64Array(size), counts: new Float64Array(size), length: 0 };
    for (let i = 0; i < steps; i++) {
      gather(group, vector, i, buckets);
      if (buckets.length === 0) continue;
      builder.values[offset + i] = value(buckets, i, group);
      builder.present[offset + i] = 1;
    }
  }
  return mergeRows(builder.finish());
}

function groupBuckets(context: Context, vector: Vector, span: Span): Group[] {
  const groups = new Map<string, Group>();
  for (const [row, source] of vector.labels.entries()) {
    let bound = "";
    let metric = "";
    const labels = source.filter(([name, value]) => {
      if (name === "le") bound = value;
      if (name === metricNameLabel) metric = value;
      return name !== "le" && name !== metricNameLabel;
    });
    const upper = boundOf(bound);
    if (upper === undefined) {
      const offset = row * vector.steps;
      if (vector.present.subarray(offset, offset + vector.steps).includes(1)) {
        context.annotations.warn(badBucketLabelText(bound, metric), span);
      }
      continue;
    }
    const key = `${metric.length}:${metric}${labelsKey(labels)}`;
    let group = groups.get(key);
    if (!group) groups.set(key, (group = { labels, metric, buckets: [] }));
    group.buckets.push({ bound: upper, row });
  }
  for (const group of groups.values())
    group.buckets.sort((a, b) => (a.bound < b.bound ? -1 : a.bound > b.bound ? 1 : 0));
  return [...groups.values()];
}

function boundOf(text: string): number | undefined {
  if (/^[+-]?inf(inity)?$/i.test(text)) return text[0] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  return Number(text);
}

/** Buckets of the same bound (`le="1"` and `le="1.0"`) are added up. */
function gather(group: Group, vector: Vector, i: number, into: Buckets): void {
  let length = 0;
  for (const { bound, row } of group.buckets) {
    const at = row * vector.steps + i;
    if (vector.present[at] === 0) continue;
    if (length > 0 && into.bounds[length - 1] === bound) {
      into.counts[length - 1]! += vector.values[at]!;
    } else {
      into.bounds[length] = bound;
      into.counts[length++] = vector.values[at]!;
    }
  }
  into.length = length;
}

function bucketQuantile(quantile: number, buckets: Buckets, onForced: () => void): number {
  if (Number.isNaN(quantile)) return Number.NaN;
  if (quantile < 0) return Number.NEGATIVE_INFINITY;
  if (quantile > 1) return Number.POSITIVE_INFINITY;
  const { bounds, counts, length } = buckets;
  if (bounds[length - 1] !== Number.POSITIVE_INFINITY) return Number.NaN;
  if (makeMonotonic(counts, length)) onForced();
  if (length < 2) return Number.NaN;
  const observations = counts[length - 1]!;
  if (observations === 0) return Number.NaN;

  let rank = quantile * observations;
  let bucket = 0;
  while (bucket < length - 1 && !(counts[bucket]! >= rank)) bucket++;
  if (bucket === length - 1) return bounds[length - 2]!;
  if (bucket === 0 && bounds[0]! <= 0) return bounds[0]!;
  let from = 0;
  let count = counts[bucket]!;
  if (bucket > 0) {
    from = bounds[bucket - 1]!;
    count -= counts[bucket - 1]!;
    rank -= counts[bucket - 1]!;
  }
  return from + (bounds[bucket]! - from) * (rank / count);
}

/** Counts never fall from one bucket to the next; true when they did, by more than rounding. */
function makeMonotonic(counts: Float64Array, length: number): boolean {
  let forced = false;
  let before = counts[0]!;
  for (let i = 1; i < length; i++) {
    const count = counts[i]!;
    if (count === before) continue;
    const near = Math.abs(count - before) / Math.min(Math.abs(count) + Math.abs(before), Number.MAX_VALUE) < smallDelta;
    if (near || count < before) {
      counts[i] = before;
      if (!near) forced = true;
    } else {
      before = count;
    }
  }
  return forced;
}

/** The share of the observations between the bounds. */
function bucketFraction(lower: number, upper: number, buckets: Buckets): number {
  const { bounds, counts, length } = buckets;
  if (bounds[length - 1] !== Number.POSITIVE_INFINITY) return Number.NaN;
  const observations = counts[length - 1]!;
  if (observations === 0 || Number.isNaN(lower) || Number.isNaN(upper)) return Number.NaN;
  if (lower >= upper) return 0;
  return (rankOf(upper, buckets) - rankOf(lower, buckets)) / observations;
}

/** How many observations are at or below `value`. */
function rankOf(value: number, { bounds, counts, length }: Buckets): number {
  let rank = 0;
  for (let i = 0; i < length; i++) {
    // The first bucket begins at zero when it ends above it.
    const from = i > 0 ? bounds[i - 1]! : bounds[0]! > 0 ? 0 : Number.NEGATIVE_INFINITY;
    if (value <= from) return rank;
    if (value < bounds[i]!) {
      if (from === Number.NEGATIVE_INFINITY) return counts[i]!;
      if (bounds[i] === Number.POSITIVE_INFINITY) return rank;
      return rank + ((counts[i]! - rank) * (value - from)) / (bounds[i]! - from);
    }
    rank = counts[i]!;
  }
  return rank;
}

// Aggregations: the rows are put into groups by their labels once, then folded into one row a group.
//
// sum, avg, count, min, max, group, stddev and stdvar need no more than a few numbers a group and step; topk, quantile,
// count_values and their like need all of a group's values at a step.

import { type Labels, labelsKey, labelValue, metricNameLabel } from "#/lib/model/labels.ts";
import { badQuantileText } from "#/lib/promql/annotations.ts";
import type { Aggregation } from "#/lib/promql/ast.ts";
import type { Context } from "#/lib/promql/context.ts";
import { executionError, quoted } from "#/lib/promql/errors.ts";
import { addCompensated } from "#/lib/promql/kahan.ts";
import { setLabel } from "#/lib/promql/labelling.ts";
import { quantileOf } from "#/lib/promql/quantile.ts";
import { type Grid, mergeRows, pickRows, type Vector, VectorBuilder } from "#/lib/promql/vector.ts";

export async function evaluateAggregation(context: Context, aggregation: Aggregation, grid: Grid): Promise<Vector> {
  const { aggregator, parameter } = aggregation;
  switch (aggregator) {
    case "topk":
    case "bottomk":
    case "limitk": {
      const counts = await context.scalar(parameter!, grid);
      return pickFew(context, aggregation, await context.vector(aggregation.operand, grid), counts);
    }
    case "quantile": {
      const quantiles = await context.scalar(parameter!, grid);
      for (const quantile of new Set(quantiles)) {
        if (!(quantile >= 0 && quantile <= 1)) context.annotations.warn(badQuantileText(quantile), parameter!);
      }
      return quantileByGroup(context, aggregation, await context.vector(aggregation.operand, grid), quantiles);
    }
    case "count_values": {
      const vector = await context.vector(aggregation.operand, grid);
      return countValues(context, aggregation, vector, context.text(parameter!));
    }
    case "limit_ratio":
      throw executionError(`aggregation ${quoted(aggregator)} is not supported yet`);
    default: {
      const vector = await context.vector(aggregation.operand, grid);
      const groups = groupRows(vector.labels, aggregation);
      context.reserve(groups.labels.length * grid.steps);
      const turn = context.pace(vector.values.length);
      if (turn) await turn;
      return fold[aggregator](vector, groups);
    }
  }
}

interface Groups {
  /** The group of each row. */
  readonly of: Int32Array;
  /** The labels of each group. */
  readonly labels: readonly Labels[];
}

function groupRows(rows: readonly Labels[], aggregation: Aggregation): Groups {
  const { grouping, without } = aggregation;
  const known = new Map<string, number>();
  const of = new Int32Array(rows.length);
  const labels: Labels[] = [];
  for (const [row, source] of rows.entries()) {
    let key = "";
    if (without) key = labelsKey(groupLabels(source, aggregation));
    else {
      for (const name of grouping) {
        const value = labelValue(source, name);
        key += `${value.length}:${value}`;
      }
    }
    let group = known.get(key);
    if (group === undefined) {
      group = labels.length;
      known.set(key, group);
      labels.push(groupLabels(source, aggregation));
    }
    of[row] = group;
  }
  return { of, labels };
}

function groupLabels(source: Labels, { grouping, without }: Aggregation): Labels {
  if (!without) return source.filter(([name]) => grouping.includes(name));
  return source.filter(([name]) => name !== metricNameLabel && !grouping.includes(name));
}

type Fold = (vector: Vector, groups: Groups) => Vector;

const fold: Readonly<Record<"sum" | "avg" | "count" | "min" | "max" | "group" | "stddev" | "stdvar", Fold>> = {
  sum,
  avg: average,
  count: (vector, groups) => countPresent(vector, groups),
  min: (vector, groups) => extremeOf(vector, groups, -1),
  max: (vector, groups) => extremeOf(vector, groups, 1),
  group(vector, groups) {
    const counted = countPresent(vector, groups);
    counted.values.fill(1);
    return counted;
  },
  stddev(vector, groups) {
    const variances = variance(vector, groups);
    for (let k = 0; k < variances.values.length; k++) variances.values[k] = Math.sqrt(variances.values[k]!);
    return variances;
  },
  stdvar: variance,
};

function emptyResult(vector: Vector, groups: Groups): Vector {
  const length = groups.labels.length * vector.steps;
  return {
    kind: "vector",
    steps: vector.steps,
    labels: groups.labels,
    values: new Float64Array(length),
    present: new Uint8Array(length),
  };
}

function sum(vector: Vector, groups: Groups): Vector {
  const result = emptyResult(vector, groups);
  const compensations = new Float64Array(result.values.length);
  const { steps, values, present } = vector;
  for (let row = 0; row < vector.labels.length; row++) {
    const from = row * steps;
    const to = groups.of[row]! * steps;
    for (let i = 0; i < steps; i++) {
      if (present[from + i] === 0) continue;
      result.present[to + i] = 1;
      addCompensated(result.values, compensations, to + i, values[from + i]!);
    }
  }
  for (let k = 0; k < compensations.length; k++) result.values[k]! += compensations[k]!;
  return result;
}

/** The sum by the count; where the sum leaves the doubles, a running mean from there on. */
function average(vector: Vector, groups: Groups): Vector {
  const result = emptyResult(vector, groups);
  const length = result.values.length;
  const compensations = new Float64Array(length);
  const counts = new Float64Array(length);
  const running = new Uint8Array(length);
  const { steps, values, present } = vector;
  for (let row = 0; row < vector.labels.length; row++) {
    const from = row * steps;
    const to = groups.of[row]! * steps;
    for (let i = 0; i < steps; i++) {
      if (present[from + i] === 0) continue;
      const at = to + i;
      const value = values[from + i]!;
      const count = (counts[at]! += 1);
      result.present[at] = 1;
      if (running[at] === 0) {
        const sumBefore = result.values[at]!;
        const compensationBefore = compensations[at]!;
        addCompensated(result.values, compensations, at, value);
        if (count === 1 || Math.abs(result.values[at]!) !== Number.POSITIVE_INFINITY) continue;
        running[at] = 1;
        result.values[at] = sumBefore / (count - 1);
        compensations[at] = compensationBefore / (count - 1);
      }
      const share = (count - 1) / count;
      result.values[at]! *= share;
      compensations[at]! *= share;
      addCompensated(result.values, compensations, at, value / count);
    }
  }
  for (let k = 0; k < length; k++) {
    const divisor = running[k] === 1 ? 1 : counts[k]!;
    result.values[k] = result.values[k]! / divisor + compensations[k]! / divisor;
  }
  return result;
}

function countPresent(vector: Vector, groups: Groups): Vector {
  const result = emptyResult(vector, groups);
  const { steps, present } = vector;
  for (let row = 0; row < vector.labels.length; row++) {
    const from = row * steps;
    const to = groups.of[row]! * steps;
    for (let i = 0; i < steps; i++) {
      result.values[to + i]! += present[from + i]!;
      result.present[to + i]! |= present[from + i]!;
    }
  }
  return result;
}

/** NaN only where a group has nothing else. */
function extremeOf(vector: Vector, groups: Groups, sign: 1 | -1): Vector {
  const result = emptyResult(vector, groups);
  const { steps, values, present } = vector;
  for (let row = 0; row < vector.labels.length; row++) {
    const from = row * steps;
    const to = groups.of[row]! * steps;
    for (let i = 0; i < steps; i++) {
      if (present[from + i] === 0) continue;
      const best = result.values[to + i]!;
      const value = values[from + i]!;
      if (result.present[to + i] === 0 || sign * value > sign * best || Number.isNaN(best))
        result.values[to + i] = value;
      result.present[to + i] = 1;
    }
  }
  return result;
}

/** Welford's: the mean and the squares of the distances to it, as they grow. */
function variance(vector: Vector, groups: Groups): Vector {
  const result = emptyResult(vector, groups);
  const means = new Float64Array(result.values.length);
  const counts = new Float64Array(result.values.length);
  const { steps, values, present } = vector;
  for (let row = 0; row < vector.labels.length; row++) {
    const from = row * steps;
    const to = groups.of[row]! * steps;
    for (let i = 0; i < steps; i++) {
      if (present[from + i] === 0) continue;
      const at = to + i;
      const value = values[from + i]!;
      const count = (counts[at]! += 1);
      const delta = value - means[at]!;
      means[at]! += delta / count;
      result.values[at]! += delta * (value - means[at]!);
      result.present[at] = 1;
    }
  }
  for (let k = 0; k < counts.length; k++) result.values[k]! /= counts[k]!;
  return result;
}

function rowsOfGroups(groups: Groups): number[][] {
  const rows: number[][] = groups.labels.map(() => []);
  for (let row = 0; row < groups.of.length; row++) rows[groups.of[row]!]!.push(row);
  return rows;
}

async function quantileByGroup(
  context: Context,
  aggregation: Aggregation,
  vector: Vector,
  quantiles: Float64Array,
): Promise<Vector> {
  const groups = groupRows(vector.labels, aggregation);
  const result = emptyResult(vector, groups);
  const { steps, values, present } = vector;
  for (const [group, rows] of rowsOfGroups(groups).entries()) {
    const gathered = new Float64Array(rows.length);
    for (let i = 0; i < steps; i++) {
      const turn = context.pace(rows.length);
      if (turn) await turn;
      let count = 0;
      for (const row of rows) if (present[row * steps + i] === 1) gathered[count++] = values[row * steps + i]!;
      if (count === 0) continue;
      result.values[group * steps + i] = quantileOf(quantiles[i]!, gathered.subarray(0, count));
      result.present[group * steps + i] = 1;
    }
  }
  return result;
}

function countValues(context: Context, aggregation: Aggregation, vector: Vector, label: string): Vector {
  if (label === "") throw executionError(`invalid label name ${quoted(label)}`);
  const groups = groupRows(vector.labels, aggregation);
  const { steps, values, present } = vector;
  const builder = new VectorBuilder(steps);
  for (const [group, rows] of rowsOfGroups(groups).entries()) {
    const offsets = new Map<string, number>();
    for (const row of rows) {
      for (let i = 0; i < steps; i++) {
        if (present[row * steps + i] === 0) continue;
        const text = decimalText(values[row * steps + i]!);
        let offset = offsets.get(text);
        if (offset === undefined) {
          context.reserve(steps);
          offset = builder.addRow(setLabel(groups.labels[group]!, label, text));
          offsets.set(text, offset);
        }
        builder.values[offset + i]! += 1;
        builder.present[offset + i] = 1;
      }
    }
  }
  return mergeRows(builder.finish());
}

/** Go's FormatFloat(v, 'f', -1, 64): never an exponent. */
function decimalText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  if (Object.is(value, -0)) return "-0";
  const text = String(value);
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (!match) return text;
  const [, sign, head, tail = "", exponentText] = match;
  const exponent = Number(exponentText);
  const digits = head + tail;
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  return `${sign}${digits}${"0".repeat(Math.max(0, exponent - tail.length))}`;
}

/**
 * topk, bottomk, limitk: some of each group's series, with all their labels. Of equal values the first by labels is taken.
 * An instant query has them in order of their values, a range query by labels as ever.
 */
async function pickFew(
  context: Context,
  aggregation: Aggregation,
  vector: Vector,
  wanted: Float64Array,
): Promise<Vector> {
  const { aggregator } = aggregation;
  const { steps, values, present } = vector;
  const groups = groupRows(vector.labels, aggregation);
  const kept = new Uint8Array(present.length);
  const ordered: number[] = [];
  const counts = Array.from(wanted, (count) => wholeCount(count));
  for (const rows of rowsOfGroups(groups)) {
    for (let i = 0; i < steps; i++) {
      const count = Math.min(counts[i]!, rows.length);
      if (count < 1) continue;
      const turn = context.pace(rows.length);
      if (turn) await turn;
      const chosen: number[] = [];
      for (const row of rows) {
        if (present[row * steps + i] === 0) continue;
        if (aggregator === "limitk") {
          if (chosen.length < count) chosen.push(row);
        } else {
          keepBest(chosen, row, { values, steps, i, count, largest: aggregator === "topk" });
        }
      }
      for (const row of chosen) {
        kept[row * steps + i] = 1;
        if (i === 0) ordered.push(row);
      }
    }
  }
  present.set(kept);
  return context.bounds.stepMs === 0 && steps === 1 ? pickRows(vector, ordered) : vector;
}

interface Contest {
  readonly values: Float64Array;
  readonly steps: number;
  readonly i: number;
  readonly count: number;
  readonly largest: boolean;
}

/** Puts the row where it belongs among the `count` best so far, which stand best first; NaN is behind all numbers. */
function keepBest(chosen: number[], row: number, { values, steps, i, count, largest }: Contest): void {
  const value = values[row * steps + i]!;
  let low = 0;
  let high = chosen.length;
  if (high === count && !isBefore(value, values[chosen[high - 1]! * steps + i]!, largest)) return;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(value, values[chosen[middle]! * steps + i]!, largest)) high = middle;
    else low = middle + 1;
  }
  if (chosen.length === count) chosen.pop();
  chosen.splice(low, 0, row);
}

function isBefore(value: number, other: number, largest: boolean): boolean {
  if (Number.isNaN(other)) return !Number.isNaN(value);
  return largest ? value > other : value < other;
}

function wholeCount(count: number): number {
  if (Number.isNaN(count)) throw executionError("Parameter value is NaN");
  if (Math.abs(count) >= 2 ** 63) throw executionError(`Scalar value ${count} overflows int64`);
  return Math.trunc(count);
}

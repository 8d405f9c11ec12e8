// The language's front door: a query and its times in, series out.

import { compareLabels, type Labels } from "#/lib/model/labels.ts";
import type { SampleSource } from "#/lib/model/source.ts";
import type { Expression } from "#/lib/promql/ast.ts";
import { typeOf } from "#/lib/promql/check.ts";
import type { Bounds } from "#/lib/promql/context.ts";
import { executionError } from "#/lib/promql/errors.ts";
import { Evaluation } from "#/lib/promql/evaluate.ts";
import { lookbackMs, pointsPerSeriesMax, samplesPerQueryMax, subqueryStepMsDefault } from "#/lib/promql/limits.ts";
import { parse } from "#/lib/promql/parser.ts";
import type { Grid, Value, Vector } from "#/lib/promql/vector.ts";
import { windowSamples } from "#/lib/promql/windows.ts";

export interface QueryOptions {
  readonly source: SampleSource;
  /** Aborting it with a QueryError as the reason makes that the query's error. */
  readonly signal: AbortSignal;
  readonly lookbackMs?: number;
  readonly subqueryStepMs?: number;
  readonly samplesMax?: number;
}

export interface MatrixSeries {
  readonly labels: Labels;
  readonly timesMs: Float64Array;
  readonly values: Float64Array;
}

export type QueryResult =
  | { readonly type: "scalar"; readonly timeMs: number; readonly value: number }
  | { readonly type: "string"; readonly timeMs: number; readonly value: string }
  /** In the order of the expression: by labels unless it sorts. */
  | {
      readonly type: "vector";
      readonly timeMs: number;
      readonly series: readonly { readonly labels: Labels; readonly value: number }[];
    }
  | { readonly type: "matrix"; readonly series: readonly MatrixSeries[] };

export interface QueryAnswer {
  readonly result: QueryResult;
  readonly warnings: readonly string[];
  readonly infos: readonly string[];
  /** Samples fetched, and the most points held at once. */
  readonly cost: { readonly samples: number; readonly peak: number };
}

/** Throws QueryError. */
export async function instantQuery(query: string, timeMs: number, options: QueryOptions): Promise<QueryAnswer> {
  const root = parse(query);
  const bounds = { startMs: timeMs, endMs: timeMs, stepMs: 0 };
  const evaluation = await open(query, root, bounds, options);
  const grid = { startMs: timeMs, stepMs: 0, steps: 1 };
  let result: QueryResult;
  if (typeOf(root) === "matrix") {
    const series = windowSamples(await evaluation.range(root, grid));
    result = { type: "matrix", series: series.sort((a, b) => compareLabels(a.labels, b.labels)) };
  } else {
    result = instantResult(await evaluation.value(root, grid), timeMs);
  }
  return answer(evaluation, result);
}

/** Both ends included. The result is a matrix, a scalar as a series without labels. Throws QueryError. */
export async function rangeQuery(query: string, bounds: Bounds, options: QueryOptions): Promise<QueryAnswer> {
  const root = parse(query);
  const { startMs, endMs, stepMs } = bounds;
  const steps = Math.floor((endMs - startMs) / stepMs) + 1;
  if (!(stepMs > 0) || !(steps >= 1)) throw executionError("expected a positive step and an end not before the start");
  if (steps > pointsPerSeriesMax + 1) {
    throw executionError("exceeded maximum resolution of 11,000 points per timeseries");
  }
  const evaluation = await open(query, root, bounds, options);
  const grid = { startMs, stepMs, steps };
  return answer(evaluation, rangeResult(await evaluation.value(root, grid), grid));
}

function open(query: string, root: Expression, bounds: Bounds, options: QueryOptions): Promise<Evaluation> {
  return Evaluation.open(root, {
    query,
    bounds,
    source: options.source,
    signal: options.signal,
    lookbackMs: options.lookbackMs ?? lookbackMs,
    subqueryStepMs: options.subqueryStepMs ?? subqueryStepMsDefault,
    samplesMax: options.samplesMax ?? samplesPerQueryMax,
  });
}

function answer(evaluation: Evaluation, result: QueryResult): QueryAnswer {
  const { warnings, infos } = evaluation.annotations;
  return { result, warnings, infos, cost: evaluation.cost };
}

function instantResult(value: Value, timeMs: number): QueryResult {
  switch (value.kind) {
    case "text":
      return { type: "string", timeMs, value: value.value };
    case "scalar":
      return { type: "scalar", timeMs, value: value.values[0]! };
    case "vector": {
      const series = [];
      for (const [row, labels] of value.labels.entries()) {
        if (value.present[row] === 1) series.push({ labels, value: value.values[row]! });
      }
      return { type: "vector", timeMs, series };
    }
    default:
      return value satisfies never;
  }
}

function rangeResult(value: Value, grid: Grid): QueryResult {
  const times = new Float64Array(grid.steps);
  for (let i = 0; i < grid.steps; i++) times[i] = grid.startMs + i * grid.stepMs;
  if (value.kind === "scalar")
    return { type: "matrix", series: [{ labels: [], timesMs: times, values: value.values }] };
  if (value.kind === "text") throw executionError("a string has no range");
  const series = matrixSeries(value, times);
  return { type: "matrix", series: series.sort((a, b) => compareLabels(a.labels, b.labels)) };
}

/** Series that are full share their times. */
function matrixSeries(vector: Vector, times: Float64Array): MatrixSeries[] {
  const { steps } = vector;
  const series: MatrixSeries[] = [];
  for (const [row, labels] of vector.labels.entries()) {
    const present = vector.present.subarray(row * steps, (row + 1) * steps);
    const values = vector.values.subarray(row * steps, (row + 1) * steps);
    let count = 0;
    for (let i = 0; i < steps; i++) count += present[i]!;
    if (count === steps) series.push({ labels, timesMs: times, values });
    else if (count > 0) {
      const has = (_value: number, i: number) => present[i] === 1;
      series.push({ labels, timesMs: times.filter(has), values: values.filter(has) });
    }
  }
  return series;
}

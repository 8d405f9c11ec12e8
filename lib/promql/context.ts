// What the parts of the evaluator ask of its centre (evaluate.ts): the values of other expressions, samples, and leave to
// use memory and time.

import type { Labels } from "#/lib/model/labels.ts";
import type { SeriesSamples } from "#/lib/model/source.ts";
import type { Annotations } from "#/lib/promql/annotations.ts";
import type { Expression, RangeEdges, TimeShift, VectorSelector } from "#/lib/promql/ast.ts";
import { durationMs } from "#/lib/promql/duration.ts";
import type { Grid, Vector } from "#/lib/promql/vector.ts";

/** The whole query's times; an instant query begins and ends at once, with step 0. */
export interface Bounds {
  readonly startMs: number;
  readonly endMs: number;
  readonly stepMs: number;
}

/** One series' samples under a range: times ascending, no stale markers, only the first `count` of the arrays. */
export interface RangeSeries {
  readonly labels: Labels;
  readonly times: Float64Array;
  readonly values: Float64Array;
  readonly count: number;
}

/** A range vector is never built: it is its series, and for each step a window over them, open on the left. */
export interface RangeInput {
  readonly series: readonly RangeSeries[];
  /** The window of step i ends at firstEndMs + i × endStepMs. */
  readonly firstEndMs: number;
  readonly endStepMs: number;
  readonly rangeMs: number;
  readonly edges: RangeEdges | undefined;
}

export interface Context {
  readonly bounds: Bounds;
  readonly lookbackMs: number;
  readonly annotations: Annotations;
  /** The result is the caller's to change. */
  vector(expression: Expression, grid: Grid): Promise<Vector>;
  /** One value a step; the caller's to change. */
  scalar(expression: Expression, grid: Grid): Promise<Float64Array>;
  text(expression: Expression): string;
  range(expression: Expression, grid: Grid): Promise<RangeInput>;
  samples(selector: VectorSelector): readonly SeriesSamples[];
  /** Counts points about to be held in memory. Throws QueryError at the limit. */
  reserve(points: number): void;
  /** Counts work done; now and then it gives a promise to wait for, which throws QueryError once the query is cancelled. */
  pace(work: number): Promise<void> | undefined;
}

/** When a selector or subquery looks, seen from the step's own time. */
export interface ResolvedShift {
  readonly offsetMs: number;
  /** In place of the step's time. */
  readonly atMs: number | undefined;
}

export function resolveShift(shift: TimeShift, bounds: Bounds): ResolvedShift {
  const offsetMs = shift.offset ? durationMs(shift.offset, queryDurations(bounds), { positive: false }) : 0;
  if (!shift.at) return { offsetMs, atMs: undefined };
  switch (shift.at.kind) {
    case "time":
      return { offsetMs, atMs: shift.at.ms };
    case "start":
      return { offsetMs, atMs: bounds.startMs };
    case "end":
      return { offsetMs, atMs: bounds.endMs };
    default:
      return shift.at satisfies never;
  }
}

export function queryDurations(bounds: Bounds): { readonly stepMs: number; readonly rangeMs: number } {
  return { stepMs: bounds.stepMs, rangeMs: bounds.endMs - bounds.startMs };
}

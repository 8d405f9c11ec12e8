// Evaluates a tree over all steps at once. What does not depend on the step is evaluated once and repeated.
//
// A point is held from when its vector is made until the vector above is finished; what is held is counted, and a query that
// holds too much is refused. Every so often the event loop is let in, so that a deadline or a client that went away is seen.

import type { SampleSource, SeriesSamples } from "#/lib/model/source.ts";
import { evaluateAggregation } from "#/lib/promql/aggregate.ts";
import { Annotations } from "#/lib/promql/annotations.ts";
import { childrenOf, type Expression, unwrapParens, type VectorSelector } from "#/lib/promql/ast.ts";
import { evaluateBinary } from "#/lib/promql/binary.ts";
import {
  type Bounds,
  type Context,
  queryDurations,
  type RangeInput,
  type RangeSeries,
  resolveShift,
} from "#/lib/promql/context.ts";
import { durationMs } from "#/lib/promql/duration.ts";
import { QueryError } from "#/lib/promql/errors.ts";
import { evaluateCall } from "#/lib/promql/functions.ts";
import { workPerTurn } from "#/lib/promql/limits.ts";
import { type LoadedSamples, loadSelectors, tooManySamples } from "#/lib/promql/load.ts";
import { evaluateSelector, withoutStale } from "#/lib/promql/select.ts";
import { broadcast, dropNames, type Grid, type Value, type Vector } from "#/lib/promql/vector.ts";

export interface EvaluationOptions {
  readonly query: string;
  readonly bounds: Bounds;
  readonly source: SampleSource;
  readonly lookbackMs: number;
  readonly subqueryStepMs: number;
  readonly samplesMax: number;
  readonly signal: AbortSignal;
}

export class Evaluation implements Context {
  readonly bounds: Bounds;
  readonly lookbackMs: number;
  readonly annotations: Annotations;
  readonly #options: EvaluationOptions;
  readonly #invariant: ReadonlySet<Expression>;
  readonly #loaded: LoadedSamples;
  #held: number;
  #heldMax: number;
  #work = 0;

  /** Fetches all samples that the tree asks for. Throws QueryError. */
  static async open(root: Expression, options: EvaluationOptions): Promise<Evaluation> {
    throwIfAborted(options.signal);
    try {
      return new Evaluation(root, options, await loadSelectors(root, options));
    } catch (error) {
      throwIfAborted(options.signal);
      throw error;
    }
  }

  private constructor(root: Expression, options: EvaluationOptions, loaded: LoadedSamples) {
    this.bounds = options.bounds;
    this.lookbackMs = options.lookbackMs;
    this.annotations = new Annotations(options.query);
    this.#options = options;
    this.#loaded = loaded;
    this.#held = loaded.samples;
    this.#heldMax = loaded.samples;
    const invariant = new Set<Expression>();
    collectInvariant(root, invariant);
    this.#invariant = invariant;
  }

  /** Samples fetched, and the most points held at once. */
  get cost(): { readonly samples: number; readonly peak: number } {
    return { samples: this.#loaded.samples, peak: this.#heldMax };
  }

  async value(expression: Expression, grid: Grid): Promise<Value> {
    const heldBefore = this.#held;
    let result: Value;
    if (grid.steps > 1 && this.#invariant.has(expression)) {
      result = broadcast(await this.#evaluate(expression, { ...grid, steps: 1 }), grid.steps);
    } else {
      result = await this.#evaluate(expression, grid);
    }
    this.#held = heldBefore + sizeOf(result);
    this.#checkHeld();
    return result;
  }

  async vector(expression: Expression, grid: Grid): Promise<Vector> {
    return (await this.value(expression, grid)) as Vector;
  }

  async scalar(expression: Expression, grid: Grid): Promise<Float64Array> {
    const value = await this.value(expression, grid);
    return (value as { readonly values: Float64Array }).values;
  }

  text(expression: Expression): string {
    const literal = unwrapParens(expression);
    return literal.kind === "string" ? literal.value : "";
  }

  async range(expression: Expression, grid: Grid): Promise<RangeInput> {
    const argument = unwrapParens(expression);
    if (argument.kind === "subquery") return this.#subquery(argument, grid);
    if (argument.kind !== "matrix") throw new QueryError("execution", "expected a range vector");
    const { offsetMs, atMs } = resolveShift(argument.selector, this.bounds);
    const source = this.samples(argument.selector);
    const series: RangeSeries[] = [];
    for (const one of source) {
      series.push(withoutStale(one));
      const turn = this.pace(one.timesMs.length);
      if (turn) await turn;
    }
    return {
      series,
      firstEndMs: (atMs ?? grid.startMs) - offsetMs,
      endStepMs: atMs === undefined ? grid.stepMs : 0,
      rangeMs: durationMs(argument.range, queryDurations(this.bounds), { positive: true }),
      edges: argument.selector.edges,
    };
  }

  samples(selector: VectorSelector): readonly SeriesSamples[] {
    return this.#loaded.of.get(selector) ?? [];
  }

  reserve(points: number): void {
    this.#held += points;
    this.#checkHeld();
  }

  pace(work: number): Promise<void> | undefined {
    this.#work += work;
    if (this.#work < workPerTurn) return undefined;
    this.#work = 0;
    return this.#turn();
  }

  async #turn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    throwIfAborted(this.#options.signal);
  }

  #checkHeld(): void {
    this.#heldMax = Math.max(this.#heldMax, this.#held);
    if (this.#held > this.#options.samplesMax) throw tooManySamples();
  }

  async #evaluate(expression: Expression, grid: Grid): Promise<Value> {
    switch (expression.kind) {
      case "number":
        return { kind: "scalar", values: new Float64Array(grid.steps).fill(expression.value) };
      case "string":
        return { kind: "text", value: expression.value };
      case "selector":
        return evaluateSelector(this, expression, { grid, timestamps: false });
      case "paren":
        return this.value(expression.operand, grid);
      case "unary": {
        const value = await this.value(expression.operand, grid);
        if (expression.operator === "+" || value.kind === "text") return value;
        for (let i = 0; i < value.values.length; i++) value.values[i] = -value.values[i]!;
        return value.kind === "vector" ? dropNames(value) : value;
      }
      case "binary":
        return evaluateBinary(this, expression, grid);
      case "aggregation":
        return evaluateAggregation(this, expression, grid);
      case "call":
        return evaluateCall(this, expression, grid);
      case "matrix":
      case "subquery":
        throw new QueryError("execution", "a range vector can only be the argument of a function");
      default:
        return expression satisfies never;
    }
  }

  /** Its steps lie at multiples of its own step, wherever the query's are; the first is after the first window's begin. */
  async #subquery(subquery: Extract<Expression, { kind: "subquery" }>, grid: Grid): Promise<RangeInput> {
    const durations = queryDurations(this.bounds);
    const rangeMs = durationMs(subquery.range, durations, { positive: true });
    const stepMs = subquery.step
      ? durationMs(subquery.step, durations, { positive: true })
      : this.#options.subqueryStepMs;
    const { offsetMs, atMs } = resolveShift(subquery, this.bounds);
    const firstEndMs = (atMs ?? grid.startMs) - offsetMs;
    const endStepMs = atMs === undefined ? grid.stepMs : 0;
    const lastEndMs = firstEndMs + (grid.steps - 1) * endStepMs;
    const startMs = (Math.floor((firstEndMs - rangeMs) / stepMs) + 1) * stepMs;
    const steps = Math.floor((lastEndMs - startMs) / stepMs) + 1;
    const windows = { firstEndMs, endStepMs, rangeMs, edges: undefined };
    if (steps < 1) return { ...windows, series: [] };
    if (steps > this.#options.samplesMax) throw tooManySamples();
    const vector = await this.vector(subquery.operand, { startMs, stepMs, steps });
    return { ...windows, series: seriesOf(vector, { startMs, stepMs, steps }) };
  }
}

/** Rows as series; those that are full share their times. */
function seriesOf(vector: Vector, grid: Grid): RangeSeries[] {
  const { steps } = grid;
  const allTimes = new Float64Array(steps);
  for (let i = 0; i < steps; i++) allTimes[i] = grid.startMs + i * grid.stepMs;
  const series: RangeSeries[] = [];
  for (const [row, labels] of vector.labels.entries()) {
    const present = vector.present.subarray(row * steps, (row + 1) * steps);
    const values = vector.values.subarray(row * steps, (row + 1) * steps);
    let count = 0;
    for (let i = 0; i < steps; i++) count += present[i]!;
    if (count === steps) {
      series.push({ labels, times: allTimes, values, count });
    } else if (count > 0) {
      const times = new Float64Array(count);
      const kept = new Float64Array(count);
      for (let i = 0, k = 0; i < steps; i++) {
        if (present[i] === 0) continue;
        times[k] = allTimes[i]!;
        kept[k++] = values[i]!;
      }
      series.push({ labels, times, values: kept, count });
    }
  }
  return series;
}

/** Functions that look at the time of evaluation, whatever their arguments. */
const timeFunctions: ReadonlySet<string> = new Set([
  "day_of_month",
  "day_of_week",
  "day_of_year",
  "days_in_month",
  "hour",
  "minute",
  "month",
  "predict_linear",
  "time",
  "timestamp",
  "year",
]);

/** Whether it is the same at every step: everything that looks at samples does so at a time given by `@`. */
function collectInvariant(expression: Expression, into: Set<Expression>): boolean {
  let invariant = true;
  for (const child of childrenOf(expression)) if (!collectInvariant(child, into)) invariant = false;
  switch (expression.kind) {
    case "selector":
    case "subquery":
      invariant = expression.at !== undefined;
      break;
    case "call": {
      const { name } = expression.signature;
      const ownTime = name === "timestamp" && unwrapParens(expression.arguments[0]!).kind === "selector";
      if (timeFunctions.has(name) && !ownTime) invariant = false;
      break;
    }
    default:
  }
  if (invariant) into.add(expression);
  return invariant;
}

function sizeOf(value: Value): number {
  return value.kind === "text" ? 0 : value.values.length;
}

function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  if (signal.reason instanceof QueryError) throw signal.reason;
  throw new QueryError("canceled", "query was canceled in expression evaluation", { cause: signal.reason });
}

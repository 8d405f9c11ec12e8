// Calls: what each function of the language does with its arguments.
//
// Four kinds cover nearly all: over a range vector (overtime.ts, rate.ts), value by value (below), of the calendar (dates.ts),
// and of the labels (labelling.ts). What is in signatures.ts and in none of them is refused by name.

import { labelsOf, labelValue, metricNameLabel } from "#/lib/model/labels.ts";
import { formatValue } from "#/lib/model/value.ts";
import { badQuantileText } from "#/lib/promql/annotations.ts";
import { type Call, type Expression, unwrapParens } from "#/lib/promql/ast.ts";
import type { Context, RangeInput } from "#/lib/promql/context.ts";
import { dateFunctions } from "#/lib/promql/dates.ts";
import { withEdges } from "#/lib/promql/edges.ts";
import { executionError, quoted } from "#/lib/promql/errors.ts";
import { histogramFraction, histogramQuantile } from "#/lib/promql/histogram.ts";
import { labelJoin, labelReplace, setLabel, sortByLabels, sortByValue } from "#/lib/promql/labelling.ts";
import { type OverTime, overTime } from "#/lib/promql/overtime.ts";
import { type RateKind, rateKinds, slideEdgedRate, slideEdges, slideRate } from "#/lib/promql/rate.ts";
import { absentLabels, evaluateSelector } from "#/lib/promql/select.ts";
import {
  dropNames,
  emptyVector,
  type Grid,
  mergeRows,
  type Scalar,
  type Value,
  type Vector,
  VectorBuilder,
  withoutName,
} from "#/lib/promql/vector.ts";
import { markPresence, slide, type Target, type WindowFunction, type Windows } from "#/lib/promql/windows.ts";

export async function evaluateCall(context: Context, call: Call, grid: Grid): Promise<Value> {
  const { name } = call.signature;
  const given = call.arguments;
  const rateKind = rateKinds[name];
  if (rateKind) return evaluateRate(context, call, grid, rateKind);
  const windowed = overTime[name];
  if (windowed) return evaluateOverTime(context, call, grid, windowed);
  const elementwise = elementwiseFunctions[name];
  if (elementwise) return mapValues(await context.vector(given[0]!, grid), elementwise);
  const date = dateFunctions[name];
  if (date) return evaluateDate(context, call, grid, date);
  const special = specialFunctions[name];
  if (special) return special(context, call, grid);
  throw executionError(`function ${quoted(name)} is not supported yet`);
}

const degree = Math.PI / 180;

const elementwiseFunctions: Readonly<Record<string, (value: number) => number>> = {
  abs: Math.abs,
  acos: Math.acos,
  acosh: Math.acosh,
  asin: Math.asin,
  asinh: Math.asinh,
  atan: Math.atan,
  atanh: Math.atanh,
  ceil: Math.ceil,
  cos: Math.cos,
  cosh: Math.cosh,
  deg: (value) => value / degree,
  exp: Math.exp,
  floor: Math.floor,
  ln: Math.log,
  log10: Math.log10,
  log2: Math.log2,
  rad: (value) => value * degree,
  sgn: Math.sign,
  sin: Math.sin,
  sinh: Math.sinh,
  sqrt: Math.sqrt,
  tan: Math.tan,
  tanh: Math.tanh,
};

type Special = (context: Context, call: Call, grid: Grid) => Promise<Value>;

/** Of a sample that is a float, a native histogram's figures do not exist. */
const nothingOfFloats: Special = async (context, call, grid) => {
  await context.vector(call.arguments[0]!, grid);
  return emptyVector(grid.steps);
};

const specialFunctions: Readonly<Record<string, Special>> = {
  absent: evaluateAbsent,
  absent_over_time: evaluateAbsentOverTime,
  clamp: evaluateClamp,
  clamp_max: evaluateClamp,
  clamp_min: evaluateClamp,
  end: async ({ bounds }, _call, grid) => constant(bounds.endMs / 1000, grid),
  histogram_avg: nothingOfFloats,
  histogram_count: nothingOfFloats,
  histogram_fraction: evaluateHistogramFraction,
  histogram_quantile: evaluateHistogramQuantile,
  histogram_quantiles: evaluateHistogramQuantiles,
  histogram_stddev: nothingOfFloats,
  histogram_stdvar: nothingOfFloats,
  histogram_sum: nothingOfFloats,
  label_join: async (context, call, grid) =>
    labelJoin(
      await context.vector(call.arguments[0]!, grid),
      call.arguments.slice(1).map((argument) => context.text(argument)),
    ),
  label_replace: async (context, call, grid) =>
    labelReplace(
      await context.vector(call.arguments[0]!, grid),
      call.arguments.slice(1).map((argument) => context.text(argument)),
    ),
  max_of: evaluateOf,
  min_of: evaluateOf,
  pi: async (_context, _call, grid) => constant(Math.PI, grid),
  range: async ({ bounds }, _call, grid) => constant((bounds.endMs - bounds.startMs) / 1000, grid),
  round: evaluateRound,
  scalar: evaluateScalarOf,
  sort: evaluateSort,
  sort_by_label: evaluateSort,
  sort_by_label_desc: evaluateSort,
  sort_desc: evaluateSort,
  start: async ({ bounds }, _call, grid) => constant(bounds.startMs / 1000, grid),
  step: async ({ bounds }, _call, grid) => constant(bounds.stepMs / 1000, grid),
  time: async (_context, _call, grid) => times(grid),
  timestamp: evaluateTimestamp,
  vector: async (context, call, grid) => vectorOf(await context.scalar(call.arguments[0]!, grid)),
};

function constant(value: number, grid: Grid): Scalar {
  return { kind: "scalar", values: new Float64Array(grid.steps).fill(value) };
}

function times(grid: Grid): Scalar {
  const values = new Float64Array(grid.steps);
  for (let i = 0; i < grid.steps; i++) values[i] = (grid.startMs + i * grid.stepMs) / 1000;
  return { kind: "scalar", values };
}

function vectorOf(values: Float64Array): Vector {
  const steps = values.length;
  return { kind: "vector", steps, labels: [[]], values, present: new Uint8Array(steps).fill(1) };
}

function mapValues(vector: Vector, apply: (value: number) => number): Vector {
  const { values } = vector;
  for (let i = 0; i < values.length; i++) values[i] = apply(values[i]!);
  return dropNames(vector);
}

// Range vectors.

function windowsOf(input: RangeInput, grid: Grid): Windows {
  const { firstEndMs, endStepMs, rangeMs } = input;
  return { steps: grid.steps, firstEndMs, endStepMs, rangeMs, startMs: grid.startMs, stepMs: grid.stepMs };
}

type SlideSeries = (
  times: Float64Array,
  values: Float64Array,
  count: number,
  windows: Windows,
  target: Target,
) => number;

async function slideAll(
  context: Context,
  input: RangeInput,
  grid: Grid,
  options: { readonly keepsName: boolean; readonly slideSeries: SlideSeries },
): Promise<Vector> {
  const windows = windowsOf(input, grid);
  context.reserve(input.series.length * grid.steps);
  const builder = new VectorBuilder(grid.steps, input.series.length);
  let sameName = true;
  const firstName = labelValue(input.series[0]?.labels ?? [], metricNameLabel);
  for (const { labels, times: sampleTimes, values, count } of input.series) {
    if (labelValue(labels, metricNameLabel) !== firstName) sameName = false;
    const offset = builder.addRow(options.keepsName ? labels : withoutName(labels));
    const target = { values: builder.values, present: builder.present, offset };
    if (options.slideSeries(sampleTimes, values, count, windows, target) === 0) builder.dropRow();
    const turn = context.pace(count + grid.steps);
    if (turn) await turn;
  }
  const vector = builder.finish();
  return options.keepsName || sameName ? vector : mergeRows(vector);
}

async function evaluateRate(context: Context, call: Call, grid: Grid, kind: RateKind): Promise<Vector> {
  const argument = call.arguments[0]!;
  const input = await context.range(argument, grid);
  const { edges } = input;
  const vector = await slideAll(context, input, grid, {
    keepsName: false,
    slideSeries: edges
      ? (...series) => slideEdgedRate(...series, kind, { edges, lookbackMs: context.lookbackMs })
      : (...series) => slideRate(...series, kind),
  });
  if (kind.counter && vector.labels.length > 0) tellOfNonCounters(context, input, argument);
  return vector;
}

function tellOfNonCounters(context: Context, input: RangeInput, argument: Expression): void {
  const names = new Set(input.series.map((series) => labelValue(series.labels, metricNameLabel)));
  for (const name of names) {
    if (name === "" || /_(total|sum|count|bucket)$/.test(name)) continue;
    context.annotations.inform(
      `metric might not be a counter, name does not end in _total/_sum/_count/_bucket: ${quoted(name)}`,
      argument,
    );
  }
}

/** What may be asked of ranges whose edges are made up; anything else would count the edges as samples. */
const edgedFunctions = { anchored: "changes, delta, increase, rate, resets", smoothed: "delta, increase, rate" };

async function evaluateOverTime(context: Context, call: Call, grid: Grid, windowed: OverTime): Promise<Vector> {
  const { name } = call.signature;
  const parameters: Float64Array[] = [];
  let rangeArgument: Expression | undefined;
  for (const [i, argument] of call.arguments.entries()) {
    if (call.signature.parameters[i] === "matrix") rangeArgument = argument;
    else parameters.push(await context.scalar(argument, grid));
  }
  checkParameters(context, call, parameters);
  const input = await context.range(rangeArgument!, grid);
  const { edges } = input;
  if (edges && !edgedFunctions[edges].split(", ").includes(name)) {
    throw executionError(`${edges} modifier can only be used with: ${edgedFunctions[edges]} - not with ${name}`);
  }
  const none = new Float64Array(grid.steps);
  const [a = none, b = none] = parameters;
  const { compute, samplesMin, keepsName } = windowed;
  return slideAll(context, input, grid, {
    keepsName,
    slideSeries: edges
      ? (...series) => slideEdged(...series, compute, { edges, lookbackMs: context.lookbackMs })
      : (...series) => slide(...series, compute, samplesMin, a, b),
  });
}

function slideEdged(
  sampleTimes: Float64Array,
  values: Float64Array,
  count: number,
  windows: Windows,
  target: Target,
  compute: WindowFunction,
  options: { readonly edges: "anchored" | "smoothed"; readonly lookbackMs: number },
): number {
  return slideEdges(sampleTimes, count, windows, options, (startMs, endMs, low, high, i) => {
    const window = { startMs, endMs, edges: options.edges, counter: false };
    const edged = withEdges(sampleTimes, values, low, high, window);
    if (!edged) return false;
    target.values[target.offset + i] = compute(edged.times, edged.values, 0, edged.values.length, endMs, 0, 0);
    target.present[target.offset + i] = 1;
    return true;
  });
}

function checkParameters(context: Context, call: Call, parameters: readonly Float64Array[]): void {
  const [a, b] = parameters;
  switch (call.signature.name) {
    case "quantile_over_time":
      for (const quantile of new Set(a)) {
        if (!(quantile >= 0 && quantile <= 1)) {
          context.annotations.warn(badQuantileText(quantile), call.arguments[0]!);
        }
      }
      break;
    case "double_exponential_smoothing":
      for (const [values, word, symbol] of [
        [a!, "smoothing", "sf"],
        [b!, "trend", "tf"],
      ] as const) {
        const wrong = values.find((factor) => !(factor > 0 && factor < 1));
        if (wrong !== undefined) {
          throw executionError(`invalid ${word} factor. Expected: 0 < ${symbol} < 1, got: ${wrong.toFixed(6)}`);
        }
      }
      break;
    default:
  }
}

// Absence.

async function evaluateAbsent(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const { present, labels } = await context.vector(call.arguments[0]!, grid);
  const any = new Uint8Array(grid.steps);
  for (let row = 0; row < labels.length; row++) {
    for (let i = 0; i < grid.steps; i++) any[i]! |= present[row * grid.steps + i]!;
  }
  return absence(call, any);
}

async function evaluateAbsentOverTime(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const input = await context.range(call.arguments[0]!, grid);
  const windows = windowsOf(input, grid);
  const any = new Uint8Array(grid.steps);
  for (const series of input.series) markPresence(series.times, series.count, windows, any);
  return absence(call, any);
}

/** 1 where nothing is. */
function absence(call: Call, any: Uint8Array): Vector {
  const argument = call.arguments[0]!;
  const selector = argument.kind === "matrix" ? argument.selector : argument;
  const labels = selector.kind === "selector" ? labelsOf(absentLabels(selector)) : [];
  const steps = any.length;
  const present = any.map((one) => 1 - one);
  return { kind: "vector", steps, labels: [labels], values: new Float64Array(steps).fill(1), present };
}

// Value by value, with parameters.

async function evaluateClamp(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const { name } = call.signature;
  const vector = await context.vector(call.arguments[0]!, grid);
  const first = await context.scalar(call.arguments[1]!, grid);
  const none = new Float64Array(grid.steps);
  const low = name === "clamp_max" ? none.fill(Number.NEGATIVE_INFINITY) : first;
  const high =
    name === "clamp"
      ? await context.scalar(call.arguments[2]!, grid)
      : name === "clamp_max"
        ? first
        : none.fill(Number.POSITIVE_INFINITY);
  const { values, present } = vector;
  for (let k = 0, i = 0; k < values.length; k++, i = i + 1 === grid.steps ? 0 : i + 1) {
    if (high[i]! < low[i]!) present[k] = 0;
    values[k] = Math.max(low[i]!, Math.min(high[i]!, values[k]!));
  }
  return dropNames(vector);
}

async function evaluateRound(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const vector = await context.vector(call.arguments[0]!, grid);
  const nearest = call.arguments[1]
    ? await context.scalar(call.arguments[1], grid)
    : new Float64Array(grid.steps).fill(1);
  const { values } = vector;
  for (let k = 0, i = 0; k < values.length; k++, i = i + 1 === grid.steps ? 0 : i + 1) {
    // By the inverse, so that rounding to 0.1 gives the double next to a tenth.
    const inverse = 1 / nearest[i]!;
    values[k] = Math.floor(values[k]! * inverse + 0.5) / inverse;
  }
  return dropNames(vector);
}

async function evaluateDate(
  context: Context,
  call: Call,
  grid: Grid,
  date: (seconds: number) => number,
): Promise<Vector> {
  const argument = call.arguments[0];
  return mapValues(argument ? await context.vector(argument, grid) : vectorOf(times(grid).values), date);
}

/** Of a selector alone it is the samples' own time, of anything else the time of evaluation. */
async function evaluateTimestamp(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const argument = unwrapParens(call.arguments[0]!);
  if (argument.kind === "selector") {
    return dropNames(await evaluateSelector(context, argument, { grid, timestamps: true }));
  }
  const vector = await context.vector(argument, grid);
  const { values } = times(grid);
  for (let row = 0; row < vector.labels.length; row++) vector.values.set(values, row * grid.steps);
  return dropNames(vector);
}

// Between scalars and vectors.

/** The value of the only series at a step, NaN where there is none or more than one. */
async function evaluateScalarOf(context: Context, call: Call, grid: Grid): Promise<Scalar> {
  const { labels, present, values } = await context.vector(call.arguments[0]!, grid);
  const count = new Uint32Array(grid.steps);
  const result = new Float64Array(grid.steps).fill(Number.NaN);
  for (let row = 0; row < labels.length; row++) {
    for (let i = 0; i < grid.steps; i++) {
      if (present[row * grid.steps + i] === 0) continue;
      count[i]!++;
      result[i] = count[i] === 1 ? values[row * grid.steps + i]! : Number.NaN;
    }
  }
  return { kind: "scalar", values: result };
}

async function evaluateOf(context: Context, call: Call, grid: Grid): Promise<Scalar> {
  const left = await context.scalar(call.arguments[0]!, grid);
  const right = await context.scalar(call.arguments[1]!, grid);
  const choose = call.signature.name === "min_of" ? Math.min : Math.max;
  return { kind: "scalar", values: left.map((value, i) => choose(value, right[i]!)) };
}

// Order.

async function evaluateSort(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const { name } = call.signature;
  const vector = await context.vector(call.arguments[0]!, grid);
  const isRange = context.bounds.stepMs > 0;
  if (isRange) {
    context.annotations.warn("sort is ineffective for range queries since results are always ordered by labels", call);
    return vector;
  }
  const descending = name.endsWith("_desc");
  if (name === "sort" || name === "sort_desc") return sortByValue(vector, descending);
  const labels = call.arguments.slice(1).map((argument) => context.text(argument));
  return sortByLabels(vector, labels, descending);
}

// Histograms.

async function evaluateHistogramQuantile(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const [quantile, vector] = call.arguments as readonly [Expression, Expression];
  const quantiles = await context.scalar(quantile, grid);
  return histogramQuantile(context, await context.vector(vector, grid), quantiles, { quantile, vector });
}

async function evaluateHistogramQuantiles(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const [vector, label, ...quantiles] = call.arguments as readonly [Expression, Expression, ...Expression[]];
  const buckets = await context.vector(vector, grid);
  const labelName = context.text(label);
  const builder = new VectorBuilder(grid.steps);
  for (const quantile of quantiles) {
    const values = await context.scalar(quantile, grid);
    const found = histogramQuantile(context, buckets, values, { quantile, vector });
    for (const [row, labels] of found.labels.entries()) {
      for (let i = 0; i < grid.steps; i++) {
        if (found.present[row * grid.steps + i] === 0) continue;
        const offset = builder.addRow(setLabel(labels, labelName, quantileText(values[i]!)));
        builder.values[offset + i] = found.values[row * grid.steps + i]!;
        builder.present[offset + i] = 1;
      }
    }
  }
  return mergeRows(builder.finish());
}

/** OpenMetrics' canonical numbers: a whole one has ".0". */
function quantileText(quantile: number): string {
  return Number.isInteger(quantile) ? quantile.toFixed(1) : formatValue(quantile);
}

async function evaluateHistogramFraction(context: Context, call: Call, grid: Grid): Promise<Vector> {
  const [lowerArgument, upperArgument, vector] = call.arguments as readonly [Expression, Expression, Expression];
  const lower = await context.scalar(lowerArgument, grid);
  const upper = await context.scalar(upperArgument, grid);
  return histogramFraction(context, await context.vector(vector, grid), { lower, upper }, vector);
}

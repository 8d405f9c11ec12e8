// Every function of the language with the types it takes and gives, whether or not it is evaluated here yet.
//
// After Prometheus 3.x (promql/parser/functions.go).

import type { FunctionSignature, ValueType } from "#/lib/promql/ast.ts";

const types: Readonly<Record<string, ValueType>> = { s: "scalar", v: "vector", m: "matrix", t: "string" };

function list(shape: string, names: string, variadic = 0): [string, FunctionSignature][] {
  const [parameters, result] = shape.split(">") as [string, string];
  return names
    .split(" ")
    .map((name) => [
      name,
      { name, parameters: [...parameters].map((letter) => types[letter]!), variadic, result: types[result]! },
    ]);
}

export const signatures: ReadonlyMap<string, FunctionSignature> = new Map([
  ...list(
    "v>v",
    "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor ln log10 log2 rad sgn sin sinh sort " +
      "sort_desc sqrt tan tanh timestamp histogram_avg histogram_count histogram_stddev histogram_stdvar histogram_sum " +
      "start_timestamp",
  ),
  ...list("v>v", "day_of_month day_of_week day_of_year days_in_month hour minute month year", 1),
  ...list(
    "m>v",
    "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate " +
      "last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time " +
      "stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time",
  ),
  ...list("vss>v", "clamp"),
  ...list("vs>v", "clamp_max clamp_min"),
  ...list("vs>v", "round", 1),
  ...list("mss>v", "double_exponential_smoothing"),
  ...list("ms>v", "predict_linear"),
  ...list("sm>v", "quantile_over_time"),
  ...list("sv>v", "histogram_quantile"),
  ...list("ssv>v", "histogram_fraction"),
  ...list("vts>v", "histogram_quantiles", 10),
  ...list("vtttt>v", "label_replace"),
  ...list("vttt>v", "label_join", -1),
  ...list("vt>v", "sort_by_label sort_by_label_desc", -1),
  ...list("vv>v", "info", 1),
  ...list("v>s", "scalar"),
  ...list("s>v", "vector"),
  ...list(">s", "time pi start end range step"),
  ...list("ss>s", "max_of min_of"),
]);

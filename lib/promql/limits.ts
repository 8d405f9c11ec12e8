// How much one query may cost. What exceeds a limit is refused with an error that names it; nothing is cut off silently.

import { assert } from "#/lib/assert/assert.ts";
import { minuteMs } from "#/lib/bytes/units.ts";

/** Long enough for any dashboard's generated alternation of hosts, short enough that parsing takes milliseconds. */
export const queryBytesMax = 16 * 1024;

/** The parser and the evaluator recurse; hand-written queries nest below 20 and generated ones below 100. */
export const nestingDepthMax = 250;

/** Prometheus' own limit: 60 s resolution for a week, 1 h resolution for a year. */
export const pointsPerSeriesMax = 11_000;

/** Prometheus' default. At 17 bytes a point in memory a query holds at most 850 MB. */
export const samplesPerQueryMax = 50_000_000;

/** A selector that finds more is most likely a mistake; the labels alone are then 200 MB. */
export const seriesPerSelectorMax = 500_000;

/** How far back an instant selector looks for its sample: Prometheus' default, which dashboards count on. */
export const lookbackMs = 5 * minuteMs;

/** The step of a subquery that names none: Prometheus' default evaluation interval. */
export const subqueryStepMsDefault = minuteMs;

/** After this much work (samples read or points written, about 10 ms) the evaluator lets the event loop have a turn. */
export const workPerTurn = 1_000_000;

assert(samplesPerQueryMax >= 100 * pointsPerSeriesMax, "a query over a hundred series may have every point");
assert(samplesPerQueryMax >= 10 * workPerTurn, "a query can be cancelled long before it reaches its limit");

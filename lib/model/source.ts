// Where queries get their samples: the one seam between the language and the store.

import type { Labels, Matcher } from "#/lib/model/labels.ts";
import type { MetricFamily } from "#/lib/model/layout.ts";

/**
 * One series' samples, oldest first, at most one a timestamp. Stale markers are in it (see lib/model/value.ts), absent rows
 * are not. Both arrays have the same length and may be views: do not write to them, and do not keep them beyond the query.
 */
export interface SeriesSamples {
  /** With `__name__`. */
  readonly labels: Labels;
  readonly timesMs: Float64Array;
  readonly values: Float64Array;
}

export interface TimeRange {
  /** Both ends included. */
  readonly fromMs: number;
  readonly untilMs: number;
}

export interface Selection {
  /** Sorted by labels; no label set twice; no series without a sample. */
  readonly series: readonly SeriesSamples[];
}

/** All matchers of one set must hold; of several sets, one is enough. No set at all means every series. */
export type MatcherSets = readonly (readonly Matcher[])[];

export interface SampleSource {
  select(matchers: readonly Matcher[], range: TimeRange, signal: AbortSignal): Promise<Selection>;
  series(sets: MatcherSets, range: TimeRange, signal: AbortSignal): Promise<readonly Labels[]>;
  /** Sorted. */
  labelNames(sets: MatcherSets, range: TimeRange, signal: AbortSignal): Promise<readonly string[]>;
  /** Sorted. */
  labelValues(name: string, sets: MatcherSets, range: TimeRange, signal: AbortSignal): Promise<readonly string[]>;
  metadata(): Promise<readonly MetricFamily[]>;
}

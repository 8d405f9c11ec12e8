// A source of samples that a test writes down: series in memory, in whatever order they are given.

import { compareLabels, type Labels, labelsKey, labelsOf, labelValue, type Matcher } from "#/lib/model/labels.ts";
import type { MetricFamily } from "#/lib/model/layout.ts";
import type { MatcherSets, SampleSource, SeriesSamples, TimeRange } from "#/lib/model/source.ts";
import { setStale, wordsOf } from "#/lib/model/value.ts";

/** `[time in ms, value]`; "stale" is the marker. */
export type Sample = readonly [timeMs: number, value: number | "stale"];

export interface LiteralSeries {
  readonly metric: Readonly<Record<string, string>>;
  readonly samples: readonly Sample[];
}

export class MemorySource implements SampleSource {
  readonly #series = new Map<string, { readonly labels: Labels; samples: Sample[] }>();
  readonly #families: readonly MetricFamily[];
  /** How often `select` was called. */
  selections = 0;

  constructor(series: readonly LiteralSeries[] = [], families: readonly MetricFamily[] = []) {
    this.#families = families;
    this.add(series);
  }

  add(series: readonly LiteralSeries[]): void {
    for (const { metric, samples } of series) {
      const labels = labelsOf(metric);
      const key = labelsKey(labels);
      const known = this.#series.get(key) ?? { labels, samples: [] };
      known.samples = [...known.samples, ...samples].sort((a, b) => a[0] - b[0]);
      this.#series.set(key, known);
    }
  }

  async select(matchers: readonly Matcher[], range: TimeRange, signal: AbortSignal) {
    this.selections++;
    signal.throwIfAborted();
    const found: SeriesSamples[] = [];
    for (const { labels, samples } of this.#matching([matchers])) {
      const within = samples.filter(([timeMs]) => timeMs >= range.fromMs && timeMs <= range.untilMs);
      if (within.length > 0) found.push(columnsOf(labels, within));
    }
    return { series: found };
  }

  async series(sets: MatcherSets, range: TimeRange): Promise<readonly Labels[]> {
    return this.#matching(sets)
      .filter(({ samples }) => samples.some(([timeMs]) => timeMs >= range.fromMs && timeMs <= range.untilMs))
      .map(({ labels }) => labels);
  }

  async labelNames(sets: MatcherSets, range: TimeRange): Promise<readonly string[]> {
    const names = new Set<string>();
    for (const labels of await this.series(sets, range)) for (const [name] of labels) names.add(name);
    return [...names].sort();
  }

  async labelValues(name: string, sets: MatcherSets, range: TimeRange): Promise<readonly string[]> {
    const values = new Set((await this.series(sets, range)).map((labels) => labelValue(labels, name)));
    values.delete("");
    return [...values].sort();
  }

  async metadata(): Promise<readonly MetricFamily[]> {
    return this.#families;
  }

  #matching(sets: MatcherSets) {
    const holds = (labels: Labels, set: readonly Matcher[]) =>
      set.every((matcher) => matcher.matches(labelValue(labels, matcher.name)));
    return [...this.#series.values()]
      .filter(({ labels }) => sets.length === 0 || sets.some((set) => holds(labels, set)))
      .sort((a, b) => compareLabels(a.labels, b.labels));
  }
}

function columnsOf(labels: Labels, samples: readonly Sample[]): SeriesSamples {
  const timesMs = Float64Array.from(samples, ([timeMs]) => timeMs);
  const values = Float64Array.from(samples, ([, value]) => (value === "stale" ? Number.NaN : value));
  const words = wordsOf(values);
  for (const [i, [, value]] of samples.entries()) if (value === "stale") setStale(words, i);
  return { labels, timesMs, values };
}

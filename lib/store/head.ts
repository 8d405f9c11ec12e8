// The head: the most recent hours of every series, in memory, of one data centre or of many.
//
// A series is a row of a layout on a target, and nothing is kept per series but its values: labels stand once a target and
// once a row, times once a scrape. Report series, staleness and the order of what came late are derived, never sent, so
// queries see what a Prometheus that had scraped the same targets would have.

import { setImmediate } from "node:timers/promises";
import {
  compareLabels,
  compareText,
  type Labels,
  labelValue,
  type Matcher,
  mergeLabels,
  metricNameLabel,
} from "#/lib/model/labels.ts";
import type { MetricFamily } from "#/lib/model/layout.ts";
import { reportRows, type Scrape } from "#/lib/model/scrape.ts";
import type { MatcherSets, SampleSource, Selection, SeriesSamples, TimeRange } from "#/lib/model/source.ts";
import { type Chunk, countPresent, encodeFacts } from "#/lib/store/chunk.ts";
import { Dictionary, isReportRow } from "#/lib/store/dictionary.ts";
import { hasLabel, Plan, TargetIndex } from "#/lib/store/index.ts";
import { Timeline } from "#/lib/store/timeline.ts";
import { chunksOverlapping, chunksWithin, inOrder, SampleBuffer, Walk } from "#/lib/store/walk.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

/** Samples that a query copies before it lets others have the event loop: some 20 ms. */
const samplesPerTurn = 1_000_000;

/** The same for series that are only listed. */
const seriesPerTurn = 20_000;

/**
 * `appended`: after all others of its target. `merged`: between earlier ones. `replaced`: in the place of a lesser outcome of
 * its slot. `repeated`: its slot had one that is not less. `too_old`: before what was trimmed.
 */
export type AppendOutcome = "appended" | "merged" | "replaced" | "repeated" | "too_old";

export interface HeadStats {
  readonly targets: number;
  /** Distinct series of all chunks, report series too. */
  readonly series: number;
  /** As scraped, without report series. */
  readonly samples: number;
  /** Of the columns: what grows with samples. */
  readonly bytes: number;
  readonly chunks: number;
  readonly layouts: number;
}

export class Head implements SampleSource {
  readonly #metrics: Registry;
  readonly #dictionary = new Dictionary();
  readonly #targets = new TargetIndex();
  readonly #timelines = new Map<string, Timeline>();
  #floorMs = Number.NEGATIVE_INFINITY;

  constructor(options: { readonly metrics: Registry }) {
    this.#metrics = options.metrics;
    this.#metrics.onCollect(() => {
      const stats = this.stats();
      this.#metrics.set("heliograph_head_series", stats.series);
      this.#metrics.set("heliograph_head_samples", stats.samples);
      this.#metrics.set("heliograph_head_bytes", stats.bytes);
    });
  }

  /** Nothing before it is taken or answered: the time of the last `trim`. */
  get floorMs(): number {
    return this.#floorMs;
  }

  /** Copies what it keeps. `samples` is how many values are there, for who has counted them. */
  append(scrape: Scrape, samples = countPresent(scrape.values, scrape.layout.rows.length)): AppendOutcome {
    const { target, facts, layout, values, timestamps } = scrape;
    if (facts.timestampMs < this.#floorMs) {
      this.#metrics.add("heliograph_head_late_scrapes_total", 1, { result: "too_old" });
      return "too_old";
    }
    let timeline = this.#timelines.get(target.id);
    if (!timeline) {
      timeline = new Timeline(target, this.#dictionary);
      this.#timelines.set(target.id, timeline);
      this.#targets.add(timeline);
    }
    const held = this.#dictionary.hold(layout);
    held.chunks++;
    const outcome = timeline.place({
      facts: encodeFacts(facts, samples),
      layout: held,
      values,
      timestamps,
    });
    held.chunks--;
    this.#dictionary.release(held);
    if (outcome === "merged") this.#metrics.add("heliograph_head_late_scrapes_total", 1, { result: "merged" });
    if (outcome === "repeated" || outcome === "replaced") this.#metrics.add("heliograph_head_repeated_slots_total");
    return outcome;
  }

  /** The series of these targets, report series too, end at that time, because that generation no longer has them. */
  endTargets(ids: Iterable<string>, at: { readonly timeMs: number; readonly generation: number }): void {
    for (const id of ids) this.#timelines.get(id)?.end(at);
  }

  /** Forgets whole chunks that end before that time, and refuses scrapes before it from now on. Call it about every minute. */
  trim(beforeMs: number): void {
    this.#floorMs = Math.max(this.#floorMs, beforeMs);
    for (const timeline of this.#timelines.values()) {
      timeline.sealIdle();
      if (!timeline.trim(this.#floorMs)) continue;
      this.#timelines.delete(timeline.target.id);
      this.#targets.remove(timeline);
    }
  }

  stats(): HeadStats {
    const stats = { targets: this.#timelines.size, series: 0, samples: 0, bytes: 0, chunks: 0 };
    for (const timeline of this.#timelines.values()) {
      const layouts = new Set(timeline.chunks.map((chunk) => chunk.layout));
      const [only] = layouts;
      stats.series += reportRows.length;
      if (only) stats.series += layouts.size === 1 ? only.rows.length : distinctRows(layouts);
      stats.chunks += timeline.chunks.length;
      for (const chunk of timeline.chunks) {
        stats.samples += chunk.samples;
        stats.bytes += chunk.bytes;
      }
    }
    for (const layout of this.#dictionary.layouts()) stats.bytes += layout.bytes;
    return { ...stats, layouts: this.#dictionary.layoutCount };
  }

  async select(matchers: readonly Matcher[], range: TimeRange, signal: AbortSignal): Promise<Selection> {
    const within = this.#clip(range);
    const found: SeriesSamples[] = [];
    const buffer = new SampleBuffer();
    let samples = 0;
    for (const { timeline, rows } of this.#selected(matchers, within, chunksWithin)) {
      const walk = new Walk(timeline, within, buffer);
      for (const row of rows) {
        const walked = walk.samplesOf(row);
        if (!walked) continue;
        found.push({ labels: this.#labelsOf(timeline, row), ...walked });
        samples += walked.timesMs.length;
      }
      if (samples < samplesPerTurn) continue;
      samples = 0;
      await setImmediate();
      signal.throwIfAborted();
    }
    signal.throwIfAborted();
    found.sort((a, b) => compareLabels(a.labels, b.labels));
    return { series: united(found) };
  }

  async series(sets: MatcherSets, range: TimeRange, signal: AbortSignal): Promise<readonly Labels[]> {
    const found: Labels[] = [];
    await this.#each(sets, range, signal, (timeline, row) => {
      found.push(this.#labelsOf(timeline, row));
    });
    found.sort(compareLabels);
    return found.filter((labels, i) => i === 0 || compareLabels(labels, found[i - 1]!) !== 0);
  }

  async labelNames(sets: MatcherSets, range: TimeRange, signal: AbortSignal): Promise<readonly string[]> {
    const names = new Set<string>();
    await this.#each(sets, range, signal, (timeline, number) => {
      names.add(metricNameLabel);
      const { labels } = this.#dictionary.row(number);
      for (const [name, value] of labels) if (value !== "") names.add(name);
      for (const [name] of timeline.target.labels) if (!hasLabel(labels, name)) names.add(name);
    });
    return [...names].sort(compareText);
  }

  async labelValues(
    name: string,
    sets: MatcherSets,
    range: TimeRange,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const values = new Set<string>();
    await this.#each(sets, range, signal, (timeline, number) => {
      const row = this.#dictionary.row(number);
      if (name === metricNameLabel) values.add(row.name);
      else values.add(labelValue(hasLabel(row.labels, name) ? row.labels : timeline.target.labels, name));
    });
    values.delete("");
    return [...values].sort(compareText);
  }

  /** What `# TYPE`, `# HELP` and `# UNIT` said; of a name that several layouts declare, what one of them says. */
  async metadata(): Promise<readonly MetricFamily[]> {
    const families = new Map<string, MetricFamily>();
    for (const layout of this.#dictionary.layouts()) {
      for (const family of layout.families) if (!families.has(family.name)) families.set(family.name, family);
    }
    return [...families.values()].sort((a, b) => compareText(a.name, b.name));
  }

  #clip(range: TimeRange): TimeRange {
    return { fromMs: Math.max(range.fromMs, this.#floorMs), untilMs: range.untilMs };
  }

  /** Each target with the selected rows of those chunks. */
  *#selected(
    matchers: readonly Matcher[],
    range: TimeRange,
    chunksOf: (chunks: readonly Chunk[], range: TimeRange) => readonly Chunk[],
  ): Generator<{ readonly timeline: Timeline; readonly rows: ReadonlySet<number> }> {
    const plan = new Plan(this.#dictionary, this.#targets, matchers);
    for (const timeline of plan.timelines()) {
      const chunks = chunksOf(timeline.chunks, range);
      const rows = new Set<number>();
      for (const layout of new Set(chunks.map((chunk) => chunk.layout))) {
        for (const { row, targets } of plan.rowsOf(layout)) if (targets.has(timeline)) rows.add(row);
      }
      if (chunks.some((chunk) => chunk.triedFromMs <= range.untilMs)) {
        for (const { row, targets } of plan.reports) if (targets.has(timeline)) rows.add(row);
      }
      if (rows.size > 0) yield { timeline, rows };
    }
  }

  /** Calls once for each series that any of the sets selects; a set's series may come again with another set. */
  async #each(
    sets: MatcherSets,
    range: TimeRange,
    signal: AbortSignal,
    visit: (timeline: Timeline, row: number) => void,
  ): Promise<void> {
    let visited = 0;
    for (const matchers of sets.length === 0 ? [[]] : sets) {
      for (const { timeline, rows } of this.#selected(matchers, this.#clip(range), chunksOverlapping)) {
        for (const row of rows) visit(timeline, row);
        visited += rows.size;
        if (visited < seriesPerTurn) continue;
        visited = 0;
        await setImmediate();
        signal.throwIfAborted();
      }
    }
    signal.throwIfAborted();
  }

  #labelsOf(timeline: Timeline, number: number): Labels {
    const row = this.#dictionary.row(number);
    return mergeLabels(timeline.target.labels, row.labels, row.name);
  }
}

function distinctRows(layouts: Iterable<{ readonly rows: Uint32Array }>): number {
  const rows = new Set<number>();
  for (const layout of layouts) for (const row of layout.rows) if (!isReportRow(row)) rows.add(row);
  return rows.size;
}

/** Two targets, or two rows that differ only in what their target overlays, can have the same labels: one series then. */
function united(sorted: readonly SeriesSamples[]): readonly SeriesSamples[] {
  const series: SeriesSamples[] = [];
  for (const next of sorted) {
    const last = series.at(-1);
    if (last && compareLabels(last.labels, next.labels) === 0) {
      series[series.length - 1] = { labels: last.labels, ...inOrder([last, next]) };
    } else series.push(next);
  }
  return series;
}

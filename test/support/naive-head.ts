// What a head should answer, worked out the slow way: every scrape kept as it came, every series a list, every condition
// tried on every series.

import { compareText, type Labels, labelsKey, type Matcher, mergeLabels } from "#/lib/model/labels.ts";
import { isFailed, isStored, outranks } from "#/lib/model/outcome.ts";
import type { Scrape } from "#/lib/model/scrape.ts";
import type { TimeRange } from "#/lib/model/source.ts";
import { isAbsent, wordsOf } from "#/lib/model/value.ts";

export interface NaiveSample {
  readonly timeMs: number;
  readonly value: number | "stale";
}

export interface NaiveSeries {
  readonly labels: Labels;
  readonly samples: readonly NaiveSample[];
}

interface NaiveTarget {
  readonly scrapes: Scrape[];
  readonly ends: { timeMs: number; generation: number }[];
}

export class NaiveHead {
  readonly #targets = new Map<string, NaiveTarget>();

  append(scrape: Scrape): void {
    const { facts, target } = scrape;
    const known = this.#targets.get(target.id) ?? { scrapes: [], ends: [] };
    this.#targets.set(target.id, known);
    for (const end of known.ends) {
      if (facts.generation < end.generation && facts.timestampMs >= end.timeMs) end.timeMs = facts.timestampMs + 1;
    }
    const kept = { ...scrape, values: scrape.values.slice() };
    const repeat = known.scrapes.findIndex(
      (other) => other.facts.slot === facts.slot || other.facts.timestampMs === facts.timestampMs,
    );
    if (repeat < 0) known.scrapes.push(kept);
    else if (outranks(facts, known.scrapes[repeat]!.facts)) known.scrapes[repeat] = kept;
  }

  end(id: string, at: { readonly timeMs: number; readonly generation: number }): void {
    const known = this.#targets.get(id);
    if (!known || known.ends.some((end) => end.generation === at.generation)) return;
    const later = known.scrapes
      .filter(({ facts }) => facts.generation < at.generation && facts.timestampMs >= at.timeMs)
      .map(({ facts }) => facts.timestampMs + 1);
    known.ends.push({ timeMs: Math.max(at.timeMs, ...later), generation: at.generation });
  }

  select(matchers: readonly Matcher[], range: TimeRange): NaiveSeries[] {
    const series = new Map<string, { labels: Labels; samples: NaiveSample[] }>();
    for (const target of this.#targets.values()) samplesOfTarget(target, series);
    return [...series.values()]
      .filter(({ labels }) =>
        matchers.every((matcher) => matcher.matches(labels.find(([name]) => name === matcher.name)?.[1] ?? "")),
      )
      .map(({ labels, samples }) => ({
        labels,
        samples: inTimeOrder(samples).filter(({ timeMs }) => timeMs >= range.fromMs && timeMs <= range.untilMs),
      }))
      .filter(({ samples }) => samples.length > 0)
      .sort((a, b) => compareLabels(a.labels, b.labels));
  }
}

function samplesOfTarget(target: NaiveTarget, all: Map<string, { labels: Labels; samples: NaiveSample[] }>): void {
  const scrapes = [...target.scrapes].sort((a, b) => a.facts.timestampMs - b.facts.timestampMs);
  const ends = [...target.ends].sort((a, b) => a.timeMs - b.timeMs);
  const add = (labels: Labels, timeMs: number, value: number | "stale") => {
    const key = labelsKey(labels);
    if (!all.has(key)) all.set(key, { labels, samples: [] });
    all.get(key)!.samples.push({ timeMs, value });
  };
  const own = new Map<string, Labels>();
  const reports = new Map<string, Labels>();
  const finish = (timeMs: number) => {
    for (const labels of [...own.values(), ...reports.values()]) add(labels, timeMs, "stale");
    own.clear();
    reports.clear();
  };
  for (const { facts, layout, target: scraped, timestamps, values } of scrapes) {
    if (!isStored(facts.outcome) && !isFailed(facts.outcome)) continue;
    const { timestampMs } = facts;
    while (ends.length > 0 && ends[0]!.timeMs <= timestampMs) {
      const { timeMs } = ends.shift()!;
      if (timeMs < timestampMs) finish(timeMs);
    }
    const words = wordsOf(values);
    const present = new Map<string, Labels>();
    let count = 0;
    if (isStored(facts.outcome)) {
      for (const [position, row] of layout.rows.entries()) {
        if (isAbsent(words, position)) continue;
        count++;
        const labels = mergeLabels(scraped.labels, row.labels, row.name);
        const ownTime = timestamps.find((timestamp) => timestamp.row === position);
        add(labels, ownTime?.timestampMs ?? timestampMs, values[position]!);
        if (!ownTime) present.set(labelsKey(labels), labels);
      }
    }
    for (const [key, labels] of own) if (!present.has(key)) add(labels, timestampMs, "stale");
    own.clear();
    for (const [key, labels] of present) own.set(key, labels);
    const report = {
      up: isStored(facts.outcome) ? 1 : 0,
      scrape_duration_seconds: facts.durationUs / 1e6,
      scrape_samples_scraped: facts.samplesScraped,
      scrape_samples_post_metric_relabeling: count + facts.seriesRefused,
      scrape_series_added: facts.seriesAdded,
    };
    for (const [name, value] of Object.entries(report)) {
      const labels = mergeLabels(scraped.labels, [], name);
      add(labels, timestampMs, value);
      reports.set(name, labels);
    }
  }
  for (const { timeMs } of ends) finish(timeMs);
}

/** A real sample goes before a stale marker of the same time. */
function inTimeOrder(samples: readonly NaiveSample[]): NaiveSample[] {
  return [...samples]
    .sort((a, b) => a.timeMs - b.timeMs || Number(a.value === "stale") - Number(b.value === "stale"))
    .filter((sample, i, sorted) => sample.timeMs !== sorted[i - 1]?.timeMs);
}

function compareLabels(a: Labels, b: Labels): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compareText(a[i]![0], b[i]![0]) || compareText(a[i]![1], b[i]![1]);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

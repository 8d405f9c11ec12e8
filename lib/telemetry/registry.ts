// Heliograph's own metrics: declared in one table (table.ts), counted here, shown at `/metrics` in the text format 0.0.4.
//
// A metric exists from the start with value 0 when it has no labels, so that a missing series never has to be told from a
// zero. Label values must come from a closed set or from the topology file: nothing here grows with targets.

import { assert } from "#/lib/assert/assert.ts";
import type { MetricDeclaration } from "#/lib/telemetry/metric.ts";
import { metricTable } from "#/lib/telemetry/table.ts";

export type MetricName = keyof typeof metricTable;
export type MetricLabels = Readonly<Record<string, string>>;

/** One series of a counter or gauge, found once, so that counting on a hot path looks nothing up. */
export interface Counter {
  add(amount: number): void;
}

/** One series of a histogram, found once. */
export interface HistogramSeries {
  observe(value: number): void;
}

/** One metric may have this many series; beyond it `add` and `set` go to a series whose labels are all "other". */
const seriesPerMetricMax = 1000;

export interface Registry {
  /** Adds to a counter or gauge. */
  add(name: MetricName, amount?: number, labels?: MetricLabels): void;
  /** Sets a gauge. */
  set(name: MetricName, value: number, labels?: MetricLabels): void;
  /** Counts a value into a histogram's buckets. */
  observe(name: MetricName, value: number, labels?: MetricLabels): void;
  /** The series, which is there with 0 from now on. For those that are never removed. */
  counter(name: MetricName, labels?: MetricLabels): Counter;
  /** As `counter`, of a histogram. */
  histogram(name: MetricName, labels?: MetricLabels): HistogramSeries;
  /** Forgets one series of a metric: a data centre or secondary that is no more. */
  remove(name: MetricName, labels: MetricLabels): void;
  /** The present value, for tests and pages; 0 when there is none. */
  get(name: MetricName, labels?: MetricLabels): number;
  /** Called before each exposition, to set gauges that are cheaper to read than to keep. */
  onCollect(collect: () => void): void;
  /** What was counted since the last call, gauges as what they moved by; series without any are told once. */
  takeChanges(): MetricChanges;
  /**
   * Adds what another thread's registry took. So a series is the sum over the threads: a gauge may be added up, or be set by one
   * of them, but not both.
   */
  addChanges(changes: MetricChanges): void;
  /** The exposition, text format 0.0.4. Metrics that this process never touched and that have labels are left out. */
  expose(): string;
}

/** Plain data, which can be sent to another thread. Series are named by their labels as they are written. */
export interface MetricChanges {
  readonly values: readonly (readonly [name: MetricName, key: string, by: number])[];
  readonly histograms: readonly (readonly [name: MetricName, key: string, counts: Float64Array, sum: number])[];
}

class Cell implements Counter {
  value = 0;
  /** The value when changes were last taken; undefined before. */
  taken: number | undefined;

  add(amount: number): void {
    this.value += amount;
  }
}

class Histogram implements HistogramSeries {
  readonly counts: Float64Array;
  readonly #bounds: readonly number[];
  sum = 0;
  /** As it was when changes were last taken; undefined before. */
  taken: { readonly counts: Float64Array; readonly sum: number } | undefined;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && !(value <= this.#bounds[bucket]!)) bucket++;
    this.counts[bucket]! += 1;
    this.sum += value;
  }
}

export function createRegistry(options: { readonly tier: "secondary" | "primary" | "global" | "tool" }): Registry {
  const values = new Map<MetricName, Map<string, Cell>>();
  const histograms = new Map<MetricName, Map<string, Histogram>>();
  const collectors: (() => void)[] = [];
  const relevant = new Set(
    (Object.keys(metricTable) as MetricName[]).filter((name) => declarationOf(name).tiers.includes(options.tier)),
  );

  function seriesOf<T>(
    all: Map<MetricName, Map<string, T>>,
    name: MetricName,
    labels: MetricLabels,
    make: () => T,
  ): { readonly series: Map<string, T>; readonly key: string; readonly found: T } {
    if (!relevant.has(name)) assert(false, `${name} is not declared for the tier ${options.tier}`);
    return seriesAt(all, name, keyOf(name, declarationOf(name).labels, labels), make);
  }
  function seriesAt<T>(all: Map<MetricName, Map<string, T>>, name: MetricName, wanted: string, make: () => T) {
    let series = all.get(name);
    if (!series) all.set(name, (series = new Map()));
    let key = wanted;
    let found = series.get(key);
    if (found === undefined) {
      if (series.size >= seriesPerMetricMax) {
        key = declarationOf(name)
          .labels.map((label) => `${label}="other"`)
          .join(",");
        found = series.get(key);
      }
      if (found === undefined) series.set(key, (found = make()));
    }
    return { series, key, found };
  }
  const cellOf = (name: MetricName, labels: MetricLabels) => seriesOf(values, name, labels, () => new Cell()).found;
  const newHistogram = (name: MetricName) => new Histogram(declarationOf(name).buckets ?? []);
  const histogramOf = (name: MetricName, labels: MetricLabels) =>
    seriesOf(histograms, name, labels, () => newHistogram(name)).found;

  const registry: Registry = {
    add(name, amount = 1, labels = {}) {
      cellOf(name, labels).value += amount;
    },
    set(name, value, labels = {}) {
      cellOf(name, labels).value = value;
    },
    observe(name, value, labels = {}) {
      histogramOf(name, labels).observe(value);
    },
    counter(name, labels = {}) {
      return cellOf(name, labels);
    },
    histogram(name, labels = {}) {
      return histogramOf(name, labels);
    },
    remove(name, labels) {
      const { series, key } = seriesOf(values, name, labels, () => new Cell());
      series.delete(key);
    },
    get(name, labels = {}) {
      return cellOf(name, labels).value;
    },
    onCollect(collect) {
      collectors.push(collect);
    },
    takeChanges() {
      for (const collect of collectors) collect();
      return { values: changedValues(values), histograms: changedHistograms(histograms) };
    },
    addChanges(changes) {
      for (const [name, key, by] of changes.values) seriesAt(values, name, key, () => new Cell()).found.value += by;
      for (const [name, key, counts, sum] of changes.histograms) {
        const { found } = seriesAt(histograms, name, key, () => newHistogram(name));
        for (const [i, count] of counts.entries()) found.counts[i]! += count;
        found.sum += sum;
      }
    },
    expose() {
      for (const collect of collectors) collect();
      let text = "";
      for (const name of relevant) {
        const declared = declarationOf(name);
        const lines =
          declared.type === "histogram"
            ? histogramLines(name, declared, histograms.get(name))
            : valueLines(name, declared, values.get(name));
        if (lines) text += `# HELP ${name} ${declared.help}\n# TYPE ${name} ${declared.type}\n${lines}`;
      }
      return text;
    },
  };
  return registry;
}

function changedValues(all: ReadonlyMap<MetricName, ReadonlyMap<string, Cell>>): MetricChanges["values"] {
  const changed: [MetricName, string, number][] = [];
  for (const [name, series] of all) {
    for (const [key, cell] of series) {
      if (cell.value === cell.taken) continue;
      changed.push([name, key, cell.value - (cell.taken ?? 0)]);
      cell.taken = cell.value;
    }
  }
  return changed;
}

function changedHistograms(all: ReadonlyMap<MetricName, ReadonlyMap<string, Histogram>>): MetricChanges["histograms"] {
  const changed: [MetricName, string, Float64Array, number][] = [];
  for (const [name, series] of all) {
    for (const [key, histogram] of series) {
      const { counts, sum, taken } = histogram;
      const by = taken ? counts.map((count, i) => count - taken.counts[i]!) : counts.slice();
      if (taken && by.every((count) => count === 0)) continue;
      changed.push([name, key, by, sum - (taken?.sum ?? 0)]);
      histogram.taken = { counts: counts.slice(), sum };
    }
  }
  return changed;
}

/** Counting happens thousands of times a second, so nothing is made here but the key. */
function keyOf(name: MetricName, declared: readonly string[], labels: MetricLabels): string {
  let key = "";
  let given = 0;
  for (const label in labels) {
    given++;
    if (!declared.includes(label)) given = Number.NaN;
  }
  if (given !== declared.length) {
    const got = Object.keys(labels).join(", ");
    assert(false, `${name}: expected the labels {${declared.join(", ")}}, got {${got}}`);
  }
  for (const label of declared) key += `${key === "" ? "" : ","}${label}="${escapeValue(labels[label]!)}"`;
  return key;
}

function declarationOf(name: MetricName): MetricDeclaration {
  return metricTable[name];
}

function valueLines(name: string, declared: MetricDeclaration, series: Map<string, Cell> | undefined): string {
  if (!series || series.size === 0) return declared.labels.length === 0 ? `${name} 0\n` : "";
  let lines = "";
  for (const [key, { value }] of series) lines += `${name}${key ? `{${key}}` : ""} ${formatNumber(value)}\n`;
  return lines;
}

function histogramLines(name: string, declared: MetricDeclaration, all: Map<string, Histogram> | undefined): string {
  let lines = "";
  for (const [key, histogram] of all ?? []) {
    let cumulative = 0;
    const prefix = key ? `${key},` : "";
    for (const [i, bound] of [...(declared.buckets ?? []), Number.POSITIVE_INFINITY].entries()) {
      cumulative += histogram.counts[i]!;
      lines += `${name}_bucket{${prefix}le="${formatNumber(bound)}"} ${cumulative}\n`;
    }
    const braces = key ? `{${key}}` : "";
    lines += `${name}_sum${braces} ${formatNumber(histogram.sum)}\n${name}_count${braces} ${cumulative}\n`;
  }
  return lines;
}

const special = /[\\"\n]/;

function formatNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return String(value);
}

function escapeValue(value: string): string {
  if (!special.test(value)) return value;
  return value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`));
}

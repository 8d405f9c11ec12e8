// Heliograph's own metrics: declared in one table (table.ts), counted here, shown at `/metrics` in the text format 0.0.4.
//
// A metric exists from the start with value 0 when it has no labels, so that a missing series never has to be told from a
// zero. Label values must come from a closed set or from the topology file: nothing here grows with targets.

import { assert } from "#/lib/assert/assert.ts";
import { type MetricDeclaration, metricTable } from "#/lib/telemetry/table.ts";

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
  /** The exposition, text format 0.0.4. Metrics that this process never touched and that have labels are left out. */
  expose(): string;
}

class Cell implements Counter {
  value = 0;

  add(amount: number): void {
    this.value += amount;
  }
}

class Histogram implements HistogramSeries {
  readonly counts: Float64Array;
  readonly #bounds: readonly number[];
  sum = 0;

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
    const declared = declarationOf(name);
    if (!relevant.has(name)) assert(false, `${name} is not declared for the tier ${options.tier}`);
    let series = all.get(name);
    if (!series) all.set(name, (series = new Map()));
    let key = keyOf(name, declared.labels, labels);
    let found = series.get(key);
    if (found === undefined) {
      if (series.size >= seriesPerMetricMax) {
        key = declared.labels.map((label) => `${label}="other"`).join(",");
        found = series.get(key);
      }
      if (found === undefined) series.set(key, (found = make()));
    }
    return { series, key, found };
  }
  const cellOf = (name: MetricName, labels: MetricLabels) => seriesOf(values, name, labels, () => new Cell()).found;
  const histogramOf = (name: MetricName, labels: MetricLabels) =>
    seriesOf(histograms, name, labels, () => new Histogram(declarationOf(name).buckets ?? [])).found;

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

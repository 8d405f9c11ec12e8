// A body read in the plainest way: line by line with the plain reader, every label set written out, nothing remembered from
// the body before and no kernel. What the secondary's reader makes of a body must be what this makes of it.
//
// Doubles are read from the text a second time, by JavaScript's own parser, so that decimals are held to something else too.

import { Buffer } from "node:buffer";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import { type Labels, labelsKey, labelsOf, mergeLabels, metricNameLabel } from "#/lib/model/labels.ts";
import { type Layout, type LayoutRow, layoutOf } from "#/lib/model/layout.ts";
import { Relabelling } from "#/lib/model/relabel.ts";
import type { RowTimestamp } from "#/lib/model/scrape.ts";
import type { Target } from "#/lib/model/target.ts";
import { setAbsent, wordsOf } from "#/lib/model/value.ts";
import { rowLabels } from "#/secondary/scrape/conflict.ts";
import { Families } from "#/secondary/scrape/family.ts";
import { timestampAheadMsMax, timestampBehindMsMax } from "#/secondary/scrape/layout.ts";
import { exceededLimit, extentsOf } from "#/secondary/scrape/limit.ts";
import { BadExposition, type ExpositionFormat, ExpositionReader } from "#/secondary/scrape/parse.ts";
import type { RowExemplar } from "#/secondary/scrape/reading.ts";

export type PlainReading =
  | { readonly outcome: string; readonly error: string; readonly samplesScraped: number }
  | {
      readonly outcome: "stored" | "partial";
      /** Before metric relabelling. */
      readonly layout: Layout;
      /** Of a target with metric relabelling, each row that is left: its whole label set, and its family. */
      readonly series: readonly string[];
      readonly values: DecimalColumn;
      /** The same as doubles, bit for bit; absent where the row has no sample. */
      readonly doubles: Float64Array;
      readonly timestamps: readonly RowTimestamp[];
      readonly exemplars: readonly RowExemplar[];
      readonly samplesScraped: number;
      readonly dropped: number;
      readonly duplicates: number;
      readonly ahead: number;
      readonly behind: number;
    };

interface PlainSample {
  readonly name: string;
  readonly labels: Labels;
  /** Of the whole label set. */
  readonly key: string;
  readonly column: DecimalColumn;
  readonly double: number;
  readonly timestampMs: number | undefined;
  readonly exemplar: Omit<RowExemplar, "row"> | undefined;
}

type Timeliness = "ahead" | "behind" | "timely";

/** A target has limits on labels or metric relabelling, and not both. */
export function readPlainly(target: Target, body: Uint8Array, format: ExpositionFormat, nowMs: number): PlainReading {
  try {
    return judgePlainly(target, samplesOf(target, body, format), nowMs);
  } catch (error) {
    if (!(error instanceof BadExposition)) throw error;
    return { outcome: "failed_parse", error: error.message, samplesScraped: 0 };
  }
}

function samplesOf(target: Target, body: Uint8Array, format: ExpositionFormat) {
  const reader = new ExpositionReader(body, format);
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("latin1");
  const targetNames = new Set(target.labels.map(([name]) => name));
  const families = new Families();
  const samples: PlainSample[] = [];
  for (;;) {
    const kind = reader.next();
    if (kind === "end") return { samples, families };
    if (kind === "comment") continue;
    if (kind !== "sample") {
      families.declare(reader.family, kind, kind === "type" ? reader.type : reader.metadata);
      continue;
    }
    const head = reader.head();
    const valueAt = reader.at;
    const column = new DecimalColumn(1);
    reader.tail(column, 0);
    const labels = rowLabels(head.labels, targetNames, target.options.honorLabels);
    samples.push({
      name: head.name,
      labels,
      key: labelsKey(mergeLabels(target.labels, labels, head.name)),
      column,
      double: doubleOf(/[^ \t\n]+/.exec(text.slice(valueAt, valueAt + 2000))![0]),
      timestampMs: reader.hasTimestamp && target.options.honorTimestamps ? reader.timestampMs : undefined,
      exemplar: reader.exemplar,
    });
  }
}

function judgePlainly(
  target: Target,
  { samples, families }: ReturnType<typeof samplesOf>,
  nowMs: number,
): PlainReading {
  const { options } = target;
  const samplesScraped = samples.length;
  const firsts = new Map<string, PlainSample>();
  for (const sample of samples) if (!firsts.has(sample.key)) firsts.set(sample.key, sample);
  const rows: LayoutRow[] = [...firsts.values()].map(({ name, labels }) => ({
    name,
    labels,
    kind: "float",
    family: families.indexFor(name),
  }));
  const layout = layoutOf(rows, families.used);
  const relabelled = relabelPlainly(target, firsts);
  if (typeof relabelled === "string") return { outcome: "failed_parse", error: relabelled, samplesScraped };
  const left = [...relabelled.left];
  const counted = { ahead: 0, behind: 0, timely: 0 };
  const values = new DecimalColumn(left.length);
  const doubles = new Float64Array(left.length);
  const words = wordsOf(doubles);
  const series: string[] = [];
  const timestamps: RowTimestamp[] = [];
  const exemplars: RowExemplar[] = [];
  for (const [row, [key, sample]] of left.entries()) {
    const { column, double, exemplar, name, timestampMs } = sample;
    const timeliness = timelinessOf(timestampMs, nowMs);
    counted[timeliness]++;
    if (timeliness === "timely") {
      copyRow(values, row, column);
      doubles[row] = double;
      // A NaN that was read has the bits that Prometheus gives it.
      if (Number.isNaN(double)) [words[row * 2], words[row * 2 + 1]] = [1, 0x7ff80000];
    } else {
      values.setAbsent(row);
      setAbsent(words, row);
    }
    if (timestampMs !== undefined && timeliness === "timely") timestamps.push({ row, timestampMs });
    if (exemplar) exemplars.push({ row, ...exemplar });
    if (options.metricRelabel) series.push(`${key} ${JSON.stringify(families.used[families.indexFor(name)])}`);
  }
  const failed = exceededLimit(target, () => extentsOf(layout, new Set(target.labels.map(([name]) => name))));
  if (failed) return { outcome: "failed_label_limit", error: failed, samplesScraped };
  if (options.sampleLimit > 0 && counted.timely > options.sampleLimit) {
    const error = `sample_limit exceeded: expected at most ${options.sampleLimit} samples, got ${counted.timely}`;
    return { outcome: "failed_sample_limit", error, samplesScraped };
  }
  const dropped = samples.filter(({ key }) => relabelled.dropped.has(key)).length;
  return {
    outcome: counted.timely + dropped === samplesScraped ? "stored" : "partial",
    layout,
    series,
    values,
    doubles,
    timestamps,
    exemplars,
    samplesScraped,
    dropped,
    duplicates: samplesScraped - dropped - left.length,
    ahead: counted.ahead,
    behind: counted.behind,
  };
}

function timelinessOf(timestampMs: number | undefined, nowMs: number): Timeliness {
  if (timestampMs === undefined) return "timely";
  if (timestampMs > nowMs + timestampAheadMsMax) return "ahead";
  return timestampMs < nowMs - timestampBehindMsMax ? "behind" : "timely";
}

function copyRow(values: DecimalColumn, row: number, from: DecimalColumn): void {
  values.mantissas[row] = from.mantissas[0]!;
  values.exponents[row] = from.exponents[0]!;
  values.rawWords[row * 2] = from.rawWords[0]!;
  values.rawWords[row * 2 + 1] = from.rawWords[1]!;
}

/** What the reader found to be a number. */
function doubleOf(text: string): number {
  const word = text.toLowerCase().replace(/^\+/, "");
  if (word === "nan") return Number.NaN;
  if (/^-?inf(inity)?$/.test(word)) return word[0] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(word);
}

const relabellings = new Map<string, Relabelling>();

/** Each series that is left by its label set afterwards, the first of those that became the same; or why the rules are wrong. */
function relabelPlainly(target: Target, firsts: ReadonlyMap<string, PlainSample>) {
  const { metricRelabel } = target.options;
  const dropped = new Set<string>();
  if (!metricRelabel) return { left: firsts, dropped };
  let relabelling = relabellings.get(metricRelabel.id);
  if (!relabelling) relabellings.set(metricRelabel.id, (relabelling = new Relabelling(metricRelabel.rules)));
  const left = new Map<string, PlainSample>();
  for (const [key, sample] of firsts) {
    const isPlace = ([name]: readonly [string, string]) => metricRelabel.placeLabels.includes(name);
    const whole = mergeLabels(target.labels, sample.labels, sample.name);
    const labels = new Map(whole.filter((label) => !isPlace(label)));
    if (relabelling.apply(labels) !== undefined) {
      dropped.add(key);
      continue;
    }
    if (!labels.has(metricNameLabel)) {
      return `metric_relabel_configs: expected ${sample.name} to keep a name, got none`;
    }
    const newKey = labelsKey(labelsOf([...labels, ...whole.filter(isPlace)]));
    if (!left.has(newKey)) left.set(newKey, sample);
  }
  return { left, dropped };
}

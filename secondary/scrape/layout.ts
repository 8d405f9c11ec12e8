// Turns a body into a column of values and the layout that says what they are, without understanding the same line twice.
//
// A target exposes the same lines in the same order, scrape after scrape, and like targets expose the same lines too. What a
// body's lines have before their values is its *shape*: kept once for all targets that share it, with the layout that follows
// from it. A new body is walked beside its target's last shape; while the bytes are equal only values are read. A body that
// differs is read whole and gets another shape, known ones found by their content. Metric relabelling comes after that, and
// is nothing but choosing rows (relabel.ts).

import { Buffer, isUtf8 } from "node:buffer";

import { contentId } from "#/lib/bytes/hash.ts";
import { hourMs, KiB, minuteMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import { type Labels, labelsKey, mergeLabels } from "#/lib/model/labels.ts";
import { type Layout, type LayoutRow, layoutOf } from "#/lib/model/layout.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import type { RowTimestamp } from "#/lib/model/scrape.ts";
import type { Target } from "#/lib/model/target.ts";

import { rowLabels } from "#/secondary/scrape/conflict.ts";
import { Families } from "#/secondary/scrape/family.ts";
import { HalvedCache, Interned } from "#/secondary/scrape/interned.ts";
import { type WalkedShape, WalkKernel } from "#/secondary/scrape/kernel/walk.ts";
import { type Extents, exceededLimit, extentsOf } from "#/secondary/scrape/limit.ts";
import {
  BadExposition,
  type BadExpositionCode,
  type Exemplar,
  type ExpositionFormat,
  ExpositionReader,
} from "#/secondary/scrape/parse.ts";
import {
  BadRelabelling,
  LayoutRelabeller,
  type RelabelledLayout,
  rowDropped,
  type TargetRelabelling,
} from "#/secondary/scrape/relabel.ts";

/**
 * Distinct series that one scrape may bring. Learning them takes about 0.5 s of the event loop and 100 MB, which is what the
 * other targets can bear; a target with more should be split, or lower it itself with `sample_limit`.
 */
export const seriesPerScrapeMax = 100_000;

/** Of one scrape, comments and repeated series included: a `# HELP` and a `# TYPE` for every other series. */
export const linesPerScrapeMax = 2 * seriesPerScrapeMax;

/** Name and labels of one series, or one comment: VictoriaMetrics cuts a label at 4 KiB, and sixteen of these are enough. */
export const headBytesMax = 64 * KiB;

/** Prometheus' storage takes samples up to 10 minutes ahead; older than an hour lies before what a head still merges. */
export const timestampAheadMsMax = 10 * minuteMs;
export const timestampBehindMsMax = hourMs;

/** Understood heads, 0.4 kB each: what a thousand unlike targets of a hundred series have. Long ones are rare, and not kept. */
const headsCachedMax = 131_072;
const headCachedBytesMax = KiB;
/** The last shape of each kind of target, tried for targets that are new. Jobs times formats, and room to spare. */
const recentShapesMax = 256;

/** Why a series was left out of a scrape that was otherwise stored. */
export const refusalReasons = ["duplicate_series", "timestamp_ahead", "timestamp_behind"] as const;
export type RefusalReason = (typeof refusalReasons)[number];
export type Refusals = Readonly<Record<RefusalReason, number>>;

/** What is remembered of a target between its scrapes. */
export interface TargetReading {
  readonly target: Target;
  readonly labelNames: ReadonlySet<string>;
  /** Targets with equal contexts turn equal bodies into equal layouts. */
  readonly context: string;
  /** Of its last body that could be read. */
  shape: Shape | undefined;
  /** Made when it is first needed, where the target has metric relabelling. */
  relabelling: TargetRelabelling | undefined;
  /** Of its last body; held so that it is not made anew. */
  relabelled: RelabelledLayout | undefined;
}

/** A line's row is a row of the layout, or one of the two below. */
interface Shape extends WalkedShape {
  readonly layout: Layout;
  readonly samples: number;
  /** The row of each sample whose series a line before it has already. */
  readonly duplicatesOf: readonly number[];
}

const noSample = -1;
const duplicateSample = -2;

export type Reading =
  | {
      readonly outcome: "stored" | "partial";
      readonly layout: Layout;
      /** One value a row; valid until the next `read`. */
      readonly values: DecimalColumn;
      readonly timestamps: readonly RowTimestamp[];
      readonly exemplars: readonly RowExemplar[];
      readonly samplesScraped: number;
      /** Samples that metric relabelling dropped. */
      readonly dropped: number;
      readonly refused: Refusals;
    }
  | {
      readonly outcome: Extract<Outcome, "failed_parse" | "failed_sample_limit" | "failed_label_limit">;
      readonly error: string;
      readonly samplesScraped: number;
      /** More than any scrape may bring, which was expensive to find out. */
      readonly tooMuch: boolean;
    };

export interface RowExemplar extends Exemplar {
  readonly row: number;
}

export function targetReading(target: Target, previous?: TargetReading): TargetReading {
  const names = target.labels.map(([name]) => name);
  // With honor_labels, which rows are the same series also depends on the target's values.
  const context = target.options.honorLabels
    ? `h${labelsKey(target.labels)}`
    : `n${names.map((name) => `${name.length}:${name}`).join("")}`;
  const shape = previous?.context === context ? previous.shape : undefined;
  return {
    target,
    labelNames: new Set(names),
    context,
    shape,
    relabelling: undefined,
    relabelled: previous?.relabelled,
  };
}

/** A line's head, understood. */
interface KnownHead {
  readonly name: string;
  readonly labels: Labels;
  readonly key: string;
  /** The row made of it last, for the next layout to share. */
  row: LayoutRow | undefined;
}

/** Reads the bodies of all targets of one shard, one at a time. */
export class BodyReader {
  readonly #heads = new HalvedCache<KnownHead>({ entriesMax: headsCachedMax });
  readonly #recent = new HalvedCache<Shape>({ entriesMax: recentShapesMax });
  readonly #shapes = new Interned<Shape>();
  readonly #layouts = new Interned<Layout>();
  readonly #relabeller: LayoutRelabeller;
  /** Of each layout with each target's label names; wanted only where a target has limits on labels. */
  readonly #extents = new WeakMap<Layout, Map<string, Extents>>();
  readonly #kernel = new WalkKernel(seriesPerScrapeMax);
  readonly #values = this.#kernel.values;
  readonly #spare = new DecimalColumn(1);
  #timestamps: RowTimestamp[] = [];
  #exemplars: RowExemplar[] = [];
  /** Rows with timestamps too far from now. */
  readonly #ahead: number[] = [];
  readonly #behind: number[] = [];
  /** Bodies that had to be read whole. */
  learned = 0;

  /** The clock tells what relabelling takes. */
  constructor(clock?: Pick<Clock, "monotonicMs">) {
    this.#relabeller = new LayoutRelabeller(this.#layouts, clock);
  }

  /** How often rules were evaluated for a layout. */
  get relabelled(): number {
    return this.#relabeller.evaluations;
  }

  get relabelMs(): number {
    return this.#relabeller.evaluationMs;
  }

  /** `nowMs` is when the scrape began: what timestamps are held against. */
  read(reading: TargetReading, body: Uint8Array, format: ExpositionFormat, nowMs: number): Reading {
    const context = `${format}/${reading.context}`;
    let shape: Shape | undefined;
    try {
      shape =
        this.#recognize(reading, context, body, format, nowMs) ?? this.#learn(reading, context, body, format, nowMs);
    } catch (error) {
      if (!(error instanceof BadExposition)) throw error;
      const outcome = outcomeOf(error.code);
      return { outcome, error: error.message, samplesScraped: 0, tooMuch: outcome === "failed_sample_limit" };
    }
    reading.shape = shape;
    if (this.#recent.get(context) !== shape) this.#recent.set(context, shape);
    this.#values.length = shape.layout.rows.length;
    try {
      return this.#judge(reading, shape, this.#relabelled(reading, shape));
    } catch (error) {
      if (!(error instanceof BadRelabelling)) throw error;
      return { outcome: "failed_parse", error: error.message, samplesScraped: shape.samples, tooMuch: false };
    }
  }

  /** What the target's rules make of it; undefined when it has none. What was read of the rows is brought into line. */
  #relabelled(reading: TargetReading, shape: Shape): RelabelledLayout | undefined {
    const { metricRelabel } = reading.target.options;
    if (!metricRelabel) return undefined;
    reading.relabelling ??= this.#relabeller.ofTarget(reading.target, metricRelabel);
    const relabelled = this.#relabeller.relabel(shape.layout, reading.relabelling);
    reading.relabelled = relabelled;
    const { kept, rowOf } = relabelled;
    this.#values.keep(kept);
    const moved = <T extends { readonly row: number }>(entries: readonly T[]) =>
      entries.filter(({ row }) => rowOf[row]! >= 0).map((entry) => ({ ...entry, row: rowOf[entry.row]! }));
    if (this.#timestamps.length > 0) this.#timestamps = moved(this.#timestamps);
    if (this.#exemplars.length > 0) this.#exemplars = moved(this.#exemplars);
    return relabelled;
  }

  /** Holds the limits against what is left, and counts. */
  #judge(reading: TargetReading, shape: Shape, relabelled: RelabelledLayout | undefined): Reading {
    const layout = relabelled?.layout ?? shape.layout;
    const { samples, duplicatesOf } = shape;
    const exceeded = exceededLimit(reading.target, () => this.#extentsOf(layout, reading));
    if (exceeded) return { outcome: "failed_label_limit", error: exceeded, samplesScraped: samples, tooMuch: false };
    const isLeft = (row: number) => relabelled === undefined || relabelled.rowOf[row]! >= 0;
    const isDropped = (row: number) => relabelled?.rowOf[row] === rowDropped;
    const ahead = this.#ahead.length > 0 ? this.#ahead.filter(isLeft).length : 0;
    const behind = this.#behind.length > 0 ? this.#behind.filter(isLeft).length : 0;
    const stored = layout.rows.length - ahead - behind;
    const dropped = (relabelled ? countOf(relabelled.rowOf, rowDropped) : 0) + duplicatesOf.filter(isDropped).length;
    const { sampleLimit } = reading.target.options;
    if (sampleLimit > 0 && stored > sampleLimit) {
      const error = `sample_limit exceeded: expected at most ${sampleLimit} samples, got ${stored}`;
      return { outcome: "failed_sample_limit", error, samplesScraped: samples, tooMuch: false };
    }
    return {
      outcome: stored + dropped === samples ? "stored" : "partial",
      layout,
      values: this.#values,
      timestamps: this.#timestamps,
      exemplars: this.#exemplars,
      samplesScraped: samples,
      dropped,
      refused: {
        duplicate_series: samples - dropped - layout.rows.length,
        timestamp_ahead: ahead,
        timestamp_behind: behind,
      },
    };
  }

  #extentsOf(layout: Layout, reading: TargetReading): Extents {
    let byContext = this.#extents.get(layout);
    if (!byContext) this.#extents.set(layout, (byContext = new Map()));
    const key = [...reading.labelNames].join();
    let extents = byContext.get(key);
    if (!extents) byContext.set(key, (extents = extentsOf(layout, reading.labelNames)));
    return extents;
  }

  /** The shape that the body turns out to have, its values read; undefined when it has none of those at hand. */
  #recognize(
    reading: TargetReading,
    context: string,
    body: Uint8Array,
    format: ExpositionFormat,
    nowMs: number,
  ): Shape | undefined {
    if (!this.#kernel.load(body)) return undefined;
    const recent = this.#recent.get(context);
    for (const shape of recent === reading.shape ? [recent] : [reading.shape, recent]) {
      if (shape && this.#walk(shape, reading, body, format, nowMs)) return shape;
    }
    return undefined;
  }

  /** Reads the values of the loaded body if it has that shape. False when it has not, or when anything else is odd. */
  #walk(shape: Shape, reading: TargetReading, body: Uint8Array, format: ExpositionFormat, nowMs: number): boolean {
    const kernel = this.#kernel;
    this.#begin();
    if (!kernel.begin(shape)) return false;
    let reader: ExpositionReader | undefined;
    for (;;) {
      const end = kernel.walk(format === "text");
      if (end === "differs") return false;
      for (let i = 0; i < kernel.timestampCount; i++) {
        this.#noteTimestamp(kernel.timestampRows[i]!, kernel.timestampsMs[i]!, reading, nowMs);
      }
      // Heads are known to be UTF-8 and values are digits, but exemplars are text and new each time.
      if (end === "done") return this.#exemplars.length === 0 || isUtf8(body);
      reader ??= new ExpositionReader(body, format, { utf8Checked: true });
      reader.at = kernel.at;
      const row = shape.rowOf[kernel.line]!;
      try {
        reader.tail(row >= 0 ? this.#values : this.#spare, Math.max(0, row));
      } catch (error) {
        // The line only begins like the known one, or it is wrong: reading the body whole tells which, with the line's number.
        if (error instanceof BadExposition) return false;
        throw error;
      }
      if (row >= 0) this.#note(row, reader, reading, nowMs);
      kernel.resume(reader.at);
    }
  }

  #learn(reading: TargetReading, context: string, body: Uint8Array, format: ExpositionFormat, nowMs: number): Shape {
    this.learned++;
    const reader = new ExpositionReader(body, format);
    const values = this.#values;
    const lines = new Lines();
    const rows: { readonly head: KnownHead; readonly labels: Labels }[] = [];
    const families = new Families();
    const seen = new Map<string, number>();
    const duplicatesOf: number[] = [];
    let samples = 0;
    this.#begin();
    for (;;) {
      const kind = reader.next();
      if (kind === "end") break;
      this.#checkLine(reader, lines.count);
      if (kind !== "sample") {
        if (kind !== "comment") families.declare(reader.family, kind, kind === "type" ? reader.type : reader.metadata);
        lines.add(reader.lineStart, reader.at, noSample);
        continue;
      }
      const headEnd = reader.at;
      const head = this.#understand(reader, body, headEnd);
      const labels = rowLabels(head.labels, reading.labelNames, reading.target.options.honorLabels);
      const key = seriesKey(head, labels, reading);
      samples++;
      const before = seen.get(key);
      if (before !== undefined) {
        duplicatesOf.push(before);
        reader.tail(this.#spare, 0);
        lines.add(reader.lineStart, headEnd, duplicateSample);
        continue;
      }
      if (rows.length === seriesPerScrapeMax) {
        throw new BadExposition(
          "too_many_series",
          lines.count + 1,
          `expected at most ${seriesPerScrapeMax} series in one scrape, got more`,
        );
      }
      const row = rows.length;
      seen.set(key, row);
      rows.push({ head, labels });
      values.reserve(row + 1);
      reader.tail(values, row);
      this.#note(row, reader, reading, nowMs);
      lines.add(reader.lineStart, headEnd, row);
    }
    if (reader.at > reader.lineStart) lines.add(reader.lineStart, reader.at, noSample);

    const heads = lines.heads(body);
    const key = contentId(context, "\n", heads);
    const known = this.#shapes.get(key);
    if (known) return known;
    const layoutRows = rows.map(({ head, labels }) => {
      const family = families.indexFor(head.name);
      if (head.row?.family !== family || head.row.labels !== labels) {
        head.row = { name: head.name, labels, kind: "float", family };
      }
      return head.row;
    });
    const made = layoutOf(layoutRows, families.used);
    const layout = this.#layouts.get(made.id) ?? made;
    this.#layouts.set(layout.id, layout);
    const shape: Shape = {
      heads,
      headEnds: lines.headEnds(),
      rowOf: lines.rowOf(),
      layout,
      samples,
      duplicatesOf,
    };
    this.#shapes.set(key, shape);
    return shape;
  }

  #understand(reader: ExpositionReader, body: Uint8Array, headEnd: number): KnownHead {
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString(
      "latin1",
      reader.lineStart,
      headEnd,
    );
    const known = this.#heads.get(text);
    if (known) return known;
    const { name, labels } = reader.head();
    const head: KnownHead = { name, labels, key: keyOf(name, labels), row: undefined };
    if (text.length <= headCachedBytesMax) this.#heads.set(text, head);
    return head;
  }

  /** `reader` stands behind the head, or behind a line without a sample. */
  #checkLine(reader: ExpositionReader, linesBefore: number): void {
    const line = linesBefore + 1;
    if (line > linesPerScrapeMax) {
      throw new BadExposition(
        "too_many_lines",
        line,
        `expected at most ${linesPerScrapeMax} lines in one scrape, got more`,
      );
    }
    const headBytes = reader.at - reader.lineStart;
    if (headBytes > headBytesMax) {
      const message = `expected at most ${headBytesMax} bytes of name and labels, or of a comment, got ${headBytes}`;
      throw new BadExposition("too_long", line, message);
    }
  }

  #begin(): void {
    if (this.#timestamps.length > 0) this.#timestamps = [];
    if (this.#exemplars.length > 0) this.#exemplars = [];
    this.#ahead.length = 0;
    this.#behind.length = 0;
  }

  /** Takes what the last tail had beside its value. */
  #note(row: number, reader: ExpositionReader, reading: TargetReading, nowMs: number): void {
    if (reader.exemplar) this.#exemplars.push({ row, ...reader.exemplar });
    if (reader.hasTimestamp) this.#noteTimestamp(row, reader.timestampMs, reading, nowMs);
  }

  #noteTimestamp(row: number, timestampMs: number, reading: TargetReading, nowMs: number): void {
    if (!reading.target.options.honorTimestamps) return;
    if (timestampMs > nowMs + timestampAheadMsMax) {
      this.#values.setAbsent(row);
      this.#ahead.push(row);
    } else if (timestampMs < nowMs - timestampBehindMsMax) {
      this.#values.setAbsent(row);
      this.#behind.push(row);
    } else this.#timestamps.push({ row, timestampMs });
  }
}

function outcomeOf(
  code: BadExpositionCode,
): Extract<Outcome, "failed_parse" | "failed_sample_limit" | "failed_label_limit"> {
  switch (code) {
    case "too_many_series":
    case "too_many_lines":
      return "failed_sample_limit";
    case "too_long":
      return "failed_label_limit";
    case "syntax":
    case "bad_utf8":
    case "no_eof":
      return "failed_parse";
    default:
      return code satisfies never;
  }
}

function countOf(numbers: Int32Array, wanted: number): number {
  let count = 0;
  for (let i = 0; i < numbers.length; i++) if (numbers[i] === wanted) count++;
  return count;
}

/** How many series the layout has that the one before had not; all of them when there was none. */
export function seriesAdded(previous: Layout | undefined, layout: Layout): number {
  if (previous === layout) return 0;
  if (!previous) return layout.rows.length;
  const before = new Set(previous.rows.map((row) => keyOf(row.name, row.labels)));
  let added = 0;
  for (const row of layout.rows) if (!before.has(keyOf(row.name, row.labels))) added++;
  return added;
}

/** What `Content-Type` says; Prometheus too takes anything but OpenMetrics for the text format. */
export function formatOf(contentType: string): ExpositionFormat {
  return /^\s*application\/openmetrics-text\s*(;|$)/i.test(contentType) ? "openmetrics" : "text";
}

/** Equal keys mean the same series of this target. */
function seriesKey(head: KnownHead, labels: Labels, reading: TargetReading): string {
  if (reading.target.options.honorLabels) return labelsKey(mergeLabels(reading.target.labels, labels, head.name));
  return labels === head.labels ? head.key : keyOf(head.name, labels);
}

function keyOf(name: string, labels: Labels): string {
  return `${name.length}:${name}${labelsKey(labels)}`;
}

/** Where the lines of a body lie while it is learnt. */
class Lines {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #rows: number[] = [];

  get count(): number {
    return this.#rows.length;
  }

  add(headStart: number, headEnd: number, row: number): void {
    this.#starts.push(headStart);
    this.#ends.push(headEnd);
    this.#rows.push(row);
  }

  heads(body: Uint8Array): Uint8Array {
    let bytes = 0;
    for (let i = 0; i < this.count; i++) bytes += this.#ends[i]! - this.#starts[i]!;
    const heads = new Uint8Array(bytes);
    let at = 0;
    for (let i = 0; i < this.count; i++) {
      heads.set(body.subarray(this.#starts[i]!, this.#ends[i]!), at);
      at += this.#ends[i]! - this.#starts[i]!;
    }
    return heads;
  }

  /** In the bytes of `heads`. */
  headEnds(): Uint32Array {
    let at = 0;
    return Uint32Array.from(this.#ends, (end, i) => (at += end - this.#starts[i]!));
  }

  rowOf(): Int32Array {
    return Int32Array.from(this.#rows);
  }
}

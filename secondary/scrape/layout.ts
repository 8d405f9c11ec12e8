// Turns a body into a column of values and the layout that says what they are, without understanding the same line twice.
//
// A target exposes the same lines in the same order, scrape after scrape, and like targets expose the same lines too. What a
// body's lines have before their values is its *shape*: kept once for all targets that share it, with the layout that follows
// from it. A new body is walked beside its target's last shape; while the bytes are equal only values are read. A body that
// differs is read whole and gets another shape, known ones found by their content. Metric relabelling comes after that, and
// is nothing but choosing rows (relabel.ts); so is what the guard against floods does (guard.ts).

import { isUtf8 } from "node:buffer";

import { contentId } from "#/lib/bytes/hash.ts";
import { hourMs, minuteMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import type { Labels } from "#/lib/model/labels.ts";
import { type Layout, layoutOf } from "#/lib/model/layout.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import type { RowTimestamp } from "#/lib/model/scrape.ts";
import type { Target } from "#/lib/model/target.ts";

import { headBytesMax, linesPerScrapeMax, newHeadsPerLookMax, seriesPerScrapeMax } from "#/secondary/scrape/bounds.ts";
import type { Choice } from "#/secondary/scrape/choice.ts";
import { rowLabels } from "#/secondary/scrape/conflict.ts";
import { Families } from "#/secondary/scrape/family.ts";
import { Heads, type KnownHead, seriesKey } from "#/secondary/scrape/head.ts";
import { HalvedCache, Interned } from "#/secondary/scrape/interned.ts";
import { type WalkedShape, WalkKernel } from "#/secondary/scrape/kernel/walk.ts";
import { type Extents, exceededLimit, extentsOf } from "#/secondary/scrape/limit.ts";
import {
  BadExposition,
  type BadExpositionCode,
  type ExpositionFormat,
  ExpositionReader,
} from "#/secondary/scrape/parse.ts";
import type { Reading, RowExemplar, Steady, TargetReading } from "#/secondary/scrape/reading.ts";
import { BadRelabelling, LayoutRelabeller, type RelabelledLayout, rowDropped } from "#/secondary/scrape/relabel.ts";
import { duplicateSample, Lines, noSample, type Shape } from "#/secondary/scrape/shape.ts";
import { type Sieve, type Sieved, sieveOf } from "#/secondary/scrape/sieve.ts";

/** Prometheus' storage takes samples up to 10 minutes ahead; older than an hour lies before what a head still merges. */
export const timestampAheadMsMax = 10 * minuteMs;
export const timestampBehindMsMax = hourMs;

/** The last shape of each kind of target, tried for targets that are new. Jobs times formats, and room to spare. */
const recentShapesMax = 256;

/** Reads the bodies of all targets of one shard, one at a time. */
export class BodyReader {
  readonly #heads = new Heads();
  readonly #recent = new HalvedCache<Shape>({ weightMax: recentShapesMax });
  readonly #shapes = new Interned<Shape>();
  readonly #layouts = new Interned<Layout>();
  readonly #relabeller: LayoutRelabeller;
  /** Of each layout with each target's label names; wanted only where a target has limits on labels. */
  readonly #extents = new WeakMap<Layout, Map<string, Extents>>();
  readonly #kernel = new WalkKernel(seriesPerScrapeMax);
  readonly #values = this.#kernel.values;
  readonly #walked = new WeakMap<RelabelledLayout, WeakMap<Shape, WalkedShape>>();
  readonly #spare = new DecimalColumn(1);
  #timestamps: RowTimestamp[] = [];
  #exemplars: RowExemplar[] = [];
  /** Rows with timestamps too far from now. */
  readonly #ahead: number[] = [];
  readonly #behind: number[] = [];
  /** Of the last body that was read whole. */
  #linesLooked = 0;
  /** Bodies that had to be read whole. */
  learned = 0;
  /** Bodies of which only what was known was read. */
  sieved = 0;

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
    const steady = reading.judged?.format === format ? reading.judged.steady : undefined;
    if (steady && this.#kernel.load(body) && this.#walk(steady.walked, reading, body, format, nowMs)) {
      return this.#judgeSteady(reading, steady);
    }
    const context = `${format}/${reading.context}`;
    try {
      const shape = this.#recognize(reading, context, body, format, nowMs);
      if (shape) return this.#judgeWhole(reading, context, format, shape, 0);
      return this.#sift(reading, body, format, nowMs) ?? this.#look(reading, context, body, format, nowMs);
    } catch (error) {
      if (!(error instanceof BadExposition)) throw error;
      const outcome = outcomeOf(error.code);
      return { outcome, error: error.message, samplesScraped: 0, tooMuch: outcome === "failed_sample_limit" };
    }
  }

  #judgeSteady(reading: TargetReading, { dropped, duplicates, layout, samples }: Steady): Reading {
    this.#values.length = layout.rows.length;
    const ahead = this.#ahead.length;
    const behind = this.#behind.length;
    const stored = layout.rows.length - ahead - behind;
    const tooMany = exceededSampleLimit(reading.target, stored, samples);
    if (tooMany) return tooMany;
    return {
      outcome: stored + dropped === samples ? "stored" : "partial",
      layout,
      values: this.#values,
      timestamps: this.#timestamps,
      exemplars: this.#exemplars,
      samplesScraped: samples,
      dropped,
      refused: { duplicate_series: duplicates, timestamp_ahead: ahead, timestamp_behind: behind, cardinality: 0 },
      flood: reading.guard?.told(0) ?? "",
    };
  }

  /** Reads a body whole that is like none before; or, when it is too much for that, what is known of it. */
  #look(reading: TargetReading, context: string, body: Uint8Array, format: ExpositionFormat, nowMs: number): Reading {
    let learnt: { readonly shape: Shape; readonly unlearnt: number };
    const understood = this.#heads.understood;
    try {
      learnt = this.#learn(reading, context, body, format, nowMs);
    } catch (error) {
      const isTooMuch = error instanceof BadExposition && outcomeOf(error.code) !== "failed_parse";
      const sieve = isTooMuch ? sieveFor(reading, format) : undefined;
      if (!sieve) throw error;
      return this.#judgeSieved(reading, sieve, this.#readSieved(reading, sieve, body, nowMs));
    } finally {
      reading.guard?.looked(this.#linesLooked, this.#heads.understood - understood);
    }
    return this.#judgeWhole(reading, context, format, learnt.shape, learnt.unlearnt);
  }

  /** Reads only what is known of a body, while looking at all of it is not due or costs too much; undefined when it is due. */
  #sift(reading: TargetReading, body: Uint8Array, format: ExpositionFormat, nowMs: number): Reading | undefined {
    const { guard } = reading;
    if (!guard || (guard.isLookDue && guard.mayLook)) return undefined;
    const sieve = sieveFor(reading, format);
    if (!sieve) return undefined;
    const sieved = this.#readSieved(reading, sieve, body, nowMs);
    if (guard.isSuspicious(sieved.missing, sieve.layout.rows.length)) return undefined;
    return this.#judgeSieved(reading, sieve, sieved);
  }

  #readSieved(reading: TargetReading, sieve: Sieve, body: Uint8Array, nowMs: number): Sieved {
    this.sieved++;
    this.#begin();
    return sieve.read(body, this.#values, this.#spare, (row, reader) => this.#note(row, reader, reading, nowMs));
  }

  #judgeSieved(reading: TargetReading, sieve: Sieve, sieved: Sieved): Reading {
    const { dropped, duplicates, missing, samples, unknown } = sieved;
    let { layout } = sieve;
    if (missing > 0) {
      const part = sieve.part(this.#layouts);
      layout = part.layout;
      this.#move(part.kept, part.rowOf);
    }
    const ahead = this.#ahead.length;
    const behind = this.#behind.length;
    // Rules may drop what is not known, so with rules only what is known counts.
    const counted = layout.rows.length - ahead - behind + (reading.target.options.metricRelabel ? 0 : unknown);
    const exceeded = exceededSampleLimit(reading.target, counted, samples);
    if (exceeded) return exceeded;
    return {
      outcome: samples === dropped + layout.rows.length - ahead - behind ? "stored" : "partial",
      layout,
      values: this.#values,
      timestamps: this.#timestamps,
      exemplars: this.#exemplars,
      samplesScraped: samples,
      dropped,
      refused: { duplicate_series: duplicates, timestamp_ahead: ahead, timestamp_behind: behind, cardinality: unknown },
      flood: reading.guard?.told(unknown) ?? "",
    };
  }

  /** `unlearnt` are samples of the body that the shape has not: then it is good for this once. */
  #judgeWhole(
    reading: TargetReading,
    context: string,
    format: ExpositionFormat,
    shape: Shape,
    unlearnt: number,
  ): Reading {
    reading.shape = unlearnt === 0 ? shape : undefined;
    this.#values.length = shape.layout.rows.length;
    try {
      const relabelled = this.#relabelled(reading, shape);
      const judged = this.#judge(reading, format, shape, relabelled, unlearnt);
      const isWhole = "layout" in judged && judged.refused.cardinality === 0;
      if (isWhole && this.#recent.get(context) !== shape) this.#recent.set(context, shape);
      return judged;
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
    this.#move(relabelled.kept, relabelled.rowOf);
    return relabelled;
  }

  /** Leaves only these rows of what was read. */
  #move(kept: Int32Array, rowOf: Int32Array): void {
    this.#values.keep(kept);
    const moved = <T extends { readonly row: number }>(entries: readonly T[]) =>
      entries.filter(({ row }) => rowOf[row]! >= 0).map((entry) => ({ ...entry, row: rowOf[entry.row]! }));
    if (this.#timestamps.length > 0) this.#timestamps = moved(this.#timestamps);
    if (this.#exemplars.length > 0) this.#exemplars = moved(this.#exemplars);
  }

  /** Holds the limits against what is left, has the guard choose of it, and counts. */
  #judge(
    reading: TargetReading,
    format: ExpositionFormat,
    shape: Shape,
    relabelled: RelabelledLayout | undefined,
    unlearnt: number,
  ): Reading {
    const left = relabelled?.layout ?? shape.layout;
    const samples = shape.samples + unlearnt;
    const exceeded = exceededLimit(reading.target, () => this.#extentsOf(left, reading));
    if (exceeded) return { outcome: "failed_label_limit", error: exceeded, samplesScraped: samples, tooMuch: false };
    const isLeft = (row: number) => relabelled === undefined || relabelled.rowOf[row]! >= 0;
    const untimely =
      this.#ahead.length + this.#behind.length > 0 ? countIf(this.#ahead, isLeft) + countIf(this.#behind, isLeft) : 0;
    const tooMany = exceededSampleLimit(reading.target, left.rows.length - untimely + unlearnt, samples);
    if (tooMany) return tooMany;

    const choice = this.#choose(reading, format, { shape, relabelled, unlearnt });
    if (choice?.kept && choice.rowOf) this.#move(choice.kept, choice.rowOf);
    const isKept = (row: number) => {
      const rowLeft = relabelled ? relabelled.rowOf[row]! : row;
      return rowLeft >= 0 && (!choice?.rowOf || choice.rowOf[rowLeft]! >= 0);
    };
    const ahead = untimely > 0 ? countIf(this.#ahead, isKept) : 0;
    const behind = untimely > 0 ? countIf(this.#behind, isKept) : 0;
    const layout = choice?.layout ?? left;
    const stored = layout.rows.length - ahead - behind;
    const isDropped = (row: number) => relabelled?.rowOf[row] === rowDropped;
    const dropped = (relabelled ? countOf(relabelled.rowOf, rowDropped) : 0) + countIf(shape.duplicatesOf, isDropped);
    const cardinality = (choice?.refused ?? 0) + unlearnt;
    const duplicates = samples - dropped - left.rows.length - unlearnt;
    if (cardinality === 0 && reading.judged) {
      const walked = relabelled ? this.#walkedAfter(relabelled, shape) : shape;
      reading.judged.steady = { walked, layout, samples, dropped, duplicates };
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
        duplicate_series: duplicates,
        timestamp_ahead: ahead,
        timestamp_behind: behind,
        cardinality,
      },
      flood: reading.guard?.told(cardinality) ?? "",
    };
  }

  /** The shape, with the rows that the rules leave. */
  #walkedAfter(relabelled: RelabelledLayout, shape: Shape): WalkedShape {
    let ofShape = this.#walked.get(relabelled);
    if (!ofShape) this.#walked.set(relabelled, (ofShape = new WeakMap()));
    let walked = ofShape.get(shape);
    if (!walked) {
      const { headEnds, heads } = shape;
      // A row that is not left is read like one that came before: for nothing.
      const leftOf = (row: number) => (relabelled.rowOf[row]! < 0 ? duplicateSample : relabelled.rowOf[row]!);
      const rowOf = shape.rowOf.map((row) => (row < 0 ? row : leftOf(row)));
      ofShape.set(shape, (walked = { heads, headEnds, rowOf, headsOf: shape }));
    }
    return walked;
  }

  /** What the guard keeps; undefined without one. A choice holds while the shape does, and looks are not due. */
  #choose(
    reading: TargetReading,
    format: ExpositionFormat,
    { relabelled, shape, unlearnt }: { shape: Shape; relabelled: RelabelledLayout | undefined; unlearnt: number },
  ): Choice | undefined {
    const { guard, judged } = reading;
    const left = relabelled?.layout ?? shape.layout;
    if (judged?.shape === shape && judged.relabelled === relabelled) {
      if (!judged.choice || judged.choice.refused === 0 || !guard?.isLookDue) return judged.choice;
    }
    const choice = guard?.choose(left, unlearnt, this.#layouts);
    reading.judged = { format, shape, relabelled, choice, steady: undefined };
    reading.sieve = undefined;
    if (!choice || (unlearnt === 0 && choice.refused <= choice.layout.rows.length)) return choice;
    // Mostly flood: what is not kept is not remembered either.
    reading.sieve = sieveFor(reading, format);
    reading.judged = undefined;
    reading.shape = undefined;
    return choice;
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
      if (shape?.format === format && this.#walk(shape, reading, body, format, nowMs)) return shape;
    }
    return undefined;
  }

  /** Reads the values of the loaded body if it has that shape. False when it has not, or when anything else is odd. */
  #walk(
    shape: WalkedShape,
    reading: TargetReading,
    body: Uint8Array,
    format: ExpositionFormat,
    nowMs: number,
  ): boolean {
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
      if (end === "done") return !reader?.hasExemplars || isUtf8(body);
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

  #learn(
    reading: TargetReading,
    context: string,
    body: Uint8Array,
    format: ExpositionFormat,
    nowMs: number,
  ): { readonly shape: Shape; readonly unlearnt: number } {
    this.learned++;
    const reader = new ExpositionReader(body, format);
    const values = this.#values;
    const lines = new Lines();
    const rows: { readonly head: KnownHead; readonly labels: Labels }[] = [];
    const families = new Families();
    const seen = new Map<string, number>();
    const duplicatesOf: number[] = [];
    let samples = 0;
    let unlearnt = 0;
    /** Set when only what it knows is still learnt. */
    let known: Sieve | undefined;
    this.#linesLooked = 0;
    // Given up before it has cost anything: a `# EOF` may stand behind the last line.
    if (lineFeedsBeyond(body, linesPerScrapeMax + 1)) throw tooManyLines();
    const understoodMax = this.#heads.understood + newHeadsPerLookMax;
    this.#begin();
    for (let line = 1; ; line++) {
      const kind = reader.next();
      if (kind === "end") break;
      this.#linesLooked = line;
      this.#checkLine(reader, line);
      if (kind !== "sample") {
        if (kind !== "comment") families.declare(reader.family, kind, kind === "type" ? reader.type : reader.metadata);
        lines.add(reader.lineStart, reader.at, noSample);
        continue;
      }
      const headEnd = reader.at;
      if (understoodMax <= this.#heads.understood) known ??= sieveFor(reading, format);
      if (rows.length === seriesPerScrapeMax || known?.has(body, reader.lineStart, headEnd) === false) {
        unlearnt++;
        reader.tail(this.#spare, 0);
        continue;
      }
      // What a flood brings is not there the next time: it would only displace what is.
      const head = this.#heads.understand(reader, body, !reading.guard?.flooding);
      const labels = rowLabels(head.labels, reading.labelNames, reading.target.options.honorLabels);
      const key = seriesKey(head, labels, reading.target);
      samples++;
      const before = seen.get(key);
      if (before !== undefined) {
        duplicatesOf.push(before);
        reader.tail(this.#spare, 0);
        lines.add(reader.lineStart, headEnd, duplicateSample);
        continue;
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
    const shared = this.#shapes.get(key);
    if (shared) return { shape: shared, unlearnt };
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
      format,
      heads,
      headEnds: lines.headEnds(),
      rowOf: lines.rowOf(),
      layout,
      samples,
      duplicatesOf,
    };
    this.#shapes.set(key, shape);
    return { shape, unlearnt };
  }

  /** `reader` stands behind the head, or behind a line without a sample. */
  #checkLine(reader: ExpositionReader, line: number): void {
    if (line > linesPerScrapeMax) throw tooManyLines();
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

function tooManyLines(): BadExposition {
  const message = `expected at most ${linesPerScrapeMax} lines in one scrape, got more`;
  return new BadExposition("too_many_lines", linesPerScrapeMax + 1, message);
}

/** A twentieth of what it takes to understand lines that are known. */
function lineFeedsBeyond(body: Uint8Array, count: number): boolean {
  if (body.length <= count) return false;
  let at = -1;
  for (let seen = 0; seen <= count; seen++) {
    at = body.indexOf(lineFeed, at + 1);
    if (at < 0) return false;
  }
  return true;
}

const lineFeed = 10;

function outcomeOf(
  code: BadExpositionCode,
): Extract<Outcome, "failed_parse" | "failed_sample_limit" | "failed_label_limit"> {
  switch (code) {
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

function countIf(rows: readonly number[], holds: (row: number) => boolean): number {
  return rows.length === 0 ? 0 : rows.filter(holds).length;
}

/** What Prometheus' `sample_limit` forbids of this scrape, undefined when nothing. The guard's choice comes after it. */
function exceededSampleLimit(target: Target, samplesLeft: number, samplesScraped: number): Reading | undefined {
  const { sampleLimit } = target.options;
  if (sampleLimit === 0 || samplesLeft <= sampleLimit) return undefined;
  const error = `sample_limit exceeded: expected at most ${sampleLimit} samples, got ${samplesLeft}`;
  return { outcome: "failed_sample_limit", error, samplesScraped, tooMuch: false };
}

/** What is known of the target while its body is of that format; undefined while it was never read whole. */
function sieveFor(reading: TargetReading, format: ExpositionFormat): Sieve | undefined {
  const { judged } = reading;
  if (!reading.sieve && judged?.choice) {
    const { choice, relabelled, shape } = judged;
    reading.sieve = sieveOf(judged.format, shape, choice, relabelled);
  }
  return reading.sieve?.format === format ? reading.sieve : undefined;
}

/** What `Content-Type` says; Prometheus too takes anything but OpenMetrics for the text format. */
export function formatOf(contentType: string): ExpositionFormat {
  return /^\s*application\/openmetrics-text\s*(;|$)/i.test(contentType) ? "openmetrics" : "text";
}

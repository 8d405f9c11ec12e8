// One shard's scrapes become batches: the writer's side of a run.
//
// A scrape is coded against its target's one before, in the batch that is being filled; `flush` seals that batch. What the
// reader must know to follow is kept here in mirror image: per target the last column, per layout whether it was named. A
// target is keyframed (coded without reference) at first, when its layout changes, and in each `keyframeEveryMs` of slot time.

import { assert } from "#/lib/assert/assert.ts";
import { contentIdBytes } from "#/lib/bytes/hash.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import { type BatchHeader, sealBatch } from "#/lib/codec/batch.ts";
import { droppedRangeBytesMax, writeDropped } from "#/lib/codec/dropped.ts";
import { writeSection } from "#/lib/codec/envelope.ts";
import { columnKernel } from "#/lib/codec/kernel/column.ts";
import { type LayoutEntry, layoutEntry, namedLayoutEntry } from "#/lib/codec/layout.ts";
import {
  batchBodyBytesWritten,
  batchDroppedMax,
  batchLayoutMemoryMax,
  batchScrapesMax,
  keyframeEveryMs,
  runLayoutMemoryMax,
  runRowsMax,
  runTargetsMax,
  targetForgottenByWriterMs,
} from "#/lib/codec/limits.ts";
import { ScrapeColumns, scrapeBytesMax, scrapeFlags, sections } from "#/lib/codec/section.ts";
import { columnBytesMax, Reference } from "#/lib/codec/values.ts";
import type { DecimalColumn } from "#/lib/model/decimal.ts";
import type { DroppedRange } from "#/lib/model/dropped.ts";
import type { BatchId, RunId } from "#/lib/model/identity.ts";
import { type Labels, labelsKey } from "#/lib/model/labels.ts";
import type { Layout } from "#/lib/model/layout.ts";
import { isStored, outcomes } from "#/lib/model/outcome.ts";
import type { RowTimestamp, ScrapedTarget, ScrapeFacts } from "#/lib/model/scrape.ts";
import { phaseMs } from "#/lib/model/target.ts";

export interface OutgoingScrape {
  readonly target: ScrapedTarget;
  /** Times and sizes are rounded to whole numbers. */
  readonly facts: ScrapeFacts;
  /** Not looked at unless the outcome is stored or partial; the same goes for `values` and `timestamps`. */
  readonly layout: Layout;
  /** A row of the layout each. */
  readonly values: DecimalColumn;
  /** Ascending by row. */
  readonly timestamps: readonly RowTimestamp[];
}

export interface EncodedBatch {
  readonly id: BatchId;
  readonly header: BatchHeader;
  readonly bytes: Uint8Array;
  /** Times of the earliest and of the latest slot in it; without any, when it was sealed. */
  readonly slotsFromMs: number;
  readonly slotsUntilMs: number;
  /** That it tells of. */
  readonly dropped: readonly DroppedRange[];
}

/** The scrape fits into no batch, or the run refers to too much: nothing of it was taken. */
export class ScrapeTooLarge extends Error {
  override readonly name = "ScrapeTooLarge";
  readonly code = "scrape_too_large";
}

export interface SealTime {
  /** The wall clock. */
  readonly nowMs: number;
  /** Every slot of this shard before it has its outcome in what was added up to now. */
  readonly watermarkMs: number;
  readonly generation: number;
  /** Batches of earlier that its readers are to know of, `batchDroppedMax` at most. */
  readonly dropped?: readonly DroppedRange[];
}

interface KnownLayout {
  readonly number: number;
  memoryBytes: number;
  /** Slot time of the scrape with which the rows were last sent. */
  sentMs: number;
  /** Targets whose reference has it. Without any it is forgotten when the batch is sealed, and the reader does the same. */
  targets: number;
}

interface KnownTarget {
  readonly number: number;
  readonly target: ScrapedTarget;
  readonly phaseMs: number;
  /** What naming it in a batch takes at most. */
  readonly announcementBytesMax: number;
  /** Shifts its keyframes against those of the others. */
  readonly spreadMs: number;
  /** The stretch of slot time whose keyframe it has or is due for. */
  stretch: number;
  keyframeDue: boolean;
  reference: Reference | undefined;
  layout: Layout | undefined;
  /** The sequence of the batch that last named it. */
  announcedIn: number;
  /** The sequence of the batch that has its last scrape, and when that was sealed. */
  lastIn: number;
  lastSealedMs: number;
}

/** A batch that is being filled. */
class OpenBatch {
  readonly sequence: number;
  readonly targets: KnownTarget[] = [];
  readonly timesMs: number[] = [];
  readonly columns = new ScrapeColumns();
  readonly layoutSection = new ByteWriter(1024);
  readonly targetSection = new ByteWriter(1024);
  readonly valueSection = new ByteWriter(16384);
  readonly timestampSection = new ByteWriter(64);
  readonly layoutsNamed = new Set<number>();
  layoutMemoryBytes = 0;
  samples = 0;

  constructor(sequence: number) {
    this.sequence = sequence;
  }

  get bytes(): number {
    const { layoutSection, targetSection, timestampSection, valueSection } = this;
    return layoutSection.length + targetSection.length + valueSection.length + timestampSection.length;
  }

  /** The most that the body can come to. */
  get bytesMax(): number {
    return this.bytes + this.columns.count * scrapeBytesMax + batchDroppedMax * droppedRangeBytesMax + 64;
  }
}

/** What a scrape takes in SCRAPES and beside its values, for estimates: measured with 5,000 targets. */
const scrapeBytesUsual = 20;

export class RunEncoder {
  readonly #run: RunId;
  readonly #keyframeEveryMs: number;
  readonly #targets = new Map<string, KnownTarget>();
  readonly #layouts = new Map<string, KnownLayout>();
  /** Filled up before they were asked for; oldest first. */
  readonly #full: OpenBatch[] = [];
  #open = new OpenBatch(1);
  #targetsNumbered = 0;
  #layoutsNumbered = 0;
  #rows = 0;
  #layoutMemoryBytes = 0;
  #watermarkMs = 0;

  constructor(run: RunId, options: { readonly keyframeEveryMs?: number } = {}) {
    this.#run = { ...run };
    this.#keyframeEveryMs = options.keyframeEveryMs ?? keyframeEveryMs;
  }

  get pendingScrapes(): number {
    let scrapes = this.#open.columns.count;
    for (const batch of this.#full) scrapes += batch.columns.count;
    return scrapes;
  }

  /** Before compression, which leaves about a half. A megabyte is a good time to flush. */
  get pendingBytes(): number {
    let bytes = this.#open.bytes;
    for (const batch of this.#full) bytes += batch.bytes;
    return bytes + this.pendingScrapes * scrapeBytesUsual;
  }

  /** Takes a scrape into the batch that is being filled, and copies what it needs. Throws ScrapeTooLarge. */
  add(scrape: OutgoingScrape): void {
    const { facts, layout } = scrape;
    const state = this.#targetOf(scrape.target);
    const slotMs = state.phaseMs + facts.slot * state.target.intervalMs;
    const stretch = Math.floor((slotMs + state.spreadMs) / this.#keyframeEveryMs);
    const begins = stretch !== state.stretch;
    const stored = isStored(facts.outcome);
    const keyframe = stored && (begins || state.keyframeDue || state.layout?.id !== layout.id);
    let flags = 0;
    if (stored) {
      flags = this.#addColumn(state, scrape, keyframe, slotMs);
    } else this.#makeRoom(scrapeBytesMax + state.announcementBytesMax);
    if (begins || keyframe || state.announcedIn === 0) this.#announce(state);
    this.#addFacts(state, facts, flags);
    state.stretch = stretch;
    state.keyframeDue = !keyframe && (begins || state.keyframeDue);
  }

  /**
   * Seals the oldest batch that has something in it; undefined when nothing is pending and no dropped range is to be told. When more was added than one batch
   * holds, several calls are needed, and only the last one brings the watermark forward.
   */
  flush(at: SealTime): EncodedBatch | undefined {
    const dropped = at.dropped ?? [];
    assert(dropped.length <= batchDroppedMax, `a batch tells of ${batchDroppedMax} dropped ranges at most`);
    if (this.#full.length === 0 && (this.#open.columns.count > 0 || dropped.length > 0)) this.#close();
    const batch = this.#full.shift();
    if (!batch) return undefined;
    if (this.pendingScrapes === 0) this.#watermarkMs = Math.floor(at.watermarkMs);
    const createdMs = Math.round(at.nowMs);
    const { body, ...slots } = bodyOf(batch, createdMs, at.generation, dropped);
    const id: BatchId = { ...this.#run, sequence: batch.sequence };
    const header: BatchHeader = {
      ...id,
      createdMs,
      generation: at.generation,
      watermarkMs: this.#watermarkMs,
      scrapes: batch.columns.count,
      samples: batch.samples,
      bodyBytes: body.length,
    };
    this.#forgetTargets(batch, createdMs);
    return { id, header, bytes: sealBatch(header, body), ...slots, dropped };
  }

  #targetOf(target: ScrapedTarget): KnownTarget {
    const known = this.#targets.get(target.id);
    if (known) {
      if (known.target === target) return known;
      const same = known.target.intervalMs === target.intervalMs && sameLabels(known.target.labels, target.labels);
      if (same) return known;
      // A number means one target with one interval for as long as the run lasts.
      this.#forget(known);
    }
    if (this.#targets.size >= runTargetsMax) throw tooLarge(target, `at most ${runTargetsMax} targets in a run`);
    const state: KnownTarget = {
      number: ++this.#targetsNumbered,
      target,
      phaseMs: phaseMs(target.id, target.intervalMs),
      announcementBytesMax: announcementBytesMax(target),
      // Other digits than the phase's, so that the targets of one slot are not all keyframed at once.
      spreadMs: Number.parseInt(target.id.slice(16, 28), 16) % this.#keyframeEveryMs,
      stretch: Number.NaN,
      keyframeDue: true,
      reference: undefined,
      layout: undefined,
      announcedIn: 0,
      lastIn: this.#open.sequence,
      lastSealedMs: Number.NEGATIVE_INFINITY,
    };
    this.#targets.set(target.id, state);
    return state;
  }

  /** Writes the values and what belongs to them, or throws and has written nothing. Returns the scrape's flags. */
  #addColumn(state: KnownTarget, scrape: OutgoingScrape, keyframe: boolean, slotMs: number): number {
    const { facts, layout, timestamps, values } = scrape;
    const rows = layout.rows.length;
    assert(values.length === rows, `expected a value for each of ${rows} rows, got ${values.length}`);
    const old = state.reference;
    if (this.#rows - (old?.rows ?? 0) + rows > runRowsMax)
      throw tooLarge(state.target, `at most ${runRowsMax} rows in a run`);

    const besides = scrapeBytesMax + state.announcementBytesMax + timestamps.length * timestampBytesMax + 8;
    let naming = keyframe ? this.#naming(layout, slotMs, state) : undefined;
    if (
      this.#makeRoom(besides + columnBytesMax(rows) + (naming?.entry.bytes.length ?? 0), naming?.entry.memoryBytes) &&
      naming
    ) {
      naming = this.#naming(layout, slotMs, state);
    }
    const bytesMax = batchBodyBytesWritten - this.#open.bytesMax - besides - (naming?.entry.bytes.length ?? 0);

    const reference = old?.rows === rows ? old : new Reference(rows);
    const kernel = columnKernel();
    // The worst case is far above the usual one: a large column is tried, and given up when it really does not fit.
    const bytes = kernel.write(values, reference, keyframe);
    if (bytes > bytesMax) throw tooLarge(state.target, `at most ${bytesMax} bytes for ${rows} rows, got ${bytes}`);
    const { columns, valueSection } = this.#open;
    kernel.take(valueSection.reserve(bytes), valueSection.length, reference);
    valueSection.length += bytes;
    columns.reserve(columns.count + 1);
    columns.valueBytes[columns.count] = bytes;
    this.#open.samples += kernel.samples;
    if (naming) {
      this.#adopt(state, layout, reference, naming);
      columns.layout[columns.count] = naming.known.number;
    }
    if (timestamps.length > 0) writeTimestamps(this.#open.timestampSection, timestamps, Math.round(facts.timestampMs));
    return (
      scrapeFlags.values | (keyframe ? scrapeFlags.keyframe : 0) | (timestamps.length > 0 ? scrapeFlags.timestamps : 0)
    );
  }

  /** How the batch that is being filled names a layout; an empty entry when it has done so already. */
  #naming(layout: Layout, slotMs: number, state: KnownTarget): LayoutNaming {
    const known = this.#layouts.get(layout.id) ?? {
      number: this.#layoutsNumbered + 1,
      memoryBytes: 0,
      sentMs: Number.NaN,
      targets: 0,
    };
    if (this.#open.layoutsNamed.has(known.number)) return { known, entry: nothing, sentMs: known.sentMs };
    if (Math.abs(slotMs - known.sentMs) < this.#keyframeEveryMs) {
      return { known, entry: namedLayoutEntry(known.number, layout), sentMs: known.sentMs };
    }
    const entry = layoutEntry(known.number, layout);
    if (!entry) throw tooLarge(state.target, `a layout within the limits, got ${layout.rows.length} rows`);
    if (entry.bytes.length > layoutEntryBytesMax) {
      const got = `got ${entry.bytes.length}`;
      throw tooLarge(state.target, `at most ${layoutEntryBytesMax} bytes of compressed layout, ${got}`);
    }
    if (this.#layoutMemoryBytes + entry.memoryBytes > runLayoutMemoryMax) {
      throw tooLarge(state.target, `at most ${runLayoutMemoryMax} bytes of layouts in a run`);
    }
    return { known, entry, sentMs: slotMs };
  }

  #adopt(state: KnownTarget, layout: Layout, reference: Reference, { known, entry, sentMs }: LayoutNaming): void {
    if (known.number > this.#layoutsNumbered) {
      this.#layoutsNumbered = known.number;
      this.#layouts.set(layout.id, known);
      this.#layoutMemoryBytes += known.memoryBytes = entry.memoryBytes;
    }
    known.sentMs = sentMs;
    this.#open.layoutsNamed.add(known.number);
    this.#open.layoutSection.bytes(entry.bytes);
    this.#open.layoutMemoryBytes += entry.memoryBytes;
    known.targets++;
    this.#release(state);
    this.#rows += reference.rows;
    state.layout = layout;
    state.reference = reference;
  }

  /** The target's reference is no more. */
  #release(state: KnownTarget): void {
    if (!state.layout) return;
    this.#layouts.get(state.layout.id)!.targets--;
    this.#rows -= state.reference!.rows;
    state.layout = undefined;
    state.reference = undefined;
  }

  #announce(state: KnownTarget): void {
    if (state.announcedIn === this.#open.sequence) return;
    state.announcedIn = this.#open.sequence;
    writeTarget(this.#open.targetSection, state.number, state.target);
  }

  #addFacts(state: KnownTarget, facts: ScrapeFacts, flags: number): void {
    const { columns } = this.#open;
    const i = columns.count;
    columns.reserve(i + 1);
    columns.count = i + 1;
    columns.target[i] = state.number;
    columns.flags[i] = flags;
    columns.outcome[i] = outcomes.indexOf(facts.outcome);
    columns.slot[i] = facts.slot;
    columns.generation[i] = facts.generation;
    columns.timestamp[i] = Math.round(facts.timestampMs);
    columns.durationUs[i] = whole(facts.durationUs);
    columns.bodyBytes[i] = whole(facts.bodyBytes);
    columns.samplesScraped[i] = whole(facts.samplesScraped);
    columns.seriesRefused[i] = whole(facts.seriesRefused);
    columns.seriesAdded[i] = whole(facts.seriesAdded);
    this.#open.targets.push(state);
    state.lastIn = this.#open.sequence;
  }

  /** Closes the batch that is being filled when so much more might not fit; true when it did. */
  #makeRoom(bytes: number, layoutMemoryBytes = 0): boolean {
    const { bytesMax, columns } = this.#open;
    const fits =
      columns.count < batchScrapesMax &&
      bytesMax + bytes <= batchBodyBytesWritten &&
      this.#open.layoutMemoryBytes + layoutMemoryBytes <= batchLayoutMemoryMax;
    if (fits || columns.count === 0) return false;
    this.#close();
    return true;
  }

  #close(): void {
    this.#full.push(this.#open);
    this.#open = new OpenBatch(this.#open.sequence + 1);
    for (const [id, layout] of this.#layouts) {
      if (layout.targets > 0) continue;
      this.#layouts.delete(id);
      this.#layoutMemoryBytes -= layout.memoryBytes;
    }
  }

  #forgetTargets(sealed: OpenBatch, createdMs: number): void {
    for (const state of sealed.targets) if (state.lastIn === sealed.sequence) state.lastSealedMs = createdMs;
    for (const state of this.#targets.values()) {
      const ageMs = createdMs - state.lastSealedMs;
      if (state.lastIn <= sealed.sequence && ageMs > targetForgottenByWriterMs) this.#forget(state);
    }
  }

  #forget(state: KnownTarget): void {
    this.#release(state);
    this.#targets.delete(state.target.id);
  }
}

interface LayoutNaming {
  readonly known: KnownLayout;
  readonly entry: LayoutEntry;
  readonly sentMs: number;
}

const nothing: LayoutEntry = { bytes: new Uint8Array(0), memoryBytes: 0 };

/** Half a body: the other half is for the values. */
const layoutEntryBytesMax = batchBodyBytesWritten / 2;

const timestampBytesMax = 4 + 8;

function bodyOf(batch: OpenBatch, createdMs: number, generation: number, dropped: readonly DroppedRange[]) {
  const { columns, targets } = batch;
  let lastTarget = 0;
  let slotsFromMs = Number.POSITIVE_INFINITY;
  let slotsUntilMs = 0;
  for (let i = 0; i < columns.count; i++) {
    const { number, phaseMs, target } = targets[i]!;
    columns.target[i] = number - lastTarget;
    lastTarget = number;
    const slot = columns.slot[i]!;
    const slotMs = phaseMs + slot * target.intervalMs;
    slotsFromMs = Math.min(slotsFromMs, slotMs);
    slotsUntilMs = Math.max(slotsUntilMs, slotMs);
    columns.timestamp[i]! -= slotMs;
    columns.slot[i] = Math.floor((createdMs - phaseMs) / target.intervalMs) - slot;
    columns.generation[i] = generation - columns.generation[i]!;
  }
  const scrapeSection = new ByteWriter(columns.count * scrapeBytesUsual + 64);
  columns.write(scrapeSection);
  const droppedSection = new ByteWriter(dropped.length * droppedRangeBytesMax);
  writeDropped(droppedSection, dropped);
  const body = new ByteWriter(batch.bytes + scrapeSection.length + droppedSection.length + 64);
  for (const [type, section] of [
    [sections.layouts, batch.layoutSection],
    [sections.targets, batch.targetSection],
    [sections.scrapes, scrapeSection],
    [sections.values, batch.valueSection],
    [sections.timestamps, batch.timestampSection],
    [sections.dropped, droppedSection],
  ] as const) {
    if (section.length > 0) writeSection(body, type, section.view());
  }
  if (columns.count === 0) slotsFromMs = slotsUntilMs = createdMs;
  return { body: body.view(), slotsFromMs, slotsUntilMs };
}

function writeTarget(writer: ByteWriter, number: number, target: ScrapedTarget): void {
  writer.varint(number);
  writer.bytes(contentIdBytes(target.id));
  writer.varint(target.intervalMs);
  writer.varint(target.labels.length);
  for (const [name, value] of target.labels) {
    writer.string(name);
    writer.string(value);
  }
}

function announcementBytesMax(target: ScrapedTarget): number {
  let bytes = 8 + 16 + 8 + 4;
  // UTF-8 has at most 3 bytes for a UTF-16 unit.
  for (const [name, value] of target.labels) bytes += 16 + (name.length + value.length) * 3;
  return bytes;
}

function writeTimestamps(writer: ByteWriter, timestamps: readonly RowTimestamp[], scrapeMs: number): void {
  writer.varint(timestamps.length);
  let last = -1;
  for (const { row, timestampMs } of timestamps) {
    writer.varint(row - last - 1);
    writer.zigzag(Math.round(timestampMs) - scrapeMs);
    last = row;
  }
}

function sameLabels(a: Labels, b: Labels): boolean {
  return a === b || labelsKey(a) === labelsKey(b);
}

function whole(value: number): number {
  return Math.max(0, Math.round(value));
}

function tooLarge(target: ScrapedTarget, expected: string): ScrapeTooLarge {
  return new ScrapeTooLarge(`target ${target.id}: expected ${expected}`);
}

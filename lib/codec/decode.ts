// Batches become scrapes again: the reader's side of a run.
//
// A batch is read in two passes. The first looks at every byte and decides what each scrape is, changing nothing; whatever is
// wrong is thrown there. The second cannot fail: it moves the references on and hands the scrapes out. So a batch is taken
// whole or not at all, and one that was refused is no more than a hole in its run, like one that never came: references
// across it are void, and scrapes that need them are counted unreadable until their target's next keyframe.

import { contentIdFromBytes } from "#/lib/bytes/hash.ts";
import { ByteReader } from "#/lib/bytes/reader.ts";
import { BadBatch, type BatchHeader, batchVersion, openBatch, refuseBatch, sameRun } from "#/lib/codec/batch.ts";
import { readDropped } from "#/lib/codec/dropped.ts";
import { inflate, readSections, understood } from "#/lib/codec/envelope.ts";
import { idBytes, readCount, readLabels, readLayouts } from "#/lib/codec/layout.ts";
import {
  layoutMemoryBytes,
  runLayoutMemoryMax,
  runRowsMax,
  runTargetsMax,
  targetForgottenByReaderMs,
} from "#/lib/codec/limits.ts";
import { ScrapeColumns, scrapeFlags, scrapeFlagsKnown, sections } from "#/lib/codec/section.ts";
import { checkColumn, Reference, readColumn } from "#/lib/codec/values.ts";
import type { DroppedRange } from "#/lib/model/dropped.ts";
import { type RunId, runKey } from "#/lib/model/identity.ts";
import { type Layout, layoutEmpty } from "#/lib/model/layout.ts";
import { isStored, outcomes } from "#/lib/model/outcome.ts";
import type { RowTimestamp, Scrape, ScrapedTarget } from "#/lib/model/scrape.ts";
import { phaseMs } from "#/lib/model/target.ts";
import { wordsOf } from "#/lib/model/value.ts";

export interface DecodedBatch {
  readonly header: BatchHeader;
  /** Handed out. */
  readonly scrapes: number;
  /** In them. */
  readonly samples: number;
  /** Not handed out, because what they refer to was in a batch that is missing here. */
  readonly unreadable: number;
  /** Batches of the same secondary that nobody will get any more, as this one tells. */
  readonly dropped: readonly DroppedRange[];
}

export interface DecoderOptions {
  /** Layouts known from elsewhere, by id: their rows are then neither read nor kept twice. */
  readonly layoutOf?: (id: string) => Layout | undefined;
}

/** What a reader of runs needs of a decoder. */
export type BatchDecoder = Pick<RunDecoder, "decode" | "sequence">;

interface NumberedLayout {
  readonly number: number;
  readonly layout: Layout;
  readonly memoryBytes: number;
  /** That have it. Without any it is forgotten after the batch, and the writer does the same. */
  targets: number;
}

interface KnownTarget {
  readonly target: ScrapedTarget;
  readonly phaseMs: number;
  reference: Reference | undefined;
  layout: NumberedLayout | undefined;
  /** References of another epoch are void: a hole lies between. */
  epoch: number;
  lastSeenMs: number;
  /** The plan that last looked at it, and the layout that it will have after that plan's scrapes so far. */
  plan: number;
  planned: NumberedLayout | undefined;
}

/** lost: a keyframe of a layout that is not known here. */
type ScrapeKind = "facts" | "keyframe" | "delta" | "lost";

/** What the first pass found of one scrape. */
interface PlannedScrape {
  readonly index: number;
  readonly state: KnownTarget;
  readonly slot: number;
  readonly timestampMs: number;
  readonly generation: number;
  readonly kind: ScrapeKind;
  /** Of keyframes and deltas. */
  readonly layout: NumberedLayout | undefined;
  readonly valuesAt: number;
  readonly timestamps: readonly RowTimestamp[];
}

interface Plan {
  readonly number: number;
  readonly header: BatchHeader;
  readonly epoch: number;
  readonly newTargets: Map<number, KnownTarget>;
  readonly layouts: Map<number, NumberedLayout | undefined>;
  readonly values: Uint8Array;
  readonly scrapes: PlannedScrape[];
  readonly dropped: readonly DroppedRange[];
  unreadable: number;
  /** That the run's references will have. */
  rows: number;
}

const nothing = new Uint8Array(0);
const noTimestamps: readonly RowTimestamp[] = [];

export class RunDecoder {
  readonly #run: RunId;
  readonly #layoutOf: (id: string) => Layout | undefined;
  readonly #targets = new Map<number, KnownTarget>();
  readonly #layouts = new Map<number, NumberedLayout>();
  readonly #columns = new ScrapeColumns();
  #values = new Float64Array(1024);
  #valueWords = wordsOf(this.#values);
  #sequence = 0;
  #epoch = 0;
  #plans = 0;
  #rows = 0;
  #layoutMemoryBytes = 0;

  constructor(run: RunId, options: DecoderOptions = {}) {
    this.#run = { ...run };
    this.#layoutOf = options.layoutOf ?? (() => undefined);
  }

  /** Of the last batch that was decoded; 0 before the first. */
  get sequence(): number {
    return this.#sequence;
  }

  /**
   * The batch's sequence must be above the last one's; a gap is a hole. Throws BadBatch, and then nothing has changed and
   * nothing was handed out. When `onScrape` throws, the rest of the batch is lost, and a hole.
   */
  decode(bytes: Uint8Array, onScrape: (scrape: Scrape) => void): DecodedBatch {
    const { header, body: compressed } = openBatch(bytes);
    if (!sameRun(header, this.#run)) {
      throw new BadBatch("wrong_run", 0, `expected a batch of ${runKey(this.#run)}, got one of ${runKey(header)}`);
    }
    if (header.sequence <= this.#sequence) {
      const expected = `expected a sequence above ${this.#sequence}`;
      throw new BadBatch("out_of_order", 0, `${runKey(this.#run)}: ${expected}, got ${header.sequence}`);
    }
    const body = inflate(compressed, header.bodyBytes, "body", refuseBatch);
    return this.#apply(this.#plan(header, body), onScrape);
  }

  /** The first pass. It reads what is known and writes nothing but the targets' `plan` and `planned`. */
  #plan(header: BatchHeader, body: Uint8Array): Plan {
    const found = readSections(body, Object.values(sections), refuseBatch);
    const plan: Plan = {
      number: ++this.#plans,
      header,
      epoch: header.sequence === this.#sequence + 1 ? this.#epoch : this.#epoch + 1,
      newTargets: this.#planTargets(found.get(sections.targets) ?? nothing),
      layouts: this.#planLayouts(found.get(sections.layouts) ?? nothing),
      values: found.get(sections.values) ?? nothing,
      scrapes: [],
      dropped: readDropped(found.get(sections.dropped) ?? nothing, header),
      unreadable: 0,
      rows: this.#rows,
    };
    readColumns(this.#columns, found.get(sections.scrapes) ?? nothing, header.scrapes);
    understood("timestamps", refuseBatch, () => {
      const timestamps = new ByteReader(found.get(sections.timestamps) ?? nothing);
      this.#planScrapes(plan, timestamps);
      if (timestamps.remaining > 0) throw bad(timestamps.offset, "timestamps: expected their end, got more bytes");
    });
    return plan;
  }

  #planTargets(section: Uint8Array): Map<number, KnownTarget> {
    const targets = new Map<number, KnownTarget>();
    understood("targets", refuseBatch, () => {
      const reader = new ByteReader(section);
      while (reader.remaining > 0) {
        const at = reader.offset;
        const number = reader.varint();
        const id = contentIdFromBytes(reader.bytes(idBytes));
        const intervalMs = reader.varint();
        const labels = readLabels(reader, section.length, "targets", refuseBatch);
        const known = this.#targets.get(number);
        if (intervalMs === 0) throw bad(at, `targets: expected an interval above 0 for ${id}`);
        if (targets.has(number)) throw bad(at, `targets: expected each number once, got ${number} twice`);
        if (!known) targets.set(number, newTarget({ id, labels, intervalMs }));
        else if (known.target.id !== id || known.target.intervalMs !== intervalMs) {
          throw bad(at, `targets: expected ${number} to stay ${known.target.id}, got ${id} every ${intervalMs} ms`);
        }
      }
    });
    if (this.#targets.size + targets.size > runTargetsMax) {
      throw refuseBatch("too_large", 0, `targets: expected at most ${runTargetsMax} in a run`);
    }
    return targets;
  }

  #planLayouts(section: Uint8Array): Map<number, NumberedLayout | undefined> {
    const known = (number: number, id: string, offset: number) => {
      const layout = this.#layouts.get(number)?.layout;
      if (layout && layout.id !== id) throw bad(offset, `layouts: expected ${number} to stay ${layout.id}, got ${id}`);
      return layout ?? this.#layoutOf(id);
    };
    const layouts = new Map<number, NumberedLayout | undefined>();
    let memoryBytes = this.#layoutMemoryBytes;
    for (const [number, layout] of readLayouts(section, known, refuseBatch)) {
      const numbered = this.#layouts.get(number) ?? (layout && numberedLayout(number, layout));
      if (!this.#layouts.has(number)) memoryBytes += numbered?.memoryBytes ?? 0;
      layouts.set(number, numbered);
    }
    if (memoryBytes > runLayoutMemoryMax) {
      throw refuseBatch("too_large", 0, `layouts: expected at most ${runLayoutMemoryMax} bytes of them in a run`);
    }
    return layouts;
  }

  #planScrapes(plan: Plan, timestamps: ByteReader): void {
    const columns = this.#columns;
    let number = 0;
    let valuesAt = 0;
    for (let index = 0; index < columns.count; index++) {
      number += columns.target[index]!;
      const valuesEnd = valuesAt + columns.valueBytes[index]!;
      if (valuesEnd > plan.values.length) {
        throw bad(
          valuesAt,
          `scrape ${index}: expected values up to ${plan.values.length} at most, got up to ${valuesEnd}`,
        );
      }
      const state = plan.newTargets.get(number) ?? this.#targets.get(number);
      const flags = columns.flags[index]!;
      const keyframe = (flags & scrapeFlags.keyframe) !== 0;
      const layout = flags & scrapeFlags.values ? planLayout(plan, state, keyframe, columns.layout[index]!) : undefined;
      const rows = layout?.layout.rows.length ?? Number.POSITIVE_INFINITY;
      const own = flags & scrapeFlags.timestamps ? readTimestamps(timestamps, rows) : noTimestamps;
      const kind = flags === 0 ? "facts" : !layout ? "lost" : keyframe ? "keyframe" : "delta";
      if (layout) {
        const wrongAt = checkColumn(plan.values, valuesAt, valuesEnd, rows, keyframe);
        if (wrongAt >= 0) {
          const expected = `expected a column of ${rows} rows in ${valuesEnd - valuesAt} bytes`;
          throw bad(wrongAt, `values: scrape ${index}: ${expected}, got others`);
        }
      }
      if (!state || kind === "lost") plan.unreadable++;
      // A delta without its reference leaves everything as it is; a keyframe that cannot be read ends the reference.
      if (state && (kind !== "lost" || keyframe)) {
        const timing = this.#timing(plan.header, index, state);
        plan.scrapes.push({
          index,
          state,
          ...timing,
          kind,
          layout,
          valuesAt,
          timestamps: since(timing.timestampMs, own),
        });
      }
      valuesAt = valuesEnd;
    }
    if (valuesAt < plan.values.length) {
      throw bad(valuesAt, `values: expected their end, got ${plan.values.length - valuesAt} more bytes`);
    }
    if (plan.rows > runRowsMax) {
      throw refuseBatch("too_large", 0, `values: expected at most ${runRowsMax} rows in a run, got ${plan.rows}`);
    }
  }

  #timing(header: BatchHeader, index: number, { phaseMs, target }: KnownTarget) {
    const columns = this.#columns;
    const slot = Math.floor((header.createdMs - phaseMs) / target.intervalMs) - columns.slot[index]!;
    const timestampMs = phaseMs + slot * target.intervalMs + columns.timestamp[index]!;
    const generation = header.generation - columns.generation[index]!;
    if (!(isWhole(slot) && isWhole(timestampMs) && isWhole(generation))) {
      const got = `slot ${slot}, timestamp ${timestampMs}, generation ${generation}`;
      throw bad(0, `scrape ${index}: expected whole numbers from 0 to 2^53 - 1, got ${got}`);
    }
    return { slot, timestampMs, generation };
  }

  /** The second pass. */
  #apply(plan: Plan, onScrape: (scrape: Scrape) => void): DecodedBatch {
    const { header } = plan;
    this.#sequence = header.sequence;
    // Should `onScrape` throw, this stands, and every reference is void.
    this.#epoch = plan.epoch + 1;
    for (const [number, state] of plan.newTargets) this.#targets.set(number, state);
    let samples = 0;
    let scrapes = 0;
    for (const scrape of plan.scrapes) {
      const { kind, layout, state } = scrape;
      state.lastSeenMs = header.createdMs;
      if (kind === "lost") {
        this.#release(state);
        continue;
      }
      if (kind === "keyframe") this.#adopt(state, layout!, plan.epoch);
      if (layout) samples += this.#readValues(plan, scrape, layout);
      scrapes++;
      onScrape(this.#scrapeOf(scrape));
    }
    this.#epoch = plan.epoch;
    this.#forget(header.createdMs);
    return { header, scrapes, samples, unreadable: plan.unreadable, dropped: plan.dropped };
  }

  #adopt(state: KnownTarget, layout: NumberedLayout, epoch: number): void {
    const rows = layout.layout.rows.length;
    const reference = state.reference?.rows === rows ? state.reference : new Reference(rows);
    if (!this.#layouts.has(layout.number)) {
      this.#layouts.set(layout.number, layout);
      this.#layoutMemoryBytes += layout.memoryBytes;
    }
    layout.targets++;
    this.#release(state);
    this.#rows += rows;
    state.reference = reference;
    state.layout = layout;
    state.epoch = epoch;
  }

  #release(state: KnownTarget): void {
    if (!state.layout) return;
    state.layout.targets--;
    this.#rows -= state.layout.layout.rows.length;
    state.layout = undefined;
    state.reference = undefined;
  }

  #readValues(plan: Plan, { kind, state, valuesAt }: PlannedScrape, { layout }: NumberedLayout): number {
    if (this.#values.length < layout.rows.length) {
      this.#values = new Float64Array(layout.rows.length * 2);
      this.#valueWords = wordsOf(this.#values);
    }
    return readColumn(plan.values, valuesAt, state.reference!, kind === "keyframe", this.#values, this.#valueWords);
  }

  #scrapeOf({ generation, index, layout, slot, state, timestampMs, timestamps }: PlannedScrape): Scrape {
    const columns = this.#columns;
    return {
      target: state.target,
      facts: {
        slot,
        generation,
        outcome: outcomes[columns.outcome[index]!]!,
        timestampMs,
        durationUs: columns.durationUs[index]!,
        bodyBytes: columns.bodyBytes[index]!,
        samplesScraped: columns.samplesScraped[index]!,
        seriesRefused: columns.seriesRefused[index]!,
        seriesAdded: columns.seriesAdded[index]!,
      },
      layout: layout?.layout ?? layoutEmpty,
      values: this.#values.subarray(0, layout?.layout.rows.length ?? 0),
      timestamps,
    };
  }

  /** What no later batch can refer to. The writer forgets targets earlier than this, and layouts at the same moment. */
  #forget(createdMs: number): void {
    for (const [number, state] of this.#targets) {
      if (createdMs - state.lastSeenMs <= targetForgottenByReaderMs) continue;
      this.#release(state);
      this.#targets.delete(number);
    }
    for (const [number, layout] of this.#layouts) {
      if (layout.targets > 0) continue;
      this.#layouts.delete(number);
      this.#layoutMemoryBytes -= layout.memoryBytes;
    }
  }
}

/** The layout that a scrape's values have; undefined when they cannot be read. A keyframe changes what comes after it. */
function planLayout(
  plan: Plan,
  state: KnownTarget | undefined,
  keyframe: boolean,
  number: number,
): NumberedLayout | undefined {
  if (keyframe && !plan.layouts.has(number)) {
    throw bad(0, `scrapes: expected a keyframe of a layout that the batch names, got number ${number}`);
  }
  if (!state) return undefined;
  const planned = state.plan === plan.number;
  if (!keyframe) {
    if (planned) return state.planned;
    return state.epoch === plan.epoch ? state.layout : undefined;
  }
  const before = planned ? state.planned : state.layout;
  const layout = plan.layouts.get(number);
  plan.rows += (layout?.layout.rows.length ?? 0) - (before?.layout.rows.length ?? 0);
  state.plan = plan.number;
  state.planned = layout;
  return layout;
}

function readColumns(columns: ScrapeColumns, section: Uint8Array, count: number): void {
  understood("scrapes", refuseBatch, () => {
    const reader = new ByteReader(section);
    columns.read(reader, count);
    if (reader.remaining > 0)
      throw bad(reader.offset, `scrapes: expected their end, got ${reader.remaining} more bytes`);
  });
  for (let i = 0; i < count; i++) {
    const flags = columns.flags[i]!;
    const outcome = outcomes[columns.outcome[i]!];
    if (outcome === undefined || flags > scrapeFlagsKnown) {
      const got = `outcome ${columns.outcome[i]} and flags ${flags}`;
      throw refuseBatch(
        "bad_version",
        0,
        `scrape ${i}: expected an outcome and flags of version ${batchVersion}, got ${got}`,
      );
    }
    if (isStored(outcome) ? (flags & scrapeFlags.values) === 0 : flags !== 0) {
      throw bad(
        0,
        `scrape ${i}: expected values of a stored scrape and of no other, got ${outcome} with flags ${flags}`,
      );
    }
  }
}

/** With times from the scrape's. Rows ascend, so there are never more of them than the layout has, nor than bytes. */
function readTimestamps(reader: ByteReader, rows: number): RowTimestamp[] {
  const count = readCount(reader, 2, rows, "timestamps", refuseBatch);
  const timestamps: RowTimestamp[] = [];
  let row = -1;
  for (let i = 0; i < count; i++) {
    const at = reader.offset;
    row += reader.varint() + 1;
    if (row >= rows) throw bad(at, `timestamps: expected a row below ${rows}, got ${row}`);
    timestamps.push({ row, timestampMs: reader.zigzag() });
  }
  return timestamps;
}

function since(scrapeMs: number, timestamps: readonly RowTimestamp[]): readonly RowTimestamp[] {
  if (timestamps.length === 0) return timestamps;
  return timestamps.map(({ row, timestampMs }) => ({ row, timestampMs: timestampMs + scrapeMs }));
}

function newTarget(target: ScrapedTarget): KnownTarget {
  return {
    target,
    phaseMs: phaseMs(target.id, target.intervalMs),
    reference: undefined,
    layout: undefined,
    epoch: 0,
    lastSeenMs: Number.NEGATIVE_INFINITY,
    plan: 0,
    planned: undefined,
  };
}

function numberedLayout(number: number, layout: Layout): NumberedLayout {
  let labels = 0;
  for (const row of layout.rows) labels += row.labels.length;
  return {
    number,
    layout,
    memoryBytes: layoutMemoryBytes(0, layout.rows.length + layout.families.length, labels),
    targets: 0,
  };
}

function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function bad(offset: number, message: string): BadBatch {
  return new BadBatch("bad_structure", offset, message);
}

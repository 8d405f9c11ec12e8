// Consecutive scrapes of one target with one layout: a table of facts, and a table of values for those that were stored.
//
// While it grows it is open (a row a scrape, appended in one copy); full, it is sealed (packed column by column, about a
// tenth of the memory). Failed and missed scrapes have facts only and fit into a chunk of any layout.

import { isFailed, isStored, outcomes } from "#/lib/model/outcome.ts";
import type { RowTimestamp, ScrapeFacts } from "#/lib/model/scrape.ts";
import { isAbsent, wordsOf } from "#/lib/model/value.ts";
import type { HeldLayout } from "#/lib/store/dictionary.ts";
import { Matrix } from "#/lib/store/matrix.ts";
import { Packed } from "#/lib/store/packed.ts";

/**
 * Twice as many would save a few hundredths of a byte a sample and double what lies open; half as many would cost a
 * quarter of a byte in bitmaps and offsets.
 */
export const chunkScrapesMax = 64;

/** Columns of the facts. */
export const factTime = 0;
export const factSlot = 1;
export const factGeneration = 2;
export const factOutcome = 3;
export const factDurationUs = 4;
export const factSamplesScraped = 5;
/** What metric relabelling left: those that were stored, and those that were refused. */
export const factSamplesRelabelled = 6;
export const factSeriesAdded = 7;
export const factColumns = 8;

export const outcomeNone = 0;
export const outcomeStored = 1;
export const outcomeFailed = 2;
/** By the outcome's number: what it means for the target's series. */
export const effectOfOutcome = Uint8Array.from(outcomes, (outcome) =>
  isStored(outcome) ? outcomeStored : isFailed(outcome) ? outcomeFailed : outcomeNone,
);

/** A sample that brought its own time. */
export interface OwnTime extends RowTimestamp {
  /** Which of the chunk's stored scrapes it came with. */
  readonly stored: number;
}

/** One scrape by itself, on its way into a chunk. */
export interface HeldScrape {
  readonly facts: Float64Array;
  readonly layout: HeldLayout;
  /** As long as the layout; ignored unless it was stored. */
  readonly values: Float64Array;
  readonly timestamps: readonly RowTimestamp[];
}

export function encodeFacts(facts: ScrapeFacts, samplesStored: number): Float64Array {
  return Float64Array.of(
    facts.timestampMs,
    facts.slot,
    facts.generation,
    outcomes.indexOf(facts.outcome),
    facts.durationUs,
    facts.samplesScraped,
    samplesStored + facts.seriesRefused,
    facts.seriesAdded,
  );
}

export class Chunk {
  layout: HeldLayout;
  count = 0;
  samples = 0;
  /** Scrape times of the first and last. */
  fromMs = Number.POSITIVE_INFINITY;
  untilMs = Number.NEGATIVE_INFINITY;
  lastSlot = Number.NEGATIVE_INFINITY;
  /** The first scrape that was stored or failed; missed ones say nothing of the series. */
  triedFromMs = Number.POSITIVE_INFINITY;
  /** Whether `sealIdle` saw it before, without a change since. */
  idle = false;
  ownTimes: readonly OwnTime[] = [];
  #facts: Matrix | Packed;
  #values: Matrix | Packed;

  constructor(layout: HeldLayout) {
    this.layout = layout;
    this.#facts = new Matrix(factColumns);
    this.#values = new Matrix(layout.rows.length);
  }

  get sealed(): boolean {
    return this.#facts instanceof Packed;
  }

  get stored(): number {
    return this.#values.height;
  }

  /** Of its tables; what stands around them is about as much as a short row. */
  get bytes(): number {
    return this.#facts.bytes + this.#values.bytes;
  }

  /** Whether a scrape can be put into it as it is. */
  takes(scrape: HeldScrape): boolean {
    return !this.sealed && this.count < chunkScrapesMax && (!isStoredScrape(scrape) || scrape.layout === this.layout);
  }

  /** At position `at` of its scrapes, which must be its place in time. The chunk must take it. */
  insert(at: number, scrape: HeldScrape): void {
    const facts = this.#facts as Matrix;
    const timeMs = scrape.facts[factTime]!;
    if (isStoredScrape(scrape)) {
      const stored = at === this.count ? this.stored : this.#storedBefore(at);
      (this.#values as Matrix).insert(stored, scrape.values);
      if (this.ownTimes.length > 0 || scrape.timestamps.length > 0) {
        this.ownTimes = [
          ...this.ownTimes.map((own) => (own.stored < stored ? own : { ...own, stored: own.stored + 1 })),
          ...scrape.timestamps.map((own) => ({ ...own, stored })),
        ];
      }
    }
    facts.insert(at, scrape.facts);
    this.count++;
    this.samples += samplesOf(scrape);
    this.fromMs = Math.min(this.fromMs, timeMs);
    this.untilMs = Math.max(this.untilMs, timeMs);
    if (at === this.count - 1) this.lastSlot = scrape.facts[factSlot]!;
    if (effectOfOutcome[scrape.facts[factOutcome]!] !== outcomeNone) {
      this.triedFromMs = Math.min(this.triedFromMs, timeMs);
    }
    this.idle = false;
  }

  seal(): void {
    if (this.#facts instanceof Matrix) this.#facts = new Packed(this.#facts);
    if (this.#values instanceof Matrix) this.#values = new Packed(this.#values);
  }

  /** One column of the facts, into the beginning of `into`. */
  fact(column: number, into: Float64Array): void {
    this.#facts.column(column, into);
  }

  /** The values at that position of the layout, one a stored scrape, into the beginning of `into`. */
  valuesOf(position: number, into: Float64Array): void {
    this.#values.column(position, into);
  }

  /** Its scrapes one by one, to be put together anew. */
  scrapes(): HeldScrape[] {
    const facts = rowsOf(this.#facts);
    const values = rowsOf(this.#values);
    let stored = 0;
    return facts.map((row) => {
      const isStoredRow = effectOfOutcome[row[factOutcome]!] === outcomeStored;
      const at = isStoredRow ? stored++ : -1;
      return {
        facts: row,
        layout: this.layout,
        values: isStoredRow ? values[at]! : noValues,
        timestamps: this.ownTimes
          .filter((own) => own.stored === at)
          .map(({ row: position, timestampMs }) => ({ row: position, timestampMs })),
      };
    });
  }

  #storedBefore(at: number): number {
    const column = new Float64Array(this.count);
    this.#facts.column(factOutcome, column);
    let stored = 0;
    for (let i = 0; i < at; i++) if (effectOfOutcome[column[i]!] === outcomeStored) stored++;
    return stored;
  }
}

const noValues = new Float64Array(0);

export function isStoredScrape(scrape: HeldScrape): boolean {
  return effectOfOutcome[scrape.facts[factOutcome]!] === outcomeStored;
}

function rowsOf(table: Matrix | Packed): Float64Array[] {
  const columns = Array.from({ length: table.width }, (_, column) => {
    const values = new Float64Array(table.height);
    table.column(column, values);
    return values;
  });
  return Array.from({ length: table.height }, (_, at) => {
    const row = new Float64Array(table.width);
    // As views of one value each: a NaN's bits survive a copy between arrays, but not a way through a list of numbers.
    for (let column = 0; column < table.width; column++) row.set(columns[column]!.subarray(at, at + 1), column);
    return row;
  });
}

/**
 * Chunks of these scrapes, which are in the order of time. One that would be too long becomes several of like length, so
 * that each has room.
 */
export function chunksOf(scrapes: readonly HeldScrape[]): Chunk[] {
  const groups: HeldScrape[][] = [];
  for (const scrape of scrapes) {
    const group = groups.at(-1);
    const layout = group?.find(isStoredScrape)?.layout;
    if (group && (layout === undefined || layout === scrape.layout || !isStoredScrape(scrape))) group.push(scrape);
    else groups.push([scrape]);
  }
  return groups.flatMap((group) => {
    const parts = Math.ceil(group.length / chunkScrapesMax);
    const length = Math.ceil(group.length / parts);
    const layout = (group.find(isStoredScrape) ?? group[0]!).layout;
    return Array.from({ length: parts }, (_, part) => {
      const chunk = new Chunk(layout);
      for (const scrape of group.slice(part * length, (part + 1) * length)) chunk.insert(chunk.count, scrape);
      return chunk;
    });
  });
}

/** How many it stored. */
function samplesOf({ facts, layout, values }: HeldScrape): number {
  if (outcomes[facts[factOutcome]!] === "partial") return countPresent(values, layout.rows.length);
  return facts[factSamplesRelabelled]!;
}

export function countPresent(values: Float64Array, rows: number): number {
  const words = wordsOf(values);
  let present = 0;
  for (let i = 0; i < rows; i++) if (!isAbsent(words, i)) present++;
  return present;
}

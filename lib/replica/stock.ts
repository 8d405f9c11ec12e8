// Which batches a replica's journal holds, so that those that another replica misses can be read out of it.
//
// Kept in memory is only, a run and a segment of the journal, which sequences are there: a few numbers for ten minutes of
// batches. Where exactly a batch stands is found by reading through its segment, once for all that are wanted of it.

import { BadBatch, headerOf } from "#/lib/codec/batch.ts";
import type { Journal, JournalPlace } from "#/lib/journal/journal.ts";
import { type BatchId, type BatchRange, batchKey, type RunId, runKey } from "#/lib/model/identity.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import { decodeEntry } from "#/lib/replica/record.ts";
import type { ReplicaRuns } from "#/lib/replica/runs.ts";

/** Places that were found and not asked for yet: an hour of a run's batches. */
const placesMax = 4096;

interface Row {
  readonly segment: number;
  from: number;
  until: number;
}

/** The first and the last sequence. */
export interface Stretch {
  readonly from: number;
  readonly until: number;
}

export interface StockedBatch {
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** Of a run, what is on disk. */
export interface HeldRun {
  readonly id: RunId;
  readonly key: string;
  /** Up to here all of it. */
  readonly sequence: number;
  /** Where in the log the newest of it was read. */
  readonly position: LogPosition | undefined;
}

export class Stock {
  readonly #parts: { readonly runs: ReplicaRuns; readonly journal: () => Journal };
  readonly #againCallbacks: ((batch: BatchId, position: LogPosition) => void)[] = [];
  /** By run, in the order in which they came. */
  readonly #rows = new Map<string, Row[]>();
  readonly #places = new Map<string, JournalPlace>();

  constructor(parts: { readonly runs: ReplicaRuns; readonly journal: () => Journal }) {
    this.#parts = parts;
  }

  *held(): Iterable<HeldRun> {
    for (const { durableSequence, id, key, position } of this.#parts.runs.all()) {
      if (durableSequence > 0) yield { id, key, sequence: durableSequence, position };
    }
  }

  /** A batch came, at that place of the log, that was here before, or that fills a hole. */
  onAgain(callback: (batch: BatchId, position: LogPosition) => void): void {
    this.#againCallbacks.push(callback);
  }

  cameAgain(batch: BatchId, position: LogPosition): void {
    for (const callback of this.#againCallbacks) callback(batch, position);
  }

  /** A batch stands in that segment. */
  take(batch: BatchId, segment: number): void {
    const key = runKey(batch);
    const rows = this.#rows.get(key);
    const { sequence } = batch;
    const row = rows?.findLast((each) => each.segment === segment && isNext(each, sequence));
    if (row) {
      row.from = Math.min(row.from, sequence);
      row.until = Math.max(row.until, sequence);
    } else if (rows) rows.push({ segment, from: sequence, until: sequence });
    else this.#rows.set(key, [{ segment, from: sequence, until: sequence }]);
  }

  /** Segments before that one are gone. */
  trim(oldestSegment: number): void {
    for (const [key, rows] of this.#rows) {
      if (rows.every(({ segment }) => segment >= oldestSegment)) continue;
      const left = rows.filter(({ segment }) => segment >= oldestSegment);
      if (left.length > 0) this.#rows.set(key, left);
      else this.#rows.delete(key);
    }
    for (const [key, { segment }] of this.#places) if (segment < oldestSegment) this.#places.delete(key);
  }

  /** What it has of the range, in order; also beyond a gap. Stretches may touch, and overlap where a batch came twice. */
  within({ from, until, ...run }: BatchRange): readonly Stretch[] {
    const rows = this.#rows.get(runKey(run)) ?? [];
    return rows
      .filter((row) => row.until >= from && row.from <= until)
      .map((row) => ({ from: Math.max(row.from, from), until: Math.min(row.until, until) }))
      .sort((a, b) => a.from - b.from);
  }

  has(run: RunId, sequence: number): boolean {
    return this.#segmentOf(runKey(run), sequence) !== undefined;
  }

  /**
   * Those of the batches that are on disk, in their order, until so many bytes are together; one at least, if any. Throws
   * JournalError, and what the disk throws.
   */
  async read(
    run: RunId,
    { bytesMax, sequences }: { readonly sequences: readonly number[]; readonly bytesMax: number },
  ): Promise<readonly StockedBatch[]> {
    const journal = this.#parts.journal();
    const batches: StockedBatch[] = [];
    const searched = new Set<number>();
    let bytes = 0;
    for (const sequence of sequences) {
      const segment = this.#segmentOf(runKey(run), sequence);
      const isKnown = this.#places.has(batchKey({ ...run, sequence }));
      if (!isKnown && segment !== undefined && !searched.has(segment)) {
        searched.add(segment);
        await this.#search(journal, segment, { run, sequences });
      }
      const place = this.#places.get(batchKey({ ...run, sequence }));
      const record = place && (await journal.read(place));
      const entry = record && decodeEntry(record);
      if (!entry) continue;
      bytes += entry.payload.length;
      if (bytes > bytesMax && batches.length > 0) break;
      batches.push({ sequence, payload: entry.payload });
    }
    return batches;
  }

  async #search(
    journal: Journal,
    segment: number,
    wanted: { readonly run: RunId; readonly sequences: readonly number[] },
  ): Promise<void> {
    const key = runKey(wanted.run);
    for await (const records of journal.segmentRecords(segment)) {
      for (const record of records) {
        const entry = decodeEntry(record);
        if (entry?.kind !== "batch") continue;
        const header = headerOf(entry.payload);
        if (header instanceof BadBatch || runKey(header) !== key || !wanted.sequences.includes(header.sequence))
          continue;
        if (this.#places.size >= placesMax) this.#places.clear();
        this.#places.set(batchKey(header), record.place);
      }
    }
  }

  #segmentOf(key: string, sequence: number): number | undefined {
    return this.#rows.get(key)?.findLast(({ from, until }) => from <= sequence && sequence <= until)?.segment;
  }
}

function isNext({ from, until }: Row, sequence: number): boolean {
  return from - 1 <= sequence && sequence <= until + 1;
}

// Which batches of a run the spool has, and how far the run has come.

import { assert } from "#/lib/assert/assert.ts";
import type { RunId } from "#/lib/model/identity.ts";
import type { HistogramSeries } from "#/lib/telemetry/registry.ts";
import type { BatchDetails } from "#/secondary/spool/key.ts";

/** A run's batches in the spool: a contiguous stretch of sequences, with holes where batches were dropped or refused. */
export class SpooledRun {
  readonly run: RunId;
  /** Bytes of each batch from `first` on; 0 is a hole. */
  readonly #bytes: number[] = [];
  /** When each was sealed, by the monotonic clock; NaN for those of an earlier start. */
  readonly #sealedMs: number[] = [];
  readonly #scrapes: number[] = [];
  readonly #slotsFromMs: number[] = [];
  readonly #slotsUntilMs: number[] = [];
  #first: number;
  /** A primary has accepted every batch up to this, though its log may have lost some again. */
  accepted = 0;
  /** Both primaries have journalled every batch up to this. */
  held = 0;

  constructor(run: RunId, first: number) {
    this.run = run;
    this.#first = first;
  }

  /** Sequence of the first batch that may be there. */
  get first(): number {
    return this.#first;
  }

  /** `first − 1` when there is none. */
  get last(): number {
    return this.#first + this.#bytes.length - 1;
  }

  get empty(): boolean {
    return this.#bytes.length === 0;
  }

  /** 0 when it is not there. */
  bytesAt(sequence: number): number {
    return this.#bytes[sequence - this.#first] ?? 0;
  }

  /** By the monotonic clock; NaN when that is not known. */
  sealedMsAt(sequence: number): number {
    return this.#sealedMs[sequence - this.#first] ?? Number.NaN;
  }

  /** Of a batch that is there, or was until it was removed. */
  detailsAt(sequence: number): BatchDetails {
    const at = sequence - this.#first;
    return {
      bytes: this.#bytes[at] ?? 0,
      scrapes: this.#scrapes[at] ?? 0,
      slotsFromMs: this.#slotsFromMs[at] ?? 0,
      slotsUntilMs: this.#slotsUntilMs[at] ?? 0,
    };
  }

  append(sequence: number, details: BatchDetails, sealedMs: number): void {
    assert(sequence > this.last, `batch ${sequence} of run ${this.run.run} is spooled after ${this.last}`);
    while (this.last < sequence - 1) this.#push(noBatch, Number.NaN);
    this.#push(details, sealedMs);
  }

  #push({ bytes, scrapes, slotsFromMs, slotsUntilMs }: BatchDetails, sealedMs: number): void {
    this.#bytes.push(bytes);
    this.#sealedMs.push(sealedMs);
    this.#scrapes.push(scrapes);
    this.#slotsFromMs.push(slotsFromMs);
    this.#slotsUntilMs.push(slotsUntilMs);
  }

  /** What not both primaries hold of it, and the first sequence of that. */
  unheld(): { readonly bytes: number; readonly batches: number; readonly first: number | undefined } {
    let bytes = 0;
    let batches = 0;
    let first: number | undefined;
    for (let sequence = Math.max(this.#first, this.held + 1); sequence <= this.last; sequence++) {
      const size = this.bytesAt(sequence);
      if (size === 0) continue;
      first ??= sequence;
      bytes += size;
      batches++;
    }
    return { bytes, batches, first };
  }

  /** Leaves a hole; returns the bytes that were there. */
  remove(sequence: number): number {
    const bytes = this.bytesAt(sequence);
    if (bytes > 0) this.#bytes[sequence - this.#first] = 0;
    return bytes;
  }

  /** Forgets everything up to that sequence. */
  trim(sequence: number): void {
    const count = Math.min(sequence - this.#first + 1, this.#bytes.length);
    if (count <= 0) return;
    for (const column of [this.#bytes, this.#sealedMs, this.#scrapes, this.#slotsFromMs, this.#slotsUntilMs]) {
      column.splice(0, count);
    }
    this.#first += count;
  }
}

const noBatch: BatchDetails = { bytes: 0, scrapes: 0, slotsFromMs: 0, slotsUntilMs: 0 };

/**
 * The run whose first batch is the oldest; runs are given oldest first. Shards lose alike: what was sealed first goes first, and
 * of an earlier boot epoch, where that is not known, the shard goes first that has most left.
 */
export function oldestRun(runs: readonly SpooledRun[], presentEpoch: number): SpooledRun | undefined {
  let bootEpoch: number | undefined;
  const shards = new Map<number, { readonly first: SpooledRun; batches: number }>();
  for (const spooled of runs) {
    if (spooled.empty) continue;
    bootEpoch ??= spooled.run.bootEpoch;
    if (spooled.run.bootEpoch !== bootEpoch) break;
    const batches = spooled.last - spooled.first + 1;
    const known = shards.get(spooled.run.shard);
    if (known) known.batches += batches;
    else shards.set(spooled.run.shard, { first: spooled, batches });
  }
  const candidates = [...shards.values()];
  if (bootEpoch !== presentEpoch) return candidates.sort((a, b) => b.batches - a.batches)[0]?.first;
  // A hole has no time, and can go at once.
  const sealedMs = ({ first }: { readonly first: SpooledRun }) => first.sealedMsAt(first.first) || 0;
  return candidates.sort((a, b) => sealedMs(a) - sealedMs(b))[0]?.first;
}

/** Observes how long ago each batch of a run after one sequence and until another was sealed, where that is known. */
export function observeSince(
  seconds: HistogramSeries,
  spooled: SpooledRun,
  { after, until }: { readonly after: number; readonly until: number },
  nowMs: number,
): void {
  for (let sequence = Math.max(after + 1, spooled.first); sequence <= Math.min(until, spooled.last); sequence++) {
    const sealedMs = spooled.sealedMsAt(sequence);
    if (!Number.isNaN(sealedMs)) seconds.observe((nowMs - sealedMs) / 1000);
  }
}

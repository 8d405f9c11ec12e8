// Which batches of a run the spool has, and how far the run has come.

import { assert } from "#/lib/assert/assert.ts";
import type { RunId } from "#/lib/model/identity.ts";
import type { HistogramSeries } from "#/lib/telemetry/registry.ts";

/** A run's batches in the spool: a contiguous stretch of sequences, with holes where batches were dropped or refused. */
export class SpooledRun {
  readonly run: RunId;
  /** Bytes of each batch from `first` on; 0 is a hole. */
  readonly #bytes: number[] = [];
  /** When each was sealed, by the monotonic clock; NaN for those of an earlier start. */
  readonly #sealedMs: number[] = [];
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

  append(sequence: number, bytes: number, sealedMs: number): void {
    assert(sequence > this.last, `batch ${sequence} of run ${this.run.run} is spooled after ${this.last}`);
    while (this.last < sequence - 1) {
      this.#bytes.push(0);
      this.#sealedMs.push(Number.NaN);
    }
    this.#bytes.push(bytes);
    this.#sealedMs.push(sealedMs);
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
    this.#bytes.splice(0, count);
    this.#sealedMs.splice(0, count);
    this.#first += count;
  }
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

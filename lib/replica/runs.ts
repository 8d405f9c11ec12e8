// All runs that a replica knows, the one that was used last at the end: which are forgotten, and whose decoders, when there
// are too many.

import type { BatchHeader } from "#/lib/codec/batch.ts";
import { type BatchRange, type RunId, runKey, type Watermark } from "#/lib/model/identity.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import { missingMax } from "#/lib/model/report.ts";
import type { RunCheckpoint } from "#/lib/replica/record.ts";
import { ReplicaRun, type RunParts, supersededOf } from "#/lib/replica/run.ts";

/** Runs are remembered for their watermarks; a secondary opens one at start and after more than 10 s without acceptance. */
export const runsMax = 1024;

/** Decoders hold a value a series. Each shard's newest run keeps its own, and so many of those that are still drained. */
const decodersMax = 64;

export class ReplicaRuns {
  readonly #parts: RunParts;
  readonly #runs = new Map<string, ReplicaRun>();

  constructor(parts: RunParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#runs.size;
  }

  all(): Iterable<ReplicaRun> {
    return this.#runs.values();
  }

  /** Those with batches beyond a gap. */
  *withGaps(): Iterable<ReplicaRun> {
    for (const run of this.#runs.values()) if (run.hasGap) yield run;
  }

  get haveGaps(): boolean {
    for (const run of this.#runs.values()) if (run.hasGap) return true;
    return false;
  }

  get missingBatches(): number {
    let missing = 0;
    for (const run of this.withGaps()) missing += run.missing;
    return missing;
  }

  find(id: RunId): ReplicaRun | undefined {
    return this.#runs.get(runKey(id));
  }

  /** The run of a batch, as the one that was used last. With `joined`, one that is new begins at this batch. */
  of(header: BatchHeader, joined: boolean): ReplicaRun {
    const { datacenter, secondary, bootEpoch, shard, run, sequence } = header;
    const id: RunId = { datacenter, secondary, bootEpoch, shard, run };
    const key = runKey(id);
    let known = this.#runs.get(key);
    if (known) this.#runs.delete(key);
    else known = new ReplicaRun(id, this.#parts, { sequence: joined ? sequence - 1 : 0, beyond: [] });
    this.#runs.set(key, known);
    if (!known.isReading) this.#makeRoom();
    return known;
  }

  /** A line a run: the highest sequence up to which every batch is journalled and fsynced here. */
  watermarks(): readonly Watermark[] {
    const watermarks: Watermark[] = [];
    for (const run of this.#runs.values()) if (run.durableSequence > 0) watermarks.push(run.watermark());
    return watermarks;
  }

  /** The ranges that are missing, at most `missingMax`: a hole that nobody can fill stays long, so newer ones come first. */
  missing(): readonly BatchRange[] {
    const ranges: BatchRange[] = [];
    for (const run of this.withGaps()) ranges.push(...run.missingRanges().slice(0, missingMax).toReversed());
    return ranges.slice(-missingMax).toReversed();
  }

  checkpoint(): readonly RunCheckpoint[] {
    return [...this.#runs.values()].map((run) => run.checkpoint());
  }

  restore(datacenter: string, runs: readonly RunCheckpoint[], position: LogPosition | undefined): void {
    for (const { secondary, bootEpoch, shard, run, ...start } of runs) {
      const id: RunId = { datacenter, secondary, bootEpoch, shard, run };
      const restored = new ReplicaRun(id, this.#parts, start);
      restored.position = position;
      this.#runs.set(runKey(id), restored);
    }
  }

  #makeRoom(): void {
    const drained = supersededOf([...this.#runs.values()].filter((run) => run.isReading));
    for (const run of drained.slice(0, Math.max(0, drained.length - decodersMax))) run.forget();
    for (const key of this.#runs.keys()) {
      if (this.#runs.size <= runsMax) break;
      this.#runs.delete(key);
    }
  }
}

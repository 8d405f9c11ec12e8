// Scrapes become batches here: once a second, or at a megabyte, what was scraped is sealed and goes to the spool.
//
// Batches of a run refer to earlier ones of the same run, so a reader must have read them in order. A new run frees it from
// that: it begins at a start, when the present should not wait behind a backlog, and when a batch was lost. (`full`: the run
// refers to more targets than a run may.)

import { assert } from "#/lib/assert/assert.ts";
import { MiB, secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import { type EncodedBatch, type OutgoingScrape, RunEncoder, ScrapeTooLarge } from "#/lib/codec/encode.ts";
import { batchBytesMax } from "#/lib/codec/limits.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { DroppedRange } from "#/lib/model/dropped.ts";
import type { RunId } from "#/lib/model/identity.ts";
import { layoutEmpty } from "#/lib/model/layout.ts";
import type { Counter, Registry } from "#/lib/telemetry/registry.ts";

/** A second of delay for everything that a flush costs: a batch, an fsync, a message. */
const flushEveryMs = secondMs;
/** A batch this size travels and is stored well; more would only delay it. */
const flushBytes = MiB;
assert(flushBytes <= batchBytesMax, "a flushed batch is within the format's limit");

/** Why there is a new run, in the log. */
export type RunReason = "start" | "backlog" | "batch_lost" | "full";

export class Compactor {
  readonly #identity: Omit<RunId, "run">;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #progress: () => { readonly watermarkMs: number; readonly generation: number };
  readonly #sink: (batch: EncodedBatch) => void;
  readonly #encodeSeconds: Counter | undefined;
  readonly #compressSeconds: Counter | undefined;
  /** That the next batch tells of. */
  #dropped: readonly DroppedRange[] = [];
  #run = 0;
  #encoder: RunEncoder;
  #timer: Timer | undefined;

  /** `progress` is asked at each flush; `sink` gets the batches in order. */
  constructor(options: {
    readonly identity: Omit<RunId, "run">;
    readonly clock: Clock;
    readonly log: Logger;
    readonly progress: () => { readonly watermarkMs: number; readonly generation: number };
    readonly sink: (batch: EncodedBatch) => void;
    readonly metrics?: Registry;
  }) {
    this.#identity = options.identity;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#progress = options.progress;
    this.#sink = options.sink;
    const stage = (name: string) =>
      options.metrics?.counter("heliograph_secondary_stage_seconds_total", { stage: name });
    this.#encodeSeconds = stage("encode");
    this.#compressSeconds = stage("compress");
    this.#encoder = this.#begin("start");
  }

  start(): void {
    this.#timer ??= this.#clock.every(flushEveryMs, () => this.flush());
  }

  /** Takes a scrape, and copies what it needs of it. */
  add(scrape: OutgoingScrape): void {
    const beganMs = this.#clock.monotonicMs();
    this.#encode(scrape);
    this.#encodeSeconds?.add((this.#clock.monotonicMs() - beganMs) / 1000);
    if (this.#encoder.pendingBytes >= flushBytes) this.flush();
  }

  #encode(scrape: OutgoingScrape): void {
    try {
      this.#encoder.add(scrape);
    } catch (error) {
      if (!(error instanceof ScrapeTooLarge)) throw error;
      this.#log.warn({ target: scrape.target.id, reason: error.message }, "A scrape fits into no batch.");
      this.#addFailure(scrape);
    }
  }

  #addFailure(scrape: OutgoingScrape): void {
    const facts = { ...scrape.facts, outcome: "failed_sample_limit", seriesRefused: 0, seriesAdded: 0 } as const;
    const failure = { ...scrape, facts, layout: layoutEmpty, timestamps: [] };
    try {
      this.#encoder.add(failure);
    } catch (error) {
      if (!(error instanceof ScrapeTooLarge)) throw error;
      // Without values only the number of targets can be too large, and a new run begins with none.
      this.newRun("full");
      this.#encoder.add(failure);
    }
  }

  flush(): void {
    // What the sink wants told is for the next time.
    let dropped = this.#dropped;
    this.#dropped = [];
    if (this.#encoder.pendingScrapes === 0 && dropped.length === 0) return;
    const { watermarkMs, generation } = this.#progress();
    for (;;) {
      const beganMs = this.#clock.monotonicMs();
      const batch = this.#encoder.flush({ nowMs: this.#clock.nowMs(), watermarkMs, generation, dropped });
      this.#compressSeconds?.add((this.#clock.monotonicMs() - beganMs) / 1000);
      if (!batch) return;
      dropped = [];
      this.#sink(batch);
    }
  }

  /** The next batch is to tell of these, and of nothing that it was told before; one comes, also without scrapes. */
  tell(dropped: readonly DroppedRange[]): void {
    this.#dropped = dropped;
  }

  /** What is pending still belongs to the old run. */
  newRun(reason: RunReason): void {
    this.flush();
    this.#encoder = this.#begin(reason);
  }

  /** Flushes for the last time; may be called twice. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.flush();
  }

  #begin(reason: RunReason): RunEncoder {
    const run = { ...this.#identity, run: ++this.#run };
    this.#log.info({ run: run.run, bootEpoch: run.bootEpoch, reason }, "A new run begins.");
    return new RunEncoder(run);
  }
}

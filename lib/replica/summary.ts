// What a replica tells of itself.

import type { BatchHeader } from "#/lib/codec/batch.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { Heartbeat } from "#/lib/model/heartbeat.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { Scrape } from "#/lib/model/scrape.ts";
import type { ToldRange } from "#/lib/replica/dropped.ts";

export interface ReceivedHeartbeat {
  readonly sentMs: number;
  readonly origin: string;
  readonly payload: Heartbeat;
}

/** Something that a person should know. */
export interface ReplicaProblem {
  readonly code: string;
  readonly message: string;
  readonly atMs: number;
}

export interface ReplicaSummary {
  /** Of the newest generation; before the first one, those that were seen. */
  readonly targets: number;
  /** Targets whose newest tried scrape stored samples. */
  readonly up: number;
  readonly down: number;
  /** Arriving here, over the last seconds. */
  readonly samplesPerSecond: number;
  /** The newest scrape's time; undefined before the first. */
  readonly lastSampleMs: number | undefined;
  /** Batches that are missing within runs. */
  readonly missingBatches: number;
}

/**
 * What keeps account of everything that a replica reads, in the order in which it is read; while the journal is replayed, too. A batch
 * comes after its scrapes, and both may come again when a hole was filled.
 */
export interface ReplicaBook {
  read(position: LogPosition): void;
  generation(generation: Generation): void;
  heartbeat(heartbeat: Heartbeat): void;
  scrape(scrape: Scrape): void;
  /** Of its scrapes so many could not be read. */
  batch(header: BatchHeader, unreadable: number): void;
  dropped(range: ToldRange): void;
}

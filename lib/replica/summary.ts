// What a replica tells of itself.

import type { Heartbeat } from "#/lib/model/heartbeat.ts";

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

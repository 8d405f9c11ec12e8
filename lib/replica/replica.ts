// A replica reads one data centre's log into its own journal and into a head.

import type { Clock } from "#/lib/clock/clock.ts";
import type { Disk } from "#/lib/journal/disk.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { Heartbeat } from "#/lib/model/heartbeat.ts";
import type { Watermark } from "#/lib/model/identity.ts";
import type { LogEntry, LogPosition } from "#/lib/model/log.ts";
import type { Head } from "#/lib/store/head.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

export interface ReplicaOptions {
  readonly datacenter: string;
  /** Its own directory, for the journal; made when missing, locked while open. */
  readonly dir: string;
  /** May be shared by the replicas of several data centres. */
  readonly head: Head;
  readonly headRetentionMs: number;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

/** The part of a LogReader that a replica needs. */
export interface EntryReader {
  read(after: LogPosition | undefined, signal: AbortSignal): AsyncIterable<LogEntry>;
}

export interface ReceivedHeartbeat {
  readonly sentMs: number;
  readonly origin: string;
  readonly payload: Heartbeat;
}

/** Something that a person should know; the newest few are kept. */
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
  readonly holes: number;
}

export class Replica {
  /** Opens and locks the journal, and replays it into the head. Throws JournalError and DirectoryLocked. */
  static async open(options: ReplicaOptions): Promise<Replica> {
    throw new Error(`being written ${options}`);
  }

  /** Reads until the signal aborts; outages and what the log cannot bridge do not end it. Call it once at a time. */
  async run(reader: EntryReader, signal: AbortSignal): Promise<void> {
    throw new Error(`being written ${reader} ${signal}`);
  }

  /** The last entry taken; reading resumes after it. */
  get position(): LogPosition | undefined {
    throw new Error("being written");
  }

  /** A line a run: the highest sequence up to which every batch is journalled and fsynced here. */
  watermarks(): readonly Watermark[] {
    throw new Error("being written");
  }

  /** The newest that was read. */
  get generation(): Generation | undefined {
    throw new Error("being written");
  }

  get lastHeartbeat(): ReceivedHeartbeat | undefined {
    throw new Error("being written");
  }

  get problems(): readonly ReplicaProblem[] {
    throw new Error("being written");
  }

  onGeneration(callback: (generation: Generation) => void): void {
    throw new Error(`being written ${callback}`);
  }

  /** Called when watermarks moved. */
  onDurable(callback: () => void): void {
    throw new Error(`being written ${callback}`);
  }

  onHeartbeat(callback: (heartbeat: ReceivedHeartbeat) => void): void {
    throw new Error(`being written ${callback}`);
  }

  summary(): ReplicaSummary {
    throw new Error("being written");
  }

  /** Makes durable what was read, and unlocks. Abort `run` first. */
  async close(): Promise<void> {
    throw new Error("being written");
  }
}

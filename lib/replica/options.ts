// What a replica is made of.

import type { Clock } from "#/lib/clock/clock.ts";
import type { BatchDecoder, DecoderOptions } from "#/lib/codec/decode.ts";
import type { Disk } from "#/lib/journal/disk.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { RunId } from "#/lib/model/identity.ts";
import type { ReplicaBook } from "#/lib/replica/summary.ts";
import type { Head } from "#/lib/store/head.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

export type NewDecoder = (run: RunId, options: DecoderOptions) => BatchDecoder;

export interface ReplicaOptions {
  readonly datacenter: string;
  /** Its own directory, for the journal; made when missing, locked while open. */
  readonly dir: string;
  /** May be shared by the replicas of several data centres. Whoever made it trims it. */
  readonly head: Head;
  /** What the head keeps; the journal keeps a little more. */
  readonly headRetentionMs: () => number;
  /** Hears what is read, also what is replayed. */
  readonly book?: ReplicaBook;
  readonly disk: Disk;
  /** A RunDecoder when absent. */
  readonly newDecoder?: NewDecoder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

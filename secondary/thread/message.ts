// What a secondary's main thread and the thread of a shard say to each other. All of it is plain data; the bytes of generations
// and batches change hands and are not copied.

import { assert } from "#/lib/assert/assert.ts";
import { MiB } from "#/lib/bytes/units.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import { batchBytesMax } from "#/lib/codec/limits.ts";
import type { LogLevel } from "#/lib/logger/logger.ts";
import type { DroppedRange } from "#/lib/model/dropped.ts";
import type { ReachVerdict, Suspicion } from "#/lib/model/reach.ts";
import type { MetricChanges } from "#/lib/telemetry/registry.ts";
import type { RunReason } from "#/secondary/compact.ts";
import type { Asked, LayoutShare, RankedView, SelectionPart } from "#/secondary/page/view.ts";
import type { ProxyEnvironment } from "#/secondary/scrape/http/proxy.ts";

/**
 * Batches of a shard that the main thread has not taken yet: a minute of a full secondary's. A main thread this far behind is
 * stuck, and memory is not its spool.
 */
export const untakenBytesMax = 16 * MiB;
assert(untakenBytesMax >= 2 * batchBytesMax, "a batch on its way keeps none from following");

/** With which a thread begins. */
export interface ShardTask {
  readonly datacenter: string;
  readonly secondary: string;
  readonly bootEpoch: number;
  readonly shard: number;
  /** Of the series of this shard's targets together. */
  readonly cardinalityLimit: number | undefined;
  readonly fetching: FetchSettings;
}

/** Of the fetcher that a thread makes for itself. */
export interface FetchSettings {
  /** Of scrape configs, by job and place. */
  readonly secrets: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Where relative paths of credentials and certificates start. */
  readonly baseDir: string;
  readonly environment: ProxyEnvironment;
}

export type ToShard =
  | { readonly kind: "start" }
  /** The shard's part, encoded. */
  | { readonly kind: "generation"; readonly bytes: Uint8Array }
  | { readonly kind: "new_run"; readonly reason: RunReason }
  | { readonly kind: "tell_dropped"; readonly ranges: readonly DroppedRange[] }
  /** The main thread has so many bytes of batches now. */
  | { readonly kind: "taken"; readonly bytes: number }
  | { readonly kind: "verdict"; readonly verdict: ReachVerdict }
  /** The next four are answered under their id. */
  | { readonly kind: "probe"; readonly id: number; readonly targets: Uint8Array }
  | { readonly kind: "select"; readonly id: number; readonly asked: Asked }
  | { readonly kind: "layout"; readonly id: number; readonly layout: string }
  | { readonly kind: "tell"; readonly id: number }
  /** Ends everything in order; answered by `closed`. */
  | { readonly kind: "close" };

/** How the shard does; told each second, when it changes, and when it is asked. */
export interface ShardNews {
  /** That it scrapes by; undefined before the first. */
  readonly generation: number | undefined;
  readonly changes: MetricChanges;
}

export type FromShard =
  | { readonly kind: "batch"; readonly batch: EncodedBatch }
  | ({ readonly kind: "news" } & ShardNews)
  | { readonly kind: "log"; readonly level: LogLevel; readonly fields: object; readonly sentence: string }
  | { readonly kind: "suspicion"; readonly suspicion: Suspicion | undefined }
  | { readonly kind: "probed"; readonly id: number; readonly reached: readonly string[] }
  /** Some rows of an answer that comes with a later message, so that the event loop is let go in between. */
  | { readonly kind: "rows"; readonly id: number; readonly rows: readonly RankedView[] }
  | { readonly kind: "selection"; readonly id: number; readonly part: SelectionPart }
  | { readonly kind: "share"; readonly id: number; readonly share: LayoutShare | undefined }
  | { readonly kind: "told"; readonly id: number }
  | { readonly kind: "closed" };

/** One end of the way between two threads: a worker, or a port. */
export interface Line<Sent, Heard> {
  postMessage(message: Sent): void;
  /** The buffers change hands. */
  postMessage(message: Sent, transfer: ArrayBuffer[]): void;
  on(event: "message", listener: (message: Heard) => void): unknown;
}

// Keeps each batch on this machine's disk until every global has it.
//
// Batches lie in level under their boot epoch, shard, run and sequence, a value each, and are synced before they are offered to
// a primary: what was scraped a second ago survives a power cut. How far each run is safe is not written down: after a restart
// everything that is still here is sent again, which is harmless. Room is bounded; when it runs short, batches that both
// primaries hold go first, then, counted, the oldest.

import { statfs } from "node:fs/promises";
import { Level } from "level";

import { assert } from "#/lib/assert/assert.ts";
import { GiB, MiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import { batchBytesMax } from "#/lib/codec/limits.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { RunId } from "#/lib/model/identity.ts";
import type { HistogramSeries, Registry } from "#/lib/telemetry/registry.ts";

/** 24 hours of a full secondary's batches (5,000 targets × 1,000 series: 0.9 GB an hour), and a tenth more. */
export const spoolBytesMax = 24 * GiB;
assert(spoolBytesMax >= 16 * batchBytesMax, "a spool holds a window of unaccepted batches");
/** Batches that the disk has not taken yet. A disk this far behind is not keeping up, and memory is not its spool. */
const unwrittenBytesMax = 64 * MiB;
assert(unwrittenBytesMax >= 8 * batchBytesMax, "a slow fsync costs no batch");
/** leveldb writes up to 4 MiB of its log into a table when it is opened; with less room it might not open. */
const reopenRoomBytesMin = 16 * MiB;
/** A full or broken disk loses batch after batch; one line a minute is enough. */
const lossLoggedEveryMs = minuteMs;

/** The part of abstract-level that the spool needs. */
export interface SpoolStore {
  get(key: string): Promise<Uint8Array | undefined>;
  batch(operations: SpoolOperation[], options: { readonly sync: boolean }): Promise<void>;
  /** Ascending. */
  keys(range: { readonly gte: string; readonly lt: string }): AsyncIterable<string>;
  close(): Promise<void>;
}

export type SpoolOperation =
  | { readonly type: "put"; readonly key: string; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: string };

/** `locked`: another process has the directory. `unreadable`: it is no spool of ours, or the disk fails. */
export type SpoolErrorCode = "locked" | "unreadable";

export class SpoolError extends Error {
  override readonly name = "SpoolError";
  readonly code: SpoolErrorCode;

  constructor(code: SpoolErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Opens level in that directory, which it makes when there is none. Throws SpoolError. */
export async function openSpoolStore(dir: string): Promise<SpoolStore> {
  // Batches are compressed already.
  const level = new Level<string, Uint8Array>(dir, { keyEncoding: "utf8", valueEncoding: "view", compression: false });
  try {
    await level.open();
  } catch (error) {
    const cause = (error as Error).cause as (Error & { readonly code?: string }) | undefined;
    if (cause?.code === "LEVEL_LOCKED") {
      throw new SpoolError(
        "locked",
        `${dir} is in use: expected it free, but another secondary runs with this data directory`,
        {
          cause: error,
        },
      );
    }
    throw new SpoolError("unreadable", `${dir} cannot be opened as a spool: ${(cause ?? (error as Error)).message}`, {
      cause: error,
    });
  }
  return new LevelStore(dir, level);
}

/** Opens level anew before the next write after one that failed: leveldb that once found the disk full takes no more, ever. */
class LevelStore implements SpoolStore {
  readonly #dir: string;
  readonly #level: Level<string, Uint8Array>;
  #failed = false;
  #reopening: Promise<void> | undefined;

  constructor(dir: string, level: Level<string, Uint8Array>) {
    this.#dir = dir;
    this.#level = level;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    await this.#settled();
    return await this.#level.get(key);
  }

  async batch(operations: SpoolOperation[], options: { readonly sync: boolean }): Promise<void> {
    if (this.#failed) {
      this.#reopening ??= this.#reopen().finally(() => {
        this.#reopening = undefined;
      });
      await this.#reopening;
    }
    try {
      await this.#level.batch(operations, options);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  keys(range: { readonly gte: string; readonly lt: string }): AsyncIterable<string> {
    return this.#level.keys(range);
  }

  async close(): Promise<void> {
    await this.#settled();
    await this.#level.close();
  }

  async #reopen(): Promise<void> {
    const { bavail, bsize } = await statfs(this.#dir);
    const roomBytes = bavail * bsize;
    if (roomBytes < reopenRoomBytesMin) {
      throw new SpoolError(
        "unreadable",
        `${this.#dir} takes nothing: expected ${reopenRoomBytesMin} bytes of room on its disk, got ${roomBytes}`,
      );
    }
    await this.#level.close();
    await this.#level.open();
    this.#failed = false;
  }

  /** Whoever asked for the opening hears whether it failed. */
  async #settled(): Promise<void> {
    await this.#reopening?.catch(() => {});
  }
}

/** A run's batches that are on disk: a contiguous stretch of sequences, with holes where batches were refused. */
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

/** What the spool tells of a batch: it is on disk, or it is lost. */
export interface SpoolEvents {
  stored(run: SpooledRun, sequence: number): void;
  /** The disk did not take a batch of that shard: its run has a hole. */
  lost(shard: number): void;
}

/** docs/formats/spool.md */
const spoolVersion = "1";
const versionKey = "meta/version";
const epochKey = "meta/boot_epoch";
const generationKey = "meta/generation";
const batchPrefix = "batch/";

export class Spool {
  readonly #store: SpoolStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Registry;
  readonly #bytesMax: number;
  /** Oldest first. */
  readonly #runs: SpooledRun[] = [];
  /** Of this boot epoch, by shard. */
  readonly #newest = new Map<number, SpooledRun>();
  readonly #unwritten: { readonly batch: EncodedBatch; readonly sealedMs: number }[] = [];
  readonly #writeSeconds: HistogramSeries;
  readonly #durableSeconds: HistogramSeries;
  readonly bootEpoch: number;
  #unwrittenBytes = 0;
  #writing: Promise<void> | undefined;
  #deleting: Promise<void> = Promise.resolve();
  /** What the disk did not delete; it is told again with the next write. */
  #undeleted: SpoolOperation[] = [];
  #bytes = 0;
  #batches = 0;
  #lossLoggedMs = Number.NEGATIVE_INFINITY;
  #lossesUnlogged = 0;
  events: SpoolEvents = { stored() {}, lost() {} };

  private constructor(options: SpoolOptions, bootEpoch: number) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#bytesMax = options.bytesMax ?? spoolBytesMax;
    this.bootEpoch = bootEpoch;
    this.#writeSeconds = options.metrics.histogram("heliograph_secondary_spool_write_seconds");
    this.#durableSeconds = options.metrics.histogram("heliograph_secondary_push_seconds", { step: "durable" });
    options.metrics.onCollect(() => {
      options.metrics.set("heliograph_secondary_spool_batches", this.#batches);
      options.metrics.set("heliograph_secondary_spool_bytes", this.#bytes);
    });
  }

  /** Begins a new boot epoch, and finds the batches of earlier ones. The spool owns the store from here on. */
  static async open(options: SpoolOptions): Promise<Spool> {
    const { clock, datacenter, secondary, store } = options;
    const found = await store.get(versionKey);
    if (found && text.decode(found) !== spoolVersion) {
      throw new SpoolError("unreadable", `spool: expected version ${spoolVersion}, got ${text.decode(found)}`);
    }
    const before = await store.get(epochKey);
    // The wall clock keeps epochs growing even when the disk was replaced.
    const bootEpoch = Math.max(before ? Number(text.decode(before)) + 1 : 1, Math.floor(clock.nowMs() / secondMs));
    await store.batch(
      [
        { type: "put", key: versionKey, value: utf8.encode(spoolVersion) },
        { type: "put", key: epochKey, value: utf8.encode(String(bootEpoch)) },
      ],
      { sync: true },
    );
    const spool = new Spool(options, bootEpoch);
    for await (const key of store.keys({ gte: batchPrefix, lt: `${batchPrefix}~` })) {
      const { bytes, sequence, ...run } = parseKey(key);
      spool.#index({ datacenter, secondary, ...run }, sequence, bytes, Number.NaN);
    }
    // Keys have all runs of a shard together. Shards begin new runs for the same reasons, mostly at the same time.
    spool.#runs.sort((a, b) => a.run.bootEpoch - b.run.bootEpoch || a.run.run - b.run.run);
    if (spool.#batches > 0) {
      options.log.info(
        { batches: spool.#batches, bytes: spool.#bytes },
        "The spool has batches of earlier boot epochs.",
      );
    }
    return spool;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get batches(): number {
    return this.#batches;
  }

  /** Newest first; also runs that are empty now, while they may still grow. */
  *runs(): Iterable<SpooledRun> {
    for (let i = this.#runs.length - 1; i >= 0; i--) yield this.#runs[i]!;
  }

  /** Whether this is where its shard's next batches come: what is in it is the present, or waits behind it. */
  isNewest(spooled: SpooledRun): boolean {
    return this.#newest.get(spooled.run.shard) === spooled;
  }

  find(run: { readonly bootEpoch: number; readonly shard: number; readonly run: number }): SpooledRun | undefined {
    return this.#runs.find(
      (spooled) =>
        spooled.run.bootEpoch === run.bootEpoch && spooled.run.shard === run.shard && spooled.run.run === run.run,
    );
  }

  /** Takes a batch; `events.stored` tells when it is on disk. Batches of a run come in order. */
  put(batch: EncodedBatch): void {
    if (this.#unwrittenBytes + batch.bytes.length > unwrittenBytesMax) {
      this.#lose(1, "disk", "the disk is too slow");
      this.events.lost(batch.id.shard);
      return;
    }
    this.#unwritten.push({ batch, sealedMs: this.#clock.monotonicMs() });
    this.#unwrittenBytes += batch.bytes.length;
    this.#writing ??= this.#write();
  }

  /** Undefined when it is no longer there, or cannot be read: then it is given up, counted. */
  async read(spooled: SpooledRun, sequence: number): Promise<Uint8Array | undefined> {
    const bytes = spooled.bytesAt(sequence);
    if (bytes === 0) return undefined;
    try {
      const value = await this.#store.get(keyOf(spooled.run, sequence, bytes));
      if (value || spooled.bytesAt(sequence) === 0) return value;
      this.#lose(1, "disk", "a batch is gone from the disk");
    } catch (error) {
      this.#lose(1, "disk", `a batch cannot be read: ${(error as Error).message}`);
    }
    this.#forget(spooled, sequence);
    if (spooled.run.bootEpoch === this.bootEpoch) this.events.lost(spooled.run.shard);
    return undefined;
  }

  /** Every global has the run up to that sequence: it is deleted here. */
  durable(spooled: SpooledRun, sequence: number): void {
    const until = Math.min(sequence, spooled.last);
    const operations: SpoolOperation[] = [];
    observeSince(this.#durableSeconds, spooled, { after: spooled.first - 1, until }, this.#clock.monotonicMs());
    for (let at = spooled.first; at <= until; at++) operations.push(...this.#forget(spooled, at));
    spooled.trim(until);
    this.#delete(operations);
    this.#dropEmpty(spooled);
  }

  /** A primary will never take this batch. */
  refused(spooled: SpooledRun, sequence: number): void {
    if (spooled.bytesAt(sequence) === 0) return;
    this.#metrics.add("heliograph_secondary_spool_dropped_batches_total", 1, { reason: "refused" });
    this.#delete(this.#forget(spooled, sequence));
  }

  async generation(): Promise<Uint8Array | undefined> {
    return await this.#store.get(generationKey);
  }

  async saveGeneration(bytes: Uint8Array): Promise<void> {
    await this.#store.batch([{ type: "put", key: generationKey, value: bytes }], { sync: true });
  }

  /** Resolves when everything that was put is on disk, or lost. */
  async settled(): Promise<void> {
    while (this.#writing) await this.#writing;
    await this.#deleting;
  }

  async close(): Promise<void> {
    await this.settled();
    await this.#store.close();
  }

  /** What came while the last write was synced goes in the next one together. */
  async #write(): Promise<void> {
    while (this.#unwritten.length > 0) {
      const batches = this.#unwritten.splice(0);
      const bytes = batches.reduce((sum, { batch }) => sum + batch.bytes.length, 0);
      const deletions = [...this.#undeleted.splice(0), ...this.#makeRoom(bytes)];
      const operations = [...deletions];
      for (const { batch } of batches) {
        operations.push({
          type: "put",
          key: keyOf(batch.id, batch.id.sequence, batch.bytes.length),
          value: batch.bytes,
        });
      }
      const beganMs = this.#clock.monotonicMs();
      try {
        await this.#store.batch(operations, { sync: true });
        this.#writeSeconds.observe((this.#clock.monotonicMs() - beganMs) / 1000);
        for (const { batch, sealedMs } of batches) {
          this.#metrics.add("heliograph_secondary_batches_total");
          this.#metrics.add("heliograph_secondary_batch_bytes_total", batch.bytes.length);
          this.#metrics.add("heliograph_secondary_batch_raw_bytes_total", batch.header.bodyBytes);
          const run = this.#index(batch.id, batch.id.sequence, batch.bytes.length, sealedMs);
          this.events.stored(run, batch.id.sequence);
        }
      } catch (error) {
        this.#undeleted.push(...deletions);
        this.#lose(batches.length, "disk", `the disk does not take a batch: ${(error as Error).message}`);
        for (const shard of new Set(batches.map(({ batch }) => batch.id.shard))) this.events.lost(shard);
      }
      this.#unwrittenBytes -= bytes;
    }
    this.#writing = undefined;
  }

  /** Forgets batches until there is room: held ones first, then the oldest. Returns what deletes them. */
  #makeRoom(bytes: number): SpoolOperation[] {
    const operations: SpoolOperation[] = [];
    const drop = (next: () => SpooledRun | undefined) => {
      let dropped = 0;
      while (this.#bytes + bytes > this.#bytesMax) {
        const spooled = next();
        if (!spooled) break;
        const forgotten = this.#forget(spooled, spooled.first);
        dropped += forgotten.length;
        operations.push(...forgotten);
        spooled.trim(spooled.first);
      }
      return dropped;
    };
    const held = drop(() => this.#runs.find((spooled) => spooled.first <= Math.min(spooled.held, spooled.last)));
    if (held > 0) this.#metrics.add("heliograph_secondary_spool_dropped_batches_total", held, { reason: "held" });
    const oldest = drop(() => this.#oldest());
    if (oldest > 0) this.#lose(oldest, "full", `the spool is full (${this.#bytesMax} bytes): the oldest are dropped`);
    if (operations.length > 0) for (const spooled of [...this.#runs]) this.#dropEmpty(spooled);
    return operations;
  }

  /**
   * The run whose first batch is the oldest. Shards lose alike: what was sealed first goes first, and of an earlier boot epoch,
   * where that is not known, the shard goes first that has most left.
   */
  #oldest(): SpooledRun | undefined {
    let bootEpoch: number | undefined;
    const shards = new Map<number, { readonly first: SpooledRun; batches: number }>();
    for (const spooled of this.#runs) {
      if (spooled.empty) continue;
      bootEpoch ??= spooled.run.bootEpoch;
      if (spooled.run.bootEpoch !== bootEpoch) break;
      const batches = spooled.last - spooled.first + 1;
      const known = shards.get(spooled.run.shard);
      if (known) known.batches += batches;
      else shards.set(spooled.run.shard, { first: spooled, batches });
    }
    const candidates = [...shards.values()];
    if (bootEpoch !== this.bootEpoch) return candidates.sort((a, b) => b.batches - a.batches)[0]?.first;
    // A hole has no time, and can go at once.
    const sealedMs = ({ first }: { readonly first: SpooledRun }) => first.sealedMsAt(first.first) || 0;
    return candidates.sort((a, b) => sealedMs(a) - sealedMs(b))[0]?.first;
  }

  #index(run: RunId, sequence: number, bytes: number, sealedMs: number): SpooledRun {
    let spooled = this.find(run);
    if (!spooled) {
      const { bootEpoch, datacenter, secondary, shard } = run;
      spooled = new SpooledRun({ datacenter, secondary, bootEpoch, shard, run: run.run }, sequence);
      this.#runs.push(spooled);
      const before = this.#newest.get(shard);
      if (bootEpoch === this.bootEpoch) this.#newest.set(shard, spooled);
      if (before) this.#dropEmpty(before);
    }
    spooled.append(sequence, bytes, sealedMs);
    this.#bytes += bytes;
    this.#batches++;
    return spooled;
  }

  #forget(spooled: SpooledRun, sequence: number): SpoolOperation[] {
    const bytes = spooled.remove(sequence);
    if (bytes === 0) return [];
    this.#bytes -= bytes;
    this.#batches--;
    return [{ type: "del", key: keyOf(spooled.run, sequence, bytes) }];
  }

  /** Not synced: a batch that comes back after a crash is sent once more, which is harmless. */
  #delete(operations: SpoolOperation[]): void {
    if (operations.length === 0) return;
    this.#deleting = this.#deleting
      .then(() => this.#store.batch(operations, { sync: false }))
      .catch((error: unknown) => {
        this.#undeleted.push(...operations);
        this.#log.warn({ err: error }, "Batches that are safe elsewhere could not be deleted from the spool yet.");
      });
  }

  /** The newest run of a shard stays: it will grow. */
  #dropEmpty(spooled: SpooledRun): void {
    const at = this.#runs.indexOf(spooled);
    if (spooled.empty && at >= 0 && !this.isNewest(spooled)) this.#runs.splice(at, 1);
  }

  #lose(batches: number, reason: "disk" | "full", why: string): void {
    this.#metrics.add("heliograph_secondary_spool_dropped_batches_total", batches, { reason });
    this.#lossesUnlogged += batches;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lossLoggedMs < lossLoggedEveryMs) return;
    this.#log.error({ batches: this.#lossesUnlogged, reason: why }, "Batches were lost before every global had them.");
    this.#lossLoggedMs = nowMs;
    this.#lossesUnlogged = 0;
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

export interface SpoolOptions {
  readonly store: SpoolStore;
  readonly datacenter: string;
  readonly secondary: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly bytesMax?: number;
}

const text = new TextDecoder();
const utf8 = new TextEncoder();

/** Numbers have fixed widths, so that the order of keys is the order of batches. The size is in the key, so that opening reads no values. */
function keyOf(run: RunId, sequence: number, bytes: number): string {
  const parts = [run.bootEpoch, run.shard, run.run, sequence, bytes];
  return batchPrefix + parts.map((part) => String(part).padStart(12, "0")).join("/");
}

function parseKey(key: string): {
  readonly bootEpoch: number;
  readonly shard: number;
  readonly run: number;
  readonly sequence: number;
  readonly bytes: number;
} {
  const match = /^batch\/(\d{12})\/(\d{12})\/(\d{12})\/(\d{12})\/(\d{12})$/.exec(key);
  if (!match)
    throw new SpoolError(
      "unreadable",
      `spool: expected a key batch/<epoch>/<shard>/<run>/<sequence>/<bytes>, got ${key}`,
    );
  const [bootEpoch, shard, run, sequence, bytes] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return { bootEpoch, shard, run, sequence, bytes };
}

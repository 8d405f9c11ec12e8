// Keeps each batch on this machine's disk until every global has it.
//
// Batches lie in level under their boot epoch, shard, run and sequence, a value each, and are synced before they are offered to
// a primary: what was scraped a second ago survives a power cut. How far each run is safe is not written down: after a restart
// everything that is still here is sent again, which is harmless. Room is bounded; when it runs short, batches that both
// primaries hold go first, then, counted, the oldest.
//
// What the disk has not taken is in memory, within a bound. When the disk takes nothing (it is full, or broken) batches are
// offered from there, so that a primary that can be reached has them anyway, and they are written as soon as there is room.

import { assert } from "#/lib/assert/assert.ts";
import { GiB, MiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import { batchBytesMax } from "#/lib/codec/limits.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { RunId } from "#/lib/model/identity.ts";
import type { HistogramSeries, Registry } from "#/lib/telemetry/registry.ts";
import { batchPrefix, keyOf, parseKey } from "#/secondary/spool/key.ts";
import { BatchMemory } from "#/secondary/spool/memory.ts";
import { observeSince, SpooledRun } from "#/secondary/spool/run.ts";
import { SpoolError, type SpoolOperation, type SpoolStore } from "#/secondary/spool/store.ts";

/** 24 hours of a full secondary's batches (5,000 targets × 1,000 series: 0.9 GB an hour), and a tenth more. */
export const spoolBytesMax = 24 * GiB;
assert(spoolBytesMax >= 16 * batchBytesMax, "a spool holds a window of unaccepted batches");
/** What is known of each takes 16 bytes. Eleven days of one a second, however small they are. */
export const spoolBatchesMax = 1_000_000;
/** Batches that the disk has not taken: four minutes of a full secondary's. Memory is no spool for longer than that. */
const memoryBytesMax = 64 * MiB;
assert(memoryBytesMax >= 8 * batchBytesMax, "a slow fsync costs no batch");
/** Of those, what is tried again together with new ones. */
const retriedBytesMax = 8 * MiB;
/** A full or broken disk is met batch after batch; one line a minute is enough. */
const loggedEveryMs = minuteMs;

/** What the spool tells of a batch. */
export interface SpoolEvents {
  /** It is on disk; or in memory, because the disk takes nothing. */
  stored(run: SpooledRun, sequence: number): void;
  /** One of that shard's newest run is lost: the run has a hole. */
  lost(shard: number): void;
}

/** Why a batch is dropped; only what is held or accepted is elsewhere. */
type DropReason = "held" | "accepted" | "full" | "memory" | "disk" | "refused";

interface SealedBatch {
  readonly batch: EncodedBatch;
  /** By the monotonic clock. */
  readonly sealedMs: number;
}

/** docs/formats/spool.md */
const spoolVersion = "1";
const versionKey = "meta/version";
const epochKey = "meta/boot_epoch";
const generationKey = "meta/generation";

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
  /** The number of each shard's run that comes now; it may not be offered yet. */
  readonly #comes = new Map<number, number>();
  /** Neither written nor offered yet; oldest first. */
  readonly #pending: SealedBatch[] = [];
  readonly #memory = new BatchMemory();
  readonly #writeSeconds: HistogramSeries;
  readonly #durableSeconds: HistogramSeries;
  readonly bootEpoch: number;
  readonly #batchesMax: number;
  readonly #memoryBytesMax: number;
  /** Of all batches that the disk has not taken, those on their way to it too. */
  #memoryBytes = 0;
  #diskTakes = true;
  #writing: Promise<void> | undefined;
  #deleting: Promise<void> = Promise.resolve();
  /** What the disk did not delete; it is told again with the next write. */
  #undeleted: SpoolOperation[] = [];
  #bytes = 0;
  #batches = 0;
  #diskLoggedMs = Number.NEGATIVE_INFINITY;
  #lossLoggedMs = Number.NEGATIVE_INFINITY;
  #lossesUnlogged = 0;
  events: SpoolEvents = { stored() {}, lost() {} };

  private constructor(options: SpoolOptions, bootEpoch: number) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#bytesMax = options.bytesMax ?? spoolBytesMax;
    this.#batchesMax = options.batchesMax ?? spoolBatchesMax;
    this.#memoryBytesMax = options.memoryBytesMax ?? memoryBytesMax;
    this.bootEpoch = bootEpoch;
    this.#writeSeconds = options.metrics.histogram("heliograph_secondary_spool_write_seconds");
    this.#durableSeconds = options.metrics.histogram("heliograph_secondary_push_seconds", { step: "durable" });
    options.metrics.onCollect(() => {
      options.metrics.set("heliograph_secondary_spool_batches", this.#batches);
      options.metrics.set("heliograph_secondary_spool_bytes", this.#bytes);
      options.metrics.set("heliograph_secondary_spool_memory_bytes", this.#memoryBytes);
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

  /** Takes a batch; `events.stored` tells when it may be sent. Batches of a run come in order. */
  put(batch: EncodedBatch): void {
    this.#pending.push({ batch, sealedMs: this.#clock.monotonicMs() });
    this.#memoryBytes += batch.bytes.length;
    this.#comes.set(batch.id.shard, batch.id.run);
    const shards = this.#makeRoomInMemory();
    this.#writing ??= this.#write();
    for (const shard of shards) this.events.lost(shard);
  }

  /** Undefined when it is no longer there, or cannot be read: then it is given up, counted. */
  async read(spooled: SpooledRun, sequence: number): Promise<Uint8Array | undefined> {
    const bytes = spooled.bytesAt(sequence);
    if (bytes === 0) return undefined;
    const key = keyOf(spooled.run, sequence, bytes);
    const inMemory = this.#memory.get(key);
    if (inMemory) return inMemory.bytes;
    try {
      const value = await this.#store.get(key);
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
    this.#countDropped(1, "refused");
    this.#delete(this.#forget(spooled, sequence));
  }

  async generation(): Promise<Uint8Array | undefined> {
    return await this.#store.get(generationKey);
  }

  async saveGeneration(bytes: Uint8Array): Promise<void> {
    await this.#store.batch([{ type: "put", key: generationKey, value: bytes }], { sync: true });
  }

  /** Resolves when everything that was put is on disk, in memory because the disk takes nothing, or lost. */
  async settled(): Promise<void> {
    while (this.#writing) await this.#writing;
    await this.#deleting;
  }

  async close(): Promise<void> {
    await this.settled();
    if (this.#memory.size > 0) this.#writing ??= this.#write();
    await this.settled();
    const left = [...this.#memory.values()];
    const lost = left.filter(({ sequence, spooled }) => sequence > Math.max(spooled.accepted, spooled.held));
    if (lost.length > 0) this.#lose(lost.length, "disk", "the disk takes nothing, and memory ends here");
    await this.#store.close();
  }

  /** What came while the last write was synced goes in the next one together. */
  async #write(): Promise<void> {
    do {
      const fresh = this.#pending.splice(0);
      const freshBytes = fresh.reduce((sum, { batch }) => sum + batch.bytes.length, 0);
      const again = this.#memory.oldest(retriedBytesMax - freshBytes);
      const deletions = [...this.#undeleted.splice(0), ...this.#makeRoom(freshBytes, fresh.length)];
      const operations = [...deletions];
      for (const [key, { bytes: value }] of again) operations.push({ type: "put", key, value });
      for (const { batch } of fresh) {
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
        this.#written(again.map(([key]) => key));
        for (const each of fresh) this.#offer(each, true);
      } catch (error) {
        this.#undeleted.push(...deletions);
        for (const each of fresh) this.#offer(each, false);
        this.#notWritten(error as Error);
      }
    } while (this.#pending.length > 0 || (this.#diskTakes && this.#memory.size > 0));
    this.#writing = undefined;
  }

  /** These are on disk now as well. */
  #written(keys: readonly string[]): void {
    for (const key of keys) {
      const inMemory = this.#memory.get(key);
      // What became durable, or was dropped, while it was written must not stay on the disk.
      if (!inMemory) this.#undeleted.push({ type: "del", key });
      else this.#memoryBytes -= inMemory.bytes.length;
      this.#memory.delete(key);
    }
    if (this.#diskTakes) return;
    this.#diskTakes = true;
    this.#diskLoggedMs = Number.NEGATIVE_INFINITY;
    this.#log.info({ batchesInMemory: this.#memory.size }, "The disk takes batches again.");
  }

  #notWritten(error: Error): void {
    this.#diskTakes = false;
    this.#metrics.add("heliograph_secondary_spool_write_errors_total");
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#diskLoggedMs < loggedEveryMs) return;
    this.#diskLoggedMs = nowMs;
    this.#log.warn(
      { err: error, batchesInMemory: this.#memory.size, bytes: this.#memoryBytes },
      "The disk takes no batches: they are sent from memory, and written when there is room.",
    );
  }

  #offer({ batch, sealedMs }: SealedBatch, isWritten: boolean): void {
    const { bytes, header, id } = batch;
    this.#metrics.add("heliograph_secondary_batches_total");
    this.#metrics.add("heliograph_secondary_batch_bytes_total", bytes.length);
    this.#metrics.add("heliograph_secondary_batch_raw_bytes_total", header.bodyBytes);
    const spooled = this.#index(id, id.sequence, bytes.length, sealedMs);
    if (isWritten) this.#memoryBytes -= bytes.length;
    else this.#memory.set(keyOf(id, id.sequence, bytes.length), { spooled, sequence: id.sequence, bytes });
    this.events.stored(spooled, id.sequence);
  }

  /** Drops of what is in memory until the rest is within its bound. Returns the shards whose newest run has a hole now. */
  #makeRoomInMemory(): ReadonlySet<number> {
    const shards = new Set<number>();
    let lost = 0;
    const lose = (run: RunId) => {
      lost++;
      if (run.bootEpoch === this.bootEpoch && this.#comes.get(run.shard) === run.run) shards.add(run.shard);
    };
    while (this.#memoryBytes > this.#memoryBytesMax) {
      const inMemory = this.#memory.leastNeeded();
      if (inMemory) {
        const { sequence, spooled } = inMemory;
        this.#forget(spooled, sequence);
        if (sequence <= spooled.held) this.#countDropped(1, "held");
        else if (sequence <= spooled.accepted) this.#countDropped(1, "accepted");
        else lose(spooled.run);
        continue;
      }
      const pending = this.#pending.shift();
      if (!pending) break;
      this.#memoryBytes -= pending.batch.bytes.length;
      lose(pending.batch.id);
    }
    if (lost > 0) this.#lose(lost, "memory", "the disk does not take them, and memory is full");
    return shards;
  }

  /** Forgets batches until there is room: held ones first, then the oldest. Returns what deletes them. */
  #makeRoom(bytes: number, batches: number): SpoolOperation[] {
    const operations: SpoolOperation[] = [];
    const isFull = () => this.#bytes + bytes > this.#bytesMax || this.#batches + batches > this.#batchesMax;
    if (!isFull()) return operations;
    const drop = (next: () => SpooledRun | undefined) => {
      let dropped = 0;
      while (isFull()) {
        const spooled = next();
        if (!spooled) break;
        if (spooled.bytesAt(spooled.first) > 0) dropped++;
        operations.push(...this.#forget(spooled, spooled.first));
        spooled.trim(spooled.first);
      }
      return dropped;
    };
    const held = drop(() => this.#runs.find((spooled) => spooled.first <= Math.min(spooled.held, spooled.last)));
    if (held > 0) this.#countDropped(held, "held");
    const oldest = drop(() => this.#oldest());
    if (oldest > 0)
      this.#lose(
        oldest,
        "full",
        `the spool is full (${this.#bytesMax} bytes, ${this.#batchesMax} batches): the oldest are dropped`,
      );
    for (const spooled of [...this.#runs]) this.#dropEmpty(spooled);
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
    const key = keyOf(spooled.run, sequence, bytes);
    if (!this.#memory.delete(key)) return [{ type: "del", key }];
    this.#memoryBytes -= bytes;
    return [];
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

  #countDropped(batches: number, reason: DropReason): void {
    this.#metrics.add("heliograph_secondary_spool_dropped_batches_total", batches, { reason });
  }

  #lose(batches: number, reason: "disk" | "full" | "memory", why: string): void {
    this.#countDropped(batches, reason);
    this.#lossesUnlogged += batches;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lossLoggedMs < loggedEveryMs) return;
    this.#log.error({ batches: this.#lossesUnlogged, reason: why }, "Batches were lost before every global had them.");
    this.#lossLoggedMs = nowMs;
    this.#lossesUnlogged = 0;
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
  readonly batchesMax?: number;
  readonly memoryBytesMax?: number;
}

const text = new TextDecoder();
const utf8 = new TextEncoder();

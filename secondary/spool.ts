// Keeps each batch on this machine's disk until every global has it.
//
// Batches lie in level under their boot epoch, shard, run and sequence, a value each, and are synced before they are offered to
// a primary: what was scraped a second ago survives a power cut. How far each run is safe is not written down: after a restart
// everything that is still here is sent again, which is harmless. Room is bounded by bytes and by age; when it runs short, batches
// that both primaries hold go first, then, counted, the oldest. What is dropped is written down and told in a later batch.
//
// What the disk has not taken is in memory, within a bound. When the disk takes nothing (it is full, or broken) batches are
// offered from there, so that a primary that can be reached has them anyway, and they are written as soon as there is room.

import { assert } from "#/lib/assert/assert.ts";
import { GiB, hourMs, MiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import { batchBytesMax } from "#/lib/codec/limits.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { DroppedRange, DropReason } from "#/lib/model/dropped.ts";
import { type BatchId, batchKey } from "#/lib/model/identity.ts";
import type { HistogramSeries, Registry } from "#/lib/telemetry/registry.ts";
import { DroppedRecords, droppedPrefix } from "#/secondary/spool/dropped.ts";
import { RoomForecast } from "#/secondary/spool/forecast.ts";
import { type BatchDetails, batchPrefix, keyOf, parseKey } from "#/secondary/spool/key.ts";
import { BatchMemory } from "#/secondary/spool/memory.ts";
import { observeSince, oldestRun, SpooledRun } from "#/secondary/spool/run.ts";
import { SpoolError, type SpoolOperation, type SpoolStore } from "#/secondary/spool/store.ts";

/**
 * 24 hours of a full secondary's batches, and a tenth more for what the disk's tables take besides. 5,000 targets × 1,000 series
 * every 15 s are 28.8 G samples in 24 hours, of 0.57 bytes each in sealed batches (docs/benchmarks.md): 16.4 GB, 15.3 GiB. With
 * twice as much churn, 0.8 bytes, they still fit.
 */
export const spoolBytesMax = 24 * GiB;
/** A day's cut, and the night until somebody is there to end it. */
export const spoolAgeMsMax = 48 * hourMs;
assert(spoolBytesMax >= 16 * batchBytesMax, "a spool holds a window of unaccepted batches");
/** What is known of each takes 40 bytes. Eleven days of one a second, however small they are. */
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
  /** That shard's next batch is to tell of these, if anybody hears it now; asked again until one does. */
  dropped(shard: number, ranges: () => readonly DroppedRange[]): unknown;
}

/** Why a batch is dropped; only what is held or accepted is elsewhere. */
type Reason = DropReason | "held" | "accepted" | "memory";

/**
 * As long as a batch may take from its shard to the spool: what it tells is not given to another one meanwhile. A secondary
 * without targets makes batches for that alone.
 */
const toldEveryMs = 10 * secondMs;

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
  readonly #ageMsMax: number;
  readonly #records = new DroppedRecords();
  readonly #forecast: RoomForecast;
  #toldMs = Number.NEGATIVE_INFINITY;
  /** The shard whose batch came last. */
  #busyShard = 0;
  #telling: Timer | undefined;
  events: SpoolEvents = { stored() {}, lost() {}, dropped() {} };

  private constructor(options: SpoolOptions, bootEpoch: number) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#bytesMax = options.bytesMax ?? spoolBytesMax;
    this.#batchesMax = options.batchesMax ?? spoolBatchesMax;
    this.#memoryBytesMax = options.memoryBytesMax ?? memoryBytesMax;
    this.#ageMsMax = options.ageMsMax ?? spoolAgeMsMax;
    this.bootEpoch = bootEpoch;
    const { bytesMax, batchesMax, ageMsMax } = {
      bytesMax: this.#bytesMax,
      batchesMax: this.#batchesMax,
      ageMsMax: this.#ageMsMax,
    };
    this.#forecast = new RoomForecast({ bytesMax, batchesMax, ageMsMax });
    this.#writeSeconds = options.metrics.histogram("heliograph_secondary_spool_write_seconds");
    this.#durableSeconds = options.metrics.histogram("heliograph_secondary_push_seconds", { step: "durable" });
    options.metrics.onCollect(() => {
      options.metrics.set("heliograph_secondary_spool_batches", this.#batches);
      options.metrics.set("heliograph_secondary_spool_bytes", this.#bytes);
      options.metrics.set("heliograph_secondary_spool_bytes_max", this.#bytesMax);
      options.metrics.set("heliograph_secondary_spool_room_seconds", this.roomMs / secondMs);
      options.metrics.set("heliograph_secondary_spool_disk_takes", this.#diskTakes ? 1 : 0);
      options.metrics.set("heliograph_secondary_spool_untold_drops", this.#records.untold);
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
      const { details, run, sequence } = parseKey(key);
      spool.#index({ datacenter, secondary, ...run, sequence }, details, Number.NaN);
    }
    for await (const key of store.keys({ gte: droppedPrefix, lt: `${droppedPrefix}~` })) {
      const value = await store.get(key);
      if (value) spool.#records.restore(value);
    }
    // Keys have all runs of a shard together. Shards begin new runs for the same reasons, mostly at the same time.
    spool.#runs.sort((a, b) => a.run.bootEpoch - b.run.bootEpoch || a.run.run - b.run.run);
    if (spool.#batches > 0) {
      options.log.info(
        { batches: spool.#batches, bytes: spool.#bytes },
        "The spool has batches of earlier boot epochs.",
      );
    }
    spool.#telling = clock.every(toldEveryMs, () => spool.#tell());
    return spool;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get batches(): number {
    return this.#batches;
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }

  /** How long, at the present rate, until what not both primaries hold must be dropped; Infinity while nothing piles up. */
  get roomMs(): number {
    return this.#forecast.roomMs(this.#clock.monotonicMs());
  }

  /** False while batches that come are in memory alone. */
  get diskTakes(): boolean {
    return this.#diskTakes;
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  /** Newest first; also runs that are empty now, while they may still grow. */
  *runs(): Iterable<SpooledRun> {
    for (let i = this.#runs.length - 1; i >= 0; i--) yield this.#runs[i]!;
  }

  /** Whether this is where its shard's next batches come: what is in it is the present, or waits behind it. */
  isNewest(spooled: SpooledRun): boolean {
    return this.#newest.get(spooled.run.shard) === spooled;
  }

  /** All shards begin new runs: what is in these is a backlog now. */
  endRuns(): void {
    const ended = [...this.#newest.values()];
    this.#newest.clear();
    for (const spooled of ended) this.#dropEmpty(spooled);
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
    if (batch.dropped.length > 0) this.#records.carried(batchKey(batch.id), batch.dropped);
    this.#busyShard = batch.id.shard;
    this.#tell();
    if (this.#forecast.isDue(this.#clock.monotonicMs())) this.#look();
    const shards = this.#makeRoomInMemory();
    this.#writing ??= this.#write();
    for (const shard of shards) this.events.lost(shard);
  }

  /** Undefined when it is no longer there, or cannot be read: then it is given up, counted. */
  async read(spooled: SpooledRun, sequence: number): Promise<Uint8Array | undefined> {
    const bytes = spooled.bytesAt(sequence);
    if (bytes === 0) return undefined;
    const key = keyOf(spooled.run, sequence, spooled.detailsAt(sequence));
    const inMemory = this.#memory.get(key);
    if (inMemory) return inMemory.bytes;
    try {
      const value = await this.#store.get(key);
      if (value || spooled.bytesAt(sequence) === 0) return value;
      this.#lose(1, "disk", "a batch is gone from the disk");
    } catch (error) {
      this.#lose(1, "disk", `a batch cannot be read: ${(error as Error).message}`);
    }
    this.#record({ ...spooled.run, sequence }, spooled.detailsAt(sequence), "disk");
    this.#forget(spooled, sequence);
    this.#delete([]);
    if (spooled.run.bootEpoch === this.bootEpoch) this.events.lost(spooled.run.shard);
    return undefined;
  }

  /** Every global has the run up to that sequence: it is deleted here. */
  durable(spooled: SpooledRun, sequence: number): void {
    const until = Math.min(sequence, spooled.last);
    const operations: SpoolOperation[] = [];
    observeSince(this.#durableSeconds, spooled, { after: spooled.first - 1, until }, this.#clock.monotonicMs());
    for (let at = spooled.first; at <= until; at++) operations.push(...this.#forget(spooled, at, true));
    spooled.trim(until);
    this.#delete(operations);
    this.#dropEmpty(spooled);
  }

  /** A primary will never take this batch. */
  refused(spooled: SpooledRun, sequence: number): void {
    if (spooled.bytesAt(sequence) === 0) return;
    this.#countDropped(1, "refused");
    this.#record({ ...spooled.run, sequence }, spooled.detailsAt(sequence), "refused");
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
    this.#telling?.cancel();
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
      const room = this.#makeRoom(freshBytes, fresh.length);
      const deletions = [...this.#undeleted.splice(0), ...room, ...this.#records.takeOperations()];
      const operations = [...deletions];
      for (const [key, { bytes: value }] of again) operations.push({ type: "put", key, value });
      for (const { batch } of fresh) {
        operations.push({
          type: "put",
          key: keyOf(batch.id, batch.id.sequence, detailsOf(batch)),
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
    const details = detailsOf(batch);
    const spooled = this.#index(id, details, sealedMs);
    if (isWritten) this.#memoryBytes -= bytes.length;
    else this.#memory.set(keyOf(id, id.sequence, details), { spooled, sequence: id.sequence, bytes });
    this.events.stored(spooled, id.sequence);
  }

  /** Drops of what is in memory until the rest is within its bound. Returns the shards whose newest run has a hole now. */
  #makeRoomInMemory(): ReadonlySet<number> {
    const shards = new Set<number>();
    let lost = 0;
    const lose = (run: BatchId, details: BatchDetails) => {
      lost++;
      this.#record(run, details, "disk");
      if (run.bootEpoch === this.bootEpoch && this.#comes.get(run.shard) === run.run) shards.add(run.shard);
    };
    while (this.#memoryBytes > this.#memoryBytesMax) {
      const inMemory = this.#memory.leastNeeded();
      if (inMemory) {
        const { sequence, spooled } = inMemory;
        const details = spooled.detailsAt(sequence);
        this.#forget(spooled, sequence);
        if (sequence <= spooled.held) this.#countDropped(1, "held");
        else if (sequence <= spooled.accepted) this.#countDropped(1, "accepted");
        else lose({ ...spooled.run, sequence }, details);
        continue;
      }
      const pending = this.#pending.shift();
      if (!pending) break;
      this.#memoryBytes -= pending.batch.bytes.length;
      this.#records.left(batchKey(pending.batch.id), false);
      lose(pending.batch.id, detailsOf(pending.batch));
    }
    if (lost > 0) this.#lose(lost, "memory", "the disk does not take them, and memory is full");
    return shards;
  }

  /** Forgets batches until there is room: held ones first, then the oldest. Returns what deletes them. */
  #makeRoom(bytes: number, batches: number): SpoolOperation[] {
    const operations: SpoolOperation[] = [];
    const isFull = () => this.#bytes + bytes > this.#bytesMax || this.#batches + batches > this.#batchesMax;
    const drop = (reason: DropReason | "held", next: () => SpooledRun | undefined) => {
      let dropped = 0;
      for (let spooled = next(); spooled; spooled = next()) {
        const { first } = spooled;
        if (spooled.bytesAt(first) > 0) {
          dropped++;
          if (reason !== "held") this.#record({ ...spooled.run, sequence: first }, spooled.detailsAt(first), reason);
        }
        operations.push(...this.#forget(spooled, first));
        spooled.trim(spooled.first);
      }
      return dropped;
    };
    const isHeld = (spooled: SpooledRun) => spooled.first <= Math.min(spooled.held, spooled.last);
    const oldest = () => oldestRun(this.#runs, this.bootEpoch);
    const tooOld = (held: boolean) => {
      const spooled = oldest();
      return spooled && isHeld(spooled) === held && this.#isTooOld(spooled) ? spooled : undefined;
    };
    // Of the oldest run some may be held and what follows not.
    const aged = { held: 0, lost: 0 };
    while (tooOld(true) || tooOld(false)) {
      aged.held += drop("held", () => tooOld(true));
      aged.lost += drop("age", () => tooOld(false));
    }
    const held = aged.held + drop("held", () => (isFull() ? this.#runs.find(isHeld) : undefined));
    if (held > 0) this.#countDropped(held, "held");
    if (aged.lost > 0) this.#lose(aged.lost, "age", `older than the spool keeps (${this.#ageMsMax / hourMs} h)`);
    const full = drop("full", () => (isFull() ? oldest() : undefined));
    if (full > 0)
      this.#lose(
        full,
        "full",
        `the spool is full (${this.#bytesMax} bytes, ${this.#batchesMax} batches): the oldest are dropped`,
      );
    for (const spooled of [...this.#runs]) this.#dropEmpty(spooled);
    return operations;
  }

  #isTooOld(spooled: SpooledRun): boolean {
    // A hole goes with what was around it.
    return !(this.#ageMs(spooled, spooled.first) <= this.#ageMsMax);
  }

  /** Of a batch of this start by a clock that never jumps; of an earlier one by its slots. */
  #ageMs(spooled: SpooledRun, sequence: number): number {
    const sealedMs = spooled.sealedMsAt(sequence);
    if (!Number.isNaN(sealedMs)) return this.#clock.monotonicMs() - sealedMs;
    if (spooled.bytesAt(sequence) === 0) return Number.NaN;
    return this.#clock.nowMs() - spooled.detailsAt(sequence).slotsUntilMs;
  }

  #look(): void {
    let bytes = 0;
    let batches = 0;
    let oldestAgeMs: number | undefined;
    for (const spooled of this.#runs) {
      const unheld = spooled.unheld();
      bytes += unheld.bytes;
      batches += unheld.batches;
      if (unheld.first !== undefined) oldestAgeMs = Math.max(oldestAgeMs ?? 0, this.#ageMs(spooled, unheld.first));
    }
    this.#forecast.look({ atMs: this.#clock.monotonicMs(), bytes, batches, oldestAgeMs });
  }

  #record(batch: BatchId, details: BatchDetails, reason: DropReason): void {
    this.#records.add(batch, details, reason);
  }

  #tell(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#records.untold === 0 || nowMs - this.#toldMs < toldEveryMs) return;
    this.events.dropped(this.#busyShard, () => {
      this.#toldMs = nowMs;
      return this.#records.offered();
    });
  }

  #index(batch: BatchId, details: BatchDetails, sealedMs: number): SpooledRun {
    const { sequence, ...run } = batch;
    let spooled = this.find(run);
    if (!spooled) {
      const { bootEpoch, datacenter, secondary, shard } = run;
      spooled = new SpooledRun({ datacenter, secondary, bootEpoch, shard, run: run.run }, sequence);
      this.#runs.push(spooled);
      const before = this.#newest.get(shard);
      if (bootEpoch === this.bootEpoch) this.#newest.set(shard, spooled);
      if (before) this.#dropEmpty(before);
    }
    spooled.append(sequence, details, sealedMs);
    this.#bytes += details.bytes;
    this.#batches++;
    return spooled;
  }

  /** `known`: every global has it. */
  #forget(spooled: SpooledRun, sequence: number, known = false): SpoolOperation[] {
    const details = spooled.detailsAt(sequence);
    const bytes = spooled.remove(sequence);
    if (bytes === 0) return [];
    this.#bytes -= bytes;
    this.#batches--;
    this.#records.left(batchKey({ ...spooled.run, sequence }), known);
    const key = keyOf(spooled.run, sequence, details);
    if (!this.#memory.delete(key)) return [{ type: "del", key }];
    this.#memoryBytes -= bytes;
    return [];
  }

  /** Not synced: a batch that comes back after a crash is sent once more, which is harmless. */
  #delete(batches: readonly SpoolOperation[]): void {
    const operations = [...batches, ...this.#records.takeOperations()];
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

  #countDropped(batches: number, reason: Reason): void {
    this.#metrics.add("heliograph_secondary_spool_dropped_batches_total", batches, { reason });
  }

  #lose(batches: number, reason: "age" | "disk" | "full" | "memory", why: string): void {
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
  readonly ageMsMax?: number;
  readonly batchesMax?: number;
  readonly memoryBytesMax?: number;
}

function detailsOf({ bytes, header, slotsFromMs, slotsUntilMs }: EncodedBatch): BatchDetails {
  return { bytes: bytes.length, scrapes: header.scrapes, slotsFromMs, slotsUntilMs };
}

const text = new TextDecoder();
const utf8 = new TextEncoder();

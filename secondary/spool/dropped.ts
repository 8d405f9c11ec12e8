// What the spool dropped before every global had it, until they know.
//
// Each drop is written into the store together with the deletion that it is about, so that no power cut forgets it, and told in
// a later batch. A range that was given to a batch does not change any more; when that batch is durable all readers know, and
// the range is forgotten; when that batch is dropped itself the range goes with another. After a start everything that is still
// written down is told again: readers count it once.

import { ByteWriter } from "#/lib/bytes/writer.ts";
import { droppedRangeBytesMax, readDropped, writeDropped } from "#/lib/codec/dropped.ts";
import { batchDroppedMax } from "#/lib/codec/limits.ts";
import { type DroppedRange, type DropReason, dropReasons, joinedRange } from "#/lib/model/dropped.ts";
import type { BatchId } from "#/lib/model/identity.ts";
import { type BatchDetails, padded } from "#/secondary/spool/key.ts";
import type { SpoolOperation } from "#/secondary/spool/store.ts";

export const droppedPrefix = "dropped/";

/** Ranges that are not told yet grow, so that a run that goes has one; this many mean hundreds of restarts in one long cut. */
export const droppedRecordsMax = 4096;

interface DroppedRecord {
  range: DroppedRange;
  /** It was given to a batch once, and must stay as it was. */
  closed: boolean;
  /** The batch that tells it now. */
  carrier: string | undefined;
}

export class DroppedRecords {
  /** By their keys in the store, oldest first. */
  readonly #records = new Map<string, DroppedRecord>();
  readonly #carried = new Map<string, DroppedRecord[]>();
  #operations: SpoolOperation[] = [];
  #untold = 0;

  /** Ranges that no batch tells. */
  get untold(): number {
    return this.#untold;
  }

  restore(value: Uint8Array): void {
    const anyHeader = { bootEpoch: Number.MAX_SAFE_INTEGER, shard: 0, run: 0, sequence: 1 };
    for (const range of readDropped(value, anyHeader)) this.#keep({ range, closed: true, carrier: undefined });
  }

  add(batch: BatchId, { scrapes, slotsFromMs, slotsUntilMs }: BatchDetails, reason: DropReason): void {
    const { bootEpoch, run, sequence, shard } = batch;
    const range = {
      bootEpoch,
      shard,
      run,
      from: sequence,
      until: sequence,
      reason,
      scrapes,
      slotsFromMs,
      slotsUntilMs,
    };
    for (const record of this.#records.values()) {
      const joined = record.closed ? undefined : joinedRange(record.range, range);
      if (!joined) continue;
      record.range = joined;
      this.#write(record);
      return;
    }
    const record = { range, closed: false, carrier: undefined };
    this.#keep(record);
    this.#write(record);
    if (this.#records.size <= droppedRecordsMax) return;
    // Readers give up what they lack without it after an hour.
    const [oldest] = this.#records.values();
    this.#forget(oldest!);
  }

  /** Some that no batch tells: they are given to one, and are offered again until one comes that has them. */
  offered(): readonly DroppedRange[] {
    const ranges: DroppedRange[] = [];
    for (const record of this.#records.values()) {
      if (record.carrier !== undefined) continue;
      record.closed = true;
      ranges.push(record.range);
      if (ranges.length === batchDroppedMax) break;
    }
    return ranges;
  }

  /** That batch tells these. */
  carried(batch: string, ranges: readonly DroppedRange[]): void {
    for (const range of ranges) {
      const record = this.#records.get(keyOf(range));
      if (!record || record.carrier !== undefined || record.range.until !== range.until) continue;
      record.carrier = batch;
      this.#untold--;
      const others = this.#carried.get(batch);
      if (others) others.push(record);
      else this.#carried.set(batch, [record]);
    }
  }

  /** A batch leaves the spool: `known` when every global has it. */
  left(batch: string, known: boolean): void {
    const records = this.#carried.get(batch);
    if (!records) return;
    this.#carried.delete(batch);
    for (const record of records) {
      if (known) this.#forget(record);
      else {
        record.carrier = undefined;
        this.#untold++;
      }
    }
  }

  /** What the store must be told since the last time. */
  takeOperations(): readonly SpoolOperation[] {
    return this.#operations.splice(0);
  }

  #keep(record: DroppedRecord): void {
    const key = keyOf(record.range);
    if (!this.#records.has(key)) this.#untold++;
    this.#records.set(key, record);
  }

  #write({ range }: DroppedRecord): void {
    const writer = new ByteWriter(droppedRangeBytesMax);
    writeDropped(writer, [range]);
    const key = keyOf(range);
    this.#operations = this.#operations.filter((operation) => operation.key !== key);
    this.#operations.push({ type: "put", key, value: writer.toBytes() });
  }

  #forget(record: DroppedRecord): void {
    const key = keyOf(record.range);
    if (!this.#records.delete(key)) return;
    if (record.carrier === undefined) this.#untold--;
    this.#operations.push({ type: "del", key });
  }
}

function keyOf({ bootEpoch, from, reason, run, shard }: DroppedRange): string {
  return droppedPrefix + padded([bootEpoch, shard, run, from, dropReasons.indexOf(reason)]);
}

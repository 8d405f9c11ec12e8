// An append-only local log: what a replica has read is here before anyone is told that it is safe.
//
// `append` only puts a record into memory. At most `syncDelayMs` later, together with all others that came meanwhile, it is
// written and fsynced, and only then `onDurable` counts it. Until then its bytes stay in memory: after any failed write or
// fsync the file is cut back to what is known to be good and the rest is written anew, because after a failed fsync the
// kernel may forget what it could not write. So a full disk delays durability and loses nothing that was promised.

import { Buffer } from "node:buffer";
import { join } from "node:path";
import { assert } from "#/lib/assert/assert.ts";
import { MiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Disk, DiskFile } from "#/lib/journal/disk.ts";
import { JournalError } from "#/lib/journal/error.ts";
import {
  decodeHeader,
  decodeRecord,
  encodeHeader,
  encodeRecord,
  payloadBytesMax,
  recordHeaderBytes,
  segmentHeaderBytes,
} from "#/lib/journal/format.ts";
import type { DirectoryLock } from "#/lib/journal/lock.ts";
import { damaged, findEnd, readRecords, type SegmentEnd, unknownVersion } from "#/lib/journal/segment.ts";
import type { Logger } from "#/lib/logger/logger.ts";

/** A replica promises its fsync within a second; half of it is left to the disk. */
export const syncDelayMs = 500;

/** This much is written at once without waiting for the timer: a few of the largest batches. */
const flushBytes = 8 * MiB;

/** What may wait for the disk in memory: several seconds of the fastest replay that a log was seen to deliver, once. */
export const bufferBytesMax = 64 * MiB;
assert(bufferBytesMax >= 2 * (flushBytes + payloadBytesMax), "a flush runs while the next one gathers");

/** Large enough that a day of a full data centre is some hundred files, small enough to be read whole when it is checked. */
export const segmentBytesMax = 64 * MiB;
assert(segmentBytesMax >= 2 * payloadBytesMax, "a segment holds more than a record");

/** Trimming frees whole segments, so that a quiet journal must begin new ones too. */
export const segmentAgeMsMax = 10 * minuteMs;

/** How long after a failed write it is tried again. */
const retryDelayMs = secondMs;

export interface JournalRecord {
  /** 1 to 255. */
  readonly kind: number;
  readonly payload: Uint8Array;
}

/** Where a record stands; valid until it is trimmed. */
export interface JournalPlace {
  readonly segment: number;
  readonly offset: number;
}

export interface PlacedRecord extends JournalRecord {
  readonly place: JournalPlace;
}

export interface JournalOptions {
  readonly dir: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  readonly segmentBytesMax?: number;
  readonly segmentAgeMsMax?: number;
  readonly syncDelayMs?: number;
  /** What each new segment begins with, so that it can be understood when those before it are trimmed. */
  readonly preamble?: () => readonly JournalRecord[];
  /** Called after each fsync with the number of records that are durable, of those appended since it was opened. */
  readonly onDurable?: (records: number) => void;
  /** Called with the duration of each fsync. */
  readonly onSync?: (durationMs: number) => void;
  /** Called after each failed attempt to write; it is tried again by itself. */
  readonly onFailure?: (error: JournalError) => void;
}

interface Segment {
  readonly number: number;
  readonly path: string;
  readonly createdMs: number;
  /** With what is still in memory. */
  bytes: number;
  durableBytes: number;
}

/** Encoded bytes that are not durable yet, in order. */
interface Part {
  readonly segment: Segment;
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** How many records are appended once it is durable. */
  readonly records: number;
}

export class Journal {
  /** Bytes of a torn tail that `open` cut off. */
  readonly tornBytes: number;
  readonly #options: JournalOptions;
  readonly #lock: DirectoryLock;
  readonly #segments: Segment[];
  readonly #parts: Part[] = [];
  #partBytes = 0;
  #appended = 0;
  #durable = 0;
  /** The file of the segment that is being written. */
  #open: { readonly segment: Segment; readonly file: DiskFile } | undefined;
  /** A write failed since the last success: what lies behind the durable part of the file is unknown. */
  #failed: JournalError | undefined;
  #flushing: Promise<void> | undefined;
  #timer: Timer | undefined;
  #waiters: (() => void)[] = [];
  #closed = false;

  /**
   * Locks the directory, checks every header and the newest segment, cuts off a torn tail and syncs what is left. Throws
   * JournalError `corrupt`, `bad_version` or `missing_segment`, and DirectoryLocked.
   */
  static async open(options: JournalOptions): Promise<Journal> {
    await options.disk.makeDirectory(options.dir);
    const lock = await options.disk.lock(options.dir);
    try {
      const { segments, tornBytes } = await openSegments(options);
      return new Journal(options, lock, segments, tornBytes);
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  private constructor(options: JournalOptions, lock: DirectoryLock, segments: Segment[], tornBytes: number) {
    this.#options = options;
    this.#lock = lock;
    this.#segments = segments;
    this.tornBytes = tornBytes;
  }

  /** Of all segments, with what is still in memory. */
  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** Every segment before it was trimmed; undefined before the first record. */
  get oldestSegment(): number | undefined {
    return this.#segments[0]?.number;
  }

  /** Records appended since it was opened, those of preambles too. */
  get appended(): number {
    return this.#appended;
  }

  /** How many of `appended` are on disk. */
  get durable(): number {
    return this.#durable;
  }

  /** Why nothing becomes durable at present; undefined when all is well. */
  get failure(): JournalError | undefined {
    return this.#failed;
  }

  /** Copies the record. Throws JournalError `too_large`, `buffer_full` (see `room`) or `closed`. */
  append(record: JournalRecord): JournalPlace {
    if (this.#closed) throw new JournalError("closed", `${this.#options.dir}: the journal is closed`);
    const { length } = record.payload;
    if (length > payloadBytesMax) {
      throw new JournalError("too_large", `expected a record of at most ${payloadBytesMax} bytes, got ${length}`);
    }
    if (this.#partBytes > bufferBytesMax) {
      throw new JournalError("buffer_full", `${this.#options.dir}: ${this.#partBytes} bytes wait for the disk`);
    }
    assert(record.kind >= 1 && record.kind <= 255, `a record's kind is 1 to 255, got ${record.kind}`);
    if (this.#isFull(length)) this.#begin();
    const place = this.#put(record);
    this.#timer ??= this.#options.clock.after(this.#options.syncDelayMs ?? syncDelayMs, () => this.#onTimer());
    if (this.#partBytes >= flushBytes && !this.#failed && !this.#flushing) this.#flushInBackground();
    return place;
  }

  /** False: wait for `room` before the next `append`. */
  get hasRoom(): boolean {
    return this.#partBytes <= bufferBytesMax / 2 || this.#closed;
  }

  /** Resolves when `append` would not find the buffer full, or the signal aborts. */
  async room(signal: AbortSignal): Promise<void> {
    while (!this.hasRoom && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          signal.removeEventListener("abort", wake);
          resolve();
        };
        signal.addEventListener("abort", wake, { once: true });
        this.#waiters.push(wake);
      });
    }
  }

  /** Makes durable what was appended before the call, or throws JournalError `disk_full` or `write_failed`. */
  async sync(): Promise<void> {
    const wanted = this.#appended;
    while (this.#durable < wanted) {
      this.#flushing ??= this.#flush().finally(() => {
        this.#flushing = undefined;
      });
      await this.#flushing;
    }
  }

  /** Everything that is durable at the call, oldest first, some at a time. A payload is valid until the next step. */
  async *records(): AsyncGenerator<readonly PlacedRecord[]> {
    for (const segment of [...this.#segments]) yield* this.#recordsOf(segment);
  }

  /** The same of one segment; nothing when it was trimmed. */
  async *segmentRecords(number: number): AsyncGenerator<readonly PlacedRecord[]> {
    const segment = this.#segments.find((candidate) => candidate.number === number);
    if (segment) yield* this.#recordsOf(segment);
  }

  async *#recordsOf({ durableBytes, number, path }: Segment): AsyncGenerator<readonly PlacedRecord[]> {
    if (durableBytes <= segmentHeaderBytes) return;
    const file = await this.#options.disk.open(path, { create: false });
    try {
      for await (const records of readRecords(file, path, durableBytes)) {
        yield records.map(({ kind, payload, offset }) => ({ kind, payload, place: { segment: number, offset } }));
      }
    } finally {
      await file.close();
    }
  }

  /** One record again, undefined when it was trimmed. Throws JournalError `corrupt`. */
  async read(place: JournalPlace): Promise<JournalRecord | undefined> {
    const segment = this.#segments.find((candidate) => candidate.number === place.segment);
    if (!segment) return undefined;
    const part = this.#parts.find((candidate) => candidate.segment === segment && candidate.offset === place.offset);
    if (part) return { kind: part.bytes[8]!, payload: part.bytes.subarray(recordHeaderBytes) };
    const file = await this.#options.disk.open(segment.path, { create: false });
    try {
      const header = new Uint8Array(recordHeaderBytes);
      await file.read(header, place.offset);
      const payloadBytes = Math.min(new DataView(header.buffer).getUint32(4, true), payloadBytesMax);
      const bytes = new Uint8Array(recordHeaderBytes + payloadBytes);
      const got = await file.read(bytes, place.offset);
      const record = decodeRecord(bytes.subarray(0, got), 0);
      if ("fault" in record) throw damaged(segment.path, place.offset, record.fault);
      return record;
    } finally {
      await file.close();
    }
  }

  /** Removes the segments all of whose records were appended before that time; never the newest. Returns their number. */
  async trim(beforeMs: number): Promise<number> {
    let removed = 0;
    for (;;) {
      const [oldest, next] = this.#segments;
      // What follows must be on disk before what it replaces is gone: its preamble has what is needed of the past.
      if (!oldest || !next || next.createdMs >= beforeMs || next.durableBytes === 0) break;
      this.#segments.shift();
      await this.#options.disk.remove(oldest.path);
      removed++;
    }
    if (removed > 0) await this.#options.disk.syncDirectory(this.#options.dir);
    return removed;
  }

  /** Syncs, and gives up the directory in any case. May be called twice. Throws what `sync` throws. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    try {
      await this.sync();
    } finally {
      this.#wake();
      await this.#open?.file.close();
      await this.#lock.release();
    }
  }

  #isFull(payloadBytes: number): boolean {
    const segment = this.#segments.at(-1);
    if (!segment) return true;
    const bytesMax = this.#options.segmentBytesMax ?? segmentBytesMax;
    const ageMs = this.#options.clock.nowMs() - segment.createdMs;
    const full = segment.bytes + recordHeaderBytes + payloadBytes > bytesMax;
    return full || ageMs >= (this.#options.segmentAgeMsMax ?? segmentAgeMsMax);
  }

  #begin(): void {
    const number = (this.#segments.at(-1)?.number ?? 0) + 1;
    const createdMs = this.#options.clock.nowMs();
    const path = join(this.#options.dir, segmentName(number));
    const segment: Segment = { number, path, createdMs, bytes: 0, durableBytes: 0 };
    this.#segments.push(segment);
    const preamble = this.#options.preamble?.() ?? [];
    this.#push(segment, encodeHeader({ number, createdMs, preambleRecords: preamble.length }));
    for (const record of preamble) this.#put(record);
  }

  #put(record: JournalRecord): JournalPlace {
    const segment = this.#segments.at(-1)!;
    const offset = segment.bytes;
    this.#appended++;
    this.#push(segment, encodeRecord(record.kind, segment.durableBytes, record.payload));
    return { segment: segment.number, offset };
  }

  #push(segment: Segment, bytes: Uint8Array): void {
    this.#parts.push({ segment, offset: segment.bytes, bytes, records: this.#appended });
    segment.bytes += bytes.length;
    this.#partBytes += bytes.length;
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#flushInBackground();
  }

  #flushInBackground(): void {
    this.sync().catch(() => {
      // It was logged where it happened and stands in `failure`; the timer tries again.
    });
  }

  /** Writes and syncs what is in memory now, a segment at a time. */
  async #flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const last = this.#parts.at(-1);
    try {
      while (last && this.#parts.includes(last)) await this.#flushSegment(last.records);
      if (this.#failed) {
        this.#options.log.info({ dir: this.#options.dir }, "The journal can be written again.");
        this.#failed = undefined;
      }
    } catch (cause) {
      throw this.#fail(cause);
    } finally {
      this.#wake();
    }
  }

  async #flushSegment(untilRecords: number): Promise<void> {
    const segment = this.#parts[0]!.segment;
    const parts = this.#parts.filter((part) => part.segment === segment && part.records <= untilRecords);
    const bytes = concatenated(parts);
    const file = await this.#fileOf(segment);
    if (this.#failed) await file.truncate(segment.durableBytes);
    await file.write(bytes, segment.durableBytes);
    const startedMs = this.#options.clock.monotonicMs();
    await file.sync();
    if (segment.durableBytes === 0) await this.#options.disk.syncDirectory(this.#options.dir);
    this.#options.onSync?.(this.#options.clock.monotonicMs() - startedMs);
    segment.durableBytes += bytes.length;
    this.#partBytes -= bytes.length;
    this.#parts.splice(0, parts.length);
    this.#durable = parts.at(-1)!.records;
    this.#options.onDurable?.(this.#durable);
  }

  async #fileOf(segment: Segment): Promise<DiskFile> {
    if (this.#open?.segment === segment) return this.#open.file;
    const { disk } = this.#options;
    // The one before it is complete and synced: its parts are gone.
    await this.#open?.file.close();
    this.#open = undefined;
    const exists =
      segment.durableBytes > 0 || (await disk.list(this.#options.dir)).includes(segmentName(segment.number));
    const file = await disk.open(segment.path, { create: !exists });
    this.#open = { segment, file };
    return file;
  }

  #fail(cause: unknown): JournalError {
    const full = (cause as { code?: unknown }).code === "ENOSPC" || (cause as { code?: unknown }).code === "EDQUOT";
    const error = new JournalError(
      full ? "disk_full" : "write_failed",
      `${this.#options.dir}: nothing becomes durable until it can be written: ${(cause as Error).message}`,
      { cause },
    );
    if (this.#failed?.code !== error.code) {
      this.#options.log.error(
        { dir: this.#options.dir, code: error.code, cause: String(cause) },
        "The journal cannot be written.",
      );
    }
    this.#failed = error;
    this.#options.onFailure?.(error);
    if (!this.#closed) this.#timer ??= this.#options.clock.after(retryDelayMs, () => this.#onTimer());
    return error;
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

function segmentName(number: number): string {
  return `${String(number).padStart(8, "0")}.journal`;
}

function concatenated(parts: readonly Part[]): Uint8Array {
  if (parts.length === 1) return parts[0]!.bytes;
  const bytes = Buffer.allocUnsafe(parts.reduce((sum, part) => sum + part.bytes.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part.bytes, at);
    at += part.bytes.length;
  }
  return bytes;
}

async function openSegments(options: JournalOptions): Promise<{ segments: Segment[]; tornBytes: number }> {
  const { disk, dir, log } = options;
  const numbers = (await disk.list(dir))
    .flatMap((name) => /^(\d{8,})\.journal$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  const segments: Segment[] = [];
  let tornBytes = 0;
  for (const number of numbers) {
    const path = join(dir, segmentName(number));
    const newest = number === numbers.at(-1);
    const expected = segments.at(-1)?.number;
    if (expected !== undefined && number !== expected + 1) {
      throw new JournalError(
        "missing_segment",
        `${dir}: expected ${segmentName(expected + 1)}, found ${segmentName(number)}`,
      );
    }
    const file = await disk.open(path, { create: false });
    try {
      const end = newest ? await findEnd(file, path) : wholeSegment(await file.sizeBytes());
      tornBytes += end.tornBytes;
      if (end.tornBytes > 0) {
        log.warn(
          { path, offset: end.goodBytes, bytes: end.tornBytes },
          "Cut off the journal's torn tail; the log has it.",
        );
        await file.truncate(end.goodBytes);
      }
      if (end.goodBytes === 0 && newest) {
        await disk.remove(path);
        await disk.syncDirectory(dir);
        continue;
      }
      if (newest) {
        await writeAgain(file, end);
        await file.sync();
        await disk.syncDirectory(dir);
      }
      const bytes = new Uint8Array(segmentHeaderBytes);
      const got = await file.read(bytes, 0);
      const header = decodeHeader(bytes.subarray(0, got));
      if (header === "bad_version") throw unknownVersion(path);
      if (typeof header === "string") throw damaged(path, 0, `the file header is bad (${header})`);
      if (header.number !== number) throw damaged(path, 8, `the file says that it is segment ${header.number}`);
      segments.push({ number, path, createdMs: header.createdMs, bytes: end.goodBytes, durableBytes: end.goodBytes });
    } finally {
      await file.close();
    }
  }
  return { segments, tornBytes };
}

/** One that a newer one follows: it was synced before that was begun. */
function wholeSegment(bytes: number): SegmentEnd {
  return { goodBytes: bytes, durableBytes: bytes, tornBytes: 0 };
}

/**
 * A killed process leaves pages that were never synced, or whose sync failed. The latter can be read, but the kernel takes
 * them for clean, so that a sync alone would not bring them to the disk. From here on they count as durable.
 */
async function writeAgain(file: DiskFile, { durableBytes, goodBytes }: SegmentEnd): Promise<void> {
  const bytes = new Uint8Array(goodBytes - durableBytes);
  await file.read(bytes, durableBytes);
  await file.write(bytes, durableBytes);
}

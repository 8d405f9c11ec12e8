// Reads one segment file: its records in order, and where its good part ends.

import { KiB } from "#/lib/bytes/units.ts";
import type { DiskFile } from "#/lib/journal/disk.ts";
import { JournalError } from "#/lib/journal/error.ts";
import { decodeHeader, decodeRecord, type RecordView, segmentHeaderBytes } from "#/lib/journal/format.ts";

/** Small enough that whoever decodes what was read gives the event loop a turn every few tens of milliseconds. */
const readBytes = 256 * KiB;

export interface LocatedRecord {
  readonly kind: number;
  /** Valid until the next records are asked for. */
  readonly payload: Uint8Array;
  /** Where the record begins in its file. */
  readonly offset: number;
}

/**
 * Every record up to `untilBytes`, which must end one, as many at a time as one read brought. Throws JournalError `corrupt`.
 */
export async function* readRecords(
  file: DiskFile,
  path: string,
  untilBytes: number,
): AsyncGenerator<readonly LocatedRecord[]> {
  let buffer: Uint8Array = new Uint8Array(readBytes);
  let filled = 0;
  let base = segmentHeaderBytes;
  while (base + filled < untilBytes) {
    const want = Math.min(buffer.length - filled, untilBytes - base - filled);
    const got = await file.read(buffer.subarray(filled, filled + want), base + filled);
    filled += got;
    let at = 0;
    let need = 0;
    const records: LocatedRecord[] = [];
    for (;;) {
      const record = decodeRecord(buffer.subarray(0, filled), at);
      if ("fault" in record) {
        need = record.needBytes;
        if (need > 0 && got === want) break;
        yield records;
        throw damaged(path, base + at, record.fault);
      }
      records.push({ kind: record.kind, payload: record.payload, offset: base + at });
      at += record.lengthBytes;
      if (at === filled) break;
    }
    yield records;
    const rest = filled - at;
    const size = Math.max(readBytes, rest + need);
    const next = size > buffer.length ? new Uint8Array(size) : buffer;
    next.set(buffer.subarray(at, filled));
    buffer = next;
    base += at;
    filled = rest;
  }
  if (filled > 0) throw damaged(path, base, "it is cut off");
}

export function damaged(path: string, offset: number, fault: string): JournalError {
  return new JournalError(
    "corrupt",
    `${path}: offset ${offset}: expected a record, but ${fault}, in a part that had been fsynced. Nothing after it was read. ` +
      "Move the directory aside to read everything that the log still holds anew.",
  );
}

export interface SegmentEnd {
  /** The file is good up to here; what is behind was never promised to anyone. 0: nothing of it is of use. */
  readonly goodBytes: number;
  /** So much of it was known to be on disk when its last record was appended. */
  readonly durableBytes: number;
  readonly tornBytes: number;
}

/**
 * Where the good part of the newest segment ends. A bad record with a later one that had known it on disk is damage, and
 * throws JournalError `corrupt`; else it is the tail of what a crash interrupted.
 */
export async function findEnd(file: DiskFile, path: string): Promise<SegmentEnd> {
  const bytes = new Uint8Array(await file.sizeBytes());
  await file.read(bytes, 0);
  const header = decodeHeader(bytes);
  if (header === "bad_version") throw unknownVersion(path);
  let at = 0;
  let records = 0;
  let durableBytes = 0;
  let fault = "its header is damaged";
  if (typeof header !== "string") {
    at = segmentHeaderBytes;
    while (at < bytes.length) {
      const record = decodeRecord(bytes, at);
      if ("fault" in record) {
        fault = record.fault;
        break;
      }
      at += record.lengthBytes;
      durableBytes = record.durableBytes;
      records++;
    }
  }
  if (at < bytes.length && promised(bytes, at)) throw damaged(path, at, fault);
  // The header and its preamble are written and synced together, so without the whole of it nothing here was promised.
  if (typeof header === "string" || records < header.preambleRecords) at = 0;
  return { goodBytes: at, durableBytes: Math.min(durableBytes, at), tornBytes: bytes.length - at };
}

export function unknownVersion(path: string): JournalError {
  return new JournalError("bad_version", `${path}: offset 4: a version or flags that this program does not know`);
}

/** Whether some whole record after a bad one says that the bad one had been on disk before. */
function promised(bytes: Uint8Array, badOffset: number): boolean {
  for (let at = badOffset + 1; at < bytes.length; at++) {
    // A record's kind is never 0 and its reserved bytes always are: this skips zeros and most else before a checksum is made.
    if (bytes[at + 8] === 0 || bytes[at + 9] !== 0 || bytes[at + 10] !== 0 || bytes[at + 11] !== 0) continue;
    const record: RecordView | { readonly fault: string } = decodeRecord(bytes, at);
    if (!("fault" in record) && record.durableBytes > badOffset) return true;
  }
  return false;
}

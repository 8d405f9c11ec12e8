// The bytes of a journal's segment files, as drawn in docs/formats/journal.md: a file header, then records one after another.
//
// Each record says how much of its file was known to be on disk when it was written. That is what tells a torn tail (bytes
// that nobody was ever promised, cut off without harm) from damage to what had been promised (an error, never skipped).

import { Buffer } from "node:buffer";
import { crc32 } from "#/lib/bytes/hash.ts";
import { MiB } from "#/lib/bytes/units.ts";

export const segmentMagic = "HGJL";
export const segmentVersion = 1;
export const segmentHeaderBytes = 32;
export const recordHeaderBytes = 16;

/** Four of the largest batches: a length above it is damage, not a record. */
export const payloadBytesMax = 16 * MiB;

export interface SegmentHeader {
  readonly number: number;
  /** Wall time at which it was begun. */
  readonly createdMs: number;
  /** So many records follow that say what is needed of the segments before it. */
  readonly preambleRecords: number;
}

export type HeaderFault = "truncated" | "bad_magic" | "bad_version" | "bad_checksum";

export function encodeHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(segmentHeaderBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(Buffer.from(segmentMagic, "latin1"));
  view.setUint16(4, segmentVersion, true);
  view.setUint16(6, segmentHeaderBytes, true);
  view.setUint32(8, header.number, true);
  view.setFloat64(16, header.createdMs, true);
  view.setUint32(24, header.preambleRecords, true);
  view.setUint32(28, crc32(bytes.subarray(0, 28)), true);
  return bytes;
}

export function decodeHeader(bytes: Uint8Array): SegmentHeader | HeaderFault {
  if (bytes.length < segmentHeaderBytes) return "truncated";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (Buffer.from(bytes.subarray(0, 4)).toString("latin1") !== segmentMagic) return "bad_magic";
  if (view.getUint32(28, true) !== crc32(bytes.subarray(0, 28))) return "bad_checksum";
  const known = view.getUint16(4, true) === segmentVersion && view.getUint16(6, true) === segmentHeaderBytes;
  // Flags that a reader does not know change the meaning of what follows.
  if (!known || view.getUint32(12, true) !== 0) return "bad_version";
  return {
    number: view.getUint32(8, true),
    createdMs: view.getFloat64(16, true),
    preambleRecords: view.getUint32(24, true),
  };
}

export interface RecordView {
  /** 1 to 255; what it means is the journal's owner's to say. */
  readonly kind: number;
  /** How many bytes of its file were known to be on disk when it was written. */
  readonly durableBytes: number;
  /** A view of the bytes that were parsed. */
  readonly payload: Uint8Array;
  /** Header and payload. */
  readonly lengthBytes: number;
}

/** A copy of the payload behind its header. */
export function encodeRecord(kind: number, durableBytes: number, payload: Uint8Array): Uint8Array {
  // Out of Node's pool: most records are a heartbeat's 300 bytes and live for a second.
  const bytes = Buffer.allocUnsafe(recordHeaderBytes + payload.length);
  bytes.writeUInt32LE(payload.length, 4);
  bytes.writeUInt32LE(kind, 8);
  bytes.writeUInt32LE(durableBytes, 12);
  bytes.set(payload, recordHeaderBytes);
  bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

/** `needBytes` > 0: it runs past the end of the bytes by at least so many. */
export type RecordFault = { readonly fault: string; readonly needBytes: number };

/** The record that begins there, or what is wrong with it. */
export function decodeRecord(bytes: Uint8Array, offset: number): RecordView | RecordFault {
  const left = bytes.length - offset;
  if (left < recordHeaderBytes) return { fault: "its header is cut off", needBytes: recordHeaderBytes - left };
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, left);
  const payloadBytes = view.getUint32(4, true);
  const kind = view.getUint8(8);
  const reserved = view.getUint32(8, true) >>> 8;
  if (payloadBytes > payloadBytesMax || kind === 0 || reserved !== 0) {
    return { fault: "its header is no record's", needBytes: 0 };
  }
  const lengthBytes = recordHeaderBytes + payloadBytes;
  if (lengthBytes > left) return { fault: "its payload is cut off", needBytes: lengthBytes - left };
  const record = bytes.subarray(offset, offset + lengthBytes);
  if (crc32(record.subarray(4)) !== view.getUint32(0, true)) return { fault: "its checksum is wrong", needBytes: 0 };
  return {
    kind,
    durableBytes: view.getUint32(12, true),
    payload: record.subarray(recordHeaderBytes),
    lengthBytes,
  };
}

// What batches and generations have in common: a magic, a version, a header that can be read without the rest, a compressed
// body of numbered sections, and a checksum over everything. Drawn in docs/formats/README.md.
//
//     magic 4 | version u8 | flags u8 | headerBytes u16 | header | body: zstd | crc32 u32
//
// The header's last field is the body's size before compression, so that a reader knows what it is in for.

import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { crc32 } from "#/lib/bytes/hash.ts";
import { BadBytes, ByteReader } from "#/lib/bytes/reader.ts";
import type { ByteWriter } from "#/lib/bytes/writer.ts";
import { nameBytesMax, zstdWindowLogMax } from "#/lib/codec/limits.ts";

/**
 * truncated: shorter than its envelope. bad_magic: something else. bad_version: from a later Heliograph, with parts that must
 * be understood. bad_checksum: damaged. too_large: beyond a limit of limits.ts. bad_compression: no zstd, or not of the size
 * announced. bad_structure: whole, but not as the format says.
 */
export type EnvelopeErrorCode =
  | "truncated"
  | "bad_magic"
  | "bad_version"
  | "bad_checksum"
  | "too_large"
  | "bad_compression"
  | "bad_structure";

/** Makes the error of one format. The offset is within the envelope for the first four codes, else within the part named. */
export type Refuse = (code: EnvelopeErrorCode, offset: number, message: string, cause?: unknown) => Error;

export interface EnvelopeFormat {
  /** Four letters. */
  readonly magic: string;
  readonly version: number;
  readonly bytesMax: number;
  /** Bits of the flags that a reader of this format understands. */
  readonly flagsKnown?: number;
  readonly refuse: Refuse;
}

export interface Envelope {
  /** Stands at the header's first byte and ends with it. */
  readonly header: ByteReader;
  /** The compressed body. */
  readonly body: Uint8Array;
}

/** Sections from here on may be skipped by readers that do not know them. */
export const sectionSkippable = 128;

const fixedBytes = 8;
const checksumBytes = 4;

export function writeEnvelope(
  writer: ByteWriter,
  format: EnvelopeFormat,
  header: Uint8Array,
  body: Uint8Array,
  level: number,
  flags = 0,
) {
  for (let i = 0; i < 4; i++) writer.u8(format.magic.charCodeAt(i));
  writer.u8(format.version);
  writer.u8(flags);
  writer.u16(header.length);
  writer.bytes(header);
  writer.bytes(deflate(body, level));
  writer.u32(crc32(writer.view()));
}

/** Checks all but the content of header and body. The order of the checks is from cheap to dear. */
export function readEnvelope(bytes: Uint8Array, format: EnvelopeFormat): Envelope {
  const { refuse } = format;
  if (bytes.length > format.bytesMax) {
    throw refuse("too_large", 0, `expected at most ${format.bytesMax} bytes, got ${bytes.length}`);
  }
  if (bytes.length < fixedBytes + checksumBytes) {
    throw refuse("truncated", 0, `expected at least ${fixedBytes + checksumBytes} bytes, got ${bytes.length}`);
  }
  for (let i = 0; i < 4; i++) {
    if (bytes[i] !== format.magic.charCodeAt(i)) {
      const got = bytes.subarray(0, 4).toHex();
      throw refuse("bad_magic", 0, `expected the magic "${format.magic}", got the bytes ${got}`);
    }
  }
  if (bytes[4] !== format.version) {
    throw refuse("bad_version", 4, `expected version ${format.version}, got ${bytes[4]}`);
  }
  const bodyEnd = bytes.length - checksumBytes;
  const expected = new ByteReader(bytes, bodyEnd).u32();
  const checksum = crc32(bytes.subarray(0, bodyEnd));
  if (checksum !== expected) {
    throw refuse(
      "bad_checksum",
      bodyEnd,
      `expected CRC-32 ${hex32(checksum)} of what is there, got ${hex32(expected)}`,
    );
  }
  const unknown = bytes[5]! & ~(format.flagsKnown ?? 0);
  if (unknown !== 0) throw refuse("bad_version", 5, `expected no unknown flags, got 0x${unknown.toString(16)}`);
  const headerEnd = fixedBytes + bytes[6]! + bytes[7]! * 256;
  if (headerEnd > bodyEnd) {
    throw refuse(
      "bad_structure",
      6,
      `expected a header of at most ${bodyEnd - fixedBytes} bytes, got ${headerEnd - fixedBytes}`,
    );
  }
  return { header: new ByteReader(bytes, fixedBytes, headerEnd), body: bytes.subarray(headerEnd, bodyEnd) };
}

/** Below this, making a compressor costs more than its bytes are worth. A frame's size then stands in one byte. */
const storedBytesMax = 255;
/** RFC 8878, section 3.1.1: the magic, one segment with its size in one byte. */
const storedFrame = [0x28, 0xb5, 0x2f, 0xfd, 0x20] as const;
const storedHeaderBytes = storedFrame.length + 1 + 3;

/** One zstd frame. */
export function deflate(plain: Uint8Array, level: number): Uint8Array {
  if (plain.length > storedBytesMax) {
    return zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: level } });
  }
  const frame = new Uint8Array(storedHeaderBytes + plain.length);
  frame.set(storedFrame);
  frame[storedFrame.length] = plain.length;
  // Section 3.1.1.2: the last block, raw, and its size from the fourth bit on.
  frame[storedFrame.length + 1] = ((plain.length << 3) | 1) & 0xff;
  frame[storedFrame.length + 2] = plain.length >> 5;
  frame.set(plain, storedHeaderBytes);
  return frame;
}

function isStored(frame: Uint8Array, bytes: number): boolean {
  if (bytes > storedBytesMax || frame.length !== storedHeaderBytes + bytes) return false;
  const size = storedFrame.length;
  const block = (bytes << 3) | 1;
  return (
    storedFrame.every((byte, i) => frame[i] === byte) &&
    frame[size] === bytes &&
    frame[size + 1] === (block & 0xff) &&
    frame[size + 2] === block >> 8 &&
    frame[size + 3] === 0
  );
}

/** Never more than `bytesExpected` are made, whatever the compressed bytes say. */
export function inflate(compressed: Uint8Array, bytesExpected: number, what: string, refuse: Refuse): Uint8Array {
  if (isStored(compressed, bytesExpected)) return compressed.slice(storedHeaderBytes);
  let plain: Uint8Array;
  try {
    plain = zstdDecompressSync(compressed, {
      maxOutputLength: Math.max(1, bytesExpected),
      chunkSize: Math.max(64, bytesExpected),
      params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax },
    });
  } catch (cause) {
    throw refuse(
      "bad_compression",
      0,
      `${what}: expected zstd of ${bytesExpected} bytes: ${(cause as Error).message}`,
      cause,
    );
  }
  if (plain.length !== bytesExpected) {
    throw refuse(
      "bad_compression",
      0,
      `${what}: expected ${bytesExpected} bytes after decompression, got ${plain.length}`,
    );
  }
  return plain;
}

export function writeSection(writer: ByteWriter, type: number, content: Uint8Array): void {
  writer.u8(type);
  writer.varint(content.length);
  writer.bytes(content);
}

/** The sections of a body by type: those in `known`, each at most once. */
export function readSections(body: Uint8Array, known: readonly number[], refuse: Refuse): Map<number, Uint8Array> {
  return understood("body", refuse, () => {
    const sections = new Map<number, Uint8Array>();
    const reader = new ByteReader(body);
    let last = -1;
    while (reader.remaining > 0) {
      const offset = reader.offset;
      const type = reader.u8();
      if (type <= last) {
        throw refuse("bad_structure", offset, `body: expected a section above ${last}, got section ${type}`);
      }
      last = type;
      const content = reader.bytes(reader.varint());
      if (known.includes(type)) sections.set(type, content);
      else if (type < sectionSkippable) {
        throw refuse(
          "bad_version",
          offset,
          `body: expected sections ${known.join(", ")} or skippable ones, got ${type}`,
        );
      }
    }
    return sections;
  });
}

/** Runs a reader of what the checksum found whole: bytes that do not fit are the writer's fault then. */
export function understood<T>(what: string, refuse: Refuse, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof BadBytes) throw refuse("bad_structure", cause.offset, `${what}: ${cause.message}`, cause);
    throw cause;
  }
}

/** A name in a header. */
export function readName(reader: ByteReader, field: string, refuse: Refuse): string {
  const at = reader.offset;
  const lengthBytes = reader.varint();
  if (lengthBytes === 0 || lengthBytes > nameBytesMax) {
    throw refuse("bad_structure", at, `header: expected ${field} of 1 to ${nameBytesMax} bytes, got ${lengthBytes}`);
  }
  reader.offset = at;
  return reader.string();
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, "0");
}

// Reads the bytes of our formats, and trusts none of them: whatever runs past the end, is too long for its type or is not
// UTF-8 is refused with its offset. No length is believed before it is checked against what is really there.

import { Buffer } from "node:buffer";

/** What was wrong with the bytes, and where. The caller names the format and the file or peer. */
export class BadBytes extends Error {
  override readonly name = "BadBytes";
  readonly code: "truncated" | "overlong" | "bad_utf8";
  readonly offset: number;

  constructor(code: BadBytes["code"], offset: number, message: string) {
    super(`offset ${offset}: ${message}`);
    this.code = code;
    this.offset = offset;
  }
}

/** Longer strings are left to the decoder without a look. */
const shortMax = 64;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class ByteReader {
  readonly #bytes: Uint8Array;
  /** Made when something needs it: most readers read a few numbers. */
  #buffer: Buffer | undefined;
  #view: DataView | undefined;
  offset: number;
  readonly #end: number;
  /** The high 32 bits of the last `varint64` or `u64`, whose low 32 bits were returned. */
  high = 0;

  constructor(bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.offset = offset;
    this.#end = end;
  }

  get remaining(): number {
    return this.#end - this.offset;
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.offset++]!;
  }

  u16(): number {
    this.#need(2);
    const value = this.#words().getUint16(this.offset, true);
    this.offset += 2;
    return value;
  }

  u32(): number {
    this.#need(4);
    const value = this.#words().getUint32(this.offset, true);
    this.offset += 4;
    return value;
  }

  #words(): DataView {
    if (this.#view) return this.#view;
    const { buffer, byteOffset, byteLength } = this.#bytes;
    this.#view = new DataView(buffer, byteOffset, byteLength);
    return this.#view;
  }

  #text(start: number): string {
    if (!this.#buffer) {
      const { buffer, byteOffset, byteLength } = this.#bytes;
      this.#buffer = Buffer.from(buffer, byteOffset, byteLength);
    }
    return this.#buffer.toString("latin1", start, this.offset);
  }

  /** Returns the low word and leaves the high one in `high`. */
  u64(): number {
    const low = this.u32();
    this.high = this.u32();
    return low;
  }

  f64(): number {
    this.#need(8);
    const value = this.#words().getFloat64(this.offset, true);
    this.offset += 8;
    return value;
  }

  /** An unsigned whole number up to 2^53 − 1. */
  varint(): number {
    const start = this.offset;
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) break;
      scale *= 128;
      if (scale > 2 ** 49) throw new BadBytes("overlong", start, "the number is longer than 8 bytes");
    }
    if (value > Number.MAX_SAFE_INTEGER) throw new BadBytes("overlong", start, "the number is above 2^53 - 1");
    return value;
  }

  /** The inverse of `ByteWriter.zigzag`. */
  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** An unsigned 64-bit number: returns its low word and leaves the high one in `high`. */
  varint64(): number {
    const start = this.offset;
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift > 63) throw new BadBytes("overlong", start, "the number is longer than 10 bytes");
      const byte = this.u8();
      const bits = byte & 127;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >>> 4;
      } else {
        if (shift === 63 && bits > 1) throw new BadBytes("overlong", start, "the number is above 2^64 - 1");
        high |= bits << (shift - 32);
      }
      if (byte < 128) break;
    }
    this.high = high >>> 0;
    return low >>> 0;
  }

  /** A view, not a copy. */
  bytes(lengthBytes: number): Uint8Array {
    this.#need(lengthBytes);
    const view = this.#bytes.subarray(this.offset, this.offset + lengthBytes);
    this.offset += lengthBytes;
    return view;
  }

  string(): string {
    const lengthBytes = this.varint();
    const start = this.offset;
    const view = this.bytes(lengthBytes);
    if (lengthBytes <= shortMax && this.#isAscii(start)) return this.#text(start);
    try {
      return utf8.decode(view);
    } catch {
      throw new BadBytes("bad_utf8", start, "the string is not UTF-8");
    }
  }

  /** From there to `offset`. What is ASCII needs no decoder, and it is nearly everything. */
  #isAscii(start: number): boolean {
    for (let i = start; i < this.offset; i++) if (this.#bytes[i]! >= 128) return false;
    return true;
  }

  #need(lengthBytes: number): void {
    if (lengthBytes > this.#end - this.offset) {
      throw new BadBytes(
        "truncated",
        this.offset,
        `expected ${lengthBytes} more bytes, got ${this.#end - this.offset}`,
      );
    }
  }
}

// Builds the bytes of our formats: little-endian fixed widths, LEB128 varints, zigzag for signed, length-prefixed UTF-8.
//
// The buffer grows by doubling and is reused after `reset`, so that a steady stream of batches allocates nothing.

import { Buffer } from "node:buffer";

const two32 = 4294967296;

/** Up to here the length is one byte, and JavaScript's loop is faster than a call. */
const shortMax = 64;

export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  length = 0;

  constructor(capacityBytes = 1024) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Forgets the content and keeps the memory. */
  reset(): void {
    this.length = 0;
  }

  /** A copy of what was written. */
  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  /** A view of what was written, valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  u8(value: number): void {
    this.reserve(1);
    this.#bytes[this.length++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.#view.setUint16(this.length, value, true);
    this.length += 2;
  }

  u32(value: number): void {
    this.reserve(4);
    this.#view.setUint32(this.length, value, true);
    this.length += 4;
  }

  /** The two halves of a 64-bit word: bit patterns of doubles, and of integers above 2^53. */
  u64(low: number, high: number): void {
    this.u32(low);
    this.u32(high);
  }

  /** A double by value. A NaN's payload may not survive: write its two words with `u64`. */
  f64(value: number): void {
    this.reserve(8);
    this.#view.setFloat64(this.length, value, true);
    this.length += 8;
  }

  /** An unsigned whole number up to 2^53 − 1, 1 to 8 bytes. */
  varint(value: number): void {
    this.reserve(10);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.length++] = rest;
  }

  /** A signed whole number within ±(2^52 − 1): 0, −1, 1, −2, … become 0, 1, 2, 3, … */
  zigzag(value: number): void {
    this.varint(value < 0 ? -value * 2 - 1 : value * 2);
  }

  /** An unsigned 64-bit number given as its two 32-bit words, 1 to 10 bytes. */
  varint64(low: number, high: number): void {
    this.reserve(10);
    let lo = low >>> 0;
    let hi = high >>> 0;
    while (hi !== 0 || lo >= 128) {
      this.#bytes[this.length++] = (lo & 127) | 128;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    this.#bytes[this.length++] = lo;
  }

  bytes(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Length in bytes as a varint, then UTF-8. */
  string(text: string): void {
    if (this.#shortAscii(text)) return;
    const lengthBytes = Buffer.byteLength(text);
    this.varint(lengthBytes);
    this.reserve(lengthBytes);
    Buffer.from(this.#bytes.buffer).write(text, this.length, "utf8");
    this.length += lengthBytes;
  }

  /** Most strings of ours are label names and values: a loop over 40 characters is done before Buffer has begun. */
  #shortAscii(text: string): boolean {
    const { length } = text;
    if (length > shortMax) return false;
    const bytes = this.reserve(length + 1);
    const at = this.length + 1;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 128) return false;
      bytes[at + i] = code;
    }
    bytes[this.length] = length;
    this.length = at + length;
    return true;
  }

  /** Overwrites four bytes written earlier: for lengths and checksums known only at the end. */
  patchU32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }

  /**
   * Makes room for that many bytes behind `length` and returns the whole buffer, for a hot loop that writes by itself and then
   * sets `length`. The buffer is good until anything else is written.
   */
  reserve(more: number): Uint8Array {
    if (this.length + more > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + more));
      grown.set(this.#bytes.subarray(0, this.length));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return this.#bytes;
  }
}

/** Splits a whole number below 2^53 into its 32-bit words. */
export function words(value: number): { readonly low: number; readonly high: number } {
  return { low: value >>> 0, high: Math.floor(value / two32) >>> 0 };
}

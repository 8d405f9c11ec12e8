// A full table, packed: each column by itself, so that a query reads the columns it wants and decodes nothing else.
//
// Most columns of an exposition never change within a chunk and take 9 bytes. Others are decimals, as expositions write
// them: whole mantissas of one common power of ten, whose differences (or differences of differences, for what grows
// evenly) are small. A bitmap says where there is one. What no short decimal holds is kept as the bits of doubles.
//
//     offsets u32 × (width + 1)     where each column begins, from the start
//     column  kind u8 | …
//       0 constant  value 8
//       1 delta     power u8 | mantissa zigzag | bitmap ⌈n/8⌉ | a zigzag difference for each set bit
//       2 delta²    power u8 | mantissa zigzag | bitmap ⌈n/8⌉ | a zigzag difference of differences for each set bit
//       3 raw       value 8 | bitmap ⌈n/8⌉ | a value 8 for each set bit
//
// It never leaves memory, so it has no version; blocks on disk will have a format of their own.

import { ByteWriter } from "#/lib/bytes/writer.ts";
import { wordsOf } from "#/lib/model/value.ts";
import type { Matrix } from "#/lib/store/matrix.ts";

const constant = 0;
const delta = 1;
const delta2 = 2;
const raw = 3;

/** 10^22 is the largest power of ten that is a double; beyond 15 digits there is no gain. */
const powerMax = 15;
const powers = Float64Array.from({ length: powerMax + 1 }, (_, i) => Number(`1e${i}`));

/** Two differences of such mantissas, zigzagged, stay below 2^53. */
const mantissaMax = 2 ** 50;

export class Packed {
  readonly width: number;
  readonly height: number;
  readonly #bytes: Uint8Array;

  constructor(table: Matrix) {
    this.width = table.width;
    this.height = table.height;
    this.#bytes = pack(table);
  }

  get bytes(): number {
    return this.#bytes.length;
  }

  /** Decodes one column into the beginning of `into`. */
  column(column: number, into: Float64Array): void {
    const bytes = this.#bytes;
    let at = u32(bytes, column * 4);
    const { height } = this;
    const kind = bytes[at++]!;
    if (kind === constant) {
      const words = wordsOf(into);
      const low = u32(bytes, at);
      const high = u32(bytes, at + 4);
      for (let i = 0; i < height; i++) {
        words[i * 2] = low;
        words[i * 2 + 1] = high;
      }
    } else if (kind === raw) decodeRaw(bytes, at, height, into);
    else decodeDecimal(bytes, at, height, kind === delta2, into);
  }
}

function decodeRaw(bytes: Uint8Array, start: number, height: number, into: Float64Array): void {
  const words = wordsOf(into);
  let low = u32(bytes, start);
  let high = u32(bytes, start + 4);
  const bitmap = start + 8;
  let at = bitmap + ((height + 7) >>> 3);
  for (let i = 0; i < height; i++) {
    if ((bytes[bitmap + (i >>> 3)]! >>> (i & 7)) & 1) {
      low = u32(bytes, at);
      high = u32(bytes, at + 4);
      at += 8;
    }
    words[i * 2] = low;
    words[i * 2 + 1] = high;
  }
}

function decodeDecimal(bytes: Uint8Array, start: number, height: number, twice: boolean, into: Float64Array): void {
  const power = powers[bytes[start]!]!;
  let at = start + 1;
  // A zigzag varint below 2^53, read in place: this loop is what a query spends its time in.
  let zigzag = 0;
  let scale = 1;
  for (let more = true; more; scale *= 128) {
    const byte = bytes[at++]!;
    zigzag += (byte & 127) * scale;
    more = byte >= 128;
  }
  let mantissa = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
  let step = 0;
  const bitmap = at;
  at += (height + 7) >>> 3;
  for (let i = 0; i < height; i++) {
    if ((bytes[bitmap + (i >>> 3)]! >>> (i & 7)) & 1) {
      let byte = bytes[at++]!;
      if (byte < 128) step = (twice ? step : 0) + ((byte & 1) === 0 ? byte >>> 1 : -((byte + 1) >>> 1));
      else {
        zigzag = byte & 127;
        scale = 128;
        do {
          byte = bytes[at++]!;
          zigzag += (byte & 127) * scale;
          scale *= 128;
        } while (byte >= 128);
        step = (twice ? step : 0) + (zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2);
      }
    } else if (!twice) step = 0;
    mantissa += step;
    into[i] = mantissa / power;
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

const writer = new ByteWriter();
let values = new Float64Array(0);
let words = wordsOf(values);
let mantissas = new Float64Array(0);

function pack(table: Matrix): Uint8Array {
  const { width, height } = table;
  if (values.length < height) {
    values = new Float64Array(height);
    words = wordsOf(values);
    mantissas = new Float64Array(height);
  }
  writer.reset();
  for (let column = 0; column <= width; column++) writer.u32(0);
  for (let column = 0; column < width; column++) {
    writer.patchU32(column * 4, writer.length);
    table.column(column, values);
    packColumn(height);
  }
  writer.patchU32(width * 4, writer.length);
  return writer.toBytes();
}

/** Packs `height` rows of `values`. */
function packColumn(height: number): void {
  if (isConstant(height)) {
    writer.u8(constant);
    writer.u64(words[0]!, words[1]!);
    return;
  }
  const power = commonPower(height);
  if (power < 0) packRaw(height);
  else packDecimal(height, power);
}

function isConstant(height: number): boolean {
  const low = words[0];
  const high = words[1];
  for (let i = 1; i < height; i++) if (words[i * 2] !== low || words[i * 2 + 1] !== high) return false;
  return true;
}

/** The smallest power of ten that makes every value whole, with `mantissas` filled; −1 when there is none. */
function commonPower(height: number): number {
  let power = 0;
  for (let i = 0; i < height; i++) {
    const value = values[i]!;
    // −0 and 0 differ in their sign bit alone, which a mantissa does not have.
    if (value === 0 && words[i * 2 + 1] !== 0) return -1;
    for (;;) {
      const scaled = value * powers[power]!;
      if (!(scaled <= mantissaMax && scaled >= -mantissaMax)) return -1;
      if (Math.round(scaled) / powers[power]! === value) break;
      if (++power > powerMax) return -1;
    }
  }
  for (let i = 0; i < height; i++) {
    const mantissa = Math.round(values[i]! * powers[power]!);
    if (mantissa > mantissaMax || mantissa < -mantissaMax) return -1;
    mantissas[i] = mantissa;
  }
  return power;
}

function packDecimal(height: number, power: number): void {
  const twice = costOf(height, true) < costOf(height, false);
  writer.u8(twice ? delta2 : delta);
  writer.u8(power);
  writer.zigzag(mantissas[0]!);
  const bitmap = writer.length;
  for (let i = 0; i < height; i += 8) writer.u8(0);
  let bits = 0;
  let previousStep = 0;
  const bitmapBytes = new Uint8Array((height + 7) >>> 3);
  for (let i = 1; i < height; i++) {
    const step = mantissas[i]! - mantissas[i - 1]!;
    const written = twice ? step - previousStep : step;
    previousStep = step;
    if (written === 0) continue;
    bitmapBytes[i >>> 3]! |= 1 << (i & 7);
    bits++;
    writer.zigzag(written);
  }
  if (bits > 0) writer.view().set(bitmapBytes, bitmap);
}

/** In bytes, roughly: what each form would take for the differences. */
function costOf(height: number, twice: boolean): number {
  let cost = 0;
  let previousStep = 0;
  for (let i = 1; i < height; i++) {
    const step = mantissas[i]! - mantissas[i - 1]!;
    const size = Math.abs(twice ? step - previousStep : step);
    previousStep = step;
    if (size !== 0) cost += size < 64 ? 1 : size < 8192 ? 2 : size < 1048576 ? 3 : size < 134217728 ? 4 : 6;
  }
  return cost;
}

function packRaw(height: number): void {
  writer.u8(raw);
  writer.u64(words[0]!, words[1]!);
  const bitmap = writer.length;
  const bitmapBytes = new Uint8Array((height + 7) >>> 3);
  writer.bytes(bitmapBytes);
  for (let i = 1; i < height; i++) {
    if (words[i * 2] === words[i * 2 - 2] && words[i * 2 + 1] === words[i * 2 - 1]) continue;
    bitmapBytes[i >>> 3]! |= 1 << (i & 7);
    writer.u64(words[i * 2]!, words[i * 2 + 1]!);
  }
  writer.view().set(bitmapBytes, bitmap);
}

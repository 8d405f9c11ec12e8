// The inner loops of a batch: a target's column of decimals against the one before it.
//
// Every row is a 64-bit integer and an exponent. A decimal's integer is its mantissa; a raw double's is its bits; an absent
// row has none. What is written is the exponents that changed, then one zigzag varint a row: the integer minus the reference's,
// modulo 2^64. A keyframe is the same with every exponent given and all references zero. Drawn in docs/formats/batch.md under
// VALUES. Here columns are read; they are written in WebAssembly (kernel/column.as.ts).

import { absentExponent, exponentMax, rawExponent } from "#/lib/model/decimal.ts";
import { absentHigh, absentLow, decimalValue } from "#/lib/model/value.ts";

/** A mantissa and an exponent. */
export const referenceRowBytes = 9;

/** The column that the next one is coded against. */
export class Reference {
  readonly rows: number;
  /** All of what follows: mantissas first, exponents behind them. */
  readonly memory: Uint8Array;
  readonly exponents: Int8Array;
  /** Mantissas; NaN where `wide` has it; in a raw row the double itself, to be touched through `words` only. */
  readonly mantissas: Float64Array;
  /** The same memory: low and high word of each row. */
  readonly words: Uint32Array;
  /** Mantissas beyond ± (2^53 − 1), which the format allows and today's writer never makes. */
  wide: Map<number, bigint> | undefined;

  constructor(rows: number) {
    this.rows = rows;
    const memory = new ArrayBuffer(rows * referenceRowBytes);
    this.memory = new Uint8Array(memory);
    this.mantissas = new Float64Array(memory, 0, rows);
    this.words = new Uint32Array(memory, 0, rows * 2);
    this.exponents = new Int8Array(memory, rows * 8, rows);
  }
}

/** What a column takes at most: 10 bytes for an integer, 1 + 4 for an exponent and its place, 4 for their number. */
export function columnBytesMax(rows: number): number {
  return rows * 15 + 4;
}

/** 10^k for what a mantissa below 2^53 can be scaled by. */
export const scales = Float64Array.from({ length: 16 }, (_, k) => 10 ** k);
export const scaleMax = 15;

const two32 = 4294967296;

/** Writer and reader alike: the reference is carried over to a finer exponent while its mantissa stays exact, else it is 0. */
export function changeExponent(reference: Reference, row: number, exponent: number): void {
  const coarser = reference.exponents[row]!;
  reference.exponents[row] = exponent;
  if (exponent <= exponentMax && coarser <= exponentMax && coarser > exponent && coarser - exponent <= scaleMax) {
    const scaled = reference.mantissas[row]! * scales[coarser - exponent]!;
    if (Math.abs(scaled) <= Number.MAX_SAFE_INTEGER) {
      reference.mantissas[row] = scaled;
      return;
    }
  }
  reference.wide?.delete(row);
  reference.words[row * 2] = 0;
  reference.words[row * 2 + 1] = 0;
}

/**
 * Whether bytes[at, end) are exactly one column of so many rows: −1, or the offset of the first byte that is wrong. After it
 * `readColumn` cannot fail, which is how a batch is refused before it has changed anything.
 */
export function checkColumn(bytes: Uint8Array, at: number, end: number, rows: number, keyframe: boolean): number {
  let next = at;
  if (keyframe) {
    if (end - next < rows) return end;
    for (let row = 0; row < rows; row++, next++) if (!isExponent(bytes[next]!)) return next;
  } else {
    next = skipVarint(bytes, next, end);
    if (next < 0) return at;
    const changes = smallVarint(bytes, at, next);
    if (changes > rows) return at;
    let row = -1;
    for (let change = 0; change < changes; change++) {
      const start = next;
      next = skipVarint(bytes, next, end);
      if (next < 0 || next >= end) return start;
      row += smallVarint(bytes, start, next) + 1;
      if (row >= rows) return start;
      if (!isExponent(bytes[next++]!)) return next - 1;
    }
  }
  // The usual varint is one byte; longer ones are measured.
  for (let row = 0; row < rows; row++) {
    if (next >= end) return end;
    if (bytes[next]! < 128) next++;
    else {
      const start = next;
      next = skipVarint(bytes, next, end);
      if (next < 0) return start;
    }
  }
  return next === end ? -1 : next;
}

function isExponent(byte: number): boolean {
  const exponent = (byte << 24) >> 24;
  return exponent >= -exponentMax;
}

/** The offset behind a varint of at most 64 bits, or −1. */
function skipVarint(bytes: Uint8Array, at: number, end: number): number {
  for (let i = 0; i < 10 && at + i < end; i++) {
    if (bytes[at + i]! < 128) return i === 9 && bytes[at + i]! > 1 ? -1 : at + i + 1;
  }
  return -1;
}

/** The varint in bytes[at, end); infinite when it is no row number at all. */
function smallVarint(bytes: Uint8Array, at: number, end: number): number {
  if (end - at > 4) return Number.POSITIVE_INFINITY;
  let value = 0;
  for (let i = end - 1; i >= at; i--) value = (value << 7) | (bytes[i]! & 127);
  return value;
}

/**
 * Reads a column that `checkColumn` found right into `values` (and its words), and makes it the reference. Returns how many
 * rows have a sample.
 */
export function readColumn(
  bytes: Uint8Array,
  at: number,
  reference: Reference,
  keyframe: boolean,
  values: Float64Array,
  valueWords: Uint32Array,
): number {
  const { rows, exponents, mantissas, words } = reference;
  let next = keyframe ? readAllExponents(bytes, at, reference) : readChangedExponents(bytes, at, reference);
  let samples = rows;
  for (let row = 0; row < rows; row++) {
    const start = next;
    let zigzag = bytes[next++]!;
    if (zigzag >= 128) {
      zigzag &= 127;
      let byte = bytes[next++]!;
      zigzag |= (byte & 127) << 7;
      if (byte >= 128) {
        byte = bytes[next++]!;
        zigzag |= (byte & 127) << 14;
        if (byte >= 128) {
          byte = bytes[next++]!;
          zigzag |= (byte & 127) << 21;
          if (byte >= 128) {
            while (bytes[next++]! >= 128);
            samples -= readLarge(bytes, start, next, reference, row, values, valueWords);
            continue;
          }
        }
      }
    }
    const exponent = exponents[row]!;
    if (exponent <= exponentMax) {
      const mantissa = mantissas[row]! + ((zigzag >>> 1) ^ -(zigzag & 1));
      if (mantissa <= Number.MAX_SAFE_INTEGER && mantissa >= -Number.MAX_SAFE_INTEGER) {
        mantissas[row] = mantissa;
        values[row] = exponent === 0 ? mantissa : decimalValue(mantissa, exponent);
        continue;
      }
    } else if (exponent === rawExponent && zigzag === 0) {
      valueWords[row * 2] = words[row * 2]!;
      valueWords[row * 2 + 1] = words[row * 2 + 1]!;
      continue;
    }
    samples -= readLarge(bytes, start, next, reference, row, values, valueWords);
  }
  return samples;
}

function readAllExponents(bytes: Uint8Array, at: number, reference: Reference): number {
  const { rows, exponents } = reference;
  for (let row = 0; row < rows; row++) exponents[row] = bytes[at + row]!;
  reference.words.fill(0);
  reference.wide = undefined;
  return at + rows;
}

function readChangedExponents(bytes: Uint8Array, at: number, reference: Reference): number {
  let next = skipVarint(bytes, at, at + 10);
  const changes = smallVarint(bytes, at, next);
  let row = -1;
  for (let change = 0; change < changes; change++) {
    const start = next;
    next = skipVarint(bytes, start, start + 10);
    row += smallVarint(bytes, start, next) + 1;
    changeExponent(reference, row, (bytes[next++]! << 24) >> 24);
  }
  return next;
}

/** A row whose delta is long, whose mantissa leaves the safe range, or which is raw or absent. Returns 1 when it is absent. */
function readLarge(
  bytes: Uint8Array,
  at: number,
  end: number,
  reference: Reference,
  row: number,
  values: Float64Array,
  valueWords: Uint32Array,
): number {
  const { exponents, mantissas, words } = reference;
  const exponent = exponents[row]!;
  if (exponent === absentExponent) {
    valueWords[row * 2] = absentLow;
    valueWords[row * 2 + 1] = absentHigh;
    return 1;
  }
  // The varint in two words, then zigzag taken back.
  let low = 0;
  let high = 0;
  for (let i = at, shift = 0; i < end; i++, shift += 7) {
    const bits = bytes[i]! & 127;
    if (shift < 32) low |= bits << shift;
    if (shift === 28) high |= bits >>> 4;
    else if (shift > 28) high |= bits << (shift - 32);
  }
  const sign = -(low & 1);
  const deltaLow = (((low >>> 1) | (high << 31)) ^ sign) >>> 0;
  const deltaHigh = ((high >>> 1) ^ sign) >>> 0;
  if (exponent === rawExponent) {
    const sum = words[row * 2]! + deltaLow;
    words[row * 2] = sum;
    words[row * 2 + 1] = words[row * 2 + 1]! + deltaHigh + (sum >= two32 ? 1 : 0);
    valueWords[row * 2] = words[row * 2]!;
    valueWords[row * 2 + 1] = words[row * 2 + 1]!;
    return 0;
  }
  const delta = (deltaHigh | 0) * two32 + deltaLow;
  const near = mantissas[row]! + delta;
  if (Math.abs(delta) <= Number.MAX_SAFE_INTEGER && Math.abs(near) <= Number.MAX_SAFE_INTEGER) {
    mantissas[row] = near;
    values[row] = decimalValue(near, exponent);
    return 0;
  }
  const old = reference.wide?.get(row) ?? BigInt(mantissas[row]!);
  const mantissa = BigInt.asIntN(64, old + ((BigInt(deltaHigh) << 32n) | BigInt(deltaLow)));
  if (mantissa <= BigInt(Number.MAX_SAFE_INTEGER) && mantissa >= -BigInt(Number.MAX_SAFE_INTEGER)) {
    reference.wide?.delete(row);
    mantissas[row] = Number(mantissa);
    values[row] = decimalValue(mantissas[row]!, exponent);
  } else {
    (reference.wide ??= new Map()).set(row, mantissa);
    mantissas[row] = Number.NaN;
    values[row] = Number(`${mantissa}e${exponent}`);
  }
  return 0;
}

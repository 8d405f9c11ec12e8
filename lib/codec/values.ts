// The inner loops of a batch: a target's column of decimals against the one before it.
//
// Every row is a 64-bit integer and an exponent. A decimal's integer is its mantissa; a raw double's is its bits; an absent
// row has none. What is written is the exponents that changed, then one zigzag varint a row: the integer minus the reference's,
// modulo 2^64. A keyframe is the same with every exponent given and all references zero. Drawn in docs/formats/batch.md under
// VALUES; nothing here knows of more than bytes, integers and doubles, so that it can be moved into WebAssembly as it is.

import { absentExponent, type DecimalColumn, exponentMax, rawExponent } from "#/lib/model/decimal.ts";
import { absentHigh, absentLow, decimalValue } from "#/lib/model/value.ts";

/** The column that the next one is coded against. */
export class Reference {
  readonly rows: number;
  readonly exponents: Int8Array;
  /** Mantissas; NaN where `wide` has it; in a raw row the double itself, to be touched through `words` only. */
  readonly mantissas: Float64Array;
  /** The same memory: low and high word of each row. */
  readonly words: Uint32Array;
  /** Mantissas beyond ± (2^53 − 1), which the format allows and today's writer never makes. */
  wide: Map<number, bigint> | undefined;

  constructor(rows: number) {
    this.rows = rows;
    const memory = new ArrayBuffer(rows * 9);
    this.mantissas = new Float64Array(memory, 0, rows);
    this.words = new Uint32Array(memory, 0, rows * 2);
    this.exponents = new Int8Array(memory, rows * 8, rows);
  }

  copy(): Reference {
    const copy = new Reference(this.rows);
    copy.restore(this);
    return copy;
  }

  restore(saved: Reference): void {
    this.words.set(saved.words);
    this.exponents.set(saved.exponents);
    this.wide = saved.wide;
  }
}

/** What `writeColumn` may write at most: 10 bytes for an integer, 1 + 4 for an exponent and its place, 4 for their number. */
export function columnBytesMax(rows: number): number {
  return rows * 15 + 4;
}

/** 10^k for what a mantissa below 2^53 can be scaled by. */
const scales = Float64Array.from({ length: 16 }, (_, k) => 10 ** k);
const scaleMax = 15;

/** From here on zigzag would leave the range in which doubles are whole numbers. */
const deltaExact = 2 ** 52;
const deltaSmall = 2 ** 27;
const two32 = 4294967296;

/**
 * Writes the column at `at` (columnBytesMax must fit there) and makes it the reference. `keyframe`: the reference's content
 * is not looked at. Returns the offset behind it.
 */
export function writeColumn(
  bytes: Uint8Array,
  at: number,
  column: DecimalColumn,
  reference: Reference,
  keyframe: boolean,
): number {
  const { rows, exponents, mantissas, words } = reference;
  const { exponents: newExponents, mantissas: newMantissas, rawWords } = column;
  let next = keyframe
    ? writeAllExponents(bytes, at, column, reference)
    : writeChangedExponents(bytes, at, column, reference);
  for (let row = 0; row < rows; row++) {
    const exponent = exponents[row]!;
    if (exponent > exponentMax) {
      if (exponent === absentExponent) bytes[next++] = 0;
      else {
        const low = rawWords[row * 2]!;
        const high = rawWords[row * 2 + 1]!;
        next = writeRaw(bytes, next, low, high, words[row * 2]!, words[row * 2 + 1]!);
        words[row * 2] = low;
        words[row * 2 + 1] = high;
      }
      continue;
    }
    let mantissa = newMantissas[row]!;
    const newExponent = newExponents[row]!;
    if (newExponent !== exponent && mantissa !== 0) mantissa *= scales[newExponent - exponent]!;
    const old = mantissas[row]!;
    const delta = mantissa - old;
    mantissas[row] = mantissa;
    if (delta < deltaSmall && delta >= -deltaSmall) {
      let zigzag = (delta << 1) ^ (delta >> 31);
      while (zigzag >= 128) {
        bytes[next++] = zigzag | 128;
        zigzag >>>= 7;
      }
      bytes[next++] = zigzag;
    } else next = writeLarge(bytes, next, delta, mantissa, old);
  }
  return next;
}

function writeAllExponents(bytes: Uint8Array, at: number, column: DecimalColumn, reference: Reference): number {
  const { rows, exponents } = reference;
  exponents.set(column.exponents.subarray(0, rows));
  reference.words.fill(0);
  for (let row = 0; row < rows; row++) bytes[at + row] = exponents[row]!;
  return at + rows;
}

/** A row keeps its exponent while the new mantissa can be written with it; else the reference changes over to the new one. */
function writeChangedExponents(bytes: Uint8Array, at: number, column: DecimalColumn, reference: Reference): number {
  const { rows, exponents } = reference;
  const { exponents: newExponents, mantissas: newMantissas } = column;
  let changes = 0;
  for (let row = 0; row < rows; row++) {
    if (newExponents[row] !== exponents[row] && !canKeep(exponents[row]!, newExponents[row]!, newMantissas[row]!))
      changes++;
  }
  let next = writeVarint(bytes, at, changes);
  if (changes === 0) return next;
  let previous = -1;
  for (let row = 0; row < rows; row++) {
    const exponent = newExponents[row]!;
    if (exponent === exponents[row] || canKeep(exponents[row]!, exponent, newMantissas[row]!)) continue;
    next = writeVarint(bytes, next, row - previous - 1);
    bytes[next++] = exponent;
    changeExponent(reference, row, exponent);
    previous = row;
  }
  return next;
}

function canKeep(exponent: number, newExponent: number, mantissa: number): boolean {
  if (exponent > exponentMax || newExponent > exponentMax) return false;
  if (mantissa === 0) return true;
  const finer = newExponent - exponent;
  return finer >= 0 && finer <= scaleMax && Math.abs(mantissa * scales[finer]!) <= Number.MAX_SAFE_INTEGER;
}

/** Writer and reader alike: the reference is carried over to a finer exponent while its mantissa stays exact, else it is 0. */
function changeExponent(reference: Reference, row: number, exponent: number): void {
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

function writeRaw(bytes: Uint8Array, at: number, low: number, high: number, oldLow: number, oldHigh: number): number {
  const deltaLow = (low - oldLow) >>> 0;
  const deltaHigh = (high - oldHigh - (low < oldLow ? 1 : 0)) >>> 0;
  const sign = (deltaHigh & 0x80000000) !== 0 ? 0xffffffff : 0;
  const zigzagHigh = ((deltaHigh << 1) | (deltaLow >>> 31)) ^ sign;
  return writeVarint64(bytes, at, ((deltaLow << 1) ^ sign) >>> 0, zigzagHigh >>> 0);
}

/** A delta above 2^53 was rounded: then it is taken again from its two ends. */
function writeLarge(bytes: Uint8Array, at: number, delta: number, mantissa: number, old: number): number {
  if (delta < deltaExact && delta > -deltaExact) {
    return writeVarint(bytes, at, delta < 0 ? -delta * 2 - 1 : delta * 2);
  }
  const exact = BigInt(mantissa) - BigInt(old);
  const zigzag = BigInt.asUintN(64, exact < 0n ? -exact * 2n - 1n : exact * 2n);
  return writeVarint64(bytes, at, Number(zigzag & 0xffffffffn), Number(zigzag >> 32n));
}

function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  while (rest >= 128) {
    bytes[at++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  bytes[at++] = rest;
  return at;
}

function writeVarint64(bytes: Uint8Array, at: number, low: number, high: number): number {
  while (high !== 0 || low >= 128) {
    bytes[at++] = (low & 127) | 128;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  bytes[at++] = low;
  return at;
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

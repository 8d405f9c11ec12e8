// A column of decimals written in plain TypeScript: what the kernel (lib/codec/kernel/column.as.ts) is held against.

import { changeExponent, type Reference, scaleMax, scales } from "#/lib/codec/values.ts";
import { absentExponent, type DecimalColumn, exponentMax } from "#/lib/model/decimal.ts";

/** From here on zigzag would leave the range in which doubles are whole numbers. */
const deltaExact = 2 ** 52;
const deltaSmall = 2 ** 27;

/**
 * Writes the column at `at` (columnBytesMax must fit there) and makes it the reference. `keyframe`: the reference's content
 * is not looked at. Returns the offset behind it.
 */
export function writeColumnPlainly(
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

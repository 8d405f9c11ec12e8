// A column of values as decimals: an integer mantissa and a power of ten each, as expositions write them. Deltas of mantissas
// are small and exact, which deltas of doubles are not. What no decimal holds (NaN, ±Inf, −0, 17 digits and more) is kept as
// the bits of a double.

import { Buffer } from "node:buffer";
import { wordsOf, wordsOfNumber } from "#/lib/model/value.ts";

/** In `exponents`: the value is the double in `raw`. */
export const rawExponent = 127;
/** In `exponents`: the row has no sample in this scrape. */
export const absentExponent = 126;
/** Decimal exponents lie within ± this: the range of doubles, and room for 17 digits. */
export const exponentMax = 125;

export class DecimalColumn {
  length = 0;
  mantissas: Float64Array;
  exponents: Int8Array;
  raw: Float64Array;
  rawWords: Uint32Array;

  constructor(capacity = 256) {
    this.mantissas = new Float64Array(capacity);
    this.exponents = new Int8Array(capacity);
    this.raw = new Float64Array(capacity);
    this.rawWords = wordsOf(this.raw);
  }

  /** In memory that is somebody else's too, and at most as long as that. */
  static over(memory: Pick<DecimalColumn, "mantissas" | "exponents" | "raw">): DecimalColumn {
    const column = new DecimalColumn(0);
    column.mantissas = memory.mantissas;
    column.exponents = memory.exponents;
    column.raw = memory.raw;
    column.rawWords = wordsOf(memory.raw);
    return column;
  }

  /** Makes room for `capacity` rows, keeping what is there. */
  reserve(capacity: number): void {
    if (capacity <= this.exponents.length) return;
    const grown = new DecimalColumn(Math.max(capacity, this.exponents.length * 2));
    grown.mantissas.set(this.mantissas);
    grown.exponents.set(this.exponents);
    grown.rawWords.set(this.rawWords);
    this.mantissas = grown.mantissas;
    this.exponents = grown.exponents;
    this.raw = grown.raw;
    this.rawWords = grown.rawWords;
  }

  /** |mantissa| ≤ 2^53 − 1, whole, not −0; |exponent| ≤ exponentMax. */
  setDecimal(row: number, mantissa: number, exponent: number): void {
    this.mantissas[row] = mantissa;
    this.exponents[row] = exponent;
  }

  setRaw(row: number, low: number, high: number): void {
    this.exponents[row] = rawExponent;
    this.mantissas[row] = 0;
    this.rawWords[row * 2] = low;
    this.rawWords[row * 2 + 1] = high;
  }

  setAbsent(row: number): void {
    this.exponents[row] = absentExponent;
    this.mantissas[row] = 0;
  }

  /** Moves these rows, which ascend, to the front, and is as long as they are many. */
  keep(rows: Int32Array): void {
    const { exponents, mantissas, rawWords } = this;
    for (let i = 0; i < rows.length; i++) {
      const from = rows[i]!;
      if (from === i) continue;
      mantissas[i] = mantissas[from]!;
      exponents[i] = exponents[from]!;
      if (exponents[from] !== rawExponent) continue;
      rawWords[i * 2] = rawWords[from * 2]!;
      rawWords[i * 2 + 1] = rawWords[from * 2 + 1]!;
    }
    this.length = rows.length;
  }
}

const plus = 0x2b;
const minus = 0x2d;
const dot = 0x2e;
const digit0 = 0x30;

/** Beyond it every double is 0 or infinite, whatever the digits before; it only keeps the sum from growing. */
const textExponentMax = 100_000;

/**
 * Reads the text in bytes[start, end) into a row as Prometheus reads a sample's value: Go's ParseFloat, without the
 * hexadecimal floats and underscores that Prometheus refuses. False, and the row untouched, when it is no number or too large
 * for a double. Nothing around it is skipped, not even blanks.
 */
export function parseDecimal(
  bytes: Uint8Array,
  start: number,
  end: number,
  column: DecimalColumn,
  row: number,
): boolean {
  let at = start;
  const sign = at < end ? bytes[at]! : 0;
  if (sign === minus || sign === plus) at++;

  // Once the mantissa passes 2^53 it is rounded but never falls below again, so one comparison at the end finds it.
  const wholeStart = at;
  let mantissa = 0;
  let digit = 0;
  while (at < end && (digit = bytes[at]! - digit0) >= 0 && digit <= 9) {
    mantissa = mantissa * 10 + digit;
    at++;
  }
  let digits = at - wholeStart;
  let exponent = 0;
  if (at < end && bytes[at] === dot) {
    const fractionStart = ++at;
    while (at < end && (digit = bytes[at]! - digit0) >= 0 && digit <= 9) {
      mantissa = mantissa * 10 + digit;
      at++;
    }
    digits += at - fractionStart;
    exponent = fractionStart - at;
    // Clients that print every float with a fraction ("5.0") would otherwise cost a digit a delta.
    while (exponent < 0 && mantissa % 10 === 0 && mantissa <= Number.MAX_SAFE_INTEGER) {
      mantissa /= 10;
      exponent++;
    }
  }
  if (digits === 0) return parseSpecial(bytes, at, end, sign, column, row);

  if (at < end) {
    if ((bytes[at]! | 0x20) !== 0x65 || ++at >= end) return false;
    const exponentSign = bytes[at]!;
    if (exponentSign === minus || exponentSign === plus) at++;
    if (at >= end) return false;
    let power = 0;
    for (; at < end; at++) {
      digit = bytes[at]! - digit0;
      if (digit < 0 || digit > 9) return false;
      if (power < textExponentMax) power = power * 10 + digit;
    }
    exponent += exponentSign === minus ? -power : power;
  }

  if (mantissa === 0) {
    if (sign === minus) column.setRaw(row, 0, 0x80000000);
    else column.setDecimal(row, 0, 0);
    return true;
  }
  if (mantissa <= Number.MAX_SAFE_INTEGER && exponent >= -exponentMax && exponent <= exponentMax) {
    column.setDecimal(row, sign === minus ? -mantissa : mantissa, exponent);
    return true;
  }
  const value = Number(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1"));
  if (!Number.isFinite(value)) return false;
  setNumber(column, row, value);
  return true;
}

/** Prometheus gives every NaN that it reads these bits, so that none is taken for a stale marker. */
const readNaNLow = 0x00000001;
const readNaNHigh = 0x7ff80000;

function parseSpecial(
  bytes: Uint8Array,
  start: number,
  end: number,
  sign: number,
  column: DecimalColumn,
  row: number,
): boolean {
  if (end - start > "infinity".length) return false;
  let word = "";
  for (let at = start; at < end; at++) word += String.fromCharCode(bytes[at]!);
  word = word.toLowerCase();
  if (word === "inf" || word === "infinity") {
    column.setRaw(row, 0, sign === minus ? 0xfff00000 : 0x7ff00000);
    return true;
  }
  if (word !== "nan" || sign === minus || sign === plus) return false;
  column.setRaw(row, readNaNLow, readNaNHigh);
  return true;
}

/**
 * A double as its shortest decimal, or as its bits when that has more than 2^53 − 1 or when no decimal holds it. A NaN's
 * payload is not kept: who has one uses `setRaw`.
 */
export function setNumber(column: DecimalColumn, row: number, value: number): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    column.setDecimal(row, value, 0);
    return;
  }
  if (Number.isNaN(value)) {
    column.setRaw(row, readNaNLow, readNaNHigh);
    return;
  }
  if (Number.isFinite(value) && value !== 0) {
    const [digits, power] = value.toExponential().split("e") as [string, string];
    const mantissa = Number(digits.replace(".", ""));
    const point = digits.indexOf(".");
    const exponent = Number(power) - (point < 0 ? 0 : digits.length - point - 1);
    if (Number.isSafeInteger(mantissa) && Math.abs(exponent) <= exponentMax) {
      column.setDecimal(row, mantissa, exponent);
      return;
    }
  }
  const [low, high] = wordsOfNumber(value);
  column.setRaw(row, low, high);
}

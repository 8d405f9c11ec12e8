// A column of values as decimals: an integer mantissa and a power of ten each, as expositions write them. Deltas of mantissas
// are small and exact, which deltas of doubles are not. What no decimal holds (NaN, ±Inf, −0, 17 digits and more) is kept as
// the bits of a double.

import { wordsOf } from "#/lib/model/value.ts";

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
}

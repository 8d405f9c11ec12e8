// The values a sample can have are all 2^64 doubles, and some NaNs mean something: they are told apart by their bits, never
// by the number, because JavaScript has but one NaN.

/** Prometheus' stale marker: the series ended here. */
export const staleLow = 0x00000002;
export const staleHigh = 0x7ff00000;

/** Ours, in memory alone: this row of the layout has no sample in this scrape (it was refused). Never stored or answered. */
export const absentLow = 0x48474c41;
export const absentHigh = 0x7ff00000;

const scratch = new Float64Array(1);
const scratchWords = new Uint32Array(scratch.buffer);

/** A view on the same memory, two words a value: low, high. Make it once a column, then use `isStale`. */
export function wordsOf(values: Float64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
}

export function isStale(words: Uint32Array, index: number): boolean {
  return words[index * 2] === staleLow && words[index * 2 + 1] === staleHigh;
}

export function isAbsent(words: Uint32Array, index: number): boolean {
  return words[index * 2] === absentLow && words[index * 2 + 1] === absentHigh;
}

export function setStale(words: Uint32Array, index: number): void {
  words[index * 2] = staleLow;
  words[index * 2 + 1] = staleHigh;
}

export function setAbsent(words: Uint32Array, index: number): void {
  words[index * 2] = absentLow;
  words[index * 2 + 1] = absentHigh;
}

/** m × 10^e as the nearest double, exactly as if the decimal text had been parsed. |m| ≤ 2^53. */
export function decimalValue(mantissa: number, exponent: number): number {
  if (exponent === 0) return mantissa;
  // Both operands are exact, so IEEE 754 rounds once (Clinger's fast path).
  if (exponent < 0 && exponent >= -22) return mantissa / powersOfTen[-exponent]!;
  if (exponent > 0 && exponent <= 22) return mantissa * powersOfTen[exponent]!;
  return Number(`${mantissa}e${exponent}`);
}

const powersOfTen = Float64Array.from({ length: 23 }, (_, i) => Number(`1e${i}`));

/** The text of a value in Prometheus' JSON and expositions: shortest digits that read back, `+Inf`, `-Inf`, `NaN`, `-0`. */
export function formatValue(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  if (Object.is(value, -0)) return "-0";
  // Go's strconv 'f' below 1e21 and from 1e-6 up, like JavaScript; beyond, JavaScript's exponent lacks Go's second digit.
  return String(value).replace(/e([+-])(\d)$/, "e$10$2");
}

/** The low and high word of a double. */
export function wordsOfNumber(value: number): readonly [low: number, high: number] {
  scratch[0] = value;
  return [scratchWords[0]!, scratchWords[1]!];
}

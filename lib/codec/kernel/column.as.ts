// What writeColumn of values.ts does (AssemblyScript; `make kernels` builds column.wasm from it), byte for byte: a column of
// decimals becomes exponents that changed and zigzag varints of differences, and then is the reference.
//
// All memory is laid out by column.ts, once, and never grows.

const rawExponent: i32 = 127;
const absentExponent: i32 = 126;
const exponentMax: i32 = 125;
const scaleMax: i32 = 15;
const mantissaMax: f64 = 9007199254740991;

/** Where the number of rows that have a sample is left. */
const stateSamples: usize = 0;
/** 10^k for k = 0 … 15, written by column.ts. */
const scales: usize = 64;

/** Returns the offset behind what it wrote at `out`. */
export function writeColumn(
  rows: i32,
  keyframe: bool,
  newMantissas: usize,
  newExponents: usize,
  newRaws: usize,
  mantissas: usize,
  exponents: usize,
  out: usize,
): usize {
  let next = out;
  if (keyframe) {
    memory.copy(next, newExponents, rows);
    memory.copy(exponents, newExponents, rows);
    memory.fill(mantissas, 0, (<usize>rows) << 3);
    next += rows;
  } else next = writeChangedExponents(rows, newMantissas, newExponents, mantissas, exponents, next);

  let samples = rows;
  for (let row: usize = 0; row < <usize>rows; row++) {
    const exponent: i32 = load<i8>(exponents + row);
    const place = mantissas + (row << 3);
    let delta: i64;
    if (exponent <= exponentMax) {
      let mantissa = load<f64>(newMantissas + (row << 3));
      const newExponent: i32 = load<i8>(newExponents + row);
      if (newExponent != exponent && mantissa != 0) mantissa *= load<f64>(scales + ((<usize>(newExponent - exponent)) << 3));
      const old = load<f64>(place);
      if (mantissa == old) {
        store<u8>(next++, 0);
        continue;
      }
      delta = <i64>mantissa - <i64>old;
      store<f64>(place, mantissa);
    } else if (exponent == absentExponent) {
      store<u8>(next++, 0);
      samples--;
      continue;
    } else {
      const bits = load<i64>(newRaws + (row << 3));
      delta = bits - load<i64>(place);
      store<i64>(place, bits);
    }
    next = writeVarint(next, <u64>((delta << 1) ^ (delta >> 63)));
  }
  store<i32>(stateSamples, samples);
  return next;
}

/** A row keeps its exponent while the new mantissa can be written with it; else the reference changes over to the new one. */
function writeChangedExponents(
  rows: i32,
  newMantissas: usize,
  newExponents: usize,
  mantissas: usize,
  exponents: usize,
  out: usize,
): usize {
  let changes: u32 = 0;
  for (let row = nextUnequal(0, rows, newExponents, exponents); row < rows; ) {
    if (!canKeep(row, newMantissas, newExponents, exponents)) changes++;
    row = nextUnequal(row + 1, rows, newExponents, exponents);
  }
  let next = writeVarint(out, changes);
  if (changes == 0) return next;
  let previous: i32 = -1;
  for (let row = nextUnequal(0, rows, newExponents, exponents); row < rows; ) {
    if (!canKeep(row, newMantissas, newExponents, exponents)) {
      next = writeVarint(next, row - previous - 1);
      const exponent: i32 = load<i8>(newExponents + row);
      store<i8>(next++, <i8>exponent);
      changeExponent(row, exponent, mantissas, exponents);
      previous = row;
    }
    row = nextUnequal(row + 1, rows, newExponents, exponents);
  }
  return next;
}

/** The first row from `row` on whose two exponents differ, or `rows`. Looks sixteen bytes further than there are rows. */
function nextUnequal(row: i32, rows: i32, a: usize, b: usize): i32 {
  while (row < rows) {
    const unequal = i8x16.bitmask(i8x16.ne(v128.load(a + row), v128.load(b + row)));
    if (unequal != 0) return min(row + ctz(unequal), rows);
    row += 16;
  }
  return rows;
}

function canKeep(row: i32, newMantissas: usize, newExponents: usize, exponents: usize): bool {
  const exponent: i32 = load<i8>(exponents + row);
  const newExponent: i32 = load<i8>(newExponents + row);
  if (exponent > exponentMax || newExponent > exponentMax) return false;
  const mantissa = load<f64>(newMantissas + ((<usize>row) << 3));
  if (mantissa == 0) return true;
  const finer = newExponent - exponent;
  return finer >= 0 && finer <= scaleMax && abs(mantissa * load<f64>(scales + ((<usize>finer) << 3))) <= mantissaMax;
}

/** As in values.ts: carried over to a finer exponent while the mantissa stays exact, else 0. */
function changeExponent(row: i32, exponent: i32, mantissas: usize, exponents: usize): void {
  const coarser: i32 = load<i8>(exponents + row);
  const place = mantissas + ((<usize>row) << 3);
  store<i8>(exponents + row, <i8>exponent);
  if (exponent <= exponentMax && coarser <= exponentMax && coarser > exponent && coarser - exponent <= scaleMax) {
    const scaled = load<f64>(place) * load<f64>(scales + ((<usize>(coarser - exponent)) << 3));
    if (abs(scaled) <= mantissaMax) {
      store<f64>(place, scaled);
      return;
    }
  }
  store<i64>(place, 0);
}

// @ts-ignore: decorator
@inline
function writeVarint(at: usize, value: u64): usize {
  let rest = value;
  while (rest >= 128) {
    store<u8>(at++, <u8>rest | 128);
    rest >>= 7;
  }
  store<u8>(at++, <u8>rest);
  return at;
}

// The walk beside a known shape (AssemblyScript; `make kernels` builds walk.wasm from it): a body's lines against the heads that
// its target's lines had the last time, sixteen bytes at a time, and the numbers behind them into columns.
//
// It reads what nearly every line has: a decimal, maybe a timestamp in ms, a line feed. Whatever else stands behind a head it
// leaves to the caller, which reads that line in TypeScript and goes on here behind it. So this file knows nothing of errors,
// exemplars or OpenMetrics' seconds, and what it does read it must read as lib/model/decimal.ts does.
//
// All memory is laid out by walk.ts, once, and never grows.

/** Where to go on, and where it stopped. */
const stateLine: usize = 0;
const stateAt: usize = 4;
const stateHead: usize = 8;
const stateTimestamps: usize = 12;

/** Why it stopped. */
const done: i32 = 0;
const differs: i32 = 1;
const leftOver: i32 = 2;

const rawExponent: i32 = 127;
const exponentMax: i32 = 125;
const mantissaMax: u64 = 9007199254740991;
/** More digits than these might not fit into 64 bits; so many are no exact decimal anyway. */
const digitsMax: i32 = 18;
/** Exponents of more digits lie beyond every double. */
const powerDigitsMax: i32 = 4;
const timestampDigitsMax: i32 = 15;

const lineFeed: u32 = 10;
const space: u32 = 32;
const plus: u32 = 43;
const minus: u32 = 45;
const dot: u32 = 46;
const zero: u32 = 48;
const letterE: u32 = 101;
/** `NaN` and a line feed, as four bytes. */
const nanLine: u32 = 0x0a4e614e;
/** The bits that Prometheus gives a NaN that it reads. */
const nanBits: u64 = 0x7ff8000000000001;
const minusZeroBits: u64 = 0x8000000000000000;

/**
 * Goes on at the line, byte and head of the state. `lines` has the head's length and the row of each line; a row of −1 has no
 * sample, one of −2 is read but not kept. Behind `end` there are sixteen bytes of zero, and behind the heads sixteen of anything.
 */
export function walk(
  end: usize,
  lines: usize,
  lineCount: u32,
  timestampsRead: bool,
  mantissas: usize,
  exponents: usize,
  raws: usize,
  timestampRows: usize,
  timestamps: usize,
): i32 {
  let at: usize = load<u32>(stateAt);
  let head: usize = load<u32>(stateHead);
  let timestampCount: u32 = load<u32>(stateTimestamps);
  let stopped = done;
  let line: u32 = load<u32>(stateLine);
  for (; line < lineCount; line++) {
    const entry = lines + ((<usize>line) << 3);
    const length: usize = load<u32>(entry);
    if (at + length > end || !same(at, head, length)) {
      stopped = differs;
      break;
    }
    const row = load<i32>(entry, 4);
    at += length;
    head += length;
    if (row == -1) continue;

    let next = at;
    let byte: u32 = load<u8>(next);
    const negative = byte == minus;
    if (negative || byte == plus) byte = load<u8>(++next);
    const whole = next;
    let mantissa: u64 = 0;
    let digit = byte - zero;
    while (digit < 10) {
      mantissa = mantissa * 10 + digit;
      byte = load<u8>(++next);
      digit = byte - zero;
    }
    let digits = <i32>(next - whole);
    let exponent: i32 = 0;
    if (byte == dot) {
      const fraction = ++next;
      byte = load<u8>(next);
      digit = byte - zero;
      while (digit < 10) {
        mantissa = mantissa * 10 + digit;
        byte = load<u8>(++next);
        digit = byte - zero;
      }
      exponent = <i32>(fraction - next);
      digits -= exponent;
      if (exponent < 0 && load<u8>(next - 1) == zero && digits <= digitsMax && mantissa <= mantissaMax) {
        do {
          const tenth = mantissa / 10;
          if (tenth * 10 != mantissa) break;
          mantissa = tenth;
          exponent++;
        } while (exponent < 0);
      }
    }
    if (digits == 0) {
      if (load<u32>(at) != nanLine) {
        stopped = leftOver;
        break;
      }
      if (row >= 0) storeRaw(mantissas, exponents, raws, row, nanBits);
      at += 4;
      continue;
    }
    if (digits > digitsMax || mantissa > mantissaMax) {
      stopped = leftOver;
      break;
    }
    if ((byte | 32) == letterE) {
      byte = load<u8>(++next);
      const negativePower = byte == minus;
      if (negativePower || byte == plus) byte = load<u8>(++next);
      const powerStart = next;
      let power: i32 = 0;
      digit = byte - zero;
      while (digit < 10 && <i32>(next - powerStart) < powerDigitsMax) {
        power = power * 10 + <i32>digit;
        byte = load<u8>(++next);
        digit = byte - zero;
      }
      if (next == powerStart) {
        stopped = leftOver;
        break;
      }
      exponent += negativePower ? -power : power;
    }
    if (exponent > exponentMax || exponent < -exponentMax) {
      stopped = leftOver;
      break;
    }
    if (byte != lineFeed) {
      // A timestamp in whole ms, as the text format has it.
      let stamp: i64 = 0;
      let stampEnd: usize = 0;
      if (timestampsRead && byte == space) {
        const negativeStamp = load<u8>(next + 1) == minus;
        const stampStart = next + (negativeStamp ? 2 : 1);
        let position = stampStart;
        byte = load<u8>(position);
        digit = byte - zero;
        while (digit < 10) {
          stamp = stamp * 10 + digit;
          byte = load<u8>(++position);
          digit = byte - zero;
        }
        const count = <i32>(position - stampStart);
        if (byte == lineFeed && count > 0 && count <= timestampDigitsMax) stampEnd = position;
        if (negativeStamp) stamp = -stamp;
      }
      if (stampEnd == 0) {
        stopped = leftOver;
        break;
      }
      next = stampEnd;
      if (row >= 0) {
        store<i32>(timestampRows + ((<usize>timestampCount) << 2), row);
        store<f64>(timestamps + ((<usize>timestampCount) << 3), <f64>stamp);
        timestampCount++;
      }
    }
    at = next + 1;
    if (row < 0) continue;
    if (mantissa == 0) {
      if (negative) {
        storeRaw(mantissas, exponents, raws, row, minusZeroBits);
        continue;
      }
      exponent = 0;
    }
    store<f64>(mantissas + ((<usize>row) << 3), negative ? -(<f64>mantissa) : <f64>mantissa);
    store<i8>(exponents + <usize>row, <i8>exponent);
  }
  if (stopped == done && at != end) stopped = differs;
  store<u32>(stateLine, line);
  store<u32>(stateAt, <u32>at);
  store<u32>(stateHead, <u32>head);
  store<u32>(stateTimestamps, timestampCount);
  return stopped;
}

// @ts-ignore: decorator
@inline
function storeRaw(mantissas: usize, exponents: usize, raws: usize, row: i32, bits: u64): void {
  store<i8>(exponents + <usize>row, <i8>rawExponent);
  store<f64>(mantissas + ((<usize>row) << 3), 0);
  store<u64>(raws + ((<usize>row) << 3), bits);
}

/** May look at up to fifteen bytes behind both. */
// @ts-ignore: decorator
@inline
function same(a: usize, b: usize, length: usize): bool {
  const blocks = a + (length & ~15);
  while (a < blocks) {
    if (v128.any_true(v128.xor(v128.load(a), v128.load(b)))) return false;
    a += 16;
    b += 16;
  }
  const rest = <i32>(length & 15);
  if (rest == 0) return true;
  const unequal = i8x16.bitmask(i8x16.ne(v128.load(a), v128.load(b)));
  return (unequal & ((1 << rest) - 1)) == 0;
}

// A recording becomes the bodies of thousands of servers: each has the recorded lines, and each of its series moves as the recorded
// one did, from a moment of its own on.
//
// So how often values change, by how much and how they are written is real, while no two servers' bodies, nor their changes, are
// alike (a coder that finds the same changes in many targets would look better than it is). A series that only grows in the
// recording goes on growing when the recording is over, and one that ever falls begins again.

import { Buffer } from "node:buffer";

export interface Replay {
  /** Samples of a body. */
  readonly series: number;
  /** Share of the values that change from one body to the next, in the recording. */
  readonly changing: number;
  /** Enough for any body. */
  readonly bytesMax: number;
  /** The heads of the samples: name and labels as they are written. */
  readonly heads: readonly string[];
  /** Writes what a target says at its nth scrape into `out` from `at` on; returns where it ends. */
  render(target: number, scrape: number, out: Buffer, at: number): number;
}

/** The most digits, sign, point and exponent of a value. */
const valueBytesMax = 32;

interface Row {
  /** Mantissas of the recorded values. */
  readonly values: Float64Array;
  readonly exponent: number;
  /** What is added each time the recording is over; 0 for one that may fall. */
  readonly growth: number;
  /** A target's values lie higher by a multiple of the step, up to the least of the recorded ones. */
  readonly step: number;
  readonly steps: number;
  readonly seed: number;
}

export function replayOf(bodies: readonly Buffer[]): Replay {
  const recorded = bodies.map(valuesByHead);
  const lines = bodies[0]!.toString("latin1").split("\n").slice(0, -1);
  let text = "";
  const ends: number[] = [];
  const rows: Row[] = [];
  const heads: string[] = [];
  for (const line of lines) {
    const head = line.startsWith("#") ? undefined : headOf(line);
    const texts = head === undefined ? [] : recorded.map((values) => values.get(head));
    // A series that came and went has no place in a body that always has the same lines.
    if (texts.includes(undefined)) continue;
    const row = head === undefined ? undefined : rowOf(head, texts as string[]);
    if (head !== undefined) heads.push(head);
    if (row === undefined) {
      text += `${line}\n`;
      continue;
    }
    text += `${head} `;
    ends.push(text.length);
    rows.push(row);
    text += "\n";
  }
  const template = Buffer.from(text, "latin1");
  const rounds = bodies.length;
  return {
    series: heads.length,
    heads,
    changing: changingShare(recorded, heads),
    bytesMax: template.length + rows.length * valueBytesMax,
    render(target, scrape, out, at) {
      let from = 0;
      for (let i = 0; i < rows.length; i++) {
        const end = ends[i]!;
        at += template.copy(out, at, from, end);
        from = end;
        const { exponent, growth, seed, step, steps, values } = rows[i]!;
        const noise = hash(seed, target);
        const moment = scrape + (noise % rounds);
        const again = Math.floor(moment / rounds);
        const base = Math.floor((hash(noise, seed) / 4294967296) * steps) * step;
        at = writeGo(values[moment - again * rounds]! + again * growth + base, exponent, out, at);
      }
      return at + template.copy(out, at, from);
    },
  };
}

function headOf(line: string): string {
  return line.slice(0, line.lastIndexOf(" "));
}

function valuesByHead(body: Buffer): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of body.toString("latin1").split("\n")) {
    if (line !== "" && !line.startsWith("#")) values.set(headOf(line), line.slice(line.lastIndexOf(" ") + 1));
  }
  return values;
}

/** Undefined for what stands still, and for what no decimal holds. */
function rowOf(head: string, texts: readonly string[]): Row | undefined {
  if (texts.every((text) => text === texts[0])) return undefined;
  const decimals = texts.map(decimalOf);
  const exponent = Math.min(...decimals.map(([, power]) => power));
  const values = Float64Array.from(decimals, ([mantissa, power]) => mantissa * 10 ** (power - exponent));
  const least = Math.min(...values);
  // Room to grow for days, and every value exact.
  if (!values.every((value) => Number.isSafeInteger(value * 16)) || least < 0) return undefined;
  const step = values.reduce(greatestDivisor);
  const grows = values.every((value, i) => i === 0 || value >= values[i - 1]!);
  return {
    values,
    exponent,
    growth: grows ? values.at(-1)! - values[0]! : 0,
    step,
    steps: Math.floor(least / step),
    seed: seedOf(head),
  };
}

function decimalOf(text: string): readonly [mantissa: number, exponent: number] {
  const [, whole, fraction = "", power = "0"] = /^(-?\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(text) ?? [];
  return whole === undefined ? [Number.NaN, 0] : [Number(whole + fraction), Number(power) - fraction.length];
}

function greatestDivisor(a: number, b: number): number {
  while (b > 0) [a, b] = [b, a % b];
  return a;
}

function changingShare(recorded: readonly ReadonlyMap<string, string>[], heads: readonly string[]): number {
  let changes = 0;
  for (let round = 1; round < recorded.length; round++) {
    for (const head of heads) if (recorded[round]!.get(head) !== recorded[round - 1]!.get(head)) changes++;
  }
  return changes / heads.length / Math.max(1, recorded.length - 1);
}

/**
 * mantissa × 10^exponent as Go's strconv writes it with 'g' and the fewest digits, which is how node_exporter does: 1.5e+06,
 * 9.1e-05. The mantissa is whole and not negative.
 */
export function writeGo(mantissa: number, exponent: number, out: Uint8Array, at: number): number {
  if (mantissa === 0) {
    out[at] = digit0;
    return at + 1;
  }
  while (mantissa % 10 === 0) {
    mantissa /= 10;
    exponent++;
  }
  let digits = 1;
  for (let limit = 10; mantissa >= limit; limit *= 10) digits++;
  const power = digits - 1 + exponent;
  if (power < -4 || power >= 6) {
    // One digit, the point, the others, the power with two digits or more.
    let end = writeDigits(mantissa, digits, out, at + 1);
    out[at] = out[at + 1]!;
    if (digits > 1) out[at + 1] = dot;
    else end--;
    out[end++] = letterE;
    out[end++] = power < 0 ? minus : plus;
    return writeDigits(Math.abs(power), Math.abs(power) < 100 ? 2 : 3, out, end);
  }
  if (exponent >= 0) {
    let end = writeDigits(mantissa, digits, out, at);
    for (; exponent > 0; exponent--) out[end++] = digit0;
    return end;
  }
  if (power >= 0) {
    // Written one place further on, and what stands before the point moved back.
    const end = writeDigits(mantissa, digits, out, at + 1);
    for (let i = 0; i <= power; i++) out[at + i] = out[at + i + 1]!;
    out[at + power + 1] = dot;
    return end;
  }
  out[at++] = digit0;
  out[at++] = dot;
  for (let zeros = -power - 1; zeros > 0; zeros--) out[at++] = digit0;
  return writeDigits(mantissa, digits, out, at);
}

const digit0 = 0x30;
const dot = 0x2e;
const letterE = 0x65;
const plus = 0x2b;
const minus = 0x2d;

function writeDigits(number: number, digits: number, out: Uint8Array, at: number): number {
  for (let i = at + digits - 1; i >= at; i--) {
    const rest = Math.floor(number / 10);
    out[i] = digit0 + (number - rest * 10);
    number = rest;
  }
  return at + digits;
}

function hash(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x165667b1, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return (h ^ (h >>> 15)) >>> 0;
}

/** FNV-1a. */
function seedOf(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

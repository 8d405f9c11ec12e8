// The memory of the walk's kernel, and the way into it.
//
// The kernel (walk.as.ts) reads bodies in a WebAssembly memory of its own. That memory is laid out once and never grows, so that
// views on it stay valid; pages that nobody touched cost nothing. What a walk reads are columns in that memory, and the reader
// uses them as its own. Shapes are put beside the bodies when they are first walked, and thrown out together when there is no
// more room: they come back one by one, for what a copy costs.

import { readFileSync } from "node:fs";

import { assert } from "#/lib/assert/assert.ts";
import { KiB, MiB } from "#/lib/bytes/units.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";

/** Larger bodies are read without the kernel. A hundred thousand series, the most that one scrape may bring, have about 9 MB. */
export const walkedBytesMax = 16 * MiB;
/** Heads and lines of shapes: 500 kinds of targets with a thousand series each. A shape that needs more is never walked. */
const shapesBytesMax = 40 * MiB;

/** The kernel looks at sixteen bytes at a time, and so beyond the end of what it compares. */
const slackBytes = 16;
const lineBytes = 8;
const stateBytes = 64;
const pageBytes = 64 * KiB;

/** The lines of a body that is known: where each head ends, and which row its sample is. */
export interface WalkedShape {
  /** The heads of all lines, one after the other; a line without a sample is a head as a whole. */
  readonly heads: Uint8Array;
  /** In `heads`. */
  readonly headEnds: Uint32Array;
  /** −1: a line without a sample. Any other negative row is read, and not kept. */
  readonly rowOf: Int32Array;
  /** Another shape that has the same heads, so that there is one copy of them. */
  readonly headsOf?: WalkedShape;
}

/** Where a walk stands. `left`: at a value that the kernel leaves to the caller, who says with `resume` where to go on. */
export type WalkEnd = "done" | "differs" | "left";
const ends: readonly WalkEnd[] = ["done", "differs", "left"];

interface Seat {
  /** Seats of earlier epochs are gone. */
  readonly epoch: number;
  readonly heads: number;
  readonly lines: number;
}

type WalkFunction = (
  end: number,
  lines: number,
  lineCount: number,
  timestampsRead: boolean,
  mantissas: number,
  exponents: number,
  raws: number,
  timestampRows: number,
  timestamps: number,
) => number;

const module = new WebAssembly.Module(readFileSync(new URL("./walk.wasm", import.meta.url)));

export class WalkKernel {
  /** What walks read; as long as the caller says. */
  readonly values: DecimalColumn;
  /** Rows and times of samples that brought a timestamp, `timestampCount` of them, since the last `begin` or `resume`. */
  readonly timestampRows: Int32Array;
  readonly timestampsMs: Float64Array;
  readonly #walk: WalkFunction;
  readonly #bytes: Uint8Array;
  readonly #state: Uint32Array;
  readonly #columns: { mantissas: number; raws: number; timestamps: number; timestampRows: number; exponents: number };
  readonly #bodyAt: number;
  readonly #shapesAt: number;
  readonly #seats = new WeakMap<WalkedShape, Seat>();
  #epoch = 1;
  #shapesEnd: number;
  #lines = 0;
  #lineCount = 0;
  #bodyEnd = 0;

  constructor(rowsMax: number) {
    let size = stateBytes;
    const take = (bytes: number) => {
      const at = size;
      size += Math.ceil(bytes / slackBytes) * slackBytes;
      return at;
    };
    this.#columns = {
      mantissas: take(rowsMax * 8),
      raws: take(rowsMax * 8),
      timestamps: take(rowsMax * 8),
      timestampRows: take(rowsMax * 4),
      exponents: take(rowsMax),
    };
    this.#bodyAt = take(walkedBytesMax + slackBytes);
    this.#shapesAt = take(shapesBytesMax + slackBytes);
    this.#shapesEnd = this.#shapesAt;
    const pages = Math.ceil(size / pageBytes);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    this.#walk = exports.walk as WalkFunction;
    const { buffer } = memory;
    this.#bytes = new Uint8Array(buffer);
    this.#state = new Uint32Array(buffer, 0, 4);
    const { exponents, mantissas, raws, timestampRows, timestamps } = this.#columns;
    this.values = DecimalColumn.over({
      mantissas: new Float64Array(buffer, mantissas, rowsMax),
      exponents: new Int8Array(buffer, exponents, rowsMax),
      raw: new Float64Array(buffer, raws, rowsMax),
    });
    this.timestampRows = new Int32Array(buffer, timestampRows, rowsMax);
    this.timestampsMs = new Float64Array(buffer, timestamps, rowsMax);
  }

  get timestampCount(): number {
    return this.#state[3]!;
  }

  /** The line at which the last `walk` stopped. */
  get line(): number {
    return this.#state[0]!;
  }

  /** The byte of the body at which it stopped: behind the head of that line, when something was left. */
  get at(): number {
    return this.#state[1]! - this.#bodyAt;
  }

  /** Makes the body the one that is walked beside the shapes to come. False when it is too large. */
  load(body: Uint8Array): boolean {
    if (body.length > walkedBytesMax) return false;
    this.#bytes.set(body, this.#bodyAt);
    this.#bodyEnd = this.#bodyAt + body.length;
    this.#bytes.fill(0, this.#bodyEnd, this.#bodyEnd + slackBytes);
    return true;
  }

  /** From the body's beginning. False when the shape is too large to be walked. */
  begin(shape: WalkedShape): boolean {
    const seat = this.#seat(shape);
    if (!seat) return false;
    this.#lines = seat.lines;
    this.#lineCount = shape.rowOf.length;
    this.#state[0] = 0;
    this.#state[1] = this.#bodyAt;
    this.#state[2] = seat.heads;
    this.#state[3] = 0;
    return true;
  }

  /** The value of the present line is dealt with, and the next line begins at that byte of the body. */
  resume(at: number): void {
    this.#state[0]!++;
    this.#state[1] = this.#bodyAt + at;
    this.#state[3] = 0;
  }

  /** `timestampsRead`: timestamps are whole ms, as in the text format. */
  walk(timestampsRead: boolean): WalkEnd {
    const { exponents, mantissas, raws, timestampRows, timestamps } = this.#columns;
    const end = this.#walk(
      this.#bodyEnd,
      this.#lines,
      this.#lineCount,
      timestampsRead,
      mantissas,
      exponents,
      raws,
      timestampRows,
      timestamps,
    );
    return ends[end]!;
  }

  #seat(shape: WalkedShape): Seat | undefined {
    const known = this.#seats.get(shape);
    if (known?.epoch === this.#epoch) return known;
    return this.#place(shape) ?? (this.#clear() && this.#place(shape));
  }

  /** Undefined when there is no room. */
  #place(shape: WalkedShape): Seat | undefined {
    const { headEnds, heads, headsOf, rowOf } = shape;
    const shared = headsOf && this.#seat(headsOf);
    if (headsOf && !shared) return undefined;
    const bytes = alignedToLines(rowOf.length * lineBytes + (shared ? 0 : heads.length));
    if (this.#shapesEnd + bytes > this.#shapesAt + shapesBytesMax) return undefined;
    const lines = this.#shapesEnd;
    const seat = { epoch: this.#epoch, lines, heads: shared?.heads ?? lines + rowOf.length * lineBytes };
    this.#shapesEnd += bytes;
    const entries = new Int32Array(this.#bytes.buffer, lines, rowOf.length * 2);
    let start = 0;
    for (let line = 0; line < rowOf.length; line++) {
      entries[line * 2] = headEnds[line]! - start;
      entries[line * 2 + 1] = rowOf[line]!;
      start = headEnds[line]!;
    }
    if (!shared) this.#bytes.set(heads, seat.heads);
    this.#seats.set(shape, seat);
    return seat;
  }

  /** All seats are free. */
  #clear(): true {
    this.#epoch++;
    this.#shapesEnd = this.#shapesAt;
    return true;
  }
}

function alignedToLines(bytes: number): number {
  return Math.ceil(bytes / lineBytes) * lineBytes;
}

assert(stateBytes % slackBytes === 0 && slackBytes % lineBytes === 0, "columns and lines are aligned");

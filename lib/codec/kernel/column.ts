// The memory of the column writer's kernel, and the way into it.
//
// A column and the reference that it is coded against are copied in, and what comes of them is copied out when it is wanted: some
// hundred nanoseconds, for which both may lie where they like, and a column that turns out too large leaves no trace. The
// memory is laid out once and never grows; pages that nobody touched cost nothing.

import { readFileSync } from "node:fs";

import { assert } from "#/lib/assert/assert.ts";
import { KiB } from "#/lib/bytes/units.ts";
import { layoutRowsMax } from "#/lib/codec/limits.ts";
import { columnBytesMax, type Reference, referenceRowBytes, scales } from "#/lib/codec/values.ts";
import type { DecimalColumn } from "#/lib/model/decimal.ts";

/** The kernel looks at sixteen exponents at a time, and so beyond the last. */
const slackBytes = 16;
const scalesAt = 64;
const pageBytes = 64 * KiB;

type WriteColumnFunction = (
  rows: number,
  keyframe: boolean,
  newMantissas: number,
  newExponents: number,
  newRaws: number,
  mantissas: number,
  exponents: number,
  out: number,
) => number;

const module = new WebAssembly.Module(readFileSync(new URL("./column.wasm", import.meta.url)));

export class ColumnKernel {
  /** Of the column written last: how many rows have a sample. */
  samples = 0;
  readonly #writeColumn: WriteColumnFunction;
  readonly #bytes: Uint8Array;
  readonly #state: Int32Array;
  readonly #mantissas: Float64Array;
  readonly #raws: Float64Array;
  readonly #exponents: Int8Array;
  readonly #referenceAt: number;
  readonly #outAt: number;
  #outEnd: number;

  constructor() {
    let size = scalesAt + scales.byteLength;
    const take = (bytes: number) => {
      const at = size;
      size += Math.ceil((bytes + slackBytes) / slackBytes) * slackBytes;
      return at;
    };
    const mantissasAt = take(layoutRowsMax * 8);
    const rawsAt = take(layoutRowsMax * 8);
    const exponentsAt = take(layoutRowsMax);
    this.#referenceAt = take(layoutRowsMax * referenceRowBytes);
    this.#outAt = take(columnBytesMax(layoutRowsMax));
    this.#outEnd = this.#outAt;
    const pages = Math.ceil(size / pageBytes);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { buffer } = memory;
    this.#bytes = new Uint8Array(buffer);
    this.#state = new Int32Array(buffer, 0, 1);
    this.#mantissas = new Float64Array(buffer, mantissasAt, layoutRowsMax);
    this.#raws = new Float64Array(buffer, rawsAt, layoutRowsMax);
    this.#exponents = new Int8Array(buffer, exponentsAt, layoutRowsMax);
    new Float64Array(buffer, scalesAt, scales.length).set(scales);
    this.#writeColumn = new WebAssembly.Instance(module, { env: { memory } }).exports
      .writeColumn as WriteColumnFunction;
  }

  /**
   * Codes the column against the reference, which stays as it is, and returns how many bytes that takes. `keyframe`: the
   * reference's content is not looked at.
   */
  write(column: DecimalColumn, reference: Reference, keyframe: boolean): number {
    const { rows } = reference;
    this.#mantissas.set(column.mantissas.subarray(0, rows));
    this.#raws.set(column.raw.subarray(0, rows));
    this.#exponents.set(column.exponents.subarray(0, rows));
    if (!keyframe) this.#bytes.set(reference.memory, this.#referenceAt);
    this.#outEnd = this.#writeColumn(
      rows,
      keyframe,
      this.#mantissas.byteOffset,
      this.#exponents.byteOffset,
      this.#raws.byteOffset,
      this.#referenceAt,
      this.#referenceAt + rows * 8,
      this.#outAt,
    );
    this.samples = this.#state[0]!;
    return this.#outEnd - this.#outAt;
  }

  /** Copies what the last `write` came to into bytes[at, …), and makes its column the reference. */
  take(bytes: Uint8Array, at: number, reference: Reference): void {
    bytes.set(this.#bytes.subarray(this.#outAt, this.#outEnd), at);
    const { memory } = reference;
    memory.set(this.#bytes.subarray(this.#referenceAt, this.#referenceAt + memory.length));
  }
}

assert(scalesAt % slackBytes === 0, "columns are aligned");

/** One a thread: it keeps nothing between a `write` and the `take` that follows at once. */
let shared: ColumnKernel | undefined;

export function columnKernel(): ColumnKernel {
  shared ??= new ColumnKernel();
  return shared;
}

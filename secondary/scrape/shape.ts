// What a body's lines have before their values, and what stands in each: kept once for all targets that share it.

import type { Layout } from "#/lib/model/layout.ts";
import type { WalkedShape } from "#/secondary/scrape/kernel/walk.ts";
import type { ExpositionFormat } from "#/secondary/scrape/parse.ts";

/** A line's row is a row of the layout, or one of the two below. */
export interface Shape extends WalkedShape {
  /** The same bytes may be a body in one format and none in the other. */
  readonly format: ExpositionFormat;
  readonly layout: Layout;
  readonly samples: number;
  /** The row of each sample whose series a line before it has already. */
  readonly duplicatesOf: readonly number[];
}

export const noSample = -1;
export const duplicateSample = -2;

/** Where the lines of a body lie while it is learnt. */
export class Lines {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #rows: number[] = [];

  get count(): number {
    return this.#rows.length;
  }

  add(headStart: number, headEnd: number, row: number): void {
    this.#starts.push(headStart);
    this.#ends.push(headEnd);
    this.#rows.push(row);
  }

  heads(body: Uint8Array): Uint8Array {
    let bytes = 0;
    for (let i = 0; i < this.count; i++) bytes += this.#ends[i]! - this.#starts[i]!;
    const heads = new Uint8Array(bytes);
    let at = 0;
    for (let i = 0; i < this.count; i++) {
      heads.set(body.subarray(this.#starts[i]!, this.#ends[i]!), at);
      at += this.#ends[i]! - this.#starts[i]!;
    }
    return heads;
  }

  /** In the bytes of `heads`. */
  headEnds(): Uint32Array {
    let at = 0;
    return Uint32Array.from(this.#ends, (end, i) => (at += end - this.#starts[i]!));
  }

  rowOf(): Int32Array {
    return Int32Array.from(this.#rows);
  }
}

// Reads of a body only the series that were there before, and counts the others without understanding them.
//
// That is what a flooding target's scrape costs between two looks at the whole: a look-up a line, whatever the lines are, and
// nothing remembered. A line is known by its head as it was spelt when the target was looked at last.

import { Buffer } from "node:buffer";

import type { DecimalColumn } from "#/lib/model/decimal.ts";
import type { Layout } from "#/lib/model/layout.ts";
import { headBytesMax, linesSievedMax } from "#/secondary/scrape/bounds.ts";
import { type Choice, layoutOfRows } from "#/secondary/scrape/choice.ts";
import type { Interned } from "#/secondary/scrape/interned.ts";
import { BadExposition, type ExpositionFormat, ExpositionReader } from "#/secondary/scrape/parse.ts";
import { type RelabelledLayout, rowDropped, rowDuplicate } from "#/secondary/scrape/relabel.ts";
import { duplicateSample, noSample, type Shape } from "#/secondary/scrape/shape.ts";

/** What a known head is, when it is no row that is kept. */
const headDropped = -1;
const headDuplicate = -2;

export interface Sieved {
  readonly samples: number;
  /** By metric relabelling. */
  readonly dropped: number;
  readonly duplicates: number;
  readonly unknown: number;
  /** Rows that the body has not, of those that are kept. */
  readonly missing: number;
}

export class Sieve {
  readonly format: ExpositionFormat;
  readonly layout: Layout;
  readonly #heads: ReadonlyMap<string, number>;
  readonly #filter: HeadFilter;
  readonly #seen: Uint8Array;
  /** The rows of the last body that had not all of them, and their layout. */
  #part: { readonly layout: Layout; readonly kept: Int32Array; readonly rowOf: Int32Array } | undefined;

  /** `heads` gives each known head, in latin1, its row in the layout, or one of the two above. */
  constructor(format: ExpositionFormat, layout: Layout, heads: ReadonlyMap<string, number>) {
    this.format = format;
    this.layout = layout;
    this.#heads = heads;
    this.#filter = new HeadFilter(heads.size);
    for (const head of heads.keys()) {
      const bytes = Buffer.from(head, "latin1");
      this.#filter.add(bytes, 0, bytes.length);
    }
    this.#seen = new Uint8Array(layout.rows.length);
  }

  has(body: Uint8Array, start: number, end: number): boolean {
    return this.#find(body, start, end) !== undefined;
  }

  #find(body: Uint8Array, start: number, end: number): number | undefined {
    if (end - start > headBytesMax || !this.#filter.mayHave(body, start, end)) return undefined;
    return this.#heads.get(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("latin1", start, end));
  }

  /**
   * Leaves the values in the rows that they have in `layout`. `note` is called behind each tail that was read into a row. Throws
   * BadExposition.
   */
  read(
    body: Uint8Array,
    column: DecimalColumn,
    spare: DecimalColumn,
    note: (row: number, reader: ExpositionReader) => void,
  ): Sieved {
    const reader = new ExpositionReader(body, this.format);
    const seen = this.#seen.fill(0);
    column.reserve(seen.length);
    let samples = 0;
    let dropped = 0;
    let duplicates = 0;
    let unknown = 0;
    for (let line = 1; ; line++) {
      const kind = reader.next();
      if (kind === "end") break;
      if (line > linesSievedMax) {
        const message = `expected at most ${linesSievedMax} lines in one scrape, got more`;
        throw new BadExposition("too_many_lines", line, message);
      }
      if (kind !== "sample") continue;
      samples++;
      const row = this.#find(body, reader.lineStart, reader.at);
      if (row !== undefined && row >= 0 && seen[row] === 0) {
        seen[row] = 1;
        reader.tail(column, row);
        note(row, reader);
        continue;
      }
      reader.tail(spare, 0);
      if (row === undefined) unknown++;
      else if (row === headDropped) dropped++;
      else duplicates++;
    }
    const missing = seen.length - (samples - dropped - duplicates - unknown);
    column.length = seen.length;
    return { samples, dropped, duplicates, unknown, missing };
  }

  /** The rows that the last body had, when some were missing. */
  part(layouts: Interned<Layout>): { readonly layout: Layout; readonly kept: Int32Array; readonly rowOf: Int32Array } {
    const kept = new Int32Array(this.#seen.length);
    let count = 0;
    for (let row = 0; row < kept.length; row++) if (this.#seen[row] === 1) kept[count++] = row;
    const rows = kept.subarray(0, count);
    if (!this.#part || !sameRows(this.#part.kept, rows)) {
      this.#part = layoutOfRows(this.layout, rows.slice(), layouts);
    }
    return this.#part;
  }
}

/** Bytes of a head that are looked at to tell it from others without making a text of it. */
const bytesLookedAt = 16;
const filterBitsPerHead = 16;

/** Tells of most heads that are not known that they are not, for a fraction of what a look-up costs. */
class HeadFilter {
  readonly #bits: Uint8Array;
  readonly #mask: number;

  constructor(heads: number) {
    const bits = 2 ** Math.ceil(Math.log2(Math.max(1024, heads * filterBitsPerHead)));
    this.#bits = new Uint8Array(bits / 8);
    this.#mask = bits - 1;
  }

  add(bytes: Uint8Array, start: number, end: number): void {
    const bit = this.#bitOf(bytes, start, end);
    this.#bits[bit >> 3]! |= 1 << (bit & 7);
  }

  mayHave(bytes: Uint8Array, start: number, end: number): boolean {
    const bit = this.#bitOf(bytes, start, end);
    return (this.#bits[bit >> 3]! & (1 << (bit & 7))) !== 0;
  }

  #bitOf(bytes: Uint8Array, start: number, end: number): number {
    let hash = end - start;
    const stride = Math.max(1, Math.floor((end - start) / bytesLookedAt));
    for (let at = end - 1; at >= start; at -= stride) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
    return (hash ^ (hash >>> 15)) & this.#mask;
  }
}

/** The heads of a body that was read whole, as far as something was made of them. */
export function sieveOf(
  format: ExpositionFormat,
  shape: Pick<Shape, "heads" | "headEnds" | "rowOf">,
  choice: Choice,
  relabelled: RelabelledLayout | undefined,
): Sieve {
  const { headEnds, rowOf } = shape;
  const text = Buffer.from(shape.heads.buffer, shape.heads.byteOffset, shape.heads.byteLength);
  const heads = new Map<string, number>();
  for (let line = 0; line < rowOf.length; line++) {
    let row = rowOf[line]!;
    if (row === noSample) continue;
    if (row >= 0 && relabelled) {
      row = relabelled.rowOf[row]!;
      row = row === rowDropped ? headDropped : row === rowDuplicate ? headDuplicate : row;
    } else if (row === duplicateSample) row = headDuplicate;
    if (row >= 0 && choice.rowOf && (row = choice.rowOf[row]!) < 0) continue;
    const head = text.toString("latin1", line === 0 ? 0 : headEnds[line - 1]!, headEnds[line]!);
    // The same line once more is a duplicate only when it comes twice again.
    if (!heads.has(head)) heads.set(head, row);
  }
  return new Sieve(format, choice.layout, heads);
}

function sameRows(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((row, i) => row === b[i]);
}

// Each distinct row (name and labels, without a target's) and each layout is held once, for as long as a chunk refers to it.
//
// Rows have small numbers, so that a layout is an array of them, and the same series is found in one layout after another
// by its number alone.

import { assert } from "#/lib/assert/assert.ts";
import { type Labels, labelsKey } from "#/lib/model/labels.ts";
import type { Layout, MetricFamily } from "#/lib/model/layout.ts";
import { reportRows } from "#/lib/model/scrape.ts";

export interface HeldRow {
  readonly number: number;
  readonly name: string;
  readonly labels: Labels;
  /** How many layouts have it. */
  layouts: number;
}

/** The report series have the first numbers, in the order of `reportRows`, and belong to no layout. */
export function isReportRow(row: number): boolean {
  return row < reportRows.length;
}

export class HeldLayout {
  readonly id: string;
  /** The number of the row at each position. */
  readonly rows: Uint32Array;
  readonly families: readonly MetricFamily[];
  /** How many chunks have it, or are about to. */
  chunks = 0;
  /** Positions in ascending order of their rows' numbers. */
  readonly #order: Uint32Array;

  constructor(id: string, rows: Uint32Array, families: readonly MetricFamily[]) {
    this.id = id;
    this.rows = rows;
    this.families = families;
    this.#order = Uint32Array.from(rows.keys()).sort((a, b) => rows[a]! - rows[b]! || a - b);
  }

  get bytes(): number {
    return this.rows.byteLength * 2;
  }

  /** The row's position, or −1. */
  positionOf(row: number): number {
    const { rows } = this;
    const order = this.#order;
    let low = 0;
    let high = order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (rows[order[middle]!]! < row) low = middle + 1;
      else high = middle;
    }
    return low < order.length && rows[order[low]!] === row ? order[low]! : -1;
  }
}

export class Dictionary {
  readonly #layouts = new Map<string, HeldLayout>();
  readonly #rows = new Map<number, HeldRow>();
  readonly #rowsByKey = new Map<string, HeldRow>();
  readonly #rowsByName = new Map<string, Set<HeldRow>>();
  /** Never used again: a query that waits must not find another row under the number that it remembers. */
  #nextRow = 0;

  constructor() {
    for (const name of reportRows) this.#holdRow(name, []).layouts++;
  }

  /** The held form of a layout. Count whoever has it in `chunks`, and `release` it when one lets go. */
  hold(layout: Layout): HeldLayout {
    const known = this.#layouts.get(layout.id);
    if (known) return known;
    const rows = Uint32Array.from(layout.rows, (row) => {
      const held = this.#holdRow(row.name, row.labels);
      held.layouts++;
      return held.number;
    });
    const held = new HeldLayout(layout.id, rows, layout.families);
    this.#layouts.set(layout.id, held);
    return held;
  }

  /** Forgets the layout, and the rows that no other has, when no chunk refers to it. */
  release(layout: HeldLayout): void {
    if (layout.chunks > 0 || this.#layouts.get(layout.id) !== layout) return;
    this.#layouts.delete(layout.id);
    for (const number of layout.rows) {
      const row = this.row(number);
      if (--row.layouts === 0) this.#forgetRow(row);
    }
  }

  row(number: number): HeldRow {
    const row = this.#rows.get(number);
    assert(row, `row ${number} is in use but not in the dictionary`);
    return row;
  }

  layouts(): IterableIterator<HeldLayout> {
    return this.#layouts.values();
  }

  get layoutCount(): number {
    return this.#layouts.size;
  }

  names(): IterableIterator<string> {
    return this.#rowsByName.keys();
  }

  rowsOfName(name: string): Iterable<HeldRow> {
    return this.#rowsByName.get(name) ?? [];
  }

  #holdRow(name: string, labels: Labels): HeldRow {
    const key = `${name.length}:${name}${labelsKey(labels)}`;
    const known = this.#rowsByKey.get(key);
    if (known) return known;
    const row: HeldRow = { number: this.#nextRow++, name, labels, layouts: 0 };
    this.#rows.set(row.number, row);
    this.#rowsByKey.set(key, row);
    const sameName = this.#rowsByName.get(name);
    if (sameName) sameName.add(row);
    else this.#rowsByName.set(name, new Set([row]));
    return row;
  }

  #forgetRow(row: HeldRow): void {
    this.#rows.delete(row.number);
    this.#rowsByKey.delete(`${row.name.length}:${row.name}${labelsKey(row.labels)}`);
    const sameName = this.#rowsByName.get(row.name)!;
    sameName.delete(row);
    if (sameName.size === 0) this.#rowsByName.delete(row.name);
  }
}

// Which rows of a layout are kept when there is not room for all: those that were there before, and of the new ones as many as
// fit, spread over the metrics.
//
// A flood is mostly one metric. So the room for new series is shared by metrics from the small to the large: a metric that
// brings few gets them all, whatever another brings beside it. Within a metric the exposition's order decides.

import { type Labels, labelsKey } from "#/lib/model/labels.ts";
import { type Layout, type LayoutRow, layoutOf, type MetricFamily } from "#/lib/model/layout.ts";
import type { Interned } from "#/secondary/scrape/interned.ts";

export interface Choice {
  /** What was chosen from. */
  readonly of: Layout;
  readonly layout: Layout;
  /** The rows of `of` that are left, ascending; undefined when all are. */
  readonly kept: Int32Array | undefined;
  /** What became of each row of `of`: its new row, or −1. Undefined when all are left. */
  readonly rowOf: Int32Array | undefined;
  /** Rows that `known` has not, of those that are left. */
  readonly added: number;
  readonly refused: number;
}

/** All rows. */
export function wholeChoice(of: Layout, added: number): Choice {
  return { of, layout: of, kept: undefined, rowOf: undefined, added, refused: 0 };
}

/**
 * `known` are the series from before. `room` is asked how many new ones there may be beside so many of these; a negative number
 * takes some of these away. `layouts` are those known by their ids.
 */
export function chooseRows(
  of: Layout,
  known: Layout | undefined,
  room: (old: number) => number,
  layouts: Interned<Layout>,
): Choice {
  const isNew = newRows(of, known);
  let added = 0;
  for (let row = 0; row < isNew.length; row++) added += isNew[row]!;
  const old = of.rows.length - added;
  const fits = room(old);
  if (added <= fits) return wholeChoice(of, added);

  const newMax = shareOf(of, isNew, Math.max(0, fits));
  let oldLeft = old + Math.min(0, fits);
  const kept = new Int32Array(of.rows.length);
  let count = 0;
  let keptNew = 0;
  for (const [row, { name }] of of.rows.entries()) {
    if (isNew[row] === 0) {
      if (oldLeft <= 0) continue;
      oldLeft--;
    } else {
      const left = newMax.get(name)!;
      if (left <= 0) continue;
      newMax.set(name, left - 1);
      keptNew++;
    }
    kept[count++] = row;
  }
  return { ...layoutOfRows(of, kept.slice(0, count), layouts), of, added: keptNew, refused: of.rows.length - count };
}

/** How many new rows each metric may have when there is room for that many: as even as it goes. */
function shareOf(of: Layout, isNew: Uint8Array, room: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [row, { name }] of of.rows.entries()) {
    if (isNew[row] === 1) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  let left = room;
  let metrics = counts.size;
  const shares = [...counts].sort((a, b) => a[1] - b[1]);
  for (const share of shares) {
    // What does not divide goes to the largest, which come last.
    share[1] = Math.min(share[1], Math.floor(left / metrics--));
    left -= share[1];
  }
  return new Map(shares);
}

/** 1 for each row that `known` has not. */
function newRows(of: Layout, known: Layout | undefined): Uint8Array {
  const isNew = new Uint8Array(of.rows.length).fill(1);
  if (!known) return isNew;
  // Like lines mostly have the very same row; only the rest is compared by what it says.
  const objects = new Set(known.rows);
  const unlike: number[] = [];
  for (const [row, object] of of.rows.entries()) {
    if (objects.delete(object)) isNew[row] = 0;
    else unlike.push(row);
  }
  if (unlike.length === 0 || objects.size === 0) return isNew;
  const keys = new Set<string>();
  for (const { labels, name } of objects) keys.add(seriesKeyOf(name, labels));
  for (const row of unlike) {
    const { labels, name } = of.rows[row]!;
    if (keys.has(seriesKeyOf(name, labels))) isNew[row] = 0;
  }
  return isNew;
}

/** How many series the layout has that the one before had not; all of them when there was none. */
export function seriesAdded(previous: Layout | undefined, layout: Layout): number {
  if (previous === layout) return 0;
  let added = 0;
  for (const each of newRows(layout, previous)) added += each;
  return added;
}

/** Equal keys mean equal names and labels. */
export function seriesKeyOf(name: string, labels: Labels): string {
  return `${name.length}:${name}${labelsKey(labels)}`;
}

/** Some of a layout's rows, in their order. */
export function layoutOfRows(
  of: Layout,
  kept: Int32Array,
  layouts: Interned<Layout>,
): { readonly layout: Layout; readonly kept: Int32Array; readonly rowOf: Int32Array } {
  const rowOf = new Int32Array(of.rows.length).fill(-1);
  const rows: LayoutRow[] = [];
  const families: MetricFamily[] = [];
  const familyOf = new Map<number, number>();
  for (let i = 0; i < kept.length; i++) {
    const row = of.rows[kept[i]!]!;
    rowOf[kept[i]!] = i;
    let family = familyOf.get(row.family);
    if (family === undefined) {
      family = families.push(of.families[row.family]!) - 1;
      familyOf.set(row.family, family);
    }
    rows.push(family === row.family ? row : { ...row, family });
  }
  const made = layoutOf(rows, families);
  const layout = layouts.get(made.id) ?? made;
  if (layout === made) layouts.set(made.id, made);
  return { layout, kept, rowOf };
}

// Gives a flood its name: which metric brings most of the series that were refused, and which of its labels has so many values.

import type { Layout, LayoutRow } from "#/lib/model/layout.ts";

/** How much of a name is shown: names come from the target, and may be as long as it likes. */
const nameShownMax = 120;
/** A metric with a smaller part of what was refused is not what the flood is about: then the names themselves are. */
const metricShareMin = 0.1;

/** `isRefused` is asked for each row of the layout. Empty when none is. */
export function nameFlood({ rows }: Layout, isRefused: (row: number) => boolean): string {
  const counts = new Map<string, number>();
  let refused = 0;
  for (const [row, { name }] of rows.entries()) {
    if (!isRefused(row)) continue;
    refused++;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  let metric = "";
  let most = 0;
  for (const [name, count] of counts) if (count > most) [metric, most] = [name, count];
  if (refused === 0) return "";
  if (most < refused * metricShareMin) return `of ${countText(counts.size)} metrics, such as ${shown(metric)}`;
  const [label, values] = widestLabel(rows.filter(({ name }) => name === metric));
  return values > 1 ? `${shown(metric)}, label "${shown(label)}" has ${countText(values)} values` : shown(metric);
}

function widestLabel(rows: readonly LayoutRow[]): [label: string, values: number] {
  const valuesOf = new Map<string, Set<string>>();
  for (const { labels } of rows) {
    for (const [name, value] of labels) {
      let values = valuesOf.get(name);
      if (!values) valuesOf.set(name, (values = new Set()));
      values.add(value);
    }
  }
  let label = "";
  let most = 0;
  for (const [name, { size }] of valuesOf) if (size > most) [label, most] = [name, size];
  return [label, most];
}

function shown(name: string): string {
  return name.length <= nameShownMax ? name : `${name.slice(0, nameShownMax)}…`;
}

export function countText(count: number): string {
  return count.toLocaleString("en-US");
}

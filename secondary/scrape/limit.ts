// Prometheus' limits on labels: of a series with its name and its target's labels, as it will be stored. One series beyond a
// limit fails the whole scrape. Only the largest of each kind matters, which is found once a layout.

import { Buffer } from "node:buffer";

import { metricNameLabel } from "#/lib/model/labels.ts";
import type { Layout } from "#/lib/model/layout.ts";
import type { Target } from "#/lib/model/target.ts";

/** The largest of a layout's rows, the target's own labels counted by number but not by length. */
export interface Extents {
  readonly labels: Extent;
  readonly nameBytes: Extent;
  readonly valueBytes: Extent;
  /** The target's labels that some series has as the target gives them. */
  readonly targetNames: ReadonlySet<string>;
}

interface Extent {
  readonly max: number;
  /** Of one series that reaches it. */
  readonly metric: string;
}

/** What Prometheus' label limits forbid of this scrape, undefined when nothing. */
export function exceededLimit(target: Target, extents: () => Extents): string | undefined {
  const { labelLimit, labelNameLengthLimit, labelValueLengthLimit } = target.options;
  if (labelLimit === 0 && labelNameLengthLimit === 0 && labelValueLengthLimit === 0) return undefined;
  const { labels, nameBytes, targetNames, valueBytes } = extents();
  if (labels.max === 0) return undefined;
  if (labelLimit > 0 && labels.max > labelLimit) {
    return `label_limit exceeded by ${labels.metric}: expected at most ${labelLimit} labels, got ${labels.max}`;
  }
  const left = target.labels.filter(([name]) => targetNames.has(name));
  const nameBytesMax = Math.max(nameBytes.max, ...left.map(([name]) => Buffer.byteLength(name)));
  if (labelNameLengthLimit > 0 && nameBytesMax > labelNameLengthLimit) {
    return `label_name_length_limit exceeded by ${nameBytes.metric}: expected at most ${labelNameLengthLimit} bytes, got ${nameBytesMax}`;
  }
  const valueBytesMax = Math.max(valueBytes.max, ...left.map(([, value]) => Buffer.byteLength(value)));
  if (labelValueLengthLimit > 0 && valueBytesMax > labelValueLengthLimit) {
    return `label_value_length_limit exceeded by ${valueBytes.metric}: expected at most ${labelValueLengthLimit} bytes, got ${valueBytesMax}`;
  }
  return undefined;
}

/** `targetNames` are the names of the target's labels. */
export function extentsOf(layout: Layout, targetNames: ReadonlySet<string>): Extents {
  let labels: Extent = { max: 0, metric: "" };
  let nameBytes: Extent = { max: metricNameLabel.length, metric: "" };
  let valueBytes: Extent = { max: 0, metric: "" };
  const overlaid = new Map<string, number>();
  for (const row of layout.rows) {
    const metric = row.name;
    let count = targetNames.size + 1;
    valueBytes = larger(valueBytes, Buffer.byteLength(row.name), metric);
    for (const [name, value] of row.labels) {
      if (targetNames.has(name)) overlaid.set(name, (overlaid.get(name) ?? 0) + 1);
      if (value === "") {
        count--;
        continue;
      }
      if (!targetNames.has(name)) count++;
      nameBytes = larger(nameBytes, Buffer.byteLength(name), metric);
      valueBytes = larger(valueBytes, Buffer.byteLength(value), metric);
    }
    labels = larger(labels, count, metric);
  }
  const left = new Set([...targetNames].filter((name) => (overlaid.get(name) ?? 0) < layout.rows.length));
  return { labels, nameBytes, valueBytes, targetNames: left };
}

function larger(extent: Extent, max: number, metric: string): Extent {
  return max > extent.max ? { max, metric } : extent;
}

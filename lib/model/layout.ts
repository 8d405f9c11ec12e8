// A layout is the ordered list of series that a target's exposition has after relabelling: shared by all targets that
// expose the same, so that labels are stored once a layout and once a target, and a scrape is little but a column of values.

import { contentId } from "#/lib/bytes/hash.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import type { Labels } from "#/lib/model/labels.ts";

/** OpenMetrics' types; the position in this list is the number in our formats, so it is only ever appended to. */
export const metricTypes = [
  "unknown",
  "counter",
  "gauge",
  "histogram",
  "gaugehistogram",
  "summary",
  "info",
  "stateset",
] as const;
export type MetricType = (typeof metricTypes)[number];

/** What a row's samples are; the position is the number in our formats. Native histograms are reserved, not yet filled. */
export const sampleKinds = ["float", "histogram"] as const;
export type SampleKind = (typeof sampleKinds)[number];

export interface LayoutRow {
  /** The series' name, for instance `http_requests_total`. */
  readonly name: string;
  /** Without the name and without the target's labels; an empty value takes a target's label away (see `mergeLabels`). Sorted. */
  readonly labels: Labels;
  readonly kind: SampleKind;
  /** Index into `families`. */
  readonly family: number;
}

/** What `# TYPE`, `# HELP` and `# UNIT` said of some rows. */
export interface MetricFamily {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly unit: string;
}

export interface Layout {
  /** `contentId` of the canonical bytes: 32 hex digits. */
  readonly id: string;
  readonly rows: readonly LayoutRow[];
  readonly families: readonly MetricFamily[];
}

export const layoutEmpty: Layout = layoutOf([], []);

export function layoutOf(rows: readonly LayoutRow[], families: readonly MetricFamily[]): Layout {
  const writer = new ByteWriter(rows.length * 64 + 64);
  writeLayout(writer, { rows, families });
  return { id: contentId(writer.view()), rows, families };
}

/** Layout encoding 0 of docs/formats/batch.md; the layout's id is the hash of exactly these bytes. */
export function writeLayout(writer: ByteWriter, layout: Pick<Layout, "rows" | "families">): void {
  writer.varint(layout.families.length);
  for (const family of layout.families) {
    writer.string(family.name);
    writer.u8(metricTypes.indexOf(family.type));
    writer.string(family.help);
    writer.string(family.unit);
  }
  writer.varint(layout.rows.length);
  for (const row of layout.rows) {
    writer.string(row.name);
    writer.varint(row.family);
    writer.u8(sampleKinds.indexOf(row.kind));
    writer.varint(row.labels.length);
    for (const [name, value] of row.labels) {
      writer.string(name);
      writer.string(value);
    }
  }
}

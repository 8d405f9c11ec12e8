// Layouts on the wire: the section of a batch that names them, and the way back from their canonical bytes.
//
// A layout's rows travel once for all targets that share it, and again every five minutes; in between it is only named.
// Whoever knows the id from elsewhere (it is a hash of the content) can read on without the rows.

import { constants, zstdCompressSync } from "node:zlib";
import { contentIdBytes, contentIdFromBytes } from "#/lib/bytes/hash.ts";
import { ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import { inflate, type Refuse, understood } from "#/lib/codec/envelope.ts";
import {
  batchLayoutMemoryMax,
  layoutBytesMax,
  layoutBytesPlainMax,
  layoutLabelMemoryBytes,
  layoutMemoryBytes,
  layoutRowMemoryBytes,
  layoutRowsMax,
} from "#/lib/codec/limits.ts";
import { compareText, type Label, type Labels } from "#/lib/model/labels.ts";
import {
  type Layout,
  type LayoutRow,
  layoutOf,
  type MetricFamily,
  metricTypes,
  sampleKinds,
  writeLayout,
} from "#/lib/model/layout.ts";

/** How an entry of LAYOUTS brings the rows. 1 is reserved for the edits of another layout. */
export const layoutEncodings = { plain: 0, compressed: 2, named: 255 } as const;

export const idBytes = 16;

export interface LayoutEntry {
  readonly bytes: Uint8Array;
  /** What its rows will take at the reader (`layoutMemoryBytes`); 0 when they are not in it. */
  readonly memoryBytes: number;
}

/** An entry that brings the rows; undefined when the layout is beyond a limit of limits.ts. */
export function layoutEntry(number: number, layout: Layout): LayoutEntry | undefined {
  if (layout.rows.length > layoutRowsMax) return undefined;
  let labels = 0;
  for (const row of layout.rows) labels += row.labels.length;
  const plain = new ByteWriter(layout.rows.length * 64 + 64);
  writeLayout(plain, layout);
  const memoryBytes = layoutMemoryBytes(plain.length, layout.rows.length + layout.families.length, labels);
  if (plain.length > layoutBytesMax || memoryBytes > batchLayoutMemoryMax) return undefined;
  const entry = new ByteWriter(1024);
  entry.varint(number);
  entry.bytes(contentIdBytes(layout.id));
  if (plain.length <= layoutBytesPlainMax) {
    entry.u8(layoutEncodings.plain);
    entry.varint(plain.length);
    entry.bytes(plain.view());
    return { bytes: entry.view(), memoryBytes };
  }
  const compressed = zstdCompressSync(plain.view(), { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  const content = new ByteWriter(compressed.length + 10);
  content.varint(plain.length);
  content.bytes(compressed);
  entry.u8(layoutEncodings.compressed);
  entry.varint(content.length);
  entry.bytes(content.view());
  return { bytes: entry.view(), memoryBytes };
}

/** An entry for readers that know the layout already. */
export function namedLayoutEntry(number: number, layout: Layout): LayoutEntry {
  const entry = new ByteWriter(32);
  entry.varint(number);
  entry.bytes(contentIdBytes(layout.id));
  entry.u8(layoutEncodings.named);
  entry.varint(0);
  return { bytes: entry.view(), memoryBytes: 0 };
}

/** What a reader may still spend on layouts (`layoutMemoryBytes`). */
export interface LayoutBudget {
  bytesLeft: number;
}

/**
 * The layouts that a batch names, by their number in the run; undefined for one that is only named and not known here.
 * What `known` finds is taken without reading its rows.
 */
export function readLayouts(
  section: Uint8Array,
  known: (number: number, id: string, offset: number) => Layout | undefined,
  refuse: Refuse,
): Map<number, Layout | undefined> {
  return understood("layouts", refuse, () => {
    const layouts = new Map<number, Layout | undefined>();
    const reader = new ByteReader(section);
    const budget = { bytesLeft: batchLayoutMemoryMax };
    while (reader.remaining > 0) {
      const at = reader.offset;
      const number = reader.varint();
      const id = contentIdFromBytes(reader.bytes(idBytes));
      const encoding = reader.u8();
      const content = reader.bytes(reader.varint());
      if (layouts.has(number))
        throw refuse("bad_structure", at, `layouts: expected each number once, got ${number} twice`);
      let layout = known(number, id, at);
      if (!layout && encoding !== layoutEncodings.named) {
        layout = readLayout(plainBytes(encoding, content, at, refuse), id, budget, refuse);
      }
      layouts.set(number, layout);
    }
    return layouts;
  });
}

function plainBytes(encoding: number, content: Uint8Array, at: number, refuse: Refuse): Uint8Array {
  if (encoding === layoutEncodings.plain) return content;
  if (encoding !== layoutEncodings.compressed) {
    throw refuse("bad_version", at, `layouts: expected encoding 0, 2 or 255, got ${encoding}`);
  }
  const reader = new ByteReader(content);
  const bytesExpected = reader.varint();
  if (bytesExpected > layoutBytesMax) {
    throw refuse("too_large", at, `layouts: expected at most ${layoutBytesMax} bytes of rows, got ${bytesExpected}`);
  }
  return inflate(content.subarray(reader.offset), bytesExpected, "layouts", refuse);
}

/** The inverse of `writeLayout`. The id must be that of the content, and the content canonical. */
export function readLayout(bytes: Uint8Array, id: string, budget: LayoutBudget, refuse: Refuse): Layout {
  return understood(`layout ${id}`, refuse, () => {
    spend(budget, bytes.length, 0, id, refuse);
    const reader = new ByteReader(bytes);
    const families = readFamilies(reader, id, budget, refuse);
    const rows = readRows(reader, families.length, id, budget, refuse);
    if (reader.remaining > 0) {
      throw refuse(
        "bad_structure",
        reader.offset,
        `layout ${id}: expected its end, got ${reader.remaining} more bytes`,
      );
    }
    const layout = layoutOf(rows, families);
    if (layout.id !== id) {
      throw refuse("bad_structure", 0, `layout ${id}: expected the content of that id, got that of ${layout.id}`);
    }
    return layout;
  });
}

function readFamilies(reader: ByteReader, id: string, budget: LayoutBudget, refuse: Refuse): MetricFamily[] {
  const count = readCount(reader, 4, layoutRowsMax, `layout ${id}: families`, refuse);
  spend(budget, count * layoutRowMemoryBytes, reader.offset, id, refuse);
  const families: MetricFamily[] = [];
  for (let i = 0; i < count; i++) {
    const name = reader.string();
    const at = reader.offset;
    const number = reader.u8();
    const type = metricTypes[number];
    if (type === undefined) {
      throw refuse(
        "bad_version",
        at,
        `layout ${id}: expected a metric type below ${metricTypes.length}, got ${number}`,
      );
    }
    families.push({ name, type, help: reader.string(), unit: reader.string() });
  }
  return families;
}

function readRows(reader: ByteReader, families: number, id: string, budget: LayoutBudget, refuse: Refuse): LayoutRow[] {
  const count = readCount(reader, 5, layoutRowsMax, `layout ${id}: rows`, refuse);
  spend(budget, count * layoutRowMemoryBytes, reader.offset, id, refuse);
  const rows: LayoutRow[] = [];
  for (let i = 0; i < count; i++) {
    const at = reader.offset;
    const name = reader.string();
    const family = reader.varint();
    const kind = sampleKinds[reader.u8()];
    if (name === "" || family >= families || kind === undefined) {
      throw refuse(
        "bad_structure",
        at,
        `layout ${id}: row ${i}: expected a name, one of ${families} families and a kind`,
      );
    }
    const labelsMax = Math.floor(budget.bytesLeft / layoutLabelMemoryBytes);
    const labels = readLabels(reader, labelsMax, `layout ${id}: row ${i}`, refuse);
    spend(budget, labels.length * layoutLabelMemoryBytes, at, id, refuse);
    rows.push({ name, labels, kind, family });
  }
  return rows;
}

function spend(budget: LayoutBudget, bytes: number, at: number, id: string, refuse: Refuse): void {
  budget.bytesLeft -= bytes;
  if (budget.bytesLeft < 0) {
    throw refuse(
      "too_large",
      at,
      `layout ${id}: expected at most ${batchLayoutMemoryMax} bytes of layouts in memory, got more`,
    );
  }
}

/** Pairs of strings in ascending order of distinct names. */
export function readLabels(reader: ByteReader, countMax: number, what: string, refuse: Refuse): Labels {
  const count = readCount(reader, 3, countMax, `${what}: labels`, refuse);
  const labels: Label[] = [];
  let last = "";
  for (let i = 0; i < count; i++) {
    const at = reader.offset;
    const name = reader.string();
    if (compareText(name, last) <= 0) {
      throw refuse("bad_structure", at, `${what}: expected a label name above "${last}", got "${name}"`);
    }
    labels.push([name, reader.string()]);
    last = name;
  }
  return labels;
}

/** A number of things that take so many bytes each at least: believed only as far as the bytes reach. */
export function readCount(
  reader: ByteReader,
  bytesEach: number,
  countMax: number,
  what: string,
  refuse: Refuse,
): number {
  const at = reader.offset;
  const count = reader.varint();
  if (count * bytesEach > reader.remaining) {
    throw refuse("bad_structure", at, `${what}: expected as many as fit into ${reader.remaining} bytes, got ${count}`);
  }
  if (count > countMax) throw refuse("too_large", at, `${what}: expected at most ${countMax}, got ${count}`);
  return count;
}

// The sections of a batch's body and the columns of its SCRAPES, shared by writer and reader. docs/formats/batch.md draws them.

import type { ByteReader } from "#/lib/bytes/reader.ts";
import type { ByteWriter } from "#/lib/bytes/writer.ts";

/** 16 is reserved for histograms, 128 for exemplars. From 128 on a reader skips those that it does not know. */
export const sections = { layouts: 1, targets: 2, scrapes: 3, values: 4, timestamps: 5, dropped: 129 } as const;

/** Bits of a scrape's flags. */
export const scrapeFlags = { keyframe: 1, values: 2, timestamps: 4 } as const;
export const scrapeFlagsKnown = 7;

/** One entry a scrape each, in the order of the bytes, as they are written: `slot` and so on are differences. */
export class ScrapeColumns {
  count = 0;
  target = new Float64Array(64);
  flags = new Float64Array(64);
  outcome = new Float64Array(64);
  slot = new Float64Array(64);
  generation = new Float64Array(64);
  timestamp = new Float64Array(64);
  durationUs = new Float64Array(64);
  bodyBytes = new Float64Array(64);
  samplesScraped = new Float64Array(64);
  seriesRefused = new Float64Array(64);
  seriesAdded = new Float64Array(64);
  /** Of keyframes. */
  layout = new Float64Array(64);
  /** Of scrapes with values. */
  valueBytes = new Float64Array(64);

  reserve(count: number): void {
    if (count <= this.target.length) return;
    const capacity = Math.max(count, this.target.length * 2);
    for (const column of [...signed, ...unsigned, ...conditional]) {
      const grown = new Float64Array(capacity);
      grown.set(this[column]);
      this[column] = grown;
    }
  }

  write(writer: ByteWriter): void {
    for (const name of signed) {
      const column = this[name];
      for (let i = 0; i < this.count; i++) writer.zigzag(column[i]!);
    }
    for (const name of unsigned) {
      const column = this[name];
      for (let i = 0; i < this.count; i++) writer.varint(column[i]!);
    }
    for (let i = 0; i < this.count; i++) if (this.flags[i]! & scrapeFlags.keyframe) writer.varint(this.layout[i]!);
    for (let i = 0; i < this.count; i++) if (this.flags[i]! & scrapeFlags.values) writer.varint(this.valueBytes[i]!);
  }

  read(reader: ByteReader, count: number): void {
    this.reserve(count);
    this.count = count;
    for (const name of signed) {
      const column = this[name];
      for (let i = 0; i < count; i++) column[i] = reader.zigzag();
    }
    for (const name of unsigned) {
      const column = this[name];
      for (let i = 0; i < count; i++) column[i] = reader.varint();
    }
    for (let i = 0; i < count; i++) this.layout[i] = this.flags[i]! & scrapeFlags.keyframe ? reader.varint() : 0;
    for (let i = 0; i < count; i++) this.valueBytes[i] = this.flags[i]! & scrapeFlags.values ? reader.varint() : 0;
  }
}

const signed = ["target", "slot", "generation", "timestamp"] as const;
const unsigned = [
  "flags",
  "outcome",
  "durationUs",
  "bodyBytes",
  "samplesScraped",
  "seriesRefused",
  "seriesAdded",
] as const;
const conditional = ["layout", "valueBytes"] as const;

/** At most in SCRAPES: 13 numbers of 8 bytes. */
export const scrapeBytesMax = 13 * 8;

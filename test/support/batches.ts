// Makes scrapes for tests of batches, and writes decoded ones down so that they can be compared bit for bit.

import type { OutgoingScrape, RunEncoder } from "#/lib/codec/encode.ts";
import { DecimalColumn, setNumber } from "#/lib/model/decimal.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { type Layout, layoutOf } from "#/lib/model/layout.ts";
import type { RowTimestamp, Scrape, ScrapedTarget, ScrapeFacts } from "#/lib/model/scrape.ts";
import { formatValue, isAbsent, wordsOf } from "#/lib/model/value.ts";

export const testRun = { datacenter: "dc1", secondary: "s1", bootEpoch: 1_700_000_000_000, shard: 0, run: 1 };

/** Its id's digits are all the given one, so that its phase is known: 0x111111111111 % 15000 = 9201 for "1". */
export function testTarget(digit: string, intervalMs = 15_000): ScrapedTarget {
  return { id: digit.repeat(32), labels: labelsOf({ job: "node", instance: `host-${digit}:9100` }), intervalMs };
}

export function testLayout(...names: readonly string[]): Layout {
  const family = { name: "test", type: "gauge", help: "Something.", unit: "" } as const;
  return layoutOf(
    names.map((name) => ({ name, labels: [["row", name]], kind: "float", family: 0 })),
    [family],
  );
}

export function testFacts(slot: number, more: Partial<ScrapeFacts> = {}): ScrapeFacts {
  return {
    slot,
    generation: 3,
    outcome: "stored",
    timestampMs: slot * 15_000,
    durationUs: 1234,
    bodyBytes: 5678,
    samplesScraped: 9,
    seriesRefused: 0,
    seriesAdded: 0,
    ...more,
  };
}

/** Numbers become their shortest decimal, words become raw doubles, undefined is absent. */
export type TestValue = number | readonly [low: number, high: number] | { m: number; e: number } | undefined;

export function testColumn(values: readonly TestValue[]): DecimalColumn {
  const column = new DecimalColumn(Math.max(1, values.length));
  column.length = values.length;
  for (const [row, value] of values.entries()) {
    if (value === undefined) column.setAbsent(row);
    else if (typeof value === "number") setNumber(column, row, value);
    else if ("m" in value) column.setDecimal(row, value.m, value.e);
    else column.setRaw(row, value[0], value[1]);
  }
  return column;
}

export function testScrape(
  target: ScrapedTarget,
  layout: Layout,
  slot: number,
  values: readonly TestValue[],
  facts: Partial<ScrapeFacts> = {},
  timestamps: readonly RowTimestamp[] = [],
): OutgoingScrape {
  return { target, layout, facts: testFacts(slot, facts), values: testColumn(values), timestamps };
}

/** Adds the scrapes and flushes one batch at the time of their slot. */
export function flushed(encoder: RunEncoder, slot: number, ...scrapes: readonly OutgoingScrape[]): Uint8Array {
  for (const scrape of scrapes) encoder.add(scrape);
  const batch = encoder.flush({ nowMs: slot * 15_000 + 14_000, watermarkMs: slot * 15_000, generation: 3 });
  if (!batch) throw new Error("nothing was pending");
  return batch.bytes;
}

export interface WrittenScrape {
  readonly target: string;
  readonly labels: Record<string, string>;
  readonly intervalMs: number;
  readonly facts: ScrapeFacts;
  readonly layout: string;
  readonly series: readonly string[];
  readonly timestamps: readonly RowTimestamp[];
}

/** A scrape as plain data: `name{row labels} value`, where a NaN is written as its 64 bits. */
export function written(scrape: Scrape): WrittenScrape {
  const { target, facts, layout, timestamps, values } = scrape;
  return {
    target: target.id,
    labels: Object.fromEntries(target.labels),
    intervalMs: target.intervalMs,
    facts: { ...facts },
    layout: layout.id,
    series: writtenValues(values).map((value, row) => {
      const { labels, name } = layout.rows[row]!;
      return `${name}{${labels.map(([key, text]) => `${key}=${JSON.stringify(text)}`).join(",")}} ${value}`;
    }),
    timestamps: timestamps.map((timestamp) => ({ ...timestamp })),
  };
}

export function writtenValues(values: Float64Array): string[] {
  const words = wordsOf(values);
  return Array.from(values, (value, row) => {
    if (isAbsent(words, row)) return "absent";
    if (!Number.isNaN(value)) return formatValue(value);
    return `NaN:${hex(words[row * 2 + 1]!)}${hex(words[row * 2]!)}`;
  });
}

function hex(word: number): string {
  return word.toString(16).padStart(8, "0");
}

// What like targets of a generation share (job, interval, limits, rules, how they are spoken to), each combination once.

import { ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import type { Refuse } from "#/lib/codec/envelope.ts";
import { readHttp, writeHttp, writeNoHttp } from "#/lib/codec/http.ts";
import { readCount } from "#/lib/codec/layout.ts";
import { readMetricRelabel, writeMetricRelabel } from "#/lib/codec/relabel.ts";
import { type StringTable, stringOf } from "#/lib/codec/strings.ts";
import type { ScrapeOptions, Target } from "#/lib/model/target.ts";

/** Of the envelope: some settings have what a reader that does not know it must not leave out. */
export const settingsFlags = { metricRelabel: 1, http: 2 } as const;

export type Settings = Pick<Target, "job" | "intervalMs" | "timeoutMs" | "options">;

/** Stands before what follows where there are no rules. */
const noRelabel = { placeLabels: [], rules: [] } as const;

const optionFlags = { honorLabels: 1, honorTimestamps: 2 } as const;

export class SettingsTable {
  readonly #strings: StringTable;
  readonly #writer = new ByteWriter();
  readonly #numbers = new Map<string, number>();
  /** Targets of one job usually share the very object of their options. */
  readonly #recent = new Map<ScrapeOptions, Settings & { readonly number: number }>();
  /** Of the envelope. */
  flags = 0;

  constructor(strings: StringTable) {
    this.#strings = strings;
  }

  numberOf(settings: Settings): number {
    const { intervalMs, job, options, timeoutMs } = settings;
    const recent = this.#recent.get(options);
    if (recent?.job === job && recent.intervalMs === intervalMs && recent.timeoutMs === timeoutMs) return recent.number;
    const number = this.#findOrAdd(settings);
    this.#recent.set(options, { job, intervalMs, timeoutMs, options, number });
    return number;
  }

  #findOrAdd(settings: Settings): number {
    const { options } = settings;
    // Two numbers in one line cannot run into each other, and the job comes last.
    const limits = `${options.sampleLimit} ${options.labelLimit} ${options.labelNameLengthLimit} ${options.labelValueLengthLimit}`;
    const optionBits = flagsOf(options);
    const numbers = `${optionBits} ${settings.intervalMs} ${settings.timeoutMs} ${limits} ${options.bodyBytesMax}`;
    const { cardinalityLimit = 0, http, metricRelabel } = options;
    const key = `${numbers} ${cardinalityLimit} ${metricRelabel?.id ?? "-"} ${http?.id ?? "-"} ${settings.job}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(key, number);
      const entry = new ByteWriter(64);
      entry.varint(this.#strings.numberOf(settings.job));
      entry.varint(settings.intervalMs);
      entry.varint(settings.timeoutMs);
      entry.varint(optionBits);
      for (const limit of optionLimits) entry.varint(options[limit]);
      const numberOf = (text: string) => this.#strings.numberOf(text);
      if (metricRelabel) this.flags |= settingsFlags.metricRelabel;
      if (metricRelabel || http || cardinalityLimit > 0) {
        writeMetricRelabel(entry, metricRelabel ?? noRelabel, numberOf);
      }
      if (http) {
        this.flags |= settingsFlags.http;
        writeHttp(entry, http, numberOf);
      } else if (cardinalityLimit > 0) writeNoHttp(entry, numberOf);
      if (cardinalityLimit > 0) entry.varint(cardinalityLimit);
      this.#writer.varint(entry.length);
      this.#writer.bytes(entry.view());
    }
    return number;
  }

  bytes(): Uint8Array {
    const section = new ByteWriter(this.#writer.length + 10);
    section.varint(this.#numbers.size);
    section.bytes(this.#writer.view());
    return section.view();
  }
}

/** In the order of the bytes. Later versions append; readers ignore what they do not know. */
const optionLimits = [
  "sampleLimit",
  "labelLimit",
  "labelNameLengthLimit",
  "labelValueLengthLimit",
  "bodyBytesMax",
] as const satisfies readonly (keyof ScrapeOptions)[];

function flagsOf(options: ScrapeOptions): number {
  return (
    (options.honorLabels ? optionFlags.honorLabels : 0) | (options.honorTimestamps ? optionFlags.honorTimestamps : 0)
  );
}

export function readSettings(reader: ByteReader, strings: readonly string[], refuse: Refuse): Settings[] {
  const count = readCount(reader, 10, Number.MAX_SAFE_INTEGER, "settings", refuse);
  const all: Settings[] = [];
  for (let i = 0; i < count; i++) {
    const lengthBytes = reader.varint();
    const entry = new ByteReader(reader.bytes(lengthBytes));
    const job = stringOf(strings, entry, refuse);
    const intervalMs = entry.varint();
    const timeoutMs = entry.varint();
    const optionBits = entry.varint();
    const limits = {} as Record<(typeof optionLimits)[number], number>;
    for (const limit of optionLimits) limits[limit] = entry.varint();
    const string = () => stringOf(strings, entry, refuse);
    const relabel = entry.remaining > 0 ? readMetricRelabel(entry, string, refuse) : undefined;
    const http = entry.remaining > 0 ? readHttp(entry, job, string, refuse) : undefined;
    const cardinalityLimit = entry.remaining > 0 ? entry.varint() : 0;
    if (intervalMs === 0) throw refuse("bad_structure", reader.offset, "settings: expected an interval above 0, got 0");
    const honorLabels = optionBits % 2 === 1;
    const honorTimestamps = optionBits % 4 >= 2;
    all.push({
      job,
      intervalMs,
      timeoutMs,
      options: {
        honorLabels,
        honorTimestamps,
        ...limits,
        ...(relabel && { metricRelabel: relabel }),
        ...(http && { http }),
        ...(cardinalityLimit > 0 && { cardinalityLimit }),
      },
    });
  }
  return all;
}

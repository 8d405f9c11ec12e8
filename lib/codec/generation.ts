// Generations as bytes: what the log carries and what a secondary keeps on disk. docs/formats/generation.md draws it.
//
// Every string stands once in a table, and what like targets share (job, interval, limits) stands once in another, so that a
// target is its id and some small numbers. A generation may one day be the difference to an earlier one: `base` is kept for
// that, and is 0 until then.

import { assert } from "#/lib/assert/assert.ts";
import { ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import {
  type EnvelopeErrorCode,
  type EnvelopeFormat,
  inflate,
  readEnvelope,
  readName,
  readSections,
  understood,
  writeEnvelope,
  writeSection,
} from "#/lib/codec/envelope.ts";
import { readHttp, writeHttp, writeNoHttp } from "#/lib/codec/http.ts";
import { idBytes, readCount } from "#/lib/codec/layout.ts";
import {
  generationBodyBytesMax,
  generationBytesMax,
  generationLabelsMax,
  generationTargetsMax,
} from "#/lib/codec/limits.ts";
import { readMetricRelabel, writeMetricRelabel } from "#/lib/codec/relabel.ts";
import type { AssignedTarget, Generation } from "#/lib/model/generation.ts";
import { compareText, type Label } from "#/lib/model/labels.ts";
import type { ScrapeOptions, Target } from "#/lib/model/target.ts";

export const generationVersion = 1;

export class BadGeneration extends Error {
  override readonly name = "BadGeneration";
  readonly code: EnvelopeErrorCode;
  /** In bytes, within the part that the message names; 0 where there is no place. */
  readonly offset: number;

  constructor(code: EnvelopeErrorCode, offset: number, message: string, cause?: unknown) {
    super(`${code} at offset ${offset}: ${message}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.offset = offset;
  }
}

/** Of the envelope: some settings have what a reader that does not know it must not leave out. */
const flags = { metricRelabel: 1, http: 2 } as const;

const format: EnvelopeFormat = {
  magic: "HGGN",
  version: generationVersion,
  bytesMax: generationBytesMax,
  flagsKnown: flags.metricRelabel | flags.http,
  refuse: (code, offset, message, cause) => new BadGeneration(code, offset, message, cause),
};
const { refuse } = format;

const sections = { strings: 1, secondaries: 2, settings: 3, targets: 4 } as const;

/** What like targets share. */
type Settings = Pick<Target, "job" | "intervalMs" | "timeoutMs" | "options">;

/** An eighth smaller than level 1 for 5 ms more with 100,000 targets. */
const zstdLevel = 3;

/** Throws BadGeneration (too_large) when it does not fit into a message of the log. */
export function encodeGeneration(generation: Generation): Uint8Array {
  const strings = new StringTable();
  const settings = new SettingsTable(strings);
  const secondaries = new ByteWriter();
  secondaries.varint(generation.secondaries.length);
  for (const { capacity, name } of generation.secondaries) {
    secondaries.varint(strings.numberOf(name));
    secondaries.varint(Math.round(capacity));
  }
  const targets = new ByteWriter(generation.targets.length * 48 + 64);
  writeTargets(targets, generation.targets, strings, settings);
  const settingsSection = settings.bytes();
  const body = new ByteWriter(
    targets.length + strings.writer.length + settingsSection.length + secondaries.length + 64,
  );
  writeSection(body, sections.strings, strings.bytes());
  writeSection(body, sections.secondaries, secondaries.view());
  writeSection(body, sections.settings, settingsSection);
  writeSection(body, sections.targets, targets.view());

  const header = new ByteWriter();
  header.string(generation.datacenter);
  header.string(generation.primary);
  for (const number of [generation.number, generation.token, Math.round(generation.validFromMs), 0])
    header.varint(number);
  header.varint(generation.targets.length);
  header.varint(body.length);
  const writer = new ByteWriter(body.length / 2 + 1024);
  writeEnvelope(writer, format, header.view(), body.view(), zstdLevel, settings.flags);
  if (
    writer.length > generationBytesMax ||
    body.length > generationBodyBytesMax ||
    generation.targets.length > generationTargetsMax
  ) {
    const limits = `${generationTargetsMax} targets and ${generationBytesMax} bytes`;
    throw refuse("too_large", 0, `expected at most ${limits}, got ${generation.targets.length} and ${writer.length}`);
  }
  return writer.toBytes();
}

/** Throws BadGeneration. */
export function decodeGeneration(bytes: Uint8Array): Generation {
  const { body: compressed, header } = readEnvelope(bytes, format);
  const facts = understood("header", refuse, () => readHeader(header));
  const body = inflate(compressed, facts.bodyBytes, "body", refuse);
  const found = readSections(body, Object.values(sections), refuse);
  const section = (type: number, what: string) => {
    const content = found.get(type);
    if (!content) throw refuse("bad_structure", 0, `body: expected the section ${type} (${what}), got none`);
    return new ByteReader(content);
  };
  const strings = understood("strings", refuse, () => readStrings(section(sections.strings, "strings")));
  const secondaries = understood("secondaries", refuse, () =>
    readSecondaries(section(sections.secondaries, "secondaries"), strings),
  );
  const settings = understood("settings", refuse, () => readSettings(section(sections.settings, "settings"), strings));
  const targets = understood("targets", refuse, () =>
    readTargets(section(sections.targets, "targets"), facts.targets, strings, settings),
  );
  const { datacenter, number, primary, token, validFromMs } = facts;
  return { datacenter, number, token, primary, validFromMs, secondaries, targets };
}

function readHeader(reader: ByteReader) {
  const datacenter = readName(reader, "datacenter", refuse);
  const primary = readName(reader, "primary", refuse);
  const number = reader.varint();
  const token = reader.varint();
  const validFromMs = reader.varint();
  const baseAt = reader.offset;
  const base = reader.varint();
  if (base !== 0) throw refuse("bad_version", baseAt, `header: expected a full generation, got one based on ${base}`);
  const targets = reader.varint();
  const bodyBytes = reader.varint();
  if (bodyBytes > generationBodyBytesMax || targets > generationTargetsMax) {
    const expected = `at most ${generationTargetsMax} targets in ${generationBodyBytesMax} bytes`;
    throw refuse("too_large", baseAt, `header: expected ${expected}, got ${targets} in ${bodyBytes}`);
  }
  return { datacenter, primary, number, token, validFromMs, targets, bodyBytes };
}

class StringTable {
  readonly writer = new ByteWriter(65536);
  readonly #numbers = new Map<string, number>();

  /** In order of first use, so that what is like stands together. */
  numberOf(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(text, number);
      this.writer.string(text);
    }
    return number;
  }

  bytes(): Uint8Array {
    const section = new ByteWriter(this.writer.length + 10);
    section.varint(this.#numbers.size);
    section.bytes(this.writer.view());
    return section.view();
  }
}

function readStrings(reader: ByteReader): string[] {
  const count = readCount(reader, 1, Number.MAX_SAFE_INTEGER, "strings", refuse);
  const strings: string[] = [];
  for (let i = 0; i < count; i++) strings.push(reader.string());
  return strings;
}

function stringOf(strings: readonly string[], reader: ByteReader): string {
  const at = reader.offset;
  const number = reader.varint();
  const text = strings[number];
  if (text === undefined)
    throw refuse("bad_structure", at, `expected one of ${strings.length} strings, got number ${number}`);
  return text;
}

function readSecondaries(reader: ByteReader, strings: readonly string[]): Generation["secondaries"] {
  const count = readCount(reader, 2, Number.MAX_SAFE_INTEGER, "secondaries", refuse);
  return Array.from({ length: count }, () => ({ name: stringOf(strings, reader), capacity: reader.varint() }));
}

/** Stands before what follows where there are no rules. */
const noRelabel = { placeLabels: [], rules: [] } as const;

const optionFlags = { honorLabels: 1, honorTimestamps: 2 } as const;

class SettingsTable {
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
      if (metricRelabel) this.flags |= flags.metricRelabel;
      if (metricRelabel || http || cardinalityLimit > 0) {
        writeMetricRelabel(entry, metricRelabel ?? noRelabel, numberOf);
      }
      if (http) {
        this.flags |= flags.http;
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

function readSettings(reader: ByteReader, strings: readonly string[]): Settings[] {
  const count = readCount(reader, 10, Number.MAX_SAFE_INTEGER, "settings", refuse);
  const all: Settings[] = [];
  for (let i = 0; i < count; i++) {
    const lengthBytes = reader.varint();
    const entry = new ByteReader(reader.bytes(lengthBytes));
    const job = stringOf(strings, entry);
    const intervalMs = entry.varint();
    const timeoutMs = entry.varint();
    const optionBits = entry.varint();
    const limits = {} as Record<(typeof optionLimits)[number], number>;
    for (const limit of optionLimits) limits[limit] = entry.varint();
    const string = () => stringOf(strings, entry);
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

/** Columns: all ids, then the numbers of each target. */
function writeTargets(
  writer: ByteWriter,
  targets: readonly AssignedTarget[],
  strings: StringTable,
  settings: SettingsTable,
): void {
  const ids: string[] = [];
  let last = "";
  for (const { target } of targets) {
    if (target.id <= last) assert(false, `expected targets sorted by distinct ids, got ${target.id} after ${last}`);
    last = target.id;
    ids.push(last);
  }
  writer.bytes(Uint8Array.fromHex(ids.join("")));
  const names = new RecentStrings(strings);
  const values = new RecentStrings(strings);
  for (const { owner, target } of targets) {
    writer.varint(strings.numberOf(owner));
    writer.varint(settings.numberOf(target));
    writer.varint(strings.numberOf(target.url));
    writer.varint(target.labels.length);
    for (let i = 0; i < target.labels.length; i++) {
      const label = target.labels[i]!;
      writer.varint(names.numberOf(label[0], i));
      writer.varint(values.numberOf(label[1], i));
    }
  }
}

/** What the target before had at this place it is likely to have too, and comparing is cheaper than looking up. */
class RecentStrings {
  readonly #strings: StringTable;
  readonly #texts: string[] = [];
  readonly #numbers: number[] = [];

  constructor(strings: StringTable) {
    this.#strings = strings;
  }

  numberOf(text: string, place: number): number {
    if (this.#texts[place] !== text) {
      this.#texts[place] = text;
      this.#numbers[place] = this.#strings.numberOf(text);
    }
    return this.#numbers[place]!;
  }
}

function readTargets(
  reader: ByteReader,
  count: number,
  strings: readonly string[],
  settings: readonly Settings[],
): AssignedTarget[] {
  const ids = reader.bytes(count * idBytes).toHex();
  const targets: AssignedTarget[] = [];
  let labelsLeft = generationLabelsMax;
  let last = "";
  for (let i = 0; i < count; i++) {
    const at = reader.offset;
    const id = ids.slice(i * idBytes * 2, (i + 1) * idBytes * 2);
    if (id <= last) throw refuse("bad_structure", i * idBytes, `targets: expected an id above ${last}, got ${id}`);
    last = id;
    const owner = stringOf(strings, reader);
    const common = settings[reader.varint()];
    if (!common) throw refuse("bad_structure", at, `targets: ${id}: expected one of ${settings.length} settings`);
    const url = stringOf(strings, reader);
    const labelCount = readCount(reader, 2, labelsLeft, `targets: ${id}: labels`, refuse);
    labelsLeft -= labelCount;
    const labels: Label[] = [];
    let lastName = "";
    for (let label = 0; label < labelCount; label++) {
      const name = stringOf(strings, reader);
      if (compareText(name, lastName) <= 0) {
        throw refuse("bad_structure", at, `targets: ${id}: expected a label name above "${lastName}", got "${name}"`);
      }
      lastName = name;
      labels.push([name, stringOf(strings, reader)]);
    }
    const { intervalMs, job, options, timeoutMs } = common;
    targets.push({ target: { id, job, url, labels, intervalMs, timeoutMs, options }, owner });
  }
  if (reader.remaining > 0) {
    throw refuse("bad_structure", reader.offset, `targets: expected their end, got ${reader.remaining} more bytes`);
  }
  return targets;
}

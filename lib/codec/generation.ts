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
import { idBytes, readCount } from "#/lib/codec/layout.ts";
import {
  generationBodyBytesMax,
  generationBytesMax,
  generationLabelsMax,
  generationTargetsMax,
} from "#/lib/codec/limits.ts";
import {
  readCauses,
  readSecondaries,
  readStates,
  writeCauses,
  writeSecondaries,
  writeStates,
} from "#/lib/codec/secondaries.ts";
import { readSettings, type Settings, SettingsTable, settingsFlags } from "#/lib/codec/settings.ts";
import { readStrings, StringTable, stringOf } from "#/lib/codec/strings.ts";
import type { AssignedTarget, Generation } from "#/lib/model/generation.ts";
import { compareText, type Label } from "#/lib/model/labels.ts";

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

const format: EnvelopeFormat = {
  magic: "HGGN",
  version: generationVersion,
  bytesMax: generationBytesMax,
  flagsKnown: settingsFlags.metricRelabel | settingsFlags.http,
  refuse: (code, offset, message, cause) => new BadGeneration(code, offset, message, cause),
};
const { refuse } = format;

/** From 128 on: what a reader that does not know it may skip. */
const sections = { strings: 1, secondaries: 2, settings: 3, targets: 4, states: 128, causes: 129 } as const;

/** An eighth smaller than level 1 for 5 ms more with 100,000 targets. */
const zstdLevel = 3;

/** Throws BadGeneration (too_large) when it does not fit into a message of the log. */
export function encodeGeneration(generation: Generation): Uint8Array {
  const strings = new StringTable();
  const settings = new SettingsTable(strings);
  const secondaries = writeSecondaries(generation.secondaries, strings);
  const targets = new ByteWriter(generation.targets.length * 48 + 64);
  writeTargets(targets, generation.targets, strings, settings);
  const settingsSection = settings.bytes();
  const states = writeStates(generation.secondaries);
  const causes = writeCauses(generation.causes ?? [], strings);
  const body = new ByteWriter(
    targets.length + strings.writer.length + settingsSection.length + secondaries.length + 8192,
  );
  writeSection(body, sections.strings, strings.bytes());
  writeSection(body, sections.secondaries, secondaries);
  writeSection(body, sections.settings, settingsSection);
  writeSection(body, sections.targets, targets.view());
  if (states) writeSection(body, sections.states, states);
  if (causes) writeSection(body, sections.causes, causes);

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
  const strings = understood("strings", refuse, () => readStrings(section(sections.strings, "strings"), refuse));
  const living = understood("secondaries", refuse, () =>
    readSecondaries(section(sections.secondaries, "secondaries"), strings, refuse),
  );
  const secondaries = understood("states", refuse, () => readStates(found.get(sections.states), living, refuse));
  const causes = understood("causes", refuse, () => readCauses(found.get(sections.causes), strings, refuse));
  const settings = understood("settings", refuse, () =>
    readSettings(section(sections.settings, "settings"), strings, refuse),
  );
  const targets = understood("targets", refuse, () =>
    readTargets(section(sections.targets, "targets"), facts.targets, strings, settings),
  );
  const { datacenter, number, primary, token, validFromMs } = facts;
  const told = causes.length > 0 && { causes };
  return { datacenter, number, token, primary, validFromMs, secondaries, ...told, targets };
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
    const owner = stringOf(strings, reader, refuse);
    const common = settings[reader.varint()];
    if (!common) throw refuse("bad_structure", at, `targets: ${id}: expected one of ${settings.length} settings`);
    const url = stringOf(strings, reader, refuse);
    const labelCount = readCount(reader, 2, labelsLeft, `targets: ${id}: labels`, refuse);
    labelsLeft -= labelCount;
    const labels: Label[] = [];
    let lastName = "";
    for (let label = 0; label < labelCount; label++) {
      const name = stringOf(strings, reader, refuse);
      if (compareText(name, lastName) <= 0) {
        throw refuse("bad_structure", at, `targets: ${id}: expected a label name above "${lastName}", got "${name}"`);
      }
      lastName = name;
      labels.push([name, stringOf(strings, reader, refuse)]);
    }
    const { intervalMs, job, options, timeoutMs } = common;
    targets.push({ target: { id, job, url, labels, intervalMs, timeoutMs, options }, owner });
  }
  if (reader.remaining > 0) {
    throw refuse("bad_structure", reader.offset, `targets: expected their end, got ${reader.remaining} more bytes`);
  }
  return targets;
}

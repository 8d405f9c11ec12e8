// Generations as bytes: what the log carries and what a secondary keeps on disk. docs/formats/generation.md draws it.
//
// Every string stands once in a table, and what like targets share (job, interval, limits) stands once in another, so that a
// target is its id and some small numbers. A generation may also be told as the difference to an earlier one, its base.

import { assert } from "#/lib/assert/assert.ts";
import { ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import { readChanges, writeMoved, writeRemoved, writeResult } from "#/lib/codec/changes.ts";
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
import { generationBodyBytesMax, generationBytesMax, generationTargetsMax } from "#/lib/codec/limits.ts";
import {
  readCauses,
  readSecondaries,
  readStates,
  writeCauses,
  writeSecondaries,
  writeStates,
} from "#/lib/codec/secondaries.ts";
import { readSettings, SettingsTable, settingsFlags } from "#/lib/codec/settings.ts";
import { readStrings, StringTable } from "#/lib/codec/strings.ts";
import { readTargets, writeTargets } from "#/lib/codec/targets.ts";
import type { GenerationDelta } from "#/lib/model/delta.ts";
import type { Generation, GenerationName } from "#/lib/model/generation.ts";

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

/** What stands before the body, and can be read without it. */
export interface GenerationHeader extends GenerationName {
  readonly datacenter: string;
  readonly primary: string;
  /** Of a difference: what it is to. */
  readonly base?: GenerationName;
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

/** Of a difference alone. */
const changes = { removed: 5, moved: 6, result: 7 } as const;

/** An eighth smaller than level 1 for 5 ms more with 100,000 targets. */
const zstdLevel = 3;

/** Throws BadGeneration (too_large) when it does not fit into a message of the log. */
export function encodeGeneration(generation: Generation): Uint8Array {
  return encode(generation, undefined);
}

/** As encodeGeneration. The base's number is above 0. */
export function encodeDelta(delta: GenerationDelta): Uint8Array {
  return encode(delta, delta);
}

function encode(generation: Generation, delta: GenerationDelta | undefined): Uint8Array {
  const strings = new StringTable();
  const settings = new SettingsTable(strings);
  const secondaries = writeSecondaries(generation.secondaries, strings);
  const targets = new ByteWriter(generation.targets.length * 48 + 64);
  writeTargets(targets, generation.targets, strings, settings);
  const settingsSection = settings.bytes();
  const moved = delta && writeMoved(delta.moved, strings);
  const states = writeStates(generation.secondaries);
  const causes = writeCauses(generation.causes ?? [], strings);
  const body = new ByteWriter(
    targets.length + strings.writer.length + settingsSection.length + secondaries.length + 8192,
  );
  writeSection(body, sections.strings, strings.bytes());
  writeSection(body, sections.secondaries, secondaries);
  writeSection(body, sections.settings, settingsSection);
  writeSection(body, sections.targets, targets.view());
  if (delta && moved) {
    writeSection(body, changes.removed, writeRemoved(delta.removed));
    writeSection(body, changes.moved, moved);
    writeSection(body, changes.result, writeResult(delta.result));
  }
  if (states) writeSection(body, sections.states, states);
  if (causes) writeSection(body, sections.causes, causes);

  const writer = new ByteWriter(body.length / 2 + 1024);
  const header = headerOf(generation, delta?.base, body.length);
  writeEnvelope(writer, format, header, body.view(), zstdLevel, settings.flags);
  const count = Math.max(generation.targets.length, delta?.result.targets ?? 0);
  if (writer.length > generationBytesMax || body.length > generationBodyBytesMax || count > generationTargetsMax) {
    const limits = `${generationTargetsMax} targets and ${generationBytesMax} bytes`;
    throw refuse("too_large", 0, `expected at most ${limits}, got ${count} and ${writer.length}`);
  }
  return writer.toBytes();
}

function headerOf(generation: Generation, base: GenerationName | undefined, bodyBytes: number): Uint8Array {
  const header = new ByteWriter();
  header.string(generation.datacenter);
  header.string(generation.primary);
  header.varint(generation.number);
  header.varint(generation.token);
  header.varint(Math.round(generation.validFromMs));
  if (base) assert(base.number > 0, "a difference is to a generation with a number above 0");
  header.varint(base?.number ?? 0);
  header.varint(generation.targets.length);
  header.varint(bodyBytes);
  if (base) {
    header.varint(base.token);
    header.varint(Math.round(base.validFromMs));
  }
  return header.view();
}

/** A whole one. Throws BadGeneration, also for a difference. */
export function decodeGeneration(bytes: Uint8Array): Generation {
  const read = readGeneration(bytes);
  if (!("base" in read)) return read;
  throw refuse("bad_version", 0, `header: expected a full generation, got one based on ${read.base.number}`);
}

/** Checks the envelope and reads what stands before the body. Throws BadGeneration. */
export function readGenerationHeader(bytes: Uint8Array): GenerationHeader {
  const { header } = readEnvelope(bytes, format);
  const { bodyBytes: _bytes, targets: _targets, ...facts } = understood("header", refuse, () => readHeader(header));
  return facts;
}

/** A whole one or a difference. Throws BadGeneration. */
export function readGeneration(bytes: Uint8Array): Generation | GenerationDelta {
  const { body: compressed, header } = readEnvelope(bytes, format);
  const { bodyBytes, targets: count, ...facts } = understood("header", refuse, () => readHeader(header));
  const body = inflate(compressed, bodyBytes, "body", refuse);
  const known = facts.base ? { ...sections, ...changes } : sections;
  const found = readSections(body, Object.values(known), refuse);
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
    readTargets(section(sections.targets, "targets"), count, strings, settings, refuse),
  );
  const { datacenter, number, primary, token, validFromMs } = facts;
  const told = causes.length > 0 && { causes };
  const generation: Generation = { datacenter, number, token, primary, validFromMs, secondaries, ...told, targets };
  if (!facts.base) return generation;
  const changed = understood("changes", refuse, () =>
    readChanges(
      {
        removed: section(changes.removed, "removed"),
        moved: section(changes.moved, "moved"),
        result: section(changes.result, "result"),
      },
      strings,
      refuse,
    ),
  );
  return { ...generation, base: facts.base, ...changed };
}

function readHeader(reader: ByteReader): GenerationHeader & { readonly targets: number; readonly bodyBytes: number } {
  const datacenter = readName(reader, "datacenter", refuse);
  const primary = readName(reader, "primary", refuse);
  const number = reader.varint();
  const token = reader.varint();
  const validFromMs = reader.varint();
  const baseAt = reader.offset;
  const baseNumber = reader.varint();
  const targets = reader.varint();
  const bodyBytes = reader.varint();
  if (bodyBytes > generationBodyBytesMax || targets > generationTargetsMax) {
    const expected = `at most ${generationTargetsMax} targets in ${generationBodyBytesMax} bytes`;
    throw refuse("too_large", baseAt, `header: expected ${expected}, got ${targets} in ${bodyBytes}`);
  }
  const facts = { datacenter, primary, number, token, validFromMs, targets, bodyBytes };
  if (baseNumber === 0) return facts;
  const base: GenerationName = { number: baseNumber, token: reader.varint(), validFromMs: reader.varint() };
  return { ...facts, base };
}

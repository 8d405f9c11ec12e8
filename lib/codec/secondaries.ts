// The secondaries of a generation, the states of those that are not active, and why the generation was made.

import { assert } from "#/lib/assert/assert.ts";
import { ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import type { Refuse } from "#/lib/codec/envelope.ts";
import { readCount } from "#/lib/codec/layout.ts";
import { causesMax } from "#/lib/codec/limits.ts";
import { type StringTable, stringOf } from "#/lib/codec/strings.ts";
import {
  causeKinds,
  type GenerationCause,
  type GenerationSecondary,
  secondaryStates,
  stateOf,
} from "#/lib/model/generation.ts";

export function writeSecondaries(secondaries: readonly GenerationSecondary[], strings: StringTable): Uint8Array {
  const writer = new ByteWriter();
  writer.varint(secondaries.length);
  for (const { capacity, name } of secondaries) {
    writer.varint(strings.numberOf(name));
    writer.varint(Math.round(capacity));
  }
  return writer.view();
}

export function readSecondaries(
  reader: ByteReader,
  strings: readonly string[],
  refuse: Refuse,
): readonly GenerationSecondary[] {
  const count = readCount(reader, 2, Number.MAX_SAFE_INTEGER, "secondaries", refuse);
  return Array.from({ length: count }, () => ({ name: stringOf(strings, reader, refuse), capacity: reader.varint() }));
}

/** Undefined where all are active: then there is no such section. */
export function writeStates(secondaries: readonly GenerationSecondary[]): Uint8Array | undefined {
  if (secondaries.every((secondary) => stateOf(secondary) === "active")) return undefined;
  const writer = new ByteWriter();
  for (const secondary of secondaries) writer.varint(secondaryStates.indexOf(stateOf(secondary)));
  return writer.view();
}

export function readStates(
  section: Uint8Array | undefined,
  secondaries: readonly GenerationSecondary[],
  refuse: Refuse,
): readonly GenerationSecondary[] {
  if (!section) return secondaries;
  const reader = new ByteReader(section);
  const states = secondaries.map((secondary): GenerationSecondary => {
    const at = reader.offset;
    const number = reader.varint();
    const state = secondaryStates[number];
    if (!state) {
      throw refuse("bad_version", at, `states: expected one of ${secondaryStates.length} states, got number ${number}`);
    }
    return state === "active" ? secondary : { ...secondary, state };
  });
  if (reader.remaining > 0) {
    throw refuse("bad_structure", reader.offset, `states: expected their end, got ${reader.remaining} more bytes`);
  }
  return states;
}

/** Undefined where there are none: then there is no such section. */
export function writeCauses(causes: readonly GenerationCause[], strings: StringTable): Uint8Array | undefined {
  assert(causes.length <= causesMax, `expected at most ${causesMax} causes, got ${causes.length}`);
  if (causes.length === 0) return undefined;
  const writer = new ByteWriter();
  writer.varint(causes.length);
  for (const { count = 0, kind, subject } of causes) {
    writer.varint(causeKinds.indexOf(kind));
    writer.varint(strings.numberOf(subject));
    writer.varint(count);
  }
  return writer.view();
}

/** Those whose kind is known here: they are told to people, and nothing depends on them. */
export function readCauses(
  section: Uint8Array | undefined,
  strings: readonly string[],
  refuse: Refuse,
): readonly GenerationCause[] {
  if (!section) return [];
  const reader = new ByteReader(section);
  const causes: GenerationCause[] = [];
  for (let left = readCount(reader, 3, causesMax, "causes", refuse); left > 0; left--) {
    const kind = causeKinds[reader.varint()];
    const subject = stringOf(strings, reader, refuse);
    const count = reader.varint();
    if (kind) causes.push({ kind, subject, ...(count > 0 && { count }) });
  }
  return causes;
}

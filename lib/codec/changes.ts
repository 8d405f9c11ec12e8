// What a difference between two generations has beside the targets that it brings: which places of its base's list are gone, which
// belong to another secondary, and what must come of it.

import type { ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import type { Refuse } from "#/lib/codec/envelope.ts";
import { readCount } from "#/lib/codec/layout.ts";
import { generationTargetsMax } from "#/lib/codec/limits.ts";
import { type StringTable, stringOf } from "#/lib/codec/strings.ts";
import type { GenerationDelta, OwnerMoves } from "#/lib/model/delta.ts";

export function writeRemoved(places: readonly number[]): Uint8Array {
  const writer = new ByteWriter(places.length * 2 + 8);
  writePlaces(writer, places);
  return writer.view();
}

export function writeMoved(moved: readonly OwnerMoves[], strings: StringTable): Uint8Array {
  const writer = new ByteWriter();
  writer.varint(moved.length);
  for (const { owner, places } of moved) {
    writer.varint(strings.numberOf(owner));
    writePlaces(writer, places);
  }
  return writer.view();
}

export function writeResult({ checksum, targets }: GenerationDelta["result"]): Uint8Array {
  const writer = new ByteWriter(16);
  writer.varint(targets);
  writer.u32(checksum);
  return writer.view();
}

/** Whether the places are in the base's list, and each once, is seen when it is applied. */
export function readChanges(
  readers: { readonly removed: ByteReader; readonly moved: ByteReader; readonly result: ByteReader },
  strings: readonly string[],
  refuse: Refuse,
): Pick<GenerationDelta, "removed" | "moved" | "result"> {
  const removed = readPlaces(readers.removed, "removed", refuse);
  const moved: OwnerMoves[] = [];
  const groups = readCount(readers.moved, 3, generationTargetsMax, "moved", refuse);
  for (let group = 0; group < groups; group++) {
    const owner = stringOf(strings, readers.moved, refuse);
    moved.push({ owner, places: readPlaces(readers.moved, `moved to "${owner.slice(0, 100)}"`, refuse) });
  }
  const at = readers.result.offset;
  const targets = readers.result.varint();
  if (targets > generationTargetsMax) {
    throw refuse("too_large", at, `result: expected at most ${generationTargetsMax} targets, got ${targets}`);
  }
  const result = { targets, checksum: readers.result.u32() };
  for (const [what, reader] of Object.entries(readers)) {
    if (reader.remaining === 0) continue;
    throw refuse("bad_structure", reader.offset, `${what}: expected its end, got ${reader.remaining} more bytes`);
  }
  return { removed, moved, result };
}

/** How many, then how many places lie between each and the one before: mostly one byte each. */
function writePlaces(writer: ByteWriter, places: readonly number[]): void {
  writer.varint(places.length);
  let next = 0;
  for (const place of places) {
    writer.varint(place - next);
    next = place + 1;
  }
}

function readPlaces(reader: ByteReader, what: string, refuse: Refuse): number[] {
  const count = readCount(reader, 1, generationTargetsMax, what, refuse);
  const places: number[] = [];
  let next = 0;
  for (let i = 0; i < count; i++) {
    const at = reader.offset;
    const place = next + reader.varint();
    if (place >= generationTargetsMax) {
      throw refuse("too_large", at, `${what}: expected a place below ${generationTargetsMax}, got ${place}`);
    }
    places.push(place);
    next = place + 1;
  }
  return places;
}

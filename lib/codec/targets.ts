// The targets of a generation or of a difference: all ids, then small numbers that refer to what stands once elsewhere.

import { assert } from "#/lib/assert/assert.ts";
import type { ByteReader } from "#/lib/bytes/reader.ts";
import type { ByteWriter } from "#/lib/bytes/writer.ts";
import type { Refuse } from "#/lib/codec/envelope.ts";
import { idBytes, readCount } from "#/lib/codec/layout.ts";
import { generationLabelsMax } from "#/lib/codec/limits.ts";
import type { Settings, SettingsTable } from "#/lib/codec/settings.ts";
import { type StringTable, stringOf } from "#/lib/codec/strings.ts";
import type { AssignedTarget } from "#/lib/model/generation.ts";
import { compareText, type Label } from "#/lib/model/labels.ts";

/** Columns: all ids, then the numbers of each target. */
export function writeTargets(
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

export function readTargets(
  reader: ByteReader,
  count: number,
  strings: readonly string[],
  settings: readonly Settings[],
  refuse: Refuse,
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

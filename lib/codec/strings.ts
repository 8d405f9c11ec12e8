// The strings of a generation: each stands once, and the rest refers to its place.

import type { ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import type { Refuse } from "#/lib/codec/envelope.ts";
import { readCount } from "#/lib/codec/layout.ts";

export class StringTable {
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

export function readStrings(reader: ByteReader, refuse: Refuse): string[] {
  const count = readCount(reader, 1, Number.MAX_SAFE_INTEGER, "strings", refuse);
  const strings: string[] = [];
  for (let i = 0; i < count; i++) strings.push(reader.string());
  return strings;
}

/** The one that is referred to next. */
export function stringOf(strings: readonly string[], reader: ByteReader, refuse: Refuse): string {
  const at = reader.offset;
  const number = reader.varint();
  const text = strings[number];
  if (text === undefined)
    throw refuse("bad_structure", at, `expected one of ${strings.length} strings, got number ${number}`);
  return text;
}

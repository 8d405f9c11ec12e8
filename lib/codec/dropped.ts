// What a batch tells of others that its secondary dropped. docs/formats/batch.md draws the bytes.

import { ByteReader } from "#/lib/bytes/reader.ts";
import type { ByteWriter } from "#/lib/bytes/writer.ts";
import { type BatchHeader, refuseBatch } from "#/lib/codec/batch.ts";
import { understood } from "#/lib/codec/envelope.ts";
import { batchDroppedMax } from "#/lib/codec/limits.ts";
import { type DroppedRange, dropReasons } from "#/lib/model/dropped.ts";

/** The reason, and eight numbers. */
export const droppedRangeBytesMax = 1 + 8 * 8;

export function writeDropped(writer: ByteWriter, ranges: readonly DroppedRange[]): void {
  for (const { bootEpoch, from, reason, run, scrapes, shard, slotsFromMs, slotsUntilMs, until } of ranges) {
    writer.u8(dropReasons.indexOf(reason));
    for (const number of [bootEpoch, shard, run, from, until - from, scrapes]) writer.varint(number);
    writer.varint(slotsFromMs);
    writer.varint(slotsUntilMs - slotsFromMs);
  }
}

/** Of the batch with that header. Throws BadBatch. */
export function readDropped(
  section: Uint8Array,
  header: Pick<BatchHeader, "bootEpoch" | "shard" | "run" | "sequence">,
): readonly DroppedRange[] {
  return understood("dropped", refuseBatch, () => {
    const reader = new ByteReader(section);
    const ranges: DroppedRange[] = [];
    while (reader.remaining > 0) {
      const at = reader.offset;
      const bad = (expected: string) => refuseBatch("bad_structure", at, `dropped: expected ${expected}`);
      if (ranges.length === batchDroppedMax) throw bad(`at most ${batchDroppedMax} ranges, got more`);
      const range = readRange(reader);
      const { bootEpoch, from, reason, run, scrapes, shard, slotsUntilMs, until } = range;
      if (reason === undefined) throw bad(`one of the reasons ${dropReasons.join(", ")}, got another`);
      if (from < 1) throw bad("sequences from 1 on, got 0");
      if (![until, scrapes, slotsUntilMs].every(Number.isSafeInteger)) throw bad("whole numbers up to 2^53 - 1");
      if (bootEpoch > header.bootEpoch) throw bad(`a boot epoch up to ${header.bootEpoch}, got ${bootEpoch}`);
      const isOwn = bootEpoch === header.bootEpoch && shard === header.shard && run === header.run;
      if (isOwn && until >= header.sequence) throw bad(`sequences before ${header.sequence}, got ${until}`);
      ranges.push({ ...range, reason });
    }
    return ranges;
  });
}

function readRange(reader: ByteReader) {
  const reason = dropReasons[reader.u8()];
  const bootEpoch = reader.varint();
  const shard = reader.varint();
  const run = reader.varint();
  const from = reader.varint();
  const until = from + reader.varint();
  const scrapes = reader.varint();
  const slotsFromMs = reader.varint();
  const slotsUntilMs = slotsFromMs + reader.varint();
  return { bootEpoch, shard, run, from, until, reason, scrapes, slotsFromMs, slotsUntilMs };
}

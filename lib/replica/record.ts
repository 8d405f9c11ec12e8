// What a replica's journal holds: the log's entries as they came, and at the head of each segment a checkpoint, so that a
// segment can be read when those before it are gone. Drawn in docs/formats/journal.md.

import { ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import { JournalError } from "#/lib/journal/error.ts";
import type { JournalPlace, JournalRecord } from "#/lib/journal/journal.ts";
import { type DroppedRange, dropReasons } from "#/lib/model/dropped.ts";
import type { RunId } from "#/lib/model/identity.ts";
import type { LogEntry, LogKind, LogPosition } from "#/lib/model/log.ts";

/** The record's kind of each kind of entry; never reused. */
export const recordKindOf: Readonly<Record<LogKind, number>> = { batch: 1, generation: 2, heartbeat: 3 };
export const checkpointKind = 16;

const kindOfRecord: Readonly<Record<number, LogKind>> = { 1: "batch", 2: "generation", 3: "heartbeat" };

export const checkpointVersion = 1;

/** How far one run had come. */
export interface RunCheckpoint extends Omit<RunId, "datacenter"> {
  /** Every batch up to it was journalled. */
  readonly sequence: number;
  /** And these beyond a gap, with their places. */
  readonly beyond: readonly (JournalPlace & { readonly sequence: number })[];
}

export interface Checkpoint {
  readonly position: LogPosition | undefined;
  /** A run that is new before this time may have begun before the log that could be read did. */
  readonly joiningUntilMs: number;
  readonly runs: readonly RunCheckpoint[];
  /** The newest generation's entry, which may be far older than anything else in the journal. */
  readonly generation: LogEntry | undefined;
  /** Batches that secondaries dropped. */
  readonly dropped: readonly (DroppedRange & { readonly secondary: string })[];
}

/** Entries are heartbeats mostly, several a second: those take no memory of their own. */
const scratchBytes = 4096;
const positionBytesMin = 128;
const scratch = new ByteWriter(scratchBytes);

/** The payload is valid until the next call: the journal copies it. */
export function encodeEntry(entry: LogEntry): JournalRecord {
  const bytes = entry.payload.length + positionBytesMin;
  return writeEntry(entry, bytes <= scratchBytes ? scratch : new ByteWriter(bytes));
}

function writeEntry(entry: LogEntry, writer: ByteWriter): JournalRecord {
  writer.reset();
  writePosition(writer, entry.position);
  writer.string(entry.origin);
  writer.bytes(entry.payload);
  return { kind: recordKindOf[entry.kind], payload: writer.view() };
}

/** Undefined for a record that is not an entry. Its payload is a view of the record's. Throws BadBytes. */
export function decodeEntry(record: JournalRecord): LogEntry | undefined {
  const kind = kindOfRecord[record.kind];
  if (!kind) return undefined;
  const reader = new ByteReader(record.payload);
  const position = readPosition(reader);
  const origin = reader.string();
  return { position, kind, origin, payload: reader.bytes(reader.remaining) };
}

export function encodeCheckpoint(checkpoint: Checkpoint): JournalRecord {
  const writer = new ByteWriter(4096);
  writer.u8(checkpointVersion);
  writer.u8(checkpoint.position ? 1 : 0);
  if (checkpoint.position) writePosition(writer, checkpoint.position);
  writer.f64(checkpoint.joiningUntilMs);
  writer.varint(checkpoint.runs.length);
  for (const run of checkpoint.runs) {
    writer.string(run.secondary);
    for (const number of [run.bootEpoch, run.shard, run.run, run.sequence]) writer.varint(number);
    writer.varint(run.beyond.length);
    for (const { sequence, segment, offset } of run.beyond) {
      writer.varint(sequence);
      writer.varint(segment);
      writer.varint(offset);
    }
  }
  // Not into the scratch: a segment begins while the entry that it begins with waits there.
  const entry = checkpoint.generation && writeEntry(checkpoint.generation, new ByteWriter()).payload;
  writer.varint(entry?.length ?? 0);
  if (entry) writer.bytes(entry);
  writer.varint(checkpoint.dropped.length);
  for (const range of checkpoint.dropped) {
    writer.string(range.secondary);
    writer.u8(dropReasons.indexOf(range.reason));
    for (const field of droppedNumbers) writer.varint(range[field]);
  }
  return { kind: checkpointKind, payload: writer.view() };
}

/** Throws JournalError `bad_version`, and BadBytes. */
export function decodeCheckpoint(record: JournalRecord): Checkpoint {
  const reader = new ByteReader(record.payload);
  const version = reader.u8();
  if (version !== checkpointVersion) {
    throw new JournalError("bad_version", `checkpoint: expected version ${checkpointVersion}, got ${version}`);
  }
  const position = reader.u8() === 1 ? readPosition(reader) : undefined;
  const joiningUntilMs = reader.f64();
  const runs: RunCheckpoint[] = [];
  for (let left = reader.varint(); left > 0; left--) {
    const secondary = reader.string();
    const [bootEpoch, shard, run, sequence] = [reader.varint(), reader.varint(), reader.varint(), reader.varint()];
    const beyond: (JournalPlace & { sequence: number })[] = [];
    for (let gaps = reader.varint(); gaps > 0; gaps--) {
      beyond.push({ sequence: reader.varint(), segment: reader.varint(), offset: reader.varint() });
    }
    runs.push({ secondary, bootEpoch, shard, run, sequence, beyond });
  }
  const entryBytes = reader.varint();
  // A copy: it outlives the buffer that the record was read into.
  const payload = reader.bytes(entryBytes).slice();
  const generation = entryBytes > 0 ? decodeEntry({ kind: recordKindOf.generation, payload }) : undefined;
  return { position, joiningUntilMs, runs, generation, dropped: readDropped(reader) };
}

const droppedNumbers = [
  "bootEpoch",
  "shard",
  "run",
  "from",
  "until",
  "scrapes",
  "slotsFromMs",
  "slotsUntilMs",
] as const;

/** A checkpoint from before there were any ends here. */
function readDropped(reader: ByteReader): Checkpoint["dropped"] {
  const dropped: Checkpoint["dropped"][number][] = [];
  for (let left = reader.remaining > 0 ? reader.varint() : 0; left > 0; left--) {
    const secondary = reader.string();
    const reason = dropReasons[reader.u8()];
    const numbers = {} as Record<(typeof droppedNumbers)[number], number>;
    for (const field of droppedNumbers) numbers[field] = reader.varint();
    // One that a later version knows: then its hole grows old like any other.
    if (reason) dropped.push({ secondary, reason, ...numbers });
  }
  return dropped;
}

function writePosition(writer: ByteWriter, { stream, created, sequence, storedMs }: LogPosition): void {
  writer.string(stream);
  writer.string(created);
  writer.varint(sequence);
  writer.u8(storedMs === undefined ? 0 : 1);
  if (storedMs !== undefined) writer.f64(storedMs);
}

function readPosition(reader: ByteReader): LogPosition {
  const stream = reader.string();
  const created = reader.string();
  const sequence = reader.varint();
  return reader.u8() === 1 ? { stream, created, sequence, storedMs: reader.f64() } : { stream, created, sequence };
}

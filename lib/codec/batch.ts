// A batch from outside: who sent it, when, how much is in it, and whether it is whole. docs/formats/batch.md draws the bytes.
//
// The header is readable without decompressing anything, so that a primary can check, log and acknowledge a batch whose body
// it does not look at.

import { KiB } from "#/lib/bytes/units.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import {
  type Envelope,
  type EnvelopeErrorCode,
  type EnvelopeFormat,
  readEnvelope,
  readName,
  understood,
  writeEnvelope,
} from "#/lib/codec/envelope.ts";
import { batchBodyBytesMax, batchBytesMax, batchScrapesMax } from "#/lib/codec/limits.ts";
import type { BatchId, RunId } from "#/lib/model/identity.ts";

export const batchVersion = 1;

export interface BatchHeader extends BatchId {
  /** The sender's wall clock when it sealed the batch, in whole ms. Slots in the body are counted from here. */
  readonly createdMs: number;
  /** The newest generation that the sender scrapes by. */
  readonly generation: number;
  /** Every slot of this shard before it has its outcome in this or an earlier batch. */
  readonly watermarkMs: number;
  readonly scrapes: number;
  readonly samples: number;
  /** The body's size before compression. */
  readonly bodyBytes: number;
}

/** wrong_run: the batch of another run was given to a decoder. out_of_order: its sequence is not above the last one's. */
export type BatchErrorCode = EnvelopeErrorCode | "wrong_run" | "out_of_order";

export class BadBatch extends Error {
  override readonly name = "BadBatch";
  readonly code: BatchErrorCode;
  /** In bytes, within the part that the message names; 0 where there is no place. */
  readonly offset: number;

  constructor(code: BatchErrorCode, offset: number, message: string, cause?: unknown) {
    super(`${code} at offset ${offset}: ${message}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.offset = offset;
  }
}

const format: EnvelopeFormat = {
  magic: "HGBT",
  version: batchVersion,
  bytesMax: batchBytesMax,
  refuse: (code, offset, message, cause) => new BadBatch(code, offset, message, cause),
};

export const refuseBatch = format.refuse;

/** Verifies magic, version, size and the checksum over the whole; throws BadBatch. Nothing is decompressed. */
export function readBatchHeader(bytes: Uint8Array): BatchHeader {
  return openBatch(bytes).header;
}

/** The same, for who goes on without a batch that is not readable. */
export function headerOf(bytes: Uint8Array): BatchHeader | BadBatch {
  try {
    return readBatchHeader(bytes);
  } catch (error) {
    if (error instanceof BadBatch) return error;
    throw error;
  }
}

/** The header, and the body still compressed. */
export function openBatch(bytes: Uint8Array): { readonly header: BatchHeader; readonly body: Uint8Array } {
  const envelope = readEnvelope(bytes, format);
  return { header: understood("header", refuseBatch, () => readHeader(envelope)), body: envelope.body };
}

/**
 * From here on zstd's level 3 is worth its price: a seventh smaller than level 1 for 1 ns a sample more, measured on the deltas of
 * real node_exporters. Below, clearing its larger tables would cost more than all the rest.
 */
const largeBodyBytes = 64 * KiB;

/** The whole batch. */
export function sealBatch(header: BatchHeader, body: Uint8Array): Uint8Array {
  const writer = new ByteWriter(body.length / 2 + 1024);
  writeEnvelope(writer, format, headerBytes(header), body, body.length < largeBodyBytes ? 1 : 3);
  return writer.toBytes();
}

/** What a scrape takes in SCRAPES at least, and a sample in VALUES: it makes counts believable before anything is allocated. */
const scrapeBytesMin = 11;
const sampleBytesMin = 1;

function headerBytes(header: BatchHeader): Uint8Array {
  const writer = new ByteWriter(256);
  writer.string(header.datacenter);
  writer.string(header.secondary);
  for (const field of headerNumbers) writer.varint(header[field]);
  return writer.toBytes();
}

/** In the order of the bytes. Later versions append; readers ignore what they do not know. */
const headerNumbers = [
  "bootEpoch",
  "shard",
  "run",
  "sequence",
  "createdMs",
  "generation",
  "watermarkMs",
  "scrapes",
  "samples",
  "bodyBytes",
] as const satisfies readonly (keyof BatchHeader)[];

function readHeader({ header: reader }: Envelope): BatchHeader {
  const datacenter = readName(reader, "datacenter", refuseBatch);
  const secondary = readName(reader, "secondary", refuseBatch);
  const numbers = {} as Record<(typeof headerNumbers)[number], number>;
  for (const field of headerNumbers) numbers[field] = reader.varint();
  const { bodyBytes, samples, scrapes } = numbers;
  const at = reader.offset;
  if (bodyBytes > batchBodyBytesMax) {
    throw refuseBatch(
      "too_large",
      at,
      `header: expected a body of at most ${batchBodyBytesMax} bytes, got ${bodyBytes}`,
    );
  }
  if (scrapes > batchScrapesMax) {
    throw refuseBatch("too_large", at, `header: expected at most ${batchScrapesMax} scrapes, got ${scrapes}`);
  }
  if (scrapes * scrapeBytesMin > bodyBytes || samples * sampleBytesMin > bodyBytes) {
    const got = `${scrapes} scrapes and ${samples} samples`;
    throw refuseBatch("bad_structure", at, `header: expected as many as fit into ${bodyBytes} bytes, got ${got}`);
  }
  if (numbers.sequence === 0) throw refuseBatch("bad_structure", at, "header: expected a sequence from 1 on, got 0");
  return { datacenter, secondary, ...numbers };
}

export function sameRun(a: RunId, b: RunId): boolean {
  return (
    a.datacenter === b.datacenter &&
    a.secondary === b.secondary &&
    a.bootEpoch === b.bootEpoch &&
    a.shard === b.shard &&
    a.run === b.run
  );
}

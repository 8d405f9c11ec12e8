// Prometheus' remote read, which alone gives samples bit for bit: stale markers and the bits of a NaN are lost in its JSON.
//
// A question and its answer are protobuf (prompb/remote.proto) in snappy's block format, as much of both as is needed here.

import { Buffer } from "node:buffer";
import { type Label, type Labels, labelsOf } from "#/lib/model/labels.ts";

export interface RemoteSeries {
  readonly labels: Labels;
  readonly timesMs: Float64Array;
  /** Bit for bit. */
  readonly values: Float64Array;
}

/** All series that have this label, with all samples between the two times. */
export async function remoteRead(
  url: string,
  label: Label,
  range: { readonly fromMs: number; readonly untilMs: number },
): Promise<readonly RemoteSeries[]> {
  const matcher = Buffer.concat([field(1, 0, varint(0n)), text(2, label[0]), text(3, label[1])]);
  const query = Buffer.concat([
    field(1, 0, varint(BigInt(range.fromMs))),
    field(2, 0, varint(BigInt(range.untilMs))),
    message(3, matcher),
  ]);
  const answer = await fetch(`${url}/api/v1/read`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf", "content-encoding": "snappy" },
    body: new Uint8Array(literally(message(1, query))),
  });
  if (!answer.ok) throw new Error(`remote read: expected an answer, got ${answer.status} ${await answer.text()}`);
  const response = uncompressed(Buffer.from(await answer.arrayBuffer()));
  const series: RemoteSeries[] = [];
  for (const result of fieldsOf(response)) {
    for (const each of fieldsOf(result.bytes)) if (each.number === 1) series.push(seriesOf(each.bytes));
  }
  return series;
}

function seriesOf(bytes: Buffer): RemoteSeries {
  const labels: Label[] = [];
  const samples: Buffer[] = [];
  for (const { bytes: part, number } of fieldsOf(bytes)) {
    if (number === 2) samples.push(part);
    if (number !== 1) continue;
    const pair = ["", ""];
    for (const { bytes: word, number: side } of fieldsOf(part)) pair[side - 1] = word.toString();
    labels.push([pair[0]!, pair[1]!]);
  }
  const timesMs = new Float64Array(samples.length);
  const values = new Float64Array(samples.length);
  const valueBytes = Buffer.from(values.buffer);
  for (const [i, sample] of samples.entries()) {
    for (const { bytes: value, number, varint: time } of fieldsOf(sample)) {
      // As bytes, because a number may lose the bits of a NaN.
      if (number === 1) value.copy(valueBytes, i * 8);
      else timesMs[i] = Number(BigInt.asIntN(64, time));
    }
  }
  return { labels: labelsOf(labels), timesMs, values };
}

interface Field {
  readonly number: number;
  /** Of all kinds but varints. */
  readonly bytes: Buffer;
  readonly varint: bigint;
}

function* fieldsOf(bytes: Buffer): Generator<Field> {
  for (let at = 0; at < bytes.length; ) {
    const [key, afterKey] = readVarint(bytes, at);
    const number = Number(key >> 3n);
    const kind = Number(key & 7n);
    if (kind === 0) {
      const [value, end] = readVarint(bytes, afterKey);
      at = end;
      yield { number, bytes: none, varint: value };
      continue;
    }
    const [length, start] = kind === 1 ? [8n, afterKey] : readVarint(bytes, afterKey);
    if (kind !== 1 && kind !== 2) throw new Error(`expected a field of kind 0, 1 or 2, got ${kind}`);
    at = start + Number(length);
    yield { number, bytes: bytes.subarray(start, at), varint: 0n };
  }
}

const none = Buffer.alloc(0);

function readVarint(bytes: Buffer, at: number): [value: bigint, end: number] {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes[at++]!;
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

function field(number: number, kind: number, content: Buffer): Buffer {
  return Buffer.concat([varint(BigInt(number * 8 + kind)), content]);
}

function message(number: number, content: Buffer): Buffer {
  return field(number, 2, Buffer.concat([varint(BigInt(content.length)), content]));
}

function text(number: number, content: string): Buffer {
  return message(number, Buffer.from(content));
}

/** Snappy's block format with nothing in it but literals (format_description.txt, 2.1). */
function literally(bytes: Buffer): Buffer {
  const length = bytes.length - 1;
  const head = length < 60 ? Buffer.of(length << 2) : Buffer.of(61 << 2, length & 255, length >> 8);
  return Buffer.concat([varint(BigInt(bytes.length)), head, bytes]);
}

/** Of snappy's block format. */
function uncompressed(bytes: Buffer): Buffer {
  const [length, start] = readVarint(bytes, 0);
  const out = Buffer.alloc(Number(length));
  let to = 0;
  for (let at = start; at < bytes.length; ) {
    const tag = bytes[at++]!;
    if ((tag & 3) === 0) {
      let size = tag >> 2;
      if (size >= 60) {
        const lengthBytes = size - 59;
        size = bytes.readUIntLE(at, lengthBytes);
        at += lengthBytes;
      }
      to += bytes.copy(out, to, at, at + size + 1);
      at += size + 1;
      continue;
    }
    let size = (tag >> 2) + 1;
    let offset: number;
    if ((tag & 3) === 1) {
      size = ((tag >> 2) & 7) + 4;
      offset = ((tag >> 5) << 8) | bytes[at++]!;
    } else {
      const offsetBytes = (tag & 3) === 2 ? 2 : 4;
      offset = bytes.readUIntLE(at, offsetBytes);
      at += offsetBytes;
    }
    // A copy may run into what it writes.
    for (let i = 0; i < size; i++, to++) out[to] = out[to - offset]!;
  }
  return out;
}

// Which coder fits the deltas of real node_exporters: `node test/bench/coders.ts [targets]` prints bytes a sample for zstd at some
// levels, as batches have it, for zstd over the same deltas with like rows of all targets side by side, and what a coder would
// need that adapts to each series: an ideal range coder for whether a value changed, and Rice codes for by how much.
//
// The last one is a bound, not a coder: nothing is written, only the bits are counted, and a real one needs a little more.

import { constants, zstdCompressSync } from "node:zlib";

import { ColumnKernel } from "#/lib/codec/kernel/column.ts";
import { Reference } from "#/lib/codec/values.ts";
import { BodyReader } from "#/secondary/scrape/layout.ts";
import { targetReading } from "#/secondary/scrape/reading.ts";
import { benchTarget } from "#/test/bench/bodies.ts";
import { type RecordingName, readRecording } from "#/test/bench/recording.ts";
import { replayOf } from "#/test/bench/scrape/replay.ts";

/** A second's of a secondary with 5,000 targets every 15 s. */
const targets = Number(process.argv[2] ?? 333);
const levels = [1, 3, 9];
const rounds = 24;
/** So long a coder that adapts gets to know its series. */
const warmUpRounds = 6;

async function compare(name: RecordingName): Promise<void> {
  const replay = replayOf(await readRecording(name));
  const room = Buffer.alloc(replay.bytesMax);
  const reader = new BodyReader();
  const kernel = new ColumnKernel();
  const readings = Array.from({ length: targets }, () => targetReading(benchTarget(0, 15_000)));
  const references = readings.map(() => new Reference(replay.series));
  const adaptive = new AdaptiveCost(targets * replay.series);
  const bytes = new Map<string, number>();
  const add = (coder: string, more: number) => bytes.set(coder, (bytes.get(coder) ?? 0) + more);
  for (let round = 0; round < rounds; round++) {
    const columns = readings.map((reading, target) => {
      const body = room.subarray(0, replay.render(target, round, room, 0));
      const read = reader.read(reading, body, "text", Date.now());
      if (!("layout" in read)) throw new Error(read.error);
      const column = Buffer.alloc(kernel.write(read.values, references[target]!, round === 0));
      kernel.take(column, 0, references[target]!);
      return column;
    });
    if (round === 0) continue;
    const counted = round >= warmUpRounds;
    const deltas = columns.map((column) => deltasOf(column, replay.series));
    deltas.forEach(({ integers }, target) => {
      const bits = adaptive.take(integers, target * replay.series);
      if (counted) add("adaptive, at least", bits / 8 + deltas[target]!.changes.length);
    });
    if (!counted) continue;
    const byRow = [...deltas.map(({ changes }) => changes)];
    for (let row = 0; row < replay.series; row++) byRow.push(...deltas.map(({ integers }) => integers[row]!));
    for (const level of levels) {
      add(`zstd ${level}`, deflated(columns, level));
      add(`zstd ${level}, by row`, deflated(byRow, level));
    }
  }
  const samples = targets * replay.series * (rounds - warmUpRounds);
  const figures = [...bytes].sort().map(([coder, sum]) => `${coder}: ${(sum / samples).toFixed(3)}`);
  process.stdout.write(`${name}, ${targets} targets, bytes a sample: ${figures.join("; ")}\n`);
}

function deflated(pieces: readonly Uint8Array[], level: number): number {
  return zstdCompressSync(Buffer.concat(pieces), { params: { [constants.ZSTD_c_compressionLevel]: level } }).length;
}

/** The parts of a column that is no keyframe (docs/formats/batch.md, VALUES). */
function deltasOf(column: Buffer, rows: number): { readonly changes: Buffer; readonly integers: readonly Buffer[] } {
  let at = 0;
  const varint = () => {
    const start = at;
    while (column[at++]! >= 128);
    return column.subarray(start, at);
  };
  for (let changes = numberOf(varint()); changes > 0; changes--) {
    varint();
    at++;
  }
  const changes = column.subarray(0, at);
  return { changes, integers: Array.from({ length: rows }, varint) };
}

function numberOf(varint: Uint8Array): number {
  return varint.reduceRight((sum, byte) => sum * 128 + (byte & 127), 0);
}

class AdaptiveCost {
  readonly #changing: Float64Array;
  readonly #size: Float64Array;

  constructor(series: number) {
    this.#changing = new Float64Array(series).fill(0.5);
    this.#size = new Float64Array(series).fill(8);
  }

  /** Bits of these series' next values, the first of which is `from`. */
  take(integers: readonly Uint8Array[], from: number): number {
    let bits = 0;
    integers.forEach((integer, row) => {
      const series = from + row;
      const value = numberOf(integer);
      const probability = this.#changing[series]!;
      bits -= Math.log2(value > 0 ? probability : 1 - probability);
      this.#changing[series] = Math.min(0.98, Math.max(0.02, probability * 0.9 + (value > 0 ? 0.1 : 0)));
      if (value === 0) return;
      const low = Math.floor(Math.log2(this.#size[series]! + 1));
      bits += low + 1 + Math.min(20, Math.floor((value - 1) / 2 ** low));
      this.#size[series] = this.#size[series]! * 0.8 + value * 0.2;
    });
    return bits;
  }
}

for (const name of ["100@15s", "961@15s", "100@1s"] as const) await compare(name);

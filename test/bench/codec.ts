// What a batch costs: `node test/bench/codec.ts [targets]` prints ns a sample through encoder and decoder on one core and bytes a sample
// on the wire, envelope and all, for recorded bodies and for the simulated fleet's. Then the same of a generation.

import { MiB } from "#/lib/bytes/units.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { type EncodedBatch, type OutgoingScrape, RunEncoder } from "#/lib/codec/encode.ts";
import { decodeGeneration, encodeGeneration } from "#/lib/codec/generation.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { BodyReader } from "#/secondary/scrape/layout.ts";
import { targetReading } from "#/secondary/scrape/reading.ts";
import { allSources, type BodySource, benchTarget } from "#/test/bench/bodies.ts";
import { cpuMs } from "#/test/bench/cpu.ts";

const targetCount = Number(process.argv[2] ?? 333);
const rounds = 24;
const random = seededRandom(Number(process.env.SEED ?? 1));

for (const source of await allSources()) measure(source);
measureGeneration();

/** A round is a batch or more: 333 targets are what a secondary with 5,000 scrapes every 15 s puts into one. */
function measure({ body, intervalMs, name }: BodySource): void {
  const targets = Array.from({ length: targetCount }, (_, i) => benchTarget(i, intervalMs));
  const readings = targets.map((target) => targetReading(target));
  const columns = targets.map(() => new DecimalColumn());
  const reader = new BodyReader();
  const run = { datacenter: "bench", secondary: "s1", bootEpoch: 1, shard: 0, run: 1 };
  const encoder = new RunEncoder(run);
  const decoder = new RunDecoder(run);
  const spentMs = { encode: 0, seal: 0, decode: 0 };
  let [samples, bytes, bytesFirst, samplesFirst] = [0, 0, 0, 0];
  let check = 0;
  const firstSlot = Math.floor(1_725_000_000_000 / intervalMs);
  for (let round = 0; round < rounds; round++) {
    const slot = firstSlot + round;
    const batches: EncodedBatch[] = [];
    const flush = () => {
      const started = cpuMs();
      const time = { nowMs: (slot + 1) * intervalMs, watermarkMs: slot * intervalMs, generation: 1 };
      for (let batch = encoder.flush(time); batch; batch = encoder.flush(time)) batches.push(batch);
      spentMs.seal += cpuMs() - started;
    };
    const scrapes = targets.map((target, i): OutgoingScrape => {
      const read = reader.read(readings[i]!, body(i, round), "text", slot * intervalMs);
      if (!("layout" in read)) throw new Error(read.error);
      const facts = factsOf(slot, intervalMs, read.samplesScraped);
      const values = copyInto(columns[i]!, read.values);
      return { target, facts, layout: read.layout, values, timestamps: read.timestamps };
    });
    const sealedMs = spentMs.seal;
    const begun = cpuMs();
    for (const scrape of scrapes) {
      encoder.add(scrape);
      if (encoder.pendingBytes >= MiB) flush();
    }
    spentMs.encode += cpuMs() - begun - (spentMs.seal - sealedMs);
    flush();
    const started = cpuMs();
    for (const batch of batches) {
      decoder.decode(batch.bytes, (scrape) => {
        check += scrape.values[0]!;
      });
    }
    spentMs.decode += cpuMs() - started;
    for (const batch of batches) {
      samples += batch.header.samples;
      bytes += batch.bytes.length;
    }
    if (round === 0) [samplesFirst, bytesFirst] = [samples, bytes];
  }
  const ns = (ms: number) => ((ms * 1e6) / samples).toFixed(1);
  process.stdout.write(
    `${name}, ${targetCount} targets × ${rounds} scrapes (sum ${check.toPrecision(3)}): encode ${ns(spentMs.encode)} ns a sample ` +
      `and ${ns(spentMs.seal)} to seal (zstd), decode ${ns(spentMs.decode)}; ` +
      `${(bytes / samples).toFixed(3)} bytes a sample, ${((bytes - bytesFirst) / (samples - samplesFirst)).toFixed(3)} after the first round\n`,
  );
}

/** A reader's values are good until it reads again. */
function copyInto(column: DecimalColumn, values: DecimalColumn): DecimalColumn {
  column.reserve(values.length);
  column.length = values.length;
  column.mantissas.set(values.mantissas.subarray(0, values.length));
  column.exponents.set(values.exponents.subarray(0, values.length));
  column.rawWords.set(values.rawWords.subarray(0, values.length * 2));
  return column;
}

function factsOf(slot: number, intervalMs: number, samplesScraped: number) {
  return {
    slot,
    generation: 1,
    outcome: "stored" as const,
    timestampMs: slot * intervalMs,
    durationUs: 9000 + random.below(4000),
    bodyBytes: 81_000 + random.below(50),
    samplesScraped,
    seriesRefused: 0,
    seriesAdded: 0,
  };
}

function measureGeneration(): void {
  const generation: Generation = {
    datacenter: "bench",
    number: 7,
    token: 3,
    primary: "p1",
    validFromMs: 1_700_000_000_000,
    secondaries: Array.from({ length: 20 }, (_, i) => ({ name: `s${i}`, capacity: 5000 })),
    targets: Array.from({ length: 100_000 }, (_, i) => ({
      target: benchTarget(i, 15_000),
      owner: `s${random.below(20)}`,
    })).sort((a, b) => (a.target.id < b.target.id ? -1 : 1)),
  };
  for (let i = 0; i < 3; i++) {
    let started = cpuMs();
    const encoded = encodeGeneration(generation);
    const generationMs = cpuMs() - started;
    started = cpuMs();
    decodeGeneration(encoded);
    const backMs = cpuMs() - started;
    process.stdout.write(
      `generation of 100,000 targets: ${encoded.length} bytes, encode ${generationMs.toFixed(0)} ms, decode ${backMs.toFixed(0)} ms\n`,
    );
  }
}

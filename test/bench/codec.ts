// What a batch costs: `node test/bench/codec.ts [targets] [rows]` prints millions of samples a second through encoder and
// decoder on one core, and bytes a sample on the wire, for values that move like those of a node_exporter.

import { RunDecoder } from "#/lib/codec/decode.ts";
import { RunEncoder } from "#/lib/codec/encode.ts";
import { decodeGeneration, encodeGeneration } from "#/lib/codec/generation.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { type LayoutRow, layoutOf } from "#/lib/model/layout.ts";
import { type Target, targetId } from "#/lib/model/target.ts";
import { type Random, seededRandom } from "#/lib/random/random.ts";

const targetCount = Number(process.argv[2] ?? 500);
const rowCount = Number(process.argv[3] ?? 961);
const rounds = 24;
const intervalMs = 15_000;
const random = seededRandom(Number(process.env.SEED ?? 1));

const targets = Array.from({ length: targetCount }, (_, i) => targetOf(i));
const layout = layoutOf(Array.from({ length: rowCount }, rowOf), [{ name: "node", type: "gauge", help: "", unit: "" }]);
const columns = targets.map(() => firstColumn(random));

const run = { datacenter: "bench", secondary: "s1", bootEpoch: 1, shard: 0, run: 1 };
const encoder = new RunEncoder(run);
const decoder = new RunDecoder(run);
let encodeMs = 0;
let flushMs = 0;
let decodeMs = 0;
let samples = 0;
let steadySamples = 0;
let bytes = 0;
let steadyBytes = 0;
let check = 0;
const firstSlot = 115_000_000;
for (let round = 0; round < rounds; round++) {
  for (const column of columns) moveColumn(column, random);
  const batches: Uint8Array[] = [];
  let started = performance.now();
  for (let i = 0; i < targets.length; i++) {
    const slot = firstSlot + round;
    encoder.add({ target: targets[i]!, facts: factsOf(slot), layout, values: columns[i]!, timestamps: [] });
    if (encoder.pendingBytes < 1024 * 1024 && i < targets.length - 1) continue;
    const flushStarted = performance.now();
    const batch = encoder.flush({ nowMs: (slot + 1) * intervalMs, watermarkMs: slot * intervalMs, generation: 1 })!;
    flushMs += performance.now() - flushStarted;
    batches.push(batch.bytes);
    bytes += batch.bytes.length;
    samples += batch.header.samples;
    if (round > 0) {
      steadyBytes += batch.bytes.length;
      steadySamples += batch.header.samples;
    }
  }
  encodeMs += performance.now() - started;
  started = performance.now();
  for (const batch of batches) {
    decoder.decode(batch, (scrape) => {
      check += scrape.values[0]!;
    });
  }
  decodeMs += performance.now() - started;
}
const perSecond = (ms: number) => (samples / ms / 1000).toFixed(1);
process.stdout.write(
  `${targetCount} targets × ${rowCount} rows × ${rounds} scrapes (sum ${check.toPrecision(3)})\n` +
    `encode ${perSecond(encodeMs)} M samples/s, of which ${((100 * flushMs) / encodeMs).toFixed(0)} % is sealing (zstd)\n` +
    `decode ${perSecond(decodeMs)} M samples/s\n` +
    `wire   ${(bytes / samples).toFixed(3)} bytes/sample, ${(steadyBytes / steadySamples).toFixed(3)} after the first round\n`,
);

const generation: Generation = {
  datacenter: "bench",
  number: 7,
  token: 3,
  primary: "p1",
  validFromMs: 1_700_000_000_000,
  secondaries: Array.from({ length: 20 }, (_, i) => ({ name: `s${i}`, capacity: 5000 })),
  targets: Array.from({ length: 100_000 }, (_, i) => ({ target: targetOf(i), owner: `s${random.below(20)}` })).sort(
    (a, b) => (a.target.id < b.target.id ? -1 : 1),
  ),
};
for (let i = 0; i < 3; i++) {
  let started = performance.now();
  const encoded = encodeGeneration(generation);
  const generationMs = performance.now() - started;
  started = performance.now();
  decodeGeneration(encoded);
  const backMs = performance.now() - started;
  process.stdout.write(
    `generation of 100,000 targets: ${encoded.length} bytes, encode ${generationMs.toFixed(0)} ms, decode ${backMs.toFixed(0)} ms\n`,
  );
}

function targetOf(i: number): Target {
  const instance = `node-${String(i).padStart(6, "0")}.dc1.example.net:9100`;
  const labels = labelsOf({ datacenter: "dc1", region: "eu", job: "node", instance, rack: `r${i % 97}` });
  const url = `http://${instance}/metrics`;
  const options = {
    honorLabels: false,
    honorTimestamps: true,
    sampleLimit: 0,
    labelLimit: 0,
    labelNameLengthLimit: 0,
    labelValueLengthLimit: 0,
    bodyBytesMax: 64 * 1024 * 1024,
  };
  return {
    id: targetId({ job: "node", url, labels }),
    job: "node",
    url,
    labels,
    intervalMs,
    timeoutMs: 10_000,
    options,
  };
}

function rowOf(_: unknown, i: number): LayoutRow {
  return { name: `node_metric_${i >> 3}_total`, labels: [["device", `sd${i & 7}`]], kind: "float", family: 0 };
}

function factsOf(slot: number) {
  return {
    slot,
    generation: 1,
    outcome: "stored" as const,
    timestampMs: slot * intervalMs,
    durationUs: 9000 + random.below(4000),
    bodyBytes: 81_000 + random.below(50),
    samplesScraped: rowCount,
    seriesRefused: 0,
    seriesAdded: 0,
  };
}

/** Of ten rows: six hardly ever move, two are counters, one counts hundredths of seconds, one is a gauge of bytes or of noise. */
function firstColumn(from: Random): DecimalColumn {
  const column = new DecimalColumn(rowCount);
  column.length = rowCount;
  for (let row = 0; row < rowCount; row++) {
    const kind = row % 10;
    if (kind < 6) column.setDecimal(row, from.below(100), 0);
    else if (kind < 8) column.setDecimal(row, from.below(1e9), 0);
    else if (kind === 8) column.setDecimal(row, from.below(1e7), -2);
    else if (row % 20 === 9) column.setDecimal(row, from.below(1e6) * 4096, 0);
    else column.setDecimal(row, from.below(1e9), -9);
  }
  return column;
}

function moveColumn(column: DecimalColumn, from: Random): void {
  for (let row = 6; row < rowCount; row++) {
    const kind = row % 10;
    if (kind < 6) {
      if (from.below(200) === 0) column.mantissas[row] = from.below(100);
    } else if (kind < 8) column.mantissas[row]! += from.below(row % 3 === 0 ? 2000 : 4);
    else if (kind === 8) column.mantissas[row]! += from.below(1500);
    else if (row % 20 === 9)
      column.mantissas[row] = Math.max(0, column.mantissas[row]! + (from.below(200) - 100) * 4096);
    else column.mantissas[row] = from.below(5e6);
  }
}

// What it costs to read a body: `node test/bench/parse.ts [targets]` prints ns a sample through the secondary's reader, which knows
// the lines from the scrape before, and through the plain parser, which understands every line anew (and, in between, when it only
// finds the values). Bodies of many targets are read in turn, so that none is in the processor's caches.

import { DecimalColumn } from "#/lib/model/decimal.ts";
import { BodyReader } from "#/secondary/scrape/layout.ts";
import { ExpositionReader } from "#/secondary/scrape/parse.ts";
import { targetReading } from "#/secondary/scrape/reading.ts";
import { allSources, type BodySource, benchTarget } from "#/test/bench/bodies.ts";
import { cpuMs } from "#/test/bench/cpu.ts";

const targetCount = Number(process.argv[2] ?? 300);
const rounds = 12;
const warmUpRounds = 4;

for (const source of await allSources()) measure(source);

function measure(source: BodySource): void {
  const { intervalMs } = source;
  const reader = new BodyReader();
  const readings = Array.from({ length: targetCount }, (_, i) => targetReading(benchTarget(i, intervalMs)));
  const values = new DecimalColumn(source.series);
  const spent = { known: 0, values: 0, whole: 0 };
  let samples = 0;
  let bytes = 0;
  for (let round = -warmUpRounds; round < rounds; round++) {
    const bodies = readings.map((_, target) => source.body(target, round + warmUpRounds));
    let started = cpuMs();
    for (let i = 0; i < bodies.length; i++) {
      const read = reader.read(readings[i]!, bodies[i]!, "text", round * intervalMs);
      if (!("layout" in read)) throw new Error(read.error);
    }
    const knownMs = cpuMs() - started;
    started = cpuMs();
    for (const body of bodies) plain(body, values, false);
    const valuesMs = cpuMs() - started;
    started = cpuMs();
    let read = 0;
    for (const body of bodies) read += plain(body, values, true);
    const wholeMs = cpuMs() - started;
    if (round < 0) continue;
    spent.known += knownMs;
    spent.values += valuesMs;
    spent.whole += wholeMs;
    samples += read;
    for (const body of bodies) bytes += body.length;
  }
  const ns = (ms: number) => ((ms * 1e6) / samples).toFixed(1);
  process.stdout.write(
    `${source.name} (${(bytes / samples).toFixed(0)} bytes a sample): the secondary's reader ${ns(spent.known)} ns a sample, ` +
      `${((spent.known * 1e3) / (targetCount * rounds)).toFixed(1)} µs a body; ` +
      `plain parser ${ns(spent.whole)} ns, ${ns(spent.values)} ns without names and labels\n`,
  );
}

/** Returns how many samples there are. */
function plain(body: Uint8Array, values: DecimalColumn, heads: boolean): number {
  const reader = new ExpositionReader(body, "text");
  let row = 0;
  for (let kind = reader.next(); kind !== "end"; kind = reader.next()) {
    if (kind !== "sample") continue;
    if (heads) reader.head();
    values.reserve(row + 1);
    reader.tail(values, row++);
  }
  return row;
}

// What the benchmarks replay and how they measure: a figure is worth as much as these.

import { Buffer } from "node:buffer";
import t from "tap";
import { readRecording } from "#/test/bench/recording.ts";
import { latenessOf } from "#/test/bench/scrape/measure.ts";
import { replayOf, writeGo } from "#/test/bench/scrape/replay.ts";
import { seriesKept } from "#/test/bench/scrape/scenario.ts";

const bodies = [
  ["1.5e+06", "0.25", "7", "9.1e-05"],
  ["1.5000045e+06", "0.5", "7", "0.000104"],
  ["1.500009e+06", "0.25", "7", "0.000152"],
].map(([bytes, load, cpus, seconds]) =>
  Buffer.from(
    `# TYPE bytes_total counter\nbytes_total{device="a"} ${bytes}\nload ${load}\ncpus ${cpus}\ntook_seconds ${seconds}\n`,
  ),
);

t.test("values are written as Go writes them", (t) => {
  const out = Buffer.alloc(40);
  for (const [mantissa, exponent, text] of [
    [0, -3, "0"],
    [7, 0, "7"],
    [100, -2, "1"],
    [999_999, 0, "999999"],
    [1_000_000, 0, "1e+06"],
    [15_000_045, -1, "1.5000045e+06"],
    [123_456, -2, "1234.56"],
    [5, -1, "0.5"],
    [104, -6, "0.000104"],
    [91, -6, "9.1e-05"],
    [5, -123, "5e-123"],
  ] as const) {
    t.equal(out.toString("latin1", 0, writeGo(mantissa, exponent, out, 0)), text);
  }
  t.end();
});

t.test("every server says the recorded lines, no two the same values, and what only grew goes on growing", (t) => {
  const replay = replayOf(bodies);
  t.same(replay.heads, ['bytes_total{device="a"}', "load", "cpus", "took_seconds"]);
  t.equal(replay.changing, 0.75);
  const out = Buffer.alloc(replay.bytesMax);
  const text = (target: number, scrape: number) => out.toString("latin1", 0, replay.render(target, scrape, out, 0));
  const lines = /^# TYPE bytes_total counter\nbytes_total\{device="a"\} \S+\nload \S+\ncpus 7\ntook_seconds \S+\n$/;
  const seen = new Set<string>();
  const steps = new Set<number>();
  for (let target = 0; target < 50; target++) {
    seen.add(text(target, 0));
    const bytes = Array.from({ length: 20 }, (_, scrape) => Number(/\} (\S+)/.exec(text(target, scrape))![1]));
    for (const [scrape, value] of bytes.entries()) if (scrape > 0) steps.add(value - bytes[scrape - 1]!);
    t.match(text(target, 7), lines);
  }
  // By 4.5 from body to body, and by nothing where the recording begins again.
  t.same([...steps].sort(), [0, 4.5]);
  t.ok(seen.size > 45, `${seen.size} of 50 differ`);
  t.end();
});

t.test("the recordings are a node_exporter's, of the sizes that are spoken of", async (t) => {
  for (const [name, rounds, series, kept] of [
    ["100@1s", 90, 100, 100],
    ["100@15s", 40, 100, 100],
    ["961@15s", 40, 960, 947],
  ] as const) {
    const recorded = await readRecording(name);
    const replay = replayOf(recorded);
    t.same([recorded.length, replay.series, seriesKept(replay.heads)], [rounds, series, kept], name);
  }
});

t.test("a scrape is late against its slot, or against its target's earliest where slots are not known", (t) => {
  const times = [Float64Array.of(1000, 2000, 3400, 4000), Float64Array.of(1300, 4310), new Float64Array()];
  const own = latenessOf(times, ["a", "b", "c"], 1000, undefined);
  t.same(own, { due: 9, late: 1, missing: 3, max: 400, median: 0 });
  const slots = latenessOf(times, ["a", "b", "c"], 1000, (_, ms) => Math.floor(ms / 1000) * 1000);
  t.same(slots, { due: 9, late: 3, missing: 3, max: 400, median: 300 });
  t.end();
});

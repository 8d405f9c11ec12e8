// Bodies for the benchmarks of parts: recorded ones, replayed for as many targets as are wanted, and the simulated fleet's; and
// targets as a generation would name them.

import { Buffer } from "node:buffer";
import { fleetBody } from "#/cli/fleet/body.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { type ScrapeOptions, type Target, targetId } from "#/lib/model/target.ts";
import { type RecordingName, readRecording } from "#/test/bench/recording.ts";
import { replayOf } from "#/test/bench/scrape/replay.ts";

export interface BodySource {
  readonly name: string;
  readonly series: number;
  readonly intervalMs: number;
  /** A new buffer each time. */
  body(target: number, scrape: number): Buffer;
}

export async function recordedSource(name: RecordingName, intervalMs: number): Promise<BodySource> {
  const replay = replayOf(await readRecording(name));
  const scratch = Buffer.allocUnsafe(replay.bytesMax);
  return {
    name: `recorded ${name}`,
    series: replay.series,
    intervalMs,
    body: (target, scrape) => Buffer.from(scratch.subarray(0, replay.render(target, scrape, scratch, 0))),
  };
}

export function fleetSource(series: number): BodySource {
  const fleet = fleetBody(series);
  const intervalMs = 15_000;
  const firstMs = 1_725_000_000_000;
  return {
    name: `fleet, ${series} series`,
    series,
    intervalMs,
    body: (target, scrape) => Buffer.from(fleet.render(target, firstMs + scrape * intervalMs), "latin1"),
  };
}

export async function allSources(): Promise<readonly BodySource[]> {
  return [
    await recordedSource("100@1s", 1000),
    await recordedSource("100@15s", 15_000),
    await recordedSource("961@15s", 15_000),
    fleetSource(100),
    fleetSource(961),
  ];
}

const options: ScrapeOptions = {
  honorLabels: false,
  honorTimestamps: true,
  sampleLimit: 0,
  labelLimit: 0,
  labelNameLengthLimit: 0,
  labelValueLengthLimit: 0,
  bodyBytesMax: 64 * 1024 * 1024,
};

export function benchTarget(i: number, intervalMs: number): Target {
  const instance = `node-${String(i).padStart(6, "0")}.dc1.example.net:9100`;
  const labels = labelsOf({ datacenter: "dc1", region: "eu", job: "node", instance, rack: `r${i % 97}` });
  const url = `http://${instance}/metrics`;
  const id = targetId({ job: "node", url, labels });
  return { id, job: "node", url, labels, intervalMs, timeoutMs: Math.min(10_000, intervalMs), options };
}

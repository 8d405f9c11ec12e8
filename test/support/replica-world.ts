// A replica of one data centre's log on a disk and a clock of its own, and senders of batches for it to read.

import { minuteMs } from "#/lib/bytes/units.ts";
import { RunEncoder } from "#/lib/codec/encode.ts";
import { encodeDelta, encodeGeneration } from "#/lib/codec/generation.ts";
import type { Disk } from "#/lib/journal/disk.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import { diffGenerations } from "#/lib/model/delta.ts";
import type { DroppedRange } from "#/lib/model/dropped.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { encodeHeartbeat } from "#/lib/model/heartbeat.ts";
import type { RunId } from "#/lib/model/identity.ts";
import { labelsRecord } from "#/lib/model/labels.ts";
import type { ScrapedTarget } from "#/lib/model/scrape.ts";
import { slotAt, slotTimeMs } from "#/lib/model/target.ts";
import { isStale, wordsOf } from "#/lib/model/value.ts";
import { Replica } from "#/lib/replica/replica.ts";
import { Head } from "#/lib/store/head.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { type ManualClock, manualClock } from "#/test/support/manual-clock.ts";
import { type MemoryDisk, memoryDisk } from "#/test/support/memory-disk.ts";
import { MemoryLog } from "#/test/support/memory-log.ts";
import { layoutFrom, scrapedTarget, scrapeOf } from "#/test/support/scrapes.ts";

export const startMs = 1_700_000_000_000;
export const layout = layoutFrom("a", "b{x=1}");
export const run: RunId = { datacenter: "paris", secondary: "s1", bootEpoch: 1, shard: 0, run: 1 };
export const targets = ["a:1", "b:1", "c:1"].map((instance) =>
  scrapedTarget({ job: "web", instance, datacenter: "paris" }),
);

/** One shard of a secondary: every call is a round of scrapes of all targets and the batch that they make. */
export class Sender {
  readonly #encoder: RunEncoder;
  #slotsAfterStart = 0;

  constructor(id: RunId = run) {
    this.#encoder = new RunEncoder(id);
  }

  /** Values are a function of the slot, so that a missing or foreign one shows. */
  batch(of: readonly ScrapedTarget[] = targets, dropped: readonly DroppedRange[] = []): Uint8Array {
    const round = this.#slotsAfterStart++;
    for (const target of of) {
      const slot = slotAt(target, startMs) + 1 + round;
      const values = new DecimalColumn();
      values.reserve(2);
      values.length = 2;
      values.setDecimal(0, slot % 1000, 0);
      values.setDecimal(1, 15 + (slot % 7), -1);
      const { facts } = scrapeOf(target, { slot, layout, values: [0, 0] });
      this.#encoder.add({ target, facts, layout, values, timestamps: [] });
    }
    return this.#encoder.flush({ nowMs: startMs + round * 15_000, watermarkMs: 0, generation: 1, dropped })!.bytes;
  }

  batches(count: number): Uint8Array[] {
    return Array.from({ length: count }, () => this.batch());
  }
}

/** Batches of the usual run, one of all targets each. */
export function droppedRange(from: number, until: number): DroppedRange {
  const { bootEpoch, run: number, shard } = run;
  const slots = { slotsFromMs: startMs + from * 15_000, slotsUntilMs: startMs + until * 15_000 };
  return { bootEpoch, shard, run: number, from, until, reason: "full", scrapes: 3 * (until - from + 1), ...slots };
}

export interface World {
  readonly disk: MemoryDisk;
  readonly log: MemoryLog;
  readonly clock: ManualClock;
}

export function newWorld(firstSequence = 1): World {
  return {
    disk: memoryDisk(),
    log: new MemoryLog({ stream: "dc-paris-1-1", firstSequence }),
    clock: manualClock(startMs),
  };
}

export async function openReplica({ disk, clock }: { readonly disk: Disk; readonly clock: ManualClock }, head?: Head) {
  const metrics = createRegistry({ tier: "global" });
  const ownHead = head ?? new Head({ metrics });
  const replica = await Replica.open({
    datacenter: "paris",
    dir: "/journal",
    head: ownHead,
    headRetentionMs: () => 120 * minuteMs,
    disk,
    clock,
    log: silentLogger(),
    metrics,
  });
  return { replica, head: ownHead, metrics };
}

/** Lets the replica read what the log has. */
export async function readAll(replica: Replica, world: World): Promise<void> {
  const stop = new AbortController();
  const running = replica.run(world.log, stop.signal);
  for (let i = 0; i < 10_000; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    const last = world.log.entries.at(-1)?.position;
    if (!last || (replica.position?.sequence === last.sequence && replica.position.created === last.created)) break;
    if (i % 20 === 19) await world.clock.advance(1000);
  }
  await new Promise((resolve) => setImmediate(resolve));
  stop.abort();
  await running;
}

/** Everything that the head answers, as text. */
export async function answers(head: Head): Promise<string[]> {
  const range = { fromMs: Number.NEGATIVE_INFINITY, untilMs: Number.POSITIVE_INFINITY };
  const { series } = await head.select([], range, new AbortController().signal);
  return series.map(({ labels, timesMs, values }) => {
    const words = wordsOf(values);
    const samples = Array.from(timesMs, (timeMs, i) => `${timeMs}=${isStale(words, i) ? "stale" : values[i]}`);
    return `${JSON.stringify(labelsRecord(labels))} ${samples.join(" ")}`;
  });
}

export async function valuesOf(head: Head, target: ScrapedTarget): Promise<string> {
  const all = await answers(head);
  const line = all.find(
    (text) => text.includes('"__name__":"a"') && text.includes(target.labels.find(([n]) => n === "instance")![1]),
  );
  return (line ?? "").replace(/^.*\} /, "");
}

/** What `a` of that target is in the rounds from 0 on that are named. */
export function expectedValues(target: ScrapedTarget, rounds: readonly number[]): string {
  return rounds
    .map((round) => slotAt(target, startMs) + 1 + round)
    .map((slot) => `${slotTimeMs(target, slot)}=${slot % 1000}`)
    .join(" ");
}

export function upTo(count: number, from = 0): number[] {
  return Array.from({ length: count - from }, (_, i) => from + i);
}

export function heartbeatBytes(sentMs: number, replica = "p1"): Uint8Array {
  return encodeHeartbeat({
    version: 1,
    replica,
    sentMs,
    leaseToken: 0,
    created: "2026-01-01T00:00:00Z",
    lagMs: 0,
    secondaries: [],
  });
}

export function generationBytes(...given: Parameters<typeof generationOf>): Uint8Array {
  return encodeGeneration(generationOf(...given));
}

export function deltaBytes(base: Generation, next: Generation): Uint8Array {
  return encodeDelta(diffGenerations(base, next));
}

export function generationOf(
  number: number,
  token: number,
  of: readonly ScrapedTarget[],
  validFromMs = startMs,
): Generation {
  return {
    datacenter: "paris",
    number,
    token,
    primary: "p1",
    validFromMs,
    secondaries: [{ name: "s1", capacity: 5000 }],
    targets: [...of]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, labels, intervalMs }) => ({
        owner: "s1",
        target: {
          id,
          job: "web",
          url: "http://x/metrics",
          labels,
          intervalMs,
          timeoutMs: 10_000,
          options: {
            honorLabels: false,
            honorTimestamps: true,
            sampleLimit: 0,
            labelLimit: 0,
            labelNameLengthLimit: 0,
            labelValueLengthLimit: 0,
            bodyBytesMax: 0,
          },
        },
      })),
  };
}

// A secondary without its scraping, from compactor to uplink, on a store and primaries in memory.

import { silentLogger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Assignment } from "#/secondary/assignment.ts";
import { Compactor } from "#/secondary/compact.ts";
import { Pusher } from "#/secondary/push.ts";
import type { SpoolStore } from "#/secondary/spool/store.ts";
import { Spool } from "#/secondary/spool.ts";
import { Uplink } from "#/secondary/uplink.ts";
import { testLayout, testScrape, testTarget } from "#/test/support/batches.ts";
import { type ManualClock, manualClock } from "#/test/support/manual-clock.ts";
import { MemoryLog, MemoryPrimary } from "#/test/support/memory-primary.ts";
import { MemoryStore } from "#/test/support/memory-store.ts";

export const startMs = 1_700_000_000_000;
export const bootEpoch = 1_700_000_000;

interface Options {
  readonly clock?: ManualClock;
  readonly store?: SpoolStore;
  readonly primaries?: readonly MemoryPrimary[];
  readonly bytesMax?: number;
  readonly ageMsMax?: number;
  readonly drainBytesPerSecond?: number;
  readonly batchesMax?: number;
  readonly shards?: number;
  readonly memoryBytesMax?: number;
}

/** A secondary without its scraping: `scrape` makes one, `flush` a batch. */
export async function deliver(t: { teardown(close: () => unknown): unknown }, options: Options = {}) {
  const { clock = manualClock(startMs), store = new MemoryStore(), primaries = [new MemoryPrimary("p1")] } = options;
  const metrics = createRegistry({ tier: "secondary" });
  const log = silentLogger();
  const shared = { datacenter: "fra", secondary: "s1", clock, log, metrics };
  const spool = await Spool.open({
    ...shared,
    store,
    ...(options.bytesMax !== undefined && { bytesMax: options.bytesMax }),
    // The slots here are of 1970, and a batch of an earlier start is as old as its slots.
    ageMsMax: options.ageMsMax ?? Number.POSITIVE_INFINITY,
    ...(options.batchesMax !== undefined && { batchesMax: options.batchesMax }),
    ...(options.memoryBytesMax !== undefined && { memoryBytesMax: options.memoryBytesMax }),
  });
  const compactors = Array.from(
    { length: options.shards ?? 1 },
    (_, shard) =>
      new Compactor({
        identity: { datacenter: "fra", secondary: "s1", bootEpoch: spool.bootEpoch, shard },
        clock,
        log,
        progress: () => ({ watermarkMs: clock.nowMs(), generation: 3 }),
        sink: (batch) => spool.put(batch),
      }),
  );
  const compactor = compactors[0]!;
  const generations: Generation[] = [];
  const assignment = new Assignment({ ...shared, spool, onGeneration: (generation) => generations.push(generation) });
  const pusher = new Pusher({
    ...shared,
    spool,
    onBacklog: () => {
      for (const compactor of compactors) compactor.newRun("backlog");
    },
    onRefused: (shard) => compactors[shard]!.newRun("batch_lost"),
    ...(options.drainBytesPerSecond !== undefined && { drainBytesPerSecond: options.drainBytesPerSecond }),
  });
  spool.events = {
    stored: () => pusher.stored(),
    lost: (shard) => compactors[shard]!.newRun("batch_lost"),
    dropped: (shard, ranges) => pusher.connected && compactors[shard]!.tell(ranges()),
  };
  const uplink = new Uplink({
    name: "s1",
    primaries: primaries.map(({ name }) => name),
    connect: (address) => primaries.find(({ name }) => name === address)!.connect(),
    pusher,
    assignment,
    reach: { run: (_client, signal) => clock.sleep(2 ** 30, signal) },
    clock,
    random: seededRandom(1),
    log,
    metrics,
  });
  t.teardown(() => uplink.close());
  let slot = 100;
  /** One scrape in one batch, its value the number of its slot. */
  const flush = async (count = 1, shard = 0) => {
    for (let i = 0; i < count; i++) {
      slot++;
      compactors[shard]!.add(testScrape(testTarget(String(shard + 1)), testLayout("a"), slot, [slot]));
      compactors[shard]!.flush();
      await spool.settled();
    }
  };
  return { assignment, clock, compactor, flush, generations, metrics, pusher, spool, store, uplink };
}

/** Two primaries of which the secondary `s1` tries the first one first. */
export function pair(): [MemoryPrimary, MemoryPrimary] {
  const log = new MemoryLog();
  return [new MemoryPrimary("p1", log), new MemoryPrimary("p2", log)];
}

/** The slots in the log, in order, each as often as it is there. */
export function slotsIn(log: MemoryLog): number[] {
  const slots: number[] = [];
  const { unreadable } = log.decode((scrape) => {
    if (scrape.values[0] !== scrape.facts.slot) throw new Error(`slot ${scrape.facts.slot} has ${scrape.values[0]}`);
    slots.push(scrape.facts.slot);
  });
  if (unreadable > 0) throw new Error(`${unreadable} scrapes cannot be read`);
  return slots.sort((a, b) => a - b);
}

export const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
export const keys = (run: number, first: number, last: number, epoch = bootEpoch, shard = 0) =>
  range(first, last).map((sequence) => `fra/s1/${epoch}/${shard}/${run}/${sequence}`);

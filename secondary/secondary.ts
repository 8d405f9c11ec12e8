// One secondary, composed from parts that are handed in: its clock, its store, its way to the primaries and to its targets.
// What each part does stands in its own file; here is only who hears of what.
//
//     generation → shards (schedule, scrape, compact) → spool → push

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { HttpFront } from "#/lib/http/server.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { Random } from "#/lib/random/random.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { PrimaryClient } from "#/lib/wire/session.ts";
import { Assignment } from "#/secondary/assignment.ts";
import { registerTargetPages } from "#/secondary/page/routes.ts";
import { mergeParts, mergeShares } from "#/secondary/page/view.ts";
import { Pusher } from "#/secondary/push.ts";
import { ReachReporter } from "#/secondary/reach/reporter.ts";
import { type Shard, type StartShards, shardParts } from "#/secondary/shard.ts";
import type { SpoolStore } from "#/secondary/spool/store.ts";
import { Spool } from "#/secondary/spool.ts";
import { Uplink } from "#/secondary/uplink.ts";

/** What was scraped last is pushed for so long before an orderly end; what is left then waits in the spool. */
const farewellMsMax = 4 * secondMs;
const farewellLookMs = 20;

export interface SecondaryParts {
  readonly datacenter: string;
  readonly name: string;
  /** Addresses of the data centre's primaries. */
  readonly primaries: readonly string[];
  /** `host:port` of its page, health and metrics. */
  readonly listen: string;
  readonly http: HttpFront;
  readonly store: SpoolStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly connect: (address: string) => PrimaryClient;
  readonly shards: StartShards;
  readonly spoolBytesMax?: number;
  readonly spoolAgeMsMax?: number;
  /** Of a backlog. */
  readonly drainBytesPerSecond?: number;
  /** Hears each assignment that is taken, in the bytes of its format, and that on disk at the start. */
  readonly onAssignment?: (bytes: Uint8Array) => void;
}

export interface RunningSecondary {
  /** Where HTTP is answered, `host:port`. */
  readonly httpAddress: string;
  healthy(): string | undefined;
  ready(): string | undefined;
  /** Stops scraping, pushes for a few seconds more, closes the store. May be called twice. */
  close(): Promise<void>;
}

/** Owns the store from here on, also when it throws. */
export async function startSecondary(parts: SecondaryParts): Promise<RunningSecondary> {
  const { clock, datacenter, log, metrics, name, random } = parts;
  const spool = await openSpool(parts);
  const reach = new ReachReporter({
    datacenter,
    secondary: name,
    clock,
    log,
    metrics,
    shards: () => shards,
    isHeard: () => uplink.primary !== "",
  });
  const shards: readonly Shard[] = parts.shards({
    datacenter,
    secondary: name,
    bootEpoch: spool.bootEpoch,
    clock,
    log,
    metrics,
    sink: (batch) => spool.put(batch),
    onSuspicion: (shard, suspicion) => reach.suspects(shard, suspicion),
  });
  /** All shards scrape by it or a newer one; undefined before the first. */
  const generation = () =>
    shards
      .map((shard) => shard.generation)
      .reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.min(a, b)));
  let saidEmpty = true;
  const assignment = new Assignment({
    datacenter,
    secondary: name,
    spool,
    clock,
    log,
    onGeneration(generation) {
      saidEmpty = sayWhenEmpty(parts, generation, saidEmpty);
      for (const [shard, part] of shardParts(generation, shards.length).entries()) shards[shard]!.offer(part);
    },
    ...(parts.onAssignment && { onBytes: parts.onAssignment }),
  });
  const pusher = new Pusher({
    datacenter,
    secondary: name,
    spool,
    clock,
    log,
    metrics,
    onBacklog() {
      for (const shard of shards) shard.newRun("backlog");
    },
    onRefused: (shard) => shards[shard]!.newRun("batch_lost"),
    ...(parts.drainBytesPerSecond !== undefined && { drainBytesPerSecond: parts.drainBytesPerSecond }),
  });
  spool.events = {
    stored: () => pusher.stored(),
    lost: (shard) => shards[shard]!.newRun("batch_lost"),
    // While nobody hears it a range can still grow, so that a long cut is told in a few.
    dropped: (shard, ranges) => pusher.connected && shards[shard]!.tellDropped(ranges()),
  };
  const uplink: Uplink = new Uplink({
    name,
    primaries: parts.primaries,
    connect: parts.connect,
    pusher,
    assignment,
    reach,
    clock,
    random,
    log,
    metrics,
  });
  metrics.onCollect(() => {
    metrics.set("heliograph_secondary_generation", generation() ?? 0);
  });

  const healthy = () => shards.map((shard) => shard.healthy()).find((reason) => reason !== undefined);
  const ready = () => (generation() !== undefined ? undefined : "Waiting for a primary to say what to scrape.");
  const http = parts.http({ listen: parts.listen, metrics, health: { healthy, ready }, log });
  http.app.addHook("onRequest", async ({ url }) => {
    if (url.startsWith("/metrics")) await Promise.all(shards.map((shard) => shard.tell()));
  });
  registerTargetPages(
    http.app,
    {
      name,
      datacenter,
      get generation() {
        return generation() ?? 0;
      },
      get primary() {
        return uplink.primary;
      },
      spool,
      async select(asked) {
        return await mergeParts(await Promise.all(shards.map((shard) => shard.select(asked))), asked, clock);
      },
      async layout(id) {
        return mergeShares(await Promise.all(shards.map((shard) => shard.layout(id))));
      },
    },
    clock,
  );

  const close = async () => {
    await Promise.all(shards.map((shard) => shard.close()));
    reach.close();
    await spool.settled();
    for (let waitedMs = 0; pusher.connected && !pusher.idle && waitedMs < farewellMsMax; waitedMs += farewellLookMs) {
      await clock.sleep(farewellLookMs);
    }
    await uplink.close();
    await http.close();
    await spool.close();
  };
  let closing: Promise<void> | undefined;
  let httpAddress: string;
  try {
    httpAddress = await http.start();
    await assignment.resume();
  } catch (error) {
    await close();
    throw error;
  }
  for (const shard of shards) shard.start();
  uplink.start();
  log.info({ bootEpoch: spool.bootEpoch, httpAddress }, "The secondary runs.");
  return {
    httpAddress,
    healthy,
    ready,
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** A secondary without targets is quiet and green, so it is said when it becomes one. Returns whether it is. */
function sayWhenEmpty({ log, name }: SecondaryParts, generation: Generation, wasEmpty: boolean): boolean {
  const { number, primary, secondaries, targets, validFromMs } = generation;
  if (targets.length > 0 || wasEmpty) return targets.length === 0;
  const fields = { generation: number, primary, validFromMs, living: secondaries.map((each) => each.name) };
  log.warn(
    fields,
    secondaries.some((each) => each.name === name)
      ? "A generation takes all targets from this secondary, which it counts as living: see what the primary discovers."
      : "A generation takes all targets from this secondary, which it does not count as living.",
  );
  return true;
}

async function openSpool(parts: SecondaryParts) {
  const { clock, datacenter, log, metrics, name, spoolAgeMsMax, spoolBytesMax, store } = parts;
  try {
    return await Spool.open({
      store,
      datacenter,
      secondary: name,
      clock,
      log,
      metrics,
      ...(spoolBytesMax !== undefined && { bytesMax: spoolBytesMax }),
      ...(spoolAgeMsMax !== undefined && { ageMsMax: spoolAgeMsMax }),
    });
  } catch (error) {
    await store.close();
    throw error;
  }
}

// A shard: a worker's share of a secondary's targets, fixed for a boot epoch, on the way from its part of a generation to sealed
// batches. Everything that is done for each scrape is in here; what is done for the secondary as a whole is in secondary.ts.
//
//     generation → schedule → scrape (fetch, read) → compact → sink

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { DroppedRange } from "#/lib/model/dropped.ts";
import type { AssignedTarget, Generation } from "#/lib/model/generation.ts";
import { type ReachVerdict, reachSampleMax, type Suspicion } from "#/lib/model/reach.ts";
import { shardOf, type Target } from "#/lib/model/target.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { Compactor, type RunReason } from "#/secondary/compact.ts";
import { type Asked, findLayout, type LayoutShare, type SelectionPart, selectPart } from "#/secondary/page/view.ts";
import { ReachJudge, spread } from "#/secondary/reach/judge.ts";
import { probe } from "#/secondary/reach/probe.ts";
import { Schedule, type ScheduleMeter } from "#/secondary/schedule.ts";
import type { Fetcher } from "#/secondary/scrape/fetch.ts";
import { Scraper, type TargetState } from "#/secondary/scrape/scrape.ts";

/** A scrape that begins this long after its slot tells that this machine does not keep up. */
const lateMs = 250;

export interface Shard {
  /** Number of the generation that it scrapes by; undefined before the first. */
  readonly generation: number | undefined;
  /** Batches are flushed from now on. May be called twice. */
  start(): void;
  /** Takes its part of a newer generation; it is switched to when it becomes valid. */
  offer(part: Generation): void;
  /** What is sealed from now on refers to nothing before. */
  newRun(reason: RunReason): void;
  /** Its next batch is to tell of these. */
  tellDropped(ranges: readonly DroppedRange[]): void;
  /** Whether it is this secondary that does not reach its targets. */
  verdict(verdict: ReachVerdict): void;
  /** Ids of those of its targets that can be reached from here. */
  probe(targets: Generation): Promise<readonly string[]>;
  select(asked: Asked): Promise<SelectionPart>;
  /** Undefined when no target of this shard has it. */
  layout(id: string): Promise<LayoutShare | undefined>;
  /** Resolves when what it counted is in the registry, or it is too busy. */
  tell(): Promise<void>;
  /** Undefined while fine, else the reason. */
  healthy(): string | undefined;
  /** Ends what runs, and resolves when the sink has the last batch. May be called twice. */
  close(): Promise<void>;
}

export interface ShardParts {
  readonly datacenter: string;
  readonly secondary: string;
  readonly bootEpoch: number;
  readonly shard: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Gets the batches of each run in order. */
  readonly sink: (batch: EncodedBatch) => void;
  /** Hears that most of this shard's targets fail together, and undefined when that is over. */
  readonly onSuspicion: (shard: number, suspicion: Suspicion | undefined) => void;
}

export interface ScrapingParts {
  readonly fetcher: Fetcher;
  /** Of the series of all targets of the shard together. */
  readonly cardinalityLimit?: number;
}

/** A secondary's shards, the first one's number 0, and each handed its own. */
export type StartShards = (parts: Omit<ShardParts, "shard">) => readonly Shard[];

/** All targets in one shard, in this thread. */
export function oneShard(scraping: ScrapingParts): StartShards {
  return (parts) => [startShard({ ...parts, shard: 0 }, scraping)];
}

/** A generation in as many parts as there are shards. */
export function shardParts(generation: Generation, shards: number): readonly Generation[] {
  if (shards === 1) return [generation];
  const parts = Array.from({ length: shards }, () => ({ ...generation, targets: [] as AssignedTarget[] }));
  for (const assigned of generation.targets) parts[shardOf(assigned.target.id, shards)]!.targets.push(assigned);
  return parts;
}

/** A shard that works in this thread. It owns the fetcher from here on. */
export function startShard(parts: ShardParts, { cardinalityLimit, fetcher }: ScrapingParts): Shard {
  const { bootEpoch, clock, datacenter, log, metrics, secondary, shard, sink } = parts;
  const compactor = new Compactor({
    identity: { datacenter, secondary, bootEpoch, shard },
    clock,
    log,
    progress: () => ({
      watermarkMs: Math.floor(Math.min(schedule.watermarkMs(), judge.heldSinceMs())),
      generation: schedule.generation?.number ?? 0,
    }),
    sink,
    metrics,
  });
  const stop = new AbortController();
  const judge = new ReachJudge({
    clock,
    reachable(max) {
      let count = 0;
      for (const { state } of schedule.targets()) {
        if (state.reach.reached !== false && ++count === max) break;
      }
      return count;
    },
    ask(count, isHeld) {
      const others: Target[] = [];
      for (const { state, target } of schedule.targets()) {
        if (state.reach.reached !== false && !isHeld(target.id)) others.push(target);
      }
      return probe(fetcher, spread(others, count), stop.signal);
    },
    onSuspicion: (suspicion) => parts.onSuspicion(shard, suspicion),
  });
  const scraper = new Scraper({
    fetcher,
    clock,
    metrics,
    log,
    emit: (scrape) => compactor.add(scrape),
    judge,
    ...(cardinalityLimit !== undefined && { cardinalityLimit }),
  });
  const schedule: Schedule<TargetState> = new Schedule({
    secondary,
    clock,
    log,
    handlers: scraper,
    meter: countedSchedule(metrics),
  });
  metrics.onCollect(() => {
    metrics.set("heliograph_secondary_targets", schedule.targetCount);
    metrics.set("heliograph_secondary_scrapes_running", schedule.inFlight);
    metrics.set("heliograph_secondary_held_outcomes", judge.held);
    metrics.set("heliograph_secondary_make_ups_waiting", schedule.makingUp);
    metrics.set("heliograph_secondary_away_targets", schedule.awayCount);
  });
  return {
    get generation() {
      return schedule.generation?.number;
    },
    start: () => compactor.start(),
    offer: (part) => schedule.offer(part),
    newRun: (reason) => compactor.newRun(reason),
    tellDropped: (ranges) => compactor.tell(ranges),
    verdict: (verdict) => judge.verdict(verdict),
    async probe({ targets }) {
      const asked = targets.slice(0, reachSampleMax).map(({ target }) => target);
      const answers = await probe(fetcher, asked, stop.signal);
      const reached = asked.filter((_, i) => answers[i]).map(({ id }) => id);
      metrics.add("heliograph_secondary_probes_total", reached.length, { result: "reached" });
      metrics.add("heliograph_secondary_probes_total", asked.length - reached.length, { result: "unreached" });
      return reached;
    },
    select: (asked) => selectPart(schedule.targets(), asked, clock),
    layout: async (id) => findLayout(schedule.targets(), id),
    tell: async () => {},
    healthy: () => undefined,
    async close() {
      stop.abort();
      await schedule.close();
      judge.close();
      compactor.close();
      fetcher.close();
    },
  };
}

function countedSchedule(metrics: Registry): ScheduleMeter {
  const ticks = metrics.counter("heliograph_secondary_schedule_ticks_total");
  const lagSeconds = metrics.histogram("heliograph_secondary_schedule_lag_seconds");
  const late = metrics.counter("heliograph_secondary_late_scrapes_total");
  return {
    tick: () => ticks.add(1),
    began(lagMs) {
      // A few ms early is on time.
      lagSeconds.observe(Math.max(0, lagMs) / secondMs);
      if (lagMs > lateMs) late.add(1);
    },
  };
}

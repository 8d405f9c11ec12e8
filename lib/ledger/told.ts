// What a data centre's secondaries told, as far as it was read here: up to which time each, and where batches are missing.
//
// A batch says that every slot of its shard before its watermark has its outcome in this or an earlier batch. So a slot without
// one is open as long as its owner's newest batch has not passed it. Behind that, it must have been told in a batch that is
// missing here: between two batches of a run, behind the last one of a run that another one followed, or of an earlier start.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { BatchHeader } from "#/lib/codec/batch.ts";
import type { DroppedRange, DropReason } from "#/lib/model/dropped.ts";
import { shardOf } from "#/lib/model/target.ts";

/** A batch that is so much older than the newest of its secondary comes out of a backlog. */
const lateMsMin = 30 * secondMs;

/** Slots of a machine that slept or whose clock leapt: a secondary tells the newest 100 of each target (secondary/schedule.ts). */
const slotsToldMax = 100;
/** Shorter leaps are told whole, whatever the interval. */
const leapMsMin = slotsToldMax * secondMs;
const leapsMax = 256;

/** A slot may be told a moment before it is due. */
const earlyMs = 10;

const droppedMax = 4096;
/** Of a start's generations: hours of one that changes with every batch. */
const generationsMax = 16_384;
/** A hole makes the batches of ten minutes unreadable at most, one a second. */
const unreadableMax = 1024;

/** Batches that a secondary let go, and told later. */
export interface Dropped extends DroppedRange {
  readonly secondary: string;
}

/** Batches of one run. */
export interface Missing {
  readonly bootEpoch: number;
  readonly shard: number;
  readonly run: number;
  /** Sequences; `until` undefined where nobody knows how many there were. */
  readonly from: number;
  readonly until: number | undefined;
}

/**
 * How a slot without an outcome stands at its owner. none: the owner told nothing at all, or began to later. open: it lives since before the slot and
 * has not passed it. restart: it began anew before it told of the slot. behind: it has passed it, by a generation older than
 * the one in force then. passed: it must have told, or `missing` says where it may stand.
 */
export type Standing =
  | { readonly state: "none" | "open" | "restart" | "behind" }
  | {
      readonly state: "passed";
      readonly by: number;
      readonly cause?: "hole" | "unreadable" | "tail" | "asleep" | "unheard" | DropReason;
      readonly missing?: Missing;
      /** Whether the owner scraped by the generation in force then, as far as its batches say. */
      readonly heard?: boolean;
    };

/** Batches one after the other that are here. */
interface Stretch {
  from: number;
  until: number;
  readonly beganMs: number;
  endedMs: number;
  watermarkMs: number;
  generation: number;
}

interface Run {
  readonly run: number;
  readonly stretches: Stretch[];
  /** By sequence, the times that the unreadable scrapes of a batch are of. */
  readonly unreadable: Map<number, { readonly fromMs: number; readonly untilMs: number }>;
}

interface Window {
  readonly cause: "hole" | "tail";
  readonly fromMs: number;
  readonly untilMs: number;
  readonly missing: Missing;
}

interface Shard {
  /** The first watermark: slots from there on are this start's. Before that batch is here, when the epoch was born. */
  beganMs: number;
  /** Ascending. */
  readonly runs: Run[];
  readonly leaps: { readonly fromMs: number; readonly untilMs: number }[];
  /** The answer of `windowsOf`, until something comes. */
  windows: readonly Window[] | undefined;
}

interface Epoch {
  readonly bootEpoch: number;
  /** A number is given in seconds of the secondary's clock. */
  readonly bornMs: number;
  readonly shards: (Shard | undefined)[];
  /** Numbers of those that it scraped by, as far as its batches say. */
  readonly generations: Set<number>;
}

interface Secondary {
  /** Ascending. */
  readonly epochs: Epoch[];
  readonly dropped: Map<string, Dropped>;
  newestMs: number;
  /** By the log's own measure of time, the last time that one came of an older run or start, or a new start. */
  drainedMs: number;
}

export class ToldBook {
  readonly #secondaries = new Map<string, Secondary>();

  /** A batch was read. Of its scrapes so many refer to batches that are missing. `logMs` is the log's measure of time. */
  batch(header: BatchHeader, unreadable: number, logMs: number): void {
    const secondary = this.#secondaryOf(header.secondary);
    const epoch = epochOf(secondary, header, logMs);
    const { bornMs } = epoch;
    const shard = (epoch.shards[header.shard] ??= { beganMs: bornMs, runs: [], leaps: [], windows: undefined });
    const isNewest = header.run >= (shard.runs.at(-1)?.run ?? 0) && epoch === secondary.epochs.at(-1);
    if (!isNewest || header.createdMs < secondary.newestMs - lateMsMin) secondary.drainedMs = logMs;
    secondary.newestMs = Math.max(secondary.newestMs, header.createdMs);
    if (header.run === 1 && header.sequence === 1) shard.beganMs = header.watermarkMs;
    epoch.generations.add(header.generation);
    if (epoch.generations.size > generationsMax) epoch.generations.delete(epoch.generations.keys().next().value!);
    const run = runOf(shard, header.run);
    const beforeMs = addTo(run.stretches, header);
    shard.windows = undefined;
    if (beforeMs !== undefined && header.watermarkMs - beforeMs > leapMsMin) {
      shard.leaps.push({ fromMs: beforeMs, untilMs: header.watermarkMs });
      if (shard.leaps.length > leapsMax) shard.leaps.shift();
    }
    if (unreadable === 0) run.unreadable.delete(header.sequence);
    else if (run.unreadable.size < unreadableMax) {
      const fromMs = Math.min(beforeMs ?? Number.POSITIVE_INFINITY, header.watermarkMs - minuteMs);
      run.unreadable.set(header.sequence, { fromMs, untilMs: header.createdMs + earlyMs });
    }
  }

  dropped(range: Dropped): void {
    const { bootEpoch, from, run, secondary, shard } = range;
    const { dropped } = this.#secondaryOf(secondary);
    dropped.set(`${bootEpoch}/${shard}/${run}/${from}`, range);
    if (dropped.size > droppedMax) dropped.delete(dropped.keys().next().value!);
  }

  /** When the log last brought something of that secondary that was not its present, by the log's measure of time. */
  drainedMs(name: string): number {
    return this.#secondaries.get(name)?.drainedMs ?? Number.NEGATIVE_INFINITY;
  }

  /** How the slot of that target stands at its owner. `generation`: the number of the one in force at that time. */
  standing(
    name: string,
    slot: { readonly id: string; readonly timeMs: number; readonly intervalMs: number; readonly generation: number },
  ): Standing {
    const secondary = this.#secondaries.get(name);
    const { epochs = [] } = secondary ?? {};
    const { id, timeMs } = slot;
    const at = epochs.findLastIndex((epoch) => (shardIn(epoch, id)?.beganMs ?? epoch.bornMs) <= timeMs);
    if (at === -1) {
      const first = secondary && droppedAt(secondary, id, timeMs, epochs);
      return first ? { state: "passed", by: 0, cause: first.reason, missing: first } : { state: "none" };
    }
    const epoch = epochs[at]!;
    const shard = shardIn(epoch, id);
    const last = shard?.runs.at(-1)?.stretches.at(-1);
    const dropped = droppedAt(secondary!, id, timeMs, epochs);
    if (dropped) return { state: "passed", by: last?.generation ?? 0, cause: dropped.reason, missing: dropped };
    if (!shard || !last || last.watermarkMs <= timeMs) return { state: at < epochs.length - 1 ? "restart" : "open" };
    if (last.generation < slot.generation) return { state: at < epochs.length - 1 ? "restart" : "behind" };
    const by = last.generation;
    for (const { unreadable } of shard.runs) {
      for (const { fromMs, untilMs } of unreadable.values()) {
        if (fromMs <= timeMs && timeMs <= untilMs) return { state: "passed", by, cause: "unreadable" };
      }
    }
    shard.windows ??= windowsOf(epoch.bootEpoch, epoch.shards.indexOf(shard), shard);
    const window = shard.windows.find(({ fromMs, untilMs }) => fromMs <= timeMs && timeMs <= untilMs);
    const heard = epoch.generations.has(slot.generation);
    if (window) return { state: "passed", by, cause: window.cause, missing: window.missing, heard };
    const leap = shard.leaps.find(({ fromMs, untilMs }) => fromMs <= timeMs && timeMs < untilMs);
    if (leap && timeMs < leap.untilMs - (slotsToldMax - 1) * slot.intervalMs)
      return { state: "passed", by, cause: "asleep" };
    return heard ? { state: "passed", by } : { state: "passed", by, cause: "unheard" };
  }

  /** Forgets what ended before. */
  trim(beforeMs: number): void {
    for (const { dropped, epochs } of this.#secondaries.values()) {
      while (epochs.length > 1 && epochs[1]!.bornMs < beforeMs) epochs.shift();
      for (const [key, { slotsUntilMs }] of dropped) if (slotsUntilMs < beforeMs) dropped.delete(key);
      for (const shard of epochs.flatMap(({ shards }) => shards)) {
        if (!shard) continue;
        while (shard.runs.length > 1 && shard.runs[1]!.stretches[0]!.beganMs < beforeMs) shard.runs.shift();
        for (const { unreadable } of shard.runs) {
          for (const [sequence, { untilMs }] of unreadable) if (untilMs < beforeMs) unreadable.delete(sequence);
        }
        shard.windows = undefined;
      }
    }
  }

  #secondaryOf(name: string): Secondary {
    let known = this.#secondaries.get(name);
    if (!known) {
      known = {
        epochs: [],
        dropped: new Map(),
        newestMs: Number.NEGATIVE_INFINITY,
        drainedMs: Number.NEGATIVE_INFINITY,
      };
      this.#secondaries.set(name, known);
    }
    return known;
  }
}

function shardIn({ shards }: Epoch, id: string): Shard | undefined {
  return shards[shardOf(id, shards.length)];
}

function epochOf(secondary: Secondary, { bootEpoch, watermarkMs }: BatchHeader, logMs: number): Epoch {
  const { epochs } = secondary;
  let at = epochs.length;
  while (at > 0 && epochs[at - 1]!.bootEpoch > bootEpoch) at--;
  const known = epochs[at - 1];
  if (known?.bootEpoch === bootEpoch) return known;
  // Where the clock had been ahead at an earlier start, the number is only one more than before.
  const epoch = {
    bootEpoch,
    bornMs: Math.min(watermarkMs, bootEpoch * secondMs),
    shards: [],
    generations: new Set<number>(),
  };
  epochs.splice(at, 0, epoch);
  secondary.drainedMs = logMs;
  return epoch;
}

function runOf(shard: Shard, number: number): Run {
  let at = shard.runs.length;
  while (at > 0 && shard.runs[at - 1]!.run > number) at--;
  const known = shard.runs[at - 1];
  if (known?.run === number) return known;
  const run: Run = { run: number, stretches: [], unreadable: new Map() };
  shard.runs.splice(at, 0, run);
  return run;
}

/** Returns the watermark of the batch just before it, when that is here. */
function addTo(stretches: Stretch[], header: BatchHeader): number | undefined {
  const { createdMs, generation, sequence, watermarkMs } = header;
  let at = stretches.length;
  while (at > 0 && stretches[at - 1]!.from > sequence) at--;
  const before = stretches[at - 1];
  if (before && sequence <= before.until) return undefined;
  const after = stretches[at];
  const isNext = after?.from === sequence + 1;
  if (before?.until === sequence - 1) {
    const beforeMs = before.watermarkMs;
    Object.assign(before, { until: sequence, endedMs: createdMs, watermarkMs, generation });
    if (isNext) {
      const { endedMs, generation: last, until, watermarkMs: passedMs } = after;
      Object.assign(before, { until, endedMs, watermarkMs: passedMs, generation: last });
      stretches.splice(at, 1);
    }
    return beforeMs;
  }
  if (isNext) {
    stretches[at] = { ...after, from: sequence, beganMs: createdMs };
    return undefined;
  }
  const stretch = { from: sequence, until: sequence, beganMs: createdMs, endedMs: createdMs, watermarkMs, generation };
  stretches.splice(at, 0, stretch);
  return undefined;
}

/** The times whose slots may have been told in batches of that shard which are not here. */
function windowsOf(bootEpoch: number, shard: number, { beganMs, runs }: Shard): readonly Window[] {
  const windows: Window[] = [];
  let passedMs = beganMs;
  const add = (cause: Window["cause"], untilMs: number, missing: Omit<Missing, "bootEpoch" | "shard">) => {
    // A clock that was set back in between makes the two change places.
    const [fromMs, toMs] = [Math.min(passedMs, untilMs), Math.max(passedMs, untilMs) + earlyMs];
    windows.push({ cause, fromMs, untilMs: toMs, missing: { bootEpoch, shard, ...missing } });
  };
  let previous: Run | undefined;
  for (const run of runs) {
    for (const [i, stretch] of run.stretches.entries()) {
      const before = run.stretches[i - 1];
      const isFirst = before === undefined;
      if (isFirst && previous) {
        add("tail", stretch.beganMs, {
          run: previous.run,
          from: previous.stretches.at(-1)!.until + 1,
          until: undefined,
        });
      } else if (isFirst && run.run > 1) add("tail", stretch.beganMs, { run: 1, from: 1, until: undefined });
      const from = (before?.until ?? 0) + 1;
      if (stretch.from > from) add("hole", stretch.beganMs, { run: run.run, from, until: stretch.from - 1 });
      passedMs = stretch.watermarkMs;
    }
    previous = run;
  }
  return windows;
}

function droppedAt({ dropped }: Secondary, id: string, timeMs: number, epochs: readonly Epoch[]): Dropped | undefined {
  for (const range of dropped.values()) {
    if (range.slotsFromMs > timeMs || timeMs > range.slotsUntilMs) continue;
    const shards = epochs.find(({ bootEpoch }) => bootEpoch === range.bootEpoch)?.shards.length;
    if (shards === undefined || shards <= range.shard || shardOf(id, shards) === range.shard) return range;
  }
  return undefined;
}

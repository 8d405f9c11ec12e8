// One contender on one scenario: started, left to warm up, and measured over a steady window.

import { setTimeout as sleep } from "node:timers/promises";
import type { Contender, Course, Running } from "#/test/bench/scrape/contender.ts";
import { costOf, type Member, tailOf } from "#/test/bench/scrape/crew.ts";
import type { Arrivals } from "#/test/bench/scrape/targets.ts";

/** A scrape that the target sees later than this after its time is late. */
export const lateMs = 250;

export interface Measurement {
  readonly contender: string;
  readonly version: string;
  readonly windowSeconds: number;
  readonly cpuSeconds: number;
  /** Of one core. */
  readonly cpuShare: number;
  /** Of the CPU time: the kernel's part, and the part of threads other than the main one. */
  readonly systemShare: number;
  readonly otherThreadsShare: number;
  readonly scrapes: number;
  readonly samplesScraped: number;
  readonly cpuUsPerScrape: number;
  readonly cpuUsPerSample: number;
  readonly residentBytes: number;
  readonly residentBytesMax: number;
  readonly threads: number;
  /** A sample that the rules left. */
  readonly wireBytesPerSample: number;
  readonly wirePayloadBytesPerSample: number;
  readonly wireBytesBackPerSample: number;
  readonly wireBytesOut: number;
  readonly scrapesDue: number;
  readonly scrapesLate: number;
  /** As it counts itself, where it does. */
  readonly scrapesLateOwn?: number;
  /** Of those that were due, never seen by their target. */
  readonly scrapesMissing: number;
  readonly latenessMsMax: number;
  readonly latenessMsMedian: number;
  /** As it counts itself. */
  readonly scrapesFailed: number;
  readonly failures: Readonly<Record<string, number>>;
  /** Load average over the last minute, at the end. */
  readonly load: number;
  /** CPU of the targets' process meanwhile, as a share of a core. */
  readonly targetsCpuShare: number;
}

export interface MeasureOptions {
  readonly course: Course;
  readonly targets: Member;
  readonly addresses: readonly string[];
  readonly series: number;
  readonly seriesKept: number;
  readonly warmUpMs: number;
  readonly windowMs: number;
  readonly load: () => number;
}

/** Throws when the contender ends by itself. */
export async function measure(contender: Contender, options: MeasureOptions): Promise<Measurement> {
  const running = await contender.start(options.course);
  try {
    await steady(running, options.warmUpMs);
    return await window(contender, running, options);
  } finally {
    await running.close();
  }
}

async function window(contender: Contender, running: Running, options: MeasureOptions): Promise<Measurement> {
  const { course, targets } = options;
  const ownBefore = await running.ownCount();
  const dueMs = await running.dueMs?.();
  await targets.message<Arrivals>("arrivals");
  await running.wireBytes();
  const fromMs = performance.timeOrigin + performance.now();
  const before = costOf(running.pid);
  const targetsBefore = costOf(targets.pid);
  await steady(running, options.windowMs);
  const after = costOf(running.pid);
  const targetsAfter = costOf(targets.pid);
  const untilMs = performance.timeOrigin + performance.now();
  const wire = await running.wireBytes();
  const arrivals = await targets.message<Arrivals>("arrivals");
  const ownAfter = await running.ownCount();

  const windowMs = untilMs - fromMs;
  const times = arrivals.map((list) => list.filter((timeMs) => timeMs >= fromMs && timeMs < untilMs));
  const scrapes = times.reduce((sum, list) => sum + list.length, 0);
  const cpuUs = after.cpuUs - before.cpuUs;
  const kept = scrapes * options.seriesKept;
  const { intervalMs } = course.scenario;
  const lateness = latenessOf(times, options.addresses, intervalMs, dueMs);
  const failures: Record<string, number> = {};
  for (const [why, count] of Object.entries(ownAfter.failures)) {
    const more = count - (ownBefore.failures[why] ?? 0);
    if (more > 0) failures[why] = more;
  }
  return {
    contender: contender.name,
    version: running.version,
    windowSeconds: windowMs / 1000,
    cpuSeconds: cpuUs / 1e6,
    cpuShare: cpuUs / 1000 / windowMs,
    systemShare: (after.systemUs - before.systemUs) / cpuUs,
    otherThreadsShare: 1 - (after.mainUs - before.mainUs) / cpuUs,
    scrapes,
    samplesScraped: scrapes * options.series,
    cpuUsPerScrape: cpuUs / scrapes,
    cpuUsPerSample: cpuUs / (scrapes * options.series),
    residentBytes: after.residentBytes,
    residentBytesMax: after.residentBytesMax,
    threads: after.threads,
    wireBytesPerSample: wire.out / kept,
    wirePayloadBytesPerSample: wire.payload / kept,
    wireBytesBackPerSample: wire.back / kept,
    wireBytesOut: wire.out,
    scrapesDue: lateness.due,
    scrapesLate: lateness.late,
    ...(ownAfter.late !== undefined && { scrapesLateOwn: ownAfter.late - (ownBefore.late ?? 0) }),
    scrapesMissing: lateness.missing,
    latenessMsMax: lateness.max,
    latenessMsMedian: lateness.median,
    scrapesFailed: Math.max(0, ownAfter.failed - ownBefore.failed),
    failures,
    load: options.load(),
    targetsCpuShare: (targetsAfter.cpuUs - targetsBefore.cpuUs) / 1000 / windowMs,
  };
}

/** Waits, and looks now and then whether it still lives. */
async function steady(running: Running, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  for (let leftMs = ms; leftMs > 0; leftMs = endMs - performance.now()) {
    const ended = running.ended();
    if (ended !== undefined) throw new Error(`it ${ended}:\n${tailOf(running.logFile)}`);
    await sleep(Math.min(leftMs, 1000));
  }
}

interface Lateness {
  readonly due: number;
  readonly late: number;
  readonly missing: number;
  readonly max: number;
  readonly median: number;
}

/**
 * How long after its time each scrape came. Where a contender does not say when a target is due, its time is that of the target's
 * earliest scrape, one interval after the other.
 */
export function latenessOf(
  times: readonly Float64Array[],
  addresses: readonly string[],
  intervalMs: number,
  dueMs: ((address: string, beganMs: number) => number) | undefined,
): Lateness {
  const all: number[] = [];
  let due = 0;
  let missing = 0;
  for (const [i, list] of times.entries()) {
    if (list.length === 0) continue;
    const first = list[0]!;
    const slots = Array.from(list, (timeMs) => Math.round((timeMs - first) / intervalMs));
    due += slots.at(-1)! + 1;
    missing += slots.at(-1)! + 1 - new Set(slots).size;
    if (dueMs) for (const timeMs of list) all.push(timeMs - dueMs(addresses[i]!, timeMs));
    else {
      const own = Array.from(list, (timeMs, n) => timeMs - slots[n]! * intervalMs);
      const earliest = own.reduce((least, timeMs) => Math.min(least, timeMs), Number.POSITIVE_INFINITY);
      for (const timeMs of own) all.push(timeMs - earliest);
    }
  }
  // A target that was never asked was due all the same.
  const empty = times.filter((list) => list.length === 0).length;
  all.sort((a, b) => a - b);
  return {
    due: due + empty,
    late: all.filter((ms) => ms > lateMs).length,
    missing: missing + empty,
    max: all.at(-1) ?? Number.NaN,
    median: all[all.length >> 1] ?? Number.NaN,
  };
}

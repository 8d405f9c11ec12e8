// Walks one target's scrapes and says which samples each of its series had, with the stale markers that follow.
//
// Staleness is never stored: a series ends at the first tried scrape that no longer has it (its row is not in the layout, or
// absent, or the scrape failed), and where a generation drops its target. Missed scrapes say nothing. The report series
// (`up` and its like) have a sample for every tried scrape and end only with the target. Samples with times of their own
// never go stale, as in Prometheus: who sends a time says how long it holds.

import type { reportRows } from "#/lib/model/scrape.ts";
import type { TimeRange } from "#/lib/model/source.ts";
import { isAbsent, isStale, setStale, wordsOf } from "#/lib/model/value.ts";
import {
  type Chunk,
  effectOfOutcome,
  factDurationUs,
  factOutcome,
  factSamplesRelabelled,
  factSamplesScraped,
  factSeriesAdded,
  factTime,
  outcomeFailed,
  outcomeNone,
  outcomeStored,
} from "#/lib/store/chunk.ts";
import { isReportRow } from "#/lib/store/dictionary.ts";
import type { TargetEnd, Timeline } from "#/lib/store/timeline.ts";

export interface WalkedSamples {
  readonly timesMs: Float64Array;
  readonly values: Float64Array;
}

interface Step {
  readonly chunk: Chunk;
  readonly times: Float64Array;
  readonly outcomes: Float64Array;
}

/** One target within one range. What all its series share is decoded once. One at a time for each buffer. */
export class Walk {
  readonly #steps: readonly Step[];
  readonly #ends: readonly TargetEnd[];
  readonly #range: TimeRange;
  readonly #out: SampleBuffer;

  constructor(timeline: Timeline, range: TimeRange, out: SampleBuffer) {
    this.#range = range;
    this.#ends = timeline.ends;
    this.#out = out;
    const chunks = chunksWithin(timeline.chunks, range);
    const columns = out.columns(chunks.reduce((sum, chunk) => sum + 2 * chunk.count, 0));
    let used = 0;
    this.#steps = chunks.map((chunk) => {
      const times = columns.subarray(used, used + chunk.count);
      const outcomes = columns.subarray(used + chunk.count, used + 2 * chunk.count);
      used += 2 * chunk.count;
      chunk.fact(factTime, times);
      chunk.fact(factOutcome, outcomes);
      return { chunk, times, outcomes };
    });
  }

  /** The samples of one row within the range; undefined when there are none. */
  samplesOf(row: number): WalkedSamples | undefined {
    this.#out.reset();
    if (isReportRow(row)) this.#report(row);
    else this.#own(row);
    return this.#out.take();
  }

  #own(row: number): void {
    const out = this.#out;
    const { fromMs, untilMs } = this.#range;
    const ends = this.#ends;
    let end = 0;
    /** Whether the tried scrape before had the row, without a time of its own. */
    let alive = false;
    for (const { chunk, times, outcomes } of this.#steps) {
      if (chunk.fromMs > untilMs && chunk.ownTimes.length === 0) break;
      const position = chunk.layout.positionOf(row);
      if (position < 0 && !alive) continue;
      if (position >= 0) out.reserveValues(chunk.stored);
      const { scratch, scratchWords } = out;
      if (position >= 0) chunk.valuesOf(position, scratch);
      const ownTimes = chunk.ownTimes.length > 0 && position >= 0 ? ownTimesOf(chunk, position) : undefined;
      let stored = 0;
      for (let i = 0; i < chunk.count; i++) {
        const effect = effectOfOutcome[outcomes[i]!];
        if (effect === outcomeNone) continue;
        const time = times[i]!;
        for (; end < ends.length && ends[end]!.timeMs <= time; end++) {
          // At the same time, what the scrape says is all there is to say.
          if (ends[end]!.timeMs === time) continue;
          if (alive && ends[end]!.timeMs >= fromMs && ends[end]!.timeMs <= untilMs) out.stale(ends[end]!.timeMs);
          alive = false;
        }
        const at = effect === outcomeStored ? stored++ : -1;
        const present = at >= 0 && position >= 0 && !isAbsent(scratchWords, at);
        const ownMs = present ? ownTimes?.get(at) : undefined;
        if (present && ownMs === undefined) {
          if (time >= fromMs && time <= untilMs) out.sample(time, scratch[at]!);
          alive = true;
          continue;
        }
        if (alive && time >= fromMs && time <= untilMs) out.stale(time);
        alive = false;
        if (ownMs !== undefined && ownMs >= fromMs && ownMs <= untilMs) out.sample(ownMs, scratch[at]!);
        if (position < 0) break;
      }
    }
    for (; alive && end < ends.length; end++) {
      if (ends[end]!.timeMs >= fromMs && ends[end]!.timeMs <= untilMs) out.stale(ends[end]!.timeMs);
      alive = false;
    }
  }

  #report(row: number): void {
    const out = this.#out;
    const { fromMs, untilMs } = this.#range;
    const ends = this.#ends;
    const column = reportColumns[row]!;
    let end = 0;
    let alive = false;
    for (const { chunk, times, outcomes } of this.#steps) {
      if (chunk.fromMs > untilMs) break;
      out.reserveValues(chunk.count);
      const { scratch } = out;
      if (column >= 0) chunk.fact(column, scratch);
      for (let i = 0; i < chunk.count; i++) {
        const effect = effectOfOutcome[outcomes[i]!];
        if (effect === outcomeNone) continue;
        const time = times[i]!;
        for (; end < ends.length && ends[end]!.timeMs <= time; end++) {
          if (ends[end]!.timeMs === time) continue;
          if (alive && ends[end]!.timeMs >= fromMs && ends[end]!.timeMs <= untilMs) out.stale(ends[end]!.timeMs);
          alive = false;
        }
        alive = true;
        if (time < fromMs || time > untilMs) continue;
        if (column < 0) out.sample(time, effect === outcomeFailed ? 0 : 1);
        else out.sample(time, column === factDurationUs ? scratch[i]! / 1e6 : scratch[i]!);
      }
    }
    for (; alive && end < ends.length; end++) {
      if (ends[end]!.timeMs >= fromMs && ends[end]!.timeMs <= untilMs) out.stale(ends[end]!.timeMs);
      alive = false;
    }
  }
}

/** In the order of `reportRows`: the fact that each is; −1 for `up`, which follows from the outcome. */
const reportColumns = [
  -1,
  factDurationUs,
  factSamplesScraped,
  factSamplesRelabelled,
  factSeriesAdded,
] as const satisfies readonly number[] & { readonly length: (typeof reportRows)["length"] };

/** Those with scrapes, or samples with times of their own, within the range. */
export function chunksOverlapping(chunks: readonly Chunk[], { fromMs, untilMs }: TimeRange): readonly Chunk[] {
  return chunks.filter(
    (chunk) =>
      (chunk.fromMs <= untilMs && chunk.untilMs >= fromMs) ||
      chunk.ownTimes.some((own) => own.timestampMs >= fromMs && own.timestampMs <= untilMs),
  );
}

/** Those that a walk must see: the ones within the range, and the one before it that says what was alive. */
export function chunksWithin(chunks: readonly Chunk[], range: TimeRange): readonly Chunk[] {
  if (chunks.some((chunk) => chunk.ownTimes.length > 0)) return chunks;
  let first = chunks.findIndex((chunk) => chunk.untilMs >= range.fromMs);
  if (first < 0) first = chunks.length;
  let last = first;
  while (last < chunks.length && chunks[last]!.fromMs <= range.untilMs) last++;
  // A chunk that begins before the range with a tried scrape says by itself what was alive.
  while (first > 0 && !(first < chunks.length && chunks[first]!.triedFromMs < range.fromMs)) {
    first--;
    if (chunks[first]!.triedFromMs < Number.POSITIVE_INFINITY) break;
  }
  return chunks.slice(first, last);
}

function ownTimesOf(chunk: Chunk, position: number): ReadonlyMap<number, number> {
  return new Map(chunk.ownTimes.flatMap((own) => (own.row === position ? [[own.stored, own.timestampMs]] : [])));
}

/**
 * Series of one query lie one after the other in slabs of this many samples, because an array each costs more than its content.
 * The first slab is small, as most queries are, and each next one is twice as large.
 */
const slabSamplesMin = 1024;
const slabSamplesMax = 65_536;

/** Where the walks of one query put samples. What was taken stays as it is. */
export class SampleBuffer {
  scratch = new Float64Array(128);
  scratchWords = wordsOf(this.scratch);
  #columns = new Float64Array(1024);
  #times = new Float64Array(0);
  #values = new Float64Array(0);
  #words = wordsOf(this.#values);
  /** The present series lies from here on. */
  #start = 0;
  #end = 0;
  #sorted = true;

  reset(): void {
    this.#end = this.#start;
    this.#sorted = true;
  }

  /** Room for what a target's series share, until it is asked for again. */
  columns(length: number): Float64Array {
    if (length > this.#columns.length) this.#columns = new Float64Array(length * 2);
    return this.#columns;
  }

  reserveValues(length: number): void {
    if (length <= this.scratch.length) return;
    this.scratch = new Float64Array(length * 2);
    this.scratchWords = wordsOf(this.scratch);
  }

  sample(timeMs: number, value: number): void {
    if (this.#end === this.#times.length) this.#grow();
    if (this.#end > this.#start && timeMs <= this.#times[this.#end - 1]!) this.#sorted = false;
    this.#times[this.#end] = timeMs;
    this.#values[this.#end++] = value;
  }

  stale(timeMs: number): void {
    this.sample(timeMs, 0);
    setStale(this.#words, this.#end - 1);
  }

  take(): WalkedSamples | undefined {
    if (this.#end === this.#start) return undefined;
    const samples = {
      timesMs: this.#times.subarray(this.#start, this.#end),
      values: this.#values.subarray(this.#start, this.#end),
    };
    this.#start = this.#end;
    return this.#sorted ? samples : inOrder([samples]);
  }

  /** A new slab, which the present series moves to. */
  #grow(): void {
    const length = this.#end - this.#start;
    const slabSamples = Math.min(Math.max(slabSamplesMin, this.#times.length * 2), slabSamplesMax);
    const times = new Float64Array(Math.max(slabSamples, length * 2));
    const values = new Float64Array(times.length);
    times.set(this.#times.subarray(this.#start, this.#end));
    values.set(this.#values.subarray(this.#start, this.#end));
    this.#times = times;
    this.#values = values;
    this.#words = wordsOf(values);
    this.#start = 0;
    this.#end = length;
  }
}

/**
 * Several parts of one series as one, by time. At the same time a real sample goes before a stale marker, and an earlier
 * part before a later one.
 */
export function inOrder(parts: readonly WalkedSamples[]): WalkedSamples {
  const places = parts.flatMap((part) => {
    const words = wordsOf(part.values);
    return Array.from(part.timesMs, (timeMs, at) => ({ part, at, timeMs, stale: isStale(words, at) }));
  });
  // The sort is stable.
  places.sort((a, b) => a.timeMs - b.timeMs || Number(a.stale) - Number(b.stale));
  const kept = places.filter((place, i) => i === 0 || place.timeMs !== places[i - 1]!.timeMs);
  const values = new Float64Array(kept.length);
  for (const [i, { part, at }] of kept.entries()) values.set(part.values.subarray(at, at + 1), i);
  return { timesMs: Float64Array.from(kept, (place) => place.timeMs), values };
}

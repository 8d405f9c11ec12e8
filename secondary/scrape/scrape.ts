// One scrape from its slot to its outcome: fetched, read, and handed on with the facts about it.
//
// Whatever happens, the slot gets exactly one outcome, and the last one of each target is kept for people to look at.

import type { Clock } from "#/lib/clock/clock.ts";
import type { OutgoingScrape } from "#/lib/codec/encode.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import { type Layout, layoutEmpty } from "#/lib/model/layout.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import type { ScrapedTarget, ScrapeFacts } from "#/lib/model/scrape.ts";
import { slotTimeMs, slotToleranceMs, type Target } from "#/lib/model/target.ts";
import type { Counter, Registry } from "#/lib/telemetry/registry.ts";
import type { ReachJudge } from "#/secondary/reach/judge.ts";
import type { DueScrape, MissedOutcome, ScheduleHandlers } from "#/secondary/schedule.ts";
import { seriesAdded } from "#/secondary/scrape/choice.ts";
import { type Fetched, type Fetcher, isUnreached } from "#/secondary/scrape/fetch.ts";
import { CardinalityGuard, type TargetGuard } from "#/secondary/scrape/guard.ts";
import { BodyReader, formatOf } from "#/secondary/scrape/layout.ts";
import {
  type Reading,
  type RefusalReason,
  type Refusals,
  refusalReasons,
  type TargetReading,
  targetReading,
} from "#/secondary/scrape/reading.ts";
import { Restraint } from "#/secondary/scrape/restraint.ts";

/** What is remembered of a target between its scrapes. */
export interface TargetState {
  readonly target: Target;
  readonly scraped: ScrapedTarget;
  readonly reading: TargetReading;
  /** Of its last scrape that was stored. */
  layout: Layout | undefined;
  last: LastScrape | undefined;
  /** When the last scrape that was stored began; undefined before the first. */
  lastStoredMs: number | undefined;
  readonly guard: TargetGuard;
  readonly restraint: Restraint;
  readonly reach: TargetReach;
}

export interface TargetReach {
  /** A byte came when it was last tried, as far as was told; undefined before the first time. */
  reached: boolean | undefined;
}

export interface LastScrape {
  readonly slot: number;
  readonly generation: number;
  readonly outcome: Outcome;
  /** What went wrong, or why the guard refused series, for people; empty when nothing did. */
  readonly error: string;
  /** When it began. */
  readonly beganMs: number;
  readonly durationUs: number;
  /** Decompressed. */
  readonly bodyBytes: number;
  readonly samples: number;
  /** Series that its target's stored scrape before had not. */
  readonly added: number;
  /** By metric relabelling. */
  readonly dropped: number;
  readonly refused: Refusals | undefined;
}

type Judge = Pick<ReachJudge, "reached" | "unreached" | "state">;

const noValues = new DecimalColumn(0);

export class Scraper implements ScheduleHandlers<TargetState> {
  readonly #fetcher: Fetcher;
  readonly #clock: Clock;
  readonly #counters: ScrapeCounters;
  readonly #emit: (scrape: OutgoingScrape) => void;
  readonly #reader: BodyReader;
  readonly #judge: Judge | undefined;
  readonly #guard: CardinalityGuard;
  /** What the reader had counted after the last body. */
  #learned = 0;
  #sieved = 0;
  #relabelled = 0;
  #relabelMs = 0;

  /**
   * `emit` gets each outcome in turn, and copies what it keeps of the values. `cardinalityLimit` is of the series of all targets
   * together.
   */
  constructor(options: {
    readonly fetcher: Fetcher;
    readonly clock: Clock;
    readonly metrics: Registry;
    readonly log: Logger;
    readonly cardinalityLimit?: number;
    readonly emit: (scrape: OutgoingScrape) => void;
    /** Holds back what may be this secondary's own fault; without one all is told as it is. */
    readonly judge?: Judge;
  }) {
    this.#fetcher = options.fetcher;
    this.#clock = options.clock;
    this.#counters = scrapeCounters(options.metrics);
    this.#emit = options.emit;
    this.#judge = options.judge;
    this.#reader = new BodyReader(options.clock);
    this.#guard = new CardinalityGuard(options);
  }

  adopt(target: Target, previous: TargetState | undefined): TargetState {
    const { id, labels, intervalMs } = target;
    const scraped = previous?.scraped.intervalMs === intervalMs ? previous.scraped : { id, labels, intervalMs };
    const guard = previous?.guard ?? this.#guard.ofTarget(target);
    guard.retarget(target);
    const reading = targetReading(target, previous?.reading, guard);
    const restraint = previous?.restraint ?? new Restraint();
    const reach = previous?.reach ?? { reached: undefined };
    return {
      target,
      scraped,
      reading,
      layout: previous?.layout,
      last: previous?.last,
      lastStoredMs: previous?.lastStoredMs,
      guard,
      restraint,
      reach,
    };
  }

  away(state: TargetState): void {
    state.guard.rest();
  }

  left(state: TargetState): void {
    state.guard.release();
  }

  async scrape(state: TargetState, due: DueScrape, signal: AbortSignal): Promise<void> {
    const { target } = state;
    const beganMs = this.#clock.nowMs();
    const beganMonotonicMs = this.#clock.monotonicMs();
    const slotMs = slotTimeMs(target, due.slot);
    const timestampMs = Math.abs(beganMs - slotMs) <= slotToleranceMs ? slotMs : Math.round(beganMs);
    const begun = { slot: due.slot, generation: due.generation, timestampMs };
    const resting = state.restraint.resting(beganMonotonicMs);
    if (resting !== undefined) {
      const facts = { ...begun, durationUs: 0, bodyBytes: 0 };
      return this.#failed(state, facts, beganMs, "failed_sample_limit", resting, 0);
    }
    const { bodyBytesMax, http } = target.options;
    const request = { url: target.url, timeoutMs: due.timeoutMs, bodyBytesMax, http };
    const fetched = await this.#fetcher.fetch(request, signal);
    if (signal.aborted) return this.missed(state, due.slot, due.generation, "missed_down");
    // It had less than its time, for which the target is not to blame.
    if (due.ifCutShort && !fetched.ok && fetched.outcome === "failed_timeout") {
      return this.missed(state, due.slot, due.generation, due.ifCutShort);
    }
    const fetchedMs = this.#clock.monotonicMs();
    if (this.#judge && isUnreached(fetched)) {
      const durationUs = Math.round((fetchedMs - beganMonotonicMs) * 1000);
      return this.#unreached(this.#judge, state, { ...begun, durationUs, bodyBytes: 0 }, beganMs, fetched);
    }
    if (this.#judge) {
      this.#judge.reached(target.id);
      state.reach.reached = true;
    }
    // Once it is read there may be no body any more.
    const bodyBytes = fetched.ok ? fetched.body.length : 0;
    const reading = fetched.ok ? this.#readBody(state, fetched, beganMs) : undefined;
    const endedMs = reading ? this.#clock.monotonicMs() : fetchedMs;
    if (reading) this.#countReading(reading, endedMs - fetchedMs);
    const facts = {
      ...begun,
      durationUs: Math.round((endedMs - beganMonotonicMs) * 1000),
      bodyBytes,
    };
    if (!fetched.ok) this.#failed(state, facts, beganMs, fetched.outcome, fetched.error, 0);
    else if (reading && "layout" in reading) this.#stored(state, facts, beganMs, reading);
    else if (reading) {
      if (reading.tooMuch) state.restraint.rest(reading.error, this.#clock.monotonicMs());
      this.#failed(state, facts, beganMs, reading.outcome, reading.error, reading.samplesScraped);
    }
  }

  /** The outcome comes at once, or when it is known whose fault it is. The slot is over for the schedule in either case. */
  #unreached(judge: Judge, state: TargetState, facts: FactsOfTime, beganMs: number, fetched: Fetched): void {
    if (fetched.ok) return;
    const { error, outcome } = fetched;
    const fail = () => {
      state.reach.reached = false;
      this.#failed(state, facts, beganMs, outcome, error, 0);
    };
    // It is no news, unless nobody is believed to be down at this time.
    if (state.reach.reached === false && judge.state === "clear") {
      fail();
      return;
    }
    const { target } = state;
    judge.unreached(target.id, slotTimeMs(target, facts.slot), (as) => {
      if (as === "failed") return fail();
      const because = `${missedBecause.missed_cut_off}: ${error}`;
      this.#failed(state, { ...facts, durationUs: 0 }, beganMs, "missed_cut_off", because, 0);
    });
  }

  missed(state: TargetState, slot: number, generation: number, outcome: MissedOutcome): void {
    const timestampMs = slotTimeMs(state.target, slot);
    const facts = { slot, generation, timestampMs, durationUs: 0, bodyBytes: 0 };
    this.#failed(state, facts, timestampMs, outcome, missedBecause[outcome], 0);
  }

  /** The body's memory is others' afterwards. */
  #readBody(state: TargetState, fetched: Extract<Fetched, { ok: true }>, beganMs: number): Reading {
    const reading = this.#reader.read(state.reading, fetched.body, formatOf(fetched.contentType), beganMs);
    fetched.release?.();
    return reading;
  }

  /** Of the last reading. */
  #countReading(reading: Reading, ms: number): void {
    const counters = this.#counters;
    const { learned, relabelMs, relabelled, sieved } = this.#reader;
    const isLearned = learned !== this.#learned;
    const relabellingMs = relabelMs - this.#relabelMs;
    const isSieved = sieved !== this.#sieved;
    this.#learned = learned;
    this.#sieved = sieved;
    const { learnSeconds, readSeconds, sieveSeconds } = counters;
    (isLearned ? learnSeconds : isSieved ? sieveSeconds : readSeconds).add((ms - relabellingMs) / 1000);
    if (!("layout" in reading)) counters.refusedBodies.add(1);
    else (isLearned ? counters.learned : isSieved ? counters.sieved : counters.recognized).add(1);
    if (relabelled === this.#relabelled) return;
    counters.relabelled.add(relabelled - this.#relabelled);
    counters.relabelSeconds.add(relabellingMs / 1000);
    this.#relabelled = relabelled;
    this.#relabelMs = relabelMs;
  }

  #stored(
    state: TargetState,
    facts: FactsOfTime,
    beganMs: number,
    reading: Extract<Reading, { layout: Layout }>,
  ): void {
    const { dropped, flood, layout, outcome, refused, samplesScraped } = reading;
    let seriesRefused = 0;
    for (const reason of refusalReasons) {
      if (refused[reason] === 0) continue;
      seriesRefused += refused[reason];
      this.#counters.refused(reason, refused[reason]);
    }
    const samples = samplesScraped - dropped - seriesRefused;
    const added = seriesAdded(state.layout, layout);
    state.layout = layout;
    state.lastStoredMs = beganMs;
    const { bodyBytes, durationUs, generation, slot } = facts;
    const kept = { beganMs, durationUs, bodyBytes, samples, added, dropped, refused };
    state.last = { slot, generation, outcome, error: flood, ...kept };
    this.#counters.outcome(outcome);
    this.#counters.samples.add(samples);
    if (dropped > 0) this.#counters.dropped.add(dropped);
    this.#emit({
      target: state.scraped,
      facts: { ...facts, outcome, samplesScraped, seriesRefused, seriesAdded: added },
      layout,
      values: reading.values,
      timestamps: reading.timestamps,
    });
  }

  #failed(
    state: TargetState,
    facts: FactsOfTime,
    beganMs: number,
    outcome: Outcome,
    error: string,
    samplesScraped: number,
  ): void {
    const { bodyBytes, durationUs, generation, slot } = facts;
    const none = { samples: 0, added: 0, dropped: 0, refused: undefined };
    state.last = { slot, generation, outcome, error, beganMs, durationUs, bodyBytes, ...none };
    this.#counters.outcome(outcome);
    this.#emit({
      target: state.scraped,
      facts: { ...facts, outcome, samplesScraped, seriesRefused: 0, seriesAdded: 0 },
      layout: layoutEmpty,
      values: noValues,
      timestamps: [],
    });
  }
}

type FactsOfTime = Pick<ScrapeFacts, "slot" | "generation" | "timestampMs" | "durationUs" | "bodyBytes">;

const missedBecause: Readonly<Record<MissedOutcome | "missed_cut_off", string>> = {
  missed_overload: "the scrape before still ran, or too many did",
  missed_down: "the secondary was not running",
  missed_clock: "the wall clock stepped over this slot",
  missed_cut_off: "this secondary is cut off from its targets, which says nothing of this one",
};

/** The series that a scrape counts into, found once: looking them up would cost more than all the counting. */
interface ScrapeCounters {
  readonly samples: Counter;
  readonly dropped: Counter;
  readonly recognized: Counter;
  readonly learned: Counter;
  readonly sieved: Counter;
  readonly refusedBodies: Counter;
  readonly relabelled: Counter;
  readonly readSeconds: Counter;
  readonly learnSeconds: Counter;
  readonly sieveSeconds: Counter;
  readonly relabelSeconds: Counter;
  outcome(outcome: Outcome): void;
  refused(reason: RefusalReason, count: number): void;
}

function scrapeCounters(metrics: Registry): ScrapeCounters {
  const outcomes = new Map<Outcome, Counter>();
  const stage = (name: string) => metrics.counter("heliograph_secondary_stage_seconds_total", { stage: name });
  const reading = (name: string) => metrics.counter("heliograph_secondary_bodies_total", { reading: name });
  return {
    samples: metrics.counter("heliograph_secondary_samples_total"),
    dropped: metrics.counter("heliograph_secondary_samples_dropped_total"),
    recognized: reading("recognized"),
    learned: reading("learned"),
    sieved: reading("sieved"),
    refusedBodies: reading("refused"),
    relabelled: metrics.counter("heliograph_secondary_relabelled_layouts_total"),
    readSeconds: stage("read"),
    learnSeconds: stage("learn"),
    sieveSeconds: stage("sieve"),
    relabelSeconds: stage("relabel"),
    outcome(outcome) {
      let counter = outcomes.get(outcome);
      if (!counter) {
        counter = metrics.counter("heliograph_secondary_scrapes_total", { outcome });
        outcomes.set(outcome, counter);
      }
      counter.add(1);
    },
    refused: (reason, count) => metrics.add("heliograph_secondary_series_refused_total", count, { reason }),
  };
}

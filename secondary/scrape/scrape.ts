// One scrape from its slot to its outcome: fetched, read, and handed on with the facts about it.
//
// Whatever happens, the slot gets exactly one outcome, and the last one of each target is kept for people to look at.

import type { Clock } from "#/lib/clock/clock.ts";
import type { OutgoingScrape } from "#/lib/codec/encode.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import { type Layout, layoutEmpty } from "#/lib/model/layout.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import type { ScrapedTarget, ScrapeFacts } from "#/lib/model/scrape.ts";
import { slotTimeMs, slotToleranceMs, type Target } from "#/lib/model/target.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { DueScrape, MissedOutcome, ScheduleHandlers } from "#/secondary/schedule.ts";
import type { Fetcher } from "#/secondary/scrape/fetch.ts";
import {
  BodyReader,
  formatOf,
  type Reading,
  type Refusals,
  refusalReasons,
  seriesAdded,
  type TargetReading,
  targetReading,
} from "#/secondary/scrape/layout.ts";
import { Restraint } from "#/secondary/scrape/restraint.ts";

/** What is remembered of a target between its scrapes. */
export interface TargetState {
  readonly target: Target;
  readonly scraped: ScrapedTarget;
  readonly reading: TargetReading;
  /** Of its last scrape that was stored. */
  layout: Layout | undefined;
  last: LastScrape | undefined;
  readonly restraint: Restraint;
}

export interface LastScrape {
  readonly slot: number;
  readonly generation: number;
  readonly outcome: Outcome;
  /** What went wrong, for people; empty when nothing did. */
  readonly error: string;
  /** When it began. */
  readonly beganMs: number;
  readonly durationUs: number;
  readonly samples: number;
  /** By metric relabelling. */
  readonly dropped: number;
  readonly refused: Refusals | undefined;
}

const noValues = new DecimalColumn(0);

export class Scraper implements ScheduleHandlers<TargetState> {
  readonly #fetcher: Fetcher;
  readonly #clock: Clock;
  readonly #metrics: Registry;
  readonly #emit: (scrape: OutgoingScrape) => void;
  readonly #reader = new BodyReader();

  /** `emit` gets each outcome in turn, and copies what it keeps of the values. */
  constructor(options: {
    readonly fetcher: Fetcher;
    readonly clock: Clock;
    readonly metrics: Registry;
    readonly emit: (scrape: OutgoingScrape) => void;
  }) {
    this.#fetcher = options.fetcher;
    this.#clock = options.clock;
    this.#metrics = options.metrics;
    this.#emit = options.emit;
  }

  adopt(target: Target, previous: TargetState | undefined): TargetState {
    const { id, labels, intervalMs } = target;
    const scraped = previous?.scraped.intervalMs === intervalMs ? previous.scraped : { id, labels, intervalMs };
    const reading = targetReading(target, previous?.reading);
    const restraint = previous?.restraint ?? new Restraint(this.#clock.monotonicMs());
    return { target, scraped, reading, layout: previous?.layout, last: previous?.last, restraint };
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
    const { bodyBytesMax } = target.options;
    const fetched = await this.#fetcher.fetch({ url: target.url, timeoutMs: due.timeoutMs, bodyBytesMax }, signal);
    if (signal.aborted) return this.missed(state, due.slot, due.generation, "missed_down");
    const reading = fetched.ok
      ? this.#reader.read(state.reading, fetched.body, formatOf(fetched.contentType), beganMs)
      : undefined;
    const facts = {
      ...begun,
      durationUs: Math.round((this.#clock.monotonicMs() - beganMonotonicMs) * 1000),
      bodyBytes: fetched.ok ? fetched.body.length : 0,
    };
    if (!fetched.ok) this.#failed(state, facts, beganMs, fetched.outcome, fetched.error, 0);
    else if (reading && "layout" in reading) this.#read(state, facts, beganMs, reading);
    else if (reading) {
      if (reading.tooMuch) state.restraint.rest(reading.error, this.#clock.monotonicMs());
      this.#failed(state, facts, beganMs, reading.outcome, reading.error, reading.samplesScraped);
    }
  }

  missed(state: TargetState, slot: number, generation: number, outcome: MissedOutcome): void {
    const timestampMs = slotTimeMs(state.target, slot);
    const facts = { slot, generation, timestampMs, durationUs: 0, bodyBytes: 0 };
    this.#failed(state, facts, timestampMs, outcome, missedBecause[outcome], 0);
  }

  #read(state: TargetState, facts: FactsOfTime, beganMs: number, reading: Extract<Reading, { layout: Layout }>): void {
    const added = seriesAdded(state.layout, reading.layout);
    const nowMs = this.#clock.monotonicMs();
    const tooMany = state.restraint.refuses(added, nowMs);
    if (tooMany === undefined) this.#stored(state, facts, beganMs, reading, added);
    else {
      state.restraint.rest(tooMany, nowMs);
      this.#failed(state, facts, beganMs, "failed_sample_limit", tooMany, reading.samplesScraped);
    }
  }

  #stored(
    state: TargetState,
    facts: FactsOfTime,
    beganMs: number,
    reading: Extract<Reading, { layout: Layout }>,
    added: number,
  ): void {
    const { dropped, layout, outcome, refused, samplesScraped } = reading;
    let seriesRefused = 0;
    for (const reason of refusalReasons) {
      if (refused[reason] === 0) continue;
      seriesRefused += refused[reason];
      this.#metrics.add("heliograph_secondary_series_refused_total", refused[reason], { reason });
    }
    const samples = samplesScraped - dropped - seriesRefused;
    state.layout = layout;
    const { slot, generation, durationUs } = facts;
    state.last = { slot, generation, outcome, error: "", beganMs, durationUs, samples, dropped, refused };
    this.#metrics.add("heliograph_secondary_scrapes_total", 1, { outcome });
    this.#metrics.add("heliograph_secondary_samples_total", samples);
    if (dropped > 0) this.#metrics.add("heliograph_secondary_samples_dropped_total", dropped);
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
    const { slot, generation, durationUs } = facts;
    state.last = { slot, generation, outcome, error, beganMs, durationUs, samples: 0, dropped: 0, refused: undefined };
    this.#metrics.add("heliograph_secondary_scrapes_total", 1, { outcome });
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

const missedBecause: Readonly<Record<MissedOutcome, string>> = {
  missed_overload: "the scrape before still ran, or too many did",
  missed_down: "the secondary was not running",
  missed_clock: "the wall clock stepped over this slot",
};

// One scrape as it leaves a decoder and enters the head: a column of values in the order of its layout.

import type { Labels } from "#/lib/model/labels.ts";
import type { Layout } from "#/lib/model/layout.ts";
import type { Outcome } from "#/lib/model/outcome.ts";

/** What a batch says of a target: enough to name its series and its slots without the generation. */
export interface ScrapedTarget {
  /** 32 hex digits (see `targetId`). */
  readonly id: string;
  readonly labels: Labels;
  readonly intervalMs: number;
}

/** The facts of a scrape that become `up`, `scrape_duration_seconds` and their like (see `reportRows`). */
export interface ScrapeFacts {
  readonly slot: number;
  /** The generation under which it was scraped. */
  readonly generation: number;
  readonly outcome: Outcome;
  /** The slot's time when the scrape began within 10 ms of it, else when it began. */
  readonly timestampMs: number;
  readonly durationUs: number;
  readonly bodyBytes: number;
  /** Before metric relabelling, limits and refusals. */
  readonly samplesScraped: number;
  /** Series refused, for a partial outcome. */
  readonly seriesRefused: number;
  /** Series that the target's previous scrape of this run did not have. */
  readonly seriesAdded: number;
}

/** A row whose sample brought its own timestamp. */
export interface RowTimestamp {
  readonly row: number;
  readonly timestampMs: number;
}

export interface Scrape {
  readonly target: ScrapedTarget;
  readonly facts: ScrapeFacts;
  /** The empty layout when nothing was stored. */
  readonly layout: Layout;
  /** One a row, bit for bit; `isAbsent` where a row has no sample this time. Valid only during the call that passes it. */
  readonly values: Float64Array;
  /** Ascending by row; mostly empty. */
  readonly timestamps: readonly RowTimestamp[];
}

/** The series that every target has beside its own, derived from the facts and never sent. */
export const reportRows = [
  "up",
  "scrape_duration_seconds",
  "scrape_samples_scraped",
  "scrape_samples_post_metric_relabeling",
  "scrape_series_added",
] as const;

// A target and its slots: what is scraped, and when each scrape is due.
//
// Slot k of a target is due at phase + k × interval. The phase is a hash of the target's identity, so it is the same on every
// node, spreads the load evenly, and survives a move from one secondary to another.

import { contentId } from "#/lib/bytes/hash.ts";
import { type Labels, labelsKey } from "#/lib/model/labels.ts";
import type { MetricRelabel } from "#/lib/model/relabel.ts";

export interface Target {
  /** `targetId` of job, url and labels: 32 hex digits. */
  readonly id: string;
  /** The scrape config it comes from. */
  readonly job: string;
  /** What is fetched: scheme, host, port, path and query. */
  readonly url: string;
  /** All its labels (job, instance, datacenter, region and its own), as its series will carry them. */
  readonly labels: Labels;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly options: ScrapeOptions;
}

/** The rest of Prometheus' `scrape_config` that changes what a scrape stores. Limits of 0 mean no limit. */
export interface ScrapeOptions {
  readonly honorLabels: boolean;
  readonly honorTimestamps: boolean;
  readonly sampleLimit: number;
  readonly labelLimit: number;
  readonly labelNameLengthLimit: number;
  readonly labelValueLengthLimit: number;
  readonly bodyBytesMax: number;
  /** Absent where the scrape config has no `metric_relabel_configs`. */
  readonly metricRelabel?: MetricRelabel;
}

export function targetId(target: Pick<Target, "job" | "url" | "labels">): string {
  return contentId(`${target.job.length}:${target.job}${target.url.length}:${target.url}`, labelsKey(target.labels));
}

/** 0 ≤ phase < interval, in whole ms. */
export function phaseMs(id: string, intervalMs: number): number {
  return Number.parseInt(id.slice(0, 12), 16) % intervalMs;
}

export function slotTimeMs(target: Pick<Target, "id" | "intervalMs">, slot: number): number {
  return phaseMs(target.id, target.intervalMs) + slot * target.intervalMs;
}

/** The slot that is due at that time or was last due before it. */
export function slotAt(target: Pick<Target, "id" | "intervalMs">, timeMs: number): number {
  return Math.floor((timeMs - phaseMs(target.id, target.intervalMs)) / target.intervalMs);
}

/** A scrape that began this close to its slot carries the slot's time, so that series of one target are evenly spaced. */
export const slotToleranceMs = 10;

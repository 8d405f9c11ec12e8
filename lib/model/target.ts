// A target and its slots: what is scraped, and when each scrape is due.
//
// Slot k of a target is due at phase + k × interval. The phase is a hash of the target's identity, so it is the same on every
// node, spreads the load evenly, and survives a move from one secondary to another. Phases lie on a grid, so that scrapes begin
// in company: a secondary that wakes for four of them pays twice as much for each as one that wakes for thirty.

import { contentId } from "#/lib/bytes/hash.ts";
import type { HttpSettings } from "#/lib/model/http.ts";
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

/** The rest of Prometheus' `scrape_config`: how a target is asked, and what of its answer is stored. Limits of 0 mean no limit. */
export interface ScrapeOptions {
  readonly honorLabels: boolean;
  readonly honorTimestamps: boolean;
  readonly sampleLimit: number;
  readonly labelLimit: number;
  readonly labelNameLengthLimit: number;
  readonly labelValueLengthLimit: number;
  readonly bodyBytesMax: number;
  /** Series beyond it are refused, and what is there is kept. Absent where only the secondary's own bounds hold. */
  readonly cardinalityLimit?: number;
  /** Absent where the scrape config has no `metric_relabel_configs`. */
  readonly metricRelabel?: MetricRelabel;
  /** Absent where the scrape config says nothing of it: then redirects are followed and compression is offered. */
  readonly http?: HttpSettings;
}

export function targetId(target: Pick<Target, "job" | "url" | "labels">): string {
  return contentId(`${target.job.length}:${target.job}${target.url.length}:${target.url}`, labelsKey(target.labels));
}

/** Whether the two are one target that is scraped in the same way; the id stands for job, URL and labels. */
export function sameTarget(a: Target, b: Target): boolean {
  if (a === b) return true;
  return (
    a.id === b.id &&
    a.intervalMs === b.intervalMs &&
    a.timeoutMs === b.timeoutMs &&
    (a.options === b.options || sameOptions(a.options, b.options))
  );
}

function sameOptions(a: ScrapeOptions, b: ScrapeOptions): boolean {
  return (
    a.honorLabels === b.honorLabels &&
    a.honorTimestamps === b.honorTimestamps &&
    a.sampleLimit === b.sampleLimit &&
    a.labelLimit === b.labelLimit &&
    a.labelNameLengthLimit === b.labelNameLengthLimit &&
    a.labelValueLengthLimit === b.labelValueLengthLimit &&
    a.bodyBytesMax === b.bodyBytesMax &&
    a.cardinalityLimit === b.cardinalityLimit &&
    a.metricRelabel?.id === b.metricRelabel?.id &&
    a.http?.id === b.http?.id
  );
}

/** Of 5,000 targets some 50 begin together, whatever their interval up to 10 s; of slower ones, so many as 100 ms bring. */
const phasesMax = 100;
const phaseGridMsMax = 100;

/** 0 ≤ phase < interval: a hundredth of the interval times a whole number, or 100 ms times one for intervals above 10 s. */
export function phaseMs(id: string, intervalMs: number): number {
  const gridMs = Math.min(phaseGridMsMax, Math.max(1, Math.floor(intervalMs / phasesMax)));
  const hashedMs = Number.parseInt(id.slice(0, 12), 16) % intervalMs;
  return hashedMs - (hashedMs % gridMs);
}

export function slotTimeMs(target: Pick<Target, "id" | "intervalMs">, slot: number): number {
  return phaseMs(target.id, target.intervalMs) + slot * target.intervalMs;
}

/** The slot that is due at that time or was last due before it. */
export function slotAt(target: Pick<Target, "id" | "intervalMs">, timeMs: number): number {
  return Math.floor((timeMs - phaseMs(target.id, target.intervalMs)) / target.intervalMs);
}

/** The shard of a secondary that scrapes it: from digits of its id that decide neither its phase nor its keyframes. */
export function shardOf(id: string, shards: number): number {
  return Number.parseInt(id.slice(28), 16) % shards;
}

/** A scrape that began this close to its slot carries the slot's time, so that series of one target are evenly spaced. */
export const slotToleranceMs = 10;

// A target as Prometheus' API tells of one, so that its clients understand it.

import { durationText } from "#/lib/model/duration.ts";
import { type Labels, labelsRecord, labelValue } from "#/lib/model/labels.ts";
import type { Target } from "#/lib/model/target.ts";

/** As Go writes the time of what never was. */
export const neverText = "0001-01-01T00:00:00Z";

export type Health = "up" | "down" | "unknown";

/** https://prometheus.io/docs/prometheus/latest/querying/api/#targets, and ours. */
export interface TargetAnswer<Facts> {
  /** Before relabelling in Prometheus. Here only what came of it is known: these are put together from that. */
  readonly discoveredLabels: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly scrapePool: string;
  readonly scrapeUrl: string;
  readonly globalUrl: string;
  readonly lastError: string;
  readonly lastScrape: string;
  /** In seconds. */
  readonly lastScrapeDuration: number;
  readonly health: Health;
  readonly scrapeInterval: string;
  readonly scrapeTimeout: string;
  readonly heliograph: Facts;
}

export type ShownTarget = Pick<Target, "id" | "intervalMs" | "job" | "labels" | "timeoutMs" | "url">;

export type LastSeen = Pick<TargetAnswer<unknown>, "lastError" | "lastScrape" | "lastScrapeDuration" | "health">;

export function activeTargetOf<Facts>(target: ShownTarget, last: LastSeen, facts: Facts): TargetAnswer<Facts> {
  const { lastError, lastScrape, lastScrapeDuration, health } = last;
  return {
    discoveredLabels: discoveredLabels(target),
    labels: labelsRecord(target.labels),
    scrapePool: target.job,
    scrapeUrl: target.url,
    globalUrl: target.url,
    lastError,
    lastScrape,
    lastScrapeDuration,
    health,
    scrapeInterval: durationText(target.intervalMs),
    scrapeTimeout: durationText(target.timeoutMs),
    heliograph: facts,
  };
}

export function errorText(errorType: "bad_data" | "not_found" | "unavailable", error: string): string {
  return JSON.stringify({ status: "error", errorType, error });
}

/** As in Prometheus, a state that is none of these asks for nothing. */
export function asksFor(state: string): { readonly active: boolean; readonly dropped: boolean } {
  const asked = state.toLowerCase();
  const any = asked === "" || asked === "any";
  return { active: any || asked === "active", dropped: any || asked === "dropped" };
}

/** Labels that both have with the same value. */
export function sharedLabels(common: Labels, labels: Labels): Labels {
  if (common.every(([name, value]) => labelValue(labels, name) === value)) return common;
  return common.filter(([name, value]) => labelValue(labels, name) === value);
}

function discoveredLabels(target: ShownTarget): Record<string, string> {
  const labels: Record<string, string> = {
    __scrape_interval__: durationText(target.intervalMs),
    __scrape_timeout__: durationText(target.timeoutMs),
    job: target.job,
  };
  const [, scheme, address, path] = /^([a-z]+):\/\/([^/?#]*)([^?#]*)/i.exec(target.url) ?? [];
  if (scheme === undefined) return labels;
  labels.__scheme__ = scheme;
  labels.__address__ = address!;
  labels.__metrics_path__ = path!;
  const queryAt = target.url.indexOf("?");
  if (queryAt < 0) return labels;
  for (const [name, value] of new URLSearchParams(target.url.slice(queryAt + 1))) labels[`__param_${name}`] ??= value;
  return labels;
}

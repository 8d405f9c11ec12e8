// From an address and labels to a target, by Prometheus' rules (scrape/target.go, PopulateLabels, version 2): what relabelling
// makes of them, what `__` labels say, which port a scheme has, what `instance` is, and which URL comes of it.

import { durationText } from "#/lib/model/duration.ts";
import { compareText, type Labels, labelsOf } from "#/lib/model/labels.ts";
import { type LabelMap, labelNamePattern, metricRelabelOf, Relabelling } from "#/lib/model/relabel.ts";
import { type ScrapeOptions, type Target, targetId } from "#/lib/model/target.ts";
import { splitHostPort, targetAddressFault } from "#/topology/address.ts";
import { httpOf } from "#/topology/http.ts";
import { showValue } from "#/topology/problem.ts";
import { rulesOf } from "#/topology/relabel.ts";
import {
  type Datacenter,
  durationMs,
  isDuration,
  type ScrapeConfig,
  scrapeIntervalMsMin,
  sizeBytes,
  type Topology,
} from "#/topology/schema.ts";

/** Targets that share labels, as static_configs and the files have them. */
export interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** What all targets of a scrape config share. */
export interface Job {
  readonly name: string;
  readonly config: ScrapeConfig;
  readonly interval: string;
  readonly timeout: string;
  readonly options: ScrapeOptions;
  readonly relabelling: Relabelling;
  /** Added where a target has none of that name. */
  readonly datacenterLabels: Labels;
  /** The data centre's and region's labels: no target may say otherwise. */
  readonly placeLabels: Labels;
}

/** A target that cannot be, and why. */
export interface RefusedTarget {
  readonly address: string;
  readonly message: string;
}

/** What the groups of one source come to. */
export interface FoundTargets {
  readonly targets: readonly Target[];
  /** The first ones. */
  readonly refused: readonly RefusedTarget[];
  readonly refusedCount: number;
  /** How many `relabel_configs` left out. */
  readonly dropped: number;
}

export const foundNothing: FoundTargets = { targets: [], refused: [], refusedCount: 0, dropped: 0 };

/** Of the targets refused in one source this many are shown; a list of garbage has a million. */
const refusedShownMax = 20;

/** … and this many are logged. */
export const refusedLoggedMax = 3;

/** What is longer is no address, and is not shown whole. */
const addressShownMax = 200;

/** Longer ones are mistakes, and would be carried with every generation. */
const labelBytesMax = 4096;
const labelsMax = 64;

export function jobOf(topology: Topology, datacenter: Datacenter, config: ScrapeConfig): Job {
  const defaults = topology.scrape_defaults;
  const interval = config.scrape_interval ?? defaults.scrape_interval;
  const http = httpOf(config);
  const metricRules = rulesOf(config.metric_relabel_configs);
  const placeNames = [topology.label_names.datacenter, topology.label_names.region];
  // As in Prometheus: the default timeout yields to a shorter interval; one of the job's own was checked against it.
  const tooLong = durationMs(defaults.scrape_timeout) > durationMs(interval);
  return {
    name: config.job_name,
    config,
    interval,
    timeout: config.scrape_timeout ?? (tooLong ? interval : defaults.scrape_timeout),
    options: {
      honorLabels: config.honor_labels,
      honorTimestamps: config.honor_timestamps,
      sampleLimit: config.sample_limit,
      labelLimit: config.label_limit,
      labelNameLengthLimit: config.label_name_length_limit,
      labelValueLengthLimit: config.label_value_length_limit,
      bodyBytesMax: sizeBytes(config.body_size_limit),
      ...(config.cardinality_limit > 0 && { cardinalityLimit: config.cardinality_limit }),
      ...(metricRules.length > 0 && { metricRelabel: metricRelabelOf(metricRules, placeNames.toSorted(compareText)) }),
      ...(http && { http }),
    },
    relabelling: new Relabelling(rulesOf(config.relabel_configs)),
    datacenterLabels: labelsOf(datacenter.labels),
    placeLabels: [
      [topology.label_names.datacenter, datacenter.name],
      [topology.label_names.region, datacenter.region],
    ],
  };
}

/** Ends early once there are more than `targetsMax`. */
export function targetsOf(
  job: Job,
  groups: readonly TargetGroup[],
  targetsMax: number = Number.POSITIVE_INFINITY,
): FoundTargets {
  const targets: Target[] = [];
  const refused: RefusedTarget[] = [];
  let refusedCount = 0;
  let dropped = 0;
  for (const group of groups) {
    for (const address of group.targets) {
      const made = targetOf(job, address, group.labels);
      if (made === undefined) dropped += 1;
      else if (typeof made !== "string") targets.push(made);
      else if (++refusedCount <= refusedShownMax) refused.push({ address: shortened(address), message: made });
      if (targets.length > targetsMax) return { targets, refused, refusedCount, dropped };
    }
  }
  return { targets, refused, refusedCount, dropped };
}

function shortened(address: string): string {
  return address.length > addressShownMax ? `${address.slice(0, addressShownMax - 1)}…` : address;
}

/** The target, or why there is none; undefined when its relabelling drops it. */
export function targetOf(
  job: Job,
  address: string,
  givenLabels: Readonly<Record<string, string>>,
): Target | string | undefined {
  const labels = populated(job, address, givenLabels);
  if (job.relabelling.apply(labels) !== undefined) return undefined;
  const scheme = labels.get("__scheme__") ?? "http";
  if (scheme !== "http" && scheme !== "https") return `__scheme__: expected http or https, got ${showValue(scheme)}`;
  const given = labels.get("__address__") ?? "";
  const fault = targetAddressFault(given);
  if (fault) return `${fault}, got ${showValue(given)}`;
  const hasPort = splitHostPort(given)!.port !== undefined;
  const hostPort = hasPort ? given : `${given}:${scheme === "https" ? 443 : 80}`;
  const times = timesOf(labels);
  if (typeof times === "string") return times;
  const url = urlOf(job, `${scheme}://${hostPort}`, labels);
  if (!labels.has("instance")) labels.set("instance", hostPort);
  const visible = visibleLabels(job, labels);
  const labelFault = labelsFault(visible);
  if (labelFault) return labelFault;
  const identity = { job: job.name, url, labels: visible };
  return { id: targetId(identity), ...identity, ...times, options: job.options };
}

/** The target's own labels, and the job's where it has none, sorted; an empty value is none. */
function populated(job: Job, address: string, givenLabels: Readonly<Record<string, string>>): LabelMap {
  const labels = new Map<string, string>([
    ["job", job.name],
    ["__scrape_interval__", durationText(durationMs(job.interval))],
    ["__scrape_timeout__", durationText(durationMs(job.timeout))],
    ["__metrics_path__", job.config.metrics_path],
    ["__scheme__", job.config.scheme],
  ]);
  for (const [name, value] of Object.entries(givenLabels)) if (value !== "") labels.set(name, value);
  // As in Prometheus, a parameter of the job wins over the target's, and a rule sees the first of its values.
  for (const [name, [first]] of Object.entries(job.config.params)) {
    if (first === undefined) continue;
    labels.set(`__param_${name}`, first);
    if (first === "") labels.delete(`__param_${name}`);
  }
  if (address !== "") labels.set("__address__", address);
  return new Map(labelsOf(labels));
}

function timesOf(labels: ReadonlyMap<string, string>): { intervalMs: number; timeoutMs: number } | string {
  const interval = labels.get("__scrape_interval__") ?? "";
  const timeout = labels.get("__scrape_timeout__") ?? "";
  const badDuration = (value: string) => `expected a duration like 15s or 1m30s, got ${showValue(value)}`;
  if (!isDuration(interval)) return `__scrape_interval__: ${badDuration(interval)}`;
  if (!isDuration(timeout)) return `__scrape_timeout__: ${badDuration(timeout)}`;
  const intervalMs = durationMs(interval);
  const timeoutMs = durationMs(timeout);
  if (intervalMs < scrapeIntervalMsMin) return `__scrape_interval__: expected at least 1s, got ${showValue(interval)}`;
  if (timeoutMs === 0) return `__scrape_timeout__: expected more than 0, got ${showValue(timeout)}`;
  if (timeoutMs <= intervalMs) return { intervalMs, timeoutMs };
  return `__scrape_timeout__: expected at most the interval (${interval}), got ${showValue(timeout)}`;
}

function urlOf(job: Job, origin: string, labels: ReadonlyMap<string, string>): string {
  const params = new Map<string, readonly string[]>(Object.entries(job.config.params));
  for (const [label, value] of labels) {
    if (!label.startsWith("__param_")) continue;
    const name = label.slice("__param_".length);
    params.set(name, [value, ...(params.get(name) ?? []).slice(1)]);
  }
  const query = [...params]
    .sort(([a], [b]) => compareText(a, b))
    .flatMap(([name, values]) => values.map((value) => `${queryEscape(name)}=${queryEscape(value)}`))
    .join("&");
  const path = labels.get("__metrics_path__") ?? "";
  return `${origin}${path.startsWith("/") ? "" : "/"}${pathEscape(path)}${query ? `?${query}` : ""}`;
}

/** Go's url.QueryEscape: what Prometheus sends, so that the URL is the same to the byte. */
function queryEscape(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replace(/[!'()*]/g, percent)
    .replaceAll("%20", "+");
}

/** Go's escaping of url.URL.Path. */
function pathEscape(path: string): string {
  return encodeURI(path.toWellFormed()).replace(/[?#!'()*]/g, percent);
}

function percent(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** Without the `__` ones; with the data centre's. A label that claims another place stays as exported_…, as in Prometheus. */
function visibleLabels(job: Job, labels: ReadonlyMap<string, string>): Labels {
  const visible = new Map([...labels].filter(([name]) => !name.startsWith("__")));
  for (const [name, value] of job.datacenterLabels) if (!visible.has(name)) visible.set(name, value);
  for (const [name, value] of job.placeLabels) {
    const claimed = visible.get(name);
    if (claimed !== undefined && claimed !== value) visible.set(`exported_${name}`, claimed);
    visible.set(name, value);
  }
  return labelsOf(visible);
}

function labelsFault(labels: Labels): string | undefined {
  if (labels.length > labelsMax) return `expected at most ${labelsMax} labels, got ${labels.length}`;
  for (const [name, value] of labels) {
    if (!labelNamePattern.test(name))
      return `expected a label name of letters, digits and underscores, got ${showValue(name)}`;
    const bytes = Buffer.byteLength(name) + Buffer.byteLength(value);
    if (bytes > labelBytesMax) return `label ${showValue(name)}: expected at most ${labelBytesMax} bytes, got ${bytes}`;
    if (!value.isWellFormed()) return `label ${showValue(name)}: expected valid Unicode, got ${showValue(value)}`;
  }
  return undefined;
}

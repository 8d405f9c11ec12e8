// What Prometheus knows in these places and Heliograph does not, yet or ever. It is refused by name: somebody meant it, and to
// ignore a password or a proxy would scrape the wrong thing, or nothing, without a word.

import type { Path } from "#/topology/problem.ts";

/** Keys of Prometheus' `scrape_config` (version 3.5) beyond ours, each with what to do instead. */
const scrapeConfigKeys: Readonly<Record<string, string>> = {
  oauth2:
    "OAuth 2 is not supported yet; use authorization.credentials_file, and let something else renew the token in it",
  scrape_protocols: "the text format 0.0.4 and OpenMetrics 1.0 are asked for, in Prometheus' order; leave it out",
  fallback_scrape_protocol: "a target without a Content-Type is read as text format 0.0.4; leave it out",
  target_limit: "a limit of targets a job is not supported; secondaries' capacity bounds them",
  keep_dropped_targets: "dropped targets are counted in heliograph_primary_dropped_targets, and not kept; leave it out",
  track_timestamps_staleness: "staleness of samples with timestamps of their own is not tracked; leave it out",
  scrape_failure_log_file: "failures are on the secondary's /targets page; leave it out",
  extra_scrape_metrics: "what a scrape reports is fixed; leave it out",
  metric_name_validation_scheme: "names of metrics are as in the text format; leave it out",
  metric_name_escaping_scheme: "names of metrics are as in the text format; leave it out",
  scrape_native_histograms: "native histograms are not supported yet",
  always_scrape_classic_histograms: "native histograms are not supported yet",
  scrape_classic_histograms: "native histograms are not supported yet",
  convert_classic_histograms_to_nhcb: "native histograms are not supported yet",
  native_histogram_bucket_limit: "native histograms are not supported yet",
  native_histogram_min_bucket_factor: "native histograms are not supported yet",
};

/** Keys at the top of a prometheus.yml. */
const topLevelKeys: Readonly<Record<string, string>> = {
  rule_files: "rules are not part of the topology file",
  alerting: "alerting is not part of the topology file",
  remote_write: "remote write is not supported: secondaries push to their data centre's primaries",
  remote_read: "remote read is not supported: the globals answer queries",
  scrape_config_files: "write the scrape_configs here, and lists of targets into files that file_sd_configs name",
  storage: "storage is set by retention and head_retention",
  tracing: "tracing is not supported",
  otlp: "OTLP is not supported",
  runtime: "runtime settings are not supported",
};

/** Keys of a prometheus.yml's `global`. */
const globalKeys: Readonly<Record<string, string>> = {
  scrape_interval: "here `global` is the global tier; set scrape_defaults.scrape_interval",
  scrape_timeout: "here `global` is the global tier; set scrape_defaults.scrape_timeout",
  evaluation_interval: "here `global` is the global tier; rules are not part of the topology file",
  external_labels: "here `global` is the global tier; set the labels of each data centre",
};

/** Why this key of the mapping at `path` is refused; undefined when it is merely unknown. */
export function unsupportedBecause(path: Path, key: string): string | undefined {
  if (path.length === 0) return own(topLevelKeys, key);
  if (path.length === 1 && path[0] === "global") return own(globalKeys, key);
  if (path.at(-2) !== "scrape_configs") return undefined;
  if (/^\w+_sd_configs$/.test(key)) return "service discovery of this kind is not supported; use file_sd_configs";
  return own(scrapeConfigKeys, key);
}

function own(table: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

// What must hold between the parts of a topology whose shape is right. Errors would make the federation lie or fall over;
// warnings are what somebody may have decided, and should know.

import { KiB, MiB, minuteMs } from "#/lib/bytes/units.ts";
import { batchBytesMax } from "#/lib/codec/limits.ts";
import { targetAddressFault } from "#/topology/address.ts";
import { checkHttp } from "#/topology/credential.ts";
import { checkNetwork } from "#/topology/network.ts";
import { countOf, type Finding, formatPath, type Path, showValue } from "#/topology/problem.ts";
import { checkRelabelConfigs } from "#/topology/relabel.ts";
import {
  type Datacenter,
  durationMs,
  type ScrapeConfig,
  scrapeIntervalMsMin,
  sizeBytes,
  type Topology,
} from "#/topology/schema.ts";

/** The hub's own (nats.ts). */
const hubDomain = "hub";

/** Instant queries look back 5 minutes; with less than twice that in memory even a dashboard's newest point goes to disk. */
const headRetentionMsMin = 10 * minuteMs;

export function checkTopology(topology: Topology): readonly Finding[] {
  return [
    ...checkNames(topology),
    ...checkLabelNames(topology),
    ...checkTimes(topology),
    ...checkNetwork(topology),
    ...checkScrapeConfigs(topology, topology.scrape_configs, ["scrape_configs"]),
    ...topology.datacenters.flatMap((datacenter, index) => checkDatacenter(topology, datacenter, index)),
    ...pairOfOne(topology.global.pair, ["global", "pair"], "the global tier"),
  ];
}

function error(path: Path, message: string, atKey = false): Finding {
  return { severity: "error", path, message, atKey };
}

function warning(path: Path, message: string): Finding {
  return { severity: "warning", path, message };
}

/** A process' name is in subjects, file names and leases, and `--name` finds it: no two of any tiers may share one. */
function checkNames(topology: Topology): Finding[] {
  const processes = [
    ...topology.global.pair.map(({ name }, index) => ({ name, path: ["global", "pair", index, "name"] })),
    ...topology.datacenters.flatMap((datacenter, d) => [
      ...datacenter.primaries.map(({ name }, index) => ({
        name,
        path: ["datacenters", d, "primaries", index, "name"],
      })),
      ...datacenter.secondaries.map(({ name }, index) => ({
        name,
        path: ["datacenters", d, "secondaries", index, "name"],
      })),
    ]),
  ];
  const datacenters = topology.datacenters.map(({ name }, d) => ({ name, path: ["datacenters", d, "name"] }));
  const domains = [
    { name: hubDomain, path: ["global", "nats"] },
    ...topology.datacenters.map(({ name, nats }, d) => ({
      name: nats.domain ?? name,
      path: ["datacenters", d, ...(nats.domain ? ["nats", "domain"] : ["name"])],
    })),
  ];
  const repeatedDatacenters = repeated(datacenters, "a data centre's name, unique in the federation");
  // A data centre's name is its domain's too, unless it has one: that fault is told once.
  const told = new Set(repeatedDatacenters.map(({ path }) => formatPath(path)));
  return [
    ...repeated(processes, "a process' name, unique over all tiers"),
    ...repeatedDatacenters,
    ...repeated(domains, "a JetStream domain of its own").filter(({ path }) => !told.has(formatPath(path))),
  ];
}

function repeated(named: readonly { name: string; path: Path }[], expected: string): Finding[] {
  const first = new Map<string, Path>();
  return named.flatMap(({ name, path }) => {
    const before = first.get(name);
    if (!before) {
      first.set(name, path);
      return [];
    }
    return [error(path, `expected ${expected}, got ${showValue(name)}, which ${formatPath(before)} has too`)];
  });
}

/** Labels that every scrape sets itself. */
const scrapeLabels = ["job", "instance"];

function checkLabelNames(topology: Topology): Finding[] {
  const { datacenter, region } = topology.label_names;
  const findings: Finding[] = [];
  for (const [key, label] of Object.entries(topology.label_names)) {
    const path = ["label_names", key];
    if (label.startsWith("__")) findings.push(error(path, reservedLabel(label)));
    else if (scrapeLabels.includes(label)) {
      findings.push(error(path, `expected a label of its own, got ${showValue(label)}, which every scrape sets`));
    }
  }
  if (datacenter === region) {
    findings.push(error(["label_names", "region"], `expected two different labels, got ${showValue(region)} for both`));
  }
  return findings;
}

function reservedLabel(label: string): string {
  return `expected a label that does not begin with __ (those are reserved), got ${showValue(label)}`;
}

function checkTimes(topology: Topology): Finding[] {
  const findings: Finding[] = [];
  const { scrape_interval, scrape_timeout } = topology.scrape_defaults;
  findings.push(...checkInterval(scrape_interval, ["scrape_defaults", "scrape_interval"]));
  findings.push(...checkTimeout(scrape_timeout, scrape_interval, ["scrape_defaults", "scrape_timeout"]));

  findings.push(...checkHold(topology.scrape_defaults.discovery_hold, ["scrape_defaults", "discovery_hold"]));

  const levels = ["raw", "1m", "1h"] as const;
  for (const [index, level] of levels.entries()) {
    const finer = levels[index - 1];
    const kept = topology.retention[level];
    if (durationMs(kept) === 0)
      findings.push(error(["retention", level], `expected more than 0, got ${showValue(kept)}`));
    else if (finer && durationMs(kept) <= durationMs(topology.retention[finer])) {
      const message = `expected longer than ${finer} (${topology.retention[finer]}), got ${showValue(kept)}`;
      findings.push(error(["retention", level], message));
    }
  }

  findings.push(...checkHeadRetention(topology, topology.head_retention, ["head_retention"]));
  for (const [index, { head_retention }] of topology.datacenters.entries()) {
    if (head_retention === undefined) continue;
    findings.push(...checkHeadRetention(topology, head_retention, ["datacenters", index, "head_retention"]));
  }
  return findings;
}

function checkHeadRetention(topology: Topology, head: string, path: Path): Finding[] {
  const { raw } = topology.retention;
  if (durationMs(head) > durationMs(raw)) {
    return [error(path, `expected at most retention.raw (${raw}), got ${showValue(head)}`)];
  }
  if (durationMs(head) >= headRetentionMsMin) return [];
  return [error(path, `expected at least 10m, because queries look back 5 minutes, got ${showValue(head)}`)];
}

function checkInterval(interval: string, path: Path): Finding[] {
  if (durationMs(interval) >= scrapeIntervalMsMin) return [];
  return [error(path, `expected at least 1s, got ${showValue(interval)}`)];
}

function checkHold(hold: string, path: Path): Finding[] {
  if (durationMs(hold) > 0) return [];
  return [error(path, `expected more than 0, got ${showValue(hold)}; discovery_loss_max: 1 is never to hold`)];
}

function checkTimeout(timeout: string, interval: string, path: Path): Finding[] {
  if (durationMs(timeout) === 0) return [error(path, `expected more than 0, got ${showValue(timeout)}`)];
  if (durationMs(timeout) <= durationMs(interval)) return [];
  return [error(path, `expected at most the scrape_interval (${interval}), got ${showValue(timeout)}`)];
}

function checkDatacenter(topology: Topology, datacenter: Datacenter, index: number): Finding[] {
  const path = ["datacenters", index];
  return [
    ...checkDatacenterLabels(topology, datacenter, [...path, "labels"]),
    ...pairOfOne(datacenter.primaries, [...path, "primaries"], `data centre ${datacenter.name}`),
    ...checkCapacity(topology, datacenter, path),
    ...checkJobNames(topology, datacenter, path),
    ...checkScrapeConfigs(topology, datacenter.scrape_configs, [...path, "scrape_configs"]),
    ...checkLog(datacenter, [...path, "nats"]),
    ...checkSpools(datacenter.secondaries, [...path, "secondaries"]),
  ];
}

function checkDatacenterLabels(topology: Topology, datacenter: Datacenter, path: Path): Finding[] {
  const own: readonly string[] = Object.values(topology.label_names);
  return Object.keys(datacenter.labels).flatMap((label) => {
    const at = [...path, label];
    if (label.startsWith("__")) return [error(at, reservedLabel(label), true)];
    if (own.includes(label)) {
      return [
        error(at, `${label} is set from the data centre's name or region (label_names); leave it out here`, true),
      ];
    }
    if (scrapeLabels.includes(label)) return [error(at, `${label} is set by every scrape; choose another label`, true)];
    return [];
  });
}

function pairOfOne(pair: readonly unknown[], path: Path, where: string): Finding[] {
  if (pair.length > 1) return [];
  return [warning(path, `a pair of one: while it is away, ${where} has nobody to take over`)];
}

/** Targets of file_sd come and go, so only the static ones can be counted here. */
function checkCapacity(topology: Topology, datacenter: Datacenter, path: Path): Finding[] {
  const configs = [...topology.scrape_configs, ...datacenter.scrape_configs];
  const targets = configs
    .flatMap((config) => config.static_configs)
    .reduce((sum, group) => sum + group.targets.length, 0);
  const capacities = datacenter.secondaries.map(({ capacity }) => capacity);
  const capacity = capacities.reduce((sum, each) => sum + each, 0);
  if (targets > datacenter.targets_max) {
    const counted = `at most ${datacenter.targets_max} targets in ${datacenter.name}`;
    return [error([...path, "targets_max"], `expected ${counted}, got ${countOf(targets, "static target")}`)];
  }
  const left = capacity - Math.max(...capacities);
  const at = [...path, "secondaries"];
  const counted = `${countOf(targets, "static target")} in ${datacenter.name}`;
  if (targets > capacity) {
    return [error(at, `expected room for ${counted}, got a capacity of ${capacity} in all; add a secondary`)];
  }
  if (datacenter.secondaries.length === 1) {
    return [warning(at, `one secondary alone: while it is away, nothing in ${datacenter.name} is scraped`)];
  }
  if (targets <= left) return [];
  return [warning(at, `${counted}, but room for only ${left} once the largest secondary is lost; add a secondary`)];
}

function checkJobNames(topology: Topology, datacenter: Datacenter, path: Path): Finding[] {
  if (topology.scrape_configs.length + datacenter.scrape_configs.length === 0) {
    return [warning(path, `${datacenter.name} has no scrape_configs: nothing is scraped there`)];
  }
  const jobs = [
    ...topology.scrape_configs.map((config, index) => ({ config, path: ["scrape_configs", index, "job_name"] })),
    ...datacenter.scrape_configs.map((config, index) => ({
      config,
      path: [...path, "scrape_configs", index, "job_name"],
    })),
  ];
  return repeated(
    jobs.map((job) => ({ name: job.config.job_name, path: job.path })),
    `a job name that is unique in ${datacenter.name}`,
  );
}

function checkLog(datacenter: Datacenter, path: Path): Finding[] {
  const { log_bytes_max, log_age_max, replicas, servers } = datacenter.nats;
  const findings: Finding[] = [];
  if (sizeBytes(log_bytes_max) === 0) {
    findings.push(error([...path, "log_bytes_max"], "expected a limit: a log without one fills the disk during a cut"));
  }
  if (durationMs(log_age_max) === 0) {
    findings.push(error([...path, "log_age_max"], `expected more than 0, got ${showValue(log_age_max)}`));
  }
  if (replicas === 3 && servers.length < 3) {
    const message = `3 copies of the log need three servers, and ${countOf(servers.length, "server")} is listed`;
    findings.push(warning([...path, "replicas"], message));
  }
  return findings;
}

/** A window of the largest batches: with less a spool could not keep what is on its way. */
const spoolBytesMin = 16 * batchBytesMax;

/** Less than a secondary's live rate: a backlog would never end. */
const backlogRateMin = 256 * KiB;

function checkSpools(secondaries: Datacenter["secondaries"], path: Path): Finding[] {
  return secondaries.flatMap(({ backlog_rate_max, spool_age_max, spool_bytes_max }, index) => {
    const at = [...path, index];
    const findings: Finding[] = [];
    if (sizeBytes(spool_bytes_max) < spoolBytesMin) {
      const expected = `expected at least ${spoolBytesMin / MiB}MiB, a window of batches`;
      findings.push(error([...at, "spool_bytes_max"], `${expected}, got ${showValue(spool_bytes_max)}`));
    }
    if (sizeBytes(backlog_rate_max) < backlogRateMin) {
      const expected = "expected at least 256KiB a second, more than what is scraped meanwhile";
      findings.push(error([...at, "backlog_rate_max"], `${expected}, got ${showValue(backlog_rate_max)}`));
    }
    if (durationMs(spool_age_max) < minuteMs) {
      const message = `expected at least 1m, which a failover may take, got ${showValue(spool_age_max)}`;
      findings.push(error([...at, "spool_age_max"], message));
    }
    return findings;
  });
}

function checkScrapeConfigs(topology: Topology, configs: readonly ScrapeConfig[], path: Path): Finding[] {
  return configs.flatMap((config, index) => {
    const at = [...path, index];
    const interval = config.scrape_interval ?? topology.scrape_defaults.scrape_interval;
    const findings: Finding[] = [];
    if (config.scrape_interval !== undefined) findings.push(...checkInterval(interval, [...at, "scrape_interval"]));
    if (config.discovery_hold !== undefined)
      findings.push(...checkHold(config.discovery_hold, [...at, "discovery_hold"]));
    if (config.scrape_timeout !== undefined) {
      findings.push(...checkTimeout(config.scrape_timeout, interval, [...at, "scrape_timeout"]));
    }
    if (config.static_configs.length + config.file_sd_configs.length === 0) {
      findings.push(
        warning(at, `${config.job_name} has neither static_configs nor file_sd_configs: it has no targets`),
      );
    }
    const placeLabels = Object.values(topology.label_names);
    return [
      ...findings,
      ...checkHttp(config, at),
      ...checkRelabelConfigs(config.relabel_configs, placeLabels, [...at, "relabel_configs"]),
      ...checkRelabelConfigs(config.metric_relabel_configs, placeLabels, [...at, "metric_relabel_configs"]),
      ...checkStaticTargets(topology, config, at),
      ...checkFileGlobs(config, at),
    ];
  });
}

function checkStaticTargets(topology: Topology, config: ScrapeConfig, path: Path): Finding[] {
  const findings: Finding[] = [];
  const own: readonly string[] = Object.values(topology.label_names);
  const seen = new Map<string, Path>();
  for (const [g, group] of config.static_configs.entries()) {
    const groupPath = [...path, "static_configs", g];
    for (const label of Object.keys(group.labels)) {
      const at = [...groupPath, "labels", label];
      if (!/^[a-zA-Z_]\w*$/.test(label)) {
        findings.push(
          error(at, `expected a label name of letters, digits and underscores, got ${showValue(label)}`, true),
        );
      } else if (own.includes(label)) {
        findings.push(error(at, `${label} is set from the data centre's name or region (label_names)`, true));
      }
    }
    const labels = JSON.stringify(Object.entries(group.labels).sort());
    for (const [t, target] of group.targets.entries()) {
      const at = [...groupPath, "targets", t];
      const fault = targetAddressFault(target);
      if (fault) findings.push(error(at, `${fault}, got ${showValue(target)}`));
      const key = `${target} ${labels}`;
      const before = seen.get(key);
      if (before) findings.push(warning(at, `${target} stands twice with the same labels (${formatPath(before)})`));
      else seen.set(key, at);
    }
  }
  return findings;
}

function checkFileGlobs(config: ScrapeConfig, path: Path): Finding[] {
  return config.file_sd_configs.flatMap((source, s) => [
    ...checkInterval(source.refresh_interval, [...path, "file_sd_configs", s, "refresh_interval"]),
    ...source.files.flatMap((file, f) => {
      const at = [...path, "file_sd_configs", s, "files", f];
      const slash = file.lastIndexOf("/");
      if (file.slice(0, slash + 1).includes("*") || file.slice(slash + 1).split("*").length > 2) {
        return [error(at, `expected at most one *, and that in the last part, got ${showValue(file)}`)];
      }
      return [];
    }),
  ]);
}

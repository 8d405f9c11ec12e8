// The topology file, version 1: its shape, and the defaults. What must hold between its parts is in check.ts.
//
// Keys are snake_case. `scrape_configs` have Prometheus' own shape, and what Prometheus knows but Heliograph does not yet is
// refused by name instead of being ignored.

import { z } from "zod";
import { generationTargetsMax } from "#/lib/codec/limits.ts";
import { durationUnitsMs } from "#/lib/model/duration.ts";
import { labelNamePattern, relabelActions, relabelDefaults } from "#/lib/model/relabel.ts";
import { httpShape } from "#/topology/http.ts";

export const formatVersion = 1;

/** A name that becomes part of NATS subjects, file names and label values. */
const name = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, "a name of 1 to 40 lower-case letters, digits and inner hyphens");

const labelName = z
  .string()
  .regex(labelNamePattern, "a label name of letters, digits and underscores that does not begin with a digit");
const labels = z.record(labelName, z.string());

/** `15s`, `1m30s`, `7d`, as in Prometheus. */
const durationPattern = /^(?=.)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$/;
const duration = z.string().regex(durationPattern, "a duration like 15s, 1m30s or 7d");

/** `10MB` or `10MiB`, as in Prometheus, where both mean powers of 1024; 0 means no limit. */
const sizeText = "a size like 512KB, 10MB or 1GiB, or 0 for no limit";
const byteSize = z.union([z.literal(0), z.string().regex(/^\d+(\.\d+)?([KMGTPE]i?)?B$/, sizeText)], {
  error: sizeText,
});

/** `host:port`, `[v6]:port`. */
const hostPort = z
  .string()
  .regex(
    /^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):\d{1,5}$/,
    "an address like 10.0.0.1:9470, host.example:9470 or [::1]:9470",
  );

const tls = z
  .strictObject({
    ca_file: z.string().describe("Certificates of the authorities that peers must be signed by (PEM)."),
    cert_file: z.string().describe("This tier's certificate chain (PEM)."),
    key_file: z.string().describe("The certificate's private key (PEM)."),
  })
  .describe("TLS files of a tier; `{name}` in a path stands for the process' name.");

const listener = z.strictObject({
  listen: hostPort.describe("Where to listen. Loopback unless you say otherwise."),
  address: hostPort.optional().describe("Where others reach it, when that is not the listening address."),
});

const natsServers = z
  .array(
    z
      .string()
      .regex(/^(nats|tls):\/\/[^\s]+:\d{1,5}$/, "a NATS server like nats://127.0.0.1:4222 or tls://nats.example:4222"),
  )
  .min(1);

const replicas = z.union([z.literal(1), z.literal(3)], { error: "1 or 3" }).default(1);

const lossShare = z.number().min(0).max(1);

const staticConfig = z.strictObject({
  targets: z.array(z.string().min(1)).describe("host:port of each target."),
  labels: z.record(z.string().min(1), z.string()).default({}).describe("Added to each of these targets."),
});

const fileSdConfig = z.strictObject({
  files: z
    .array(
      z
        .string()
        .regex(/\.(ya?ml|json)$/, "a file name that ends in .yml, .yaml or .json, whose last part may hold one *"),
    )
    .min(1)
    .describe("Relative paths start at this file's directory; the last part may hold one `*`."),
  refresh_interval: duration
    .default("5m")
    .describe("Read again this often, beside at once when the directory changes."),
});

const actionText = `one of ${relabelActions.join(", ")}`;

const relabelConfig = z.strictObject({
  source_labels: z.array(labelName).default([]).describe("Their values, joined by the separator, are what is matched."),
  separator: z.string().default(relabelDefaults.separator).describe("Stands between the values of source_labels."),
  regex: z
    .string()
    .default(relabelDefaults.regex)
    .describe(
      "RE2 syntax; it must match the whole value (of labelmap, labeldrop and labelkeep: the whole label name).",
    ),
  modulus: z.int().min(0).default(0).describe("Of hashmod: the hash of the value is taken modulo this."),
  target_label: z.string().default("").describe("The label that is written; of replace it may hold $1 and the like."),
  replacement: z
    .string()
    .default(relabelDefaults.replacement)
    .describe("What is written; $1 and the like stand for what the regex's groups matched."),
  action: z
    .union([z.enum(relabelActions), z.string().regex(new RegExp(`^(${relabelActions.join("|")})$`, "i"), actionText)], {
      error: actionText,
    })
    .default(relabelDefaults.action)
    .describe("What the rule does."),
});

export const scrapeConfig = z.strictObject({
  job_name: z.string().min(1).describe("The targets' `job` label; unique in a data centre."),
  scrape_interval: duration.optional().describe("How often; `scrape_defaults` says it when it is left out."),
  scrape_timeout: duration.optional().describe("How long one scrape may take; at most the interval."),
  metrics_path: z
    .string()
    .startsWith("/", "a path that begins with /")
    .default("/metrics")
    .describe("The path that is fetched."),
  scheme: z.enum(["http", "https"]).default("http").describe("The protocol that is spoken."),
  params: z.record(z.string(), z.array(z.string())).default({}).describe("Parameters of the query string."),
  ...httpShape,
  honor_labels: z
    .boolean()
    .default(false)
    .describe("Keep a sample's own labels where they clash with the target's, instead of renaming them to exported_…."),
  honor_timestamps: z.boolean().default(true).describe("Keep timestamps that the target sends."),
  sample_limit: z.int().min(0).default(0).describe("A scrape with more samples fails; 0 means no limit."),
  cardinality_limit: z
    .int()
    .min(0)
    .default(0)
    .describe("A target keeps at most so many series, and new ones beyond it are refused; 0 means 100,000, the most."),
  label_limit: z.int().min(0).default(0).describe("A scrape with a series of more labels fails; 0 means no limit."),
  label_name_length_limit: z
    .int()
    .min(0)
    .default(0)
    .describe("A scrape with a longer label name fails; 0 means no limit."),
  label_value_length_limit: z
    .int()
    .min(0)
    .default(0)
    .describe("A scrape with a longer label value fails; 0 means no limit."),
  body_size_limit: byteSize
    .default("64MiB")
    .describe("A scrape with a larger body (uncompressed) fails; 0 means no limit."),
  relabel_configs: z
    .array(relabelConfig)
    .default([])
    .describe("Rules that each target's labels pass through before it is scraped; they may drop it."),
  metric_relabel_configs: z
    .array(relabelConfig)
    .default([])
    .describe("Rules that each scraped series' labels pass through before it is stored; they may drop it."),
  priority: z
    .int()
    .min(-1000)
    .max(1000)
    .default(0)
    .describe("Where room runs out, targets of a lower priority are left out first."),
  discovery_loss_max: lossShare.optional().describe("`scrape_defaults` says it when it is left out."),
  discovery_hold: duration.optional().describe("`scrape_defaults` says it when it is left out."),
  static_configs: z.array(staticConfig).default([]).describe("Targets that are written here."),
  file_sd_configs: z.array(fileSdConfig).default([]).describe("Targets that are written in files, which are watched."),
});

const processName = name.describe("Unique over all tiers; `--name` says it at the start.");

const primary = z.strictObject({
  name: processName,
  http: listener.describe("Queries, health and /metrics."),
  grpc: listener.describe("Secondaries push here."),
});

/** A run of batches holds 16 M rows, and the guard lets through half as much again as the limit where targets are few. */
const secondarySeriesMax = 10_000_000;
/** One target may have so many. */
const targetSeriesMax = 100_000;

/** 40,000 targets in one process; its main thread has the spool and the wire to do alone. */
const secondaryThreadsMax = 8;

const secondary = z.strictObject({
  name: processName,
  capacity: z.int().min(1).default(5000).describe("Targets that it may own."),
  cardinality_limit: z
    .int()
    .min(targetSeriesMax)
    .max(secondarySeriesMax)
    .default(6_000_000)
    .describe("All its targets keep at most so many series together, and new ones beyond it are refused."),
  threads: z
    .int()
    .min(1)
    .max(secondaryThreadsMax)
    .default(1)
    .describe("Threads that scrape, at most one a core. More than 1 when one core is not enough for its targets."),
  spool_bytes_max: byteSize
    .default("24GiB")
    .describe("Room on its disk for batches that not every global has yet; then the oldest are dropped."),
  backlog_rate_max: byteSize
    .default("8MiB")
    .describe("A second: what it sends of a backlog at most, behind what is scraped meanwhile."),
  spool_age_max: duration.default("48h").describe("Batches that not every global has are dropped when they are older."),
  http: listener.describe("Its /targets page, health and /metrics."),
});

const retention = z.strictObject({
  raw: duration.default("7d").describe("Samples as they were scraped."),
  "1m": duration.default("30d").describe("Rollups of one minute."),
  "1h": duration.default("1y").describe("Rollups of one hour."),
});

const datacenter = z.strictObject({
  name: name.describe("The data centre label of everything scraped here."),
  region: z.string().min(1).describe("The region label of everything scraped here."),
  labels: labels.default({}).describe("Added to every target of this data centre."),
  nats: z
    .strictObject({
      servers: natsServers.describe("Where the primaries reach them."),
      domain: name.optional().describe("JetStream domain; the data centre's name when it is left out."),
      user: z.string().default("heliograph").describe("The primaries' user at these servers."),
      password_file: z
        .string()
        .optional()
        .describe("Password of this data centre's primaries at its own NATS servers."),
      leaf_password_file: z.string().optional().describe("Password of this data centre's NATS servers at the hub."),
      log_bytes_max: byteSize.default("10GiB").describe("Room for the longest cut to ride out."),
      log_age_max: duration.default("3d").describe("How long the log keeps what it holds."),
      replicas: replicas.describe("Copies of the log: 1, or 3 on three servers."),
    })
    .describe("The NATS servers that hold this data centre's log."),
  primaries: z.array(primary).min(1).max(2).describe("A failover pair, or one alone."),
  secondaries: z.array(secondary).min(1).describe("They scrape."),
  targets_max: z
    .int()
    .min(1)
    .max(generationTargetsMax)
    .default(200_000)
    .describe("A list that would bring more targets than this is refused as a whole."),
  head_retention: duration
    .optional()
    .describe("How long samples stay in memory here; the top-level value when it is left out."),
  scrape_configs: z.array(scrapeConfig).default([]).describe("Scraped in this data centre alone."),
});

const global = z.strictObject({
  nats: z
    .strictObject({
      servers: natsServers.describe("Where the globals reach the hub."),
      leaf_servers: z
        .array(
          z
            .string()
            .regex(
              /^(nats-leaf|nats|tls):\/\/[^\s]+:\d{1,5}$/,
              "a leaf address like nats-leaf://127.0.0.1:7422 or tls://hub.example:7422",
            ),
        )
        .min(1)
        .describe("Where data centres' NATS servers join the hub."),
      password_file: z.string().optional().describe("Password of the globals at the hub."),
      replicas: replicas.describe("Copies of each mirror: 1, or 3 on three servers."),
    })
    .describe("The hub: NATS servers that the data centres' logs are carried to."),
  pair: z
    .array(z.strictObject({ name: processName, http: listener.describe("Queries, pages, health and /metrics.") }))
    .min(1)
    .max(2)
    .describe("A failover pair, or one alone."),
  archive: z
    .strictObject({
      url: z
        .string()
        .regex(/^(file|s3|memory):\/\//, "a URL that begins with file://, s3:// or memory://")
        .describe("Where closed days are kept."),
    })
    .optional()
    .describe("The cold archive; none is kept when it is left out."),
});

export const topologySchema = z
  .strictObject({
    format_version: z.literal(formatVersion).describe("The version of this file's format."),
    federation: name.describe("The name of the whole."),
    label_names: z
      .strictObject({
        datacenter: labelName.default("datacenter").describe("The label that carries the data centre's name."),
        region: labelName.default("region").describe("The label that carries its region."),
      })
      .default({ datacenter: "datacenter", region: "region" })
      .describe("What the labels are called that say where a series comes from."),
    tls: z
      .strictObject({ global: tls.optional(), primary: tls.optional(), secondary: tls.optional() })
      .default({})
      .describe("Certificates a tier; a tier that listens beyond loopback must have them."),
    retention: retention.default({ raw: "7d", "1m": "30d", "1h": "1y" }).describe("How long samples are kept."),
    head_retention: duration.default("2h").describe("How long samples stay in memory."),
    scrape_defaults: z
      .strictObject({
        scrape_interval: duration.default("15s").describe("How often targets are scraped."),
        scrape_timeout: duration.default("10s").describe("How long one scrape may take."),
        discovery_loss_max: lossShare
          .default(0.5)
          .describe("A list that loses a larger share of its targets at once keeps them for a while; 1 lets all go."),
        discovery_hold: duration
          .default("10m")
          .describe("How long it keeps them, unless `heliograph sources confirm` lets them go."),
      })
      .default({ scrape_interval: "15s", scrape_timeout: "10s", discovery_loss_max: 0.5, discovery_hold: "10m" })
      .describe("For scrape configs that do not say it themselves."),
    global: global.describe("The global tier and its hub."),
    datacenters: z.array(datacenter).min(1).describe("Each keeps itself, and is carried to the global tier."),
    scrape_configs: z.array(scrapeConfig).default([]).describe("Scraped in every data centre, beside its own."),
  })
  .describe("Heliograph topology, version 1.");

export type Topology = z.infer<typeof topologySchema>;
export type Datacenter = Topology["datacenters"][number];
export type Primary = Datacenter["primaries"][number];
export type Secondary = Datacenter["secondaries"][number];
export type Global = Topology["global"];
export type ScrapeConfig = z.infer<typeof scrapeConfig>;
export type RelabelConfig = z.infer<typeof relabelConfig>;
export type TlsFiles = z.infer<typeof tls>;
export type Listener = z.infer<typeof listener>;

/** Where others reach a listener. */
export function addressOf(listener: Listener): string {
  return listener.address ?? listener.listen;
}

/** Faster scrapes would need heartbeats and leases below a second. */
export const scrapeIntervalMsMin = 1000;

/** Whether it is a duration as the schema has them. */
export function isDuration(text: string): boolean {
  return durationPattern.test(text);
}

/** ms of a duration that the schema accepted. */
export function durationMs(text: string): number {
  let totalMs = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[ywdhms])/g)) {
    totalMs += Number(count) * durationUnitsMs[unit as keyof typeof durationUnitsMs];
  }
  return totalMs;
}

/** Bytes of a size that the schema accepted; 0 means no limit. */
export function sizeBytes(size: string | 0): number {
  if (size === 0) return 0;
  const [, count, unit] = /^(\d+(?:\.\d+)?)([KMGTPE]?)/.exec(size)!;
  return Math.floor(Number(count) * 1024 ** " KMGTPE".indexOf(unit || " "));
}

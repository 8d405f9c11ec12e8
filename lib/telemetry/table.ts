// Every metric that Heliograph tells of itself, in one table; docs/metrics.md is held against it by a test.
//
// Names are `heliograph_<tier>_<noun>_<unit>[_total]` in base units; what every tier has is `heliograph_<noun>…`.

import type { MetricDeclaration } from "#/lib/telemetry/metric.ts";
import { replicaMetrics, replicas } from "#/lib/telemetry/replicas.ts";

const everyTier = ["secondary", "primary", "global", "tool"] as const;

export const metricTable = {
  heliograph_build_info: {
    type: "gauge",
    tiers: everyTier,
    labels: ["version", "tier", "name"],
    help: "1, with the version that runs, its tier and its name in the topology file.",
  },
  heliograph_process_cpu_seconds_total: {
    type: "counter",
    tiers: everyTier,
    labels: [],
    help: "User and system CPU time of this process.",
  },
  heliograph_process_resident_memory_bytes: {
    type: "gauge",
    tiers: everyTier,
    labels: [],
    help: "Resident memory of this process.",
  },
  heliograph_process_start_time_seconds: {
    type: "gauge",
    tiers: everyTier,
    labels: [],
    help: "When this process started, in seconds since the Unix epoch.",
  },
  heliograph_event_loop_delay_seconds: {
    type: "gauge",
    tiers: everyTier,
    labels: [],
    help: "The longest time since the last exposition for which the main thread's event loop was not free.",
  },
  heliograph_event_loop_busy_seconds_total: {
    type: "counter",
    tiers: everyTier,
    labels: ["thread"],
    help: "Time for which a thread's event loop had something to do: at one second a second its core is the limit. A secondary with threads has main and shard-0 and so on.",
  },

  heliograph_secondary_targets: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Targets in this secondary's part of the generation.",
  },
  heliograph_secondary_scrapes_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: ["outcome"],
    help: "Slots that had an outcome here, by outcome.",
  },
  heliograph_secondary_scrapes_running: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Scrapes on their way at this moment.",
  },
  heliograph_secondary_make_ups_waiting: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Slots of targets just taken over that wait for their turn to be made up for.",
  },
  heliograph_secondary_away_targets: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Targets that were taken away within the last half minute and are still remembered.",
  },
  heliograph_secondary_schedule_ticks_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Times that the schedule woke to begin what was due.",
  },
  heliograph_secondary_schedule_lag_seconds: {
    type: "histogram",
    tiers: ["secondary"],
    labels: [],
    help: "How long after its slot a scrape began; those at once after a change of owner do not count.",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  },
  heliograph_secondary_late_scrapes_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Scrapes that began over 250 ms after their slot: this machine does not keep up.",
  },
  heliograph_secondary_fetch_bytes_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: ["direction"],
    help: "Bytes of HTTP sent to targets and received from them, heads included, as compressed, without what TLS adds.",
  },
  heliograph_secondary_fetch_body_bytes_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Bytes of the bodies that targets answered, decompressed.",
  },
  heliograph_secondary_fetch_requests_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: ["connection"],
    help: "Requests to targets, by whether their connection was opened for them or reused from a scrape before.",
  },
  heliograph_secondary_fetch_first_byte_seconds: {
    type: "histogram",
    tiers: ["secondary"],
    labels: [],
    help: "From the begin of a scrape to the first byte of an answer.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  heliograph_secondary_fetch_seconds: {
    type: "histogram",
    tiers: ["secondary"],
    labels: [],
    help: "From the begin of a scrape to its whole body, or to its failure.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  heliograph_secondary_name_lookups_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: ["result"],
    help: "Host names that the system's resolver was asked for, by result: found or failed.",
  },
  heliograph_secondary_name_lookup_seconds: {
    type: "histogram",
    tiers: ["secondary"],
    labels: [],
    help: "How long the resolver took.",
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10],
  },
  heliograph_secondary_bodies_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: ["reading"],
    help: "Bodies by how they were read: recognized (the lines of a scrape before), learned (other lines), sieved (in a flood, only the lines of before), refused.",
  },
  heliograph_secondary_relabelled_layouts_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Times that metric_relabel_configs were evaluated for a layout, rather than remembered.",
  },
  heliograph_secondary_stage_seconds_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: ["stage"],
    help: "Time that scrapes took of the event loop: read, learn (bodies not recognized), sieve (those of a flood), relabel (layouts not remembered), encode, compress.",
  },
  heliograph_secondary_series: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Series of all targets, as their last stored scrapes had them.",
  },
  heliograph_secondary_series_limit: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "How many series all targets may have together: the secondary's cardinality_limit.",
  },
  heliograph_secondary_flooding_targets: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Targets that bring more new series than they may: those are refused, the old ones are kept.",
  },
  heliograph_secondary_series_refused_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: ["reason"],
    help: "Series left out of a scrape that was otherwise stored, by reason.",
  },
  heliograph_secondary_samples_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Samples compacted into batches.",
  },
  heliograph_secondary_samples_dropped_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Samples that metric_relabel_configs dropped.",
  },
  heliograph_secondary_batches_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Batches written to the spool.",
  },
  heliograph_secondary_batch_bytes_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Bytes of the batches written to the spool.",
  },
  heliograph_secondary_batch_raw_bytes_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Bytes of the same batches before compression.",
  },
  heliograph_secondary_spool_batches: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Batches in the spool: not yet durable at every global.",
  },
  heliograph_secondary_spool_bytes: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Bytes of the batches in the spool.",
  },
  heliograph_secondary_spool_memory_bytes: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "Bytes of batches that the disk has not taken: on their way to it, or kept in memory because it takes nothing. At most 64 MiB.",
  },
  heliograph_secondary_spool_write_errors_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Writes of batches that the disk refused.",
  },
  heliograph_secondary_spool_dropped_batches_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: ["reason"],
    help: "Batches dropped before they were durable: data is lost, unless the reason is held (both primaries have them) or accepted (the data centre's log has them).",
  },
  heliograph_secondary_spool_write_seconds: {
    type: "histogram",
    tiers: ["secondary"],
    labels: [],
    help: "How long the disk took to write batches into the spool and sync them.",
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2],
  },
  heliograph_secondary_push_connected: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "1 while a primary takes batches from this secondary.",
  },
  heliograph_secondary_push_batches_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Batches sent to primaries, repeated ones too.",
  },
  heliograph_secondary_push_bytes_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Bytes of the batches sent to primaries, repeated ones too.",
  },
  heliograph_secondary_push_seconds: {
    type: "histogram",
    tiers: ["secondary"],
    labels: ["step"],
    help: "From a batch's sealing to each step of its acknowledgement: accepted, held (at the latest when durable), durable. Batches of earlier starts do not count.",
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600],
  },
  heliograph_secondary_push_errors_total: {
    type: "counter",
    tiers: ["secondary"],
    labels: [],
    help: "Push streams that ended with an error.",
  },
  heliograph_secondary_generation: {
    type: "gauge",
    tiers: ["secondary"],
    labels: [],
    help: "The generation that this secondary scrapes by.",
  },

  heliograph_primary_received_batches_total: {
    type: "counter",
    tiers: ["primary"],
    labels: ["result"],
    help: "Batches that secondaries pushed: accepted, duplicate or refused.",
  },
  heliograph_primary_received_bytes_total: {
    type: "counter",
    tiers: ["primary"],
    labels: [],
    help: "Bytes of the batches that secondaries pushed.",
  },
  heliograph_primary_refused_batches_total: {
    type: "counter",
    tiers: ["primary"],
    labels: ["code"],
    help: "Batches refused, by the code of the reason.",
  },
  heliograph_primary_connected_secondaries: {
    type: "gauge",
    tiers: ["primary"],
    labels: [],
    help: "Secondaries whose push streams end here.",
  },
  heliograph_primary_discovered_targets: {
    type: "gauge",
    tiers: ["primary"],
    labels: ["job"],
    help: "Targets that discovery found, by scrape config.",
  },
  heliograph_primary_discovery_errors_total: {
    type: "counter",
    tiers: ["primary"],
    labels: ["job"],
    help: "Discovery sources that could not be read; their last targets are kept.",
  },
  heliograph_primary_refused_targets: {
    type: "gauge",
    tiers: ["primary"],
    labels: ["job"],
    help: "Targets that were written down but cannot be scraped (a bad address, label or interval), by scrape config.",
  },
  heliograph_primary_dropped_targets: {
    type: "gauge",
    tiers: ["primary"],
    labels: ["job"],
    help: "Targets that relabel_configs dropped, by scrape config.",
  },
  heliograph_primary_generation: {
    type: "gauge",
    tiers: ["primary"],
    labels: [],
    help: "The newest generation read from the log.",
  },
  heliograph_primary_generations_total: {
    type: "counter",
    tiers: ["primary"],
    labels: [],
    help: "Generations that this primary wrote to the log.",
  },
  heliograph_primary_moved_targets_total: {
    type: "counter",
    tiers: ["primary"],
    labels: ["cause"],
    help: "Targets that got another owner by a generation that this primary wrote, by the first cause of that generation.",
  },
  heliograph_primary_generation_bytes_total: {
    type: "counter",
    tiers: ["primary"],
    labels: ["kind"],
    help: "Bytes of generations that this primary wrote: whole ones (full) and differences (delta).",
  },
  heliograph_primary_unassigned_targets: {
    type: "gauge",
    tiers: ["primary"],
    labels: ["job"],
    help: "Targets of the newest generation that have no owner, because no secondary lives or those that live have no room, by scrape config.",
  },

  heliograph_config_last_reload_successful: {
    type: "gauge",
    tiers: ["primary", "secondary"],
    labels: [],
    help: "Whether the topology file was right when it was read again last.",
  },
  heliograph_config_last_reload_success_timestamp_seconds: {
    type: "gauge",
    tiers: ["primary", "secondary"],
    labels: [],
    help: "When the topology file was taken over last, without a restart.",
  },

  ...replicaMetrics,

  heliograph_global_datacenter_state: {
    type: "gauge",
    tiers: ["global"],
    labels: ["datacenter", "state"],
    help: "1 for the state that the data centre is in: live, delayed, dark or unknown.",
  },

  heliograph_http_requests_total: {
    type: "counter",
    tiers: everyTier,
    labels: ["route", "status"],
    help: "HTTP requests answered, by route and status class.",
  },
  heliograph_query_duration_seconds: {
    type: "histogram",
    tiers: replicas,
    labels: ["endpoint"],
    help: "How long queries took.",
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
  },

  heliograph_fleet_targets: {
    type: "gauge",
    tiers: ["tool"],
    labels: [],
    help: "Simulated servers of a fleet.",
  },
  heliograph_fleet_scrapes_total: {
    type: "counter",
    tiers: ["tool"],
    labels: [],
    help: "Answers that simulated servers began.",
  },
  heliograph_demo_process_running: {
    type: "gauge",
    tiers: ["tool"],
    labels: ["process"],
    help: "1 while the demo's process runs.",
  },
  heliograph_demo_process_starts_total: {
    type: "counter",
    tiers: ["tool"],
    labels: ["process"],
    help: "Starts of the demo's process, the first one too.",
  },
  heliograph_demo_process_resident_memory_bytes: {
    type: "gauge",
    tiers: ["tool"],
    labels: ["process"],
    help: "Resident memory of the demo's process.",
  },
} as const satisfies Readonly<Record<string, MetricDeclaration>>;

// The part of the table of metrics that primaries and globals share: lease, log, replica, journal and head.

import type { MetricDeclaration } from "#/lib/telemetry/metric.ts";

export const replicas = ["primary", "global"] as const;

export const replicaMetrics = {
  heliograph_lease_held: {
    type: "gauge",
    tiers: replicas,
    labels: [],
    help: "1 while this process holds its pair's lease.",
  },
  heliograph_lease_token: {
    type: "gauge",
    tiers: replicas,
    labels: [],
    help: "The fencing token of the lease while held here, else 0.",
  },
  heliograph_lease_errors_total: {
    type: "counter",
    tiers: replicas,
    labels: [],
    help: "Calls to the lease store that failed.",
  },
  heliograph_log_connected: {
    type: "gauge",
    tiers: replicas,
    labels: ["datacenter"],
    help: "1 while the log of the data centre, or its mirror, can be reached.",
  },
  heliograph_log_reader_resets_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Times that reading the log began again where it was: after a killed server, a cut link, messages lost on the way.",
  },
  heliograph_log_appended_entries_total: {
    type: "counter",
    tiers: ["primary"],
    labels: ["kind"],
    help: "Entries that the data centre's log acknowledged to this primary, by kind; repeated ones too.",
  },
  heliograph_log_append_errors_total: {
    type: "counter",
    tiers: ["primary"],
    labels: ["code"],
    help: "Entries that the data centre's log did not acknowledge, by the code of the reason.",
  },
  heliograph_reports_unreadable_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter", "code"],
    help: "Reports of other replicas that were dropped because they could not be read, by the code of the reason.",
  },
  heliograph_replica_entries_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter", "kind"],
    help: "Log entries journalled, by kind.",
  },
  heliograph_replica_samples_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Samples appended to the head.",
  },
  heliograph_replica_repeated_batches_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Batches that had been read before and were dropped by their watermark.",
  },
  heliograph_replica_bad_batches_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter", "code"],
    help: "Batches in the log that could not be read, by the code of the reason.",
  },
  heliograph_replica_unreadable_scrapes_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Scrapes whose reference was missing (a hole in their run): unreadable until repaired or keyframed.",
  },
  heliograph_replica_refused_entries_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter", "code"],
    help: "Generations and heartbeats in the log that were refused, by the code of the reason. unknown_base: the difference to a generation that is not here.",
  },
  heliograph_replica_holes_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Times that batches of a run were missing for longer than a change of places takes.",
  },
  heliograph_replica_dropped_batches_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter", "reason"],
    help: "Batches of which their secondary told that it dropped them before every global had them: its spool was full, they were older than it keeps (age), its disk did not take them (disk), or a primary will never take them (refused).",
  },
  heliograph_replica_missing_batches: {
    type: "gauge",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Batches that are missing here although later ones of their runs are not.",
  },
  heliograph_replica_lost_batches_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Batches that were missing here and that nobody had sent again after an hour: their runs went on without them.",
  },
  heliograph_replica_log_breaks_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter", "code"],
    help: "Times that the log could not be read on from where it was (hole, recreated, shortened): entries may be missing.",
  },
  heliograph_replica_lag_seconds: {
    type: "gauge",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Time since the newest heartbeat of the data centre that was read here was sent.",
  },
  heliograph_journal_bytes: {
    type: "gauge",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Bytes of the journal on disk.",
  },
  heliograph_journal_torn_bytes_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Bytes cut off the journal's end at start: written before a crash, promised to nobody.",
  },
  heliograph_journal_write_errors_total: {
    type: "counter",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Attempts to write or fsync the journal that failed; what they held waits in memory and is tried again.",
  },
  heliograph_journal_fsync_seconds: {
    type: "histogram",
    tiers: replicas,
    labels: ["datacenter"],
    help: "How long the journal's fsync took.",
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2],
  },
  heliograph_head_series: {
    type: "gauge",
    tiers: replicas,
    labels: [],
    help: "Series in the head.",
  },
  heliograph_head_samples: {
    type: "gauge",
    tiers: replicas,
    labels: [],
    help: "Samples in the head.",
  },
  heliograph_head_bytes: {
    type: "gauge",
    tiers: replicas,
    labels: [],
    help: "Memory of the head's columns.",
  },
  heliograph_head_late_scrapes_total: {
    type: "counter",
    tiers: replicas,
    labels: ["result"],
    help: "Scrapes that arrived out of order: merged, or too_old for the head.",
  },
  heliograph_head_repeated_slots_total: {
    type: "counter",
    tiers: replicas,
    labels: [],
    help: "Slots that came twice (two owners at a handover); one outcome was kept.",
  },
  heliograph_ledger_slots: {
    type: "gauge",
    tiers: replicas,
    labels: ["datacenter", "outcome"],
    help: "What became of the slots that were due in the last settled hour: stored, partial, failed, missed, dropped, superseded, in_flight, unassigned, lost, dark or unexplained. Together they are all that were due.",
  },
  heliograph_ledger_unexplained_slots: {
    type: "gauge",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Of the last settled hour, slots without an outcome that nothing accounts for: it must be 0.",
  },
  heliograph_ledger_bytes: {
    type: "gauge",
    tiers: replicas,
    labels: ["datacenter"],
    help: "Memory of the slots' outcomes: a byte a slot.",
  },
} as const satisfies Readonly<Record<string, MetricDeclaration>>;

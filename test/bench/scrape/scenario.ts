// What is scraped in a benchmark, and by which rules: the same for all who scrape.

import type { RecordingName } from "#/test/bench/recording.ts";

export interface Scenario {
  readonly name: string;
  readonly recording: RecordingName;
  readonly intervalMs: number;
  readonly tls?: true;
  /** The firm and the reach figures of CPU and memory, as shares of vmagent's, where there are any. */
  readonly cpu?: { readonly firm: number; readonly reach: number };
  readonly memory?: { readonly firm: number; readonly reach: number };
}

export const scenarios: readonly Scenario[] = [
  {
    name: "100@15",
    recording: "100@15s",
    intervalMs: 15_000,
    cpu: { firm: 1 / 4, reach: 1 / 8 },
    memory: { firm: 1, reach: 130 / 205 },
  },
  {
    name: "1000@15",
    recording: "961@15s",
    intervalMs: 15_000,
    cpu: { firm: 1 / 6, reach: 1 / 12 },
    memory: { firm: 1 / 2, reach: 1 / 3 },
  },
  { name: "100@1", recording: "100@1s", intervalMs: 1000 },
  { name: "100@15-tls", recording: "100@15s", intervalMs: 15_000, tls: true },
  { name: "1000@15-tls", recording: "961@15s", intervalMs: 15_000, tls: true },
];

/** What a scrape config says of them, in the words of all who scrape; `caFile` where they speak TLS. */
export function scrapeConfigOf(caFile: string | undefined) {
  return {
    job_name: "node",
    metric_relabel_configs: metricRelabelConfigs,
    ...(caFile !== undefined && { scheme: "https", tls_config: { ca_file: caFile, server_name: tlsServerName } }),
  };
}

/** In the one certificate of all targets. */
export const tlsServerName = "targets.bench";

/** Wire bytes a sample, everything included. */
export const wireBytesFirm = 1.1;
export const wireBytesReach = 0.75;

export interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

const racks = 50;

/** Racks of servers, as a list of them would say. */
export function groupsOf(addresses: readonly string[]): readonly TargetGroup[] {
  return Array.from({ length: Math.min(racks, addresses.length) }, (_, rack) => ({
    targets: addresses.filter((_, i) => i % racks === rack),
    labels: { rack: `r${String(rack).padStart(2, "0")}` },
  }));
}

/** Five rules of kinds that are in use: two that drop series, two that write labels (one from a target's own), one that takes some. */
export const metricRelabelConfigs = [
  { source_labels: ["__name__"], regex: "(promhttp|go_gc)_.*", action: "drop" },
  { source_labels: ["__name__", "device"], regex: "node_(disk|network)_.*;(loop|ram|fd|veth).*", action: "drop" },
  { source_labels: ["device"], regex: "(sd|vd|xvd|nvme).*", target_label: "bus", replacement: "$1" },
  { source_labels: ["rack"], regex: "r(.).", target_label: "row", replacement: "row-$1" },
  { regex: "(duplex|ifalias|address|broadcast)", action: "labeldrop" },
] as const;

/** How many of the series the rules leave: those that the first two drop are counted here, by the same expressions. */
export function seriesKept(heads: readonly string[]): number {
  return heads.filter((head) => {
    const name = head.replace(/\{.*/, "");
    const device = /[{,]device="([^"]*)"/.exec(head)?.[1] ?? "";
    return (
      !/^(promhttp|go_gc)_.*$/.test(name) && !/^node_(disk|network)_.*;(loop|ram|fd|veth).*$/.test(`${name};${device}`)
    );
  }).length;
}

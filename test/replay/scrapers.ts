// The two that scrape: a whole Heliograph secondary, whose batches end in a head, and the real Prometheus. Both are asked for the
// same at the end: every sample of every series of one play, bit for bit.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "#/lib/clock/clock.ts";
import { createHttpServer } from "#/lib/http/server.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { type Labels, labelsKey, labelsOf, metricNameLabel } from "#/lib/model/labels.ts";
import { systemRandom } from "#/lib/random/random.ts";
import { Head } from "#/lib/store/head.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Discovery } from "#/primary/discover/discover.ts";
import { systemDisk } from "#/primary/discover/disk.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { startSecondary } from "#/secondary/secondary.ts";
import { oneShard } from "#/secondary/shard.ts";
import { openSpoolStore } from "#/secondary/spool/store.ts";
import type { Play } from "#/test/replay/plays.ts";
import { type RemoteSeries, remoteRead } from "#/test/replay/remote.ts";
import { MemoryLog, MemoryPrimary } from "#/test/support/memory-primary.ts";
import { startPrometheus } from "#/test/support/prometheus.ts";
import { makeGeneration } from "#/test/support/targets.ts";
import { until } from "#/test/support/world.ts";
import { parseTopology } from "#/topology/file.ts";
import { formatProblem } from "#/topology/problem.ts";

export type ReplayedSeries = RemoteSeries;

export interface Scraping {
  /** Once the server is closed. What was scraped can be asked for then. */
  stop(): Promise<void>;
  series(play: string): Promise<readonly ReplayedSeries[]>;
  close(): Promise<void>;
}

export const intervalMs = 1000;
/** By which a play's series are found, also where labels of the bodies win. */
export const playLabel = "replay";

const startMsMax = 20_000;
/** With samples from far away, which nobody shall have. */
const allTimes = { fromMs: 0, untilMs: 4_000_000_000_000 };

function scrapeConfigs(plays: readonly Play[], port: number): string {
  const configs = plays.map(
    ({ config, name }) => `  - job_name: ${name}
    metrics_path: /${name}
    static_configs: [{ targets: ["127.0.0.1:${port}"], labels: { ${playLabel}: ${name} } }]
    ${config}
`,
  );
  return `scrape_configs:\n${configs.join("")}`;
}

const topologyText = (configs: string) => `format_version: 1
federation: test
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair: [{ name: g1, http: { listen: "127.0.0.1:9480" } }]
scrape_defaults: { scrape_interval: ${intervalMs}ms, scrape_timeout: ${intervalMs}ms }
datacenters:
  - name: fra
    region: eu
    nats: { servers: ["nats://127.0.0.1:4223"] }
    primaries: [{ name: p1, http: { listen: "127.0.0.1:9470" }, grpc: { listen: "127.0.0.1:9471" } }]
    secondaries: [{ name: s1, http: { listen: "127.0.0.1:9474" } }]
${configs.replace(/^(?=.)/gm, "    ")}`;

/** From a topology file by way of discovery and a generation to a secondary, and from its sealed batches to a head. */
export async function startOurs(plays: readonly Play[], port: number, dir: string): Promise<Scraping> {
  const { topology, problems } = parseTopology(topologyText(scrapeConfigs(plays, port)), "replay.yaml");
  if (!topology) throw new Error(problems.map(formatProblem).join("\n"));
  const clock = systemClock();
  const log = silentLogger();
  const datacenter = topology.datacenters[0]!;
  const discovery = new Discovery({
    ...{ topology, datacenter, baseDir: "/", clock, log, disk: systemDisk },
    metrics: createRegistry({ tier: "primary" }),
  });
  await discovery.start();
  discovery.close();
  const batches = new MemoryLog();
  batches.generation = makeGeneration(discovery.targets());
  const primary = new MemoryPrimary("p1", batches);
  const running = await startSecondary({
    ...{ datacenter: "fra", name: "s1", primaries: ["p1"], listen: "127.0.0.1:0", http: createHttpServer, clock, log },
    store: await openSpoolStore(join(dir, "spool")),
    random: systemRandom(),
    metrics: createRegistry({ tier: "secondary" }),
    connect: () => primary.connect(),
    shards: oneShard({ fetcher: httpFetcher({ clock }) }),
  });
  let head: Head | undefined;
  const decoded = () => {
    if (head) return head;
    head = new Head({ metrics: createRegistry({ tier: "primary" }) });
    const { unreadable } = batches.decode((scrape) => head!.append(scrape));
    if (unreadable > 0) throw new Error(`expected every scrape to be readable, ${unreadable} are not`);
    return head;
  };
  return {
    stop: () => running.close(),
    async series(play) {
      const matcher = {
        name: playLabel,
        operator: "=",
        value: play,
        matches: (value: string) => value === play,
      } as const;
      const { series } = await decoded().select([matcher], allTimes, new AbortController().signal);
      return series.map(({ labels, timesMs, values }) => ({
        labels: ownLabels(labels),
        timesMs: Float64Array.from(timesMs),
        // A copy of the memory, for the bits of its NaNs.
        values: new Float64Array(
          Uint8Array.from(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)).buffer,
        ),
      }));
    },
    async close() {},
  };
}

/** Without what only Heliograph adds. */
function ownLabels(labels: Labels): Labels {
  return labels.filter(([name]) => name !== "datacenter" && name !== "region");
}

export async function startTheirs(
  plays: readonly Play[],
  port: number,
  { dir, program }: { readonly dir: string; readonly program: string },
): Promise<Scraping> {
  const defaults = `global: { scrape_interval: ${intervalMs}ms, scrape_timeout: ${intervalMs}ms }\n`;
  const running = await startPrometheus(dir, `${defaults}${scrapeConfigs(plays, port)}`, program);
  const { url } = running;
  try {
    await until("Prometheus to be ready", startMsMax, async () =>
      (await fetch(`${url}/-/ready`)).ok ? true : undefined,
    );
  } catch (error) {
    await running.close();
    throw new Error(`${(error as Error).message}\n${running.said()}`, { cause: error });
  }
  return {
    // What it scrapes when nobody answers any more makes no difference.
    stop: () => sleep(intervalMs),
    async series(play) {
      const series = await remoteRead(url, [playLabel, play], allTimes);
      await restoreZeros(url, play, series);
      return series;
    },
    close: () => running.close(),
  };
}

/** In protobuf as Prometheus writes it −0 is 0, and left out. Its JSON tells them apart. */
async function restoreZeros(url: string, play: string, series: readonly ReplayedSeries[]): Promise<void> {
  const hasZero = ({ values }: ReplayedSeries) => values.includes(0);
  const zeros = new Map(series.filter(hasZero).map((each) => [labelsKey(each.labels), each]));
  if (zeros.size === 0) return;
  const query = `{${playLabel}="${play}"}[1h]`;
  const answer = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query })}`);
  const { data } = (await answer.json()) as {
    data: { result: { metric: Record<string, string>; values: [number, string][] }[] };
  };
  for (const { metric, values } of data.result) {
    const found = zeros.get(labelsKey(labelsOf(metric)));
    if (!found) continue;
    const negative = new Set(
      values.filter(([, value]) => value === "-0").map(([seconds]) => Math.round(seconds * 1000)),
    );
    for (const [i, timeMs] of found.timesMs.entries()) if (negative.has(timeMs)) found.values[i] = -0;
  }
}

export function nameOf(labels: Labels): string {
  return labels.find(([name]) => name === metricNameLabel)?.[1] ?? "";
}

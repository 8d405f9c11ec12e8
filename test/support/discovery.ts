// Discovery with its files in memory and a clock that the test moves.

import type { Test } from "tap";
import { type Logger, silentLogger } from "#/lib/logger/logger.ts";
import type { Target } from "#/lib/model/target.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Discovery } from "#/primary/discover/discover.ts";
import type { Disk } from "#/primary/discover/disk.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { parseTopology } from "#/topology/file.ts";
import { formatProblem } from "#/topology/problem.ts";

export function topologyText(scrapeConfigs: string): string {
  return `format_version: 1
federation: test
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair: [{ name: g1, http: { listen: "127.0.0.1:9480" } }]
datacenters:
  - name: fra
    region: eu
    labels: { provider: own }
    nats: { servers: ["nats://127.0.0.1:4223"] }
    primaries:
      - { name: p1, http: { listen: "127.0.0.1:9470" }, grpc: { listen: "127.0.0.1:9471" } }
    secondaries:
      - { name: s1, http: { listen: "127.0.0.1:9474" } }
scrape_configs:
${scrapeConfigs}`;
}

export function topologyOf(scrapeConfigs: string, edit: (text: string) => string = (text) => text) {
  const text = edit(topologyText(scrapeConfigs));
  const { topology, problems } = parseTopology(text, "t.yaml");
  if (!topology) throw new Error(problems.map(formatProblem).join("\n"));
  return topology;
}

/** Everything is read from memory, and nothing can be watched unless `watched` says so. */
export function memoryDisk(files: Map<string, string | Error>, watched: Map<string, () => void> = new Map()): Disk {
  return {
    async list(directory) {
      const paths = [...files.keys()].filter((path) => path.startsWith(`${directory}/`));
      if (paths.length === 0)
        throw Object.assign(new Error(`ENOENT: no such directory ${directory}`), { code: "ENOENT" });
      return paths.map((path) => path.slice(directory.length + 1));
    },
    async read(path, bytesMax) {
      const content = files.get(path);
      if (content === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
      if (content instanceof Error) throw content;
      return Buffer.from(content).subarray(0, bytesMax);
    },
    watch(directory, onEvent) {
      watched.set(directory, onEvent);
      return { close: () => void watched.delete(directory) };
    },
  };
}

export async function discover(
  t: Test,
  scrapeConfigs: string,
  options: { files?: Record<string, string>; edit?: (text: string) => string } = {},
) {
  const topology = topologyOf(scrapeConfigs, options.edit);
  const files = new Map<string, string | Error>(Object.entries(options.files ?? {}));
  const watched = new Map<string, () => void>();
  const clock = manualClock();
  const metrics = createRegistry({ tier: "primary" });
  const sentences: string[] = [];
  const note = (_fields: unknown, sentence: string) => void sentences.push(sentence);
  const log: Logger = { ...silentLogger(), info: note, warn: note, error: note, child: () => log };
  const discovery = new Discovery({
    topology,
    datacenter: topology.datacenters[0]!,
    baseDir: "/etc/heliograph",
    clock,
    log,
    metrics,
    disk: memoryDisk(files, watched),
  });
  t.teardown(() => discovery.close());
  let changes = 0;
  discovery.onChange(() => {
    changes += 1;
  });
  await discovery.start();
  /** Until the change is read, and a loss is read twice. */
  const change = async (directory: string) => {
    watched.get(directory)?.();
    await clock.advance(450);
  };
  return { discovery, clock, metrics, files, sentences, watched, change, changes: () => changes };
}

export function urls(targets: readonly Target[]): string[] {
  return targets.map(({ url }) => url).sort();
}

// What differs from federation to federation besides the faults, and the topology file that comes of it.

import { KiB, secondMs } from "#/lib/bytes/units.ts";
import { leaseLengthMs } from "#/lib/pair/lease.ts";
import type { Random } from "#/lib/random/random.ts";
import { parseTopology } from "#/topology/file.ts";
import type { Topology } from "#/topology/schema.ts";

export const globalNames = ["g1", "g2"] as const;
export const usualCapacity = 10;

export interface Shape {
  readonly leaseMs: number;
  readonly scrapeIntervalMs: number;
  readonly datacenters: readonly { readonly name: string; readonly primaries: number; readonly secondaries: number }[];
}

/** A minute's batches of a secondary or two: a cut, or a log that is away, fills it. */
const smallSpoolBytes = [0.5 * KiB, 0.75 * KiB, KiB, 2 * KiB] as const;
/** Most seeds ask for what no spool may lose. */
const smallSpoolShare = 0.15;

/** Of each secondary; undefined leaves the usual one. Other than the seed's own stream, so that the rest of its story stays. */
export function spoolBytesOf(random: Random, always: boolean): number | undefined {
  const isSmall = random.next() < smallSpoolShare;
  const bytes = smallSpoolBytes[random.below(smallSpoolBytes.length)]!;
  return isSmall || always ? bytes : undefined;
}

const small = { primaries: 1, secondaries: 1 };

/** The first data centre is always whole; the second one may be a small one without a pair. */
export function shapeOf(random: Random): Shape {
  const pick = <T>(...all: readonly T[]): T => all[random.below(all.length)]!;
  return {
    leaseMs: pick(leaseLengthMs(1), leaseLengthMs(3), leaseLengthMs(3)),
    scrapeIntervalMs: pick(5, 15, 15, 15, 30, 30) * secondMs,
    datacenters: [
      { name: "fra", primaries: 2, secondaries: pick(2, 2, 2, 3) },
      { name: "nyc", ...pick(small, small, { primaries: 2, secondaries: 2 }) },
    ],
  };
}

/** A secondary of capacity 0 is left out; one that is not named has the usual one. */
export function topologyOf(shape: Shape, capacities: ReadonlyMap<string, number> = new Map()): Topology {
  const port = (() => {
    let next = 9400;
    return () => `{ listen: "127.0.0.1:${next++}" }`;
  })();
  const several = (names: readonly string[], line: (name: string) => string) =>
    names.map((name) => `\n      - ${line(name)}`).join("");
  const numbered = (count: number, prefix: string) => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
  const capacityOf = (secondary: string) => capacities.get(secondary) ?? usualCapacity;
  const secondaryOf = (name: string) => `{ name: ${name}, capacity: ${capacityOf(name)}, http: ${port()} }`;
  const datacenter = ({ name, primaries, secondaries }: Shape["datacenters"][number]) => `
  - name: ${name}
    region: ${name}
    nats: { servers: ["nats://127.0.0.1:4222"] }
    primaries:${several(numbered(primaries, `${name}-p`), (each) => `{ name: ${each}, http: ${port()}, grpc: ${port()} }`)}
    secondaries:${several(
      numbered(secondaries, `${name}-s`).filter((each) => capacityOf(each) > 0),
      secondaryOf,
    )}
    scrape_configs:
      - job_name: node
        file_sd_configs: [{ files: [targets.json] }]`;
  const text = `format_version: 1
federation: sim
head_retention: 1d
scrape_defaults: { scrape_interval: ${shape.scrapeIntervalMs / secondMs}s, scrape_timeout: ${Math.min(4, shape.scrapeIntervalMs / secondMs)}s }
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair: [${globalNames.map((name) => `{ name: ${name}, http: ${port()} }`).join(", ")}]
datacenters:${shape.datacenters.map(datacenter).join("")}
`;
  const { topology, problems } = parseTopology(text, "sim.yaml");
  if (!topology) throw new Error(JSON.stringify(problems));
  return topology;
}

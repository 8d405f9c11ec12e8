// What the demo consists of, worked out before anything starts: names, ports, files, processes, and how many targets must be up.
//
// Everything follows from the data directory, one port base and a few sizes. All of it listens on loopback.

import { join } from "node:path";
import { stringify } from "yaml";
import { shareOf } from "#/cli/fleet/filesd.ts";
import { assert } from "#/lib/assert/assert.ts";

export interface DemoSizes {
  readonly dataDir: string;
  readonly portBase: number;
  /** Simulated servers, spread evenly over the data centres. */
  readonly targets: number;
  /** Series of each. */
  readonly rows: number;
  /** As the topology file writes it, for instance `5s`. */
  readonly interval: string;
  /** Of each data centre. */
  readonly secondaries: number;
  /** As the topology file writes it: samples stay in memory this long. */
  readonly retention: string;
  readonly withNodeExporter: boolean;
}

export const roles = ["nats", "global", "primary", "secondary", "fleet", "node-exporter"] as const;
export type Role = (typeof roles)[number];

/** One process to run and to watch. */
export interface PlannedProcess {
  readonly name: string;
  readonly role: Role;
  /** Empty for what belongs to none. */
  readonly datacenter: string;
  /** Where it says that it is ready. */
  readonly readyUrl: string;
  /** Its own HTTP address, for people. */
  readonly httpUrl: string;
  /** Every port that it listens on, and what for. */
  readonly ports: readonly { readonly port: number; readonly use: string }[];
}

export interface PlannedRelay {
  readonly name: string;
  readonly datacenter: string;
  readonly listenPort: number;
  readonly targetPort: number;
  /** Whether connections come from the data centre, or to it. */
  readonly opens: "outward" | "inward";
}

export interface PlannedDatacenter {
  readonly name: string;
  readonly region: string;
  /** Targets that this data centre scrapes, and so the right answer to `count by (datacenter) (up)`. */
  readonly targets: number;
  readonly natsPort: number;
  readonly natsMonitorPort: number;
  /** The near end of the relay to the hub's leaf port. */
  readonly leafRelayPort: number;
}

export interface DemoPlan extends DemoSizes {
  readonly topologyFile: string;
  readonly topologyText: string;
  readonly controlPort: number;
  readonly hub: { readonly port: number; readonly leafPort: number; readonly monitorPort: number };
  readonly nodeExporterPort: number;
  readonly fleet: { readonly controlPort: number; readonly port: number; readonly firstAddress: string };
  readonly datacenters: readonly PlannedDatacenter[];
  readonly relays: readonly PlannedRelay[];
  /** In the order in which they start. */
  readonly processes: readonly PlannedProcess[];
}

const sites = [
  { name: "ams", region: "eu" },
  { name: "nyc", region: "us" },
] as const;

/** Ports from the base on; the next demo on this machine goes this much higher. */
export const portSpan = 60;
const portsPerSite = 20;
/** The first two secondaries stand before the NATS server and the relays, the others behind them. */
const moreSecondariesOffset = 11;

/** More would find no port in their data centre's share. */
export const secondariesMax = 8;
assert(moreSecondariesOffset + secondariesMax - 2 <= portsPerSite, "every secondary has a port");
/** Rides out an hour's cut, and does not fill a laptop. */
const logBytesMax = "512MiB";

export const fleetFirstAddress = "127.64.0.1";

export function planDemo(sizes: DemoSizes): DemoPlan {
  const { dataDir, portBase } = sizes;
  const sitePort = (site: number, offset: number) => portBase + portsPerSite * (site + 1) + offset;
  const hub = { port: portBase + 3, leafPort: portBase + 4, monitorPort: portBase + 5 };
  const nodeExporterPort = portBase + 6;
  const fleet = { controlPort: portBase + 7, port: portBase + 8, firstAddress: fleetFirstAddress };
  const controlPort = portBase + 2;

  const globals = [1, 2].map((n) => httpProcess("global", `global-${n}`, "", portBase + n - 1, []));
  const processes: PlannedProcess[] = [
    natsProcess("hub-nats", "", hub.monitorPort, hub.port, hub.leafPort),
    ...globals,
  ];
  const relays: PlannedRelay[] = [];
  const datacenters: PlannedDatacenter[] = [];
  const described: unknown[] = [];
  const shared = [controlPort, fleet.controlPort, ...globals.map(({ ports }) => ports[0]!.port)];

  for (const [site, { name, region }] of sites.entries()) {
    const natsPort = sitePort(site, 6);
    const natsMonitorPort = sitePort(site, 7);
    const leafRelayPort = sitePort(site, 8);
    const primaries = [1, 2].map((n) => {
      const grpc = { port: sitePort(site, 1 + n), use: "gRPC" };
      return httpProcess("primary", `${name}-primary-${n}`, name, sitePort(site, n - 1), [grpc]);
    });
    const secondaryPort = (n: number) => sitePort(site, n < 2 ? 4 + n : moreSecondariesOffset + n - 2);
    const secondaries = Array.from({ length: sizes.secondaries }, (_, n) =>
      httpProcess("secondary", `${name}-secondary-${n + 1}`, name, secondaryPort(n), []),
    );
    relays.push({
      name: `${name} to the hub`,
      datacenter: name,
      listenPort: leafRelayPort,
      targetPort: hub.leafPort,
      opens: "outward",
    });
    for (const [n, primary] of primaries.entries()) {
      const [listenPort, targetPort] = [sitePort(site, 9 + n), sitePort(site, n)];
      const relay = `the globals to ${primary.name}`;
      relays.push({ name: relay, datacenter: name, listenPort, targetPort, opens: "inward" });
    }
    const [fleetFrom, fleetBefore] = shareOf(sizes.targets, site, sites.length);
    const own = [...primaries, ...secondaries].map(({ ports }) => ports[0]!.port);
    // What belongs to no data centre is watched by the first one.
    const watched = site === 0 ? [...own, ...shared] : own;
    const withNode = site === 0 && sizes.withNodeExporter;
    datacenters.push({
      name,
      region,
      targets: fleetBefore - fleetFrom + watched.length + (withNode ? 1 : 0),
      natsPort,
      natsMonitorPort,
      leafRelayPort,
    });
    processes.push(natsProcess(`${name}-nats`, name, natsMonitorPort, natsPort), ...primaries, ...secondaries);
    described.push({
      name,
      region,
      nats: {
        servers: [`nats://127.0.0.1:${natsPort}`],
        password_file: join(dataDir, "secrets", `${name}.password`),
        leaf_password_file: join(dataDir, "secrets", `${name}-leaf.password`),
        log_bytes_max: logBytesMax,
        log_age_max: "1d",
      },
      primaries: primaries.map((primary, n) => ({
        name: primary.name,
        http: { listen: loopback(sitePort(site, n)), address: loopback(sitePort(site, 9 + n)) },
        grpc: { listen: loopback(sitePort(site, 2 + n)) },
      })),
      secondaries: secondaries.map((secondary, n) => ({
        name: secondary.name,
        http: { listen: loopback(secondaryPort(n)) },
      })),
      scrape_configs: [
        { job_name: "fleet", file_sd_configs: [{ files: [fleetFile(dataDir, site)] }] },
        { job_name: "heliograph", static_configs: [{ targets: watched.map(loopback) }] },
        ...(withNode ? [{ job_name: "node", static_configs: [{ targets: [loopback(nodeExporterPort)] }] }] : []),
      ],
    });
  }
  const fleetPorts = [{ port: fleet.controlPort, use: "its control" }];
  processes.push({ ...httpProcess("fleet", "fleet", "", fleet.controlPort, []), ports: fleetPorts });
  if (sizes.withNodeExporter) processes.push(nodeExporterProcess(nodeExporterPort));

  const topology = {
    format_version: 1,
    federation: "demo",
    scrape_defaults: { scrape_interval: sizes.interval, scrape_timeout: sizes.interval },
    head_retention: sizes.retention,
    global: {
      nats: {
        servers: [`nats://127.0.0.1:${hub.port}`],
        leaf_servers: [`nats-leaf://127.0.0.1:${hub.leafPort}`],
        password_file: join(dataDir, "secrets", "hub.password"),
      },
      pair: globals.map(({ name, ports }) => ({ name, http: { listen: loopback(ports[0]!.port) } })),
    },
    datacenters: described,
  };
  const explanation = [
    "The demo's federation, written anew at each start: a copy is a good beginning for your own.",
    "The globals reach each primary through a relay (`address`), so that a data centre can be cut off.",
  ];
  return {
    ...sizes,
    topologyFile: join(dataDir, "topology.yaml"),
    topologyText: `${explanation.map((line) => `# ${line}\n`).join("")}\n${stringify(topology, { lineWidth: 120 })}`,
    controlPort,
    hub,
    nodeExporterPort,
    fleet,
    datacenters,
    relays,
    processes: processes.toSorted((a, b) => startOrder.indexOf(a.role) - startOrder.indexOf(b.role)),
  };
}

/** The file_sd file of a data centre; the fleet writes one each, counting from 1. */
function fleetFile(dataDir: string, site: number): string {
  return join(dataDir, "targets", `fleet-${site + 1}.json`);
}

/** What the fleet is told to write, so that the files are called as above. */
export function fleetFileBase(dataDir: string): string {
  return join(dataDir, "targets", "fleet.json");
}

/** Logs first, so that nobody has to wait; who is scraped before those who scrape. */
const startOrder: readonly Role[] = ["nats", "fleet", "node-exporter", "global", "primary", "secondary"];

function loopback(port: number): string {
  return `127.0.0.1:${port}`;
}

function httpProcess(
  role: Role,
  name: string,
  datacenter: string,
  httpPort: number,
  more: readonly { port: number; use: string }[],
): PlannedProcess {
  const httpUrl = `http://${loopback(httpPort)}`;
  return {
    name,
    role,
    datacenter,
    httpUrl,
    readyUrl: `${httpUrl}/-/ready`,
    ports: [{ port: httpPort, use: "HTTP" }, ...more],
  };
}

function natsProcess(
  name: string,
  datacenter: string,
  monitorPort: number,
  port: number,
  leafPort?: number,
): PlannedProcess {
  const ports = [
    { port, use: "clients" },
    { port: monitorPort, use: "monitoring" },
  ];
  if (leafPort !== undefined) ports.push({ port: leafPort, use: "leaf connections" });
  const httpUrl = `http://${loopback(monitorPort)}`;
  return { name, role: "nats", datacenter, httpUrl, readyUrl: `${httpUrl}/healthz`, ports };
}

function nodeExporterProcess(port: number): PlannedProcess {
  const httpUrl = `http://${loopback(port)}`;
  const ports = [{ port, use: "HTTP" }];
  return { name: "node-exporter", role: "node-exporter", datacenter: "", httpUrl, readyUrl: httpUrl, ports };
}

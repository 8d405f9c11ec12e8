// A whole federation in one process: the tiers' real code on simulated clocks, disks, networks and log servers.
//
//     2 data centres × (2 primaries, 2 secondaries, a log server, 6 targets), the hub, 2 globals
//
// A machine outlives its processes: it keeps its disk and its clock. Whatever a process may do wrong is put into the story.

import { startGlobal } from "#/global/global.ts";
import type { HttpFront } from "#/lib/http/server.ts";
import { createHttpServer } from "#/lib/http/server.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { SampleSource } from "#/lib/model/source.ts";
import { type Random, seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import type { PrimaryHandlers } from "#/lib/wire/session.ts";
import { startPrimary } from "#/primary/primary.ts";
import { startSecondary } from "#/secondary/secondary.ts";
import { SimDisk } from "#/test/sim/disk.ts";
import { SimLists } from "#/test/sim/lists.ts";
import { SimLog, type Way } from "#/test/sim/log.ts";
import { connect, type Door, Link } from "#/test/sim/network.ts";
import { type Plant, unplanted } from "#/test/sim/planted.ts";
import { SimProcess } from "#/test/sim/process.ts";
import { Scheduler } from "#/test/sim/scheduler.ts";
import { SimTargets } from "#/test/sim/targets.ts";
import { Witness } from "#/test/sim/witness.ts";
import { parseTopology } from "#/topology/file.ts";
import type { Datacenter, Topology } from "#/topology/schema.ts";

export const targetsPerDatacenter = 6;
const datacenterNames = ["fra", "nyc"] as const;
const globalNames = ["g1", "g2"] as const;
const storyLinesMax = 4000;

export type Tier = "secondary" | "primary" | "global";

export interface Machine {
  readonly name: string;
  readonly tier: Tier;
  readonly datacenter: Datacenter | undefined;
  readonly disk: SimDisk;
  readonly clock: { offsetMs: number; readonly drift: number };
  process: SimProcess | undefined;
  starts: number;
  source: SampleSource | undefined;
  ready: () => boolean;
}

export interface Site {
  readonly datacenter: Datacenter;
  readonly log: SimLog;
  readonly lists: SimLists;
  /** From this data centre's log server to the hub. */
  readonly leaf: Link;
}

export class World {
  readonly scheduler = new Scheduler();
  readonly random: Random;
  readonly targets: SimTargets;
  readonly topology: Topology = topologyOf();
  readonly sites: readonly Site[];
  readonly machines: readonly Machine[];
  readonly hub = { up: true };
  readonly witness: Witness;
  readonly story: string[] = [];
  /** Between the machine and what it connects to: `s1/p1`, `p1/log`, `g1/hub`. */
  readonly links = new Map<string, Link>();
  readonly #doors = new Map<string, Door>();
  readonly #hubLog: SimLog;
  readonly #plant: Plant;

  constructor(options: { readonly seed: number; readonly plant?: Plant }) {
    this.#plant = options.plant ?? unplanted;
    this.random = seededRandom(options.seed);
    const { scheduler } = this;
    scheduler.onError = (error) => this.#bug(error);
    const parts = () => ({ scheduler, random: seededRandom(this.random.below(2 ** 31)) });
    this.targets = new SimTargets({ count: datacenterNames.length * targetsPerDatacenter, ...parts() });
    this.witness = new Witness({ targets: this.targets, scheduler });
    this.sites = this.topology.datacenters.map((datacenter, i) => {
      const log = new SimLog({ datacenter: datacenter.name, ...parts() });
      log.onAppend = (entry, request) => this.witness.appended(datacenter.name, entry, request);
      const numbers = Array.from({ length: targetsPerDatacenter }, (_, k) => i * targetsPerDatacenter + k);
      return { datacenter, log, lists: new SimLists(numbers), leaf: new Link(parts()) };
    });
    this.#hubLog = new SimLog({ datacenter: "hub", ...parts() });
    const machine = (name: string, tier: Tier, datacenter?: Datacenter): Machine => ({
      name,
      tier,
      datacenter,
      disk: new SimDisk(parts()),
      clock: { offsetMs: (this.random.next() - 0.5) * 40, drift: (this.random.next() - 0.5) * 1e-4 },
      process: undefined,
      starts: 0,
      source: undefined,
      ready: () => false,
    });
    const machines: Machine[] = [];
    for (const datacenter of this.topology.datacenters) {
      for (const { name } of datacenter.primaries) {
        machines.push(machine(name, "primary", datacenter));
        this.links.set(`${name}/log`, new Link(parts()));
      }
      for (const { name } of datacenter.secondaries) {
        machines.push(machine(name, "secondary", datacenter));
        for (const primary of datacenter.primaries) this.links.set(`${name}/${primary.name}`, new Link(parts()));
      }
    }
    for (const name of globalNames) {
      machines.push(machine(name, "global"));
      this.links.set(`${name}/hub`, new Link(parts()));
    }
    this.machines = machines;
  }

  tell(sentence: string): void {
    const line = `${(this.scheduler.nowMs / 1000).toFixed(3).padStart(9)} s  step ${this.scheduler.steps}  ${sentence}`;
    if (this.story.length < storyLinesMax) this.story.push(line);
  }

  start(machine: Machine): void {
    if (machine.process && !machine.process.dead) return;
    machine.starts++;
    const name = `${machine.name}#${machine.starts}`;
    const process = new SimProcess({ name, scheduler: this.scheduler, machine: machine.clock });
    machine.process = process;
    machine.ready = () => false;
    machine.source = undefined;
    const begun = this.#begin(machine, process);
    begun.catch((error: unknown) => {
      // As systemd does: a process that cannot start, on a disk that fails for instance, is started again.
      this.tell(`${name} could not start: ${String(error)}`);
      process.kill();
      this.scheduler.after(5000, () => this.start(machine));
    });
  }

  kill(machine: Machine): void {
    machine.process?.kill();
    machine.source = undefined;
    machine.ready = () => false;
    this.#doors.delete(machine.name);
  }

  /** The hub's own server: leases of the globals lie there. */
  killHub(): void {
    this.hub.up = false;
    this.#hubLog.kill();
  }

  startHub(): void {
    this.hub.up = true;
    this.#hubLog.start();
  }

  async #begin(machine: Machine, process: SimProcess): Promise<void> {
    switch (machine.tier) {
      case "secondary":
        return await this.#beginSecondary(machine, process);
      case "primary":
        return await this.#beginPrimary(machine, process);
      case "global":
        return await this.#beginGlobal(machine, process);
      default:
        return machine.tier satisfies never;
    }
  }

  async #beginSecondary(machine: Machine, process: SimProcess): Promise<void> {
    const datacenter = machine.datacenter!;
    const witness = this.witness.spool(datacenter.name, machine.name);
    await startSecondary(
      this.#plant.secondary({
        ...this.#common(machine, process),
        datacenter: datacenter.name,
        name: machine.name,
        primaries: datacenter.primaries.map(({ name }) => name),
        listen: "127.0.0.1:0",
        store: machine.disk.spool(process, witness),
        connect: (address) =>
          connect({
            client: process,
            link: this.links.get(`${machine.name}/${address}`)!,
            door: () => this.#doors.get(address),
            onHeard: (message) => this.witness.heard(datacenter.name, machine.name, message),
          }),
        fetcher: this.targets.fetcher(process),
      }),
    );
  }

  async #beginPrimary(machine: Machine, process: SimProcess): Promise<void> {
    const datacenter = machine.datacenter!;
    const site = this.sites.find((each) => each.datacenter === datacenter)!;
    const way: Way = { process, links: [this.links.get(`${machine.name}/log`)!], relays: [] };
    await startPrimary(
      this.#plant.primary({
        ...this.#common(machine, process),
        topology: this.topology,
        topologyDir: "/etc/heliograph",
        datacenter,
        primary: datacenter.primaries.find(({ name }) => name === machine.name)!,
        dataDir: "/data",
        disk: machine.disk.files(process),
        discoveryDisk: site.lists.disk(process, this.scheduler),
        commitLog: site.log.segmented(way),
        logConnected: () => site.log.isReachable(way),
        backChannel: this.witness.backChannel(site.log.backChannel(way), process),
        leaseStore: site.log.leaseStore(way, "primary"),
        leaseMs: 3000,
        incarnation: process.name,
        serve: async (handlers: PrimaryHandlers) => {
          this.#doors.set(machine.name, { process, handlers });
          return { address: machine.name, close: async () => void this.#doors.delete(machine.name) };
        },
      }),
    );
  }

  async #beginGlobal(machine: Machine, process: SimProcess): Promise<void> {
    const toHub = this.links.get(`${machine.name}/hub`)!;
    const running = await startGlobal(
      this.#plant.global({
        ...this.#common(machine, process),
        topology: this.topology,
        name: machine.name,
        dataDir: "/data",
        disk: machine.disk.files(process),
        web: async () => {},
        hub: (datacenter) => {
          const { leaf, log } = this.sites.find((each) => each.datacenter.name === datacenter.name)!;
          const way: Way = { process, links: [toHub, leaf], relays: [this.hub] };
          return {
            log: log.reader(way),
            backChannel: this.witness.backChannel(log.backChannel(way), process),
            connected: () => this.hub.up && !toHub.isCut("up"),
          };
        },
        leaseStore: this.#hubLog.leaseStore({ process, links: [toHub], relays: [] }, "global"),
        leaseMs: 3000,
        incarnation: process.name,
        probe: async () => {
          await process.wait(20);
          return 200;
        },
      }),
    );
    machine.source = running.source;
    machine.ready = () => running.ready() === undefined;
  }

  #common(machine: Machine, process: SimProcess) {
    return {
      clock: process.clock,
      random: seededRandom(this.random.below(2 ** 31)),
      log: this.#logger(process),
      metrics: createRegistry({ tier: machine.tier }),
      http: silentFront,
    };
  }

  #logger(process: SimProcess): Logger {
    const say = (level: string) => (fields: object, sentence: string) =>
      this.tell(`${process.name} ${level}: ${sentence} ${JSON.stringify(fields)}`);
    const logger: Logger = {
      debug() {},
      info: say("info"),
      warn: say("warn"),
      error: say("error"),
      child: () => logger,
    };
    return logger;
  }

  #bug(error: unknown): void {
    this.witness.violated("thrown", error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

/** Has every route and never listens. */
const silentFront: HttpFront = (options) => ({ ...createHttpServer(options), start: async () => options.listen });

function topologyOf(): Topology {
  const port = (() => {
    let next = 9400;
    return () => `{ listen: "127.0.0.1:${next++}" }`;
  })();
  const datacenter = (name: string) => `
  - name: ${name}
    region: ${name}
    nats: { servers: ["nats://127.0.0.1:4222"] }
    primaries:
      - { name: ${name}-p1, http: ${port()}, grpc: ${port()} }
      - { name: ${name}-p2, http: ${port()}, grpc: ${port()} }
    secondaries:
      - { name: ${name}-s1, capacity: 10, http: ${port()} }
      - { name: ${name}-s2, capacity: 10, http: ${port()} }
    scrape_configs:
      - job_name: node
        file_sd_configs: [{ files: [targets.json] }]`;
  const text = `format_version: 1
federation: sim
head_retention: 1d
scrape_defaults: { scrape_interval: 5s, scrape_timeout: 4s }
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair: [${globalNames.map((name) => `{ name: ${name}, http: ${port()} }`).join(", ")}]
datacenters:${datacenterNames.map(datacenter).join("")}
`;
  const { topology, problems } = parseTopology(text, "sim.yaml");
  if (!topology) throw new Error(JSON.stringify(problems));
  return topology;
}

// A whole federation in one process: the tiers' real code on simulated clocks, disks, networks and log servers.
//
//     2 data centres × (1 or 2 primaries, 1 to 3 secondaries, a log server, 6 targets), the hub, 2 globals
//
// A machine outlives its processes: it keeps its disk and its clock. Whatever a process may do wrong is put into the story.

import { startGlobal } from "#/global/global.ts";
import { MiB, minuteMs } from "#/lib/bytes/units.ts";
import { openBackChannel } from "#/lib/commitlog/backchannel.ts";
import { openDatacenterLog } from "#/lib/commitlog/datacenter.ts";
import { openHubLog } from "#/lib/commitlog/hub.ts";
import { connectTwin, joinTwins } from "#/lib/commitlog/twin.ts";
import type { HttpFront, HttpServer } from "#/lib/http/server.ts";
import type { LedgerBook } from "#/lib/ledger/book.ts";
import { type Logger, silentLogger } from "#/lib/logger/logger.ts";
import type { SampleSource } from "#/lib/model/source.ts";
import { openLeaseStore } from "#/lib/pair/kv.ts";
import { type Random, seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import type { NatsLink } from "#/lib/wire/jetstream.ts";
import type { PrimaryHandlers } from "#/lib/wire/session.ts";
import { type RunningPrimary, startPrimary } from "#/primary/primary.ts";
import type { Fetcher } from "#/secondary/scrape/fetch.ts";
import { startSecondary } from "#/secondary/secondary.ts";
import { type StartShards, startShard } from "#/secondary/shard.ts";
import { SimDisk } from "#/test/sim/disk.ts";
import { SimLists } from "#/test/sim/lists.ts";
import { connect, type Door, Link } from "#/test/sim/network.ts";
import { type Plant, unplanted } from "#/test/sim/planted.ts";
import { MachineClock, SimProcess } from "#/test/sim/process.ts";
import { type Handle, Scheduler } from "#/test/sim/scheduler.ts";
import { SimServer } from "#/test/sim/server.ts";
import { globalNames, type Shape, shapeOf, spoolBytesOf, topologyOf } from "#/test/sim/shape.ts";
import { SimTargets, type TargetsCut } from "#/test/sim/targets.ts";
import { Witness } from "#/test/sim/witness.ts";
import { accountOf } from "#/topology/nats.ts";
import type { Datacenter, Topology } from "#/topology/schema.ts";

const usualTargets = 6;
const storyLinesMax = 4000;
/** systemd's patience, much shortened. */
const stopMsMax = 10_000;
const rollEveryMs = 15_000;
/** An operator who drains asks again for some minutes. */
const drainAskMs = 5000;
const drainTriesMax = 60;
const leafDelayMs = 8;
const logLimits = { bytesMax: 64 * MiB, ageMaxMs: 24 * 60 * minuteMs, replicas: 1 };

export type Tier = "secondary" | "primary" | "global";

export interface Machine {
  readonly name: string;
  readonly tier: Tier;
  readonly datacenter: Datacenter | undefined;
  readonly disk: SimDisk;
  readonly clock: MachineClock;
  /** Its way to all targets, of a secondary. */
  targetsCut: TargetsCut | undefined;
  process: SimProcess | undefined;
  /** What runs in it, once it has begun. */
  running: { close(): Promise<void> } | undefined;
  starts: number;
  retry: Handle | undefined;
  source: SampleSource | undefined;
  /** By data centre, of a global that runs. */
  ledgers: ReadonlyMap<string, LedgerBook> | undefined;
  /** While it is a primary that runs. */
  primary: RunningPrimary | undefined;
  ready: () => boolean;
}

export interface Site {
  readonly datacenter: Datacenter;
  readonly log: SimServer;
  readonly lists: SimLists;
  /** From this data centre's log server to the hub. */
  readonly leaf: Link;
}

export class World {
  readonly scheduler = new Scheduler();
  readonly seed: number;
  readonly random: Random;
  readonly targets: SimTargets;
  readonly shape: Shape;
  readonly sites: readonly Site[];
  readonly machines: readonly Machine[];
  readonly hubLog: SimServer;
  readonly witness: Witness;
  readonly story: string[] = [];
  /** Between the machine and what it connects to: `s1/p1`, `p1/log`, `g1/hub`. */
  readonly links = new Map<string, Link>();
  /** Of each secondary that the topology file names: its capacity. */
  /** Of each secondary. */
  readonly #starts = new Map<string, number>();
  readonly #capacities: Map<string, number>;
  readonly #doors = new Map<string, Door>();
  readonly #plant: Plant;
  readonly #spoolBytesMax: number | undefined;
  #topology: Topology;

  constructor(options: {
    readonly seed: number;
    readonly plant?: Plant;
    /** In place of one of those that `shapeOf` makes. */
    readonly shape?: (random: Random) => Shape;
    readonly targetsPerDatacenter?: number;
    /** Spools that overflow, whatever the seed says; or none of them. */
    readonly smallSpools?: boolean | "never";
  }) {
    const { targetsPerDatacenter = usualTargets } = options;
    this.seed = options.seed;
    this.#plant = options.plant ?? unplanted;
    this.random = seededRandom(options.seed);
    const { smallSpools = false } = options;
    const spoolBytes = () => spoolBytesOf(seededRandom(options.seed ^ 0x2c1b3c6d), smallSpools === true);
    this.#spoolBytesMax = smallSpools === "never" ? undefined : spoolBytes();
    this.shape = (options.shape ?? shapeOf)(this.random);
    this.#topology = topologyOf(this.shape);
    const { datacenters } = this.#topology;
    this.#capacities = new Map(datacenters.flatMap((each) => each.secondaries.map((it) => [it.name, it.capacity])));
    const { scheduler } = this;
    scheduler.onError = (error) => this.#bug(error);
    const parts = () => ({ scheduler, random: seededRandom(this.random.below(2 ** 31)) });
    this.targets = new SimTargets({ count: this.shape.datacenters.length * targetsPerDatacenter, ...parts() });
    const primaries = (name: string) => this.shape.datacenters.find((each) => each.name === name)!.primaries;
    this.witness = new Witness({ targets: this.targets, scheduler, primaries });
    const clock = () => {
      const offsetMs = (this.random.next() - 0.5) * 40;
      return new MachineClock({ scheduler, offsetMs, drift: (this.random.next() - 0.5) * 1e-4 });
    };
    const server = (name: string) =>
      new SimServer({
        name,
        clock: clock(),
        onAppend: (entry, id) => this.witness.appended(name, entry, id),
        ...parts(),
      });
    this.hubLog = server("hub");
    this.sites = datacenters.map((datacenter, i) => {
      const log = server(datacenter.name);
      const numbers = Array.from({ length: targetsPerDatacenter }, (_, k) => i * targetsPerDatacenter + k);
      const leaf = new Link(parts());
      leaf.delayMs = leafDelayMs;
      joinTwins({ datacenter: log.twin, hub: this.hubLog.twin, account: accountOf(datacenter.name), line: leaf.line });
      return { datacenter, log, lists: new SimLists(numbers), leaf };
    });
    const machine = (name: string, tier: Tier, datacenter?: Datacenter): Machine => ({
      name,
      tier,
      datacenter,
      disk: new SimDisk(parts()),
      clock: clock(),
      targetsCut: undefined,
      process: undefined,
      running: undefined,
      starts: 0,
      retry: undefined,
      source: undefined,
      ledgers: undefined,
      primary: undefined,
      ready: () => false,
    });
    const machines: Machine[] = [];
    for (const datacenter of datacenters) {
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
    machine.running = undefined;
    machine.source = undefined;
    machine.ledgers = undefined;
    machine.primary = undefined;
    const begun = this.#begin(machine, process);
    const keep = (running: { close(): Promise<void> }) => {
      if (machine.process === process) machine.running = running;
    };
    begun.then(keep, (error: unknown) => {
      // As systemd does: a process that cannot start, on a disk that fails for instance, is started again.
      this.tell(`${name} could not start: ${String(error)}`);
      process.kill();
      machine.retry?.cancel();
      machine.retry = this.scheduler.after(5000, () => this.start(machine));
    });
  }

  kill(machine: Machine): void {
    machine.process?.kill();
    machine.source = undefined;
    machine.ledgers = undefined;
    machine.primary = undefined;
    machine.running = undefined;
    machine.ready = () => false;
    this.#doors.delete(machine.name);
  }

  /** As an operator's restart: what runs there ends in order, or is killed when it takes too long. */
  stop(machine: Machine): void {
    const { process, running } = machine;
    if (!process || process.dead) return;
    const kill = () => {
      if (machine.process === process) this.kill(machine);
    };
    this.#doors.delete(machine.name);
    this.scheduler.after(stopMsMax, kill);
    if (running) void running.close().then(kill, kill);
    else kill();
  }

  /**
   * An operator gives a secondary another capacity in the topology file, or 0 to take it out, and has the primaries read it
   * again, or restarts primaries and globals in order, one after the other.
   */
  changeCapacity(secondary: string, capacity: number, by: "reload" | "restart"): void {
    this.#capacities.set(secondary, capacity);
    this.#topology = topologyOf(this.shape, this.#capacities);
    if (by === "reload") {
      for (const { primary, process } of this.machines) process?.enter(() => void primary?.reload());
      return;
    }
    const readers = this.machines.filter(({ tier }) => tier !== "secondary");
    for (const [i, machine] of readers.entries()) {
      this.scheduler.after(i * rollEveryMs, () => this.stop(machine));
      this.scheduler.after(i * rollEveryMs + stopMsMax + 1, () => this.start(machine));
    }
  }

  /** An operator asks each primary that runs until one does it; not for ever. */
  drain(secondary: string, wanted: boolean, onDone: () => void = () => {}): void {
    const site = this.sites.find(({ datacenter }) => datacenter.secondaries.some(({ name }) => name === secondary))!;
    const primaries = this.machines.filter((each) => each.tier === "primary" && each.datacenter === site.datacenter);
    let done = false;
    const asked = { name: secondary, wanted, force: true };
    const ask = (tries: number) => {
      if (done || tries === 0) return;
      for (const { primary, process } of primaries) {
        if (process?.paused !== false) continue;
        void primary?.drain(asked).then(({ status }) => {
          if (done || status !== 200) return;
          done = true;
          onDone();
        });
      }
      this.scheduler.after(drainAskMs, () => ask(tries - 1));
    };
    ask(drainTriesMax);
  }

  /** As the topology file says now. */
  capacityOf(secondary: string): number {
    return this.#capacities.get(secondary)!;
  }

  async #begin(machine: Machine, process: SimProcess): Promise<{ close(): Promise<void> }> {
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

  async #beginSecondary(machine: Machine, process: SimProcess): Promise<{ close(): Promise<void> }> {
    const datacenter = machine.datacenter!;
    const witness = this.witness.spool(datacenter.name, machine);
    return await startSecondary(
      this.#plant.secondary({
        ...this.#common(machine, process),
        datacenter: datacenter.name,
        name: machine.name,
        primaries: datacenter.primaries.map(({ name }) => name),
        listen: "127.0.0.1:0",
        store: machine.disk.spool(process, witness),
        ...(this.#spoolBytesMax !== undefined && { spoolBytesMax: this.#spoolBytesMax }),
        connect: (address) =>
          connect({
            client: process,
            link: this.links.get(`${machine.name}/${address}`)!,
            door: () => this.#doors.get(address),
            onHeard: (message) => this.witness.heard(datacenter.name, machine, message),
          }),
        shards: this.#shardsOf(
          machine,
          this.targets.fetcher(process, () => machine.targetsCut),
        ),
      }),
    );
  }

  /** The first secondary of each data centre has two shards at its first start, one at the next, and so on. */
  #shardsOf({ name }: Machine, fetcher: Fetcher): StartShards {
    const starts = (this.#starts.get(name) ?? 0) + 1;
    this.#starts.set(name, starts);
    const shards = name.endsWith("1") && starts % 2 === 1 ? 2 : 1;
    return (parts) => Array.from({ length: shards }, (_, shard) => startShard({ ...parts, shard }, { fetcher }));
  }

  async #beginPrimary(machine: Machine, process: SimProcess): Promise<{ close(): Promise<void> }> {
    const site = this.sites.find(({ datacenter }) => datacenter === machine.datacenter)!;
    const topology = this.#topology;
    const datacenter = topology.datacenters.find((each) => each.name === machine.datacenter!.name)!;
    const common = this.#common(machine, process);
    const { log, metrics } = common;
    const link = this.#connect(process, site.log, "", this.links.get(`${machine.name}/log`)!);
    const { name } = datacenter;
    const running = await startPrimary(
      this.#plant.primary({
        ...common,
        topology,
        topologyDir: "/etc/heliograph",
        datacenter,
        primary: datacenter.primaries.find((each) => each.name === machine.name)!,
        dataDir: "/data",
        disk: machine.disk.files(process),
        discoveryDisk: site.lists.disk(process, this.scheduler),
        commitLog: openDatacenterLog({
          link,
          datacenter: name,
          limits: logLimits,
          outlastsPowerCuts: false,
          clock: process.clock,
          log,
          metrics,
        }),
        logConnected: () => link.connected,
        backChannel: this.witness.backChannel(openBackChannel({ link, datacenter: name, log, metrics }), process),
        leaseStore: openLeaseStore({ link, bucket: "heliograph", key: `primary-${name}`, replicas: 1 }),
        leaseMs: this.shape.leaseMs,
        incarnation: process.name,
        reread: async () => this.#topology,
        serve: async (handlers: PrimaryHandlers) => {
          this.#doors.set(machine.name, { process, handlers });
          return { address: machine.name, close: async () => void this.#doors.delete(machine.name) };
        },
      }),
    );
    machine.primary = running;
    machine.source = running.source;
    machine.ready = () => running.ready() === undefined;
    return running;
  }

  async #beginGlobal(machine: Machine, process: SimProcess): Promise<{ close(): Promise<void> }> {
    const toHub = this.links.get(`${machine.name}/hub`)!;
    const common = this.#common(machine, process);
    const { log, metrics } = common;
    const { clock } = process;
    const leaseLink = this.#connect(process, this.hubLog, "GLOBAL", toHub);
    const running = await startGlobal(
      this.#plant.global({
        ...common,
        topology: this.#topology,
        name: machine.name,
        dataDir: "/data",
        disk: machine.disk.files(process),
        web: async () => {},
        hub: ({ name: datacenter }) => {
          const link = this.#connect(process, this.hubLog, accountOf(datacenter), toHub);
          const hub = { link, datacenter, domain: datacenter, replicas: 1, clock, log, metrics };
          return {
            log: openHubLog(hub),
            backChannel: this.witness.backChannel(openBackChannel(hub), process),
            connected: () => link.connected,
          };
        },
        leaseStore: openLeaseStore({ link: leaseLink, bucket: "heliograph", key: "global", replicas: 1 }),
        leaseMs: this.shape.leaseMs,
        incarnation: process.name,
        probe: async () => {
          await process.wait(20);
          return 200;
        },
      }),
    );
    machine.source = running.source;
    machine.ledgers = running.ledgers;
    machine.ready = () => running.ready() === undefined;
    return running;
  }

  /** Its connection ends with it. */
  #connect(process: SimProcess, server: SimServer, account: string, { line }: Link): NatsLink {
    const { clock } = process;
    const random = seededRandom(this.random.below(2 ** 31));
    const enter = (run: () => void) => process.enter(run);
    const link = connectTwin({ server: server.twin, account, line, clock, random, log: silentLogger(), enter });
    process.onDeath(() => void link.close());
    return link;
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

/** Takes every route, and nobody asks: making a real one's router would be a twentieth of a simulation. */
const silentFront: HttpFront = ({ listen }) => {
  const app: HttpServer["app"] = new Proxy({} as HttpServer["app"], { get: () => () => app });
  return { app, start: async () => listen, close: async () => {} };
};

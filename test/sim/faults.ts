// What befalls the federation, planned from the seed before it begins: so that a story can be told again with one fault less.
//
// Faults that come alone rarely break anything that was thought of. So a good share comes as storms (storms.ts): some faults
// within seconds, aimed at one place. Each part of a storm is a fault of its own, which shrinking may leave out; whom exactly
// an aim means, the holder of a lease for instance, is found out when it strikes.

import type { Random } from "#/lib/random/random.ts";
import { type PlannedKind, planned } from "#/test/sim/kinds.ts";
import type { Direction, Link } from "#/test/sim/network.ts";
import { type Aim, type Part, storms } from "#/test/sim/storms.ts";
import type { Machine, Site, Tier, World } from "#/test/sim/world.ts";

/** What comes of them. */
const consequences = ["disk_torn", "log_tail_lost", "hub_tail_lost"] as const;

export const faultKinds = [...planned, ...consequences] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Fault {
  readonly kind: PlannedKind;
  readonly atMs: number;
  readonly lastsMs: number;
  /** Chooses whom it hits, and how hard: uniform in [0, 1). */
  readonly whom: number;
  readonly how: number;
  /** Where in the data centre that `whom` chooses; without it, anywhere that the kind can strike. */
  readonly aim?: Aim;
  readonly storm?: string;
}

/** As a supervisor that starts a process again waits for its end. */
const stopLookMs = 50;

/** Far beyond what quartz does, and well within a lease's margin. */
const driftMax = 0.02;

const stormShare = 0.45;
/** So that a fault a minute comes on average, with storms of 3.1 parts. */
const gapMsMax = 210_000;

export function planFaults(random: Random, untilMs: number): readonly Fault[] {
  const faults: Fault[] = [];
  for (let atMs = 20_000; ; ) {
    atMs += random.next() * gapMsMax;
    if (atMs > untilMs) return faults.toSorted((a, b) => a.atMs - b.atMs);
    if (random.next() < stormShare) faults.push(...planStorm(random, atMs));
    else faults.push(planOne(random, atMs));
  }
}

/** A fifth lasts long enough for leases, patience and buffers to end; those of targets all do, or no scrape would meet them. */
function planOne(random: Random, atMs: number): Fault {
  const kind = planned[random.below(planned.length)]!;
  const long = kind.startsWith("target") || random.next() < 0.2;
  const lastsMs = (long ? 20_000 : 500) + random.next() * (long ? 160_000 : 20_000);
  return { kind, atMs, lastsMs, whom: random.next(), how: random.next() };
}

function planStorm(random: Random, beganMs: number): readonly Fault[] {
  const { name, parts } = storms[random.below(storms.length)]!;
  // The same for all parts: one place, and the same machine where the aim is the same.
  const whom = random.next();
  const between = ([min, max]: Part["afterSeconds"]) => 1000 * (min + random.next() * (max - min));
  return parts.flatMap(({ afterSeconds, aim, kinds, lastsSeconds, odds = 1 }) => {
    const kind = kinds[random.below(kinds.length)]!;
    const atMs = beganMs + between(afterSeconds);
    const fault = { kind, atMs, lastsMs: between(lastsSeconds), whom, how: random.next(), aim, storm: name };
    return random.next() < odds ? [fault] : [];
  });
}

export function describe(fault: Fault): string {
  const { aim, kind, atMs, lastsMs, storm, whom, how } = fault;
  const place = storm ? ` at ${aim} in ${storm}` : "";
  return `${kind}${place} at ${(atMs / 1000).toFixed(1)} s for ${(lastsMs / 1000).toFixed(1)} s (${whom.toFixed(3)}, ${how.toFixed(3)})`;
}

/** Does it now, and undoes it when its time is over. `hit` is called when something felt it. */
export function strike(world: World, fault: Fault, hit: (kind: FaultKind) => void): void {
  const { aim, how, kind, lastsMs } = fault;
  const later = (undo: () => void) => void world.scheduler.after(lastsMs, undo);
  const pick = <T>(all: readonly T[]): T => all[Math.floor(fault.whom * all.length)]!;
  const tell = (what: string) => world.tell(`FAULT ${kind}: ${what} for ${Math.round(lastsMs)} ms`);
  const site = pick(world.sites);
  const machineOf = (...tiers: readonly Tier[]): Machine =>
    machineAt(world, fault, site) ?? pick(world.machines.filter(({ tier }) => tiers.includes(tier)));
  const counted = (read: () => number) => {
    const before = read();
    later(() => {
      if (read() > before) hit(kind);
    });
  };
  const cutPower = (machine: Machine) => {
    const { hits } = machine.disk;
    const before = hits.lostSectors;
    world.kill(machine);
    machine.disk.powerCut();
    if (hits.lostSectors > before) hit("disk_torn");
  };
  const server = kind.startsWith("hub_") ? world.hubLog : site.log;
  const stopServer = (how: "kill" | "powerCut" | "wipe") => {
    const before = server.hits.lostEntries;
    if (how === "powerCut") server.powerCut();
    else server.kill();
    if (how === "wipe") server.wipe();
    later(() => server.start());
    if (server.hits.lostEntries > before) hit(server === world.hubLog ? "hub_tail_lost" : "log_tail_lost");
    if (how === "wipe" || server.hits.lostEntries > before) world.witness.lost(server.name);
  };

  const crash = (machine: Machine, power: boolean) => {
    tell(machine.name);
    if (machine.process && !machine.process.dead) hit(kind);
    if (power) cutPower(machine);
    else world.kill(machine);
    later(() => world.start(machine));
  };
  const cut = (...directions: readonly Direction[]) => {
    const [name, link] = linkAt(world, fault, site) ?? pick(linksOf(world));
    tell(name);
    hit(kind);
    if (kind === "delay") link.delayMs = 20 + how * (aim ? 300 : 1500);
    else link.cut(...directions);
    later(() => link.heal());
  };

  switch (kind) {
    case "crash_secondary":
      crash(machineOf("secondary"), false);
      return;
    case "crash_primary":
      crash(machineOf("primary"), false);
      return;
    case "crash_global":
      crash(machineOf("global"), false);
      return;
    case "power_secondary":
      crash(machineOf("secondary"), true);
      return;
    case "power_primary":
      crash(machineOf("primary"), true);
      return;
    case "power_global":
      crash(machineOf("global"), true);
      return;
    case "power_site": {
      tell(site.datacenter.name);
      if (site.log.up) hit(kind);
      stopServer("powerCut");
      for (const [i, machine] of world.machines.filter((each) => each.datacenter === site.datacenter).entries()) {
        cutPower(machine);
        // They do not all take the same time to start.
        world.scheduler.after(lastsMs + ((how * 100 * (i + 1)) % 7) * 1000, () => world.start(machine));
      }
      return;
    }
    case "stop": {
      const machine = machineOf("secondary", "primary", "global");
      const { process, running } = machine;
      tell(machine.name);
      if (process && !process.dead && running) hit(kind);
      world.stop(machine);
      const startAgain = () => {
        if (machine.process === process && !process?.dead) world.scheduler.after(stopLookMs, startAgain);
        else world.start(machine);
      };
      later(startAgain);
      return;
    }
    case "pause": {
      const { process, name } = machineOf("secondary", "primary", "global");
      tell(name);
      if (process && !process.dead && !process.paused) hit(kind);
      process?.pause();
      later(() => process?.resume());
      return;
    }
    case "log_crash":
    case "hub_crash":
    case "log_power":
    case "hub_power":
    case "log_wipe":
    case "hub_wipe":
      tell(server.name);
      if (server.up) hit(kind);
      stopServer(kind.endsWith("crash") ? "kill" : kind.endsWith("power") ? "powerCut" : "wipe");
      return;
    case "log_stands":
    case "hub_stands":
      tell(server.name);
      counted(() => server.hits.standing);
      server.standing = true;
      later(() => server.resume());
      return;
    case "log_full":
    case "hub_full":
      tell(server.name);
      counted(() => server.hits.full);
      server.full = true;
      later(() => {
        server.full = false;
      });
      return;
    case "cut_both":
    case "delay":
      cut("up", "down");
      return;
    case "cut_up":
      cut("up");
      return;
    case "cut_down":
      cut("down");
      return;
    case "loss":
    case "duplicate":
    case "reorder": {
      const toServers = linksOf(world).filter(([name]) => /\/(log|hub|leaf)$/.test(name));
      const [name, { line }] = linkAt(world, fault, site) ?? pick(toServers);
      tell(name);
      counted(() => line.hits[kind]);
      line.mishaps = { ...line.mishaps, [kind]: 0.02 + how * 0.3 };
      later(() => {
        line.mishaps = { ...line.mishaps, [kind]: 0 };
      });
      return;
    }
    case "reset": {
      const aimed = linkAt(world, fault, site);
      const busy = aimed ? [aimed] : linksOf(world).filter(([, link]) => link.busy);
      if (busy.length === 0) return;
      const [name, link] = pick(busy);
      tell(name);
      if (link.busy) hit(kind);
      link.breakAll();
      return;
    }
    case "clock_step": {
      const machine = machineOf("secondary", "primary", "global");
      const byMs = (how - 0.5) * (aim || how > 0.8 || how < 0.2 ? 30_000 : 1500);
      tell(`${machine.name} by ${Math.round(byMs)} ms`);
      hit(kind);
      machine.clock.offsetMs += byMs;
      later(() => {
        machine.clock.offsetMs -= byMs;
      });
      return;
    }
    case "clock_drift": {
      const { clock, name } = machineOf("secondary", "primary", "global");
      const drift = (how - 0.5) * 2 * driftMax;
      tell(`${name} by ${(drift * 100).toFixed(1)} %`);
      hit(kind);
      clock.bend(drift);
      later(() => {
        clock.bend(-drift);
        // What keeps clocks right sets it back at once.
        clock.offsetMs -= drift * lastsMs;
      });
      return;
    }
    case "disk_slow":
    case "disk_full":
    case "disk_failing": {
      const { disk, name } = machineOf("secondary", "primary", "global");
      tell(name);
      counted(() =>
        kind === "disk_slow" ? disk.hits.slow : kind === "disk_full" ? disk.hits.full : disk.hits.failing,
      );
      if (kind === "disk_slow") disk.slowMs = 200 + how * 4000;
      else if (kind === "disk_full") disk.full = true;
      else disk.failing = true;
      later(() => disk.heal());
      return;
    }
    case "target_dead":
    case "target_slow":
    case "target_nonsense": {
      const state = pick(world.targets.states);
      tell(`target ${world.targets.states.indexOf(state)}`);
      const { hits } = world.targets;
      counted(() => (kind === "target_dead" ? hits.dead : kind === "target_slow" ? hits.slow : hits.nonsense));
      if (kind === "target_dead") state.dead = true;
      else if (kind === "target_slow") state.slowMs = 2000 + how * 8000;
      else state.nonsense = true;
      later(() => {
        state.dead = false;
        state.slowMs = 0;
        state.nonsense = false;
      });
      return;
    }
    case "targets_cut": {
      const machine = machineOf("secondary");
      tell(machine.name);
      counted(() => world.targets.hits.cut);
      machine.targetsCut = how < 0.5 ? "refused" : "silent";
      later(() => {
        machine.targetsCut = undefined;
        world.witness.reaches(machine.name);
      });
      return;
    }
    case "target_layout": {
      const target = Math.floor(fault.whom * world.targets.states.length);
      tell(`target ${target}`);
      hit(kind);
      world.targets.changeLayout(target);
      return;
    }
    case "operator_list":
      tell(`${site.datacenter.name}: ${site.lists.toggle(Math.floor(how * 100))}`);
      hit(kind);
      later(() => {
        site.lists.toggle(Math.floor(how * 100));
      });
      return;
    case "operator_capacity":
    case "operator_remove": {
      const { name, datacenter } = machineOf("secondary");
      const others = world.machines.filter((each) => each.tier === "secondary" && each.datacenter === datacenter);
      const before = world.capacityOf(name);
      const left = others.reduce((sum, each) => sum + (each.name === name ? 0 : world.capacityOf(each.name)), 0);
      // The topology file must name one at least.
      if (kind === "operator_remove" && left === 0) return;
      const by = how < 0.5 ? "reload" : "restart";
      tell(`${name}, ${by}`);
      hit(kind);
      world.changeCapacity(name, kind === "operator_remove" ? 0 : 1 + Math.floor(how * 10), by);
      later(() => world.changeCapacity(name, before, by));
      return;
    }
    case "operator_drain": {
      const { name } = machineOf("secondary");
      tell(name);
      world.drain(name, true, () => hit(kind));
      later(() => world.drain(name, false));
      return;
    }
    default:
      kind satisfies never;
  }
}

function linksOf(world: World): readonly (readonly [string, Link])[] {
  return [...world.links, ...world.sites.map(({ datacenter, leaf }) => [`${datacenter.name}/leaf`, leaf] as const)];
}

/** What is left of `whom` when the data centre is chosen by it. */
function within(world: World, { whom }: Fault): number {
  return (whom * world.sites.length) % 1;
}

/** In a data centre of one primary or one secondary the other one is the same. */
function machineAt(world: World, fault: Fault, site: Site): Machine | undefined {
  const tierOf = (tier: Tier) =>
    world.machines.filter((each) => each.tier === tier && (tier === "global" || each.datacenter === site.datacenter));
  const nth = (tier: Tier, further: number) => {
    const all = tierOf(tier);
    return all[(Math.floor(within(world, fault) * all.length) + further) % all.length];
  };
  const holderOf = (tier: Tier, further: number) => {
    const pair = tierOf(tier);
    const holder = world.witness.holderOf(tier === "global" ? "global" : site.datacenter.name);
    const found = pair.findIndex(({ name }) => holder.startsWith(`${name}#`));
    return found < 0 ? nth(tier, further) : pair[(found + further) % pair.length];
  };
  switch (fault.aim) {
    case "secondary":
      return nth("secondary", 0);
    case "other_secondary":
      return nth("secondary", 1);
    case "primary":
      return nth("primary", 0);
    case "other_primary":
      return nth("primary", 1);
    case "global":
      return nth("global", 0);
    case "other_global":
      return nth("global", 1);
    case "holder":
      return holderOf("primary", 0);
    case "candidate":
      return holderOf("primary", 1);
    case "global_holder":
      return holderOf("global", 0);
    default:
      return undefined;
  }
}

function linkAt(world: World, fault: Fault, site: Site): readonly [string, Link] | undefined {
  const linkOf = (name: string) => [name, world.links.get(name)!] as const;
  const at = (aim: Aim) => machineAt(world, { ...fault, aim }, site)!.name;
  switch (fault.aim) {
    case "leaf":
      return [`${site.datacenter.name}/leaf`, site.leaf];
    case "primary":
    case "other_primary":
    case "holder":
    case "candidate":
      return linkOf(`${at(fault.aim)}/log`);
    case "global":
    case "other_global":
    case "global_holder":
      return linkOf(`${at(fault.aim)}/hub`);
    case "secondary":
    case "other_secondary":
      return linkOf(`${at(fault.aim)}/${at("primary")}`);
    case "secondary_other_way":
      return linkOf(`${at("secondary")}/${at("other_primary")}`);
    default:
      return undefined;
  }
}

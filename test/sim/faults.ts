// What befalls the federation, planned from the seed before it begins: so that a story can be told again with one fault less.

import type { Random } from "#/lib/random/random.ts";
import type { Direction } from "#/test/sim/network.ts";
import type { Machine, Tier, World } from "#/test/sim/world.ts";

export const faultKinds = [
  "crash_secondary",
  "crash_primary",
  "crash_global",
  "power_secondary",
  "power_primary",
  "power_global",
  "pause",
  "log_crash",
  "log_power",
  "log_stands",
  "log_full",
  "hub_away",
  "cut_both",
  "cut_up",
  "cut_down",
  "reset",
  "delay",
  "clock_step",
  "disk_slow",
  "disk_full",
  "disk_failing",
  "target_dead",
  "target_slow",
  "target_nonsense",
  "target_layout",
  "operator_list",
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Fault {
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly lastsMs: number;
  /** Chooses whom it hits, and how hard: uniform in [0, 1). */
  readonly whom: number;
  readonly how: number;
}

/** About one a minute; a fifth lasts long enough for leases, patience and buffers to end. */
export function planFaults(random: Random, untilMs: number): readonly Fault[] {
  const faults: Fault[] = [];
  for (let atMs = 20_000; ; ) {
    atMs += random.next() * 120_000;
    const long = random.next() < 0.2;
    const lastsMs = (long ? 20_000 : 500) + random.next() * (long ? 160_000 : 20_000);
    const kind = faultKinds[random.below(faultKinds.length)]!;
    if (atMs > untilMs) return faults;
    faults.push({ kind, atMs, lastsMs, whom: random.next(), how: random.next() });
  }
}

export function describe(fault: Fault): string {
  const { kind, atMs, lastsMs, whom, how } = fault;
  return `${kind} at ${(atMs / 1000).toFixed(1)} s for ${(lastsMs / 1000).toFixed(1)} s (${whom.toFixed(3)}, ${how.toFixed(3)})`;
}

/** Does it now, and undoes it when its time is over. `hit` is called when something felt it. */
export function strike(world: World, fault: Fault, hit: (kind: FaultKind) => void): void {
  const { kind, lastsMs, how } = fault;
  const later = (undo: () => void) => void world.scheduler.after(lastsMs, undo);
  const pick = <T>(all: readonly T[]): T => all[Math.floor(fault.whom * all.length)]!;
  const tell = (what: string) => world.tell(`FAULT ${kind}: ${what} for ${Math.round(lastsMs)} ms`);
  const machineOf = (...tiers: readonly Tier[]) => pick(world.machines.filter(({ tier }) => tiers.includes(tier)));
  const site = pick(world.sites);
  const counted = (read: () => number) => {
    const before = read();
    later(() => {
      if (read() > before) hit(kind);
    });
  };

  const crash = (machine: Machine, power: boolean) => {
    tell(machine.name);
    if (machine.process && !machine.process.dead) hit(kind);
    world.kill(machine);
    if (power) machine.disk.powerCut();
    later(() => world.start(machine));
  };
  const cut = (...directions: readonly Direction[]) => {
    const all = [...world.links, ...world.sites.map((each) => [`${each.datacenter.name}/leaf`, each.leaf] as const)];
    const [name, link] = pick(all);
    tell(name);
    hit(kind);
    if (kind === "delay") link.delayMs = 20 + how * 1500;
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
    case "pause": {
      const { process, name } = machineOf("secondary", "primary", "global");
      tell(name);
      if (process && !process.dead && !process.paused) hit(kind);
      process?.pause();
      later(() => process?.resume());
      return;
    }
    case "log_crash":
    case "log_power":
      tell(site.datacenter.name);
      if (site.log.up) hit(kind);
      if (kind === "log_power") site.log.powerCut();
      else site.log.kill();
      later(() => site.log.start());
      return;
    case "log_stands":
      tell(site.datacenter.name);
      counted(() => site.log.hits.standing);
      site.log.standing = true;
      later(() => site.log.resume());
      return;
    case "log_full":
      tell(site.datacenter.name);
      counted(() => site.log.hits.full);
      site.log.full = true;
      later(() => {
        site.log.full = false;
      });
      return;
    case "hub_away":
      tell("the hub");
      if (world.hub.up) hit(kind);
      world.killHub();
      later(() => world.startHub());
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
    case "reset": {
      const busy = [...world.links].filter(([, link]) => link.busy);
      if (busy.length === 0) return;
      const [name, link] = pick(busy);
      tell(name);
      hit(kind);
      link.breakAll();
      return;
    }
    case "clock_step": {
      const machine = pick(world.machines);
      const byMs = (how - 0.5) * (how > 0.8 || how < 0.2 ? 30_000 : 1500);
      tell(`${machine.name} by ${Math.round(byMs)} ms`);
      hit(kind);
      machine.clock.offsetMs += byMs;
      later(() => {
        machine.clock.offsetMs -= byMs;
      });
      return;
    }
    case "disk_slow":
    case "disk_full":
    case "disk_failing": {
      const { disk, name } = pick(world.machines);
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
      else if (kind === "target_slow") state.slowMs = 1000 + how * 6000;
      else state.nonsense = true;
      later(() => {
        state.dead = false;
        state.slowMs = 0;
        state.nonsense = false;
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
    default:
      kind satisfies never;
  }
}

// One federation whose secondaries are lost, one after the other and each in a way of its own, and nothing else: then promise 3 can be
// asked for to the slot. `make sim-moves` does it for many seeds.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import { type Generation, isNewer } from "#/lib/model/generation.ts";
import { slotAt, slotTimeMs, type Target } from "#/lib/model/target.ts";
import { leaseLengthMs } from "#/lib/pair/lease.ts";
import type { Random } from "#/lib/random/random.ts";
import { presenceLeaseMs } from "#/primary/presence.ts";
import { worldBeganMs } from "#/test/sim/process.ts";
import { type Machine, World } from "#/test/sim/world.ts";

/** From the end of a lost secondary's lease until others scrape what it had. */
const handoverMsMax = 2.5 * secondMs;
/** Presence, damping after one death, an announced generation, and what else calms down. */
const settleMs = 45 * secondMs;
const secondaries = 4;
const targets = 24;

export const waysToLose = ["killed", "paused", "cut off from the primaries", "drained"] as const;
export type WayToLose = (typeof waysToLose)[number];

export interface LostOne {
  readonly way: WayToLose;
  readonly secondary: string;
  /** Of targets that it had. */
  readonly missing: number;
  readonly missingMost: number;
  readonly allowed: number;
}

export interface MovesOutcome {
  readonly seed: number;
  readonly intervalMs: number;
  readonly lost: readonly LostOne[];
  readonly slots: number;
  readonly stored: number;
  readonly missing: number;
  /** What broke a promise, a sentence each. */
  readonly breaches: readonly string[];
}

interface Event {
  readonly way: WayToLose;
  readonly machine: Machine;
  /** Of the world. */
  readonly atMs: number;
  had: ReadonlySet<string>;
  endMs: number;
}

export async function simulateMoves(seed: number): Promise<MovesOutcome> {
  const world = new World({
    seed,
    targetsPerDatacenter: targets,
    smallSpools: "never",
    shape: (random) => ({
      leaseMs: leaseLengthMs(1),
      scrapeIntervalMs: [1, 2, 5, 5, 10, 15][random.below(6)]! * secondMs,
      datacenters: [{ name: "fra", primaries: 2, secondaries }],
    }),
  });
  const { scheduler, witness } = world;
  const isOver = () => witness.violations.length > 0;
  for (const machine of world.machines) scheduler.after(world.random.next() * secondMs, () => world.start(machine));
  await scheduler.run(settleMs, isOver);
  const fromMs = scheduler.nowMs;
  const events: Event[] = [];
  for (const [way, machine] of pairsOf(world)) {
    await scheduler.run(scheduler.nowMs + world.random.next() * 5 * secondMs, isOver);
    const event: Event = { way, machine, atMs: scheduler.nowMs, had: instancesOf(world, machine), endMs: 0 };
    events.push(event);
    const undo = lose(world, machine, way);
    await scheduler.run(scheduler.nowMs + (2 + world.random.next() * 38) * secondMs, isOver);
    undo();
    await scheduler.run(scheduler.nowMs + settleMs, isOver);
    event.endMs = scheduler.nowMs;
  }
  const untilMs = scheduler.nowMs;
  await scheduler.run(untilMs + 2 * minuteMs, isOver);
  return await judge(world, events, fromMs, untilMs);
}

/** Each way befalls another secondary. */
function pairsOf(world: World): readonly (readonly [WayToLose, Machine])[] {
  const machines = shuffled(
    world.machines.filter(({ tier }) => tier === "secondary"),
    world.random,
  );
  return shuffled(waysToLose, world.random).map((way, i) => [way, machines[i]!] as const);
}

function shuffled<T>(all: readonly T[], random: Random): readonly T[] {
  const left = [...all];
  return all.map(() => left.splice(random.below(left.length), 1)[0]!);
}

/** Does it, and returns what undoes it. */
function lose(world: World, machine: Machine, way: WayToLose): () => void {
  world.tell(`${machine.name} is ${way}`);
  switch (way) {
    case "killed":
      world.kill(machine);
      return () => world.start(machine);
    case "paused":
      machine.process!.pause();
      return () => machine.process!.resume();
    case "cut off from the primaries": {
      const links = [...world.links].filter(([name]) => name.startsWith(`${machine.name}/`)).map(([, link]) => link);
      for (const link of links) link.cut("up", "down");
      return () => {
        for (const link of links) link.heal();
      };
    }
    case "drained":
      world.drain(machine.name, true);
      return () => world.drain(machine.name, false);
    default:
      return way satisfies never;
  }
}

/** By the newest generation that a primary has read. */
function assignedIn(world: World): Generation["targets"] {
  const known = world.machines.flatMap(({ primary }) => primary?.generation ?? []);
  return known.reduce<Generation | undefined>((a, b) => (a && isNewer(a, b) ? a : b), undefined)?.targets ?? [];
}

function instancesOf(world: World, { name }: Machine): ReadonlySet<string> {
  return new Set(assignedIn(world).flatMap(({ owner, target }) => (owner === name ? [instanceOf(target)] : [])));
}

function instanceOf({ labels }: Target): string {
  return labels.find(([name]) => name === "instance")![1];
}

async function judge(world: World, events: readonly Event[], fromMs: number, untilMs: number): Promise<MovesOutcome> {
  const { witness } = world;
  const breaches = witness.violations.map(({ code, message }) => `${code}: ${message}`);
  const { scrapeIntervalMs: intervalMs, datacenters } = world.shape;
  const global = world.machines.find(({ source, tier }) => tier === "global" && source)!;
  const stored = await witness.slotsAt(global.name, global.source!);
  const counts = events.map(() => new Map<string, number>());
  let [slots, present, missing] = [0, 0, 0];
  const all = assignedIn(world).map(({ target }) => target);
  if (all.length !== targets) breaches.push(`${all.length} targets are in the generation, expected ${targets}`);
  for (const target of all) {
    const instance = instanceOf(target);
    const found = stored.get(instance) ?? new Set();
    for (let slot = slotAt(target, worldBeganMs + fromMs) + 1; ; slot++) {
      const dueMs = slotTimeMs(target, slot) - worldBeganMs;
      if (dueMs >= untilMs) break;
      slots++;
      if (found.has(slot)) {
        present++;
        continue;
      }
      missing++;
      const at = events.findIndex(({ atMs, endMs, had }) => {
        return had.has(instance) && dueMs > atMs - intervalMs && dueMs < endMs;
      });
      if (at < 0) breaches.push(`${instance} has no scrape at ${(dueMs / 1000).toFixed(2)} s, and its owner was well`);
      else counts[at]!.set(instance, (counts[at]!.get(instance) ?? 0) + 1);
    }
  }
  const lost = events.map(({ had, machine, way }, i): LostOne => {
    const perTarget = [...counts[i]!.values()];
    const allowed = way === "drained" ? 0 : Math.ceil((presenceLeaseMs(intervalMs) + handoverMsMax) / intervalMs);
    const missingMost = Math.max(0, ...perTarget);
    if (missingMost > allowed) breaches.push(`${machine.name} was ${way}: a target missed ${missingMost} slots`);
    if (had.size === 0) breaches.push(`${machine.name} was ${way} and had no targets`);
    const sum = perTarget.reduce((total, count) => total + count, 0);
    return { way, secondary: machine.name, missing: sum, missingMost, allowed };
  });
  if (datacenters.length !== 1) breaches.push("expected one data centre");
  return { seed: world.seed, intervalMs, lost, slots, stored: present, missing, breaches };
}

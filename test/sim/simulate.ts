// One seed from the first start to the last comparison.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { type Fault, type FaultKind, planFaults, strike } from "#/test/sim/faults.ts";
import type { Plant } from "#/test/sim/planted.ts";
import { worldBeganMs } from "#/test/sim/process.ts";
import type { Violation } from "#/test/sim/witness.ts";
import { World } from "#/test/sim/world.ts";

/** After the last fault is over: longer than every patience, lease, retry and hole that waits for heartbeats. */
const healingMs = 4 * minuteMs;
/** What was accepted this long before the end has reached the globals. */
const onTheWayMs = 10 * secondMs;
/** A look at everything is dear: on the way only the last minutes are looked at, when a fault has just begun. */
const lookAfterMs = 2 * secondMs;
const lookBackMs = 3.5 * minuteMs;

export interface SimulationOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly plant?: Plant;
  /** In place of those of the seed. */
  readonly faults?: readonly Fault[];
  /** Spools that overflow, whatever the seed says. */
  readonly smallSpools?: boolean;
}

export interface SimulationResult {
  readonly seed: number;
  readonly steps: number;
  readonly faults: readonly Fault[];
  readonly hits: ReadonlyMap<FaultKind, number>;
  readonly violations: readonly Violation[];
  readonly story: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

export function faultsOf(seed: number, minutes: number): readonly Fault[] {
  return planFaults(seededRandom(seed ^ 0x5bd1e995), minutes * minuteMs);
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { seed, minutes, faults = faultsOf(seed, minutes) } = options;
  const world = new World({
    seed,
    ...(options.plant && { plant: options.plant }),
    smallSpools: options.smallSpools ?? false,
  });
  const { scheduler, witness } = world;
  const onRejection = (reason: unknown) => {
    witness.violated("thrown", reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
  };
  process.on("unhandledRejection", onRejection);
  try {
    const hits = new Map<FaultKind, number>();
    const isOver = () => witness.violations.length > 0;
    for (const machine of world.machines) {
      scheduler.after(world.random.next() * secondMs, () => world.start(machine));
    }
    for (const fault of faults) {
      scheduler.at(fault.atMs, () => strike(world, fault, (kind) => hits.set(kind, (hits.get(kind) ?? 0) + 1)));
    }
    const lastMs = faults.reduce((last, { atMs, lastsMs }) => Math.max(last, atMs + lastsMs), minutes * minuteMs);
    for (const { atMs } of faults) {
      if (isOver()) break;
      if (atMs + lookAfterMs < scheduler.nowMs) continue;
      await scheduler.run(atMs + lookAfterMs, isOver);
      await look(world, { atTheEnd: false, fromMs: worldBeganMs + scheduler.nowMs - lookBackMs });
    }
    await scheduler.run(lastMs + healingMs - onTheWayMs, isOver);
    witness.owe();
    await scheduler.run(lastMs + healingMs, isOver);
    if (!isOver()) await look(world, { atTheEnd: true, fromMs: 0 });
    return {
      seed,
      steps: scheduler.steps,
      faults,
      hits,
      violations: witness.violations,
      story: world.story,
      counts: { ...witness.counts },
    };
  } finally {
    process.off("unhandledRejection", onRejection);
  }
}

async function look(world: World, options: Parameters<World["witness"]["look"]>[2]): Promise<void> {
  for (const { clock, datacenter, ledgers, name, ready, source, tier } of world.machines) {
    if (tier === "secondary" || (tier === "primary" && !options.atTheEnd)) continue;
    const of = datacenter && { datacenter: datacenter.name };
    if (source && ready()) {
      await world.witness.look(name, source, { ...options, ...of });
      if (tier !== "global" || !options.atTheEnd || !ledgers) continue;
      await world.witness.audit(name, source, { ledgers: ledgers.values(), nowMs: clock.nowMs() });
    } else if (options.atTheEnd)
      world.witness.violated("accepted_lost", `${name} does not answer after everything healed`);
  }
}

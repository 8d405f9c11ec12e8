// What is done to the federation, and when: written out before the first blow, so that a seed repeats all of it.
//
// Kinds come out of a bag that is refilled when it is empty, and so do roles of processes and disks: chance decides their order
// and whom they hit, and none is left out for long. A third of what lasts has a second fault within, because most of what breaks breaks in the middle of something else.

import { faultKinds as targetFaults } from "#/cli/fleet/faults.ts";
import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import { type Random, seededRandom } from "#/lib/random/random.ts";

/** Each kind with what it does, as it is printed. */
export const faultKinds = {
  kill: "kill -9 of a process, which is started again",
  pause: "SIGSTOP of a process, SIGCONT later",
  cut: "a data centre's link cut both ways",
  cut_one_way: "a data centre's link cut one way",
  wipe: "a data centre's NATS server killed and started again with an empty store",
  disk_full: "no room on the disk of one primary's journal or one secondary's spool",
  target: "simulated servers that misbehave",
} as const;
export type FaultKind = keyof typeof faultKinds;

export interface Step {
  readonly kind: FaultKind;
  /** A process, a data centre, or the fault of simulated servers as the fleet takes it. */
  readonly subject: string;
  readonly direction: "both" | "out" | "in";
  /** Until it is undone. A kill is undone by the supervisor. */
  readonly lengthMs: number;
  /** Quiet after it. */
  readonly restMs: number;
  /** Begins when a third of this one is over, and ends before it. */
  readonly within: Step | undefined;
}

/** What there is to hurt. */
export interface World {
  readonly datacenters: readonly string[];
  readonly processes: readonly { readonly name: string; readonly role: string }[];
  /** Processes whose data lies on a file system so small that it can be filled. */
  readonly smallDisks: readonly string[];
  readonly targets: number;
}

/** A bag: how often each kind is in it. */
const bag: Readonly<Record<FaultKind, number>> = {
  kill: 4,
  pause: 3,
  cut: 2,
  cut_one_way: 1,
  wipe: 1,
  disk_full: 1,
  target: 2,
};
/** What a restart takes on two cores, so that a script lasts about as long as it was asked to. */
const restartMs = 5 * secondMs;
const pauseMsMax = 20 * secondMs;

export function writeScript(options: {
  readonly seed: number;
  readonly minutes: number;
  readonly world: World;
}): readonly Step[] {
  const { seed, minutes, world } = options;
  const random = seededRandom(seed);
  const draw: Draw = { world, random, bags: new Map() };
  const steps: Step[] = [];
  let kinds: FaultKind[] = [];
  for (let leftMs = minutes * minuteMs; leftMs > 0; ) {
    if (kinds.length === 0) kinds = fullBag(world);
    const [kind] = kinds.splice(random.below(kinds.length), 1);
    const step = stepOf(kind!, draw);
    steps.push(step);
    leftMs -= step.lengthMs + step.restMs + (step.kind === "kill" || step.kind === "wipe" ? restartMs : 0);
  }
  return steps;
}

function fullBag(world: World): FaultKind[] {
  const kinds = Object.keys(bag) as FaultKind[];
  return kinds
    .filter((kind) => kind !== "disk_full" || world.smallDisks.length > 0)
    .flatMap((kind) => new Array<FaultKind>(bag[kind]).fill(kind));
}

/** Roles of processes, by what is done to them; or disks. */
type Bag = "kill" | "pause" | "within" | "disk";

/** What chance is asked with. */
interface Draw {
  readonly world: World;
  readonly random: Random;
  /** What is left in each bag. */
  readonly bags: Map<Bag, string[]>;
}

function stepOf(kind: FaultKind, draw: Draw): Step {
  const { world, random } = draw;
  const between = (least: number, most: number) => least + random.below(most - least + 1);
  const step = {
    kind,
    direction: "both",
    restMs: between(2 * secondMs, 8 * secondMs),
    within: undefined,
  } as const;
  const datacenter = () => oneOf(world.datacenters, random);
  switch (kind) {
    case "kill":
      return { ...step, subject: someProcess("kill", draw), lengthMs: 0 };
    case "pause": {
      const subject = someProcess("pause", draw);
      const lengthMs = between(secondMs, pauseMsMax);
      return { ...step, subject, lengthMs, within: maybeWithin(lengthMs, subject, draw) };
    }
    case "cut": {
      const lengthMs = between(5 * secondMs, 40 * secondMs);
      return { ...step, subject: datacenter(), lengthMs, within: maybeWithin(lengthMs, "", draw) };
    }
    case "cut_one_way": {
      const direction = oneOf(["out", "in"] as const, random);
      const lengthMs = between(5 * secondMs, 30 * secondMs);
      return { ...step, subject: datacenter(), direction, lengthMs, within: maybeWithin(lengthMs, "", draw) };
    }
    case "wipe":
      return { ...step, subject: datacenter(), lengthMs: between(0, 10 * secondMs) };
    case "disk_full":
      return {
        ...step,
        subject: fromBag("disk", world.smallDisks, draw),
        lengthMs: between(5 * secondMs, 20 * secondMs),
      };
    case "target":
      return { ...step, subject: targetFault(world, random), lengthMs: between(10 * secondMs, 20 * secondMs) };
    default:
      return kind satisfies never;
  }
}

/** Shorter ones leave no time for a second fault. */
const outerMsMin = 9 * secondMs;

function maybeWithin(outerMs: number, outerSubject: string, draw: Draw): Step | undefined {
  const { random } = draw;
  if (random.below(3) > 0 || outerMs < outerMsMin) return undefined;
  // Whoever stands still cannot be hurt in another way that anybody would notice.
  if (random.below(4) === 0) {
    const wipe = stepOf("wipe", draw);
    return `${wipe.subject}-nats` === outerSubject ? undefined : { ...wipe, lengthMs: 0, restMs: 0 };
  }
  const subject = someProcess("within", draw);
  if (subject === outerSubject) return undefined;
  return { kind: "kill", subject, direction: "both", lengthMs: 0, restMs: 0, within: undefined };
}

/** A role first, so that the many secondaries do not take all blows. */
function someProcess(done: Exclude<Bag, "disk">, draw: Draw): string {
  const { processes } = draw.world;
  const roles = [...new Set(processes.map(({ role }) => role))].filter((role) => role !== "node-exporter");
  const role = fromBag(done, roles, draw);
  return oneOf(
    processes.filter((process) => process.role === role),
    draw.random,
  ).name;
}

/** Each of them once, in the order of chance, before one comes again. */
function fromBag(bag: Bag, all: readonly string[], { bags, random }: Draw): string {
  const known = bags.get(bag) ?? [];
  const left = known.length > 0 ? known : [...all];
  const [drawn] = left.splice(random.below(left.length), 1);
  bags.set(bag, left);
  return drawn!;
}

/** As many servers as a rack has; one alone when each of them sends 200 MB. */
const rackTargetsMax = 10;

function targetFault(world: World, random: Random): string {
  const kind = oneOf(Object.keys(targetFaults), random);
  const first = random.below(world.targets);
  const count = kind === "huge" ? 1 : 1 + random.below(rackTargetsMax);
  const last = Math.min(world.targets - 1, first + count - 1);
  return `${kind === "slow" ? "slow:1500ms" : kind}=${first}-${last}`;
}

function oneOf<T>(values: readonly T[], random: Random): T {
  return values[random.below(values.length)]!;
}

/** One line, as it is printed before and while it happens. */
export function stepText({ kind, subject, direction, lengthMs, within }: Step): string {
  const length = lengthMs > 0 ? ` ${(lengthMs / secondMs).toFixed(1)} s` : "";
  const way = direction === "both" ? "" : ` ${direction}ward`;
  return `${kind}${way} ${subject}${length}${within ? `, within it ${stepText(within)}` : ""}`;
}

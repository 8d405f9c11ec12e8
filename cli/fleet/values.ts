// Every value of the simulated fleet is a known function of (target, row, time), so that whoever reads samples back at the far
// end can compute what each of them must be, without having listened at the near end.
//
// A body tells its own time in `fleet_time_ms`; all its other values are those of that very millisecond. All arithmetic is in
// doubles and in a fixed order, so that two processes get the same bits.

/** How a row's value moves; what the numbers mean stands at `fleetValue`. */
export type Motion =
  | { readonly kind: "clock_ms" }
  | { readonly kind: "clock_seconds" }
  | { readonly kind: "boot_seconds" }
  | { readonly kind: "fixed"; readonly value: number }
  | { readonly kind: "constant"; readonly unit: number; readonly max: number }
  | { readonly kind: "counter"; readonly perSecond: number }
  | { readonly kind: "cpu_seconds"; readonly share: number }
  | { readonly kind: "gauge"; readonly unit: number; readonly max: number; readonly holdMs: number }
  | { readonly kind: "duration"; readonly max: number }
  | { readonly kind: "bucket"; readonly perSecond: number; readonly below: number }
  | { readonly kind: "histogram_sum"; readonly perSecond: number; readonly mean: number };

export interface FleetRow {
  readonly name: string;
  /** As the exposition writes them between the braces; empty without. */
  readonly labels: string;
  readonly motion: Motion;
  /** A hash of name and labels: the same row has the same values in bodies of any size. */
  readonly seed: number;
}

/** Machines of one make have the same constants, so that a few templates serve any number of targets. */
export const makes = 8;

/** Where counters began: 2020-01-01. */
export const epochMs = 1_577_836_800_000;

/** Whether the value can differ between two scrapes of one target, or between two targets of one make. */
export function isRendered(motion: Motion): boolean {
  return motion.kind !== "fixed" && motion.kind !== "constant";
}

export function fleetValue(target: number, row: FleetRow, timeMs: number): number {
  const { motion, seed } = row;
  switch (motion.kind) {
    case "clock_ms":
      return timeMs;
    case "clock_seconds":
      return timeMs / 1000;
    case "boot_seconds":
      return (epochMs + hash(seed, target, 0) * 10) / 1000;
    case "fixed":
      return motion.value;
    // A multiple of the unit, the same for a make.
    case "constant":
      return Math.floor(unit(hash(seed, target % makes, 0)) * (motion.max / motion.unit)) * motion.unit;
    // Events since the epoch at a steady rate of half to one and a half of the row's, and so never fewer than before.
    case "counter":
      return Math.floor((((timeMs - epochMs) * motion.perSecond) / 1000) * spread(seed, target));
    // In hundredths, as the kernel counts.
    case "cpu_seconds":
      return Math.floor(((timeMs - epochMs) / 10) * motion.share * spread(seed, target)) / 100;
    // A new multiple of the unit each `holdMs`. Units below 1 are written as a division, which rounds once.
    case "gauge": {
      const steps = Math.floor(
        unit(hash(seed, target, Math.floor(timeMs / motion.holdMs))) * Math.round(motion.max / motion.unit),
      );
      return motion.unit < 1 ? steps / Math.round(1 / motion.unit) : steps * motion.unit;
    }
    // Up to nine digits after the point, as a stopwatch gives.
    case "duration":
      return Math.floor(unit(hash(seed, target, timeMs)) * motion.max * 1e9) / 1e9;
    // Both count the same events, so that the buckets of one histogram and its count belong together.
    case "bucket":
      return Math.floor(events(target, motion.perSecond, timeMs) * motion.below);
    case "histogram_sum":
      return Math.floor(events(target, motion.perSecond, timeMs) * motion.mean * 1e4) / 1e4;
    default:
      return motion satisfies never;
  }
}

function events(target: number, perSecond: number, timeMs: number): number {
  return Math.floor((((timeMs - epochMs) * perSecond) / 1000) * spread(7, target));
}

/** 0.5 up to 1.5, fixed for a row of a target. */
function spread(seed: number, target: number): number {
  return 0.5 + unit(hash(seed, target, 1));
}

function unit(word: number): number {
  return word / 4294967296;
}

/** 32 bits of three whole numbers; `c` may have up to 53. */
function hash(a: number, b: number, c: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x165667b1, 0xc2b2ae35);
  h ^= Math.imul(c >>> 0, 0x27d4eb2f) ^ Math.imul(Math.floor(c / 4294967296) + 1, 0x165667b1);
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return (h ^ (h >>> 15)) >>> 0;
}

/** FNV-1a over the row's text. */
export function seedOf(name: string, labels: string): number {
  let h = 0x811c9dc5;
  for (const text of [name, "{", labels]) {
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  }
  return h >>> 0;
}

/** The address of a target: they follow one another from `first` on. */
export function addressOfTarget(first: string, target: number): string {
  const number = addressNumber(first) + target;
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
}

/** Which target has that address; negative or beyond the fleet when none has. */
export function targetOfAddress(first: string, address: string): number {
  return addressNumber(address) - addressNumber(first);
}

/** How many targets there can be from that address on: the last of 127.0.0.0/8 is for broadcasts. */
export function targetsFrom(first: string): number {
  return addressNumber("127.255.255.255") - addressNumber(first);
}

function addressNumber(address: string): number {
  return address.split(".").reduce((number, part) => number * 256 + Number(part), 0);
}

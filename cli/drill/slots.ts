// Counts, for one target, what each of its slots came to: stored, failed by the target itself, missing, or there twice; and
// compares every value with its known function.
//
// It trusts nothing of what it checks: when the slots lie is taken from the timestamps themselves.

import { type FleetRow, fleetValue } from "#/cli/fleet/values.ts";

/** Milliseconds and value. */
export type Sample = readonly [timeMs: number, value: number];

/** One target as a global answers for it. */
export interface ReadTarget {
  readonly target: number;
  readonly up: readonly Sample[];
  /** By name and labels, as `rowKey` makes it. */
  readonly rows: ReadonlyMap<string, readonly Sample[]>;
}

export interface SlotCounts {
  /** Slots that were due. */
  readonly slots: number;
  /** Of those, how many samples tell of, counted by the samples: what is not missing. */
  readonly told: number;
  /** The time at which each missing slot was due. */
  readonly missingMs: readonly number[];
  /** Of slots that have two samples. */
  readonly doubledMs: readonly number[];
  /** Of slots with `up` 0: the target did not answer. */
  readonly failedMs: readonly number[];
  /** Series, with the time of their sample, that a stored scrape lacks or that no scrape explains. */
  readonly incomplete: readonly string[];
  readonly wrong: readonly string[];
  readonly compared: number;
}

/** Slots count when they were due after `fromMs` and before `untilMs`. */
export function countSlots(
  read: ReadTarget,
  fleet: readonly FleetRow[],
  range: {
    readonly fromMs: number;
    readonly untilMs: number;
    readonly intervalMs: number;
    /** Whether a scrape of that time may lack rows; none unless given. */
    readonly mayLackRows?: (timeMs: number) => boolean;
  },
): SlotCounts {
  const { fromMs, untilMs, intervalMs } = range;
  const phaseMs = phaseOf(read.up, intervalMs);
  const slotOf = (timeMs: number) => Math.floor((timeMs - phaseMs) / intervalMs);
  const dueMs = (slot: number) => phaseMs + slot * intervalMs;

  const perSlot = new Map<number, number>();
  const doubledMs: number[] = [];
  const failedMs: number[] = [];
  for (const [timeMs, value] of read.up) {
    const slot = slotOf(timeMs);
    const count = (perSlot.get(slot) ?? 0) + 1;
    perSlot.set(slot, count);
    if (count > 1) doubledMs.push(timeMs);
    if (value === 0) failedMs.push(timeMs);
  }
  const missingMs: number[] = [];
  let slots = 0;
  const first = slotOf(fromMs) + 1;
  for (let slot = first; dueMs(slot) < untilMs; slot++) {
    slots += 1;
    if (!perSlot.has(slot)) missingMs.push(dueMs(slot));
  }
  // One that was due just before the time that counts may have been scraped within it.
  const told = [...perSlot.keys()].filter((slot) => slot >= first && dueMs(slot) < untilMs).length;
  return { slots, told, missingMs, doubledMs, failedMs, ...compareValues(read, fleet, range.mayLackRows) };
}

function compareValues(read: ReadTarget, fleet: readonly FleetRow[], mayLack?: (timeMs: number) => boolean) {
  const incomplete: string[] = [];
  const wrong: string[] = [];
  let compared = 0;
  const storedMs = new Set(read.up.filter(([, value]) => value === 1).map(([timeMs]) => timeMs));
  const bodyMs = new Map(read.rows.get("fleet_time_ms") ?? []);
  for (const row of fleet) {
    const key = rowKey(row);
    const samples = read.rows.get(key) ?? [];
    const seenMs = new Set<number>();
    for (const [timeMs, value] of samples) {
      compared += 1;
      seenMs.add(timeMs);
      const body = bodyMs.get(timeMs);
      if (!storedMs.has(timeMs) || body === undefined) {
        incomplete.push(`${key} at ${timeMs} belongs to no stored scrape`);
      } else if (value !== fleetValue(read.target, row, body)) {
        wrong.push(`${key} at ${timeMs}: expected ${fleetValue(read.target, row, body)}, got ${value}`);
      }
    }
    for (const timeMs of storedMs) {
      if (!seenMs.has(timeMs) && !mayLack?.(timeMs)) incomplete.push(`${key} at ${timeMs} is missing`);
    }
  }
  return { incomplete, wrong, compared };
}

/**
 * Scrapes that began in time carry their slot's time exactly, so the commonest remainder is the phase. A scrape that began late
 * carries when it began, which is still within its slot.
 */
function phaseOf(samples: readonly Sample[], intervalMs: number): number {
  const counts = new Map<number, number>();
  for (const [timeMs] of samples) {
    const remainder = timeMs % intervalMs;
    counts.set(remainder, (counts.get(remainder) ?? 0) + 1);
  }
  let phaseMs = 0;
  let most = 0;
  for (const [remainder, count] of counts) if (count > most) [phaseMs, most] = [remainder, count];
  return phaseMs;
}

/** Name and sorted labels, equal for a row of the fleet and for the same series in an answer. */
export function rowKey(row: Pick<FleetRow, "name" | "labels">): string {
  return row.labels === "" ? row.name : `${row.name}{${row.labels.split(",").sort().join(",")}}`;
}

// The outcomes of each target's last slots, a byte a slot.
//
//     bit 7 … 5  number of the generation that told it, modulo 8      bit 4 … 0  outcome + 1; 0 where there is none yet
//
// Three bits are enough: an outcome's generation is near the one that was in force at its slot, so the nearest number with
// these last bits is meant. A target's slots are a ring; the rings of targets with one interval lie in slabs of a thousand,
// because an array of its own for each would cost half as much again as what is in it.

import { assert } from "#/lib/assert/assert.ts";
import { type Outcome, outcomes } from "#/lib/model/outcome.ts";

const outcomeBits = 5;
const outcomeMask = 2 ** outcomeBits - 1;
assert(outcomes.length <= outcomeMask, "an outcome, or none, fits into five bits");

const generationsMod = 8;
/**
 * Farther from the one in force at its slot is an outcome's generation taken for so far only: ahead when a new owner makes up for
 * the slot of one that was lost, behind when an owner did not hear of newer generations.
 */
const aheadMax = 3;
const behindMax = 4;
assert(aheadMax + behindMax + 1 === generationsMod, "each number has its own bits");

const ringsPerSlab = 1024;

/** Slots beyond the newest that may be told: the clocks of two secondaries may differ, and two intervals are for rounding. */
export const spareSlots = 4;

export const noOutcome = 0;

/** The generation as it is kept, beside the one in force at the slot. */
export function nearGeneration(generation: number, inForce: number): number {
  return Math.min(inForce + aheadMax, Math.max(inForce - behindMax, generation, 0));
}

export function encodeOutcome(outcome: Outcome, generation: number, inForce: number): number {
  const near = nearGeneration(generation, inForce);
  return ((near % generationsMod) << outcomeBits) | (outcomes.indexOf(outcome) + 1);
}

/** Of a byte that is not `noOutcome`. */
export function outcomeIn(byte: number): Outcome {
  return outcomes[(byte & outcomeMask) - 1]!;
}

export function generationIn(byte: number, inForce: number): number {
  const highest = inForce + aheadMax;
  return highest - ((highest + generationsMod - (byte >> outcomeBits)) % generationsMod);
}

/** The rings of all targets that have one interval. */
export class Rings {
  readonly intervalMs: number;
  /** Slots a ring. */
  readonly capacity: number;
  readonly #slabs: Uint8Array[] = [];
  readonly #free: number[] = [];
  #used = 0;

  constructor(intervalMs: number, retentionMs: number) {
    this.intervalMs = intervalMs;
    this.capacity = Math.ceil(retentionMs / intervalMs) + spareSlots;
  }

  get bytes(): number {
    return this.#slabs.length * ringsPerSlab * this.capacity;
  }

  /** An empty ring. */
  take(): number {
    const ring = this.#free.pop() ?? this.#used++;
    const slab = Math.floor(ring / ringsPerSlab);
    if (slab === this.#slabs.length) this.#slabs.push(new Uint8Array(ringsPerSlab * this.capacity));
    const at = (ring % ringsPerSlab) * this.capacity;
    this.#slabs[slab]!.fill(noOutcome, at, at + this.capacity);
    return ring;
  }

  release(ring: number): void {
    this.#free.push(ring);
  }

  get(ring: number, slot: number): number {
    return this.#slabs[Math.floor(ring / ringsPerSlab)]![
      (ring % ringsPerSlab) * this.capacity + (slot % this.capacity)
    ]!;
  }

  set(ring: number, slot: number, byte: number): void {
    this.#slabs[Math.floor(ring / ringsPerSlab)]![(ring % ringsPerSlab) * this.capacity + (slot % this.capacity)] =
      byte;
  }

  /** Forgets what stands in the places of these slots. */
  clear(ring: number, fromSlot: number, untilSlot: number): void {
    for (let slot = Math.max(fromSlot, untilSlot - this.capacity); slot < untilSlot; slot++)
      this.set(ring, slot, noOutcome);
  }
}

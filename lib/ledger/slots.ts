// The outcome of each slot of each target, as far back as the ledger goes.

import { minuteMs } from "#/lib/bytes/units.ts";
import { encodeOutcome, noOutcome, Rings } from "#/lib/ledger/rings.ts";
import type { Outcome } from "#/lib/model/outcome.ts";

/** A secondary whose clock is ahead by more than this tells its slots again when it is put right: they are not kept before. */
export const aheadMsMax = minuteMs;

const rowsAtFirst = 256;

export class Slots {
  readonly #retentionMs: () => number;
  readonly #ringsOf = new Map<number, Rings>();
  /** Of each row; undefined where it is free. */
  readonly #rings: (Rings | undefined)[] = [];
  #ring = new Uint32Array(rowsAtFirst);
  #newest = new Float64Array(rowsAtFirst);

  constructor(retentionMs: () => number) {
    this.#retentionMs = retentionMs;
  }

  get bytes(): number {
    let bytes = this.#ring.byteLength + this.#newest.byteLength;
    for (const rings of this.#ringsOf.values()) bytes += rings.bytes;
    return bytes;
  }

  open(row: number, intervalMs: number): void {
    let rings = this.#ringsOf.get(intervalMs);
    if (!rings) this.#ringsOf.set(intervalMs, (rings = new Rings(intervalMs, this.#retentionMs() + aheadMsMax)));
    if (row >= this.#ring.length) {
      this.#ring = grown(this.#ring, new Uint32Array(2 * row));
      this.#newest = grown(this.#newest, new Float64Array(2 * row));
    }
    this.#rings[row] = rings;
    this.#ring[row] = rings.take();
    this.#newest[row] = Number.NEGATIVE_INFINITY;
  }

  close(row: number): void {
    this.#rings[row]?.release(this.#ring[row]!);
    this.#rings[row] = undefined;
  }

  get(row: number, slot: number): number {
    const rings = this.#rings[row];
    const newest = this.#newest[row]!;
    if (!rings || slot > newest || slot <= newest - rings.capacity) return noOutcome;
    return rings.get(this.#ring[row]!, slot);
  }

  /** False when it is older than what is kept. */
  set(
    row: number,
    slot: number,
    told: { readonly outcome: Outcome; readonly generation: number },
    inForce: number,
  ): boolean {
    const rings = this.#rings[row];
    if (!rings) return false;
    const newest = this.#newest[row]!;
    const ring = this.#ring[row]!;
    if (slot > newest) {
      if (newest !== Number.NEGATIVE_INFINITY) rings.clear(ring, newest + 1, slot);
      this.#newest[row] = slot;
    } else if (slot <= newest - rings.capacity) return false;
    rings.set(ring, slot, encodeOutcome(told.outcome, told.generation, inForce));
    return true;
  }
}

function grown<A extends Uint32Array | Float64Array>(before: A, after: A): A {
  after.set(before);
  return after;
}

// Batches that may be sent although the disk did not take them.

import type { SpooledRun } from "#/secondary/spool/run.ts";

export interface BatchInMemory {
  readonly spooled: SpooledRun;
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

/** By their keys, oldest first. */
export class BatchMemory {
  readonly #batches = new Map<string, BatchInMemory>();

  get size(): number {
    return this.#batches.size;
  }

  get(key: string): BatchInMemory | undefined {
    return this.#batches.get(key);
  }

  set(key: string, batch: BatchInMemory): void {
    this.#batches.set(key, batch);
  }

  delete(key: string): boolean {
    return this.#batches.delete(key);
  }

  values(): Iterable<BatchInMemory> {
    return this.#batches.values();
  }

  /** The oldest ones, as many as so many bytes hold. */
  oldest(bytesMax: number): readonly (readonly [key: string, batch: BatchInMemory])[] {
    const oldest: [string, BatchInMemory][] = [];
    let left = bytesMax;
    for (const entry of this.#batches) {
      left -= entry[1].bytes.length;
      if (left < 0) break;
      oldest.push(entry);
    }
    return oldest;
  }

  /** One that both primaries hold, else the oldest. */
  leastNeeded(): BatchInMemory | undefined {
    let oldest: BatchInMemory | undefined;
    for (const each of this.#batches.values()) {
      if (each.sequence <= each.spooled.held) return each;
      oldest ??= each;
    }
    return oldest;
  }
}

// A spool's store in memory, which outlives the spool as a disk does, and fails on request.

import type { SpoolOperation, SpoolStore } from "#/secondary/spool/store.ts";

export class MemoryStore implements SpoolStore {
  readonly entries = new Map<string, Uint8Array>();
  /** Every write fails as on a full disk. */
  full = false;
  synced = 0;
  #hanging: Promise<void> | undefined;

  /** Writes do not end until the result is called. */
  hang(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#hanging = promise;
    return () => {
      this.#hanging = undefined;
      resolve();
    };
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.entries.get(key);
  }

  async batch(operations: SpoolOperation[], options: { readonly sync: boolean }): Promise<void> {
    await this.#hanging;
    if (this.full) throw new Error("no space left on device");
    if (options.sync) this.synced++;
    for (const operation of operations) {
      if (operation.type === "put") this.entries.set(operation.key, Uint8Array.from(operation.value));
      else this.entries.delete(operation.key);
    }
  }

  async *keys(range: { readonly gte: string; readonly lt: string }): AsyncIterable<string> {
    for (const key of [...this.entries.keys()].sort()) if (key >= range.gte && key < range.lt) yield key;
  }

  async close(): Promise<void> {}
}

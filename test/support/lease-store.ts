// A lease store in memory with the faults of a real one: away, slow, and answers that are lost after the write was done.

import type { Clock } from "#/lib/clock/clock.ts";
import type { LeaseRecord, LeaseStore } from "#/lib/pair/store.ts";

export interface MemoryLeaseStore {
  /** As one client reaches it. */
  client(clock: Clock): LeaseStore & { away: boolean; loseAnswers: boolean; delayMs: number };
  readonly record: LeaseRecord | undefined;
  /** The disk was replaced: everything is gone, and revisions begin again. */
  lose(): void;
  /** The power failed: writes after that revision are gone, and their revisions are given again. */
  rewind(to: LeaseRecord): void;
}

export function memoryLeaseStore(): MemoryLeaseStore {
  let record: LeaseRecord | undefined;
  let revision = 0;
  return {
    get record() {
      return record;
    },
    lose() {
      record = undefined;
      revision = 0;
    },
    rewind(to) {
      record = to;
      revision = to.revision;
    },
    client(clock) {
      const client = {
        away: false,
        loseAnswers: false,
        delayMs: 0,
        async read() {
          await travel();
          const found = record;
          await travel();
          return found;
        },
        async write(value: Uint8Array, expectedRevision: number) {
          await travel();
          const isExpected = (record?.revision ?? 0) === expectedRevision;
          if (isExpected) record = { revision: ++revision, value: value.slice() };
          const written = isExpected ? revision : undefined;
          if (client.loseAnswers) throw new Error("the answer was lost");
          await travel();
          return written;
        },
      };
      async function travel(): Promise<void> {
        if (client.delayMs > 0) await clock.sleep(client.delayMs);
        if (client.away) throw new Error("the store is away");
      }
      return client;
    },
  };
}

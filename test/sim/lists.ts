// The list of targets that an operator keeps for one data centre. Either primary has a copy, and notices a change in its
// own time.

import { Buffer } from "node:buffer";
import type { Disk } from "#/primary/discover/disk.ts";
import type { SimProcess } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

const noticedMs = 400;

export class SimLists {
  readonly #all: readonly number[];
  readonly #listed: Set<number>;
  #watchers: { readonly process: SimProcess; readonly onEvent: () => void }[] = [];
  #scheduler: Scheduler | undefined;

  constructor(targets: readonly number[]) {
    this.#all = targets;
    this.#listed = new Set(targets);
  }

  /** An operator takes one of them out, or puts it back. */
  toggle(nth: number): string {
    const target = this.#all[nth % this.#all.length]!;
    const isListed = this.#listed.delete(target);
    if (!isListed) this.#listed.add(target);
    this.#watchers = this.#watchers.filter(({ process }) => !process.dead);
    for (const [i, { process, onEvent }] of this.#watchers.entries()) {
      this.#scheduler?.after(noticedMs * (i + 1), () => process.enter(onEvent));
    }
    return `target ${target} is ${isListed ? "taken out of" : "put into"} the list`;
  }

  /** As that process has it. */
  disk(process: SimProcess, scheduler: Scheduler): Disk {
    this.#scheduler = scheduler;
    return {
      list: async () => ["targets.json"],
      read: async () =>
        Buffer.from(
          JSON.stringify([
            { targets: [...this.#listed].sort((a, b) => a - b).map((each) => `10.0.0.1:${1000 + each}`) },
          ]),
        ),
      watch: (_directory, onEvent) => {
        this.#watchers.push({ process, onEvent });
        return { close() {} };
      },
    };
  }
}

// A log server of the simulated world: the twin of NATS on a machine with a clock of its own.

import { parseEntrySubject, parseStreamName } from "#/lib/commitlog/subjects.ts";
import { type Remains, TwinServer } from "#/lib/commitlog/twin.ts";
import type { LogEntry } from "#/lib/model/log.ts";
import { type Random, seededRandom } from "#/lib/random/random.ts";
import { type MachineClock, SimProcess } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

export interface SimServerOptions {
  /** Its JetStream domain: a data centre's name, or `hub`. */
  readonly name: string;
  readonly clock: MachineClock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** Sees every entry of a data centre's log right when it is stored, and the id that it came with. */
  readonly onAppend: (entry: Pick<LogEntry, "kind" | "payload">, id: string) => void;
}

export class SimServer {
  readonly name: string;
  readonly clock: MachineClock;
  readonly twin: TwinServer;
  readonly #hits = { lostEntries: 0, full: 0, standing: 0 };
  readonly #random: Random;

  constructor({ name, clock, scheduler, random, onAppend }: SimServerOptions) {
    this.name = name;
    this.clock = clock;
    this.#random = random;
    const host = new SimProcess({ name: `${name}-log`, scheduler, machine: clock });
    this.twin = new TwinServer({
      domain: name,
      clock: host.clock,
      random: seededRandom(random.below(2 ** 31)),
      onPublished: ({ subject, payload, headers }, answer) => {
        if ("error" in answer) {
          if (this.twin.diskFull) this.#hits.full++;
          return;
        }
        const segment = parseStreamName(answer.stream, name);
        const known = segment && parseEntrySubject(subject, segment);
        if (known && !answer.duplicate) onAppend({ kind: known.kind, payload }, headers["Nats-Msg-Id"]!);
      },
    });
  }

  get up(): boolean {
    return this.twin.isRunning;
  }

  get hits(): { readonly lostEntries: number; readonly full: number; readonly standing: number } {
    return { ...this.#hits, standing: this.#hits.standing + this.twin.heldBack };
  }

  get full(): boolean {
    return this.twin.diskFull;
  }

  set full(isFull: boolean) {
    this.twin.diskFull = isFull;
  }

  kill(): void {
    this.twin.kill();
  }

  /**
   * What was acknowledged since the last sync is gone, all or the end of it; new streams and changed settings likewise. In a
   * data centre's log the last entry that is left may be torn.
   */
  powerCut(): void {
    const happens = (odds: number) => this.#random.next() < odds;
    this.twin.powerCut(({ entries, isNew, isReconfigured, stream }): Remains => {
      const kept = happens(0.5) ? 0 : this.#random.below(entries + 1);
      this.#hits.lostEntries += entries - kept;
      const isGone = happens(isNew ? 0.5 : isReconfigured ? 0.2 : 0);
      const tearsLast = stream.startsWith(`dc-${this.name}-`) && happens(0.2);
      return { entries: isGone ? -1 : kept, keepsSettings: happens(0.5), tearsLast };
    });
  }

  start(): void {
    if (!this.up) this.twin.start();
  }

  /** The disk is replaced by an empty one; only while it is down. */
  wipe(): void {
    this.twin.wipe();
  }

  /** Nothing is said or done until `resume`; who asks, waits in vain. */
  set standing(stands: boolean) {
    if (stands) this.twin.pause();
    else this.resume();
  }

  resume(): void {
    this.#hits.standing += this.twin.heldBack;
    this.twin.resume();
  }
}

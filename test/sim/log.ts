// A data centre's log server as its primaries and, over the hub, the globals see it: it acknowledges from its page cache and
// syncs once in a while, so that a power cut takes the tail of what it acknowledged, of the log and of the lease alike.
//
// This is the interface of lib/commitlog alone, without JetStream below it: segments, ids that are kept once a segment,
// answers that are lost after the work was done, readers that find the log shortened.

import {
  type AppendRequest,
  type BackChannel,
  LogError,
  type LogInfo,
  type LogReader,
  type SegmentedLog,
} from "#/lib/commitlog/commitlog.ts";
import type { LogEntry, LogPosition } from "#/lib/model/log.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";
import type { LeaseRecord, LeaseStore } from "#/lib/pair/store.ts";
import type { Random } from "#/lib/random/random.ts";
import type { Link } from "#/test/sim/network.ts";
import { type SimProcess, worldBeganMs } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

/** nats-server 2.9.10 syncs once a minute. */
const syncEveryMs = 60_000;
const answerMsMax = 2000;

/** How one process reaches the server: every link on the way must let things through. */
export interface Way {
  readonly process: SimProcess;
  readonly links: readonly Link[];
  /** Other servers on the way. */
  readonly relays: readonly { readonly up: boolean }[];
}

interface Segment {
  readonly stream: string;
  readonly created: string;
  readonly entries: LogEntry[];
  readonly ids: Map<string, number>;
  synced: number;
  closed: boolean;
}

export class SimLog {
  up = true;
  /** Nothing is said or done until it is over; who asks, waits in vain. */
  standing = false;
  full = false;
  readonly hits = { lostEntries: 0, lostAnswers: 0, full: 0, standing: 0 };
  /** Sees every entry right when it is appended. */
  onAppend: (entry: LogEntry, request: AppendRequest) => void = () => {};
  readonly #datacenter: string;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #segments: Segment[] = [];
  #waiters: (() => void)[] = [];
  readonly #lossCallbacks: { readonly process: SimProcess; readonly callback: () => void }[] = [];
  readonly #reportCallbacks: { readonly way: Way; readonly callback: (report: ReplicaReport) => void }[] = [];
  #leases = new Map<string, LeaseRecord>();
  #leasesSynced = new Map<string, LeaseRecord>();

  constructor(options: { readonly datacenter: string; readonly scheduler: Scheduler; readonly random: Random }) {
    this.#datacenter = options.datacenter;
    this.#scheduler = options.scheduler;
    this.#random = options.random;
    this.#begin();
    const sync = () => {
      this.#scheduler.after(syncEveryMs, sync);
      for (const segment of this.#segments) segment.synced = segment.entries.length;
      this.#leasesSynced = new Map(this.#leases);
    };
    this.#scheduler.after(this.#random.next() * syncEveryMs, sync);
  }

  kill(): void {
    this.up = false;
  }

  /** What was acknowledged since the last sync is gone, all or the end of it; the lease goes back likewise. */
  powerCut(): void {
    this.up = false;
    const segment = this.#segments.at(-1)!;
    const unsynced = segment.entries.length - segment.synced;
    const kept = segment.synced + (this.#random.next() < 0.5 ? 0 : this.#random.below(unsynced + 1));
    const lost = segment.entries.splice(kept);
    this.hits.lostEntries += lost.length;
    this.#leases = new Map(this.#leasesSynced);
    if (lost.length > 0) segment.closed = true;
  }

  start(): void {
    if (this.up) return;
    this.up = true;
    if (this.#segments.at(-1)!.closed) {
      this.#begin();
      for (const { process, callback } of this.#lossCallbacks) {
        this.#scheduler.after(500 * this.#random.next(), () => process.enter(callback));
      }
    }
    this.#wake();
  }

  resume(): void {
    this.standing = false;
    this.#wake();
  }

  isReachable({ links, relays }: Way): boolean {
    return (
      this.up &&
      !this.standing &&
      relays.every(({ up }) => up) &&
      links.every((link) => !link.isCut("up") && !link.isCut("down"))
    );
  }

  segmented(way: Way): SegmentedLog {
    return {
      ...this.reader(way),
      append: (request, signal) => this.#append(way, request, signal),
      beginSegment: async () => {
        this.#segments.at(-1)!.closed = true;
        this.#begin();
      },
      onLoss: (callback) => void this.#lossCallbacks.push({ process: way.process, callback }),
    };
  }

  reader(way: Way): LogReader {
    return {
      read: (after, signal) => this.#read(way, after, signal),
      info: () => this.#ask(way, () => this.#info()),
    };
  }

  backChannel(way: Way): BackChannel {
    return {
      publish: (report) => {
        if (!this.isReachable(way) || this.#random.next() < 0.01) return;
        const text = JSON.stringify(report);
        this.#scheduler.after(this.#travelMs(way), () => {
          for (const { way: to, callback } of this.#reportCallbacks) {
            if (to.process.dead || !this.isReachable(to)) continue;
            this.#scheduler.after(this.#travelMs(to), () => to.process.enter(() => callback(JSON.parse(text))));
          }
        });
      },
      subscribe: (callback) => void this.#reportCallbacks.push({ way, callback }),
    };
  }

  leaseStore(way: Way, key: string): LeaseStore {
    return {
      read: () => this.#ask(way, () => this.#leases.get(key)),
      write: (value, expectedRevision) =>
        this.#ask(way, () => {
          const revision = this.#leases.get(key)?.revision ?? 0;
          if (revision !== expectedRevision) return undefined;
          this.#leases.set(key, { revision: revision + 1, value: value.slice() });
          return revision + 1;
        }),
    };
  }

  #begin(): void {
    this.#segments.push({
      stream: `dc-${this.#datacenter}-1-${this.#segments.length + 1}`,
      created: new Date(worldBeganMs + this.#scheduler.nowMs).toISOString(),
      entries: [],
      ids: new Map(),
      synced: 0,
      closed: false,
    });
    this.#wake();
  }

  #append(way: Way, request: AppendRequest, signal: AbortSignal) {
    const payload = request.payload.slice();
    return this.#ask(
      way,
      () => {
        const segment = this.#segments.at(-1)!;
        const { stream, created, entries, ids } = segment;
        const known = ids.get(request.id);
        if (known !== undefined) return { stream, sequence: known, duplicate: true };
        if (this.full) {
          this.hits.full++;
          throw new LogError("refused", `${stream}: no room`);
        }
        const sequence = entries.length + 1;
        const position = { stream, created, sequence, storedMs: worldBeganMs + this.#scheduler.nowMs };
        const entry: LogEntry = { position, kind: request.kind, origin: request.origin, payload };
        entries.push(entry);
        ids.set(request.id, sequence);
        this.onAppend(entry, request);
        this.#wake();
        return { stream, sequence, duplicate: false };
      },
      signal,
    );
  }

  /** There and back; what was asked may be done although nobody hears of it. */
  async #ask<T>(way: Way, work: () => T, signal?: AbortSignal): Promise<T> {
    const { process, links } = way;
    const away = () => new LogError("unavailable", `the log of ${this.#datacenter} does not answer`);
    const answer = Promise.withResolvers<T>();
    const say = (tell: () => void, delayMs: number) => this.#scheduler.after(delayMs, () => process.enter(tell));
    const timeout = process.clock.after(answerMsMax, () => answer.reject(away()));
    const stop = () => answer.reject(away());
    signal?.addEventListener("abort", stop, { once: true });
    const toldAway = !this.up;
    this.#scheduler.after(this.#travelMs(way), () => {
      if (toldAway) return void say(() => answer.reject(away()), 1);
      const relays = way.relays.every(({ up }) => up);
      if (!this.up || !relays || links.some((link) => link.isCut("up"))) return;
      if (this.standing) {
        this.hits.standing++;
        return;
      }
      let tell: () => void;
      try {
        const result = work();
        tell = () => answer.resolve(result);
      } catch (error) {
        tell = () => answer.reject(error);
      }
      if (links.some((link) => link.isCut("down"))) this.hits.lostAnswers++;
      else say(tell, this.#travelMs(way));
    });
    try {
      return await answer.promise;
    } finally {
      timeout.cancel();
      signal?.removeEventListener("abort", stop);
    }
  }

  async *#read(way: Way, after: LogPosition | undefined, signal: AbortSignal): AsyncGenerator<LogEntry> {
    let position = after;
    while (!signal.aborted) {
      if (!this.isReachable(way)) {
        await way.process.clock.sleep(250, signal);
        continue;
      }
      const entry = this.#next(position);
      if (entry) {
        position = entry.position;
        yield entry;
      } else await this.#woken(way, signal);
    }
  }

  #next(after: LogPosition | undefined): LogEntry | undefined {
    let at = after ? this.#segments.findIndex(({ stream }) => stream === after.stream) : 0;
    const present = this.#segments[at]!;
    const sequence = after?.sequence ?? 0;
    if (sequence > present.entries.length) {
      const { stream, created, entries } = present;
      throw new LogError("shortened", `${stream}: expected ${sequence} entries, got ${entries.length}`, {
        resumeAfter: { stream, created, sequence: entries.length },
      });
    }
    let entry = present.entries[sequence];
    while (!entry && ++at < this.#segments.length) entry = this.#segments[at]!.entries[0];
    return entry;
  }

  #woken(way: Way, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener("abort", done);
        resolve();
      };
      signal.addEventListener("abort", done, { once: true });
      this.#waiters.push(() => {
        if (!way.process.dead) this.#scheduler.after(this.#travelMs(way), () => way.process.enter(done));
      });
    });
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  #info(): LogInfo {
    const { stream, created, entries } = this.#segments.at(-1)!;
    const bytes = entries.reduce((sum, { payload }) => sum + payload.length, 0);
    return { stream, created, firstSequence: entries.length > 0 ? 1 : 0, lastSequence: entries.length, bytes };
  }

  #travelMs({ links }: Way): number {
    return links.reduce((sum, { delayMs }) => sum + delayMs, 0) * (0.5 + this.#random.next());
  }
}

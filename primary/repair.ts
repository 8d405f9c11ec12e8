// What a replica of the data centre misses, and the log will not bring any more, is put into the log again.
//
// Which that is, replicas tell: ranges amid a run stand in their reports, and the end of a run shows in their watermarks once
// they have read past the place where it was read here. A batch is appended as it is, out of this primary's journal; whoever has
// it drops it. The lease holder goes first, the other primary when the holder misses it too, or was not quick. What no journal
// has, the secondary is asked for, whose spool keeps it until every global has it.
//
// One that was sent again is not sent once more before the one who misses it has read past that place too.

import { assert } from "#/lib/assert/assert.ts";
import { MiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import { LogError, type LogWriter } from "#/lib/commitlog/commitlog.ts";
import { comparePositions } from "#/lib/commitlog/subjects.ts";
import { JournalError } from "#/lib/journal/error.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { type BatchRange, batchKey, type RunId, runKey } from "#/lib/model/identity.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import { missingMax } from "#/lib/model/report.ts";
import { runsMax } from "#/lib/replica/runs.ts";
import type { Stock } from "#/lib/replica/stock.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { Receiver } from "#/primary/receive.ts";
import type { SafetyBook } from "#/primary/safety.ts";

const turnMs = secondMs;

/** A turn's share. The log, and the link to the hub that it is carried over, are for the present first. */
export const againBatchesMax = 32;
const againBytesMax = MiB;

/** One who was not heard for so long is away: what it misses it tells when it is back. */
const reportFreshMs = 5 * secondMs;

/** What a watermark lacks may be a hole, which is told as such within 6 heartbeats. */
export const endMissingMs = 10 * secondMs;

/** The holder has had time to send it, and this primary to read it. */
export const holderFirstMs = 10 * secondMs;

/** A place in the log that nobody reads past was lost with its segment. */
const sentMsMax = 10 * minuteMs;
/** More than are sent in that time at the full rate would not be remembered; they are sent twice then. */
const sentMax = 16_384;
assert(sentMax >= (sentMsMax / 10 / turnMs) * againBatchesMax, "a minute's batches at least are remembered");

/** How often one run's secondary is asked for what no journal has. */
const askEveryMs = minuteMs;
const askedMax = 1024;

export interface RepairParts {
  readonly datacenter: string;
  readonly primary: string;
  readonly lease: { held(): boolean; readonly holder: string };
  readonly stock: Pick<Stock, "held" | "onAgain" | "read" | "within">;
  readonly safety: Pick<SafetyBook, "reports">;
  readonly receiver: Pick<Receiver, "askAgain">;
  readonly writer: LogWriter;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

/** What one replica misses. */
interface Want extends BatchRange {
  readonly key: string;
  readonly replica: string;
  /** How far that replica has read the log. */
  readonly position: LogPosition | undefined;
  readonly sinceMs: number;
  /** Nothing behind it has come there. */
  readonly atEnd: boolean;
  said: boolean;
}

export class Repairer {
  readonly #parts: RepairParts;
  /** By replica and place, while they are missing: oldest first. */
  #wants = new Map<string, Want>();
  /** By batch: where it was last put into the log again. */
  readonly #sent = new Map<string, { readonly position: LogPosition | undefined; readonly atMs: number }>();
  /** By run. */
  readonly #askedMs = new Map<string, number>();
  readonly #stopping = new AbortController();
  readonly #timer: Timer;
  #turning: Promise<void> | undefined;

  constructor(parts: RepairParts) {
    this.#parts = parts;
    parts.stock.onAgain((batch, position) => this.#remember(batchKey(batch), position));
    this.#timer = parts.clock.every(turnMs, () => {
      this.#turning ??= this.#turn().finally(() => {
        this.#turning = undefined;
      });
    });
  }

  async close(): Promise<void> {
    this.#timer.cancel();
    this.#stopping.abort();
    await this.#turning;
  }

  async #turn(): Promise<void> {
    this.#look();
    let [batchesLeft, bytesLeft] = [againBatchesMax, againBytesMax];
    try {
      for (const want of this.#wants.values()) {
        if (batchesLeft <= 0 || bytesLeft <= 0) return;
        if (!this.#isMine(want)) continue;
        const sequences = this.#unsent(want, batchesLeft);
        for (const { payload, sequence } of await this.#parts.stock.read(want, { sequences, bytesMax: bytesLeft })) {
          this.#say(want);
          await this.#sendAgain(want, sequence, payload);
          batchesLeft--;
          bytesLeft -= payload.length;
        }
        this.#askSecondary(want);
      }
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      // Trimmed at this moment, or a disk that fails; or the log is away. It is as missing in a second.
      const known = error instanceof LogError || error instanceof JournalError || isSystemError(error);
      if (!known) throw error;
      this.#parts.log.warn({ cause: String(error) }, "What a replica misses cannot be sent again at present.");
    }
  }

  /** What is missing where, now. */
  #look(): void {
    const before = this.#wants;
    const wants = new Map<string, Want>();
    const nowMs = this.#parts.clock.monotonicMs();
    const add = (want: Omit<Want, "said" | "sinceMs">, name: string) => {
      const known = before.get(name);
      // The end of a run that goes on is asked for as it was when it was first seen.
      const until = known?.atEnd ? Math.min(known.until, want.until) : want.until;
      if (want.from <= until)
        wants.set(name, { ...want, until, sinceMs: known?.sinceMs ?? nowMs, said: known?.said ?? false });
    };
    for (const { ageMs, name: replica, report, sequences } of this.#parts.safety.reports()) {
      if (!report || ageMs > reportFreshMs) continue;
      const { missing = [], position } = report;
      const holed = new Set<string>();
      for (const range of missing) {
        const key = runKey(range);
        holed.add(key);
        add({ ...range, key, replica, position, atEnd: false }, `${replica} ${key} ${range.until}`);
      }
      // More holes, or runs, than are told: then silence about one says nothing.
      const tellsAll = missing.length < missingMax && report.watermarks.length < runsMax;
      if (!position || !tellsAll || replica === this.#parts.primary) continue;
      for (const { id, key, position: readHere, sequence: until } of this.#parts.stock.held()) {
        const from = (sequences.get(key) ?? 0) + 1;
        if (from > until || holed.has(key) || !readHere || !this.#isPast(position, readHere)) continue;
        add({ ...id, from, until, key, replica, position, atEnd: true }, `${replica} ${key} end`);
      }
    }
    // Those that were missing before come first.
    this.#wants = new Map([...wants].toSorted(([, a], [, b]) => a.sinceMs - b.sinceMs));
  }

  #isMine({ atEnd, replica, sinceMs }: Want): boolean {
    const { clock, lease } = this.#parts;
    const ageMs = clock.monotonicMs() - sinceMs;
    if (atEnd && ageMs < endMissingMs) return false;
    return lease.held() || replica === lease.holder || ageMs >= holderFirstMs + (atEnd ? endMissingMs : 0);
  }

  /** The first of them that are here and not on their way. */
  #unsent(want: Want, limit: number): readonly number[] {
    const sequences: number[] = [];
    for (const { from, until } of this.#parts.stock.within(want)) {
      for (let sequence = from; sequence <= until && sequences.length < limit; sequence++) {
        if (!this.#isOnItsWay(want, sequence)) sequences.push(sequence);
      }
    }
    return sequences;
  }

  #isOnItsWay(want: Want, sequence: number): boolean {
    const sent = this.#sent.get(batchKey({ ...want, sequence }));
    return sent !== undefined && !this.#hasPassed(want, sent);
  }

  #hasPassed({ position }: Want, sent: { readonly position: LogPosition | undefined; readonly atMs: number }): boolean {
    if (this.#parts.clock.monotonicMs() - sent.atMs > sentMsMax) return true;
    return position !== undefined && sent.position !== undefined && this.#isPast(position, sent.position);
  }

  #isPast(position: LogPosition, place: LogPosition): boolean {
    return comparePositions(position, place, this.#parts.datacenter) >= 0;
  }

  #say(want: Want): void {
    if (want.said) return;
    want.said = true;
    const { from, key: run, replica, until } = want;
    this.#parts.log.info({ run, replica, from, until }, "A replica misses batches: they are put into the log again.");
  }

  async #sendAgain(run: RunId, sequence: number, payload: Uint8Array): Promise<void> {
    const { clock, metrics, writer } = this.#parts;
    const key = batchKey({ ...run, sequence });
    // Both primaries within a minute say the same, so that the log keeps one; its own id is taken, perhaps by what was lost.
    const id = `${key}/again/${Math.floor(clock.nowMs() / minuteMs)}`;
    await writer.append({ kind: "batch", origin: run.secondary, id, payload }, this.#stopping.signal);
    // Where it stands is known once it is read here.
    this.#remember(key, undefined);
    metrics.add("heliograph_primary_repaired_batches_total");
  }

  #remember(key: string, position: LogPosition | undefined): void {
    this.#sent.delete(key);
    this.#sent.set(key, { position, atMs: this.#parts.clock.monotonicMs() });
    if (this.#sent.size > sentMax) this.#sent.delete(this.#sent.keys().next().value!);
  }

  /** For the first stretch that is not here. Whoever has it in a journal had the time to send it. */
  #askSecondary(want: Want): void {
    const { clock, log, metrics, receiver, stock } = this.#parts;
    const nowMs = clock.monotonicMs();
    if (nowMs - want.sinceMs < holderFirstMs || nowMs - (this.#askedMs.get(want.key) ?? -askEveryMs) < askEveryMs)
      return;
    const here = stock.within(want);
    const from = here.reduce(
      (next, stretch) => (stretch.from <= next ? Math.max(next, stretch.until + 1) : next),
      want.from,
    );
    const until = Math.min(want.until, (here.find((stretch) => stretch.from > from)?.from ?? want.until + 1) - 1);
    if (from > until || this.#isOnItsWay(want, from) || !receiver.askAgain({ ...want, from, until })) return;
    if (this.#askedMs.size >= askedMax) this.#askedMs.clear();
    this.#askedMs.set(want.key, nowMs);
    metrics.add("heliograph_primary_spools_asked_total");
    const { key: run, replica } = want;
    log.warn({ run, replica, from, until }, "A replica misses batches that no journal has: their secondary is asked.");
  }
}

/** Of the disk, and no mistake of ours, whose codes begin with ERR_. */
function isSystemError(error: unknown): boolean {
  const { code } = error as { readonly code?: unknown };
  return typeof code === "string" && !code.startsWith("ERR_");
}

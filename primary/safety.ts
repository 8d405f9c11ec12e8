// How safe each run's batches are, put together from what the replicas of the data centre report.
//
// accepted: the log has it. held: every primary of the pair has it in its fsynced journal. durable: every global has. A global
// that has not been heard for an hour is left out, so that one that is gone for good does not fill every spool.

import { hourMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { type BatchRange, type RunId, runKey, sameRun, type Watermark } from "#/lib/model/identity.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";

/** DESIGN's promise 1: a global that is away for longer than this no longer holds back `durable`. */
export const globalAbsentMsMax = hourMs;

/** After the log lost entries, every replica that lives says within so long which of them it has. */
const lossHeardMs = 10 * secondMs;

/** A spool begins within a round trip to send again what it still has; then it has the rest no more. */
const againMsMax = 5 * secondMs;

/** A run whose batches are all durable and that has been quiet this long is forgotten. */
const runQuietMsMax = hourMs;

export interface Safety {
  readonly accepted: number;
  readonly held: number;
  readonly durable: number;
}

export interface HeardReport {
  readonly name: string;
  readonly report: ReplicaReport | undefined;
  readonly ageMs: number;
  /** Its watermarks, by `runKey`. */
  readonly sequences: ReadonlyMap<string, number>;
}

interface Replica {
  /** 0 until its first report. */
  heardMs: number;
  report: ReplicaReport | undefined;
  readonly sequences: Map<string, number>;
  /** Of its report's watermarks. */
  keys: readonly string[];
}

/** A run that is known here, and its `runKey`. */
export interface KnownRun {
  readonly run: RunId;
  readonly key: string;
}

interface Accepted extends KnownRun {
  sequence: number;
  movedMs: number;
  /** The log lost some batches up to here: that one replica has them does not bring them to the others. */
  lostUntil: number;
  /** Above 0 while only what is missing of the run is appended again: this far it had been accepted before. */
  resumeAt: number;
  loweredMs: number;
}

export class SafetyBook {
  readonly #primaries = new Map<string, Replica>();
  readonly #globals = new Map<string, Replica>();
  readonly #accepted = new Map<string, Accepted>();
  readonly #clock: Clock;
  readonly #startedMs: number;
  #lostMs = Number.NEGATIVE_INFINITY;

  constructor(options: {
    readonly primaries: readonly string[];
    readonly globals: readonly string[];
    readonly clock: Clock;
  }) {
    this.#clock = options.clock;
    this.#startedMs = options.clock.monotonicMs();
    for (const name of options.primaries) this.#primaries.set(name, unheard());
    for (const name of options.globals) this.#globals.set(name, unheard());
  }

  /** The log has this batch and all of the run before it. */
  accept(run: RunId, sequence: number, key = runKey(run)): void {
    const known = this.#accepted.get(key) ?? this.#begin(run, key);
    if (known.resumeAt > 0 && !this.#acceptedAgain(known, sequence)) return;
    if (sequence > known.sequence) {
      known.sequence = sequence;
      known.movedMs = this.#clock.monotonicMs();
    }
  }

  /**
   * The log lost entries that it had acknowledged, nobody knows which: accepted is what is durable, until batches are
   * appended again.
   */
  forgetAccepted(): void {
    this.#lostMs = this.#clock.monotonicMs();
    for (const known of this.#accepted.values()) {
      resume(known);
      known.lostUntil = Math.max(known.lostUntil, known.sequence);
      known.sequence = Math.min(known.sequence, this.#durable(known.key));
    }
  }

  /**
   * Some replica misses these batches, and no journal has them: until they were appended again, accepted is what comes before
   * them. False when there is nothing to take back, or every global has them, so that no spool keeps them.
   */
  wantAgain(range: BatchRange): boolean {
    const key = runKey(range);
    const known = this.#accepted.get(key);
    const from = Math.max(range.from, this.#durable(key) + 1);
    if (!known || known.resumeAt > 0 || from > range.until || from > known.sequence) return false;
    known.resumeAt = known.sequence;
    known.lostUntil = Math.min(range.until, known.sequence);
    known.sequence = from - 1;
    known.loweredMs = this.#clock.monotonicMs();
    return true;
  }

  /** A report of a replica of this data centre; one of an unknown replica is ignored. True when it says something new. */
  hear(report: ReplicaReport): boolean {
    const replica = (report.tier === "primary" ? this.#primaries : this.#globals).get(report.replica);
    if (!replica) return false;
    const before = replica.report?.watermarks;
    replica.heardMs = this.#clock.monotonicMs();
    replica.report = report;
    // Most reports only say that their replica lives.
    const isLossNear = replica.heardMs - this.#lostMs < lossHeardMs;
    if (before && !isLossNear && sameWatermarks(before, report.watermarks)) return false;
    const known = replica.keys;
    const isKnown = (run: RunId, i: number) => before?.[i] !== undefined && sameRun(before[i], run);
    replica.keys = report.watermarks.map((run, i) => (isKnown(run, i) ? known[i]! : runKey(run)));
    replica.sequences.clear();
    for (const [i, { sequence }] of report.watermarks.entries()) replica.sequences.set(replica.keys[i]!, sequence);
    for (const [i, watermark] of report.watermarks.entries()) {
      this.#learn(watermark, watermark.sequence, replica.keys[i]!);
    }
    return true;
  }

  safety(run: RunId): Safety {
    return this.safetyOf(runKey(run));
  }

  safetyOf(key: string): Safety {
    const known = this.#accepted.get(key);
    if (known && known.resumeAt > 0 && this.#clock.monotonicMs() - known.loweredMs > againMsMax) resume(known);
    const accepted = known?.sequence ?? 0;
    return { accepted, held: least(this.#primaries.values(), key), durable: this.#durable(key) };
  }

  /** Every run of one secondary that is known here. */
  runsOf(secondary: string): readonly KnownRun[] {
    const runs: KnownRun[] = [];
    for (const known of this.#accepted.values()) if (known.run.secondary === secondary) runs.push(known);
    return runs;
  }

  /** The newest report of each replica, with its age in ms; undefined for one that was never heard. */
  reports(): readonly HeardReport[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#primaries, ...this.#globals].map(([name, { report, heardMs, sequences }]) => ({
      name,
      report,
      ageMs: nowMs - heardMs,
      sequences,
    }));
  }

  /** Forgets runs that are finished, so that restarts of secondaries do not add up. */
  forgetFinished(): void {
    const quietBeforeMs = this.#clock.monotonicMs() - runQuietMsMax;
    for (const [key, { sequence, movedMs }] of this.#accepted) {
      if (movedMs < quietBeforeMs && this.#durable(key) >= sequence) this.#accepted.delete(key);
    }
  }

  /** What a replica has, the log had. */
  #learn(run: RunId, sequence: number, key: string): void {
    const known = this.#accepted.get(key);
    if (known && known.resumeAt > 0) known.resumeAt = Math.max(known.resumeAt, sequence);
    else if (!known && this.#clock.monotonicMs() - this.#lostMs < lossHeardMs)
      this.#begin(run, key).lostUntil = sequence;
    else if (known && known.sequence < known.lostUntil) known.lostUntil = Math.max(known.lostUntil, sequence);
    else this.accept(run, sequence, key);
  }

  /** Whether it is one of those that were to come again; others were on their way before. The last one ends it. */
  #acceptedAgain(known: Accepted, sequence: number): boolean {
    if (sequence > known.lostUntil) {
      known.resumeAt = Math.max(known.resumeAt, sequence);
      return false;
    }
    known.loweredMs = this.#clock.monotonicMs();
    if (sequence === known.lostUntil) resume(known);
    return true;
  }

  #begin(run: RunId, key: string): Accepted {
    const begun: Accepted = {
      run,
      key,
      sequence: 0,
      movedMs: this.#clock.monotonicMs(),
      lostUntil: 0,
      resumeAt: 0,
      loweredMs: 0,
    };
    this.#accepted.set(key, begun);
    return begun;
  }

  /** At the globals that count. With every one away for an hour, nothing is durable any more than it was: spools hold on. */
  #durable(key: string): number {
    const nowMs = this.#clock.monotonicMs();
    let present = Number.POSITIVE_INFINITY;
    let all = Number.POSITIVE_INFINITY;
    for (const { heardMs, sequences } of this.#globals.values()) {
      const sequence = sequences.get(key) ?? 0;
      all = Math.min(all, sequence);
      if (nowMs - Math.max(heardMs, this.#startedMs) <= globalAbsentMsMax) present = Math.min(present, sequence);
    }
    const least = Number.isFinite(present) ? present : all;
    return Number.isFinite(least) ? least : 0;
  }
}

/** What was missing of the run came again, or does not come. */
function resume(known: Accepted): void {
  known.sequence = Math.max(known.sequence, known.resumeAt);
  known.resumeAt = 0;
}

function unheard(): Replica {
  return { heardMs: 0, report: undefined, sequences: new Map(), keys: [] };
}

function sameWatermarks(before: readonly Watermark[], after: readonly Watermark[]): boolean {
  return (
    before.length === after.length &&
    before.every((mark, i) => mark.sequence === after[i]!.sequence && sameRun(mark, after[i]!))
  );
}

function least(replicas: Iterable<Replica>, key: string): number {
  let least = Number.POSITIVE_INFINITY;
  for (const replica of replicas) least = Math.min(least, replica.sequences.get(key) ?? 0);
  return Number.isFinite(least) ? least : 0;
}

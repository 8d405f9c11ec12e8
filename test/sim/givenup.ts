// Which batches a primary has given up, as its reports show: its watermark passes a hole that it had told of so long ago.

import { type BatchRange, type RunId, runKey, sameRun } from "#/lib/model/identity.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";

interface Missing {
  readonly range: BatchRange;
  readonly sinceMs: number;
}

/** A hole is given up after an hour of heartbeats, which may be more than one a second of each primary. */
const givenUpMsMin = 20 * 60_000;

export class GivenUp {
  /** By replica. */
  readonly #missing = new Map<string, Map<string, Missing>>();
  readonly #batches = new Set<string>();

  hear({ missing = [], replica, watermarks }: ReplicaReport, nowMs: number): void {
    let known = this.#missing.get(replica);
    if (!known && missing.length === 0) return;
    if (!known) this.#missing.set(replica, (known = new Map()));
    for (const range of missing) {
      const name = `${runKey(range)} ${range.from} ${range.until}`;
      if (!known.has(name)) known.set(name, { range, sinceMs: nowMs });
    }
    for (const [name, { range, sinceMs }] of known) {
      if (!watermarks.some((mark) => sameRun(mark, range) && mark.sequence >= range.until)) continue;
      known.delete(name);
      if (nowMs - sinceMs < givenUpMsMin) continue;
      for (let sequence = range.from; sequence <= range.until; sequence++) {
        this.#batches.add(`${replica} ${runKey(range)} ${sequence}`);
      }
    }
  }

  /** Whether one of those that said that they have it has it. */
  isWithSome(said: ReadonlyMap<string, number>, run: RunId, sequence: number): boolean {
    return [...said].some(
      ([replica, until]) => until >= sequence && !this.#batches.has(`${replica} ${runKey(run)} ${sequence}`),
    );
  }
}

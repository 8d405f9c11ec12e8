// How much of a backlog may be sent now. The present goes first, whatever the backlog is: of batches of earlier runs only a few are on
// their way at once, so that on a narrow link a new one waits for those few, and they take a bounded rate of what a wide link has.
//
// A primary that many secondaries come back to at once admits a few of them; the others send a trickle, so that no word that is
// lost makes a backlog stand still.

import { assert } from "#/lib/assert/assert.ts";
import { KiB, MiB, secondMs } from "#/lib/bytes/units.ts";

/** A second of backlog: a full secondary's 24 hours, 16.4 GB, in 33 minutes, and a fifteenth of a gigabit. */
export const drainBytesPerSecond = 8 * MiB;
/** Of the rate, for who is not admitted. */
const trickleShare = 1 / 16;
/** Of the window: with a link of twice the live rate a new batch waits two seconds for those. */
const windowShare = 1 / 4;
assert(
  drainBytesPerSecond * trickleShare >= 256 * KiB,
  "a trickle still outruns a full secondary's live rate of 190 kB/s",
);

/** What a session tells its primary of, while there is any. */
export const backlogSaidEveryMs = 5 * secondMs;

export class DrainPace {
  readonly #bytesPerSecond: number;
  #dueMs = Number.NEGATIVE_INFINITY;
  /** A primary that does not say has no objection. */
  admitted = true;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** How many batches of earlier runs may be on their way, of a window of so many. */
  onTheirWayMax(window: number): number {
    return Math.max(1, Math.floor(window * windowShare));
  }

  /** When the next batch of an earlier run may go. */
  get dueMs(): number {
    return this.#dueMs;
  }

  sent(bytes: number, nowMs: number): void {
    const perSecond = this.#bytesPerSecond * (this.admitted ? 1 : trickleShare);
    this.#dueMs = Math.max(this.#dueMs, nowMs) + (bytes / perSecond) * secondMs;
  }

  /** What was sent at a trickle need not be waited for any longer. */
  admit(admitted: boolean, nowMs: number): void {
    if (admitted && !this.admitted) this.#dueMs = Math.min(this.#dueMs, nowMs);
    this.admitted = admitted;
  }
}

// When a list of targets suddenly becomes much shorter, it is more often broken than right, and nobody would hear of it: a server
// that is not scraped raises no alert. So what is missing is kept for a while (held), and said, until an operator confirms the
// loss, the targets come back, or the time is over.

import { assert } from "#/lib/assert/assert.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Target } from "#/lib/model/target.ts";

export interface LossLimits {
  /** A larger share of a list's targets may not go at once; 1 lets all go. */
  readonly shareMax: number;
  /** How long they are kept then. */
  readonly holdMs: number;
}

/** Fewer are never sudden: a rack is taken down, or a list has hardly any. */
export const lostMin = 10;

/**
 * A loss is believed once a list was read twice with nothing between: a writer that stops in the middle looks like one. Together
 * with the quiet before a reading (file.ts) it has to stay below the second within which a change is seen.
 */
export const steadyMs = 300;
/** A list that never stops changing is believed after so long: what is much is held still. */
export const unsteadyMsMax = 5 * secondMs;
assert(steadyMs + 500 < secondMs, "a loss is seen within a second");

export interface Hold {
  /** Wall time. */
  readonly sinceMs: number;
  readonly untilMs: number;
  /** Monotonic; the same moment as `untilMs`. */
  readonly deadlineMs: number;
}

export function newHold(clock: Clock, { holdMs }: LossLimits): Hold {
  const sinceMs = clock.nowMs();
  return { sinceMs, untilMs: sinceMs + holdMs, deadlineMs: clock.monotonicMs() + holdMs };
}

export function isSudden(lost: number, of: number, { shareMax }: LossLimits): boolean {
  return lost >= lostMin && lost > shareMax * of;
}

/** What is kept and would not be there any more otherwise, and until when. */
export interface Held extends Pick<Hold, "sinceMs" | "untilMs"> {
  readonly lost: number;
  /** Of so many targets in the last list that was taken as it was. */
  readonly of: number;
  /** The source cannot be read, so nothing is known: the time does not end it. */
  readonly waits: boolean;
}

export function heldOf(hold: Hold, lost: number, of: number, waits: boolean): Held {
  return { sinceMs: hold.sinceMs, untilMs: hold.untilMs, lost, of: Math.max(lost, of), waits };
}

/** A target whose labels change is not lost: what counts is that something with its URL is still scraped. */
export function withoutPresent(targets: readonly Target[], urls: ReadonlySet<string>): readonly Target[] {
  return targets.filter(({ url }) => !urls.has(url));
}

// How long the spool has room before it must drop what is nowhere else: a straight line through what it filled with lately.
//
// What both primaries hold is dropped first, so it counts as room. What is left is what grows in a cut: everything that was
// sealed since. Its rate is taken over the last minutes, or since the oldest of it was sealed when that is less, so that neither
// the spread of keyframes nor one large batch shows, and a change of load does within five minutes.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";

/** As long as keyframes take to come round once: within it a secondary's batches are as many bytes as in any other. */
export const forecastWindowMs = 5 * minuteMs;
/** What is younger is on its way to the primaries and no backlog. */
export const backlogAgeMsMin = 30 * secondMs;
/** Between two looks. */
export const lookEveryMs = 10 * secondMs;
/** When it is no more than it was so long ago, the spool drains. */
const drainLookMs = 3 * lookEveryMs;

/** What not both primaries hold, at one moment. */
export interface SpoolLook {
  /** By the monotonic clock. */
  readonly atMs: number;
  readonly bytes: number;
  readonly batches: number;
  /** Of the oldest of it; undefined when there is none. */
  readonly oldestAgeMs: number | undefined;
}

export interface SpoolLimits {
  readonly bytesMax: number;
  readonly batchesMax: number;
  readonly ageMsMax: number;
}

/**
 * In ms from the last look on; Infinity while nothing waits, while it becomes less, and while it is too early to tell. The looks
 * are in order.
 */
export function roomLeftMs(looks: readonly SpoolLook[], limits: SpoolLimits): number {
  const last = looks.at(-1);
  const ageMs = last?.oldestAgeMs;
  if (!last || ageMs === undefined || ageMs < backlogAgeMsMin) return Number.POSITIVE_INFINITY;
  const before = looks.findLast(({ atMs }) => atMs <= last.atMs - drainLookMs);
  if (before && last.bytes <= before.bytes) return Number.POSITIVE_INFINITY;
  const began = rateBegan(looks, last, ageMs);
  const spanMs = last.atMs - began.atMs;
  if (spanMs < drainLookMs) return Number.POSITIVE_INFINITY;
  const until = (now: number, then: number, max: number) => {
    const perMs = (now - then) / spanMs;
    return perMs > 0 ? Math.max(0, (max - now) / perMs) : Number.POSITIVE_INFINITY;
  };
  const byBytes = until(last.bytes, began.bytes, limits.bytesMax);
  const byBatches = until(last.batches, began.batches, limits.batchesMax);
  return Math.min(byBytes, byBatches, Math.max(0, limits.ageMsMax - ageMs));
}

/** Everything that waits was sealed since the oldest of it was: then there was nothing. */
function rateBegan(looks: readonly SpoolLook[], last: SpoolLook, ageMs: number) {
  if (ageMs <= forecastWindowMs) return { atMs: last.atMs - ageMs, bytes: 0, batches: 0 };
  return looks.find(({ atMs }) => atMs >= last.atMs - forecastWindowMs) ?? last;
}

/** Keeps the looks of one window. */
export class RoomForecast {
  readonly #limits: SpoolLimits;
  #looks: SpoolLook[] = [];

  constructor(limits: SpoolLimits) {
    this.#limits = limits;
  }

  isDue(nowMs: number): boolean {
    return nowMs - (this.#looks.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY) >= lookEveryMs;
  }

  look(look: SpoolLook): void {
    this.#looks = [...this.#looks.filter(({ atMs }) => atMs >= look.atMs - forecastWindowMs - lookEveryMs), look];
  }

  /** From that moment on, by the monotonic clock. */
  roomMs(nowMs: number): number {
    const left = roomLeftMs(this.#looks, this.#limits);
    return Math.max(0, left - (nowMs - (this.#looks.at(-1)?.atMs ?? nowMs)));
  }
}

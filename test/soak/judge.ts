// What a soak is judged by, from what was seen of it.

import type { Outcome } from "#/lib/model/outcome.ts";
import type { Pause } from "#/test/soak/canary.ts";
import { type KindName, kinds } from "#/test/soak/hostile.ts";

/** One look at memory. */
export interface MemoryLook {
  readonly timeMs: number;
  readonly residentBytes: number;
}

/** What a hostile target's last scrape came to, when it was looked at. */
export interface FailureSeen {
  readonly kind: KindName;
  readonly outcome: Outcome;
  readonly error: string;
}

export const slopeBytesPerMinuteMax = 1_000_000;

/** Bytes a minute, by least squares: how memory grows when its ups and downs are left out. */
export function slopeOf(looks: readonly MemoryLook[]): number {
  const mean = (of: (look: MemoryLook) => number) => looks.reduce((sum, look) => sum + of(look), 0) / looks.length;
  const timeMean = mean(({ timeMs }) => timeMs);
  const bytesMean = mean(({ residentBytes }) => residentBytes);
  let products = 0;
  let squares = 0;
  for (const { residentBytes, timeMs } of looks) {
    products += (timeMs - timeMean) * (residentBytes - bytesMean);
    squares += (timeMs - timeMean) ** 2;
  }
  return squares === 0 ? 0 : (products / squares) * 60_000;
}

export interface Punctuality {
  readonly due: number;
  readonly late: number;
  /** Of those, where the machine was held up between the slot's time and the scrape. */
  readonly lateByMachine: number;
  /** Slots between a target's first and last scrape that had none. */
  readonly missing: number;
  readonly missingByMachine: number;
  readonly medianMs: number;
  readonly mostMs: number;
}

/** `arrivals` of each target in order; `dueMs` is the time of the slot that an arrival belongs to. */
export function punctualityOf(
  arrivals: readonly (readonly number[])[],
  dueMs: (target: number, arrivalMs: number) => number,
  {
    intervalMs,
    lateMs,
    pauses,
  }: { readonly intervalMs: number; readonly lateMs: number; readonly pauses: readonly Pause[] },
): Punctuality {
  const held = (fromMs: number, untilMs: number) =>
    pauses.some((pause) => pause.fromMs < untilMs && pause.untilMs > fromMs);
  const delays: number[] = [];
  const counts = { due: 0, late: 0, lateByMachine: 0, missing: 0, missingByMachine: 0 };
  for (const [target, times] of arrivals.entries()) {
    let before: number | undefined;
    for (const timeMs of times) {
      const slotMs = dueMs(target, timeMs);
      counts.due++;
      delays.push(timeMs - slotMs);
      if (timeMs - slotMs > lateMs) {
        counts.late++;
        if (held(slotMs, timeMs)) counts.lateByMachine++;
      }
      for (let missing = (before ?? slotMs) + intervalMs; missing < slotMs; missing += intervalMs) {
        counts.due++;
        counts.missing++;
        if (held(missing - intervalMs, missing + intervalMs)) counts.missingByMachine++;
      }
      before = slotMs;
    }
    // Who was never asked was due all the same.
    if (times.length === 0) counts.missing++;
  }
  delays.sort((a, b) => a - b);
  return { ...counts, medianMs: delays[delays.length >> 1] ?? Number.NaN, mostMs: delays.at(-1) ?? Number.NaN };
}

export interface FailureCount {
  readonly kind: KindName;
  readonly outcome: Outcome;
  /** With numbers left out. */
  readonly sentence: string;
  readonly seen: number;
  /** It has a sentence, unless nothing failed, and is one of those that may come of its kind. */
  readonly isNamed: boolean;
}

export function countFailures(all: readonly FailureSeen[]): readonly FailureCount[] {
  const counts = new Map<string, FailureCount>();
  for (const { error, kind, outcome } of all) {
    const sentence = error.replaceAll(/\d[\d.,]*/g, "#");
    const key = `${kind} ${outcome} ${sentence}`;
    const allowed: readonly Outcome[] = kinds[kind].outcomes;
    const isNamed = allowed.includes(outcome) && (outcome === "stored" || sentence !== "");
    counts.set(key, { kind, outcome, sentence, isNamed, seen: (counts.get(key)?.seen ?? 0) + 1 });
  }
  return [...counts.values()].sort((a, b) => a.kind.localeCompare(b.kind) || b.seen - a.seen);
}

// Makes a failing story short: leaves out one fault after the other for as long as the same promise is still broken.

import { minuteMs } from "#/lib/bytes/units.ts";
import type { Fault } from "#/test/sim/faults.ts";
import { type SimulationOptions, type SimulationResult, simulate } from "#/test/sim/simulate.ts";

/** `mayGoOn` bounds the time that it takes; what was reached by then is the answer. */
export async function shrink(
  options: SimulationOptions,
  failed: SimulationResult,
  mayGoOn: () => boolean,
): Promise<SimulationResult> {
  const code = failed.violations[0]!.code;
  let best = failed;
  // What came after the violation did not make it.
  let faults: readonly Fault[] = failed.faults.filter(({ atMs }) => atMs <= failed.violations[0]!.timeMs);
  for (
    let share = Math.ceil(faults.length / 2);
    share >= 1 && mayGoOn();
    share = share > 1 ? Math.ceil(share / 2) : 0
  ) {
    for (let at = 0; at < faults.length && mayGoOn(); ) {
      const fewer = [...faults.slice(0, at), ...faults.slice(at + share)];
      const result = await simulate({
        ...options,
        minutes: Math.min(options.minutes, minutesOf(fewer)),
        faults: fewer,
      });
      if (result.violations[0]?.code === code) {
        best = result;
        faults = fewer;
      } else at += share;
    }
  }
  return best;
}

/** Until the last of them is over; healing comes after it. */
function minutesOf(faults: readonly Fault[]): number {
  return faults.reduce((last, { atMs, lastsMs }) => Math.max(last, atMs + lastsMs), 0) / minuteMs;
}

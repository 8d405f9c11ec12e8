// Reads everything back from the globals once the federation is well, and holds it against what it must be.

import { type Account, type Blow, judge, mayLackRows, missingInExcess } from "#/cli/drill/account.ts";
import { type DemoStatus, instanceOf } from "#/cli/drill/federation.ts";
import { readTarget, readUp, type TimeSpan } from "#/cli/drill/readback.ts";
import { countSlots, type SlotCounts } from "#/cli/drill/slots.ts";
import { fleetBody } from "#/cli/fleet/body.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** How long what was held back may take to arrive at the end. */
export const convergeMsMax = 180_000;
const pollMs = 1000;
/** Globals are asked for this many targets at once. */
const readsAtOnce = 4;

export interface Comparison {
  readonly status: DemoStatus;
  readonly span: TimeSpan;
  readonly intervalMs: number;
  readonly blows: readonly Blow[];
  readonly clock: Clock;
}

/** Each global's own account, one after the other. Throws ReadBackError, CallError. */
export async function* compareGlobals(comparison: Comparison): AsyncGenerator<{ name: string; account: Account }> {
  const { status, blows, intervalMs } = comparison;
  for (const { name, httpUrl } of status.processes.filter(({ role }) => role === "global")) {
    await untilSettled(comparison, httpUrl);
    const counts = await readAll(comparison, httpUrl);
    yield { name, account: judge({ blows, counts, intervalMs }) };
  }
}

/** Waits while slots that are missing still arrive. What is missing for good is left to the account. */
async function untilSettled(comparison: Comparison, server: string): Promise<void> {
  const { clock, status, span, intervalMs, blows } = comparison;
  const endMs = clock.monotonicMs() + convergeMsMax;
  const calmMs = 4 * intervalMs;
  let least = Number.POSITIVE_INFINITY;
  let leastAtMs = clock.monotonicMs();
  while (clock.monotonicMs() < endMs) {
    const series = await readUp(server, span);
    const missing = Array.from({ length: status.fleet.targets }, (_, target) => {
      const up = series.get(instanceOf(target, status.fleet)) ?? [];
      return countSlots({ target, up, rows: new Map() }, [], { ...span, intervalMs }).missingMs;
    });
    const excess = missingInExcess(blows, missing, intervalMs);
    if (excess < least) [least, leastAtMs] = [excess, clock.monotonicMs()];
    if (excess === 0 || clock.monotonicMs() - leastAtMs >= calmMs) return;
    await clock.sleep(pollMs);
  }
}

async function readAll(comparison: Comparison, server: string): Promise<readonly SlotCounts[]> {
  const { status, span, intervalMs, blows } = comparison;
  const { fleet } = status;
  const { rows } = fleetBody(fleet.rows);
  const counts: SlotCounts[] = [];
  for (let first = 0; first < fleet.targets; first += readsAtOnce) {
    const targets = Array.from({ length: Math.min(readsAtOnce, fleet.targets - first) }, (_, i) => first + i);
    const read = await Promise.all(
      targets.map((target) => readTarget(server, { target, instance: instanceOf(target, fleet) }, span)),
    );
    for (const one of read) {
      const mayLack = (timeMs: number) => mayLackRows(timeMs, one.target, blows, intervalMs);
      counts.push(countSlots(one, rows, { ...span, intervalMs, mayLackRows: mayLack }));
    }
  }
  return counts;
}

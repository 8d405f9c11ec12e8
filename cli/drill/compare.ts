// Reads everything back once the federation is well, and holds it against what it must be: all of it at the globals, and of its
// own data centre at each primary.

import { type Account, type Blow, judge, mayLackRows, missingInExcess } from "#/cli/drill/account.ts";
import { type DemoStatus, instanceOf } from "#/cli/drill/federation.ts";
import { readTarget, readUp, type TimeSpan } from "#/cli/drill/readback.ts";
import { countSlots, type SlotCounts } from "#/cli/drill/slots.ts";
import { fleetBody } from "#/cli/fleet/body.ts";
import { shareOf } from "#/cli/fleet/filesd.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** How long what was held back may take to arrive at the end. */
const convergeMsMax = 300_000;
const pollMs = 1000;
/** A replica is asked for this many targets at once. */
const readsAtOnce = 4;

export interface Comparison {
  readonly status: DemoStatus;
  readonly span: TimeSpan;
  readonly intervalMs: number;
  readonly blows: readonly Blow[];
  readonly clock: Clock;
}

export interface Replica {
  readonly name: string;
  readonly httpUrl: string;
  /** Simulated servers, by number, whose samples it must have. */
  readonly targets: readonly number[];
}

export interface ReplicaAccount {
  readonly replica: Replica;
  readonly account: Account;
}

/** Globals first. */
export function replicasOf({ datacenters, fleet, processes }: DemoStatus): readonly Replica[] {
  const targets = Array.from({ length: fleet.targets }, (_, target) => target);
  const globals = processes.filter(({ role }) => role === "global");
  const primaries = datacenters.flatMap(({ name }, site) => {
    const own = targets.slice(...shareOf(fleet.targets, site, datacenters.length));
    return processes
      .filter(({ role, datacenter }) => role === "primary" && datacenter === name)
      .map((primary) => ({ name: primary.name, httpUrl: primary.httpUrl, targets: own }));
  });
  return [...globals.map(({ name, httpUrl }) => ({ name, httpUrl, targets })), ...primaries];
}

/** Each one's own account, one after the other. Throws ReadBackError, CallError. */
export async function compareReplicas(comparison: Comparison): Promise<readonly ReplicaAccount[]> {
  const { status, blows, intervalMs } = comparison;
  const accounts: ReplicaAccount[] = [];
  const replicas = replicasOf(status);
  await Promise.all(replicas.map((replica) => untilSettled(comparison, replica)));
  for (const replica of replicas) {
    const counts = await readAll(comparison, replica);
    accounts.push({ replica, account: judge({ blows, counts, intervalMs }) });
  }
  return accounts;
}

/** Waits while slots that are missing still arrive. What is missing for good is left to the account. */
async function untilSettled(comparison: Comparison, { httpUrl, targets }: Replica): Promise<void> {
  const { clock, status, span, intervalMs, blows } = comparison;
  const endMs = clock.monotonicMs() + convergeMsMax;
  const calmMs = 4 * intervalMs;
  let least = Number.POSITIVE_INFINITY;
  let leastAtMs = clock.monotonicMs();
  while (clock.monotonicMs() < endMs) {
    const series = await readUp(httpUrl, span);
    const missing = new Map(
      targets.map((target) => {
        const up = series.get(instanceOf(target, status.fleet)) ?? [];
        return [target, countSlots({ target, up, rows: new Map() }, [], { ...span, intervalMs }).missingMs];
      }),
    );
    const excess = missingInExcess(blows, missing, intervalMs);
    if (excess < least) [least, leastAtMs] = [excess, clock.monotonicMs()];
    if (excess === 0 || clock.monotonicMs() - leastAtMs >= calmMs) return;
    await clock.sleep(pollMs);
  }
}

async function readAll(
  comparison: Comparison,
  { httpUrl, targets }: Replica,
): Promise<ReadonlyMap<number, SlotCounts>> {
  const { status, span, intervalMs, blows } = comparison;
  const { fleet } = status;
  const { rows } = fleetBody(fleet.rows);
  const counts = new Map<number, SlotCounts>();
  for (let first = 0; first < targets.length; first += readsAtOnce) {
    const read = await Promise.all(
      targets
        .slice(first, first + readsAtOnce)
        .map((target) => readTarget(httpUrl, { target, instance: instanceOf(target, fleet) }, span)),
    );
    for (const one of read) {
      const mayLack = (timeMs: number) => mayLackRows(timeMs, one.target, blows, intervalMs);
      counts.set(one.target, countSlots(one, rows, { ...span, intervalMs, mayLackRows: mayLack }));
    }
  }
  return counts;
}

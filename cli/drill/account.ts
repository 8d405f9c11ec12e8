// Who is to blame for which missing slot, and whether that was allowed.
//
// A slot that is missing belongs to the last blow before it was due, or to one that follows within an interval: the scrape was
// made, and died with the process before it was sent. Where blows overlap, it belongs to the one that may cost this target slots.

import type { FaultKind } from "#/cli/drill/script.ts";
import type { SlotCounts } from "#/cli/drill/slots.ts";

export interface Blow {
  readonly name: string;
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly downMs: number;
  /** Whose slots may be missing, and how many of each. */
  readonly allowedTargets: ReadonlySet<number>;
  readonly allowedSlots: number;
  /** Under which name of `notPromised` (cli/drill/strike.ts) they may be missing. */
  readonly excuse?: string;
  /** Whose scrapes may fail while it lasts. */
  readonly mayFail?: ReadonlySet<number>;
  /** Whose scrapes are stored without some of their rows while it lasts. */
  readonly mayLackRows?: ReadonlySet<number>;
}

/** One blow's line. */
export interface BlowAccount {
  readonly missing: number;
  /** Of the target that lost most. */
  readonly missingMost: number;
  /** Targets that lost any. */
  readonly missingTargets: number;
  /** Of `missing`, what no promise allows. */
  readonly beyond: number;
  readonly doubled: number;
  readonly failed: number;
  /** Of `failed`, with servers that nobody had hurt. */
  readonly failedUnhurt: number;
}

export interface Account {
  /** One a blow; the last one is for slots before the first blow. */
  readonly perBlow: readonly BlowAccount[];
  readonly slots: number;
  readonly compared: number;
  readonly incomplete: readonly string[];
  readonly wrong: readonly string[];
  readonly breaches: readonly string[];
}

const examplesMax = 5;

/** `counts`: one a target, in their order. */
export function judge(options: {
  readonly blows: readonly Blow[];
  readonly counts: readonly SlotCounts[];
  readonly intervalMs: number;
}): Account {
  const { blows, counts, intervalMs } = options;
  const breaches: string[] = [];
  const perBlow = [...blows, undefined].map((blow, index) => {
    const ownOf = (target: number, timesMs: readonly number[]) =>
      timesMs.filter((timeMs) => blameOf(timeMs, target, blows, intervalMs) === (blow ? index : -1));
    let [missing, missingMost, missingTargets, beyond, doubled, failed, failedUnhurt] = [0, 0, 0, 0, 0, 0, 0];
    for (const [target, count] of counts.entries()) {
      const lost = ownOf(target, count.missingMs).length;
      missing += lost;
      missingMost = Math.max(missingMost, lost);
      missingTargets += lost > 0 ? 1 : 0;
      doubled += ownOf(target, count.doubledMs).length;
      const failures = ownOf(target, count.failedMs);
      failed += failures.length;
      failedUnhurt += failures.filter((timeMs) => !mayHaveFailed(timeMs, target, blows, intervalMs)).length;
      const allowed = allowedOf(blow, target);
      beyond += Math.max(0, lost - allowed);
      const where = blow ? blow.name : "no blow";
      if (lost > allowed) breaches.push(`${where}: target ${target} misses ${lost} slots, allowed are ${allowed}`);
    }
    if (doubled > 0) breaches.push(`${blow?.name ?? "no blow"}: ${doubled} slots are there twice`);
    return { missing, missingMost, missingTargets, beyond, doubled, failed, failedUnhurt };
  });
  const incomplete = counts.flatMap((count) => count.incomplete);
  const wrong = counts.flatMap((count) => count.wrong);
  if (incomplete.length > 0) breaches.push(`${incomplete.length} samples of stored scrapes are missing or of none`);
  if (wrong.length > 0) breaches.push(`${wrong.length} values are wrong`);
  const compared = counts.reduce((sum, count) => sum + count.compared, 0);
  if (compared === 0) breaches.push("no sample was there to compare");
  return { perBlow, slots: counts.reduce((sum, count) => sum + count.slots, 0), compared, incomplete, wrong, breaches };
}

function allowedOf(blow: Blow | undefined, target: number): number {
  return blow?.allowedTargets.has(target) ? blow.allowedSlots : 0;
}

/** Missing slots beyond what the blows excuse: those that may still arrive. */
export function missingInExcess(
  blows: readonly Blow[],
  missing: readonly (readonly number[])[],
  intervalMs: number,
): number {
  let excess = 0;
  for (const [target, timesMs] of missing.entries()) {
    for (let blow = -1; blow < blows.length; blow++) {
      const lost = timesMs.filter((timeMs) => blameOf(timeMs, target, blows, intervalMs) === blow).length;
      excess += Math.max(0, lost - allowedOf(blows[blow], target));
    }
  }
  return excess;
}

/** The index of the blow, or -1 for a slot before all of them. */
function blameOf(timeMs: number, target: number, blows: readonly Blow[], intervalMs: number): number {
  const excusing = blows.findLastIndex((blow) => allowedOf(blow, target) > 0 && lastsAt(blow, timeMs, intervalMs));
  if (excusing >= 0) return excusing;
  return blows.findLastIndex(({ atMs }) => atMs - intervalMs <= timeMs);
}

/** From an interval before it, for the scrape that it interrupted, until an interval after it. */
function lastsAt({ atMs, downMs }: Blow, timeMs: number, intervalMs: number): boolean {
  return atMs - intervalMs <= timeMs && timeMs <= atMs + downMs + intervalMs;
}

function mayHaveFailed(timeMs: number, target: number, blows: readonly Blow[], intervalMs: number): boolean {
  return blows.some((blow) => blow.mayFail?.has(target) === true && lastsAt(blow, timeMs, intervalMs));
}

/** Whether a scrape of that target may lack rows, as a fault of the server made it. */
export function mayLackRows(timeMs: number, target: number, blows: readonly Blow[], intervalMs: number): boolean {
  return blows.some((blow) => blow.mayLackRows?.has(target) === true && lastsAt(blow, timeMs, intervalMs));
}

export function reportText(globalName: string, blows: readonly Blow[], account: Account): string {
  const head = ["", "down", "slots missing", "most a target", "allowed", "failed", "doubled"];
  const rows = account.perBlow.map((line, index) => {
    const blow = blows[index];
    const allowed = blow && blow.allowedSlots > 0 ? `${blow.allowedSlots} × ${blow.allowedTargets.size}` : "0";
    return [
      blow?.name ?? "before the first",
      blow ? `${(blow.downMs / 1000).toFixed(1)} s` : "",
      line.missing > 0 ? `${line.missing} of ${line.missingTargets} targets` : "0",
      String(line.missingMost),
      allowed,
      String(line.failed),
      String(line.doubled),
    ];
  });
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const table = [head, ...rows].map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  "),
  );
  const total = `${account.slots} slots, ${account.compared.toLocaleString("en-US")} samples compared: `;
  const verdict = `${account.wrong.length} wrong, ${account.incomplete.length} missing from stored scrapes`;
  const examples = [...account.incomplete.slice(0, examplesMax), ...account.wrong.slice(0, examplesMax)];
  const breaches = account.breaches.slice(0, 4 * examplesMax).map((breach) => `BREACH: ${breach}`);
  return [`As ${globalName} tells it:`, ...table, total + verdict, ...examples, ...breaches].join("\n");
}

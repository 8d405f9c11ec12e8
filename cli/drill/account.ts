// Who is to blame for which missing slot, and whether that was allowed.
//
// A slot that is missing belongs to the blow that lasted when it was due; else to the last one before it, or to one that follows
// within an interval: the scrape was made, and died with the process before it was sent. Where blows overlap, it belongs to the
// one that may cost this target slots; likewise a failed scrape. Only what is missing about the time of a blow is excused by it.

import { clockText, table } from "#/cli/drill/layout.ts";
import type { FaultKind } from "#/cli/drill/script.ts";
import type { SlotCounts } from "#/cli/drill/slots.ts";

export interface Blow {
  readonly name: string;
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly downMs: number;
  /** Whether it was felt (cli/drill/evidence.ts). */
  readonly hit: boolean;
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

/** `counts`: by target. */
export function judge(options: {
  readonly blows: readonly Blow[];
  readonly counts: ReadonlyMap<number, SlotCounts>;
  readonly intervalMs: number;
}): Account {
  const { blows, counts, intervalMs } = options;
  const breaches: string[] = [];
  const perBlow = [...blows, undefined].map((blow, index) => {
    const ownOf = (target: number, timesMs: readonly number[], may = mayMiss) =>
      timesMs.filter((timeMs) => blameOf(timeMs, target, { blows, intervalMs, may }) === (blow ? index : -1));
    let [missing, missingMost, missingTargets, beyond, doubled, failed, failedUnhurt] = [0, 0, 0, 0, 0, 0, 0];
    const examples: string[] = [];
    for (const [target, count] of counts) {
      const lostMs = ownOf(target, count.missingMs);
      missing += lostMs.length;
      missingMost = Math.max(missingMost, lostMs.length);
      missingTargets += lostMs.length > 0 ? 1 : 0;
      const inExcess = excessOf(blow, target, lostMs, intervalMs);
      beyond += inExcess;
      if (inExcess > 0) examples.push(`${target} (${lostMs.map(clockText).join(", ")})`);
      doubled += ownOf(target, count.doubledMs).length;
      const failures = ownOf(target, count.failedMs, mayFail);
      failed += failures.length;
      failedUnhurt += failures.filter((timeMs) => !mayHaveFailed(timeMs, target, blows, intervalMs)).length;
    }
    const where = blow?.name ?? "no blow";
    if (beyond > 0) {
      const named = `${examples.slice(0, examplesMax).join(", ")}${examples.length > examplesMax ? ", …" : ""}`;
      breaches.push(`${where}: ${beyond} slots are missing beyond what is allowed; of servers ${named}`);
    }
    if (doubled > 0) breaches.push(`${where}: ${doubled} slots are there twice`);
    return { missing, missingMost, missingTargets, beyond, doubled, failed, failedUnhurt };
  });
  const all = [...counts.values()];
  const incomplete = all.flatMap((count) => count.incomplete);
  const wrong = all.flatMap((count) => count.wrong);
  if (incomplete.length > 0) breaches.push(`${incomplete.length} samples of stored scrapes are missing or of none`);
  if (wrong.length > 0) breaches.push(`${wrong.length} values are wrong`);
  const compared = all.reduce((sum, count) => sum + count.compared, 0);
  if (compared === 0) breaches.push("no sample was there to compare");
  return { perBlow, slots: all.reduce((sum, count) => sum + count.slots, 0), compared, incomplete, wrong, breaches };
}

function allowedOf(blow: Blow | undefined, target: number): number {
  return blow?.allowedTargets.has(target) ? blow.allowedSlots : 0;
}

/** How many of a target's missing slots the blow that they belong to does not excuse. */
function excessOf(blow: Blow | undefined, target: number, lostMs: readonly number[], intervalMs: number): number {
  const excusable = blow ? lostMs.filter((timeMs) => lastsAt(blow, timeMs, intervalMs)).length : 0;
  return lostMs.length - Math.min(excusable, allowedOf(blow, target));
}

/** Missing slots, by target, beyond what the blows excuse: those that may still arrive. */
export function missingInExcess(
  blows: readonly Blow[],
  missing: ReadonlyMap<number, readonly number[]>,
  intervalMs: number,
): number {
  let excess = 0;
  for (const [target, timesMs] of missing) {
    for (let blow = -1; blow < blows.length; blow++) {
      const lostMs = timesMs.filter((timeMs) => blameOf(timeMs, target, { blows, intervalMs, may: mayMiss }) === blow);
      excess += excessOf(blows[blow], target, lostMs, intervalMs);
    }
  }
  return excess;
}

function mayMiss(blow: Blow, target: number): boolean {
  return allowedOf(blow, target) > 0;
}

function mayFail({ mayFail: targets }: Blow, target: number): boolean {
  return targets?.has(target) === true;
}

/** The index of the blow, or -1 for a slot before all of them. */
function blameOf(
  timeMs: number,
  target: number,
  { blows, intervalMs, may }: { blows: readonly Blow[]; intervalMs: number; may: typeof mayMiss },
): number {
  const excusing = blows.findLastIndex((blow) => may(blow, target) && lastsAt(blow, timeMs, intervalMs));
  if (excusing >= 0) return excusing;
  const during = blows.findLastIndex(({ atMs, downMs }) => atMs <= timeMs && timeMs <= atMs + downMs);
  return during >= 0 ? during : blows.findLastIndex(({ atMs }) => atMs - intervalMs <= timeMs);
}

/** From an interval before it, for the scrape that it interrupted, until an interval after it. */
function lastsAt({ atMs, downMs }: Blow, timeMs: number, intervalMs: number): boolean {
  return atMs - intervalMs <= timeMs && timeMs <= atMs + downMs + intervalMs;
}

function mayHaveFailed(timeMs: number, target: number, blows: readonly Blow[], intervalMs: number): boolean {
  return blows.some((blow) => mayFail(blow, target) && lastsAt(blow, timeMs, intervalMs));
}

/** Whether a scrape of that target may lack rows, as a fault of the server made it. */
export function mayLackRows(timeMs: number, target: number, blows: readonly Blow[], intervalMs: number): boolean {
  return blows.some((blow) => blow.mayLackRows?.has(target) === true && lastsAt(blow, timeMs, intervalMs));
}

const columns = "missing: no outcome is stored; allowed: slots × servers; failed: stored with up 0";

/** A line a blow, and the sums. */
export function reportText(replica: string, blows: readonly Blow[], account: Account): string {
  const head = ["", "at", "down", "slots missing", "most a target", "allowed", "failed", "doubled"];
  const rows = account.perBlow.map((line, index) => {
    const blow = blows[index];
    const allowed = blow && blow.allowedSlots > 0 ? `${blow.allowedSlots} × ${blow.allowedTargets.size}` : "0";
    return [
      blow?.name ?? "before the first",
      blow ? clockText(blow.atMs) : "",
      blow ? `${(blow.downMs / 1000).toFixed(1)} s` : "",
      line.missing > 0 ? `${line.missing} of ${line.missingTargets} targets` : "0",
      String(line.missingMost),
      allowed,
      String(line.failed),
      String(line.doubled),
    ];
  });
  return [`As ${replica} tells it (${columns}):`, table([head, ...rows]), sumsText(account)].join("\n");
}

/** The sums, and every breach with examples. */
export function sumsText(account: Account): string {
  const sum = (of: (line: BlowAccount) => number) => account.perBlow.reduce((all, line) => all + of(line), 0);
  const slots = [
    `${sum(({ missing }) => missing)} missing, of them ${sum(({ beyond }) => beyond)} beyond what is allowed`,
    `${sum(({ doubled }) => doubled)} doubled, ${sum(({ failed }) => failed)} failed`,
  ];
  const samples = `${account.wrong.length} wrong, ${account.incomplete.length} missing from stored scrapes`;
  const examples = [...account.incomplete.slice(0, examplesMax), ...account.wrong.slice(0, examplesMax)];
  const breaches = account.breaches.slice(0, 4 * examplesMax).map((breach) => `BREACH: ${breach}`);
  return [
    `${account.slots} slots: ${slots.join(", ")}`,
    `${account.compared.toLocaleString("en-US")} samples compared: ${samples}`,
    ...examples,
    ...breaches,
  ].join("\n");
}

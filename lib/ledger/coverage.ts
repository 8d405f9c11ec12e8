// What share of a question's slots is here: of all that targets had due which it may ask for, those whose outcome is known, stored
// or failed by the target itself.
//
// A minute in which everything was stored needs no look at its slots: how many of them are asked for is a matter of arithmetic.
// So a question over hours of a healthy data centre costs a few operations a target, however many slots there were.

import { setImmediate } from "node:timers/promises";
import { minuteMs } from "#/lib/bytes/units.ts";
import type { LedgerSource } from "#/lib/ledger/account.ts";
import type { LedgerBook, Present } from "#/lib/ledger/book.ts";
import { type Cause, categoryOf, causes, isOpen, Tally } from "#/lib/ledger/cause.ts";
import type { Target } from "#/lib/model/target.ts";

export interface Coverage {
  readonly datacenter: string;
  readonly due: number;
  /** Stored, in part too, or failed by the target itself. */
  readonly answered: number;
  /** Of `answered`, the target's own failures. */
  readonly failed: number;
  /** No slot before it may still get another outcome, unless what was lost is found. */
  readonly settledUntilMs: number;
  /** Of those that are not answered. */
  readonly causes: ReadonlyMap<Cause, number>;
}

/** Failures that are the secondary's, not the target's. */
const notTheTargets: ReadonlySet<Cause> = new Set<Cause>(["failed_clock", "failed_credentials"]);

/** With a smaller share of all targets asked for, looking at their slots is cheaper than counting a whole minute that is not known. */
const wideShareMin = 1 / 8;

/** Of the targets that are wanted, from the one time to before the other. Lets others have the event loop between two minutes. */
export async function coverageOf(
  { book, present }: LedgerSource,
  wants: (target: Target) => boolean,
  range: { readonly fromMs: number; readonly untilMs: number },
): Promise<Coverage> {
  const now = present();
  const fromMs = Math.max(range.fromMs, book.fromMs(now.nowMs));
  const untilMs = Math.min(range.untilMs, now.nowMs);
  const rows = wantedRows(book, wants);
  const isWide = rows.length >= book.due.rows * wideShareMin;
  const total = new Tally();
  let settledUntilMs = untilMs;
  /** From here on all minutes are whole so far. */
  let wholeFromMs = fromMs;
  const count = (aMs: number, bMs: number) => {
    const { openFromMs, tallies } = book.tally(aMs, bMs, now, rows);
    for (const tally of tallies.values()) total.add(tally);
    settledUntilMs = Math.min(settledUntilMs, openFromMs ?? settledUntilMs);
  };
  for (let atMs = fromMs; atMs < untilMs; ) {
    const minute = Math.floor(atMs / minuteMs);
    const nextMs = Math.min((minute + 1) * minuteMs, untilMs);
    if (!isWhole(book, minute, now, isWide)) {
      countWhole(book, rows, wholeFromMs, atMs, total, count);
      count(atMs, nextMs);
      wholeFromMs = nextMs;
      await setImmediate();
    }
    atMs = nextMs;
  }
  countWhole(book, rows, wholeFromMs, untilMs, total, count);
  return { datacenter: book.datacenter, ...answeredOf(total), settledUntilMs };
}

function wantedRows(book: LedgerBook, wants: (target: Target) => boolean): readonly number[] {
  const rows: number[] = [];
  for (let row = 0; row < book.due.rows; row++) {
    const target = book.due.target(row);
    if (target && wants(target)) rows.push(row);
  }
  return rows;
}

/** Whether all of the minute is known to be stored; one that was not counted yet is counted for a wide question only. */
function isWhole(book: LedgerBook, minute: number, now: Present, isWide: boolean): boolean {
  const known = book.knownMinute(minute, now) ?? (isWide ? book.minute(minute, now) : undefined);
  if (!known) return false;
  for (const tally of known.tallies.values()) if (tally.of("stored") < tally.due) return false;
  return true;
}

/** All slots from the one time to before the other are stored. */
function countWhole(
  { due }: LedgerBook,
  rows: readonly number[],
  fromMs: number,
  untilMs: number,
  total: Tally,
  count: (aMs: number, bMs: number) => void,
): void {
  if (fromMs >= untilMs) return;
  let slots = 0;
  for (const row of rows) {
    // One that came, went or moved meanwhile is looked at with all others.
    if (due.sinceMs(row) > fromMs) {
      count(fromMs, untilMs);
      return;
    }
    if (due.isGone(row)) continue;
    const intervalMs = due.intervalMs(row);
    const phaseMs = due.phaseMs(row);
    slots += Math.ceil((untilMs - phaseMs) / intervalMs) - Math.ceil((fromMs - phaseMs) / intervalMs);
  }
  total.count("stored", slots);
}

function answeredOf(total: Tally): Pick<Coverage, "answered" | "causes" | "due" | "failed"> {
  const missing = new Map<Cause, number>();
  let answered = 0;
  let failed = 0;
  for (const cause of causes) {
    const slots = total.of(cause);
    if (slots === 0) continue;
    const category = categoryOf(cause);
    const isFailed = category === "failed" && !notTheTargets.has(cause);
    if (isFailed) failed += slots;
    if (isFailed || category === "stored" || category === "partial") answered += slots;
    else missing.set(cause, slots);
  }
  return { due: total.due, answered, failed, causes: missing };
}

/** Whether that much of it is a hole: what is on its way within the normal lag is none. */
export function isHole(cause: Cause): boolean {
  return !isOpen(cause) || cause === "dark";
}

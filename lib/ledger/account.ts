// The ledger as it is asked: for a time and one or all data centres, whole, by minute or by generation, and by owner.

import { setImmediate } from "node:timers/promises";
import { minuteMs } from "#/lib/bytes/units.ts";
import type { LedgerBook, Present } from "#/lib/ledger/book.ts";
import { categoryOf, causes, reasonOf, Tally } from "#/lib/ledger/cause.ts";
import { nobody } from "#/lib/ledger/due.ts";
import { compareText } from "#/lib/model/labels.ts";
import { timeText } from "#/lib/page/text.ts";

/** What a book is asked with, where it is kept. */
export interface LedgerSource {
  readonly book: LedgerBook;
  present(): Present;
}

export const steps = ["total", "minute", "generation"] as const;
export type Step = (typeof steps)[number];

export interface LedgerQuestion {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly step: Step;
}

/** Slots by reason, without those that are 0. */
export type Reasons = Readonly<Record<string, number>>;

/** Together they are `due`. */
export interface LedgerTerms {
  readonly due: number;
  readonly stored: number;
  readonly partial: number;
  readonly failed: Reasons;
  readonly missed: Reasons;
  readonly dropped: Reasons;
  readonly superseded: number;
  readonly inFlight: Reasons;
  readonly unassigned: number;
  readonly lost: Reasons;
  readonly dark: number;
  readonly unexplained: number;
  /** Outcomes that lost against another of the same slot; not in the sum, for the slot is in it already. */
  readonly repeated: number;
  /** Some of it is not told by the data centre, but supposed from its last generation. */
  readonly estimated: boolean;
}

export interface LedgerRow extends LedgerTerms {
  /** "" for those that nobody had room for. */
  readonly owner: string;
  /** Of a minute or a generation: RFC 3339 in UTC. */
  readonly from?: string;
  readonly generation?: number;
}

export interface LedgerOfDatacenter {
  readonly datacenter: string;
  /** What is asked for and known here. */
  readonly from: string;
  readonly until: string;
  /** No slot before it is open. */
  readonly settledUntil: string;
  readonly total: LedgerTerms;
  readonly rows: readonly LedgerRow[];
}

export interface LedgerAnswer {
  readonly status: "success";
  readonly data: { readonly server: string; readonly datacenters: readonly LedgerOfDatacenter[] };
}

/** Lets others have the event loop between two minutes. */
export async function accountOf(
  { book, present }: LedgerSource,
  question: LedgerQuestion,
): Promise<LedgerOfDatacenter> {
  const now = present();
  const fromMs = Math.min(Math.max(question.fromMs, book.fromMs(now.nowMs)), now.nowMs);
  const untilMs = Math.max(fromMs, Math.min(question.untilMs, now.nowMs));
  const total = new Tally();
  const rows: LedgerRow[] = [];
  const owners = new Map<number, Tally>();
  let openFromMs = untilMs;
  for await (const { tallies, openFromMs: openMs, ...of } of parts(book, now, { ...question, fromMs, untilMs })) {
    openFromMs = Math.min(openFromMs, openMs ?? openFromMs);
    for (const [owner, tally] of sorted(book, tallies)) {
      total.add(tally);
      const known = owners.get(owner);
      if (known) known.add(tally);
      else owners.set(owner, new Tally(tally));
      if (question.step !== "total") rows.push({ owner: book.due.nameOf(owner), ...of, ...termsOf(tally) });
    }
  }
  if (question.step === "total") {
    for (const [owner, tally] of sorted(book, owners)) rows.push({ owner: book.due.nameOf(owner), ...termsOf(tally) });
  }
  return {
    datacenter: book.datacenter,
    from: timeText(fromMs),
    until: timeText(untilMs),
    settledUntil: timeText(openFromMs),
    total: termsOf(total),
    rows,
  };
}

interface Part {
  readonly from: string;
  readonly generation?: number;
  readonly tallies: ReadonlyMap<number, Tally>;
  readonly openFromMs: number | undefined;
}

async function* parts(
  book: LedgerBook,
  present: Present,
  { fromMs, step, untilMs }: LedgerQuestion,
): AsyncGenerator<Part> {
  if (step === "generation") {
    for (const [i, { fromMs: reignsMs, number }] of book.due.reigns.entries()) {
      const beginsMs = Math.max(fromMs, reignsMs);
      const endsMs = Math.min(untilMs, book.due.reigns[i + 1]?.fromMs ?? untilMs);
      if (beginsMs >= endsMs) continue;
      yield { from: timeText(beginsMs), generation: number, ...book.tally(beginsMs, endsMs, present) };
      await setImmediate();
    }
    return;
  }
  for (let beginsMs = fromMs; beginsMs < untilMs; ) {
    const minute = Math.floor(beginsMs / minuteMs);
    const endsMs = (minute + 1) * minuteMs;
    const isWhole = (beginsMs === minute * minuteMs || beginsMs === book.fromMs(present.nowMs)) && endsMs <= untilMs;
    const counted = isWhole ? book.minute(minute, present) : book.tally(beginsMs, Math.min(endsMs, untilMs), present);
    yield { from: timeText(beginsMs), tallies: counted.tallies, openFromMs: counted.openFromMs };
    beginsMs = endsMs;
    await setImmediate();
  }
}

/** By name, nobody last. */
function sorted(book: LedgerBook, tallies: ReadonlyMap<number, Tally>): readonly (readonly [number, Tally])[] {
  const nameOf = (owner: number) => book.due.nameOf(owner);
  return [...tallies].sort(
    ([a], [b]) => Number(a === nobody) - Number(b === nobody) || compareText(nameOf(a), nameOf(b)),
  );
}

export function termsOf(tally: Tally): LedgerTerms {
  const reasons: Record<"failed" | "missed" | "dropped" | "in_flight" | "lost", Record<string, number>> = {
    failed: {},
    missed: {},
    dropped: {},
    in_flight: {},
    lost: {},
  };
  for (const cause of causes) {
    const count = tally.of(cause);
    const category = categoryOf(cause);
    if (count > 0 && category in reasons) reasons[category as keyof typeof reasons][reasonOf(cause)] = count;
  }
  return {
    due: tally.due,
    stored: tally.of("stored"),
    partial: tally.of("partial"),
    failed: reasons.failed,
    missed: reasons.missed,
    dropped: reasons.dropped,
    superseded: tally.of("superseded"),
    inFlight: reasons.in_flight,
    unassigned: tally.of("unassigned"),
    lost: reasons.lost,
    dark: tally.of("dark"),
    unexplained: tally.of("unexplained"),
    repeated: tally.repeated,
    estimated: tally.of("dark") > 0,
  };
}

// The ledger of one data centre, as one reader of its log has it: what became of every slot that was due.
//
// What was due follows from the generations (due.ts), what was told stands in a byte a slot (slots.ts), and a slot of which
// nothing was told is closed by what its owner told otherwise (told.ts) and by whether it was heard. Nothing is decided once and
// for all: it is all computed from what was read, so every reader of the same log has the same, after a replay too, and what
// comes late takes the place of what was supposed.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { BatchHeader } from "#/lib/codec/batch.ts";
import { type Cause, isOpen, Tally } from "#/lib/ledger/cause.ts";
import { DueBook, gone, nobody, type Reign } from "#/lib/ledger/due.ts";
import { generationIn, nearGeneration, noOutcome, outcomeIn } from "#/lib/ledger/rings.ts";
import { aheadMsMax, Slots } from "#/lib/ledger/slots.ts";
import { type Dropped, type Missing, type Standing, ToldBook } from "#/lib/ledger/told.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { Heartbeat } from "#/lib/model/heartbeat.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import { outranks } from "#/lib/model/outcome.ts";
import type { Scrape } from "#/lib/model/scrape.ts";

/**
 * A slot younger than this may have no outcome yet without a reason: a scrape and its timeout, an owner that is lost and the next
 * one, a flush, the log, and a look at whether a secondary is cut off take less together, for intervals up to half a minute. For longer
 * ones the owner's watermark says that it still waits.
 */
export const settleMs = minuteMs;

/** A secondary that no primary's heartbeat has named for so long is silent. */
const silentMs = 30 * secondMs;

/**
 * What a secondary told before it was lost comes from its spool within this time of its return, or the first of it does; of the
 * start that is still there, whose older runs may have to wait behind other secondaries' backlogs, within the longer one.
 */
const drainMsMax = 2 * minuteMs;
const tailMsMax = 15 * minuteMs;

/** The log's own measure of time stands still while nothing is written to it: heartbeats come every second. */
const beatMsMax = 2 * secondMs;

/** What is not the log's to tell. */
export interface Present {
  readonly nowMs: number;
  /** Nothing can be heard of the data centre: its log ends where it was cut off. */
  readonly dark: boolean;
}

/** Why one slot has no outcome, or which it has. */
export interface SlotAccount {
  readonly cause: Cause;
  readonly timeMs: number;
  readonly slot: number;
  readonly owner: string;
  /** The one in force at that time. */
  readonly generation: number;
  /** The one under which the outcome was told. */
  readonly toldBy: number | undefined;
  readonly missing: Missing | undefined;
}

interface HeardSecondary {
  /** The log's time of its last word. */
  lastMs: number;
  /** It was away before this time … */
  awayUntilMs: number;
  /** … and came back at this one of the log's own measure. */
  returnedMs: number;
}

interface Minute {
  readonly tallies: ReadonlyMap<number, Tally>;
  /** Time of the earliest slot that is open; undefined when none is. */
  readonly openFromMs: number | undefined;
  readonly untilMs: number;
  /** It holds until then, or until something of it is read. */
  readonly freshUntilMs: number;
}

/** What is open may change by the time alone, and why a slot has no outcome by what is read of other times. */
const openFreshMs = 5 * secondMs;
const closedFreshMs = minuteMs;

export class LedgerBook {
  readonly datacenter: string;
  readonly #retentionMs: () => number;
  readonly #due = new DueBook();
  readonly #told = new ToldBook();
  readonly #slots: Slots;
  readonly #heard = new Map<string, HeardSecondary>();
  readonly #minutes = new Map<number, Minute>();
  /** By minute and owner, outcomes that lost. */
  readonly #repeated = new Map<number, Map<number, number>>();
  #beganMs: number | undefined;
  #logMs = Number.NEGATIVE_INFINITY;
  #uptimeMs = 0;
  #changedMinute = Number.NaN;
  /** Whether the log says when it stored its entries. */
  #isTimed = false;

  constructor(options: { readonly datacenter: string; readonly retentionMs: () => number }) {
    this.datacenter = options.datacenter;
    this.#retentionMs = options.retentionMs;
    this.#slots = new Slots(options.retentionMs);
  }

  /** Bytes of the slots' outcomes. */
  get bytes(): number {
    return this.#slots.bytes;
  }

  get due(): DueBook {
    return this.#due;
  }

  /** It knows nothing of what was due before. */
  fromMs(nowMs: number): number {
    return Math.max(this.#beganMs ?? nowMs, nowMs - this.#retentionMs());
  }

  // --- what the log says, in its order ---

  /** An entry of the log is read. */
  read({ storedMs }: Pick<LogPosition, "storedMs">): void {
    if (storedMs === undefined) return;
    this.#isTimed = true;
    this.#pass(storedMs);
  }

  #pass(storedMs: number): void {
    this.#beganMs ??= storedMs;
    if (storedMs <= this.#logMs) return;
    if (this.#logMs !== Number.NEGATIVE_INFINITY) this.#uptimeMs += Math.min(storedMs - this.#logMs, beatMsMax);
    this.#logMs = storedMs;
  }

  generation(generation: Generation): void {
    this.#due.take(generation, (row) => this.#slots.open(row, this.#due.intervalMs(row)));
    const firstMinute = Math.floor(generation.validFromMs / minuteMs);
    for (const minute of this.#minutes.keys()) if (minute >= firstMinute) this.#minutes.delete(minute);
    this.#changedMinute = Number.NaN;
  }

  scrape({ facts, target }: Pick<Scrape, "facts" | "target">): void {
    const row = this.#due.rowOf(target.id, target.intervalMs);
    if (row === undefined) return;
    const { outcome, slot } = facts;
    const timeMs = this.#due.phaseMs(row) + slot * target.intervalMs;
    if (timeMs > this.#logMs + aheadMsMax) return;
    const inForce = this.#due.reignAt(timeMs)?.number ?? facts.generation;
    const generation = nearGeneration(facts.generation, inForce);
    const byte = this.#slots.get(row, slot);
    if (byte !== noOutcome) {
      const known = { outcome: outcomeIn(byte), generation: generationIn(byte, inForce) };
      // The same one, read again when a hole was filled, or a slot that came twice because a clock was set back.
      if (known.generation !== generation) this.#repeat(row, timeMs);
      if (!outranks({ outcome, generation }, known)) return;
    }
    if (this.#slots.set(row, slot, { outcome, generation }, inForce)) this.#changed(timeMs);
  }

  /** A batch was decoded, of whose scrapes so many refer to batches that are missing. */
  batch(header: BatchHeader, unreadable: number): void {
    this.#told.batch(header, unreadable, this.#uptimeMs);
  }

  /** A secondary told that it let batches go. */
  dropped(range: Dropped): void {
    this.#told.dropped(range);
    const last = Math.floor(range.slotsUntilMs / minuteMs);
    for (let minute = Math.floor(range.slotsFromMs / minuteMs); minute <= last; minute++) this.#minutes.delete(minute);
    this.#changedMinute = Number.NaN;
  }

  heartbeat({ secondaries, sentMs }: Pick<Heartbeat, "secondaries" | "sentMs">): void {
    // A log that does not say when it stored its entries.
    if (!this.#isTimed) this.#pass(sentMs);
    for (const { ageMs, name } of secondaries) {
      const lastMs = this.#logMs - ageMs;
      const known = this.#heard.get(name);
      if (!known) {
        this.#heard.set(name, { lastMs, awayUntilMs: lastMs, returnedMs: this.#uptimeMs });
        continue;
      }
      if (lastMs <= known.lastMs) continue;
      if (lastMs - known.lastMs > silentMs / 3) {
        known.awayUntilMs = lastMs;
        known.returnedMs = this.#uptimeMs;
      }
      known.lastMs = lastMs;
    }
  }

  /** Forgets what is older than it tells. Call it about every minute. */
  trim(nowMs: number): void {
    const beforeMs = nowMs - this.#retentionMs();
    this.#due.trim(beforeMs, (row) => this.#slots.close(row));
    this.#told.trim(beforeMs);
    const firstMinute = Math.floor(beforeMs / minuteMs);
    for (const book of [this.#minutes, this.#repeated]) {
      for (const minute of book.keys()) if (minute < firstMinute) book.delete(minute);
    }
  }

  // --- what became of it ---

  /** As `minute`, when it was counted and still holds. */
  knownMinute(minute: number, present: Present): Minute | undefined {
    const known = this.#minutes.get(minute);
    const untilMs = Math.min((minute + 1) * minuteMs, present.nowMs);
    return known?.untilMs === untilMs && present.nowMs < known.freshUntilMs ? known : undefined;
  }

  /** The slots of one minute, counted from the epoch, by the number of their owner: see `due.nameOf`. */
  minute(minute: number, present: Present): Minute {
    const known = this.knownMinute(minute, present);
    if (known) return known;
    const fromMs = Math.max(minute * minuteMs, this.fromMs(present.nowMs));
    const untilMs = Math.min((minute + 1) * minuteMs, present.nowMs);
    const { openFromMs, tallies } = this.tally(fromMs, untilMs, present);
    for (const [owner, count] of this.#repeated.get(minute) ?? []) tallyOf(tallies, owner).repeated += count;
    const isTold = [...tallies.values()].every((tally) => tally.isTold);
    const freshMs = openFromMs !== undefined ? openFreshMs : isTold ? Number.POSITIVE_INFINITY : closedFreshMs;
    const computed = { tallies, openFromMs, untilMs, freshUntilMs: present.nowMs + freshMs };
    this.#minutes.set(minute, computed);
    if (this.#changedMinute === minute) this.#changedMinute = Number.NaN;
    return computed;
  }

  /** The slots of a time by owner, of all targets or of those in the rows that are named. */
  tally(
    fromMs: number,
    untilMs: number,
    present: Present,
    rows?: readonly number[],
  ): { readonly tallies: Map<number, Tally>; readonly openFromMs: number | undefined } {
    const tallies = new Map<number, Tally>();
    let openFromMs: number | undefined;
    const due = this.#due;
    const length = rows?.length ?? due.rows;
    for (let i = 0; i < length; i++) {
      const row = rows ? rows[i]! : i;
      if (!due.target(row)) continue;
      const intervalMs = due.intervalMs(row);
      let slot = Math.ceil((fromMs - due.phaseMs(row)) / intervalMs);
      for (let timeMs = due.phaseMs(row) + slot * intervalMs; timeMs < untilMs; timeMs += intervalMs, slot++) {
        const owner = due.ownerAt(row, timeMs);
        if (owner === gone) continue;
        const byte = this.#slots.get(row, slot);
        const cause = byte === noOutcome ? this.#close(row, timeMs, owner, present).cause : outcomeIn(byte);
        tallyOf(tallies, owner).count(cause);
        if (byte === noOutcome && isOpen(cause)) openFromMs = Math.min(openFromMs ?? timeMs, timeMs);
      }
    }
    return { tallies, openFromMs };
  }

  /** What became of the slot that was due then or last before; undefined when none was. */
  slot(row: number, atMs: number, present: Present): SlotAccount | undefined {
    const intervalMs = this.#due.intervalMs(row);
    const slot = Math.floor((atMs - this.#due.phaseMs(row)) / intervalMs);
    const timeMs = this.#due.phaseMs(row) + slot * intervalMs;
    const owner = this.#due.ownerAt(row, timeMs);
    const reign = this.#due.reignAt(timeMs);
    if (owner === gone || !reign) return undefined;
    const of = { timeMs, slot, owner: this.#due.nameOf(owner), generation: reign.number };
    const byte = this.#slots.get(row, slot);
    if (byte === noOutcome) return { ...of, ...this.#close(row, timeMs, owner, present), toldBy: undefined };
    const toldBy = generationIn(byte, reign.number);
    return { ...of, cause: outcomeIn(byte), toldBy, missing: undefined };
  }

  /** Who told the outcome of that slot, as far as generations say it; "" when they do not. */
  teller(row: number, { timeMs, toldBy }: SlotAccount): string {
    const reign = this.#due.reigns.findLast(({ number }) => number === toldBy);
    const owner = reign ? this.#due.ownerAt(row, Math.max(timeMs, reign.fromMs)) : gone;
    return owner === gone ? "" : this.#due.nameOf(owner);
  }

  /** By the rules above, of a slot without an outcome. */
  #close(row: number, timeMs: number, owner: number, present: Present): Pick<SlotAccount, "cause" | "missing"> {
    const { dark, nowMs } = present;
    const closed = (cause: Cause, missing?: Missing) => ({ cause, missing });
    if (owner === nobody) return closed("unassigned");
    if (timeMs > nowMs - settleMs) return closed("recent");
    if (timeMs > this.#logMs + beatMsMax - settleMs) return closed(dark ? "dark" : "lag");
    const name = this.#due.nameOf(owner);
    const { id, intervalMs } = this.#due.target(row)!;
    const reign = this.#due.reignAt(timeMs)!;
    const standing = this.#told.standing(name, { id, timeMs, intervalMs, generation: reign.number });
    const open = dark ? "dark" : "backlog";
    switch (standing.state) {
      case "passed":
        return this.#passed(name, standing, reign, open);
      case "none":
      case "restart":
        // Of one that tells nothing and lives, its first batch is on its way.
        return closed(this.#isDraining(name, drainMsMax) || this.#waits(name, timeMs, standing) ? open : "dead");
      case "open":
      case "behind":
        return closed(this.#waits(name, timeMs, standing) ? open : "dead");
      default:
        return standing satisfies never;
    }
  }

  #passed(
    name: string,
    { by, cause, heard, missing }: Extract<Standing, { readonly state: "passed" }>,
    reign: Reign,
    open: Cause,
  ): Pick<SlotAccount, "cause" | "missing"> {
    switch (cause) {
      case "tail":
        if (this.#isDraining(name, heard ? tailMsMax : drainMsMax)) return { cause: open, missing };
        if (!heard) return { cause: "unheard", missing: undefined };
        break;
      case "hole":
      case "unreadable":
      case "asleep":
      case "unheard":
        return { cause, missing };
      case "full":
      case "age":
      case "disk":
      case "refused":
        return { cause: `dropped_${cause}`, missing };
      case undefined:
        break;
      default:
        cause satisfies never;
    }
    return { cause: this.#due.lacksOneAfter(reign, by) ? "unknown_generation" : "unexplained", missing };
  }

  /** Whether what it told before may still be on its way out of its spool. */
  #isDraining(name: string, msMax: number): boolean {
    const returnedMs = this.#heard.get(name)?.returnedMs ?? Number.NEGATIVE_INFINITY;
    return this.#uptimeMs - Math.max(this.#told.drainedMs(name), returnedMs) < msMax;
  }

  /** Whether the owner lives and its word on a slot of that time is still to come. */
  #waits(name: string, timeMs: number, { state }: Standing): boolean {
    const heard = this.#heard.get(name);
    const isSilent = !this.#due.newest?.living.has(name) || !heard || this.#logMs - heard.lastMs > silentMs;
    if (isSilent || state === "restart") return false;
    if (state === "none" && this.#told.drainedMs(name) !== Number.NEGATIVE_INFINITY) return false;
    return timeMs > heard.awayUntilMs || this.#isDraining(name, drainMsMax);
  }

  #repeat(row: number, timeMs: number): void {
    const owner = this.#due.ownerAt(row, timeMs);
    if (owner === gone) return;
    const minute = Math.floor(timeMs / minuteMs);
    let owners = this.#repeated.get(minute);
    if (!owners) this.#repeated.set(minute, (owners = new Map()));
    owners.set(owner, (owners.get(owner) ?? 0) + 1);
    this.#changed(timeMs);
  }

  /** What is known of that minute no longer holds. */
  #changed(timeMs: number): void {
    const minute = Math.floor(timeMs / minuteMs);
    if (minute === this.#changedMinute) return;
    this.#changedMinute = minute;
    this.#minutes.delete(minute);
  }
}

function tallyOf(tallies: Map<number, Tally>, owner: number): Tally {
  let tally = tallies.get(owner);
  if (!tally) tallies.set(owner, (tally = new Tally()));
  return tally;
}

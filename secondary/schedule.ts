// Begins each target's scrape at its slot, and sees to it that every slot that was due has an outcome.
//
// Slots follow from target and wall clock alone (lib/model/target.ts), so nothing drifts and nothing is remembered. One timer
// serves all targets. Phases lie on a grid, so many are due at the same moment and begin together, which more than halves what
// a scrape costs; the timer is a little late and takes along what is due a little later, but always within the tolerance in
// which a scrape carries its slot's time.
// A slot that could not begin is missed, with the reason: its predecessor still ran until the next one, or nobody was there.
//
// A generation rules the slots from its time of validity on. Heard of before, it costs and doubles none: the old owner goes on until
// then, and the new one begins with the first slot from then on. What a lost owner left, or what was heard of late, is made up
// for at a pace (makeup.ts), beside the slots of the present, which it never delays.

import { assert } from "#/lib/assert/assert.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Generation, GenerationSecondary } from "#/lib/model/generation.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import { slotAt, slotTimeMs, slotToleranceMs, type Target } from "#/lib/model/target.ts";
import { Away } from "#/secondary/away.ts";
import { DueQueue } from "#/secondary/due.ts";
import { makeUpGridMs, makeUpRoomMsMin, paceMakeUps } from "#/secondary/makeup.ts";

/** How far before its slot a scrape may begin, and how long after the first due slot the timer wakes. */
const earlyMsMax = 6;
const gatherMs = 1;
assert(earlyMsMax < slotToleranceMs && gatherMs < slotToleranceMs, "a gathered scrape still carries its slot's time");

/**
 * Twice a full secondary's targets: all of them may hang until their timeout and keep no other from its slot. It bounds sockets;
 * what the bodies may hold together is bounded in scrape/http/body.ts.
 */
export const scrapesInFlightMax = 10_000;

/** A scrape that times out ends this long before its target's next slot, which it would cost otherwise. */
const endsBeforeMs = 50;
assert(
  endsBeforeMs > slotToleranceMs + earlyMsMax,
  "a scrape that begins late and the next that begins early do not meet",
);

/** The wall clock is looked at this often even when nothing is due, so that a step is noticed. */
const sleepMsMax = secondMs;
/** Wall and monotonic clock part by less than this in a second, unless the wall clock was set or the machine slept. */
const clockStepMsMin = 500;
/** Of slots that passed while nobody was there, the newest are told; the primary closes the slots of a silent secondary itself. */
const missedSlotsTold = 100;
/** A scrape that begins late and would run into the target's next slot is not worth it. */
const lateRoomMsMin = makeUpRoomMsMin;
/** Of the places, those that slots which are made up for may take: the others are for slots of the present. */
const makeUpShareMax = 0.5;
/**
 * A first generation this long after it became valid is news, and its slots so far are made up for; an older one comes from the
 * disk, or the slots since were another's, or were closed by the primary.
 */
const newsMsMax = 5 * secondMs;
/** Less may be what the clocks of two machines differ, and a generation because somebody was lost is valid at once. */
const aheadMsMin = 500;
/** Generations that wait for their time. A primary makes one a few seconds ahead at most; the newest are kept. */
const generationsPendingMax = 4;

export type MissedOutcome = Extract<Outcome, "missed_overload" | "missed_down" | "missed_clock">;

export interface DueScrape {
  readonly slot: number;
  readonly generation: number;
  readonly timeoutMs: number;
  /** What it is when it runs into a timeout that is shorter than the target's own, because it began late. */
  readonly ifCutShort?: MissedOutcome;
}

/** What the schedule calls. `S` is what is remembered of a target for as long as it is assigned here, and for a moment longer. */
export interface ScheduleHandlers<S> {
  /** For a target that comes, and for one whose definition changed: then with what was remembered. */
  adopt(target: Target, previous: S | undefined): S;
  /** Resolves when the slot has its outcome; must not reject. When the signal aborts, it ends soon. */
  scrape(state: S, due: DueScrape, signal: AbortSignal): Promise<void>;
  missed(state: S, slot: number, generation: number, outcome: MissedOutcome): void;
  /** For a target that is no longer assigned here, after its last outcome; it may still come back, and be adopted. */
  away(state: S): void;
  /** For one that did not come back. */
  left(state: S): void;
}

export interface ScheduledTarget<S> {
  readonly target: Target;
  readonly state: S;
  readonly generation: number;
  /** Time of its next slot. */
  readonly dueMs: number;
  /** Time of the slot whose scrape runs; undefined while none does. */
  readonly runningMs: number | undefined;
}

/** Who hears how punctual the schedule is. */
export interface ScheduleMeter {
  tick(): void;
  /** A scrape begins so long after its slot. Those at once after a change of owner are not told. */
  began(lagMs: number): void;
}

const unmetered: ScheduleMeter = { tick() {}, began() {} };

interface Waiting {
  readonly slot: number;
  readonly slotMs: number;
  readonly generation: number;
  /** What it is when its time is over; undefined when it is another's, and nothing is told of it. */
  readonly ifGivenUp: MissedOutcome | undefined;
}

class Entry<S> implements ScheduledTarget<S> {
  target: Target;
  state: S;
  generation: number;
  nextSlot = 0;
  /** Of `nextSlot`. */
  dueMs = 0;
  /** Time of the slot whose scrape runs. */
  runningMs: number | undefined;
  /** Time of the newest slot that was begun or missed here. */
  doneMs = Number.NEGATIVE_INFINITY;
  /** The slot that is due and waits for a place, or for its turn among those that are made up for. */
  waiting: Waiting | undefined;
  /** No longer assigned here; it stays until its last scrape has ended. */
  leaving = false;

  constructor(target: Target, state: S, generation: number) {
    this.target = target;
    this.state = state;
    this.generation = generation;
  }

  seat(slot: number): void {
    this.nextSlot = slot;
    this.dueMs = slotTimeMs(this.target, slot);
  }
}

/** A generation that waits for its time. */
interface Pending {
  readonly generation: Generation;
  readonly validFromMs: number;
  /** It was heard of before it became valid, so that the old owners went on until then. */
  readonly isAhead: boolean;
}

export class Schedule<S> {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #secondary: string;
  readonly #handlers: ScheduleHandlers<S>;
  readonly #inFlightMax: number;
  readonly #meter: ScheduleMeter;
  readonly #entries = new Map<string, Entry<S>>();
  readonly #due = new DueQueue<Entry<S>>();
  readonly #waiting = new Set<Entry<S>>();
  readonly #away: Away<S>;
  /** Whose slot is made up for, on the monotonic clock; the last one comes first. */
  #makeUps: { readonly entry: Entry<S>; readonly waiting: Waiting; readonly beginsMs: number }[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #pending: Pending[] = [];
  #current: Generation | undefined;
  #timer: Timer | undefined;
  /** Wall clock minus monotonic clock when last looked at. */
  #offsetMs: number;

  constructor(options: {
    readonly secondary: string;
    readonly clock: Clock;
    readonly log: Logger;
    readonly handlers: ScheduleHandlers<S>;
    readonly scrapesInFlightMax?: number;
    readonly meter?: ScheduleMeter;
  }) {
    this.#secondary = options.secondary;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#handlers = options.handlers;
    this.#inFlightMax = options.scrapesInFlightMax ?? scrapesInFlightMax;
    this.#meter = options.meter ?? unmetered;
    this.#offsetMs = options.clock.nowMs() - options.clock.monotonicMs();
    this.#away = new Away((state) => options.handlers.left(state));
  }

  /** The generation that is scraped by; undefined before the first. */
  get generation(): Generation | undefined {
    return this.#current;
  }

  get inFlight(): number {
    return this.#running.size;
  }

  /** Slots that wait for their turn to be made up for. */
  get makingUp(): number {
    return this.#makeUps.length;
  }

  /** Targets that were taken away a moment ago, and what is remembered of them is not forgotten yet. */
  get awayCount(): number {
    return this.#away.size;
  }

  /** In no order; a target that has left is no longer among them. */
  *targets(): Iterable<ScheduledTarget<S>> {
    for (const entry of this.#entries.values()) if (!entry.leaving) yield entry;
  }

  get targetCount(): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (!entry.leaving) count++;
    return count;
  }

  /** Takes a newer generation; it is switched to when it becomes valid. */
  offer(generation: Generation): void {
    if (this.#stop.signal.aborted) return;
    const { validFromMs } = generation;
    this.#pending.push({ generation, validFromMs, isAhead: validFromMs - this.#clock.nowMs() >= aheadMsMin });
    this.#pending.sort(({ generation: a }, { generation: b }) => a.token - b.token || a.number - b.number);
    // One that becomes valid no earlier than a newer one never rules a slot.
    for (let i = this.#pending.length - 2; i >= 0; i--) {
      if (this.#pending[i]!.validFromMs >= this.#pending[i + 1]!.validFromMs) this.#pending.splice(i, 1);
    }
    if (this.#pending.length > generationsPendingMax) this.#pending.shift();
    this.#tick();
  }

  /**
   * Every slot before this time has its outcome. It never runs ahead of the clock, because a generation not yet heard of may
   * assign slots from now on.
   */
  watermarkMs(): number {
    let watermarkMs = this.#clock.nowMs();
    for (const entry of this.#entries.values()) {
      if (!entry.leaving && entry.dueMs < watermarkMs) watermarkMs = entry.dueMs;
      if (entry.runningMs !== undefined && entry.runningMs < watermarkMs) watermarkMs = entry.runningMs;
      if (entry.waiting && entry.waiting.slotMs < watermarkMs) watermarkMs = entry.waiting.slotMs;
    }
    return Math.floor(watermarkMs);
  }

  /** Begins no more, ends what runs, and waits for it. May be called twice. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#pending.length = 0;
    if (!this.#stop.signal.aborted) {
      this.#stop.abort();
      for (const entry of this.#entries.values()) this.#giveUpWaiting(entry, "missed_down");
      this.#makeUps = [];
    }
    await Promise.all(this.#running);
    this.#away.clear();
  }

  #tick(): void {
    if (this.#stop.signal.aborted) return;
    this.#meter.tick();
    const nowMs = this.#clock.nowMs();
    const passed = this.#lookAtClock(nowMs);
    for (;;) {
      const next = this.#pending[0];
      // What the next generation rules is left to it, and what came before it is still done by the present one.
      this.#reachAll(Math.min(nowMs + earlyMsMax, (next?.validFromMs ?? Number.POSITIVE_INFINITY) - 1), passed);
      if (!next || next.validFromMs > nowMs) break;
      this.#pending.shift();
      this.#switch(next, nowMs);
    }
    this.#beginMakeUps();
    this.#away.trim(this.#entries.size, this.#clock.monotonicMs());
    this.#arm();
  }

  #reachAll(horizonMs: number, passed: MissedOutcome): void {
    for (let entry = this.#due.first; entry && entry.dueMs <= horizonMs; entry = this.#due.first) {
      this.#reach(entry, horizonMs, passed);
      this.#due.moved();
    }
  }

  #arm(): void {
    this.#timer?.cancel();
    const nextMs = Math.min(
      (this.#due.first?.dueMs ?? Number.POSITIVE_INFINITY) + gatherMs,
      this.#pending[0]?.validFromMs ?? Number.POSITIVE_INFINITY,
    );
    const makeUpMs = (this.#makeUps.at(-1)?.beginsMs ?? Number.POSITIVE_INFINITY) - this.#clock.monotonicMs();
    // Whose turn is over waits for a place.
    const untilNextMs = Math.min(nextMs - this.#clock.nowMs(), makeUpMs > 0 ? makeUpMs : makeUpGridMs);
    const delayMs = Math.min(Math.max(0, untilNextMs), sleepMsMax);
    this.#timer = this.#clock.after(delayMs, () => this.#tick());
  }

  /** Why slots that have passed by now were missed. */
  #lookAtClock(nowMs: number): MissedOutcome {
    const offsetMs = nowMs - this.#clock.monotonicMs();
    const stepMs = offsetMs - this.#offsetMs;
    this.#offsetMs = offsetMs;
    if (Math.abs(stepMs) < clockStepMsMin) return "missed_down";
    this.#log.warn({ stepMs: Math.round(stepMs) }, "The wall clock stepped, or this machine was asleep.");
    if (stepMs < 0) {
      // Slots that come a second time are kept once by whoever reads them; waiting for the old time would be a hole.
      for (const entry of this.#entries.values()) {
        const slot = slotAt(entry.target, nowMs) + 1;
        if (slot < entry.nextSlot) entry.seat(slot);
      }
      this.#due.rebuild(this.#assigned());
    }
    return "missed_clock";
  }

  #reach(entry: Entry<S>, horizonMs: number, passed: MissedOutcome): void {
    const latest = slotAt(entry.target, horizonMs);
    const nextMs = slotTimeMs(entry.target, latest + 1);
    // Up to a generation that became valid while nobody was there, the latest slot may be long over.
    const isOver = nextMs <= this.#clock.nowMs();
    const passedUntil = isOver ? latest + 1 : latest;
    for (let slot = Math.max(entry.nextSlot, passedUntil - missedSlotsTold); slot < passedUntil; slot++) {
      this.#handlers.missed(entry.state, slot, entry.generation, passed);
    }
    entry.seat(latest + 1);
    entry.doneMs = slotTimeMs(entry.target, latest);
    this.#giveUpWaiting(entry);
    if (isOver) return;
    if (entry.runningMs === undefined && this.#running.size < this.#inFlightMax) {
      this.#meter.began(this.#clock.nowMs() - (entry.dueMs - entry.target.intervalMs));
      this.#run(entry, latest, entry.generation, entry.target.timeoutMs);
      return;
    }
    const slotMs = slotTimeMs(entry.target, latest);
    entry.waiting = { slot: latest, slotMs, generation: entry.generation, ifGivenUp: "missed_overload" };
    // Its predecessor's time is up: on a busy machine it ends late, by itself, and then makes way.
    if (entry.runningMs === undefined) this.#waiting.add(entry);
  }

  #giveUpWaiting(entry: Entry<S>, outcome = entry.waiting?.ifGivenUp): void {
    if (!entry.waiting) return;
    const { generation, ifGivenUp, slot } = entry.waiting;
    if (ifGivenUp && outcome) this.#handlers.missed(entry.state, slot, generation, outcome);
    entry.waiting = undefined;
    this.#waiting.delete(entry);
  }

  #run(entry: Entry<S>, slot: number, generation: number, timeoutMs: number, ifCutShort?: MissedOutcome): void {
    entry.runningMs = slotTimeMs(entry.target, slot);
    entry.doneMs = Math.max(entry.doneMs, entry.runningMs);
    const due = {
      slot,
      generation,
      timeoutMs: Math.min(timeoutMs, entry.target.intervalMs - endsBeforeMs),
      ...(ifCutShort && { ifCutShort }),
    };
    const scrape = this.#handlers.scrape(entry.state, due, this.#stop.signal).then(() => {
      this.#running.delete(scrape);
      entry.runningMs = undefined;
      if (entry.waiting) this.#waiting.add(entry);
      if (entry.leaving && !entry.waiting) this.#forget(entry);
      for (const next of this.#waiting) {
        if (this.#running.size >= this.#inFlightMax) break;
        this.#runLate(next);
      }
    });
    this.#running.add(scrape);
  }

  /** The slot that waited, if there is time left before the next one. */
  #runLate(entry: Entry<S>): void {
    const { slot, slotMs, generation } = entry.waiting!;
    const nowMs = this.#clock.nowMs();
    const roomMs = entry.dueMs - nowMs - endsBeforeMs;
    if (roomMs < lateRoomMsMin) {
      this.#giveUpWaiting(entry);
      if (entry.leaving) this.#forget(entry);
      return;
    }
    entry.waiting = undefined;
    this.#waiting.delete(entry);
    this.#meter.began(nowMs - slotMs);
    this.#run(entry, slot, generation, Math.min(entry.target.timeoutMs, roomMs));
  }

  /** Those whose turn it is, as long as there are places that nobody else may want. */
  #beginMakeUps(): void {
    const nowMs = this.#clock.monotonicMs();
    const places = Math.ceil(this.#inFlightMax * makeUpShareMax);
    for (let next = this.#makeUps.at(-1); next && next.beginsMs <= nowMs; next = this.#makeUps.at(-1)) {
      const { entry, waiting } = next;
      // Its next slot came first, or the target changed.
      const isOver = entry.waiting !== waiting;
      if (!isOver && this.#running.size >= places) return;
      this.#makeUps.pop();
      if (!isOver) this.#makeUp(entry, waiting);
    }
  }

  #makeUp(entry: Entry<S>, { generation, ifGivenUp, slot }: Waiting): void {
    const roomMs = entry.dueMs - this.#clock.nowMs() - endsBeforeMs;
    if (roomMs < makeUpRoomMsMin / 2) {
      this.#giveUpWaiting(entry);
      if (entry.leaving) this.#forget(entry);
      return;
    }
    entry.waiting = undefined;
    const { timeoutMs } = entry.target;
    if (roomMs >= timeoutMs) this.#run(entry, slot, generation, timeoutMs);
    else this.#run(entry, slot, generation, roomMs, ifGivenUp ?? "missed_down");
  }

  #forget(entry: Entry<S>): void {
    this.#entries.delete(entry.target.id);
    this.#handlers.away(entry.state);
    this.#away.keep(entry.target.id, entry.state, entry.doneMs, this.#clock.monotonicMs());
  }

  #switch({ generation: next, isAhead }: Pending, nowMs: number): void {
    const previous = this.#current;
    this.#current = next;
    const able = new Set(next.secondaries.flatMap(({ name, state }) => (state === "cut_off" ? [] : [name])));
    const wasLost = ({ name, state }: GenerationSecondary) => state !== "cut_off" && !able.has(name);
    const ownerLost = !isAhead && (previous?.secondaries.some(wasLost) ?? false);
    const isNews = previous !== undefined || nowMs - next.validFromMs <= newsMsMax;
    const mine = next.targets.filter(({ owner }) => owner === this.#secondary);
    const kept = new Set(mine.map(({ target }) => target.id));
    for (const [id, entry] of this.#entries) {
      if (kept.has(id)) continue;
      entry.leaving = true;
      if (entry.runningMs === undefined && !entry.waiting) this.#forget(entry);
    }
    const makeUps = this.#makeUps.filter(({ entry, waiting }) => entry.waiting === waiting).map(({ entry }) => entry);
    for (const { target } of mine) {
      const entry = this.#entries.get(target.id);
      if (entry && !entry.leaving) this.#keep(entry, target, next.number, nowMs);
      else {
        const gained = this.#gain(entry, target, next, { nowMs, isNews, ownerLost });
        if (gained.waiting && gained.runningMs === undefined && !this.#waiting.has(gained)) makeUps.push(gained);
      }
    }
    this.#paceMakeUps(makeUps, nowMs);
    this.#due.rebuild(this.#assigned());
    this.#log.info(
      { generation: next.number, targets: mine.length, primary: next.primary, madeUpFor: this.#makeUps.length },
      "Switched to another generation.",
    );
  }

  #keep(entry: Entry<S>, target: Target, generation: number, nowMs: number): void {
    const intervalChanged = entry.target.intervalMs !== target.intervalMs;
    if (intervalChanged) this.#giveUpWaiting(entry, "missed_overload");
    entry.generation = generation;
    entry.state = this.#handlers.adopt(target, entry.state);
    entry.target = target;
    if (intervalChanged) entry.seat(slotAt(target, nowMs) + 1);
  }

  /** Again for all of them: those that waited before do not come after those of this generation. */
  #paceMakeUps(entries: Iterable<Entry<S>>, nowMs: number): void {
    const monotonicMs = this.#clock.monotonicMs();
    const asked = new Set(entries);
    const paced = paceMakeUps(asked, nowMs);
    for (const { item } of paced) asked.delete(item);
    for (const tooLate of asked) {
      this.#giveUpWaiting(tooLate);
      if (tooLate.leaving) this.#forget(tooLate);
    }
    this.#makeUps = paced
      .map(({ afterMs, item }) => ({ entry: item, waiting: item.waiting!, beginsMs: monotonicMs + afterMs }))
      .reverse();
  }

  /**
   * A target that comes from elsewhere has its present slot made up for when that has no outcome: when it is this generation's
   * own, or when its owner was lost. One that is due right now is simply due.
   */
  #gain(
    known: Entry<S> | undefined,
    target: Target,
    generation: Generation,
    now: { readonly nowMs: number; readonly isNews: boolean; readonly ownerLost: boolean },
  ): Entry<S> {
    const entry = known ?? this.#enter(target, generation.number);
    if (known) {
      entry.leaving = false;
      entry.generation = generation.number;
      entry.state = this.#handlers.adopt(target, entry.state);
      entry.target = target;
    }
    const present = slotAt(target, now.nowMs);
    const presentMs = slotTimeMs(target, present);
    const firstOwn = slotAt(target, generation.validFromMs - 1) + 1;
    const isOwn = present >= firstOwn;
    const isDone = entry.doneMs >= presentMs;
    const isDueNow = isOwn && !isDone && now.nowMs - presentMs <= slotToleranceMs;
    entry.seat(isDueNow ? present : present + 1);
    if (!now.isNews) return entry;
    const isIdle = entry.runningMs === undefined && !entry.waiting;
    const isMadeUpFor = !isDueNow && !isDone && isIdle && (isOwn || now.ownerLost);
    const passedFrom = Math.max(firstOwn, slotAt(target, entry.doneMs) + 1, present - missedSlotsTold);
    for (let slot = passedFrom; slot < present; slot++) {
      this.#handlers.missed(entry.state, slot, generation.number, "missed_down");
    }
    if (isMadeUpFor) {
      const ifGivenUp = isOwn ? "missed_down" : undefined;
      entry.waiting = { slot: present, slotMs: presentMs, generation: generation.number, ifGivenUp };
    }
    return entry;
  }

  /** With what is remembered of it, when it was here a moment ago. */
  #enter(target: Target, generation: number): Entry<S> {
    const before = this.#away.take(target.id);
    const entry = new Entry(target, this.#handlers.adopt(target, before?.state), generation);
    if (before) entry.doneMs = before.slotMs;
    this.#entries.set(target.id, entry);
    return entry;
  }

  *#assigned(): Iterable<Entry<S>> {
    for (const entry of this.#entries.values()) if (!entry.leaving) yield entry;
  }
}

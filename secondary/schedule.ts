// Begins each target's scrape at its slot, and sees to it that every slot that was due has an outcome.
//
// Slots follow from target and wall clock alone (lib/model/target.ts), so nothing drifts and nothing is remembered. One timer
// serves all targets. Phases lie on a grid, so many are due at the same moment and begin together, which more than halves what
// a scrape costs; the timer is a little late and takes along what is due a little later, but always within the tolerance in
// which a scrape carries its slot's time.
// A slot that could not begin is missed, with the reason: its predecessor still ran until the next one, or nobody was there.

import { assert } from "#/lib/assert/assert.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import { slotAt, slotTimeMs, slotToleranceMs, type Target } from "#/lib/model/target.ts";
import { DueQueue } from "#/secondary/due.ts";

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
/** A scrape at once that would run into the target's next slot is not worth it. */
const scrapeAtOnceMsMin = 250;
/** Generations that wait for their time. A primary makes one a few seconds ahead at most; the newest are kept. */
const generationsPendingMax = 4;

export type MissedOutcome = Extract<Outcome, "missed_overload" | "missed_down" | "missed_clock">;

export interface DueScrape {
  readonly slot: number;
  readonly generation: number;
  readonly timeoutMs: number;
}

/** What the schedule calls. `S` is what is remembered of a target for as long as it is assigned here. */
export interface ScheduleHandlers<S> {
  /** For a target that comes, and for one whose definition changed: then with what was remembered. */
  adopt(target: Target, previous: S | undefined): S;
  /** Resolves when the slot has its outcome; must not reject. When the signal aborts, it ends soon. */
  scrape(state: S, due: DueScrape, signal: AbortSignal): Promise<void>;
  missed(state: S, slot: number, generation: number, outcome: MissedOutcome): void;
  /** For a target that is no longer assigned here, after its last outcome. */
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

class Entry<S> implements ScheduledTarget<S> {
  target: Target;
  state: S;
  generation: number;
  nextSlot = 0;
  /** Of `nextSlot`. */
  dueMs = 0;
  /** Time of the slot whose scrape runs. */
  runningMs: number | undefined;
  /** The slot that is due and waits for a place. */
  waiting: { readonly slot: number; readonly slotMs: number; readonly generation: number } | undefined;
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
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #pending: Generation[] = [];
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
  }

  /** The generation that is scraped by; undefined before the first. */
  get generation(): Generation | undefined {
    return this.#current;
  }

  get inFlight(): number {
    return this.#running.size;
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
    this.#pending.push(generation);
    this.#pending.sort((a, b) => a.token - b.token || a.number - b.number);
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
    }
    await Promise.all(this.#running);
  }

  #tick(): void {
    if (this.#stop.signal.aborted) return;
    this.#meter.tick();
    const nowMs = this.#clock.nowMs();
    const passed = this.#lookAtClock(nowMs);
    while (this.#pending[0] && this.#pending[0].validFromMs <= nowMs) this.#switch(this.#pending.shift()!, nowMs);
    // What the next generation rules is left to it.
    const horizonMs = Math.min(nowMs + earlyMsMax, (this.#pending[0]?.validFromMs ?? Number.POSITIVE_INFINITY) - 1);
    for (let entry = this.#due.first; entry && entry.dueMs <= horizonMs; entry = this.#due.first) {
      this.#reach(entry, horizonMs, passed);
      this.#due.moved();
    }
    this.#arm();
  }

  #arm(): void {
    this.#timer?.cancel();
    const nextMs = Math.min(
      (this.#due.first?.dueMs ?? Number.POSITIVE_INFINITY) + gatherMs,
      this.#pending[0]?.validFromMs ?? Number.POSITIVE_INFINITY,
    );
    const delayMs = Math.min(Math.max(0, nextMs - this.#clock.nowMs()), sleepMsMax);
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
    for (let slot = Math.max(entry.nextSlot, latest - missedSlotsTold); slot < latest; slot++) {
      this.#handlers.missed(entry.state, slot, entry.generation, passed);
    }
    entry.seat(latest + 1);
    this.#giveUpWaiting(entry, "missed_overload");
    if (entry.runningMs === undefined && this.#running.size < this.#inFlightMax) {
      this.#meter.began(this.#clock.nowMs() - (entry.dueMs - entry.target.intervalMs));
      this.#run(entry, latest, entry.generation, entry.target.timeoutMs);
      return;
    }
    entry.waiting = { slot: latest, slotMs: slotTimeMs(entry.target, latest), generation: entry.generation };
    // Its predecessor's time is up: on a busy machine it ends late, by itself, and then makes way.
    if (entry.runningMs === undefined) this.#waiting.add(entry);
  }

  #giveUpWaiting(entry: Entry<S>, outcome: MissedOutcome): void {
    if (!entry.waiting) return;
    this.#handlers.missed(entry.state, entry.waiting.slot, entry.waiting.generation, outcome);
    entry.waiting = undefined;
    this.#waiting.delete(entry);
  }

  #run(entry: Entry<S>, slot: number, generation: number, timeoutMs: number): void {
    entry.runningMs = slotTimeMs(entry.target, slot);
    const due = { slot, generation, timeoutMs: Math.min(timeoutMs, entry.target.intervalMs - endsBeforeMs) };
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
    if (roomMs < scrapeAtOnceMsMin) {
      this.#giveUpWaiting(entry, "missed_overload");
      if (entry.leaving) this.#forget(entry);
      return;
    }
    entry.waiting = undefined;
    this.#waiting.delete(entry);
    this.#meter.began(nowMs - slotMs);
    this.#run(entry, slot, generation, Math.min(entry.target.timeoutMs, roomMs));
  }

  #forget(entry: Entry<S>): void {
    this.#entries.delete(entry.target.id);
    this.#handlers.left(entry.state);
  }

  #switch(next: Generation, nowMs: number): void {
    const previous = this.#current;
    this.#current = next;
    const living = new Set(next.secondaries.map(({ name }) => name));
    const ownerLost = previous?.secondaries.some(({ name }) => !living.has(name)) ?? false;
    const mine = next.targets.filter(({ owner }) => owner === this.#secondary);
    const kept = new Set(mine.map(({ target }) => target.id));
    for (const [id, entry] of this.#entries) {
      if (kept.has(id)) continue;
      entry.leaving = true;
      if (entry.runningMs === undefined && !entry.waiting) this.#forget(entry);
    }
    for (const { target } of mine) {
      const entry = this.#entries.get(target.id);
      if (entry && !entry.leaving) this.#keep(entry, target, next.number, nowMs);
      else this.#gain(entry, target, next, { nowMs, first: !previous, ownerLost });
    }
    this.#due.rebuild(this.#assigned());
    this.#log.info(
      { generation: next.number, targets: mine.length, primary: next.primary },
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

  /**
   * A target that comes from elsewhere is scraped at once when its present slot has no outcome: when that slot is this
   * generation's own, or when its owner was lost. Not so with the first generation after a start: then all targets would be
   * scraped together, and the slots before it are another's, or were closed by the primary.
   */
  #gain(
    known: Entry<S> | undefined,
    target: Target,
    generation: Generation,
    now: { readonly nowMs: number; readonly first: boolean; readonly ownerLost: boolean },
  ): void {
    const entry = known ?? new Entry(target, this.#handlers.adopt(target, undefined), generation.number);
    if (known) {
      entry.leaving = false;
      entry.generation = generation.number;
      entry.state = this.#handlers.adopt(target, entry.state);
      entry.target = target;
    }
    this.#entries.set(target.id, entry);
    const present = slotAt(target, now.nowMs);
    entry.seat(present + 1);
    if (now.first) return;
    const firstOwn = slotAt(target, generation.validFromMs - 1) + 1;
    const roomMs = entry.dueMs - now.nowMs;
    const idle = entry.runningMs === undefined && !entry.waiting && this.#running.size < this.#inFlightMax;
    const atOnce = (present >= firstOwn || now.ownerLost) && idle && roomMs >= scrapeAtOnceMsMin;
    const passedUntil = atOnce ? present : present + 1;
    for (let slot = Math.max(firstOwn, passedUntil - missedSlotsTold); slot < passedUntil; slot++) {
      this.#handlers.missed(entry.state, slot, generation.number, "missed_down");
    }
    if (atOnce) this.#run(entry, present, generation.number, Math.min(target.timeoutMs, roomMs - earlyMsMax));
  }

  *#assigned(): Iterable<Entry<S>> {
    for (const entry of this.#entries.values()) if (!entry.leaving) yield entry;
  }
}

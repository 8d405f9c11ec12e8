// Keeps a flood of new series from costing what is there: the old series stay, the new ones are refused, and the flood has a name.
//
// A series that is new has to be understood here and remembered by every replica for as long as its samples are kept. So each
// target, and the secondary as a whole, has a limit of series and an allowance of new ones, which fills up again with time.
// What a target had before is never given up for what comes; what is beyond is refused, counted, and said: once when a flood
// begins, once when it is over, and on the target's page all the while.
//
// A flood brings other lines each time, which are expensive to understand. So while it lasts the target is looked at as a whole
// only now and then; between looks only what was there before is read (sieve.ts). What looking costs is bounded by itself.

import { assert } from "#/lib/assert/assert.ts";
import { minuteMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { runRowsMax } from "#/lib/codec/limits.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Layout } from "#/lib/model/layout.ts";
import type { Target } from "#/lib/model/target.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { Allowance } from "#/secondary/scrape/allowance.ts";
import { linesPerScrapeMax, seriesPerScrapeMax } from "#/secondary/scrape/bounds.ts";
import { type Choice, chooseRows, wholeChoice } from "#/secondary/scrape/choice.ts";
import { countText, nameFlood } from "#/secondary/scrape/flood.ts";
import type { Interned } from "#/secondary/scrape/interned.ts";

/** All targets of a secondary: 5,000 of 1,000 series, and a fifth more. */
export const seriesMaxDefault = 6_000_000;
/** Targets below their fair half share may always grow to it, so the sum can come to one and a half times the limit. */
assert(seriesMaxDefault * 1.5 <= runRowsMax, "what the guard lets through fits into a run");

/**
 * New series, at once and again in each hour, in multiples of the limit: all series of a target may get other names twice in a row,
 * as when it is upgraded and taken back.
 */
const renamesPerHour = 2;

/** What it costs to look at a body as a whole, in lines that are known: a head never seen before costs as much as five. */
const newHeadCost = 5;
/** A fiftieth of a core a target, and a tenth for all: a known line takes 1 to 2 µs. */
const lookingOfTarget = { burst: 2 * newHeadCost * linesPerScrapeMax, perHour: 10_000 * 3600 };
const lookingOfAll = { burst: 30_000_000, perHour: 50_000 * 3600 };
assert(lookingOfAll.burst >= newHeadCost * seriesMaxDefault, "all targets may get other series at once");

/** A flooding target is looked at so often, to let in what there is room for and to see what the flood is about. */
const lookEveryMs = minuteMs;
/** When so many of the known series are missing, they may be there in other words, and the target is looked at at once. */
const missingShareMax = 0.1;
/** A flood is over when nothing was refused for so long. */
const floodOverMs = 2 * minuteMs;

/** Lines in the log about floods: when all targets flood at once, the rest is a number. */
const linesLogged = { burst: 20, perHour: 20 * 60 };

export interface GuardParts {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Of all targets together. */
  readonly cardinalityLimit?: number;
}

/** Of one secondary. */
export class CardinalityGuard {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly seriesMax: number;
  readonly added: Allowance;
  readonly looking: Allowance;
  readonly #log: Logger;
  readonly #lines: Allowance;
  #linesUntold = 0;
  targets = 0;
  /** The sum of what the targets have. */
  series = 0;
  flooding = 0;

  constructor({ cardinalityLimit = seriesMaxDefault, clock, log, metrics }: GuardParts) {
    const nowMs = clock.monotonicMs();
    this.clock = clock;
    this.seriesMax = cardinalityLimit;
    this.added = new Allowance(addedOf(cardinalityLimit), nowMs);
    this.looking = new Allowance(lookingOfAll, nowMs);
    this.#log = log;
    this.#lines = new Allowance(linesLogged, nowMs);
    metrics.onCollect(() => {
      metrics.set("heliograph_secondary_series", this.series);
      metrics.set("heliograph_secondary_series_limit", this.seriesMax);
      metrics.set("heliograph_secondary_flooding_targets", this.flooding);
    });
  }

  ofTarget(target: Target): TargetGuard {
    return new TargetGuard(this, target);
  }

  /** Series that a target may grow by that has so many. */
  roomBeside(series: number): number {
    // Half of what is left: who wants much leaves something to who wants little.
    const left = Math.floor((this.seriesMax - this.series) / 2);
    const fairShare = Math.floor(this.seriesMax / 2 / Math.max(1, this.targets));
    return Math.max(0, left, fairShare - series);
  }

  warn(fields: Readonly<Record<string, unknown>>, sentence: string): void {
    if (this.#lines.left(this.clock.monotonicMs()) < 1) {
      this.#linesUntold++;
      return;
    }
    this.#lines.spend(1);
    this.#log.warn(this.#linesUntold > 0 ? { ...fields, untold: this.#linesUntold } : fields, sentence);
    this.#linesUntold = 0;
  }
}

/** For a flood of which nothing more is known yet. */
const boundByLooking = "its lines change faster than this secondary can follow";

/** Why new series are refused, for people. */
interface Flood {
  readonly beganMs: number;
  /** What it is about, as it was when last looked at. */
  name: string;
  /** What bounds it. */
  bound: string;
  refusedMs: number;
  refused: number;
}

/** Of one target, for as long as it is assigned here. */
export class TargetGuard {
  readonly #all: CardinalityGuard;
  readonly #added: Allowance;
  readonly #looking: Allowance;
  #target: Target;
  #seriesMax: number;
  /** What the target had when it was last looked at as a whole. */
  #known: Layout | undefined;
  #flood: Flood | undefined;
  #lookMs = Number.NEGATIVE_INFINITY;
  #isReleased = false;
  #isResting = false;

  constructor(all: CardinalityGuard, target: Target) {
    const nowMs = all.clock.monotonicMs();
    this.#all = all;
    this.#target = target;
    this.#seriesMax = seriesMaxOf(target);
    this.#added = new Allowance(addedOf(this.#seriesMax), nowMs);
    this.#looking = new Allowance(lookingOfTarget, nowMs);
    all.targets++;
  }

  get flooding(): boolean {
    return this.#flood !== undefined;
  }

  /** The target's definition changed. Where that may give its series other names, what it has is new without being a flood. */
  retarget(target: Target): void {
    this.#count(true);
    const { honorLabels, metricRelabel } = this.#target.options;
    const { options } = target;
    if (options.honorLabels !== honorLabels || options.metricRelabel?.id !== metricRelabel?.id) {
      this.#know(undefined);
      this.#lookMs = Number.NEGATIVE_INFINITY;
    }
    const seriesMax = seriesMaxOf(target);
    if (seriesMax !== this.#seriesMax) {
      this.#lookMs = Number.NEGATIVE_INFINITY;
      this.#added.resize(addedOf(seriesMax), this.#all.clock.monotonicMs());
      this.#seriesMax = seriesMax;
    }
    this.#target = target;
  }

  /** The target is elsewhere for a moment, or for good: it takes no room from others until it is back (`retarget`). */
  rest(): void {
    this.#count(false);
  }

  #count(isCounted: boolean): void {
    if (this.#isReleased || this.#isResting !== isCounted) return;
    this.#isResting = !isCounted;
    const sign = isCounted ? 1 : -1;
    this.#all.targets += sign;
    this.#all.series += sign * (this.#known?.rows.length ?? 0);
  }

  /** The target is no longer scraped here. May be called twice. */
  release(): void {
    if (this.#isReleased) return;
    this.#count(true);
    this.#isReleased = true;
    this.#know(undefined);
    this.#all.targets--;
    if (this.#flood) this.#all.flooding--;
    this.#flood = undefined;
  }

  /** Whether it is time to look at what a flooding target brings; of others it always is. */
  get isLookDue(): boolean {
    return !this.#flood || this.#all.clock.monotonicMs() >= this.#lookMs + lookEveryMs;
  }

  /** Whether looking at a whole body is affordable. */
  get mayLook(): boolean {
    const nowMs = this.#all.clock.monotonicMs();
    return this.#looking.left(nowMs) > 0 && this.#all.looking.left(nowMs) > 0;
  }

  /** Whether so many missing series are a reason to look, be it due or not. */
  isSuspicious(missing: number, of: number): boolean {
    return missing > of * missingShareMax && this.mayLook;
  }

  looked(lines: number, newHeads: number): void {
    this.#lookMs = this.#all.clock.monotonicMs();
    // There is no way around a first look, so it must not cost others theirs.
    if (!this.#known) return;
    const cost = lines + newHeads * (newHeadCost - 1);
    this.#looking.spend(cost);
    this.#all.looking.spend(cost);
  }

  /**
   * Decides what is kept of a layout; `unlearnt` series beside it cannot be. What was let in is spent, so the scrape must be stored
   * now.
   */
  choose(of: Layout, unlearnt: number, layouts: Interned<Layout>): Choice {
    this.#lookMs = this.#all.clock.monotonicMs();
    const known = this.#known;
    if (known === of) return wholeChoice(of, 0);
    let bound = () => "";
    const choice = chooseRows(
      of,
      known,
      (old) => {
        const [room, why] = this.#room(old);
        bound = why;
        return room;
      },
      layouts,
    );
    if (known) {
      this.#added.spend(choice.added);
      this.#all.added.spend(choice.added);
    }
    this.#know(choice.layout);
    if (choice.refused + unlearnt > 0) {
      const flood = (this.#flood ??= this.#begin());
      const { rowOf } = choice;
      // Of what was not learnt nothing is known; it is mostly like what was.
      flood.name = nameFlood(of, (row) => !rowOf || rowOf[row]! < 0);
      flood.bound = choice.refused > 0 ? bound() : boundByLooking;
    }
    return choice;
  }

  /** How many new series beside so many old ones, and what bounds it. */
  #room(old: number): [room: number, bound: () => string] {
    const nowMs = this.#all.clock.monotonicMs();
    const known = this.#known?.rows.length;
    // Most layouts fit, and then nobody wants to read why they would not.
    const bounds: [number, () => string][] = [
      [this.#seriesMax - old, () => `cardinality_limit is ${countText(this.#seriesMax)}`],
      [
        (known ?? 0) - old + this.#all.roomBeside(known ?? 0),
        () => `this secondary takes ${countText(this.#all.seriesMax)}`,
      ],
    ];
    if (known !== undefined) {
      const { perHour } = addedOf(this.#seriesMax);
      const perHourOfAll = addedOf(this.#all.seriesMax).perHour;
      const leftOfAll = Math.floor(this.#all.added.left(nowMs) / 2);
      bounds.push(
        [Math.max(0, this.#added.left(nowMs)), () => `this target may bring ${countText(perHour)} new ones an hour`],
        [
          Math.max(0, leftOfAll),
          () => `all targets of this secondary may bring ${countText(perHourOfAll)} new ones an hour`,
        ],
      );
    }
    return bounds.reduce((least, each) => (each[0] < least[0] ? each : least));
  }

  /** To be told of each scrape that is stored. Returns what is to be said of what was refused of it; empty when nothing was. */
  told(refused: number): string {
    const nowMs = this.#all.clock.monotonicMs();
    if (refused === 0) {
      if (this.#flood && nowMs - this.#flood.refusedMs >= floodOverMs) this.#end(this.#flood);
      return "";
    }
    const flood = (this.#flood ??= this.#begin());
    const isFirst = flood.refused === 0;
    flood.refusedMs = nowMs;
    flood.refused += refused;
    const about = [flood.name && `: ${flood.name}`, flood.bound && ` (${flood.bound})`].join("");
    const sentence = `${countText(refused)} new series refused${about}`;
    if (isFirst) {
      this.#all.warn(
        { target: this.#target.url, job: this.#target.job, reason: sentence },
        "A target brings more new series than it may: they are refused, its old ones are kept.",
      );
    }
    return sentence;
  }

  #begin(): Flood {
    this.#all.flooding++;
    const nowMs = this.#all.clock.monotonicMs();
    return { beganMs: nowMs, name: "", bound: boundByLooking, refusedMs: nowMs, refused: 0 };
  }

  #end({ beganMs, refused, refusedMs }: Flood): void {
    this.#flood = undefined;
    this.#all.flooding--;
    this.#all.warn(
      { target: this.#target.url, job: this.#target.job, refused, durationMs: Math.round(refusedMs - beganMs) },
      "A target no longer brings more new series than it may.",
    );
  }

  #know(layout: Layout | undefined): void {
    this.#all.series += (layout?.rows.length ?? 0) - (this.#known?.rows.length ?? 0);
    this.#known = layout;
  }
}

function seriesMaxOf({ options }: Target): number {
  const { cardinalityLimit = 0 } = options;
  return cardinalityLimit > 0 ? Math.min(cardinalityLimit, seriesPerScrapeMax) : seriesPerScrapeMax;
}

function addedOf(seriesMax: number): { readonly burst: number; readonly perHour: number } {
  return { burst: renamesPerHour * seriesMax, perHour: renamesPerHour * seriesMax };
}

// How each secondary stands: whether it gets targets, and if it does not, why.
//
// Presence tells who lives. Of those, one that the operator drains, that cannot reach its targets, or that came and went too often
// gets none. What the operator wants stands in the newest generation, so that it outlives every process; how often somebody died
// is remembered here alone, and a new holder of the lease begins to count anew.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Generation, SecondaryState } from "#/lib/model/generation.ts";
import { compareText } from "#/lib/model/labels.ts";

/** Who died within this time is damped when it comes back … */
const flapWindowMs = 10 * minuteMs;
/** … for so long after one death, twice as long after two, and so on, up to the maximum. */
const dampedMsFirst = 5 * secondMs;
const dampedMsMax = 5 * minuteMs;
/** More deaths than this within the window change nothing any more. */
const deathsKept = 16;

export interface StandingSecondary {
  readonly name: string;
  /** In ordinary targets. */
  readonly capacity: number;
  readonly state: SecondaryState;
}

export interface Living {
  living(): readonly string[];
  onChange(callback: () => void): void;
}

interface Known {
  capacity: number;
  alive: boolean;
  /** Monotonic times, oldest first. */
  deaths: number[];
  dampedUntilMs: number;
}

export class Standings {
  readonly #clock: Clock;
  readonly #presence: Living;
  readonly #cutOff: () => readonly string[];
  readonly #known = new Map<string, Known>();
  /** Names that the operator wants empty; they stay so also while they are dead. */
  #draining: ReadonlySet<string> = new Set();
  #list: readonly StandingSecondary[] = [];
  /** The answer of `listFor` to the same question. */
  #lifted:
    | {
        readonly of: readonly StandingSecondary[];
        readonly names: string;
        readonly list: readonly StandingSecondary[];
      }
    | undefined;
  #timer: Timer | undefined;

  constructor(options: {
    readonly clock: Clock;
    readonly presence: Living;
    readonly secondaries: readonly { readonly name: string; readonly capacity: number }[];
    /** Those that live and cannot reach their targets. */
    readonly cutOff: () => readonly string[];
  }) {
    this.#clock = options.clock;
    this.#presence = options.presence;
    this.#cutOff = options.cutOff;
    this.reconfigure(options.secondaries);
    options.presence.onChange(() => this.update());
  }

  /** The topology says so now. */
  reconfigure(secondaries: readonly { readonly name: string; readonly capacity: number }[]): void {
    const names = new Set(secondaries.map(({ name }) => name));
    for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name);
    for (const { name, capacity } of secondaries) {
      const known = this.#known.get(name);
      if (known) known.capacity = capacity;
      else this.#known.set(name, { capacity, alive: false, deaths: [], dampedUntilMs: Number.NEGATIVE_INFINITY });
    }
    this.update();
  }

  /** A generation was read: whom it has as draining is so for everybody. */
  follow({ secondaries }: Pick<Generation, "secondaries">): void {
    this.#draining = new Set(secondaries.flatMap(({ name, state }) => (state === "draining" ? [name] : [])));
    this.update();
  }

  /** The operator's will, of the lease holder; it counts at once here, and for others when it stands in a generation. */
  drain(name: string, wanted: boolean): void {
    const draining = new Set(this.#draining);
    if (wanted) draining.add(name);
    else draining.delete(name);
    this.#draining = draining;
    this.update();
  }

  isDraining(name: string): boolean {
    return this.#draining.has(name);
  }

  isKnown(name: string): boolean {
    return this.#known.has(name);
  }

  /** Everybody who lives, and who is drained, sorted by name. The same array as long as nothing changed. */
  list(): readonly StandingSecondary[] {
    return this.#list;
  }

  /**
   * The list for so many targets: damping never leaves a target without a secondary, so those that are damped the least come
   * in when the others have too little room. The same array as long as nothing changed.
   */
  listFor(targets: number): readonly StandingSecondary[] {
    let room = this.#list.reduce((sum, { capacity, state }) => sum + (state === "active" ? capacity : 0), 0);
    if (room >= targets) return this.#list;
    const untilMs = ({ name }: StandingSecondary) => this.#known.get(name)!.dampedUntilMs;
    const lifted = new Set<string>();
    const damped = this.#list.filter(({ state }) => state === "damped").sort((a, b) => untilMs(a) - untilMs(b));
    for (const { name, capacity } of damped) {
      if (room >= targets) break;
      lifted.add(name);
      room += capacity;
    }
    if (lifted.size === 0) return this.#list;
    const names = [...lifted].join("\n");
    if (this.#lifted?.of !== this.#list || this.#lifted.names !== names) {
      const list = this.#list.map((each) => (lifted.has(each.name) ? { ...each, state: "active" as const } : each));
      this.#lifted = { of: this.#list, names, list };
    }
    return this.#lifted.list;
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** Looks again at what it is made of. */
  update(): void {
    const nowMs = this.#clock.monotonicMs();
    const living = new Set(this.#presence.living());
    for (const [name, known] of this.#known) this.#note(known, living.has(name), nowMs);
    const cutOff = new Set(this.#cutOff());
    const list: StandingSecondary[] = [];
    for (const [name, { alive, capacity, dampedUntilMs }] of this.#known) {
      const isDraining = this.#draining.has(name);
      if (!alive && !isDraining) continue;
      const damped = dampedUntilMs > nowMs ? "damped" : "active";
      list.push({ name, capacity, state: isDraining ? "draining" : cutOff.has(name) ? "cut_off" : damped });
    }
    list.sort((a, b) => compareText(a.name, b.name));
    if (!sameList(list, this.#list)) this.#list = list;
    this.#schedule(nowMs);
  }

  #note(known: Known, alive: boolean, nowMs: number): void {
    if (known.alive === alive) return;
    known.alive = alive;
    known.deaths = known.deaths.filter((diedMs) => nowMs - diedMs < flapWindowMs).slice(1 - deathsKept);
    if (!alive) {
      known.deaths.push(nowMs);
      return;
    }
    const deaths = known.deaths.length;
    if (deaths > 0) known.dampedUntilMs = nowMs + Math.min(dampedMsMax, dampedMsFirst * 2 ** (deaths - 1));
  }

  #schedule(nowMs: number): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    let dueMs = Number.POSITIVE_INFINITY;
    for (const { alive, dampedUntilMs } of this.#known.values()) {
      if (alive && dampedUntilMs > nowMs) dueMs = Math.min(dueMs, dampedUntilMs);
    }
    if (Number.isFinite(dueMs)) this.#timer = this.#clock.after(dueMs - nowMs, () => this.update());
  }
}

function sameList(a: readonly StandingSecondary[], b: readonly StandingSecondary[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ capacity, name, state }, i) => {
      const other = b[i]!;
      return name === other.name && capacity === other.capacity && state === other.state;
    })
  );
}

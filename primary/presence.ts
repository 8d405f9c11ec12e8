// Which secondaries live: those that either primary has heard within one lease.
//
// Both primaries tell each other whom they hear, so a secondary that changed sides is not missed. A primary that was itself held
// up has not listened long enough to call anybody dead, and waits one lease first. When the peer falls silent, so do all
// secondaries that it spoke for, and none of them is dead for that: they get the time that it takes them to notice and to come
// over. So they do when this primary takes the say, because mostly that is why.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import { compareText } from "#/lib/model/labels.ts";

const leaseMsMax = 5 * secondMs;

/** A machine that is busy, or collects garbage, is silent for some hundred ms now and then. */
const leaseMsMin = secondMs;

const keepAliveMsMax = 0.5 * secondMs;
const gossipMsMax = secondMs;

/** A peer that lives reports once a second: from then on its silence is its own. */
const peerSilentMsMin = 1.5 * secondMs;
/** A secondary notices within 5 s that its primary vanished without a word (lib/wire/grpc.ts), and then tries the other one. */
const comeOverMsMax = 6 * secondMs;

/** Half the shortest interval costs a dead secondary's targets at most one slot before the handover. */
export function presenceLeaseMs(shortestIntervalMs: number): number {
  return Math.max(leaseMsMin, Math.min(leaseMsMax, shortestIntervalMs / 2));
}

/** A secondary with nothing to send says so often that it lives: it may be silent twice as long, with what it takes to be looked. */
export function keepAliveMs(leaseMs: number): number {
  return Math.min(keepAliveMsMax, leaseMs / 5);
}

/** And so often each primary tells its peer whom it hears: both together leave a third of the lease for a slow network. */
export function gossipMs(leaseMs: number): number {
  return Math.min(gossipMsMax, leaseMs / 4);
}

export class Presence {
  readonly #clock: Clock;
  #leaseMs: number;
  /** By name, the monotonic time until which it counts as living; every configured secondary has an entry. */
  readonly #livesUntilMs: Map<string, number>;
  /** Those whose newest word came through the peer. */
  readonly #throughPeer = new Set<string>();
  #peerHeardMs = Number.NEGATIVE_INFINITY;
  readonly #onChange: (() => void)[] = [];
  #living: readonly string[] = [];
  #timer: Timer | undefined;
  #dueMs = 0;
  #closed = false;

  constructor(options: {
    readonly clock: Clock;
    /** The data centre's, from the topology; others are not counted. */
    readonly secondaries: readonly string[];
    readonly leaseMs: number;
  }) {
    this.#clock = options.clock;
    this.#leaseMs = options.leaseMs;
    this.#livesUntilMs = new Map(options.secondaries.map((name) => [name, Number.NEGATIVE_INFINITY]));
  }

  /** The topology says so now: whoever is new in it is heard from now on, and who is gone from it no longer counts. */
  reconfigure(secondaries: readonly string[], leaseMs: number): void {
    this.#leaseMs = leaseMs;
    const names = new Set(secondaries);
    for (const name of this.#livesUntilMs.keys()) if (!names.has(name)) this.#livesUntilMs.delete(name);
    for (const name of names) if (!this.#livesUntilMs.has(name)) this.#livesUntilMs.set(name, Number.NEGATIVE_INFINITY);
    this.#update();
  }

  /** A word of the secondary to this primary, `ageMs` ago. An older one than known changes nothing. */
  heard(name: string, ageMs: number): void {
    if (!this.#learn(name, ageMs)) return;
    this.#throughPeer.delete(name);
    this.#update();
  }

  /** The peer's report of whom it hears. */
  peerHeard(secondaries: readonly { readonly name: string; readonly ageMs: number }[]): void {
    this.#peerHeardMs = this.#clock.monotonicMs();
    for (const { name, ageMs } of secondaries) if (this.#learn(name, ageMs)) this.#throughPeer.add(name);
    this.#update();
  }

  /**
   * This primary has just taken the lease: those that the generation before counts as living have time to come over, and all
   * have when there is none.
   */
  tookLease(livingBefore?: readonly string[]): void {
    this.#extend(livingBefore ?? [...this.#livesUntilMs.keys()], Math.max(this.#leaseMs, comeOverMsMax));
    this.#update();
  }

  /** Names, sorted. */
  living(): readonly string[] {
    this.#update();
    return this.#living;
  }

  /** Called when somebody has joined or is dead, right when it happens. */
  onChange(callback: () => void): void {
    this.#onChange.push(callback);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** False when it is no news. */
  #learn(name: string, ageMs: number): boolean {
    const knownMs = this.#livesUntilMs.get(name);
    const untilMs = this.#clock.monotonicMs() - Math.max(0, ageMs) + this.#leaseMs;
    if (knownMs === undefined || untilMs <= knownMs) return false;
    this.#livesUntilMs.set(name, untilMs);
    return true;
  }

  #untilMs(name: string): number {
    const untilMs = this.#livesUntilMs.get(name)!;
    const peerSpoke = untilMs - this.#peerHeardMs < peerSilentMsMin;
    return peerSpoke || !this.#throughPeer.has(name) ? untilMs : Math.max(untilMs, this.#peerHeardMs + comeOverMsMax);
  }

  #extend(names: readonly string[], ms: number): void {
    const untilMs = this.#clock.monotonicMs() + ms;
    for (const name of names) {
      const knownMs = this.#livesUntilMs.get(name);
      if (knownMs !== undefined && knownMs < untilMs) this.#livesUntilMs.set(name, untilMs);
    }
  }

  #update(isDue = false): void {
    if (this.#closed) return;
    const nowMs = this.#clock.monotonicMs();
    const heldUp = this.#timer !== undefined && nowMs > this.#dueMs + this.#leaseMs / 2;
    // What arrived meanwhile still waits to be read: it would be wrong to call its senders dead.
    if (heldUp) this.#extend(this.#living, this.#leaseMs);
    const changed = this.#isChanged(nowMs);
    if (changed) {
      const living = [...this.#livesUntilMs.keys()].filter((name) => this.#untilMs(name) > nowMs);
      this.#living = living.sort(compareText);
    }
    this.#schedule(nowMs, isDue);
    if (changed) for (const callback of this.#onChange) callback();
  }

  #isChanged(nowMs: number): boolean {
    let living = 0;
    for (const name of this.#livesUntilMs.keys()) {
      if (this.#untilMs(name) <= nowMs) continue;
      if (!this.#living.includes(name)) return true;
      living++;
    }
    return living !== this.#living.length;
  }

  /** A look too early costs less than another timer at each word. */
  #schedule(nowMs: number, isDue: boolean): void {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const name of this.#living) dueMs = Math.min(dueMs, this.#untilMs(name));
    if (this.#timer && !isDue && this.#dueMs <= dueMs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#living.length === 0) return;
    this.#dueMs = dueMs;
    this.#timer = this.#clock.after(this.#dueMs - nowMs, () => this.#update(true));
  }
}

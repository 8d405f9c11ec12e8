// Whether each data centre is live, delayed, dark or unknown, told from two kinds of evidence: the heartbeats that its
// primaries write into its log (they come by way of the hub), and whether its primaries answer this global directly.
//
// Silence at the hub alone proves little: the leaf link may be down while the data centre is well, so a primary that answers
// makes it delayed, not dark. And when more than half of all data centres fall silent together it is the hub that is blind:
// then none of them is called dark. What is dark is unreachable; its servers are not thereby dead.

import { assert } from "#/lib/assert/assert.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { type DatacenterState, datacenterStates } from "#/lib/model/status.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

/** Primaries send a heartbeat a second. Five missed ones in a row are silence, and leave half of the 10 s in which a cut must show. */
export const silenceMs = 5000;

/** Heartbeats that arrive this late are a backlog being caught up. Well above what clocks kept by NTP differ by. */
export const lagMsMax = 10_000;

/** Data centres whose last heartbeats lie this close fell silent together: a heartbeat, a reconnect and scheduling apart. */
export const togetherMs = 5000;

/** A direct answer counts for this long: a probe every 2 s with a timeout of 1.5 s, and one late round. */
export const answerFreshMs = 6000;
assert(answerFreshMs <= 2 * silenceMs, "a stale answer may not hide a cut for longer than dark may take to show");

export interface DatacenterView {
  readonly name: string;
  readonly state: DatacenterState;
  /** Wall clock, when this state was first seen. */
  readonly sinceMs: number;
  /** A sentence; empty while live. */
  readonly reason: string;
  /** Age of the newest heartbeat; null before the first. */
  readonly lagMs: number | null;
  /** By primary, in the topology's order. Null: not asked yet, or the last answer is too old to count. */
  readonly reachable: readonly { readonly primary: string; readonly reachable: boolean | null }[];
}

export interface FederationView {
  readonly blind: boolean;
  readonly datacenters: readonly DatacenterView[];
}

interface Datacenter {
  readonly name: string;
  readonly primaries: readonly string[];
  readonly answers: Map<string, { readonly answered: boolean; readonly atMs: number }>;
  /** Monotonic; the start of listening before the first heartbeat. */
  heardMs: number;
  /** The sender's wall clock; undefined before the first heartbeat. */
  sentMs: number | undefined;
  state: DatacenterState;
  sinceMs: number;
}

export interface StatesOptions {
  readonly datacenters: readonly { readonly name: string; readonly primaries: readonly string[] }[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

/** Holds no timer: call `look` at least once a second, so that `sinceMs`, the metric and the log are true. */
export class DatacenterStates {
  readonly #datacenters: readonly Datacenter[];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Registry;

  constructor({ datacenters, clock, log, metrics }: StatesOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#metrics = metrics;
    this.#datacenters = datacenters.map(({ name, primaries }) => ({
      name,
      primaries,
      answers: new Map(),
      heardMs: clock.monotonicMs(),
      sentMs: undefined,
      state: "unknown",
      sinceMs: clock.nowMs(),
    }));
  }

  /** A heartbeat of that data centre was read from its log just now. */
  heard(datacenter: string, sentMs: number): void {
    const known = this.#find(datacenter);
    known.heardMs = this.#clock.monotonicMs();
    known.sentMs = sentMs;
  }

  /** A primary was asked directly, and answered or did not. */
  probed(datacenter: string, primary: string, answered: boolean): void {
    this.#find(datacenter).answers.set(primary, { answered, atMs: this.#clock.monotonicMs() });
  }

  look(): FederationView {
    const nowMs = this.#clock.nowMs();
    const monotonicMs = this.#clock.monotonicMs();
    const together = silentTogether(this.#datacenters, monotonicMs);
    const views = this.#datacenters.map((datacenter) => {
      const reachable = datacenter.primaries.map((primary) => ({
        primary,
        reachable: answerOf(datacenter, primary, monotonicMs),
      }));
      const lagMs = datacenter.sentMs === undefined ? null : Math.max(0, nowMs - datacenter.sentMs);
      const silentMs = monotonicMs - datacenter.heardMs;
      const blind = together.has(datacenter) ? { silent: together.size, all: this.#datacenters.length } : undefined;
      const { state, reason } = judge({ silentMs, lagMs, reachable, blind });
      if (state !== datacenter.state) this.#changed(datacenter, state, reason, nowMs);
      for (const each of datacenterStates) {
        const labels = { datacenter: datacenter.name, state: each };
        this.#metrics.set("heliograph_global_datacenter_state", each === state ? 1 : 0, labels);
      }
      return { name: datacenter.name, state, sinceMs: datacenter.sinceMs, reason, lagMs, reachable };
    });
    return { blind: together.size > 0, datacenters: views };
  }

  #changed(datacenter: Datacenter, state: DatacenterState, reason: string, nowMs: number): void {
    const fields = { datacenter: datacenter.name, from: datacenter.state, to: state, reason };
    if (state === "live") this.#log.info(fields, "A data centre is live.");
    else if (state === "dark") this.#log.error(fields, "A data centre is dark.");
    else this.#log.warn(fields, `A data centre is ${state}.`);
    datacenter.state = state;
    datacenter.sinceMs = nowMs;
  }

  #find(name: string): Datacenter {
    const found = this.#datacenters.find((datacenter) => datacenter.name === name);
    assert(found, `no data centre ${name} in the topology`);
    return found;
  }
}

interface Evidence {
  readonly silentMs: number;
  readonly lagMs: number | null;
  readonly reachable: readonly { readonly primary: string; readonly reachable: boolean | null }[];
  /** Set when it is one of more than half of all that fell silent together. */
  readonly blind: { readonly silent: number; readonly all: number } | undefined;
}

function judge({ silentMs, lagMs, reachable, blind }: Evidence): { state: DatacenterState; reason: string } {
  if (silentMs <= silenceMs) {
    if (lagMs === null) return { state: "unknown", reason: "This global has just begun to listen." };
    if (lagMs <= lagMsMax) return { state: "live", reason: "" };
    return { state: "delayed", reason: `Its log arrives ${seconds(lagMs)} late and is being caught up.` };
  }
  const silence = lagMs === null ? "No heartbeat has ever arrived" : "Its heartbeats stopped arriving";
  const answering = reachable.filter((each) => each.reachable).map((each) => each.primary);
  if (answering.length > 0) {
    const who = answering.length === 1 ? `${answering[0]} answers` : `${answering.join(" and ")} answer`;
    return { state: "delayed", reason: `${silence} at the hub, but ${who} directly.` };
  }
  if (blind) {
    const reason = `The hub is blind: ${blind.silent} of ${blind.all} data centres fell silent together.`;
    return { state: "unknown", reason };
  }
  if (reachable.some((each) => each.reachable === null)) {
    return { state: "unknown", reason: `${silence} at the hub, and its primaries have not been asked directly yet.` };
  }
  const neither = reachable.length === 1 ? "its primary does not answer" : "neither primary answers";
  return { state: "dark", reason: `${silence} at the hub, and ${neither} directly.` };
}

/** The data centres that fell silent together, when they are more than half of all and at least two; else none. */
function silentTogether(all: readonly Datacenter[], monotonicMs: number): ReadonlySet<Datacenter> {
  const silent = all
    .filter((datacenter) => monotonicMs - datacenter.heardMs > silenceMs)
    .sort((a, b) => a.heardMs - b.heardMs);
  let largest: readonly Datacenter[] = [];
  for (const [i, first] of silent.entries()) {
    const group = silent.slice(i).filter((datacenter) => datacenter.heardMs - first.heardMs <= togetherMs);
    if (group.length > largest.length) largest = group;
  }
  return new Set(largest.length >= 2 && largest.length * 2 > all.length ? largest : []);
}

function answerOf(datacenter: Datacenter, primary: string, monotonicMs: number): boolean | null {
  const answer = datacenter.answers.get(primary);
  if (!answer || monotonicMs - answer.atMs > answerFreshMs) return null;
  return answer.answered;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(0)} s`;
}

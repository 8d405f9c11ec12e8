// The simulated targets: their values are a known function of (target, row, the time told in the body), so that whatever is
// found at the far end can be computed anew. They die, slow down, talk nonsense and change what they expose.

import { Buffer } from "node:buffer";
import { type FleetRow, fleetValue, type Motion, seedOf } from "#/cli/fleet/values.ts";
import { onAbort } from "#/lib/clock/abort.ts";
import type { Random } from "#/lib/random/random.ts";
import type { Fetched, Fetcher } from "#/secondary/scrape/fetch.ts";
import { type SimProcess, worldBeganMs } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

export const timeRow = "fleet_time_ms";

/** Each version is a layout of its own; all have the row that tells the time. */
const versions: readonly (readonly FleetRow[])[] = [
  [row(timeRow, "", { kind: "clock_ms" }), row("requests_total", 'code="200"', { kind: "counter", perSecond: 7 })],
  [
    row(timeRow, "", { kind: "clock_ms" }),
    row("requests_total", 'code="200"', { kind: "counter", perSecond: 7 }),
    row("requests_total", 'code="500"', { kind: "counter", perSecond: 0.4 }),
    row("temperature", 'sensor="a"', { kind: "gauge", unit: 0.5, max: 90, holdMs: 20_000 }),
  ],
  [
    row(timeRow, "", { kind: "clock_ms" }),
    row("temperature", 'sensor="b"', { kind: "gauge", unit: 0.1, max: 90, holdMs: 1000 }),
    row("pause_seconds", "", { kind: "duration", max: 2 }),
  ],
];

function row(name: string, labels: string, motion: Motion): FleetRow {
  return { name, labels, motion, seed: seedOf(name, labels) };
}

export interface TargetState {
  version: number;
  dead: boolean;
  slowMs: number;
  nonsense: boolean;
}

/** How a machine's way to all targets is cut: they refuse, or nothing is heard of them. */
export type TargetsCut = "refused" | "silent";

export class SimTargets {
  readonly states: TargetState[];
  readonly hits = { dead: 0, slow: 0, nonsense: 0, layouts: 0, cut: 0 };
  /** When each was last tried while it was dead or slow. */
  readonly #troubledMs: number[];
  /** By target, what was told at which time: the version of the body. */
  readonly #said: Map<number, number>[];
  readonly #scheduler: Scheduler;
  readonly #random: Random;

  constructor(options: { readonly count: number; readonly scheduler: Scheduler; readonly random: Random }) {
    this.#scheduler = options.scheduler;
    this.#random = options.random;
    this.states = Array.from({ length: options.count }, (_, i) => ({
      version: i % versions.length,
      dead: false,
      slowMs: 0,
      nonsense: false,
    }));
    this.#said = this.states.map(() => new Map());
    this.#troubledMs = this.states.map(() => Number.NEGATIVE_INFINITY);
  }

  changeLayout(target: number): void {
    this.hits.layouts++;
    this.states[target]!.version = (this.states[target]!.version + 1) % versions.length;
  }

  fetcher(process: SimProcess, isCut: () => TargetsCut | undefined): Fetcher {
    return {
      fetch: (request, signal) => {
        const target = Number(new URL(request.url).port) - 1000;
        return this.#fetch(process, target, { timeoutMs: request.timeoutMs, cut: isCut(), signal });
      },
      close() {},
    };
  }

  /** For so long nobody who tried it could have found it dead or slow. */
  wellForMs(target: number): number {
    const { dead, slowMs } = this.states[target]!;
    return dead || slowMs > 0 ? 0 : this.#scheduler.nowMs - this.#troubledMs[target]!;
  }

  /** The rows that the target told at that time, as `name{labels}` and value; undefined when it told nothing then. */
  truth(target: number, timeMs: number): ReadonlyMap<string, number> | undefined {
    const version = this.#said[target]?.get(timeMs);
    if (version === undefined) return undefined;
    return new Map(
      versions[version]!.map((each) => [`${each.name}{${each.labels}}`, fleetValue(target, each, timeMs)]),
    );
  }

  async #fetch(
    process: SimProcess,
    target: number,
    { cut, signal, timeoutMs }: { timeoutMs: number; cut: TargetsCut | undefined; signal: AbortSignal },
  ): Promise<Fetched> {
    const state = this.states[target]!;
    const delayMs = cut === "silent" ? timeoutMs + 1 : 2 + this.#random.next() * 10 + (cut ? 0 : state.slowMs);
    if (state.dead || state.slowMs > 0) this.#troubledMs[target] = this.#scheduler.nowMs;
    let forget = () => {};
    const aborted = new Promise<void>((resolve) => {
      forget = onAbort(signal, resolve);
    });
    let body: string | undefined;
    const dead = state.dead;
    // It makes its body on the way, so that one may be made that nobody waits for any more.
    this.#scheduler.after(delayMs / 2, () => {
      body = state.dead || cut ? undefined : this.#tell(target, state);
    });
    await Promise.race([process.wait(Math.min(delayMs, timeoutMs)), aborted]);
    forget();
    if (signal.aborted) return { ok: false, outcome: "failed_closed", error: "given up" };
    if (cut) {
      this.hits.cut++;
      const error = "cut off";
      return { ok: false, outcome: cut === "silent" ? "failed_timeout" : "failed_connect", error };
    }
    if (delayMs > timeoutMs) {
      this.hits.slow++;
      return { ok: false, outcome: "failed_timeout", error: "too slow" };
    }
    if (body === undefined || dead) {
      this.hits.dead++;
      return { ok: false, outcome: "failed_connect", error: "connection refused" };
    }
    return { ok: true, body: Buffer.from(body), contentType: "text/plain; version=0.0.4" };
  }

  #tell(target: number, state: TargetState): string {
    if (state.nonsense) {
      this.hits.nonsense++;
      return "this is no exposition {\n";
    }
    const timeMs = Math.floor(worldBeganMs + this.#scheduler.nowMs);
    this.#said[target]!.set(timeMs, state.version);
    return versions[state.version]!.map(
      (each) => `${each.name}${each.labels && `{${each.labels}}`} ${fleetValue(target, each, timeMs)}\n`,
    ).join("");
  }
}

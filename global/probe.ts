// Asks every primary directly, past the hub, whether it lives: the second kind of evidence of state.ts.
//
// Any HTTP answer counts, a 503 too: the question is whether the data centre can be reached, not whether all is well there.
// One question a primary is in flight at most, and the questions are spread over the period.

import { request } from "node:http";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";

export const probePeriodMs = 2000;

/** Below the period, so that questions never overlap; above three lost SYNs on a link between continents. */
export const probeTimeoutMs = 1500;

/** Resolves with the status of any HTTP answer, and rejects when there is none, or when the signal aborts. */
export type ProbeFetch = (url: string, signal: AbortSignal) => Promise<number>;

export interface ProbedPrimary {
  readonly datacenter: string;
  readonly primary: string;
  /** host:port of its HTTP listener, as others reach it. */
  readonly address: string;
}

export interface PrimaryProbeOptions {
  readonly primaries: readonly ProbedPrimary[];
  readonly fetch: ProbeFetch;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onResult: (datacenter: string, primary: string, answered: boolean) => void;
}

export class PrimaryProbe {
  readonly #options: PrimaryProbeOptions;
  readonly #timers = new Set<Timer>();
  readonly #inFlight = new Map<ProbedPrimary, AbortController>();
  readonly #answered = new Map<ProbedPrimary, boolean>();
  #closed = false;

  constructor(options: PrimaryProbeOptions) {
    this.#options = options;
  }

  start(): void {
    const { primaries, clock } = this.#options;
    for (const [i, primary] of primaries.entries()) {
      const first = clock.after((i * probePeriodMs) / primaries.length, () => {
        this.#timers.delete(first);
        void this.#ask(primary);
        this.#timers.add(clock.every(probePeriodMs, () => void this.#ask(primary)));
      });
      this.#timers.add(first);
    }
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    for (const controller of this.#inFlight.values()) controller.abort();
  }

  async #ask(primary: ProbedPrimary): Promise<void> {
    // Only a fetch that does not heed its signal is still under way: there is still no answer, and no second question.
    if (this.#inFlight.has(primary)) return this.#tell(primary, false, "the last question still hangs");
    const { fetch, clock } = this.#options;
    const controller = new AbortController();
    this.#inFlight.set(primary, controller);
    // The result is told when the time is up, whether or not the fetch heeds its signal.
    const timeout = clock.after(probeTimeoutMs, () => {
      controller.abort();
      this.#tell(primary, false, `no answer within ${probeTimeoutMs} ms`);
    });
    try {
      await fetch(`http://${primary.address}/-/healthy`, controller.signal);
      if (!controller.signal.aborted) this.#tell(primary, true, "");
    } catch (error) {
      if (!controller.signal.aborted) this.#tell(primary, false, (error as Error).message);
    } finally {
      timeout.cancel();
      this.#inFlight.delete(primary);
    }
  }

  #tell(primary: ProbedPrimary, answered: boolean, error: string): void {
    if (this.#closed) return;
    const { log, onResult } = this.#options;
    if (this.#answered.get(primary) !== answered) {
      const fields = { datacenter: primary.datacenter, primary: primary.primary, address: primary.address };
      if (answered) log.info(fields, "A primary answers directly.");
      else log.warn({ ...fields, error }, "A primary does not answer directly.");
    }
    this.#answered.set(primary, answered);
    onResult(primary.datacenter, primary.primary, answered);
  }
}

/** The real thing: a connection each, so that a question tells of the way there as it is now. The body is not read. */
export const fetchStatus: ProbeFetch = (url, signal) =>
  new Promise((resolve, reject) => {
    const outgoing = request(url, { agent: false, signal, headers: { "user-agent": "heliograph" } }, (answer) => {
      resolve(answer.statusCode ?? 0);
      answer.destroy();
    });
    outgoing.on("error", reject);
    outgoing.end();
  });

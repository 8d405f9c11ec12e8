// What a replica finds wrong in its log: counted by code, logged, and the newest few kept for people to see.

import type { Clock } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { ReplicaProblem } from "#/lib/replica/summary.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

const problemsMax = 20;

export class ReplicaProblems {
  readonly #datacenter: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Registry;
  readonly #newest: ReplicaProblem[] = [];

  constructor(parts: {
    readonly datacenter: string;
    readonly clock: Clock;
    readonly log: Logger;
    readonly metrics: Registry;
  }) {
    this.#datacenter = parts.datacenter;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#metrics = parts.metrics;
  }

  /** Oldest first. */
  get newest(): readonly ReplicaProblem[] {
    return this.#newest;
  }

  badBatch(code: string, message: string): void {
    this.#metrics.add("heliograph_replica_bad_batches_total", 1, { datacenter: this.#datacenter, code });
    this.say("bad_batch", message);
  }

  /** A generation or a heartbeat that is not taken. */
  refused(code: string, message: string): void {
    this.#metrics.add("heliograph_replica_refused_entries_total", 1, { datacenter: this.#datacenter, code });
    this.say(code, message);
  }

  logBreak(code: string, message: string): void {
    this.#metrics.add("heliograph_replica_log_breaks_total", 1, { datacenter: this.#datacenter, code });
    this.say(code, message);
  }

  hole(message: string): void {
    this.#metrics.add("heliograph_replica_holes_total", 1, { datacenter: this.#datacenter });
    this.say("hole_in_run", message);
  }

  say(code: string, message: string): void {
    this.#log.error({ code, problem: message }, "The log does not read as it should.");
    this.#newest.push({ code, message, atMs: this.#clock.nowMs() });
    if (this.#newest.length > problemsMax) this.#newest.shift();
  }
}

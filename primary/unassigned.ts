// Tells of the targets that the newest generation leaves without an owner: by job as a metric, and why as a log line whenever
// that changes, by the primary that made the generation.

import type { Logger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { type Priorities, unassignedByJob, unassignedReason } from "#/primary/assign.ts";

export class Unassigned {
  readonly #primary: string;
  readonly #priorities: () => Priorities;
  readonly #log: Logger;
  readonly #metrics: Registry;
  #jobs: ReadonlySet<string> = new Set();
  #told: string | undefined;

  constructor(options: {
    /** This one's name. */
    readonly primary: string;
    readonly priorities: () => Priorities;
    readonly log: Logger;
    readonly metrics: Registry;
  }) {
    this.#primary = options.primary;
    this.#priorities = options.priorities;
    this.#log = options.log;
    this.#metrics = options.metrics;
  }

  /** Of a generation that was read from the log. */
  tell(generation: Generation): void {
    const byJob = unassignedByJob(generation);
    const jobs = new Set(generation.targets.map(({ target }) => target.job));
    for (const job of jobs) {
      this.#metrics.set("heliograph_primary_unassigned_targets", byJob.get(job) ?? 0, { job });
    }
    for (const job of this.#jobs.difference(jobs)) {
      this.#metrics.remove("heliograph_primary_unassigned_targets", { job });
    }
    this.#jobs = jobs;
    const reason = unassignedReason(generation, this.#priorities());
    if (reason === this.#told) return;
    this.#told = reason;
    if (generation.primary !== this.#primary) return;
    const fields = { generation: generation.number, reason, unassigned: Object.fromEntries(byJob) };
    if (reason === undefined) this.#log.info({ generation: generation.number }, "Every target has an owner again.");
    else this.#log.error(fields, "Some targets are not scraped: they have no owner.");
  }
}

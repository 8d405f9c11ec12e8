// What a data centre has to scrape: the targets of all its scrape configs, each once.

import { resolve } from "node:path";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { compareText } from "#/lib/model/labels.ts";
import { sameTarget, type Target } from "#/lib/model/target.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { Disk } from "#/primary/discover/disk.ts";
import type { SourceProblem } from "#/primary/discover/file.ts";
import { JobTargets, keyOf } from "#/primary/discover/job.ts";
import type { RefusedTarget } from "#/primary/discover/target.ts";
import type { Datacenter, Topology } from "#/topology/schema.ts";

export interface DiscoveryOptions {
  readonly topology: Topology;
  readonly datacenter: Datacenter;
  /** The topology file's: where relative paths of file_sd_configs start. */
  readonly baseDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly disk: Disk;
}

/** Of each job, by its name. */
const jobMetrics = [
  "heliograph_primary_discovered_targets",
  "heliograph_primary_refused_targets",
  "heliograph_primary_dropped_targets",
  "heliograph_primary_held_targets",
  "heliograph_primary_source_problems",
] as const;

export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #log: Logger;
  readonly #metrics: Registry;
  readonly #onChange: (() => void)[] = [];
  #datacenter: Datacenter;
  #jobs: readonly JobTargets[];
  /** Beside those in use: they are being read. */
  #coming: readonly JobTargets[] = [];
  #priorities: ReadonlyMap<string, number>;
  #targets: readonly Target[] = [];
  #started = false;
  #closed = false;
  #leftOut = 0;
  #changing: Promise<void> = Promise.resolve();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#datacenter = options.datacenter;
    this.#jobs = this.#jobsOf(options.topology, options.datacenter, []);
    this.#priorities = prioritiesOf(this.#jobs);
  }

  /** Resolves when every source was read once: until then `targets` is empty. */
  async start(): Promise<void> {
    for (const job of this.#jobs) await job.start();
    this.#started = true;
    this.#gather();
  }

  /**
   * Goes on with the scrape configs of another topology. Jobs that are the same keep their lists and what is held; new ones are read
   * first, so there is no moment without their targets. What a job loses by that is the operator's will, and not held, unless
   * it was held or unreadable before. Resolves when the new targets are there.
   */
  reconfigure(topology: Topology, datacenter: Datacenter): Promise<void> {
    const change = this.#changing.then(() => this.#reconfigure(topology, datacenter));
    this.#changing = change.catch(() => undefined);
    return change;
  }

  /** Distinct, sorted by id. The array is never changed; a new one stands for new content. */
  targets(): readonly Target[] {
    return this.#targets;
  }

  /** Of the scrape configs, by job; the same map as long as they stay as they are. */
  priorities(): ReadonlyMap<string, number> {
    return this.#priorities;
  }

  get targetsMax(): number {
    return this.#datacenter.targets_max;
  }

  jobs(): readonly JobTargets[] {
    return this.#jobs;
  }

  /** Called after `targets` has changed. */
  onChange(callback: () => void): void {
    this.#onChange.push(callback);
  }

  /** Sources that cannot be read at present, and since when. */
  problems(): readonly (SourceProblem & { readonly job: string })[] {
    return this.#jobs.flatMap((job) => job.problems().map((problem) => ({ ...problem, job: job.name })));
  }

  /** Targets that were written down but cannot be scraped, and why: the first ones of each source. */
  refused(): readonly (RefusedTarget & { readonly job: string })[] {
    return this.#jobs.flatMap((job) => job.refused().map((refused) => ({ ...refused, job: job.name })));
  }

  /** To be called with what is scraped at present, of all jobs, before this primary begins to say what is: what it would suddenly end is held. */
  remember(scraped: readonly Target[]): void {
    const byJob = Map.groupBy(scraped, ({ job }) => job);
    for (const job of this.#jobs) job.remember(byJob.get(job.name) ?? []);
    this.#gather();
  }

  /** Lets go what is held of a job, or of one of its files. Undefined when there is no such job. */
  confirm(name: string, file?: string): readonly { readonly file: string; readonly lost: number }[] | undefined {
    const path = file === undefined ? undefined : resolve(this.#options.baseDir, file);
    return this.#jobs.find((job) => job.name === name)?.confirm(path);
  }

  /** Targets that relabelling dropped, by job; jobs that have none are left out. */
  dropped(): Readonly<Record<string, number>> {
    const counts = this.#jobs.map((job) => [job.name, job.dropped()] as const);
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  close(): void {
    this.#closed = true;
    for (const job of [...this.#jobs, ...this.#coming]) job.close();
  }

  async #reconfigure(topology: Topology, datacenter: Datacenter): Promise<void> {
    if (this.#closed) return;
    const before = this.#jobs;
    this.#datacenter = datacenter;
    const jobs = this.#jobsOf(topology, datacenter, before);
    this.#coming = jobs.filter((job) => !before.includes(job));
    for (const job of this.#coming) await job.start();
    if (this.#closed) return;
    for (const job of this.#coming) {
      const known = before.find(({ name }) => name === job.name);
      if (known?.isUncertain()) job.remember([...known.found().flatMap(({ targets }) => targets), ...known.kept()]);
    }
    this.#jobs = jobs;
    this.#coming = [];
    this.#priorities = prioritiesOf(jobs);
    for (const job of before) if (!jobs.includes(job)) this.#end(job);
    this.#gather();
  }

  #end(job: JobTargets): void {
    job.close();
    if (this.#jobs.some(({ name }) => name === job.name)) return;
    for (const metric of jobMetrics) this.#metrics.remove(metric, { job: job.name });
  }

  #jobsOf(topology: Topology, datacenter: Datacenter, before: readonly JobTargets[]): readonly JobTargets[] {
    const { baseDir, clock, disk, log } = this.#options;
    const discovery = this;
    const room = {
      get targetsMax() {
        return discovery.targetsMax;
      },
      refuses: (targets: readonly Target[], instead: readonly Target[]) => this.#refuses(targets, instead),
    };
    return [...topology.scrape_configs, ...datacenter.scrape_configs].map((config) => {
      const parts = { topology, datacenter, config, baseDir, clock, disk, log, room };
      const key = keyOf(parts);
      return (
        before.find((job) => job.key === key) ??
        new JobTargets({
          ...parts,
          onChange: () => this.#gather(),
          onError: (job) => this.#metrics.add("heliograph_primary_discovery_errors_total", 1, { job }),
        })
      );
    });
  }

  /** Why there is no room for these targets beside all others but those that they replace. */
  #refuses(targets: readonly Target[], instead: readonly Target[]): string | undefined {
    const names = new Set(this.#coming.map(({ name }) => name));
    const jobs = [...this.#jobs.filter(({ name }) => !names.has(name)), ...this.#coming];
    const others = jobs.flatMap((job) => job.found().map((found) => found.targets)).filter((each) => each !== instead);
    const written = others.reduce((sum, each) => sum + each.length, 0);
    if (written + targets.length <= this.targetsMax) return undefined;
    // Some may be written more than once.
    const ids = new Set(others.flatMap((each) => each.map(({ id }) => id)));
    const otherCount = ids.size;
    for (const { id } of targets) ids.add(id);
    if (ids.size <= this.targetsMax) return undefined;
    return `${ids.size - otherCount} in this list beside ${otherCount} of others`;
  }

  #gather(): void {
    if (!this.#started || this.#closed) return;
    const byId = new Map<string, Target>();
    let leftOut = 0;
    const take = (target: Target) => {
      if (byId.has(target.id)) return;
      if (byId.size < this.targetsMax) byId.set(target.id, target);
      else leftOut += 1;
    };
    // Lists are refused before they are too long together, but a limit that is lowered, or what is held, may still be too much.
    const ordered = this.#jobs.toSorted((a, b) => b.priority - a.priority);
    for (const job of ordered) {
      const before = byId.size;
      for (const { targets } of job.found()) for (const target of targets) take(target);
      this.#metrics.set("heliograph_primary_discovered_targets", byId.size - before, { job: job.name });
      job.settle();
    }
    for (const job of ordered) for (const target of job.kept()) take(target);
    for (const job of ordered) this.#count(job);
    if (leftOut > 0 && this.#leftOut === 0) {
      const fields = { targetsMax: this.targetsMax, leftOut };
      this.#log.error(fields, "There are too many targets for one data centre (targets_max); the rest is not scraped.");
    }
    this.#leftOut = leftOut;
    this.#replace([...byId.values()].sort((a, b) => compareText(a.id, b.id)));
  }

  #count(job: JobTargets): void {
    const labels = { job: job.name };
    this.#metrics.set("heliograph_primary_refused_targets", job.refusedCount(), labels);
    this.#metrics.set("heliograph_primary_dropped_targets", job.dropped(), labels);
    this.#metrics.set("heliograph_primary_held_targets", job.kept().length, labels);
    this.#metrics.set("heliograph_primary_source_problems", job.problems().length, labels);
  }

  #replace(targets: readonly Target[]): void {
    const known = this.#targets;
    if (targets.length === known.length && targets.every((target, i) => sameTarget(target, known[i]!))) return;
    this.#targets = targets;
    for (const callback of this.#onChange) callback();
  }
}

function prioritiesOf(jobs: readonly JobTargets[]): ReadonlyMap<string, number> {
  return new Map(jobs.map(({ name, priority }) => [name, priority]));
}

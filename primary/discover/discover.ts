// What a data centre has to scrape: the targets of all its scrape configs, each once.

import type { Clock } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { compareText } from "#/lib/model/labels.ts";
import { sameTarget, type Target } from "#/lib/model/target.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { Disk } from "#/primary/discover/disk.ts";
import { FileTargets, type SourceProblem } from "#/primary/discover/file.ts";
import { staticTargets } from "#/primary/discover/static.ts";
import { type FoundTargets, jobOf, type RefusedTarget } from "#/primary/discover/target.ts";
import type { Datacenter, Topology } from "#/topology/schema.ts";

/** Twice what 20 secondaries of ordinary capacity scrape; more are left out, so that a runaway list cannot end the process. */
const targetsMax = 200_000;

interface JobSources {
  readonly job: string;
  readonly static: FoundTargets;
  readonly files: readonly FileTargets[];
}

export class Discovery {
  readonly #sources: readonly JobSources[];
  readonly #log: Logger;
  readonly #metrics: Registry;
  readonly #onChange: (() => void)[] = [];
  readonly #priorities: ReadonlyMap<string, number>;
  #targets: readonly Target[] = [];
  #started = false;
  #overflow = 0;

  constructor(options: {
    readonly topology: Topology;
    readonly datacenter: Datacenter;
    /** The topology file's: where relative paths of file_sd_configs start. */
    readonly baseDir: string;
    readonly clock: Clock;
    readonly log: Logger;
    readonly metrics: Registry;
    readonly disk: Disk;
  }) {
    const { topology, datacenter, baseDir, clock, log, metrics, disk } = options;
    this.#log = log;
    this.#metrics = metrics;
    const configs = [...topology.scrape_configs, ...datacenter.scrape_configs];
    this.#priorities = new Map(configs.map((config) => [config.job_name, config.priority]));
    this.#sources = configs.map((config) => {
      const job = jobOf(topology, datacenter, config);
      const onChange = () => this.#gather();
      const onError = () => metrics.add("heliograph_primary_discovery_errors_total", 1, { job: job.name });
      const shared = { job, baseDir, clock, disk, log, onChange, onError };
      const files = config.file_sd_configs.map((fileConfig) => new FileTargets({ ...shared, config: fileConfig }));
      return { job: job.name, static: staticTargets(job), files };
    });
  }

  /** Resolves when every source was read once: until then `targets` is empty. */
  async start(): Promise<void> {
    await Promise.all(this.#sources.flatMap(({ files }) => files.map((file) => file.start())));
    this.#started = true;
    this.#gather();
  }

  /** Distinct, sorted by id. The array is never changed; a new one stands for new content. */
  targets(): readonly Target[] {
    return this.#targets;
  }

  /** Of the scrape configs, by job; the same map as long as they stay as they are. */
  priorities(): ReadonlyMap<string, number> {
    return this.#priorities;
  }

  /** Called after `targets` has changed. */
  onChange(callback: () => void): void {
    this.#onChange.push(callback);
  }

  /** Sources that cannot be read at present, and since when. */
  problems(): readonly (SourceProblem & { readonly job: string })[] {
    return this.#sources.flatMap(({ job, files }) =>
      files.flatMap((file) => file.problems().map((problem) => ({ ...problem, job }))),
    );
  }

  /** Targets that were written down but cannot be scraped, and why. */
  refused(): readonly (RefusedTarget & { readonly job: string })[] {
    return this.#sources.flatMap((source) => refusedOf(source).map((refused) => ({ ...refused, job: source.job })));
  }

  /** Targets that relabelling dropped, by job; jobs that have none are left out. */
  dropped(): Readonly<Record<string, number>> {
    const counts = this.#sources.map((source) => [source.job, droppedOf(source)] as const);
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  close(): void {
    for (const { files } of this.#sources) for (const file of files) file.close();
  }

  #gather(): void {
    if (!this.#started) return;
    const byId = new Map<string, Target>();
    let overflow = 0;
    for (const source of this.#sources) {
      const before = byId.size;
      for (const target of [...source.static.targets, ...source.files.flatMap((file) => file.targets())]) {
        if (byId.has(target.id)) continue;
        if (byId.size < targetsMax) byId.set(target.id, target);
        else overflow += 1;
      }
      const labels = { job: source.job };
      this.#metrics.set("heliograph_primary_discovered_targets", byId.size - before, labels);
      this.#metrics.set("heliograph_primary_refused_targets", refusedOf(source).length, labels);
      this.#metrics.set("heliograph_primary_dropped_targets", droppedOf(source), labels);
    }
    if (overflow > 0 && this.#overflow === 0) {
      this.#log.error(
        { targetsMax, overflow },
        "There are too many targets for one data centre; the rest is not scraped.",
      );
    }
    this.#overflow = overflow;
    this.#replace([...byId.values()].sort((a, b) => compareText(a.id, b.id)));
  }

  #replace(targets: readonly Target[]): void {
    const known = this.#targets;
    if (targets.length === known.length && targets.every((target, i) => sameTarget(target, known[i]!))) return;
    this.#targets = targets;
    for (const callback of this.#onChange) callback();
  }
}

function refusedOf(source: JobSources): readonly RefusedTarget[] {
  return [...source.static.refused, ...source.files.flatMap((file) => file.refused())];
}

function droppedOf(source: JobSources): number {
  return source.files.reduce((sum, file) => sum + file.dropped(), source.static.dropped);
}

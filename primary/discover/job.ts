// The targets of one scrape config: those that are written in the topology file, those of its files, and those that are missing
// although they were scraped before.
//
// A primary that begins to govern remembers what the newest generation has of this job. If its own lists lack much of that,
// because it started with an emptied file or its copy of the list is not there, the targets of the generation are held as those of
// a list that suddenly became shorter are, and as long as a list cannot be read. A start, or a failover, ends no scraping.

import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Target } from "#/lib/model/target.ts";
import type { Disk } from "#/primary/discover/disk.ts";
import { type FileSource, FileTargets, type Room, type SourceProblem } from "#/primary/discover/file.ts";
import {
  type Held,
  type Hold,
  heldOf,
  isSudden,
  type LossLimits,
  newHold,
  withoutPresent,
} from "#/primary/discover/hold.ts";
import { staticTargets } from "#/primary/discover/static.ts";
import { type FoundTargets, type Job, jobOf, type RefusedTarget, refusedLoggedMax } from "#/primary/discover/target.ts";
import { type Datacenter, durationMs, type ScrapeConfig, type Topology } from "#/topology/schema.ts";

export interface JobParts {
  readonly topology: Topology;
  readonly datacenter: Datacenter;
  readonly config: ScrapeConfig;
  /** Where relative paths start. */
  readonly baseDir: string;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly log: Logger;
  readonly room: Room;
  /** After its targets, or the state of a source, may have changed. */
  readonly onChange: (job: JobTargets) => void;
  readonly onError: (job: string) => void;
}

/** What was scraped before and no source has. */
interface Remembered {
  targets: readonly Target[];
  readonly of: number;
  readonly hold: Hold;
}

export class JobTargets {
  readonly name: string;
  readonly priority: number;
  readonly static: FoundTargets;
  /** Everything that its targets follow from, beside the files. */
  readonly key: string;
  readonly #limits: LossLimits;
  readonly #files: readonly FileTargets[];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onChange: () => void;
  #remembered: Remembered | undefined;
  #timer: Timer | undefined;

  constructor(parts: JobParts) {
    const { baseDir, clock, config, datacenter, disk, log, onChange, onError, room, topology } = parts;
    const job: Job = jobOf(topology, datacenter, config);
    this.name = job.name;
    this.priority = config.priority;
    this.key = keyOf(parts);
    this.static = staticTargets(job);
    const defaults = topology.scrape_defaults;
    this.#limits = {
      shareMax: config.discovery_loss_max ?? defaults.discovery_loss_max,
      holdMs: durationMs(config.discovery_hold ?? defaults.discovery_hold),
    };
    this.#clock = clock;
    this.#log = log.child({ job: this.name });
    for (const refused of this.static.refused.slice(0, refusedLoggedMax)) {
      this.#log.warn({ ...refused, refused: this.static.refusedCount }, "A target of the topology file is refused.");
    }
    this.#onChange = () => onChange(this);
    const shared = { job, baseDir, clock, disk, log, room, limits: this.#limits, onChange: this.#onChange };
    this.#files = config.file_sd_configs.map(
      (fileConfig) => new FileTargets({ ...shared, onError: () => onError(this.name), config: fileConfig }),
    );
  }

  /** Resolves when every file was read once, one after the other: what there is room for must not be chance. */
  async start(): Promise<void> {
    for (const file of this.#files) await file.start();
  }

  close(): void {
    this.#timer?.cancel();
    for (const file of this.#files) file.close();
  }

  /** What its sources say now, by source. */
  found(): readonly FoundTargets[] {
    return [this.static, ...this.#files.flatMap((file) => file.found())];
  }

  /** What no source says any more and is scraped all the same. */
  kept(): readonly Target[] {
    return [...this.#keptOfFiles(), ...(this.#remembered?.targets ?? [])];
  }

  files(): readonly FileSource[] {
    return this.#files.flatMap((file) => file.sources());
  }

  /** Of what was scraped before and is in no source. */
  heldOfBefore(): Held | undefined {
    const { hold, of, targets } = this.#remembered ?? {};
    return hold && heldOf(hold, targets!.length, of!, this.#isUnreadable());
  }

  problems(): readonly SourceProblem[] {
    return this.#files.flatMap((file) => file.problems());
  }

  /** The first ones of each source. */
  refused(): readonly RefusedTarget[] {
    return this.found().flatMap(({ refused }) => refused);
  }

  refusedCount(): number {
    return this.found().reduce((sum, { refusedCount }) => sum + refusedCount, 0);
  }

  /** How many its relabelling left out. */
  dropped(): number {
    return this.found().reduce((sum, { dropped }) => sum + dropped, 0);
  }

  /** Whether some of its targets are not what its sources say. */
  isUncertain(): boolean {
    return this.#isUnreadable() || this.kept().length > 0;
  }

  /** What is scraped at present of this job: what is missing of it is held. */
  remember(scraped: readonly Target[]): void {
    // Without files, all of it is what the operator wrote into the topology file.
    if (this.#files.length === 0) return;
    const targets = withoutPresent(scraped, this.#urls());
    const before = this.#remembered;
    if (targets.length === 0) this.#forget();
    else {
      const hold = before?.hold ?? newHold(this.#clock, this.#limits);
      this.#remembered = { targets, of: scraped.length, hold };
      this.settle();
    }
    const held = this.heldOfBefore();
    if (!held || before) return;
    const until = new Date(held.untilMs).toISOString();
    const fields = { lost: held.lost, of: held.of, until };
    this.#log.error(
      fields,
      "The lists lack targets that are scraped at present; they are kept for now (heliograph sources shows them).",
    );
  }

  /** Decides anew about what was scraped before; to be called when a source has changed. */
  settle(): void {
    const remembered = this.#remembered;
    if (!remembered) return;
    remembered.targets = withoutPresent(remembered.targets, this.#urls());
    const fields = { lost: remembered.targets.length, of: remembered.of };
    const isUnreadable = this.#isUnreadable();
    const leftMs = remembered.hold.deadlineMs - this.#clock.monotonicMs();
    if (remembered.targets.length === 0 || (!isUnreadable && !isSudden(fields.lost, fields.of, this.#limits))) {
      this.#forget();
      this.#log.info(fields, "The lists have what is scraped, or nearly.");
    } else if (leftMs <= 0 && !isUnreadable) {
      this.#forget();
      this.#log.error(fields, "Targets that the lists lack are let go: nobody objected for long enough.");
    } else if (leftMs > 0) this.#lookAgain(leftMs);
  }

  /** Lets go what is held of that file, or everything, and says how many targets that were. */
  confirm(file?: string): readonly { readonly file: string; readonly lost: number }[] {
    const confirmed = this.#files.flatMap((each) => each.confirm(file));
    const lost = this.#remembered?.targets.length;
    if (file !== undefined || lost === undefined) return confirmed;
    this.#forget();
    this.#log.warn({ lost }, "Targets that the lists lack are let go, as was confirmed.");
    this.#onChange();
    return [...confirmed, { file: "", lost }];
  }

  #lookAgain(afterMs: number): void {
    this.#timer ??= this.#clock.after(afterMs, () => {
      this.#timer = undefined;
      this.#onChange();
    });
  }

  #forget(): void {
    this.#remembered = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #isUnreadable(): boolean {
    return this.#files.some((file) => file.problems().length > 0);
  }

  #keptOfFiles(): readonly Target[] {
    return this.#files.flatMap((file) => file.kept());
  }

  #urls(): Set<string> {
    const targets = [...this.found().map((found) => found.targets), this.#keptOfFiles()];
    return new Set(targets.flatMap((each) => each.map(({ url }) => url)));
  }
}

/** The same for two scrape configs whose targets are the same as long as the files are. */
export function keyOf({
  baseDir,
  config,
  datacenter,
  topology,
}: Pick<JobParts, "baseDir" | "config" | "datacenter" | "topology">): string {
  const { labels, name, region } = datacenter;
  return JSON.stringify([config, topology.scrape_defaults, topology.label_names, name, region, labels, baseDir]);
}

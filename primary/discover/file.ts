// Targets that are written in files: read at the start, within a second of a change, and every `refresh_interval`.
//
// Directories are watched rather than files, because that is where a file that replaces another by a rename is seen. A file
// that cannot be read keeps its last targets and says since when; so does one that would bring more targets than the data centre
// may have. What a reading lacks of the one before is kept for a moment, or held for long when it is much (readings.ts).
// Watching starts anew before each reading, so a directory that was itself replaced is found again, and nothing falls between.

import { basename, dirname, resolve } from "node:path";
import { contentId } from "#/lib/bytes/hash.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Target } from "#/lib/model/target.ts";
import type { Disk } from "#/primary/discover/disk.ts";
import type { Held, LossLimits } from "#/primary/discover/hold.ts";
import { BadTargetList, listBytesMax, parseTargetList } from "#/primary/discover/list.ts";
import { Readings, type Settled } from "#/primary/discover/readings.ts";
import {
  type FoundTargets,
  type Job,
  type RefusedTarget,
  refusedLoggedMax,
  targetsOf,
} from "#/primary/discover/target.ts";
import { durationMs, type ScrapeConfig } from "#/topology/schema.ts";

/** Writers make several changes in a row: they are read once none came for this long … */
const quietMs = 100;
/** … or once the first of them is this old. */
const waitMsMax = 500;

/** A directory that is not there, or cannot be watched, is looked for this often. */
const retryMs = 2 * secondMs;

/** A directory with more matching files is a mistake. */
const filesMax = 1000;

export interface SourceProblem {
  /** A file, or a directory that cannot be listed. */
  readonly file: string;
  readonly message: string;
  /** Wall time since when it is so. */
  readonly sinceMs: number;
  /** Targets of the last good reading, which are kept. */
  readonly targetsKept: number;
}

/** A file, or a directory that cannot be listed. */
export interface FileSource {
  readonly file: string;
  /** Of its newest reading, without what is held. */
  readonly targets: number;
  readonly refused: readonly RefusedTarget[];
  readonly refusedCount: number;
  readonly dropped: number;
  readonly problem: SourceProblem | undefined;
  readonly held: Held | undefined;
}

/** Of more entries in one file, dropped and refused ones included, none is looked at: it would keep the process busy for seconds. */
const entriesPerTargetMax = 2;

/** How many targets the data centre may have, and whether a reading's fit beside all others; `instead` are those it replaces. */
export interface Room {
  readonly targetsMax: number;
  /** Why not; undefined when they do. */
  refuses(targets: readonly Target[], instead: readonly Target[]): string | undefined;
}

/** The targets of one file_sd_config. */
export class FileTargets {
  readonly #job: Job;
  readonly #patterns: readonly { directory: string; matches: (name: string) => boolean }[];
  readonly #refreshMs: number;
  readonly #clock: Clock;
  readonly #disk: Disk;
  readonly #log: Logger;
  readonly #onChange: () => void;
  readonly #onError: () => void;
  readonly #room: Room;
  readonly #readings: Readings;
  /** Contents that were refused: they are not looked at again, those without room until the next refresh. */
  readonly #refused = new Map<string, { readonly digest: string; readonly error: BadTargetList }>();
  readonly #problems = new Map<string, SourceProblem>();
  readonly #watchers = new Map<string, { close(): void }>();
  readonly #timers = new Map<"refresh" | "event" | "retry" | "settle", Timer>();
  #firstEventMs = 0;
  #reading: Promise<void> | undefined;
  #readAgain = false;
  #closed = false;

  constructor(options: {
    readonly job: Job;
    readonly config: ScrapeConfig["file_sd_configs"][number];
    /** Relative paths start here. */
    readonly baseDir: string;
    readonly clock: Clock;
    readonly disk: Disk;
    readonly log: Logger;
    readonly limits: LossLimits;
    readonly room: Room;
    /** After what it has, or the state of a source, may have changed. */
    readonly onChange: () => void;
    /** Once for each reading of a file or directory that failed. */
    readonly onError: () => void;
  }) {
    this.#job = options.job;
    this.#patterns = options.config.files.map((file) => {
      const path = resolve(options.baseDir, file);
      return { directory: dirname(path), matches: matcherOf(basename(path)) };
    });
    this.#refreshMs = durationMs(options.config.refresh_interval);
    this.#clock = options.clock;
    this.#disk = options.disk;
    this.#log = options.log.child({ job: options.job.name });
    this.#room = options.room;
    this.#readings = new Readings(options.limits, options.clock);
    this.#onChange = options.onChange;
    this.#onError = options.onError;
  }

  /** Resolves when everything was read once, well or not. */
  async start(): Promise<void> {
    this.#timers.set(
      "refresh",
      this.#clock.every(this.#refreshMs, () => {
        for (const [path, { error }] of this.#refused) if (error.code === "no_room") this.#refused.delete(path);
        void this.refresh();
      }),
    );
    await this.refresh();
  }

  /** What the files say now, by file. */
  found(): readonly FoundTargets[] {
    return this.#readings.all();
  }

  /** Targets that the files do not have any more and that are scraped all the same. */
  kept(): readonly Target[] {
    return this.#readings.kept();
  }

  sources(): readonly FileSource[] {
    const paths = new Set([...this.#readings.paths(), ...this.#problems.keys()]);
    return [...paths].sort().map((file) => {
      const { dropped, refused, refusedCount, targets } = this.#readings.foundIn(file);
      const held = this.#readings.held(file, this.#isUnreadable(file));
      const problem = this.#problems.get(file);
      return { file, targets: targets.length, refused, refusedCount, dropped, problem, held };
    });
  }

  /** Lets go what is held of that file, or of all, and says how many targets that were. */
  confirm(file?: string): readonly { readonly file: string; readonly lost: number }[] {
    const confirmed = this.#readings.confirm(file).map(({ path, lost }) => ({ file: path, lost }));
    for (const each of confirmed) this.#log.warn(each, "Held targets are let go, as was confirmed.");
    if (confirmed.length > 0) this.#onChange();
    return confirmed;
  }

  problems(): readonly SourceProblem[] {
    return [...this.#problems.values()];
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
  }

  /** Reads everything again. Asked while it reads, it reads once more afterwards. It never rejects. */
  async refresh(): Promise<void> {
    this.#readAgain = true;
    this.#reading ??= this.#readUntilQuiet().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #readUntilQuiet(): Promise<void> {
    while (this.#readAgain && !this.#closed) {
      this.#readAgain = false;
      this.#cancel("event");
      this.#cancel("retry");
      const before = [...this.#problems.values()];
      const changed = await this.#readAll();
      const isSame = this.#problems.size === before.length && before.every((each) => this.#problems.has(each.file));
      if ((changed || !isSame) && !this.#closed) this.#onChange();
    }
  }

  /** Whether anything differs from before. */
  async #readAll(): Promise<boolean> {
    const listed = new Map<string, readonly string[] | undefined>();
    for (const { directory } of this.#patterns) {
      if (!listed.has(directory)) listed.set(directory, await this.#list(directory));
    }
    const found = new Set([...listed.values()].flatMap((paths) => paths ?? []));
    for (const path of found) await this.#readFile(path);
    for (const path of new Set([...this.#readings.paths(), ...this.#problems.keys(), ...this.#refused.keys()])) {
      // What a directory held is kept while the directory cannot be listed.
      const isGone = !found.has(path) && !listed.has(path) && listed.get(dirname(path)) !== undefined;
      if (isGone) this.#forget(path);
    }
    return this.#settle();
  }

  /** Whether anything that is scraped, or held, is otherwise than before. */
  #settle(): boolean {
    const { againMs, changed, settled } = this.#readings.settle((path) => this.#isUnreadable(path));
    for (const each of settled) this.#tell(each);
    this.#cancel("settle");
    if (againMs !== undefined) this.#after("settle", againMs);
    return changed;
  }

  #isUnreadable(path: string): boolean {
    return this.#problems.has(path) || this.#problems.has(dirname(path));
  }

  #tell({ lost, of, path, what }: Settled): void {
    const fields = { file: path, lost, of };
    switch (what) {
      case "held": {
        const until = new Date(this.#readings.held(path, false)!.untilMs).toISOString();
        this.#log.error(
          { ...fields, until },
          "A list suddenly lost targets; they are kept for now (heliograph sources shows them).",
        );
        break;
      }
      case "back":
        this.#log.info(fields, "A list that had lost targets has them again, or nearly.");
        break;
      case "expired":
        this.#log.error(fields, "Targets that a list suddenly lost are let go: nobody objected for long enough.");
        break;
      case "gone":
        this.#log.info(fields, "A file of targets is gone, and its targets with it.");
        break;
      default:
        what satisfies never;
    }
  }

  /** Paths of the matching files, sorted; undefined when the directory cannot be listed. */
  async #list(directory: string): Promise<readonly string[] | undefined> {
    this.#watch(directory);
    try {
      const patterns = this.#patterns.filter((pattern) => pattern.directory === directory);
      const names = (await this.#disk.list(directory)).filter((name) => patterns.some(({ matches }) => matches(name)));
      if (names.length > filesMax) throw new Error(`expected at most ${filesMax} files, got ${names.length}`);
      this.#recovered(directory);
      return names.sort().map((name) => resolve(directory, name));
    } catch (error) {
      let targetsKept = 0;
      for (const path of this.#readings.paths()) if (dirname(path) === directory) targetsKept += this.#targetsOf(path);
      this.#failed(directory, error as Error, targetsKept);
      this.#after("retry", retryMs);
      return undefined;
    }
  }

  async #readFile(path: string): Promise<void> {
    const known = this.#readings.digestOf(path);
    try {
      const bytes = await this.#disk.read(path, listBytesMax + 1);
      const digest = contentId(bytes);
      if (known !== digest) this.#take(path, digest, bytes);
      this.#refused.delete(path);
      this.#recovered(path);
    } catch (error) {
      this.#failed(path, error as Error, this.#targetsOf(path));
      // Gone between the listing and the reading: look again.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") this.#after("retry", quietMs);
    }
  }

  /** Throws BadTargetList. */
  #take(path: string, digest: string, bytes: Uint8Array): void {
    const refused = this.#refused.get(path);
    if (refused?.digest === digest) throw refused.error;
    try {
      const found = this.#understand(path, bytes);
      this.#readings.put(path, digest, found);
      for (const { address, message } of found.refused.slice(0, refusedLoggedMax)) {
        this.#log.warn({ file: path, address, message, refused: found.refusedCount }, "A target is refused.");
      }
    } catch (error) {
      if (error instanceof BadTargetList) this.#refused.set(path, { digest, error });
      throw error;
    }
  }

  #understand(path: string, bytes: Uint8Array): FoundTargets {
    const groups = parseTargetList(bytes, path);
    const { targetsMax } = this.#room;
    const entries = groups.reduce((sum, { targets }) => sum + targets.length, 0);
    const limit = `expected at most ${targetsMax} targets in the data centre (targets_max)`;
    const tooMany = () => new BadTargetList("too_many", `${limit}, got ${entries} in this list alone`);
    if (entries > entriesPerTargetMax * targetsMax) throw tooMany();
    const withPath = groups.map(({ labels, targets }) => ({ targets, labels: { ...labels, __meta_filepath: path } }));
    const found = targetsOf(this.#job, withPath, targetsMax);
    if (found.targets.length > targetsMax) throw tooMany();
    const noRoom = this.#room.refuses(found.targets, this.#readings.foundIn(path).targets);
    if (noRoom !== undefined) throw new BadTargetList("no_room", `${limit}, got ${noRoom}`);
    return found;
  }

  #targetsOf(path: string): number {
    return this.#readings.foundIn(path).targets.length + this.#readings.keptIn(path).length;
  }

  #forget(path: string): void {
    this.#problems.delete(path);
    this.#refused.delete(path);
    this.#readings.remove(path);
  }

  #watch(directory: string): void {
    this.#watchers.get(directory)?.close();
    this.#watchers.delete(directory);
    if (this.#closed) return;
    try {
      this.#watchers.set(
        directory,
        this.#disk.watch(directory, () => this.#onEvent()),
      );
    } catch {
      // When the directory is not there, listing it fails too and says so. When only watching fails, because the system
      // has no more watches, looking again has to do.
      this.#after("retry", retryMs);
    }
  }

  #onEvent(): void {
    const nowMs = this.#clock.monotonicMs();
    if (!this.#timers.has("event")) this.#firstEventMs = nowMs;
    this.#cancel("event");
    this.#after("event", Math.max(0, Math.min(quietMs, this.#firstEventMs + waitMsMax - nowMs)));
  }

  #after(which: "event" | "retry" | "settle", delayMs: number): void {
    if (this.#closed || this.#timers.has(which)) return;
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(which);
      void this.refresh();
    });
    this.#timers.set(which, timer);
  }

  #cancel(which: "event" | "retry" | "settle"): void {
    this.#timers.get(which)?.cancel();
    this.#timers.delete(which);
  }

  #failed(file: string, error: Error, targetsKept: number): void {
    this.#onError();
    const known = this.#problems.get(file);
    const problem = { file, message: error.message, sinceMs: known?.sinceMs ?? this.#clock.nowMs(), targetsKept };
    this.#problems.set(file, problem);
    if (known?.message !== problem.message)
      this.#log.warn(problem, "A source of targets cannot be read; its last ones are kept.");
  }

  #recovered(file: string): void {
    if (this.#problems.delete(file)) this.#log.info({ file }, "A source of targets can be read again.");
  }
}

/** One `*` stands for any characters; a name that begins with a dot is matched only by a pattern that does, as in a shell. */
function matcherOf(pattern: string): (name: string) => boolean {
  const star = pattern.indexOf("*");
  if (star < 0) return (name) => name === pattern;
  const [prefix, suffix] = [pattern.slice(0, star), pattern.slice(star + 1)];
  return (name) =>
    name.length >= prefix.length + suffix.length &&
    name.startsWith(prefix) &&
    name.endsWith(suffix) &&
    (prefix !== "" || !name.startsWith("."));
}

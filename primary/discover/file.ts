// Targets that are written in files: read at the start, within a second of a change, and every `refresh_interval`.
//
// Directories are watched rather than files, because that is where a file that replaces another by a rename is seen. A file
// that cannot be read keeps its last targets and says since when; one that is gone takes its targets with it. Watching starts
// anew before each reading, so a directory that was itself replaced is found again, and nothing falls between the two.

import { basename, dirname, resolve } from "node:path";
import { contentId } from "#/lib/bytes/hash.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Target } from "#/lib/model/target.ts";
import type { Disk } from "#/primary/discover/disk.ts";
import { listBytesMax, parseTargetList } from "#/primary/discover/list.ts";
import { type FoundTargets, type Job, type RefusedTarget, targetsOf } from "#/primary/discover/target.ts";
import { durationMs, type ScrapeConfig } from "#/topology/schema.ts";

/** Writers make several changes in a row: they are read once none came for this long … */
const quietMs = 100;
/** … or once the first of them is this old. */
const waitMsMax = 500;

/** A directory that is not there, or cannot be watched, is looked for this often. */
const retryMs = 2 * secondMs;

/** A directory with more matching files is a mistake. */
const filesMax = 1000;

/** Of the targets refused in a file this many are logged; pages and metrics have all. */
const refusedLoggedMax = 3;

export interface SourceProblem {
  /** A file, or a directory that cannot be listed. */
  readonly file: string;
  readonly message: string;
  /** Wall time since when it is so. */
  readonly sinceMs: number;
  /** Targets of the last good reading, which are kept. */
  readonly targetsKept: number;
}

interface FileState extends FoundTargets {
  readonly digest: string;
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
  readonly #files = new Map<string, FileState>();
  readonly #problems = new Map<string, SourceProblem>();
  readonly #watchers = new Map<string, { close(): void }>();
  readonly #timers = new Map<"refresh" | "event" | "retry", Timer>();
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
    this.#onChange = options.onChange;
    this.#onError = options.onError;
  }

  /** Resolves when everything was read once, well or not. */
  async start(): Promise<void> {
    this.#timers.set(
      "refresh",
      this.#clock.every(this.#refreshMs, () => void this.refresh()),
    );
    await this.refresh();
  }

  targets(): readonly Target[] {
    return [...this.#files.values()].flatMap((state) => state.targets);
  }

  refused(): readonly RefusedTarget[] {
    return [...this.#files.values()].flatMap((state) => state.refused);
  }

  dropped(): number {
    return [...this.#files.values()].reduce((sum, state) => sum + state.dropped, 0);
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
      const changed = await this.#readAll();
      if (changed && !this.#closed) this.#onChange();
    }
  }

  /** Whether anything differs from before. */
  async #readAll(): Promise<boolean> {
    const listed = new Map<string, readonly string[] | undefined>();
    for (const { directory } of this.#patterns) {
      if (!listed.has(directory)) listed.set(directory, await this.#list(directory));
    }
    const found = new Set([...listed.values()].flatMap((paths) => paths ?? []));
    let changed = false;
    for (const path of found) changed = (await this.#readFile(path)) || changed;
    for (const path of new Set([...this.#files.keys(), ...this.#problems.keys()])) {
      // What a directory held is kept while the directory cannot be listed.
      const isGone = !found.has(path) && !listed.has(path) && listed.get(dirname(path)) !== undefined;
      if (isGone) changed = this.#forget(path) || changed;
    }
    return changed;
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
      for (const [path, { targets }] of this.#files) if (dirname(path) === directory) targetsKept += targets.length;
      this.#failed(directory, error as Error, targetsKept);
      this.#after("retry", retryMs);
      return undefined;
    }
  }

  async #readFile(path: string): Promise<boolean> {
    const known = this.#files.get(path);
    try {
      const bytes = await this.#disk.read(path, listBytesMax + 1);
      const digest = contentId(bytes);
      if (known?.digest !== digest) {
        const groups = parseTargetList(bytes, path);
        const found = targetsOf(
          this.#job,
          groups.map(({ labels, targets }) => ({ targets, labels: { ...labels, __meta_filepath: path } })),
        );
        this.#files.set(path, { digest, ...found });
        const { refused } = found;
        for (const { address, message } of refused.slice(0, refusedLoggedMax)) {
          this.#log.warn({ file: path, address, message, refused: refused.length }, "A target is refused.");
        }
      }
      this.#recovered(path);
      return known?.digest !== digest;
    } catch (error) {
      this.#failed(path, error as Error, known?.targets.length ?? 0);
      // Gone between the listing and the reading: look again.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") this.#after("retry", quietMs);
      return false;
    }
  }

  #forget(path: string): boolean {
    this.#problems.delete(path);
    const state = this.#files.get(path);
    if (!state) return false;
    this.#files.delete(path);
    this.#log.info(
      { file: path, targets: state.targets.length },
      "A file of targets is gone, and its targets with it.",
    );
    return true;
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

  #after(which: "event" | "retry", delayMs: number): void {
    if (this.#closed || this.#timers.has(which)) return;
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(which);
      void this.refresh();
    });
    this.#timers.set(which, timer);
  }

  #cancel(which: "event" | "retry"): void {
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

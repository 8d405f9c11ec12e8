// Files that scrapes need, as credentials and certificates are: read once, and again when they change.
//
// Somebody else writes them, at any time, and mostly by renaming. They are looked at before a scrape, at most every few seconds
// and once for all scrapes that wait, so that what is rotated is followed before it is needed and no scrape costs a system call.

import { open, stat } from "node:fs/promises";
import { KiB, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** What was rotated is followed after this long. */
const freshMs = 2 * secondMs;
/** Ten times a bundle of all authorities that there are. */
const fileBytesMax = 4096 * KiB;

/** Where files are read; a test's, or the system's. */
export interface FileAccess {
  /** Changes when the file does. Rejects when there is none. */
  stamp(path: string): Promise<string>;
  read(path: string): Promise<Buffer>;
}

export const systemFiles: FileAccess = {
  async stamp(path) {
    const { ctimeNs, ino, mtimeNs, size } = await stat(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  },
  async read(path) {
    await using file = await open(path);
    const bytes = Buffer.allocUnsafe(fileBytesMax + 1);
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read) {
      ({ bytesRead: read } = await file.read(bytes, length, bytes.length - length));
    }
    if (length > fileBytesMax) throw new Error(`expected at most ${fileBytesMax} bytes, got more`);
    return Buffer.from(bytes.subarray(0, length));
  },
};

interface Known {
  readonly stamp: string;
  /** What is in it, or why it cannot be read. */
  readonly content: Buffer | Error;
}

export class WatchedFiles {
  readonly #paths: readonly string[];
  readonly #access: FileAccess;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  readonly #waiting = new Set<() => void>();
  readonly #onChange: () => void;
  #looking = false;
  #lookedMs = Number.NEGATIVE_INFINITY;

  /** `onChange` is called after files were read for the first time, and whenever one of them has changed. */
  constructor(
    paths: Iterable<string>,
    options: { readonly access: FileAccess; readonly clock: Clock; readonly onChange: () => void },
  ) {
    this.#paths = [...new Set(paths)];
    this.#access = options.access;
    this.#clock = options.clock;
    this.#onChange = options.onChange;
  }

  /** Whether what is known was looked at a moment ago. */
  get fresh(): boolean {
    return this.#paths.length === 0 || this.#clock.monotonicMs() - this.#lookedMs < freshMs;
  }

  /** Calls back when the files were looked at, unless the returned function is called before. */
  wait(done: () => void): () => void {
    this.#waiting.add(done);
    if (!this.#looking) void this.#look();
    return () => this.#waiting.delete(done);
  }

  /** Of one of the paths, once they were looked at. */
  content(path: string): Buffer | Error {
    return this.#known.get(path)!.content;
  }

  /** One after the other: libuv's few threads are needed for the spool too. Never rejects. */
  async #look(): Promise<void> {
    this.#looking = true;
    let changed = false;
    for (const path of this.#paths) {
      const before = this.#known.get(path);
      const now = await this.#read(path, before);
      if (now === before) continue;
      this.#known.set(path, now);
      changed = true;
    }
    this.#looking = false;
    this.#lookedMs = this.#clock.monotonicMs();
    if (changed) this.#onChange();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const done of waiting) done();
  }

  async #read(path: string, before: Known | undefined): Promise<Known> {
    try {
      const stamp = await this.#access.stamp(path);
      if (before?.stamp === stamp) return before;
      return { stamp, content: await this.#access.read(path) };
    } catch (error) {
      const same = before?.content instanceof Error && before.content.message === (error as Error).message;
      // Without a stamp it is read again at the next look.
      return same ? before : { stamp: "", content: error as Error };
    }
  }
}

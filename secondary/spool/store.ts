// The disk under the spool: level, in a directory of its own.

import { statfs } from "node:fs/promises";
import { Level } from "level";

import { MiB } from "#/lib/bytes/units.ts";

/** leveldb writes up to 4 MiB of its log into a table when it is opened; with less room it might not open. */
const reopenRoomBytesMin = 16 * MiB;
/** The part of abstract-level that the spool needs. */
export interface SpoolStore {
  get(key: string): Promise<Uint8Array | undefined>;
  batch(operations: SpoolOperation[], options: { readonly sync: boolean }): Promise<void>;
  /** Ascending. */
  keys(range: { readonly gte: string; readonly lt: string }): AsyncIterable<string>;
  close(): Promise<void>;
}

export type SpoolOperation =
  | { readonly type: "put"; readonly key: string; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: string };

/** `locked`: another process has the directory. `unreadable`: it is no spool of ours, or the disk fails. */
export type SpoolErrorCode = "locked" | "unreadable";

export class SpoolError extends Error {
  override readonly name = "SpoolError";
  readonly code: SpoolErrorCode;

  constructor(code: SpoolErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Opens level in that directory, which it makes when there is none. Throws SpoolError. */
export async function openSpoolStore(dir: string): Promise<SpoolStore> {
  // Batches are compressed already.
  const level = new Level<string, Uint8Array>(dir, { keyEncoding: "utf8", valueEncoding: "view", compression: false });
  try {
    await level.open();
  } catch (error) {
    const cause = (error as Error).cause as (Error & { readonly code?: string }) | undefined;
    if (cause?.code === "LEVEL_LOCKED") {
      throw new SpoolError(
        "locked",
        `${dir} is in use: expected it free, but another secondary runs with this data directory`,
        {
          cause: error,
        },
      );
    }
    throw new SpoolError("unreadable", `${dir} cannot be opened as a spool: ${(cause ?? (error as Error)).message}`, {
      cause: error,
    });
  }
  return new LevelStore(dir, level);
}

/** Opens level anew before the next write after one that failed: leveldb that once found the disk full takes no more, ever. */
class LevelStore implements SpoolStore {
  readonly #dir: string;
  readonly #level: Level<string, Uint8Array>;
  #failed = false;
  #reopening: Promise<void> | undefined;

  constructor(dir: string, level: Level<string, Uint8Array>) {
    this.#dir = dir;
    this.#level = level;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    await this.#settled();
    return await this.#level.get(key);
  }

  async batch(operations: SpoolOperation[], options: { readonly sync: boolean }): Promise<void> {
    if (this.#failed) {
      this.#reopening ??= this.#reopen().finally(() => {
        this.#reopening = undefined;
      });
      await this.#reopening;
    }
    try {
      await this.#level.batch(operations, options);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  keys(range: { readonly gte: string; readonly lt: string }): AsyncIterable<string> {
    return this.#level.keys(range);
  }

  async close(): Promise<void> {
    await this.#settled();
    await this.#level.close();
  }

  async #reopen(): Promise<void> {
    const { bavail, bsize } = await statfs(this.#dir);
    const roomBytes = bavail * bsize;
    if (roomBytes < reopenRoomBytesMin) {
      throw new SpoolError(
        "unreadable",
        `${this.#dir} takes nothing: expected ${reopenRoomBytesMin} bytes of room on its disk, got ${roomBytes}`,
      );
    }
    await this.#level.close();
    await this.#level.open();
    this.#failed = false;
  }

  /** Whoever asked for the opening hears whether it failed. */
  async #settled(): Promise<void> {
    await this.#reopening?.catch(() => {});
  }
}

// The disk of a simulated machine: it is slow, runs full, fails, and loses in a power cut what was not synced, in any subset
// of its sectors. A killed process loses nothing that it wrote.

import type { Disk, DiskFile } from "#/lib/journal/disk.ts";
import { DirectoryLocked } from "#/lib/journal/lock.ts";
import type { Random } from "#/lib/random/random.ts";
import type { SpoolOperation, SpoolStore } from "#/secondary/spool/store.ts";
import type { SimProcess } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

const sectorBytes = 512;
const syncMs = 3;
const nothing = new Uint8Array(0);

interface Write {
  readonly offset: number;
  readonly length: number;
  /** What stood there before. */
  readonly old: Uint8Array;
  /** A sync failed after it: the kernel took it for clean, and it will never reach the disk. */
  forgotten: boolean;
}

interface File {
  bytes: Uint8Array;
  size: number;
  durableSize: number;
  writes: Write[];
  nameDurable: boolean;
}

interface Batch {
  readonly operations: readonly SpoolOperation[];
}

export class SimDisk {
  full = false;
  failing = false;
  slowMs = 0;
  /** How often each condition was met by a process that wanted something of the disk. */
  readonly hits = { full: 0, failing: 0, slow: 0, lostSectors: 0 };
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #files = new Map<string, File>();
  readonly #locks = new Map<string, SimProcess>();
  readonly #entries = new Map<string, Uint8Array>();
  #spoolDurable = new Map<string, Uint8Array>();
  #spoolUnsynced: Batch[] = [];

  constructor(options: { readonly scheduler: Scheduler; readonly random: Random }) {
    this.#scheduler = options.scheduler;
    this.#random = options.random;
  }

  heal(): void {
    this.full = false;
    this.failing = false;
    this.slowMs = 0;
  }

  powerCut(): void {
    for (const [path, file] of this.#files) {
      if (!file.nameDurable && this.#random.next() < 0.5) this.#files.delete(path);
      else this.#tear(file);
    }
    // leveldb replays its log up to the first record that is torn.
    const kept = this.#random.below(this.#spoolUnsynced.length + 1);
    for (const batch of this.#spoolUnsynced.slice(0, kept)) apply(this.#spoolDurable, batch.operations);
    this.#spoolUnsynced = [];
    this.#entries.clear();
    for (const [key, value] of this.#spoolDurable) this.#entries.set(key, value);
  }

  /** As that process has it. */
  files(process: SimProcess): Disk {
    return {
      makeDirectory: async () => {},
      list: async (path) =>
        [...this.#files.keys()].filter((name) => dirOf(name) === path).map((name) => name.slice(path.length + 1)),
      open: async (path, { create }) => {
        let file = this.#files.get(path);
        if (create === (file !== undefined)) throw failure(create ? "EEXIST" : "ENOENT", path);
        if (!file) {
          this.#checkWritable(path);
          file = { bytes: new Uint8Array(4096), size: 0, durableSize: 0, writes: [], nameDurable: false };
          this.#files.set(path, file);
        }
        return this.#handle(file, path, process);
      },
      remove: async (path) => {
        if (!this.#files.delete(path)) throw failure("ENOENT", path);
      },
      syncDirectory: async (path) => {
        await this.#delay(process);
        for (const [name, file] of this.#files) if (dirOf(name) === path) file.nameDurable = true;
      },
      lock: async (path) => {
        const holder = this.#locks.get(path);
        if (holder && !holder.dead) throw new DirectoryLocked(`${path}: in use by ${holder.name}`);
        this.#locks.set(path, process);
        return {
          release: async () => {
            if (this.#locks.get(path) === process) this.#locks.delete(path);
          },
        };
      },
    };
  }

  /** A spool's store. `onWrite` is told of every batch that was meant for the disk, before anything can fail, and of what is deleted. */
  spool(process: SimProcess, onWrite: (key: string, value: Uint8Array | undefined) => void): SpoolStore {
    const entries = this.#entries;
    return {
      get: async (key) => entries.get(key),
      batch: async (operations, { sync }) => {
        for (const each of operations) onWrite(each.key, each.type === "put" ? each.value : undefined);
        if (sync || this.slowMs > 0) await this.#delay(process);
        this.#checkWritable("spool");
        if (this.#fails()) throw failure("EIO", "spool");
        const copied = operations.map((each) => (each.type === "put" ? { ...each, value: each.value.slice() } : each));
        apply(entries, copied);
        this.#spoolUnsynced.push({ operations: copied });
        if (!sync) return;
        for (const batch of this.#spoolUnsynced) apply(this.#spoolDurable, batch.operations);
        this.#spoolUnsynced = [];
      },
      async *keys({ gte, lt }) {
        for (const key of [...entries.keys()].sort()) if (key >= gte && key < lt) yield key;
      },
      async close() {},
    };
  }

  #handle(file: File, path: string, process: SimProcess): DiskFile {
    return {
      sizeBytes: async () => file.size,
      read: async (into, offset) => {
        const part = file.bytes.subarray(offset, Math.min(file.size, offset + into.length));
        into.set(part);
        return part.length;
      },
      write: async (bytes, offset) => {
        const broken = this.full || this.#fails();
        this.#write(file, broken ? bytes.subarray(0, this.#random.below(bytes.length + 1)) : bytes, offset);
        if (!broken) return;
        this.#checkWritable(path);
        throw failure("EIO", path);
      },
      truncate: async (size) => {
        file.size = size;
        file.durableSize = Math.min(file.durableSize, size);
        file.writes = file.writes.filter(({ offset }) => offset < size);
      },
      sync: async () => {
        const writes = [...file.writes];
        const size = file.size;
        await this.#delay(process);
        if (this.#fails()) {
          for (const write of writes) write.forgotten = true;
          throw failure("EIO", path);
        }
        const synced = writes.filter(({ forgotten }) => !forgotten);
        file.writes = file.writes.flatMap((write) => {
          if (!write.forgotten) return writes.includes(write) ? [] : [write];
          // What was written there again and synced is there.
          const later = writes.includes(write) ? synced.filter((each) => isAfter(writes, each, write)) : [];
          return later.reduce((pieces, each) => pieces.flatMap((piece) => without(piece, each)), [write]);
        });
        file.durableSize = Math.max(file.durableSize, Math.min(size, file.size));
      },
      close: async () => {},
    };
  }

  #write(file: File, bytes: Uint8Array, offset: number): void {
    const end = offset + bytes.length;
    if (end > file.bytes.length) {
      const grown = new Uint8Array(Math.max(end, file.bytes.length * 2));
      grown.set(file.bytes.subarray(0, file.size));
      file.bytes = grown;
    }
    const old = offset < file.size ? file.bytes.slice(offset, Math.min(end, file.size)) : nothing;
    file.writes.push({ offset, length: bytes.length, old, forgotten: false });
    file.bytes.set(bytes, offset);
    file.size = Math.max(file.size, end);
  }

  #tear(file: File): void {
    let size = file.durableSize;
    for (const write of file.writes.toReversed()) {
      const end = Math.min(write.offset + write.length, file.size);
      for (let at = write.offset; at < end; at += sectorBytes) {
        const until = Math.min(at + sectorBytes, end);
        if (!write.forgotten && this.#random.next() < 0.5) {
          size = Math.max(size, until);
          continue;
        }
        this.hits.lostSectors++;
        file.bytes.fill(0, at, until);
        file.bytes.set(write.old.subarray(at - write.offset, until - write.offset), at);
      }
    }
    file.writes = [];
    file.size = size;
    file.durableSize = size;
    file.nameDurable = true;
  }

  #delay(process: SimProcess): Promise<void> {
    if (this.slowMs > 0) this.hits.slow++;
    const delayMs = (syncMs + this.slowMs) * (0.5 + this.#random.next());
    return new Promise((resolve) => this.#scheduler.after(delayMs, () => process.enter(resolve)));
  }

  #checkWritable(path: string): void {
    if (!this.full) return;
    this.hits.full++;
    throw failure("ENOSPC", path);
  }

  #fails(): boolean {
    if (!this.failing || this.#random.next() < 0.3) return false;
    this.hits.failing++;
    return true;
  }
}

function isAfter(all: readonly Write[], write: Write, other: Write): boolean {
  return all.indexOf(write) > all.indexOf(other);
}

/** What is left of a write where the other one did not write. */
function without(write: Write, other: Write): Write[] {
  const piece = (from: number, until: number): Write[] => {
    if (from >= until) return [];
    const old = write.old.slice(from - write.offset, until - write.offset);
    return [{ offset: from, length: until - from, old, forgotten: write.forgotten }];
  };
  const end = write.offset + write.length;
  const otherEnd = other.offset + other.length;
  return [...piece(write.offset, Math.min(end, other.offset)), ...piece(Math.max(write.offset, otherEnd), end)];
}

function apply(entries: Map<string, Uint8Array>, operations: readonly SpoolOperation[]): void {
  for (const operation of operations) {
    if (operation.type === "put") entries.set(operation.key, operation.value);
    else entries.delete(operation.key);
  }
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

function dirOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

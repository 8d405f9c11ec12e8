// A disk in memory that does what disks do: it loses what was not synced, in parts and out of order, and runs full.

import type { Disk, DiskFile } from "#/lib/journal/disk.ts";
import { DirectoryLocked } from "#/lib/journal/lock.ts";
import type { Random } from "#/lib/random/random.ts";

/** The unit in which an unsynced write survives or not. */
const sectorBytes = 512;

export interface MemoryDisk extends Disk {
  /** Writes beyond so many bytes in all files fail with ENOSPC, after a part of them was written. */
  capacityBytes: number;
  /** So many of the next syncs fail with EIO, and what they should have synced is forgotten by the next crash. */
  failingSyncs: number;
  /** Calls of `sync` on files that succeeded. */
  syncs: number;
  /** Of one file, as it would be read now. */
  content(path: string): Uint8Array;
  setContent(path: string, bytes: Uint8Array): void;
  paths(): string[];
  /** The disk as one process sees it: after a crash that process can do nothing any more. */
  attach(): Disk;
  /** The power fails: only what was synced is sure to be there. Open files and locks are gone. */
  loseTail(random: Random): void;
  /** The process is killed: everything that was written is there. Open files and locks are gone. */
  kill(): void;
}

interface MemoryFile {
  bytes: Uint8Array;
  durable: Uint8Array;
  unsynced: { readonly offset: number; readonly bytes: Uint8Array }[];
  nameDurable: boolean;
}

export function memoryDisk(): MemoryDisk {
  const files = new Map<string, MemoryFile>();
  const locks = new Set<string>();
  let life = 0;

  function fail(code: string): Error {
    return Object.assign(new Error(`${code}: as the test asked`), { code });
  }

  function openFile(file: MemoryFile): DiskFile {
    const born = life;
    const check = () => {
      if (born !== life) throw new Error("the file was opened before the crash");
    };
    return {
      sizeBytes: async () => file.bytes.length,
      async read(into, offset) {
        check();
        const part = file.bytes.subarray(offset, offset + into.length);
        into.set(part);
        return part.length;
      },
      async write(bytes, offset) {
        check();
        const others = [...files.values()].reduce((sum, other) => sum + (other === file ? 0 : other.bytes.length), 0);
        const room = Math.max(0, disk.capacityBytes - others - offset);
        const part = bytes.slice(0, Math.min(bytes.length, room));
        file.bytes = overwritten(file.bytes, offset, part);
        file.unsynced.push({ offset, bytes: part });
        if (part.length < bytes.length) throw fail("ENOSPC");
      },
      async truncate(sizeBytes) {
        check();
        file.bytes = file.bytes.slice(0, sizeBytes);
        file.durable = file.durable.slice(0, sizeBytes);
        file.unsynced = file.unsynced.filter(({ offset }) => offset < sizeBytes);
      },
      async sync() {
        check();
        if (disk.failingSyncs > 0) {
          disk.failingSyncs--;
          // As Linux does: the pages are marked clean although they never reached the disk.
          file.unsynced = [];
          throw fail("EIO");
        }
        // Not the whole file: what an earlier sync failed to bring there is clean now, and stays away.
        for (const { offset, bytes } of file.unsynced) file.durable = overwritten(file.durable, offset, bytes);
        file.unsynced = [];
        disk.syncs++;
      },
      async close() {},
    };
  }

  const disk: MemoryDisk = {
    capacityBytes: Number.POSITIVE_INFINITY,
    failingSyncs: 0,
    syncs: 0,
    async makeDirectory() {},
    list: async (path) => [...files.keys()].filter((name) => dirOf(name) === path).map((name) => nameOf(name)),
    async open(path, { create }) {
      let file = files.get(path);
      if (create === (file !== undefined)) throw fail(create ? "EEXIST" : "ENOENT");
      if (!file) {
        file = { bytes: new Uint8Array(0), durable: new Uint8Array(0), unsynced: [], nameDurable: false };
        files.set(path, file);
      }
      return openFile(file);
    },
    async remove(path) {
      if (!files.delete(path)) throw fail("ENOENT");
    },
    async syncDirectory(path) {
      for (const [name, file] of files) if (dirOf(name) === path) file.nameDurable = true;
    },
    async lock(path) {
      if (locks.has(path)) throw new DirectoryLocked(`${path}: in use`);
      locks.add(path);
      const born = life;
      return {
        async release() {
          if (born === life) locks.delete(path);
        },
      };
    },
    attach() {
      const born = life;
      const alive = <T extends unknown[], R>(call: (...parameters: T) => Promise<R>) => {
        return async (...parameters: T): Promise<R> => {
          if (born !== life) throw new Error("the process is dead");
          return call(...parameters);
        };
      };
      const { list, lock, makeDirectory, open, remove, syncDirectory } = disk;
      return {
        list: alive(list),
        lock: alive(lock),
        makeDirectory: alive(makeDirectory),
        open: alive(open),
        remove: alive(remove),
        syncDirectory: alive(syncDirectory),
      };
    },
    content: (path) => files.get(path)!.bytes.slice(),
    setContent(path, bytes) {
      files.set(path, { bytes, durable: bytes.slice(), unsynced: [], nameDurable: true });
    },
    paths: () => [...files.keys()].sort(),
    loseTail(random) {
      disk.kill();
      for (const [path, file] of files) {
        if (!file.nameDurable && random.next() < 0.5) {
          files.delete(path);
          continue;
        }
        let bytes = file.durable;
        for (const write of file.unsynced) {
          for (let at = 0; at < write.bytes.length; at += sectorBytes) {
            if (random.next() < 0.5) continue;
            const sector = write.bytes.subarray(at, at + sectorBytes);
            const kept = random.next() < 0.9 ? sector : sector.subarray(0, random.below(sector.length + 1));
            bytes = overwritten(bytes, write.offset + at, kept);
          }
        }
        disk.setContent(path, bytes);
      }
    },
    kill() {
      life++;
      locks.clear();
    },
  };
  return disk;
}

function overwritten(bytes: Uint8Array, offset: number, part: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.max(bytes.length, offset + part.length));
  result.set(bytes);
  result.set(part, offset);
  return result;
}

function dirOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

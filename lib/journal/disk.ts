// The disk as a part that is handed in: the few calls that a journal needs of a file system, and the real one.
//
// A simulation hands in one that loses what was not synced, tears what was, and runs full on request. So the interface says
// exactly what may be relied on: what was written is durable after `sync`, a new file's name after `syncDirectory`.

import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, unlink } from "node:fs/promises";
import { type DirectoryLock, lockDirectory } from "#/lib/journal/lock.ts";

export interface Disk {
  /** With its parents; no error when it is there already. */
  makeDirectory(path: string): Promise<void>;
  /** The names in it, in no order. */
  list(path: string): Promise<readonly string[]>;
  /** Opens for reading and writing. `create`: the file must not exist yet; else it must. */
  open(path: string, options: { readonly create: boolean }): Promise<DiskFile>;
  remove(path: string): Promise<void>;
  /** Makes durable which files are in it. */
  syncDirectory(path: string): Promise<void>;
  /** Throws DirectoryLocked while another holder lives, here or in another process; a holder that was killed does not count. */
  lock(path: string): Promise<DirectoryLock>;
}

export interface DiskFile {
  sizeBytes(): Promise<number>;
  /** Fills `into` from that offset; the number of bytes read is smaller only at the end of the file. */
  read(into: Uint8Array, offset: number): Promise<number>;
  /** Writes all of it, or throws; then any part of it may have been written. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  /** What was written before the call is on disk when it resolves. After it threw nothing is known of any of it. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** The real one, for `main.ts` and for tests of it. */
export function systemDisk(): Disk {
  return {
    async makeDirectory(path) {
      await mkdir(path, { recursive: true });
    },
    list: (path) => readdir(path),
    async open(path, { create }) {
      const flags = constants.O_RDWR | (create ? constants.O_CREAT | constants.O_EXCL : 0);
      return systemFile(await open(path, flags, 0o640));
    },
    remove: (path) => unlink(path),
    async syncDirectory(path) {
      const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    },
    lock: lockDirectory,
  };
}

function systemFile(handle: FileHandle): DiskFile {
  return {
    sizeBytes: async () => (await handle.stat()).size,
    async read(into, offset) {
      let done = 0;
      while (done < into.length) {
        const { bytesRead } = await handle.read(into, done, into.length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    },
    async write(bytes, offset) {
      let done = 0;
      while (done < bytes.length) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
    },
    truncate: (sizeBytes) => handle.truncate(sizeBytes),
    sync: () => handle.datasync(),
    close: () => handle.close(),
  };
}

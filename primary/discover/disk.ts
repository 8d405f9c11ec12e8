// The few things that discovery asks of a file system, so that a simulated one can be handed in.

import { watch } from "node:fs";
import { open, readdir } from "node:fs/promises";

export interface Disk {
  /** Names in a directory. Rejects when there is no such directory. */
  list(directory: string): Promise<readonly string[]>;
  /** The first `bytesMax` bytes of a file. */
  read(path: string, bytesMax: number): Promise<Uint8Array>;
  /** Calls back soon after something in the directory changes. Throws when it cannot be watched. */
  watch(directory: string, onEvent: () => void): { close(): void };
}

export const systemDisk: Disk = {
  list: (directory) => readdir(directory),
  async read(path, bytesMax) {
    await using file = await open(path);
    const { size } = await file.stat();
    const bytes = Buffer.allocUnsafe(Math.min(bytesMax, size + 1));
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return bytes.subarray(0, length);
  },
  watch(directory, onEvent) {
    const watcher = watch(directory, { persistent: false }, onEvent);
    // An error ends the watching; the event makes the reader look, and watch anew.
    watcher.on("error", onEvent);
    return watcher;
  },
};

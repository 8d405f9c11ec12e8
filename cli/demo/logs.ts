// Keeps the children's log files bounded: one that has grown too long becomes `.1`, and begins anew.

import { copyFile, stat, truncate } from "node:fs/promises";
import { MiB } from "#/lib/bytes/units.ts";

/** Half an hour of a chatty process; with its predecessor that is twice as much on disk. */
const logBytesMax = 8 * MiB;

/** The children append, and the file is truncated under them: what they write in that very moment is lost, which a demo's log may. */
export async function rotateLogs(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const size = await stat(file).then(
      (found) => found.size,
      () => 0,
    );
    if (size <= logBytesMax) continue;
    await copyFile(file, `${file}.1`);
    await truncate(file);
  }
}

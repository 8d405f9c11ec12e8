// Small file systems for the data of chosen processes, so that a full disk can be had without filling anybody's real one.
//
// Each is a tmpfs, mounted below the drill's own data directory before the demo starts and unmounted at its end, however it
// ends; what one left that was itself killed with -9 goes when the next one starts. That takes root; without it there are none,
// and the drill says so.

import { execFileSync } from "node:child_process";
import { cp, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { MiB } from "#/lib/bytes/units.ts";

/** A process' data of ten minutes are a few MiB; a spool asks for 16 MiB of room before it opens anew. */
const diskBytes = 64 * MiB;
const writeBytes = 1 * MiB;
/** The name of what is mounted; the process id of its drill follows. */
const mountName = "heliograph-drill-";

export interface SmallDisks {
  /** Processes that have one. */
  readonly names: readonly string[];
  /** Why there are none. */
  readonly missing: string | undefined;
  /** Takes all the room that is left. */
  fill(name: string): Promise<void>;
  /** Gives it back. */
  empty(name: string): Promise<void>;
  /** Unmounts them; with `keepData` what they hold is copied to where they were. */
  close(options: { readonly keepData: boolean }): Promise<void>;
}

/** `names`: processes of the demo whose data directory will be `dataDir/NAME`. */
export async function mountSmallDisks(dataDir: string, names: readonly string[]): Promise<SmallDisks> {
  const mounted = new Set<string>();
  const unmount = (name: string) => {
    unmountDir(join(dataDir, name));
    mounted.delete(name);
  };
  const unmountAll = () => {
    for (const name of [...mounted]) unmount(name);
  };
  process.on("exit", unmountAll);
  let missing = process.getuid?.() === 0 ? undefined : "mounting a small file system takes root";
  if (missing === undefined) await unmountLeftovers();
  for (const name of missing === undefined ? names : []) {
    const dir = join(dataDir, name);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    try {
      const options = `size=${diskBytes},mode=700`;
      execFileSync("mount", ["-t", "tmpfs", "-o", options, mountName + process.pid, dir], { stdio: "pipe" });
      mounted.add(name);
    } catch (error) {
      // Root in a container may lack the right: the drill goes on without.
      missing = `no small file system can be mounted (${String((error as { stderr?: unknown }).stderr ?? error).trim()})`;
    }
  }
  const ballast = (name: string) => join(dataDir, name, "ballast");
  return {
    names: [...mounted],
    missing,
    async fill(name) {
      const file = await open(ballast(name), "a");
      try {
        const zeros = new Uint8Array(writeBytes);
        for (let length = writeBytes; length >= 1; ) {
          try {
            await file.write(zeros, 0, length);
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
            length = Math.floor(length / 2);
          }
        }
      } finally {
        await file.close();
      }
    },
    empty: (name) => rm(ballast(name), { force: true }),
    async close({ keepData }) {
      process.off("exit", unmountAll);
      for (const name of [...mounted]) {
        const dir = join(dataDir, name);
        const copy = `${dir}.copy`;
        await rm(ballast(name), { force: true });
        if (keepData) await cp(dir, copy, { recursive: true });
        unmount(name);
        if (!keepData) continue;
        await rm(dir, { recursive: true, force: true });
        await rename(copy, dir);
      }
    },
  };
}

function unmountDir(dir: string): void {
  // Lazily: a process that has not quite ended must not keep it.
  execFileSync("umount", ["--lazy", dir], { stdio: "pipe" });
}

async function unmountLeftovers(): Promise<void> {
  for (const line of (await readFile("/proc/mounts", "utf8")).split("\n")) {
    const [source = "", dir = ""] = line.split(" ");
    if (!source.startsWith(mountName) || isAlive(Number(source.slice(mountName.length)))) continue;
    unmountDir(dir);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // Root may signal anybody: there is none.
    return false;
  }
}

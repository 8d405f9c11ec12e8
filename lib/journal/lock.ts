// One directory, one process: two that append to the same journal would destroy it.
//
// The lock is a file that names its holder: process id, the time that process started, and the boot of the machine. A holder
// that was killed leaves the file behind, and the next one sees that no such process lives. (Node offers no flock.)

import { randomUUID } from "node:crypto";
import { link, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

const lockName = "lock";

/** Each round fails only when another process took or left the lock in the same moment. */
const roundsMax = 10;

export class DirectoryLocked extends Error {
  override readonly name = "DirectoryLocked";
  readonly code = "directory_locked";
}

export interface DirectoryLock {
  /** Gives it up; may be called twice. */
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  /** In clock ticks since boot: tells a process from a later one with the same id. */
  readonly started: string;
  readonly boot: string;
  /** Tells two holders within one process apart. */
  readonly token: string;
}

export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = join(directory, lockName);
  const self: Holder = {
    pid: process.pid,
    started: (await startOf(process.pid)) ?? "",
    boot: await bootId(),
    token: randomUUID(),
  };
  for (let round = 0; round < roundsMax; round++) {
    if (await create(path, self)) return { release: () => release(path, self) };
    const text = await readText(path);
    if (text === undefined) continue;
    const holder = parseHolder(text);
    if (holder && (await lives(holder, self.boot))) {
      throw new DirectoryLocked(
        `${directory}: in use by process ${holder.pid} (see ${path}); give each process its own`,
      );
    }
    await removeStale(path, text);
  }
  throw new DirectoryLocked(`${path}: other processes keep taking and leaving it`);
}

async function create(path: string, self: Holder): Promise<boolean> {
  // A link appears with its content in one step, so nobody ever sees a living holder's file empty.
  const whole = `${path}.${self.token}`;
  await writeFile(whole, `${JSON.stringify(self)}\n`, { mode: 0o640 });
  try {
    await link(whole, path);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  } finally {
    await unlink(whole);
  }
}

async function release(path: string, self: Holder): Promise<void> {
  const text = await readText(path);
  if (text !== undefined && parseHolder(text)?.token === self.token) await unlink(path);
}

/**
 * Moves the dead holder's file aside before it is removed. Should another process have been faster, what was moved is its
 * living lock: then it is put back.
 */
async function removeStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  if ((await readText(aside)) === stale) await unlink(aside);
  else await rename(aside, path);
}

/** An empty or torn lock file names nobody: the machine lost its power soon after it was made. */
function parseHolder(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Holder;
    return Number.isInteger(holder.pid) ? holder : undefined;
  } catch {
    return undefined;
  }
}

async function lives(holder: Holder, boot: string): Promise<boolean> {
  return holder.boot === boot && (await startOf(holder.pid)) === holder.started;
}

/** Field 22 of /proc/<pid>/stat (proc(5)); the second field may hold spaces, so it counts from the last parenthesis. */
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readText(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

async function bootId(): Promise<string> {
  return ((await readText("/proc/sys/kernel/random/boot_id")) ?? "").trim();
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ESRCH") return undefined;
    throw error;
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

// What a figure was measured on.

import { execFileSync } from "node:child_process";
import { arch, cpus, release, totalmem } from "node:os";

export function machineOf(): string {
  const known = cpus();
  const memory = (totalmem() / 2 ** 30).toFixed(1);
  return `${known.length} × ${known[0]?.model.trim()} (${arch()}), ${memory} GiB, Linux ${release()}, Node ${process.version}`;
}

export function commitOf(): string {
  const git = (...args: string[]) => execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
  try {
    const dirty = git("status", "--porcelain", "--untracked-files=no") !== "";
    return `${git("rev-parse", "--short", "HEAD")}${dirty ? " and changes" : ""}`;
  } catch {
    // Not every copy is a checkout.
    return "unknown";
  }
}

/** How many files a process may have open here. */
export function descriptorsAllowed(): number {
  const said = execFileSync("/bin/sh", ["-c", "ulimit -n"], { encoding: "utf8" }).trim();
  return said === "unlimited" ? 1_000_000 : Number(said);
}

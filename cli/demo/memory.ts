// What a process costs, from /proc: memory as its share of what is shared too (PSS), and CPU time.

import { readFile } from "node:fs/promises";
import { KiB } from "#/lib/bytes/units.ts";

export interface ProcessCost {
  /** Proportional set size: the sum over processes counts no page twice. */
  readonly memoryBytes: number;
  /** User and system time since its start. */
  readonly cpuSeconds: number;
}

/** USER_HZ is 100 on every Linux that Node runs on (proc(5)). */
const ticksPerSecond = 100;

/** Undefined when there is no such process (any more). */
export async function costOf(pid: number): Promise<ProcessCost | undefined> {
  try {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const memoryBytes = Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) * KiB;
    // The name in parentheses may hold spaces: columns count from behind it, utime is the 12th, stime the 13th.
    const columns = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { memoryBytes, cpuSeconds: (Number(columns[11]) + Number(columns[12])) / ticksPerSecond };
  } catch {
    // It ended between our looking and our reading.
    return undefined;
  }
}

// Whether a blow was felt. A fault that misses its mark proves nothing, so each is looked at while it lasts, in a place that it
// cannot help showing in.

import { readFile } from "node:fs/promises";
import type { DemoStatus, Federation } from "#/cli/drill/federation.ts";
import type { FaultKind, Step } from "#/cli/drill/script.ts";
import { CallError, call } from "#/cli/http.ts";
import { secondMs } from "#/lib/bytes/units.ts";

/** When a blow of that kind is said to have hit. */
export const evidence: Readonly<Record<FaultKind, string>> = {
  kill: "the process was running, and started once more",
  pause: "the kernel calls the process stopped, just before it goes on",
  cut: "batches pile up in the data centre's spools, because nothing becomes durable",
  cut_one_way: "the same",
  wipe: "the server's store had files, and it started without them",
  disk_full: "the process counted what its disk did not take",
  target: "the fleet counted answers that it spoiled, or refused",
};

const answerMsMax = 3000;

/** Looks before the blow, and again when the returned function is called, which must be before it is undone. */
export async function watchBlow(
  federation: Federation,
  status: DemoStatus,
  { kind, subject, lengthMs }: Step,
): Promise<() => Promise<boolean>> {
  switch (kind) {
    case "kill":
    case "wipe":
      // Whoever strikes waits for what tells.
      return async () => true;
    case "pause": {
      const { pid } = await federation.process(subject);
      return () => isStopped(pid);
    }
    case "cut":
    case "cut_one_way": {
      const before = await spooledIn(subject, status);
      return async () => {
        const after = await spooledIn(subject, status);
        // A batch a second each; half as many tell enough.
        const enough = lengthMs / secondMs / 2;
        return [...after].some(([name, batches]) => batches - (before.get(name) ?? batches) >= enough);
      };
    }
    case "disk_full": {
      const { httpUrl } = await federation.process(subject);
      const before = await refusedByDisk(httpUrl);
      return async () => (await refusedByDisk(httpUrl)) > before;
    }
    case "target": {
      const before = await federation.spoiled(status);
      return async () => (await federation.spoiled(status)) > before;
    }
    default:
      return kind satisfies never;
  }
}

async function isStopped(pid: number | undefined): Promise<boolean> {
  if (pid === undefined) return false;
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // proc(5): the state follows the name, which stands in parentheses and may hold more of them.
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
}

/** Batches that wait to be durable, by secondary; one that does not answer is left out. */
export async function spooledIn(datacenter: string, status: DemoStatus): Promise<ReadonlyMap<string, number>> {
  const secondaries = status.processes.filter(
    (process) => process.role === "secondary" && process.datacenter === datacenter,
  );
  const answers = await Promise.all(
    secondaries.map(async ({ name, httpUrl }) => {
      const batches = await sumOf(httpUrl, /^heliograph_secondary_spool_batches /);
      return batches === undefined ? [] : [[name, batches] as const];
    }),
  );
  return new Map(answers.flat());
}

async function refusedByDisk(httpUrl: string): Promise<number> {
  const counters = /^heliograph_(journal_write_errors_total\{|secondary_spool_write_errors_total )/;
  return (await sumOf(httpUrl, counters)) ?? 0;
}

/** The sum of the matching lines of its metrics; undefined when it does not answer. */
export async function sumOf(httpUrl: string, line: RegExp): Promise<number | undefined> {
  try {
    const { status, body } = await call(`${httpUrl}/metrics`, { timeoutMs: answerMsMax });
    if (status !== 200) return undefined;
    const lines = body.split("\n").filter((candidate) => line.test(candidate));
    return lines.reduce((sum, found) => sum + Number(found.slice(found.lastIndexOf(" ") + 1)), 0);
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    return undefined;
  }
}

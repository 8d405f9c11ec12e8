// Whether the federation is as it was before: everybody live, nothing waiting in a spool, no batch missing in a journal, and
// nobody ended whom the drill had not ended.

import { spooledIn, sumOf } from "#/cli/drill/evidence.ts";
import type { DemoStatus, Federation } from "#/cli/drill/federation.ts";

/** How long what was held back may take to arrive. */
export const wellMsMax = 300_000;
/** A batch a second, on its way for a few seconds: more than these wait for something. */
const spooledMax = 10;

/** Waits for it; what is still wrong after that long is told, a sentence each. Throws DrillError. */
export async function untilWell(federation: Federation): Promise<readonly string[]> {
  let ills: readonly string[] = [];
  await federation.until(wellMsMax, async () => {
    ills = await illsOf(federation);
    return ills.length === 0 ? true : undefined;
  });
  return ills.map((ill) => `${ill}, ${wellMsMax / 1000} s after everything was healed`);
}

async function illsOf(federation: Federation): Promise<readonly string[]> {
  const status = await federation.status();
  const ills: string[] = [];
  for (const { name } of status.datacenters) {
    for (const state of await federation.statesOf(name)) {
      if (state !== "live")
        ills.push(`a global ${state === undefined ? "does not answer for" : "calls"} ${name} ${state ?? ""}`.trim());
    }
    for (const [secondary, batches] of await spooledIn(name, status)) {
      if (batches > spooledMax) ills.push(`${batches} batches still wait in ${secondary}`);
    }
  }
  for (const { name, pid, role, httpUrl } of status.processes) {
    if (pid === undefined) ills.push(`${name} does not run`);
    if (role !== "primary" && role !== "global") continue;
    const missing = await sumOf(httpUrl, /^heliograph_replica_missing_batches\{/);
    if (missing !== 0) ills.push(`${name} ${missing === undefined ? "does not answer" : `lacks ${missing} batches`}`);
  }
  return ills;
}

/** Who ended without having been killed, a sentence each: the supervisor started it again, and nobody would have noticed. */
export function endedAlone(before: DemoStatus, after: DemoStatus, kills: ReadonlyMap<string, number>): string[] {
  return after.processes.flatMap(({ name, starts }) => {
    const startsBefore = before.processes.find((process) => process.name === name)?.starts ?? 0;
    const times = starts - startsBefore - (kills.get(name) ?? 0);
    return times > 0 ? [`${name} ended by itself, ${times} times (see ${after.dataDir}/logs/${name}.log)`] : [];
  });
}

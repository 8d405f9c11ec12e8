// What a running process takes over from a topology file that was changed, and what only its next start can.

import type { Datacenter, Topology } from "#/topology/schema.ts";

/** Who is scraped, by whom and how, and how long it is kept: a running primary takes these over. */
const takenOver: ReadonlySet<string> = new Set<keyof Topology>(["scrape_configs", "scrape_defaults", "head_retention"]);
const takenOverOfDatacenter: ReadonlySet<string> = new Set<keyof Datacenter>([
  "scrape_configs",
  "secondaries",
  "labels",
  "targets_max",
  "head_retention",
]);

export interface Reloaded {
  /** The topology that the process runs with from now on: what needs a restart is as it was. */
  readonly topology: Topology;
  /** Keys that were changed and wait for the next start, as `global` or `datacenters[ams].nats`. */
  readonly waiting: readonly string[];
}

/** For a process of that data centre. Others than it do not matter to its primaries, but for those in the list. */
export function reloaded(before: Topology, after: Topology, name: string): Reloaded {
  const [was, is] = [before, after].map(({ datacenters }) => datacenters.find((each) => each.name === name));
  const own = was && is && takeOver(was, is, takenOverOfDatacenter);
  const top = takeOver(before, { ...after, datacenters: before.datacenters }, takenOver);
  const datacenters = before.datacenters.map((each) => (each.name === name && own ? own.merged : each));
  return {
    topology: { ...top.merged, datacenters },
    waiting: [
      ...top.waiting,
      ...(own ? own.waiting.map((key) => `datacenters[${name}].${key}`) : [`datacenters[${name}]`]),
    ],
  };
}

function takeOver<T extends object>(before: T, after: T, keys: ReadonlySet<string>) {
  const waiting: string[] = [];
  const [was, is] = [before, after].map((each) => Object.entries(each)).map((entries) => new Map(entries));
  const merged = new Map(was);
  for (const key of new Set([...was!.keys(), ...is!.keys()])) {
    if (keys.has(key)) merged.set(key, is!.get(key));
    else if (JSON.stringify(was!.get(key)) !== JSON.stringify(is!.get(key))) waiting.push(key);
  }
  return { merged: Object.fromEntries(merged) as T, waiting };
}

// Finds a process in the topology by its name, which is unique over all tiers.

import { showValue } from "#/topology/problem.ts";
import type { Datacenter, Global, Primary, Secondary, Topology } from "#/topology/schema.ts";
import { nearest } from "#/topology/suggest.ts";

export type TopologyErrorCode = "unknown_name";

export class TopologyError extends Error {
  override readonly name = "TopologyError";
  readonly code: TopologyErrorCode;

  constructor(code: TopologyErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export type GlobalReplica = Global["pair"][number];

/** Throws TopologyError `unknown_name`, as the others do. */
export function findGlobal(topology: Topology, name: string): GlobalReplica {
  return topology.global.pair.find((replica) => replica.name === name) ?? unknown(topology, "global", name);
}

export function findPrimary(topology: Topology, name: string): { datacenter: Datacenter; primary: Primary } {
  for (const datacenter of topology.datacenters) {
    const primary = datacenter.primaries.find((candidate) => candidate.name === name);
    if (primary) return { datacenter, primary };
  }
  return unknown(topology, "primary", name);
}

export function findSecondary(topology: Topology, name: string): { datacenter: Datacenter; secondary: Secondary } {
  for (const datacenter of topology.datacenters) {
    const secondary = datacenter.secondaries.find((candidate) => candidate.name === name);
    if (secondary) return { datacenter, secondary };
  }
  return unknown(topology, "secondary", name);
}

export type Tier = "global" | "primary" | "secondary";

/** Names of a tier's processes, in the order of the file. */
export function namesOf(topology: Topology, tier: Tier): readonly string[] {
  if (tier === "global") return topology.global.pair.map(({ name }) => name);
  return topology.datacenters.flatMap((datacenter) =>
    (tier === "primary" ? datacenter.primaries : datacenter.secondaries).map(({ name }) => name),
  );
}

/** More names than this are not listed in a message. */
const namesShownMax = 12;

function unknown(topology: Topology, tier: Tier, name: string): never {
  const tiers: readonly Tier[] = ["global", "primary", "secondary"];
  const other = tiers.find((candidate) => namesOf(topology, candidate).includes(name));
  const known = namesOf(topology, tier);
  const meant = nearest(name, known);
  let hint = `known: ${known.slice(0, namesShownMax).join(", ")}${known.length > namesShownMax ? ", …" : ""}`;
  if (meant) hint = `did you mean ${meant}?`;
  if (other) hint = `that is a ${other}`;
  throw new TopologyError("unknown_name", `the topology has no ${tier} named ${showValue(name)}; ${hint}`);
}

// How a process of any tier reads the topology file at its start: the whole file must be right, and the process be in it.
// Paths of keys and passwords in it start at its own folder, wherever the process was started.

import { dirname, resolve } from "node:path";
import type { Logger } from "#/lib/logger/logger.ts";
import { StartRefused } from "#/lib/supervision/process.ts";
import { loadTopology } from "#/topology/file.ts";
import { TopologyError } from "#/topology/find.ts";
import { formatProblem, TopologyInvalid } from "#/topology/problem.ts";
import type { TlsFiles, Topology } from "#/topology/schema.ts";

/** Throws StartRefused with every problem of the file, or with the names that are known. Warnings are logged. */
export async function loadForProcess<T>(
  context: { readonly topologyFile: string; readonly log: Logger },
  find: (topology: Topology) => T,
): Promise<{ readonly topology: Topology; readonly found: T }> {
  try {
    const { topology: read, warnings } = await loadTopology(context.topologyFile);
    const topology = withAbsolutePaths(read, dirname(resolve(context.topologyFile)));
    for (const warning of warnings)
      context.log.warn({ problem: formatProblem(warning) }, "The topology file has a weakness.");
    return { topology, found: find(topology) };
  } catch (error) {
    if (error instanceof TopologyInvalid) {
      throw new StartRefused(
        "bad_topology",
        `the topology file is wrong\n${error.problems.map(formatProblem).join("\n")}`,
        {
          cause: error,
        },
      );
    }
    if (error instanceof TopologyError) throw new StartRefused("unknown_name", error.message, { cause: error });
    throw error;
  }
}

function withAbsolutePaths(topology: Topology, folder: string): Topology {
  const absolute = <T extends object>(parts: T, keys: readonly (keyof T)[]): T => {
    const found = keys.flatMap((key) => (parts[key] === undefined ? [] : [[key, resolve(folder, String(parts[key]))]]));
    return { ...parts, ...Object.fromEntries(found) };
  };
  const tlsOf = (files: TlsFiles | undefined) => files && absolute(files, ["ca_file", "cert_file", "key_file"]);
  const { global, primary, secondary } = topology.tls;
  const tls = { global: tlsOf(global), primary: tlsOf(primary), secondary: tlsOf(secondary) };
  return {
    ...topology,
    tls: Object.fromEntries(Object.entries(tls).filter(([, files]) => files)),
    global: { ...topology.global, nats: absolute(topology.global.nats, ["password_file"]) },
    datacenters: topology.datacenters.map((datacenter) => ({
      ...datacenter,
      nats: absolute(datacenter.nats, ["password_file", "leaf_password_file"]),
    })),
  };
}

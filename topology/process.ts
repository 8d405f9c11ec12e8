// How a process of any tier reads the topology file at its start: the whole file must be right, and the process be in it.

import type { Logger } from "#/lib/logger/logger.ts";
import { StartRefused } from "#/lib/supervision/process.ts";
import { loadTopology } from "#/topology/file.ts";
import { TopologyError } from "#/topology/find.ts";
import { formatProblem, TopologyInvalid } from "#/topology/problem.ts";
import type { Topology } from "#/topology/schema.ts";

/** Throws StartRefused with every problem of the file, or with the names that are known. Warnings are logged. */
export async function loadForProcess<T>(
  context: { readonly topologyFile: string; readonly log: Logger },
  find: (topology: Topology) => T,
): Promise<{ readonly topology: Topology; readonly found: T }> {
  try {
    const { topology, warnings } = await loadTopology(context.topologyFile);
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

// Checks a topology file for people, and prints what follows from it.

import { complain, say } from "#/cli/command.ts";
import { exitCodes, type ParsedOptions } from "#/cli/options.ts";
import { loadTopology } from "#/topology/file.ts";
import { topologyJsonSchema } from "#/topology/generate.ts";
import { countOf, formatProblem, type Problem, TopologyInvalid } from "#/topology/problem.ts";
import type { Topology } from "#/topology/schema.ts";

export async function runCheck(options: ParsedOptions): Promise<number> {
  const file = options.positionals[0]!;
  const loaded = await loadOrComplain(file);
  if (!loaded) return exitCodes.badTopology;
  const { topology, warnings } = loaded;
  if (warnings.length > 0 && options.isSet("strict")) {
    complain(`${file} has ${countOf(warnings.length, "warning")}, and --strict counts them.`);
    return exitCodes.badTopology;
  }
  say(`${file} is right: ${summary(topology)}.`);
  return exitCodes.ok;
}

export function runSchema(): Promise<number> {
  say(topologyJsonSchema().trimEnd());
  return Promise.resolve(exitCodes.ok);
}

/** Undefined when the file is wrong: every problem has then been told. Warnings are told in either case. */
export async function loadOrComplain(
  file: string,
): Promise<{ topology: Topology; warnings: readonly Problem[] } | undefined> {
  try {
    const loaded = await loadTopology(file);
    for (const warning of loaded.warnings) complain(formatProblem(warning));
    return loaded;
  } catch (error) {
    if (!(error instanceof TopologyInvalid)) throw error;
    for (const problem of error.problems) complain(formatProblem(problem));
    const errors = error.problems.filter(({ severity }) => severity === "error");
    complain(`${file} is wrong: ${countOf(errors.length, "error")}.`);
    return undefined;
  }
}

function summary({ datacenters, global, scrape_configs }: Topology): string {
  const primaries = datacenters.flatMap((datacenter) => datacenter.primaries);
  const secondaries = datacenters.flatMap((datacenter) => datacenter.secondaries);
  const everywhere = scrape_configs.flatMap(staticTargets).length * datacenters.length;
  const targets = datacenters.flatMap((datacenter) => datacenter.scrape_configs.flatMap(staticTargets)).length;
  return [
    countOf(global.pair.length, "global"),
    countOf(datacenters.length, "data centre"),
    countOf(primaries.length, "primary").replace("primarys", "primaries"),
    countOf(secondaries.length, "secondary").replace("secondarys", "secondaries"),
    countOf(targets + everywhere, "static target"),
  ].join(", ");
}

function staticTargets(config: Topology["scrape_configs"][number]): readonly string[] {
  return config.static_configs.flatMap(({ targets }) => targets);
}

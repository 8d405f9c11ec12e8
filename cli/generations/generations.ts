// Asks whichever primary answers, and prints its log of generations as a table.

import { complain, say } from "#/cli/command.ts";
import { renderGenerations } from "#/cli/generations/table.ts";
import { exitCodes, type ParsedOptions } from "#/cli/options.ts";
import { askPrimaries, primariesOf } from "#/cli/primaries.ts";
import type { GenerationsAnswer } from "#/lib/model/history.ts";
import { generationsListedMax } from "#/lib/page/assigned/generations.ts";
import { TopologyInvalid } from "#/topology/problem.ts";

export async function runGenerations(
  options: ParsedOptions,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const limit = options.whole("limit", { min: 1, max: generationsListedMax });
  const query = new URLSearchParams({ limit: String(limit) });
  // With a topology file it says whom to ask; a global must be told which of all.
  if (options.isSet("server") && options.isSet("datacenter")) query.set("datacenter", options.required("datacenter"));
  const primaries = await primariesOf(options, env).catch(badTopology);
  if (!primaries) return exitCodes.badTopology;
  const { body, primary, status } = await askPrimaries(primaries, `/api/v1/generations?${query.toString()}`, {
    timeoutMs: options.durationMs("timeout"),
  });
  if (options.isSet("json")) {
    say(body.trimEnd());
    return status === 200 ? exitCodes.ok : exitCodes.failed;
  }
  const answer = read(body);
  if (answer?.status !== "success" || !Array.isArray(answer.data?.generations)) {
    complain(
      answer?.status === "error"
        ? `heliograph generations: ${answer.error}`
        : `heliograph generations: ${primary.url} is no primary and no global: it answered ${status} with ${JSON.stringify(body.slice(0, 80))}`,
    );
    return exitCodes.failed;
  }
  say(renderGenerations(answer.data.generations));
  return exitCodes.ok;
}

/** Its problems were told where they were found. */
function badTopology(error: unknown): undefined {
  if (error instanceof TopologyInvalid) return undefined;
  throw error;
}

function read(body: string): GenerationsAnswer | { readonly status: "error"; readonly error: string } | undefined {
  try {
    return JSON.parse(body) as GenerationsAnswer;
  } catch {
    // Something else lives at that address: the caller says so.
    return undefined;
  }
}

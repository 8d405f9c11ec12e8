// Asks whichever primary answers, and prints secondaries and targets as tables.

import { complain, say } from "#/cli/command.ts";
import { exitCodes, type ParsedOptions, UsageError } from "#/cli/options.ts";
import { askPrimaries, primariesOf } from "#/cli/primaries.ts";
import { renderTargets, type TargetsAnswer } from "#/cli/targets/table.ts";
import { orders } from "#/lib/page/assigned/select.ts";
import { conditions } from "#/lib/page/assigned/source.ts";
import { TopologyInvalid } from "#/topology/problem.ts";

const limitMax = 1e9;

export async function runTargets(
  options: ParsedOptions,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const limit = options.whole("limit", { min: 0, max: limitMax });
  const query = new URLSearchParams({ sort: oneOf(options.required("sort"), orders, "--sort") });
  const show = options.text("show");
  if (show !== undefined) query.set("show", oneOf(show, conditions, "--show"));
  for (const name of ["owner", "job", "find"]) {
    const value = options.text(name);
    if (value !== undefined) query.set(name, value);
  }
  // With a topology file it says whom to ask; a global must be told which of all.
  if (options.isSet("server") && options.isSet("datacenter")) query.set("datacenter", options.required("datacenter"));
  if (limit > 0) query.set("limit", String(limit));
  const primaries = await primariesOf(options, env, options.text("owner")).catch(badTopology);
  if (!primaries) return exitCodes.badTopology;
  const { body, primary, status } = await askPrimaries(primaries, `/api/v1/targets?${query.toString()}`, {
    timeoutMs: options.durationMs("timeout"),
  });
  if (options.isSet("json")) {
    say(body.trimEnd());
    return status === 200 ? exitCodes.ok : exitCodes.failed;
  }
  const answer = read(body);
  if (answer?.status !== "success" || answer.data.heliograph?.datacenters === undefined) {
    complain(
      answer?.status === "error"
        ? `heliograph targets: ${answer.error}`
        : `heliograph targets: ${primary.url} is no primary and no global: it answered ${status} with ${JSON.stringify(body.slice(0, 80))}`,
    );
    return exitCodes.failed;
  }
  const width = process.stdout.columns;
  say(renderTargets(answer.data, { ...(width !== undefined && { width }) }));
  return exitCodes.ok;
}

/** Its problems were told where they were found. */
function badTopology(error: unknown): undefined {
  if (error instanceof TopologyInvalid) return undefined;
  throw error;
}

function oneOf(text: string, known: readonly string[], option: string): string {
  if (known.includes(text)) return text;
  throw new UsageError(`${option}: expected one of ${known.join(", ")}, got "${text}"`);
}

type Read =
  | { readonly status: "success"; readonly data: TargetsAnswer }
  | { readonly status: "error"; readonly error: string };

function read(body: string): Read | undefined {
  try {
    return JSON.parse(body) as Read;
  } catch {
    // Something else lives at that address: the caller says so.
    return undefined;
  }
}

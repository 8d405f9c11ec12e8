// Asks whichever server answers, and prints its ledger as tables, or the cause of one missing sample as a sentence.

import { complain, say } from "#/cli/command.ts";
import { renderLedger } from "#/cli/ledger/table.ts";
import { exitCodes, type ParsedOptions, UsageError } from "#/cli/options.ts";
import { askPrimaries, primariesOf } from "#/cli/primaries.ts";
import type { LedgerAnswer } from "#/lib/ledger/account.ts";
import type { WhyAnswer } from "#/lib/ledger/why.ts";
import { TopologyInvalid } from "#/topology/problem.ts";

type Env = Readonly<Record<string, string | undefined>>;

const stepOf: Readonly<Record<string, string>> = { owner: "total", minute: "minute", generation: "generation" };

export async function runLedger(options: ParsedOptions, env: Env): Promise<number> {
  const by = options.required("by");
  const step = stepOf[by];
  if (step === undefined) throw new UsageError(`--by: expected owner, minute or generation, got "${by}"`);
  const query = new URLSearchParams({ step, since: options.required("since") });
  const until = options.text("until");
  if (until !== undefined) query.set("until", until);
  const answered = await ask<LedgerAnswer>(options, env, { name: "ledger", path: "/api/v1/ledger", query });
  if (typeof answered === "number") return answered;
  const { datacenters } = answered.data;
  say(renderLedger(datacenters));
  return datacenters.every(({ total }) => total.unexplained === 0) ? exitCodes.ok : exitCodes.failed;
}

export async function runWhy(options: ParsedOptions, env: Env): Promise<number> {
  const [target, time] = options.positionals as [string, string];
  const query = new URLSearchParams({ target, time });
  const answered = await ask<WhyAnswer>(options, env, { name: "ledger why", path: "/api/v1/ledger/why", query });
  if (typeof answered === "number") return answered;
  say(answered.data.sentence);
  return exitCodes.ok;
}

/** The exit code when there is nothing to render. */
async function ask<A extends { readonly status: "success" }>(
  options: ParsedOptions,
  env: Env,
  { name, path, query }: { readonly name: string; readonly path: string; readonly query: URLSearchParams },
): Promise<A | number> {
  // With a topology file it says whom to ask; a global must be told which of all.
  if (options.isSet("server") && options.isSet("datacenter")) query.set("datacenter", options.required("datacenter"));
  const primaries = await primariesOf(options, env).catch(badTopology);
  if (!primaries) return exitCodes.badTopology;
  const { body, primary, status } = await askPrimaries(primaries, `${path}?${query.toString()}`, {
    timeoutMs: options.durationMs("timeout"),
  });
  if (options.isSet("json")) {
    say(body.trimEnd());
    return status === 200 ? exitCodes.ok : exitCodes.failed;
  }
  const answer = read<A>(body);
  if (answer?.status === "success") return answer;
  complain(
    answer?.status === "error"
      ? `heliograph ${name}: ${answer.error}`
      : `heliograph ${name}: ${primary.url} is no primary and no global: it answered ${status} with ${JSON.stringify(body.slice(0, 80))}`,
  );
  return exitCodes.failed;
}

/** Its problems were told where they were found. */
function badTopology(error: unknown): undefined {
  if (error instanceof TopologyInvalid) return undefined;
  throw error;
}

function read<A>(body: string): A | { readonly status: "error"; readonly error: string } | undefined {
  try {
    return JSON.parse(body) as A;
  } catch {
    // Something else lives at that address: the caller says so.
    return undefined;
  }
}

// Asks the primary that has the say, whichever of the two that is.

import { complain, say } from "#/cli/command.ts";
import { CallError, call } from "#/cli/http.ts";
import { exitCodes, type ParsedOptions } from "#/cli/options.ts";
import { primariesOf } from "#/cli/primaries.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { DrainAnswer } from "#/primary/operate.ts";

type Answered =
  | { readonly status: "success"; readonly data: DrainAnswer }
  | { readonly status: "error"; readonly errorType: string; readonly error: string };

export async function runDrain(
  options: ParsedOptions,
  env: Readonly<Record<string, string | undefined>>,
  wanted: boolean,
): Promise<number> {
  const name = options.positionals[0]!;
  const primaries = (await primariesOf(options, env, name)).map(({ url }) => url);
  const timeoutMs = options.durationMs("timeout");
  const answer = await askToDrain(primaries, { name, wanted, force: options.isSet("force"), timeoutMs });
  if ("reasons" in answer) {
    for (const reason of answer.reasons) complain(`heliograph secondary ${wanted ? "drain" : "undrain"}: ${reason}`);
    return exitCodes.failed;
  }
  return tell(answer);
}

export interface DrainAsked {
  readonly name: string;
  readonly wanted: boolean;
  /** Also when nobody else has room for its targets. */
  readonly force: boolean;
  readonly timeoutMs: number;
}

/** Asks one primary after the other until one does it; else why none did. */
export async function askToDrain(
  primaries: readonly string[],
  { force, name, timeoutMs, wanted }: DrainAsked,
): Promise<DrainAnswer | { readonly reasons: readonly string[] }> {
  const path = `/api/v1/secondaries/${encodeURIComponent(name)}/${wanted ? "drain" : "undrain"}${force ? "?force=true" : ""}`;
  const reasons: string[] = [];
  for (const url of primaries) {
    const answer = await ask(`${url}${path}`, timeoutMs, reasons);
    if (!answer) continue;
    if (answer.status === "success") return answer.data;
    reasons.push(answer.error);
    // The other one may have the say.
    if (answer.errorType !== "unavailable") break;
  }
  return { reasons };
}

async function ask(url: string, timeoutMs: number, reasons: string[]): Promise<Answered | undefined> {
  try {
    const { body, status } = await call(url, { method: "POST", timeoutMs });
    try {
      return JSON.parse(body) as Answered;
    } catch {
      reasons.push(`${url} is no primary: it answered ${status} with ${JSON.stringify(body.slice(0, 80))}`);
    }
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    reasons.push(error.message);
  }
  return undefined;
}

async function tell(answer: DrainAnswer): Promise<number> {
  const { draining, generation, secondary, targets, unassigned, validFromMs } = answer;
  // Until then it scrapes on.
  const waitMs = validFromMs - Date.now();
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(waitMs, 10 * secondMs)));
  if (draining) say(`${secondary} has no targets any more (generation ${generation}); it may be stopped.`);
  else say(`${secondary} has ${targets} targets (generation ${generation}).`);
  if (unassigned > 0) complain(`${unassigned} targets are scraped by nobody: the secondaries have no room for them.`);
  return exitCodes.ok;
}

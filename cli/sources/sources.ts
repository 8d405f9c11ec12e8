// Asks both primaries of a data centre for their lists of targets, and tells both what is confirmed.

import { complain, say } from "#/cli/command.ts";
import { CallError, call } from "#/cli/http.ts";
import { exitCodes, type ParsedOptions } from "#/cli/options.ts";
import { type PrimaryAddress, primariesOf } from "#/cli/primaries.ts";
import { renderSources } from "#/cli/sources/table.ts";
import type { ConfirmAnswer, SourcesAnswer } from "#/primary/sources.ts";

type Env = Readonly<Record<string, string | undefined>>;

export async function runSources(options: ParsedOptions, env: Env): Promise<number> {
  const primaries = await primariesOf(options, env);
  const asked = primaries.map((primary) =>
    ask<SourcesAnswer>(primary, "/api/v1/sources", undefined, options.durationMs("timeout")),
  );
  const answers: SourcesAnswer[] = [];
  for (const answer of await Promise.all(asked)) {
    if (typeof answer === "string") complain(`heliograph sources: ${answer}`);
    else answers.push(answer);
  }
  if (answers.length === 0) return exitCodes.failed;
  if (options.isSet("json")) for (const answer of answers) say(JSON.stringify(answer));
  else say(renderSources(answers));
  return exitCodes.ok;
}

export async function runConfirm(options: ParsedOptions, env: Env): Promise<number> {
  const job = options.positionals[0]!;
  const file = options.text("file");
  const form = { job, ...(file !== undefined && { file }) };
  const primaries = await primariesOf(options, env);
  const asked = primaries.map((primary) =>
    ask<ConfirmAnswer>(primary, "/api/v1/sources/confirm", form, options.durationMs("timeout")),
  );
  let failed = false;
  for (const answer of await Promise.all(asked)) {
    if (typeof answer === "string") {
      failed = true;
      complain(`heliograph sources confirm: ${answer}`);
      continue;
    }
    const { confirmed, primary } = answer;
    if (confirmed.length === 0) say(`${primary}: nothing was held.`);
    for (const { file, lost } of confirmed) {
      say(`${primary}: ${lost} targets of ${file === "" ? job : file} are let go.`);
    }
  }
  return failed ? exitCodes.failed : exitCodes.ok;
}

/** Its answer's data, or a sentence why there is none. */
async function ask<T>(
  primary: PrimaryAddress,
  path: string,
  form: Readonly<Record<string, string>> | undefined,
  timeoutMs: number,
): Promise<T | string> {
  const who = primary.name || primary.url;
  try {
    const { body, status } = await call(`${primary.url}${path}`, { ...(form && { form }), timeoutMs });
    try {
      const answer = JSON.parse(body) as { readonly data?: T; readonly error?: string };
      return answer.data ?? `${who}: ${answer.error ?? `answered ${status}`}`;
    } catch {
      return `${primary.url} is no primary that knows this: it answered ${status} with ${JSON.stringify(body.slice(0, 80))}`;
    }
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    return `${who}: ${error.message}`;
  }
}

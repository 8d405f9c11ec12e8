// Asks over Prometheus' HTTP API and prints what comes back.

import { complain, say } from "#/cli/command.ts";
import { CallError, call } from "#/cli/http.ts";
import { exitCodes, type ParsedOptions, readDuration, UsageError } from "#/cli/options.ts";
import { readAnswer, renderAnswer } from "#/cli/query/table.ts";

/** The demo's first global, with its ports as they are by default. */
const serverDefault = "http://127.0.0.1:9400";
/** Curves of this many points fit into a line. */
const pointsDefault = 60;
export async function runQuery(
  options: ParsedOptions,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const nowSeconds = Date.now() / 1000;
  const moment = (option: string) => readTime(options.text(option), `--${option}`, nowSeconds);
  const server = options.text("server") ?? env.HELIOGRAPH_SERVER ?? serverDefault;
  const expression = options.positionals[0]!;
  const parameters: Record<string, string> = { query: expression };
  const start = moment("start");
  if (start === undefined) {
    for (const option of ["end", "step"]) {
      if (options.isSet(option)) throw new UsageError(`--${option} needs --start: only a range has it`);
    }
    parameters.time = String(moment("time") ?? nowSeconds);
  } else {
    if (options.isSet("time")) throw new UsageError("--time and --start exclude each other");
    const end = moment("end") ?? nowSeconds;
    if (end < start) throw new UsageError("--end lies before --start");
    const step = options.isSet("step") ? options.durationMs("step") / 1000 : niceStep((end - start) / pointsDefault);
    if (step === 0) throw new UsageError("--step: expected more than 0");
    Object.assign(parameters, { start: String(start), end: String(end), step: String(step) });
  }
  const path = start === undefined ? "/api/v1/query" : "/api/v1/query_range";
  const url = serverUrl(server, path);
  const { status, body } = await ask(url, parameters, options.durationMs("timeout"));
  if (options.isSet("json")) {
    say(body.trimEnd());
    return status === 200 ? exitCodes.ok : exitCodes.failed;
  }
  const answer = readAnswer(body);
  if (!answer) {
    const start = JSON.stringify(body.slice(0, 80));
    complain(`heliograph query: ${url.href} is not Prometheus' API: it answered ${status} with ${start}`);
    return exitCodes.failed;
  }
  if (answer.status === "error") {
    complain(`heliograph query: ${answer.error}`);
    return exitCodes.failed;
  }
  for (const note of [...(answer.warnings ?? []), ...(answer.infos ?? [])]) complain(`note: ${note}`);
  const width = process.stdout.columns;
  say(renderAnswer(answer.data, { ...(width !== undefined && { width }) }));
  return exitCodes.ok;
}

async function ask(url: URL, form: Readonly<Record<string, string>>, timeoutMs: number) {
  try {
    return await call(url, { form, timeoutMs });
  } catch (error) {
    if (!(error instanceof CallError) || error.code !== "unreachable") throw error;
    throw new CallError("unreachable", `${error.message}; --server says where to ask`, { cause: error });
  }
}

function serverUrl(server: string, path: string): URL {
  const base = /^https?:\/\//.test(server) ? server : `http://${server}`;
  if (!URL.canParse(base)) throw new UsageError(`--server: expected http://host:port, got "${server}"`);
  return new URL(base.replace(/\/+$/, "") + path);
}

/** Seconds. A duration means that long ago. */
function readTime(text: string | undefined, where: string, nowSeconds: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{9,}(\.\d+)?$/.test(text)) return Number(text);
  if (/^\d{4}-\d\d-\d\d/.test(text)) {
    const ms = Date.parse(text);
    if (Number.isFinite(ms)) return ms / 1000;
  }
  if (/^-?(\d+(d|h|ms|m|s))+$/.test(text)) return nowSeconds - readDuration(text.replace(/^-/, ""), where) / 1000;
  throw new UsageError(
    `${where}: expected Unix seconds, 2026-11-20T17:00:00Z or a duration ago such as 1h, got "${text}"`,
  );
}

/** At least that many seconds, and a number that divides minutes and hours where it can. */
function niceStep(seconds: number): number {
  const nice = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];
  return nice.find((candidate) => candidate >= seconds) ?? Math.ceil(seconds / 86_400) * 86_400;
}

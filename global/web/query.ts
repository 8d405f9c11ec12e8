// The query box: what was asked, what came back, and the address that shares it.
//
// One question runs both ways: as an instant query for the table and as a range query for the graph. A newer question makes
// an older one's answer void.

import { signal } from "@preact/signals";
import { serverNowMs } from "#/global/web/federation.ts";

export const ranges = [
  { name: "15m", words: "15 minutes", seconds: 900, stepSeconds: 5 },
  { name: "1h", words: "1 hour", seconds: 3600, stepSeconds: 15 },
  { name: "2h", words: "2 hours", seconds: 7200, stepSeconds: 30 },
] as const;
export type RangeName = (typeof ranges)[number]["name"];

export const exprDefault = "sum by (datacenter) (up)";

/** The graph draws this many series and the table lists this many; more are unreadable, and the page says so. */
export const drawnSeriesMax = 50;
export const listedSeriesMax = 200;

/** A graph on the page stays the present. */
const refreshMs = 15_000;
const answerMsMax = 60_000;

export interface Series {
  /** Labels as text; equal for equal label sets. */
  readonly key: string;
  readonly name: string;
  readonly labels: readonly (readonly [string, string])[];
  /** By step of the graph; null where there is no sample. Empty when the graph has nothing of it. */
  readonly values: readonly (number | null)[];
  /** The instant query's value; undefined when it has none now. */
  readonly now: number | undefined;
}

export interface Answer {
  readonly expr: string;
  readonly range: RangeName;
  readonly atMs: number;
  readonly timesS: readonly number[];
  readonly series: readonly Series[];
  /** Set instead of series for a scalar or string. */
  readonly text: string | undefined;
  /** Warnings and infos of the server. */
  readonly notes: readonly string[];
  /** The server's own text, of either question. */
  readonly errors: readonly string[];
}

const fromAddress = readAddress();
export const expr = signal(fromAddress.expr);
export const range = signal<RangeName>(fromAddress.range);
export const answer = signal<Answer | undefined>(undefined);
export const running = signal(false);

let inFlight: AbortController | undefined;
let asked = fromAddress;

export function startQuerying(): void {
  addEventListener("popstate", () => {
    asked = readAddress();
    expr.value = asked.expr;
    range.value = asked.range;
    void ask();
  });
  setInterval(() => {
    if (!document.hidden && !running.value) void ask();
  }, refreshMs);
  void ask();
}

/** Runs what is in the box, and puts it into the address. */
export function run(): void {
  const next = { expr: expr.value.trim(), range: range.value };
  if (next.expr !== asked.expr || next.range !== asked.range) {
    history.pushState(null, "", `?${new URLSearchParams({ q: next.expr, range: next.range })}`);
  }
  asked = next;
  void ask();
}

function readAddress(): { expr: string; range: RangeName } {
  const search = new URLSearchParams(location.search);
  return {
    expr: search.get("q") ?? exprDefault,
    range: ranges.find(({ name }) => name === search.get("range"))?.name ?? "15m",
  };
}

async function ask(): Promise<void> {
  inFlight?.abort();
  const controller = new AbortController();
  inFlight = controller;
  const question = asked;
  if (question.expr === "") {
    answer.value = undefined;
    running.value = false;
    return;
  }
  running.value = true;
  const signal = AbortSignal.any([controller.signal, AbortSignal.timeout(answerMsMax)]);
  const { seconds, stepSeconds } = ranges.find(({ name }) => name === question.range)!;
  // By the server's clock, which samples are stamped with. Steps are aligned, so that a refresh moves the graph on instead of
  // shifting every point.
  const endS = Math.floor(serverNowMs.peek() / 1000 / stepSeconds) * stepSeconds;
  const startS = endS - seconds;
  const query = question.expr;
  const window = { start: String(startS), end: String(endS), step: String(stepSeconds) };
  const [instant, graph] = await Promise.all([
    call("/api/v1/query", { query }, signal),
    call("/api/v1/query_range", { query, ...window }, signal),
  ]);
  if (controller.signal.aborted) return;
  running.value = false;
  const timesS = Array.from({ length: seconds / stepSeconds + 1 }, (_, i) => startS + i * stepSeconds);
  answer.value = merge(question, timesS, instant, graph);
}

interface Sampled {
  readonly metric: Readonly<Record<string, string>>;
  readonly value?: readonly [number, string];
  readonly values?: readonly (readonly [number, string])[];
}

type Data =
  | { readonly resultType: "vector" | "matrix"; readonly result: readonly Sampled[] }
  | { readonly resultType: "scalar" | "string"; readonly result: readonly [number, string] };

interface Called {
  readonly data?: Data;
  readonly notes: readonly string[];
  readonly error?: string;
}

async function call(path: string, parameters: Record<string, string>, signal: AbortSignal): Promise<Called> {
  try {
    const response = await fetch(path, { method: "POST", body: new URLSearchParams(parameters), signal });
    const text = await response.text();
    const body = parseBody(text);
    if (body?.status === "success")
      return { data: body.data, notes: [...(body.warnings ?? []), ...(body.infos ?? [])] };
    const error = body?.error ?? (text.slice(0, 300) || response.statusText);
    return { notes: [], error: error || `The server answered ${response.status}.` };
  } catch (error) {
    if (error instanceof DOMException && error.name === "TimeoutError") {
      return { notes: [], error: `The server gave no answer within ${answerMsMax / 1000} s.` };
    }
    return { notes: [], error: "The server cannot be reached." };
  }
}

function parseBody(text: string) {
  try {
    return JSON.parse(text) as {
      status?: string;
      data: Data;
      error?: string;
      warnings?: string[];
      infos?: string[];
    };
  } catch {
    // Not JSON: the caller shows the text itself.
    return undefined;
  }
}

function merge(
  question: { readonly expr: string; readonly range: RangeName },
  timesS: readonly number[],
  instant: Called,
  graph: Called,
): Answer {
  const single = instant.data?.resultType === "scalar" || instant.data?.resultType === "string";
  const rows = new Map<string, Series>();
  const entry = (metric: Readonly<Record<string, string>>): Series => {
    const { __name__: name = "", ...rest } = metric;
    const labels = Object.entries(rest);
    const key = labelText(name, labels);
    return rows.get(key) ?? { key, name, labels, values: [], now: undefined };
  };
  // The server's order of the instant answer leads: `sort` and `topk` mean something.
  if (instant.data?.resultType === "vector") {
    for (const { metric, value } of instant.data.result) {
      const series = entry(metric);
      rows.set(series.key, { ...series, now: value ? Number(value[1]) : undefined });
    }
  }
  if (instant.data?.resultType === "scalar") rows.set("{}", { ...entry({}), now: Number(instant.data.result[1]) });
  if (graph.data?.resultType === "matrix") {
    for (const { metric, values = [] } of graph.data.result) {
      const series = entry(metric);
      rows.set(series.key, { ...series, values: onSteps(values, timesS) });
    }
  }
  const errors = [instant.error, graph.error].filter((error) => error !== undefined);
  return {
    ...question,
    atMs: serverNowMs.peek(),
    timesS,
    series: [...rows.values()],
    text: single ? String((instant.data!.result as readonly [number, string])[1]) : undefined,
    notes: [...new Set([...instant.notes, ...graph.notes])],
    errors: [...new Set(errors)],
  };
}

/** NaN and the infinities cannot be drawn, and are gaps. */
function onSteps(values: readonly (readonly [number, string])[], timesS: readonly number[]): (number | null)[] {
  const column = new Array<number | null>(timesS.length).fill(null);
  const firstS = timesS[0]!;
  const stepS = timesS[1]! - firstS;
  for (const [timeS, text] of values) {
    const step = Math.round((timeS - firstS) / stepS);
    const value = Number(text);
    if (step >= 0 && step < column.length && Number.isFinite(value)) column[step] = value;
  }
  return column;
}

function labelText(name: string, labels: readonly (readonly [string, string])[]): string {
  const inner = labels.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(", ");
  return inner === "" && name !== "" ? name : `${name}{${inner}}`;
}

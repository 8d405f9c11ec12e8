// Reads raw samples back over Prometheus' API: what was stored, with the timestamps that it was stored under.

import type { ReadTarget, Sample } from "#/cli/drill/slots.ts";
import { rowKey } from "#/cli/drill/slots.ts";
import { call } from "#/cli/http.ts";
import { readAnswer } from "#/cli/query/table.ts";

/** A target's 100 series over this long are about a megabyte of JSON. */
const chunkMs = 300_000;
const answerMsMax = 60_000;

/** Labels that belong to the target and not to the row. */
const targetLabels = new Set(["__name__", "datacenter", "instance", "job", "region"]);

export type ReadBackErrorCode = "query_failed";

export class ReadBackError extends Error {
  override readonly name = "ReadBackError";
  readonly code: ReadBackErrorCode;

  constructor(code: ReadBackErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export interface TimeSpan {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Every series that the selector matches, with its samples in the span. Throws ReadBackError, CallError. */
export async function readSeries(
  server: string,
  selector: string,
  { fromMs, untilMs }: TimeSpan,
): Promise<readonly { metric: Readonly<Record<string, string>>; samples: readonly Sample[] }[]> {
  const found = new Map<string, { metric: Readonly<Record<string, string>>; samples: Map<number, number> }>();
  for (let endMs = Math.min(untilMs, fromMs + chunkMs); ; endMs = Math.min(untilMs, endMs + chunkMs)) {
    const form = { query: `${selector}[${chunkMs}ms]`, time: (endMs / 1000).toFixed(3) };
    const { status, body } = await call(`${server}/api/v1/query`, { form, timeoutMs: answerMsMax });
    const answer = readAnswer(body);
    if (answer?.status !== "success" || answer.data.resultType !== "matrix") {
      const why = answer?.status === "error" ? answer.error : body.slice(0, 200);
      throw new ReadBackError("query_failed", `${server} answered ${status} to ${form.query}: ${why}`);
    }
    for (const { metric, values } of answer.data.result) {
      const key = JSON.stringify(Object.entries(metric).sort());
      const series = found.get(key) ?? { metric, samples: new Map<number, number>() };
      found.set(key, series);
      for (const [seconds, text] of values) {
        const timeMs = Math.round(seconds * 1000);
        if (timeMs >= fromMs && timeMs < untilMs) series.samples.set(timeMs, Number(text));
      }
    }
    if (endMs >= untilMs) break;
  }
  return [...found.values()].map(({ metric, samples }) => ({
    metric,
    samples: [...samples].sort(([a], [b]) => a - b),
  }));
}

/** One simulated server, whole. */
export async function readTarget(
  server: string,
  { target, instance }: { readonly target: number; readonly instance: string },
  span: TimeSpan,
): Promise<ReadTarget> {
  let up: readonly Sample[] = [];
  const rows = new Map<string, readonly Sample[]>();
  for (const { metric, samples } of await readSeries(server, `{job="fleet",instance="${instance}"}`, span)) {
    const name = metric.__name__ ?? "";
    if (name === "up") up = samples;
    const labels = Object.entries(metric).filter(([label]) => !targetLabels.has(label));
    rows.set(rowKey({ name, labels: labels.map(([label, value]) => `${label}="${value}"`).join(",") }), samples);
  }
  return { target, up, rows };
}

/** `up` of every simulated server, by instance. */
export async function readUp(server: string, span: TimeSpan): Promise<ReadonlyMap<string, readonly Sample[]>> {
  const series = await readSeries(server, 'up{job="fleet"}', span);
  return new Map(series.map(({ metric, samples }) => [metric.instance ?? "", samples]));
}

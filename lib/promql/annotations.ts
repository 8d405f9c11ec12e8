// What an answer says beside its values: warnings (the result may be wrong) and infos (the query may be wrong), each with
// the place in the query that it speaks of. In Prometheus' words, because Grafana shows them.

import { positionText, quoted, type Span } from "#/lib/promql/errors.ts";

/** More of a kind tell nobody more; Prometheus stops at the same number. */
const annotationsMax = 10;

export class Annotations {
  readonly #query: string;
  readonly #warnings = new Set<string>();
  readonly #infos = new Set<string>();

  constructor(query: string) {
    this.#query = query;
  }

  warn(text: string, span: Span): void {
    this.#warnings.add(`PromQL warning: ${text} (${positionText(this.#query, span.start)})`);
  }

  inform(text: string, span: Span): void {
    this.#infos.add(`PromQL info: ${text} (${positionText(this.#query, span.start)})`);
  }

  get warnings(): readonly string[] {
    return capped(this.#warnings, "warning");
  }

  get infos(): readonly string[] {
    return capped(this.#infos, "info");
  }
}

function capped(texts: ReadonlySet<string>, kind: string): readonly string[] {
  const list = [...texts];
  if (list.length <= annotationsMax) return list;
  return [...list.slice(0, annotationsMax), `${list.length - annotationsMax} more ${kind} annotations omitted`];
}

export function badQuantileText(quantile: number): string {
  return `quantile value should be between 0 and 1, got ${goNumber(quantile)}`;
}

export function badBucketLabelText(value: string, metric: string): string {
  return `bucket label "le" is missing or has a malformed value of ${quoted(value)}${ofMetric(metric)}`;
}

export function forcedMonotonicityText(metric: string): string {
  return `input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)${ofMetric(metric)}`;
}

function ofMetric(metric: string): string {
  return metric === "" ? "" : ` for metric name ${quoted(metric)}`;
}

/** Go's %g. */
function goNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return String(value).replace(/e([+-])(\d)$/, "e$10$2");
}

// How a metric is declared.

export interface MetricDeclaration {
  readonly type: "counter" | "gauge" | "histogram";
  readonly tiers: readonly ("secondary" | "primary" | "global" | "tool")[];
  readonly labels: readonly string[];
  readonly help: string;
  readonly buckets?: readonly number[];
}

// docs/metrics.md, made from the table of metrics: `node lib/telemetry/page.ts > docs/metrics.md`. The tidy test holds the
// two against each other.

import type { MetricDeclaration } from "#/lib/telemetry/metric.ts";
import { metricTable } from "#/lib/telemetry/table.ts";

export function metricsPage(): string {
  const rows = Object.entries<MetricDeclaration>(metricTable).map(
    ([name, { type, tiers, labels, help, buckets }]) =>
      `| \`${name}\` | ${type} | ${tiersText(tiers)} | ${labels.map((label) => `\`${label}\``).join(", ")} | ` +
      `${help}${buckets ? ` Buckets: ${buckets.join(", ")}.` : ""} |`,
  );
  return `# Metrics

What every process of Heliograph tells of itself at \`/metrics\`, in Prometheus' text format. Units are base units: seconds and
bytes. A metric without labels is there from the start; one with labels appears when it is first touched. This page is made
from \`lib/telemetry/table.ts\` by \`node lib/telemetry/page.ts > docs/metrics.md\`.

| name | type | of | labels | what it tells |
| --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function tiersText(tiers: MetricDeclaration["tiers"]): string {
  return tiers.includes("tool") ? "all" : tiers.join(", ");
}

if (import.meta.main) process.stdout.write(metricsPage());

// rules/heliograph.yaml: alerts on Heliograph itself, held by Prometheus' own promtool.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { parse } from "yaml";
import { metricTable } from "#/lib/telemetry/table.ts";
import { promtool } from "#/test/support/promtool.ts";

const root = join(import.meta.dirname, "..");
const text = (path: string) => readFile(join(root, path), "utf8");

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}

const { groups } = parse(await text("rules/heliograph.yaml")) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);

t.test(
  "promtool understands the rules, and each fires for its cause and not before",
  { skip: promtool.missing },
  async (t) => {
    const run = (...args: readonly string[]) =>
      promisify(execFile)(promtool.path, args, { cwd: join(root, "rules"), timeout: 20_000 });
    t.match((await run("check", "rules", "heliograph.yaml")).stdout, "SUCCESS");
    t.match((await run("test", "rules", "heliograph.test.yaml")).stdout, "SUCCESS");
  },
);

t.test("each alert is tested, asks for metrics that there are, and has a runbook that is there", async (t) => {
  const tested = new Set(
    (parse(await text("rules/heliograph.test.yaml")) as { tests: { name: string }[] }).tests.map(({ name }) => name),
  );
  const headings = new Set(
    [...(await text("docs/operating/alerts.md")).matchAll(/^## (\w+)$/gm)].map(([, name]) => name),
  );
  t.ok(rules.length > 10);
  for (const { alert, annotations, expr, labels } of rules) {
    t.ok(tested.has(alert), `${alert} has a test`);
    t.ok(headings.has(alert), `${alert} has a runbook`);
    t.equal(annotations.runbook, `docs/operating/alerts.md#${alert.toLowerCase()}`);
    t.match(labels.severity, /^(critical|warning)$/);
    for (const [name] of expr.matchAll(/heliograph_\w+/g))
      t.ok(Object.hasOwn(metricTable, name), `${name} of ${alert}`);
  }
});

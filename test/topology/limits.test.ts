// Keys that say what is held, who is left out, and how many targets there may be.

import t from "tap";
import { topologyText } from "#/test/support/discovery.ts";
import { parseTopology } from "#/topology/file.ts";
import { formatProblem } from "#/topology/problem.ts";

/** Errors of a file with that scrape config's keys, and those of its data centre and top. */
function errors(keys: {
  job?: string;
  datacenter?: string;
  secondary?: string;
  top?: string;
  targets?: string;
}): string[] {
  const targets = keys.targets ?? '["10.0.0.1:9100"]';
  const job = `  - job_name: node\n    static_configs: [{ targets: ${targets} }]\n    ${keys.job ?? ""}`;
  const text = `${keys.top ?? ""}\n${topologyText(job)}`
    .replace("    region: eu", `    region: eu\n    ${keys.datacenter ?? ""}`)
    .replace("name: s1,", `name: s1, ${keys.secondary ? `${keys.secondary},` : ""}`);
  const { problems } = parseTopology(text, "t.yaml");
  return problems.filter(({ severity }) => severity === "error").map(formatProblem);
}

t.test("what is held and who is left out is within bounds", async (t) => {
  t.same(errors({ job: "priority: -3\n    discovery_loss_max: 0.25\n    discovery_hold: 1h" }), []);
  t.match(errors({ job: "priority: 1.5" }), [/scrape_configs\[0\]\.priority: /]);
  t.match(errors({ job: "priority: 1001" }), [/scrape_configs\[0\]\.priority: /]);
  t.match(errors({ job: "discovery_loss_max: 50" }), [/scrape_configs\[0\]\.discovery_loss_max: /]);
  const never = /discovery_hold: expected more than 0, got "0s"; discovery_loss_max: 1 is never to hold/;
  t.match(errors({ job: "discovery_hold: 0s" }), [never]);
  t.match(errors({ top: "scrape_defaults: { discovery_hold: 0s }" }), [never]);
});

t.test("a spool has room for a window of batches, and a backlog comes to an end", async (t) => {
  const at = "datacenters\\[0\\]\\.secondaries\\[0\\]";
  const refused = (secondary: string, expected: string) =>
    t.match(errors({ secondary }), [new RegExp(`${at}\\.${expected}`)]);
  t.same(errors({ secondary: "spool_bytes_max: 64MiB, spool_age_max: 1m, backlog_rate_max: 256KiB" }), []);
  refused("spool_bytes_max: 63MiB", 'spool_bytes_max: expected at least 64MiB, a window of batches, got "63MiB"');
  refused("spool_bytes_max: 0", "spool_bytes_max: expected at least 64MiB, a window of batches, got 0");
  refused("spool_age_max: 59s", 'spool_age_max: expected at least 1m, which a failover may take, got "59s"');
  refused("backlog_rate_max: 100KiB", "backlog_rate_max: expected at least 256KiB a second");
});

t.test("a data centre has at most as many targets as a generation may, and static ones within that", async (t) => {
  t.same(errors({ datacenter: "targets_max: 1" }), []);
  t.match(errors({ datacenter: "targets_max: 0" }), [/datacenters\[0\]\.targets_max: /]);
  t.match(errors({ datacenter: "targets_max: 250001" }), [/datacenters\[0\]\.targets_max: /]);
  t.match(errors({ datacenter: "targets_max: 1", targets: '["10.0.0.1:9100", "10.0.0.2:9100"]' }), [
    /datacenters\[0\]\.targets_max: expected at most 1 targets in fra, got 2 static targets/,
  ]);
});

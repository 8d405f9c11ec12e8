// `heliograph secondary --dry-run` as it is typed, against servers on this machine: no primary, no NATS.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";

import { encodeGeneration } from "#/lib/codec/generation.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { metricRelabelOf, relabelDefaults } from "#/lib/model/relabel.ts";
import { heliograph } from "#/test/support/command.ts";
import { makeGeneration, makeTarget, plainScrapeOptions } from "#/test/support/targets.ts";

const exposition = `# HELP cpu_seconds_total Seconds the CPUs spent.
# TYPE cpu_seconds_total counter
cpu_seconds_total{cpu="0",mode="idle"} 12.50
cpu_seconds_total{cpu="1",mode="idle"} 1e-3
# TYPE go_threads gauge
go_threads 8
twice 1
twice 2
old 3 1000
timed 4 TIME
`;

const dir = await mkdtemp(join(tmpdir(), "heliograph-dryrun-"));
t.teardown(() => rm(dir, { recursive: true, force: true }));
const timedMs = Date.now() - 5000;
const asked: string[] = [];
const server = createServer((request, answer) => {
  // Somebody else's scraper may still look for what had this port before.
  if (/^\/(dry|broken)\b/.test(request.url!)) asked.push(request.url!);
  answer.statusCode = /^\/dry(\?|$)/.test(request.url!) ? 200 : 503;
  if (request.url!.endsWith("locked") && request.headers.authorization !== "Bearer s3cret") answer.statusCode = 401;
  answer.setHeader("content-type", "text/plain; version=0.0.4");
  answer.end(answer.statusCode === 200 ? exposition.replace("TIME", String(timedMs)) : "");
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
t.teardown(() => {
  server.closeAllConnections();
  server.close();
});
const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

const topology = join(dir, "topology.yaml");
await writeFile(
  topology,
  `format_version: 1
federation: example
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair: [{ name: g1, http: { listen: "127.0.0.1:9480" } }]
datacenters:
  - name: fra
    region: eu
    nats: { servers: ["nats://127.0.0.1:4223"] }
    primaries: [{ name: p1, http: { listen: "127.0.0.1:9470" }, grpc: { listen: "127.0.0.1:9471" } }]
    secondaries: [{ name: s1, http: { listen: "127.0.0.1:9472" } }]
scrape_configs:
  - job_name: node
    metrics_path: /dry
    relabel_configs: [{ source_labels: [__address__], regex: "127.0.0.9:.*", action: drop }]
    metric_relabel_configs:
      - { source_labels: [cpu], target_label: core }
      - { source_labels: [__name__], regex: "go_.*", action: drop }
    static_configs: [{ targets: ["${host}", "127.0.0.9:80"], labels: { rack: r1 } }]
  - job_name: locked
    metrics_path: /dry
    authorization: { credentials: s3cret }
  - job_name: broken
    metrics_path: /broken
    file_sd_configs: [{ files: ["targets/*.json"] }]
`,
);
await mkdir(join(dir, "targets"));
await writeFile(join(dir, "targets/a.json"), JSON.stringify([{ targets: [host] }]));

const dry = (...args: string[]) => heliograph(["secondary", "--dry-run", ...args]);
const ofTopology = ["--topology", topology, "--name", "s1"];

t.test("without an assignment it scrapes what the primaries would find, once, and says what failed", async (t) => {
  asked.length = 0;
  const { code, stderr, stdout } = await dry(...ofTopology);
  t.equal(code, 1, "a scrape failed");
  t.strictSame(asked.sort(), ["/broken", "/dry"]);
  t.match(stdout, "2 targets of fra, as the topology file and what it names say.");
  t.match(stdout, /^partial +http:\/\/[\d.:]+\/dry +4 +1 +2 +\d+ bytes/m);
  t.match(stdout, /^failed status +http:\/\/[\d.:]+\/broken .*server returned HTTP status 503/m);
  t.match(stdout, /^2 targets: 1 partial, 1 failed status\.|^2 targets: 1 failed status, 1 partial\./m);
  t.match(stdout, /^4 samples in 1 batch: \d+ bytes, compressed in .* to \d+ bytes, \d+\.\d\d bytes a sample\.$/m);
  t.match(stderr, "node: relabel_configs drop 1 more.");
});

t.test("one target is shown in full: series, values, times, and what was left out and why", async (t) => {
  const { code, stdout } = await dry(...ofTopology, "--target", `http://${host}/dry`);
  t.equal(code, 0, "a partial scrape is a good one");
  const place = `datacenter="fra",instance="${host}"`;
  const rest = 'rack="r1",region="eu"';
  const lines = stdout.split("\n").map((line) => line.trim());
  for (const line of [
    `http://${host}/dry  partial`,
    `labels    datacenter="fra" instance="${host}" job="node" rack="r1" region="eu"`,
    "every     15 s, within 10 s; 2 rules of metric_relabel_configs",
    "would be sent: 4 series",
    "# counter, Seconds the CPUs spent.",
    `cpu_seconds_total{core="0",cpu="0",datacenter="fra",instance="${host}",job="node",mode="idle",${rest}} 12.5`,
    `cpu_seconds_total{core="1",cpu="1",datacenter="fra",instance="${host}",job="node",mode="idle",${rest}} 0.001`,
    `twice{${place},job="node",${rest}} 1`,
    `timed{${place},job="node",${rest}} 4 ${timedMs}`,
    "dropped by metric_relabel_configs: 1",
    `go_threads{${place},job="node",${rest}}  # metric_relabel_configs[1] drop`,
    "refused, duplicate series: 1",
    "refused, timestamp behind: 1",
    `old{${place},job="node",${rest}}`,
  ]) {
    t.ok(lines.includes(line), line);
  }
  for (const stage of ["connect", "first byte", "whole body", "read", "relabel", "encode"]) {
    t.match(stdout, new RegExp(`^ +${stage} +[\\d.]+ (ms|s)`, "m"));
  }
});

t.test("what is told as JSON is what was told to people", async (t) => {
  const { code, stdout } = await dry(...ofTopology, "--target", `http://${host}/dry`, "--json");
  t.equal(code, 0);
  const labels = { datacenter: "fra", instance: host, job: "node", rack: "r1", region: "eu" };
  const answer = JSON.parse(stdout) as {
    targets: { series: { timestamp_ms: number }[]; layout: string }[];
    rounds: object[];
  };
  t.match(answer, { secondary: "s1", datacenter: "fra", targets_from: "topology", generation: 0 });
  const [scrape] = answer.targets;
  t.match(scrape, {
    job: "node",
    url: `http://${host}/dry`,
    labels,
    outcome: "partial",
    error: "",
    requests: 1,
    body_bytes: exposition.length - 4 + String(timedMs).length,
    samples_scraped: 7,
    samples: 4,
    layout: /^[0-9a-f]{32}$/,
    dropped: { count: 1, series: [{ labels: { __name__: "go_threads", ...labels }, rule: 1, action: "drop" }] },
    refused: [
      { reason: "duplicate_series", count: 1, series: [{ __name__: "twice", ...labels }] },
      { reason: "timestamp_behind", count: 1, series: [{ __name__: "old", ...labels }] },
    ],
  });
  const cpu = { __name__: "cpu_seconds_total", mode: "idle", ...labels };
  const about = { type: "counter", unit: "", help: "Seconds the CPUs spent." };
  const none = { type: "unknown", unit: "", help: "" };
  const at = scrape!.series[0]!.timestamp_ms;
  t.ok(Math.abs(at - Date.now()) < 60_000);
  t.strictSame(scrape!.series, [
    { labels: { ...cpu, cpu: "0", core: "0" }, value: "12.5", timestamp_ms: at, ...about },
    { labels: { ...cpu, cpu: "1", core: "1" }, value: "0.001", timestamp_ms: at, ...about },
    { labels: { __name__: "twice", ...labels }, value: "1", timestamp_ms: at, ...none },
    { labels: { __name__: "timed", ...labels }, value: "4", timestamp_ms: timedMs, ...none },
  ]);
  t.match(answer.rounds, [{ batches: 1, scrapes: 1, samples: 4 }]);
});

t.test("a second scrape shows what the next ones cost", async (t) => {
  const { stdout } = await dry(...ofTopology, "--target", `http://${host}/dry`, "--json", "--again");
  const { rounds } = JSON.parse(stdout) as { rounds: { samples: number; raw_bytes: number; bytes: number }[] };
  t.strictSame(
    rounds.map(({ samples }) => samples),
    [4, 4],
  );
  t.ok(rounds[1]!.raw_bytes * 5 < rounds[0]!.raw_bytes, "names and labels are sent once");
});

t.test("any URL can be tried, with no topology at all, or as a scrape config would have it", async (t) => {
  const alone = await dry("--target", `${host}/dry`);
  t.equal(alone.code, 0);
  t.match(alone.stdout, "A target that is in no list.");
  t.match(alone.stdout, `go_threads{instance="${host}",job="dry-run"} 8`);

  const url = `http://${host}/dry?module=a%20b`;
  const asNode = await dry(...ofTopology, "--target", url, "--job", "node", "--json");
  t.match(JSON.parse(asNode.stdout), {
    targets_from: "url",
    targets: [
      { url: `http://${host}/dry?module=a+b`, labels: { job: "node", datacenter: "fra" }, dropped: { count: 1 } },
    ],
  });
  const locked = ["--target", `http://${host}/dry?locked`, "--json"];
  t.match(JSON.parse((await dry(...ofTopology, ...locked)).stdout), { targets: [{ outcome: "failed_status" }] });
  const withKey = await dry(...ofTopology, ...locked, "--job", "locked");
  t.match(
    JSON.parse(withKey.stdout),
    { targets: [{ outcome: "partial" }] },
    "with the credentials of that scrape config",
  );
  t.notMatch(withKey.stdout, "s3cret");
  const dropped = await dry(...ofTopology, "--target", "http://127.0.0.9:80", "--job", "node");
  t.match(dropped, { code: 1, stderr: "relabel_configs of node drop http://127.0.0.9/metrics" });
});

t.test("its own part is what a secondary was assigned, lists or no lists", async (t) => {
  const data = join(dir, "data");
  await mkdir(data);
  const rule = {
    ...relabelDefaults,
    action: "drop",
    sourceLabels: ["__name__"],
    regex: "twice|old",
    modulus: 0,
  } as const;
  const options = {
    ...plainScrapeOptions,
    metricRelabel: metricRelabelOf([{ ...rule, targetLabel: "", replacement: "" }], ["datacenter", "region"]),
  };
  const labels = labelsOf({ job: "assigned", instance: "web-1", datacenter: "fra", region: "eu" });
  const mine = makeTarget(`http://${host}/dry`, { job: "assigned", labels, options });
  await writeFile(join(data, "assignment"), encodeGeneration(makeGeneration([mine], { number: 42 })));
  const own = await dry(...ofTopology, "--data", data, "--json");
  t.equal(own.code, 0);
  t.match(JSON.parse(own.stdout), {
    targets_from: "assignment",
    generation: 42,
    targets: [{ job: "assigned", outcome: "stored", samples: 4, dropped: { count: 3 } }],
  });
  t.match((await dry(...ofTopology, "--data", data, "--target", "web-1")).stdout, "1 target of s1, as generation 42");

  const mistyped = await dry(...ofTopology, "--data", data, "--target", "wep-1");
  t.match(mistyped, { code: 1, stderr: /no target is called "?wep-1"?; did you mean web-1\?/ });
  await writeFile(join(data, "assignment"), "HGGNnonsense");
  t.match(await dry(...ofTopology, "--data", data), { code: 1, stderr: /assignment is no assignment: / });
  t.match((await dry(...ofTopology, "--data", join(dir, "no"))).stderr, "these are all targets of the data centre");
});

t.test("what cannot be done is said before anything is scraped", async (t) => {
  asked.length = 0;
  t.match(await dry(), { code: 2, stderr: "--topology FILE and --name NAME are missing, or --target URL" });
  t.match(await dry("--topology", topology), { code: 2, stderr: "--name NAME is missing" });
  t.match(await dry("--topology", topology, "--name", "s2"), { code: 3, stderr: /no secondary named "?s2"?/ });
  t.match(await dry(...ofTopology, "--target", `http://${host}/`, "--job", "nod"), {
    code: 1,
    stderr: /known: node, locked, broken/,
  });
  t.match(await heliograph(["secondary", "--json"]), { code: 2, stderr: "--json goes with --dry-run" });
  t.strictSame(asked, []);
});

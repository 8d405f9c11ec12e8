// Side by side with the real Prometheus: the same targets and the same rules give the same targets and the same series.
//
// Ours go the way of the tiers: discovery on a real disk, a generation as bytes, scrapes over real HTTP, a batch as bytes, a head.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { systemClock } from "#/lib/clock/clock.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { RunEncoder } from "#/lib/codec/encode.ts";
import { decodeGeneration, encodeGeneration } from "#/lib/codec/generation.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { type Labels, labelsRecord } from "#/lib/model/labels.ts";
import { slotAt } from "#/lib/model/target.ts";
import { Head } from "#/lib/store/head.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Discovery } from "#/primary/discover/discover.ts";
import { systemDisk } from "#/primary/discover/disk.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { Scraper } from "#/secondary/scrape/scrape.ts";
import { testRun } from "#/test/support/batches.ts";
import { prometheus, startPrometheus } from "#/test/support/prometheus.ts";
import { makeGeneration } from "#/test/support/targets.ts";
import { parseTopology } from "#/topology/file.ts";
import { formatProblem } from "#/topology/problem.ts";

const startMsMax = 20_000;

const exposition = `# TYPE go_goroutines gauge
go_goroutines 7
go_threads 3
# TYPE http_requests_total counter
http_requests_total{code="200",handler="/a",method="GET"} 1
http_requests_total{code="500",handler="/a",method="GET"} 2
http_requests_total{code="200",handler="/b",method="post"} 3
queue_depth{instance="own",queue="mail-out"} 4
queue_depth{queue="mail-in",shard="x"} 5
temperature{sensor="a;b",unit="C"} 21.5
temperature{sensor="",unit="K"} 294.6
`;

/** Lists of targets, by file. */
const lists = (port: number) => ({
  "web.yml": `- targets: ["127.0.0.1:${port}"]
  labels: { rack: "7", role: Web, __meta_team_name: blue, __meta_team: x, port: "${port}" }
- targets: ["127.0.0.1:${port}"]
  labels: { rack: "8", role: db, __scheme__: http, __metrics_path__: /other, slow: "yes" }
- targets: ["127.0.0.1:${port}"]
  labels: { rack: "9", role: gone }
- targets: ["127.0.0.1:${port}"]
  labels: { rack: "10", role: web, keepme: web }
`,
  "probe.json": `[{ "targets": ["https://a.example/x?y", "b.example:1", "internal.example"], "labels": { "kind": "site" } }]`,
});

const scrapeConfigs = (port: number, dir: string) => `scrape_configs:
  - job_name: web
    honor_timestamps: true
    file_sd_configs: [{ files: ["${dir}/web.yml"] }]
    relabel_configs:
      - { source_labels: [role], regex: gone, action: drop }
      - { source_labels: [role], target_label: role, action: lowercase }
      - { source_labels: [role], target_label: ROLE, action: uppercase }
      - { action: labelmap, regex: __meta_team_(.+) }
      - { source_labels: [__address__, rack], regex: "(.+):([0-9]+);(.*)", target_label: instance, replacement: "host-\${3}:$2" }
      - { source_labels: [__meta_filepath], regex: ".*/([^/]+)[.]yml", target_label: list }
      - { source_labels: [rack], modulus: 5, target_label: __tmp_shard, action: hashmod }
      - { source_labels: [__tmp_shard], target_label: shard }
      - { source_labels: [slow], regex: "yes", target_label: __scrape_interval__, replacement: 2s }
      - { source_labels: [__scrape_interval__, __scrape_timeout__, __scheme__, __metrics_path__], separator: "|", target_label: times }
      - { source_labels: [rack], regex: "1(0)", target_label: "rack_$1", replacement: "$$\${1}x" }
      - { regex: slow|port, action: labeldrop }
    metric_relabel_configs:
      - { source_labels: [__name__], regex: "go_(.*)", target_label: __name__, replacement: "golang_$1" }
      - { source_labels: [__name__, rack], regex: "golang_.*;8", action: drop }
      - { source_labels: [method], target_label: method, action: uppercase }
      - { regex: code, action: labeldrop }
      - { source_labels: [queue], regex: "(?P<service>[a-z]+)-(.*)", target_label: "\${2}_of", replacement: "$service" }
      - { source_labels: [sensor], separator: ",", regex: "a;(.)", target_label: sensor, replacement: "$1" }
      - { source_labels: [exported_instance], target_label: instance, regex: "(.+)" }
      - { source_labels: [instance, handler], modulus: 97, target_label: hash, action: hashmod }
      - { action: labelmap, regex: "ra(ck)", replacement: "copied_$1" }
      - { source_labels: [shard], target_label: exported_shard, action: dropequal }
  - job_name: probe
    metrics_path: /ignored
    params: { module: [http_2xx, second] }
    honor_labels: true
    file_sd_configs: [{ files: ["${dir}/probe.json"] }]
    relabel_configs:
      - { source_labels: [__address__], target_label: __param_target }
      - { source_labels: [__param_target], regex: "(?:https?://)?([^/:]+).*", target_label: instance }
      - { source_labels: [instance], regex: internal.*, action: drop }
      - { source_labels: [__param_module], target_label: module }
      - { target_label: __address__, replacement: "127.0.0.1:${port}" }
      - { target_label: __metrics_path__, replacement: /probe }
    metric_relabel_configs:
      - { source_labels: [__name__], regex: "queue_depth|temperature", action: keep }
      - { source_labels: [instance], regex: own, target_label: instance, replacement: "" }
      - { regex: "__name__|instance|job|module|queue|unit", action: labelkeep }
  - job_name: literal
    static_configs: [{ targets: ["127.0.0.1:${port}"], labels: { a: same, b: same } }, { targets: ["127.0.0.1:${port}"], labels: { a: same, b: other } }]
    relabel_configs: [{ source_labels: [a], target_label: b, action: keepequal }]
    metric_relabel_configs: [{ source_labels: [handler, code], regex: "/a;.*|;", action: keep }]
`;

const ownTopology = (configs: string) => `format_version: 1
federation: test
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair: [{ name: g1, http: { listen: "127.0.0.1:9480" } }]
scrape_defaults: { scrape_interval: 1s, scrape_timeout: 1s }
datacenters:
  - name: fra
    region: eu
    nats: { servers: ["nats://127.0.0.1:4223"] }
    primaries: [{ name: p1, http: { listen: "127.0.0.1:9470" }, grpc: { listen: "127.0.0.1:9471" } }]
    secondaries: [{ name: s1, http: { listen: "127.0.0.1:9474" } }]
${configs}`;

/** A label set as a line, without what only Heliograph adds. */
function line(labels: Readonly<Record<string, string>>): string {
  const own = Object.entries(labels).filter(([name]) => name !== "datacenter" && name !== "region");
  return JSON.stringify(Object.fromEntries(own.sort(([a], [b]) => (a < b ? -1 : 1))));
}

async function ours(configs: string) {
  const { topology, problems } = parseTopology(ownTopology(configs), "t.yaml");
  if (!topology) throw new Error(problems.map(formatProblem).join("\n"));
  const clock = systemClock();
  const log = silentLogger();
  const metrics = createRegistry({ tier: "primary" });
  const datacenter = topology.datacenters[0]!;
  const discovery = new Discovery({ topology, datacenter, baseDir: "/", clock, log, metrics, disk: systemDisk });
  await discovery.start();
  discovery.close();
  const generation = decodeGeneration(encodeGeneration(makeGeneration(discovery.targets())));

  const encoder = new RunEncoder(testRun);
  const fetcher = httpFetcher({ clock });
  const registry = createRegistry({ tier: "secondary" });
  const scraper = new Scraper({ fetcher, clock, log, metrics: registry, emit: (scrape) => encoder.add(scrape) });
  for (const { target } of generation.targets) {
    const due = { slot: slotAt(target, clock.nowMs()), generation: 1, timeoutMs: target.timeoutMs };
    await scraper.scrape(scraper.adopt(target, undefined), due, new AbortController().signal);
  }
  fetcher.close();
  const head = new Head({ metrics: createRegistry({ tier: "primary" }) });
  const decoder = new RunDecoder(testRun);
  const batch = encoder.flush({ nowMs: clock.nowMs(), watermarkMs: clock.nowMs(), generation: 1 })!;
  decoder.decode(batch.bytes, (scrape) => head.append(scrape));
  const range = { fromMs: 0, untilMs: clock.nowMs() + 60_000 };
  const signal = new AbortController().signal;
  const series = await head.series([], range, signal);
  const left = { name: "__name__", operator: "=", value: "scrape_samples_post_metric_relabeling" } as const;
  const selection = await head.select([{ ...left, matches: (value) => value === left.value }], range, signal);
  return {
    targets: generation.targets.map(({ target }) => {
      const times = `${target.intervalMs / 1000}s ${target.timeoutMs / 1000}s`;
      return `${target.url} ${times} ${line(labelsRecord(target.labels))}`;
    }),
    dropped: ["web", "probe", "literal"].reduce(
      (sum, job) => sum + metrics.get("heliograph_primary_dropped_targets", { job }),
      0,
    ),
    series: series.map((labels: Labels) => line(labelsRecord(labels))),
    left: selection.series.map(({ labels, values }) => `${line(labelsRecord(labels))} ${values[0]}`),
  };
}

interface TheirTargets {
  readonly activeTargets: readonly {
    readonly labels: Record<string, string>;
    readonly scrapeUrl: string;
    readonly scrapeInterval: string;
    readonly scrapeTimeout: string;
    readonly health: string;
  }[];
  readonly droppedTargets: readonly unknown[];
}

async function theirs(url: string) {
  const get = async <T>(path: string): Promise<T | undefined> => {
    const answer = await fetch(`${url}${path}`).catch(() => undefined);
    return answer?.ok ? ((await answer.json()) as { data: T }).data : undefined;
  };
  for (const startedMs = performance.now(); performance.now() - startedMs < startMsMax; ) {
    const found = await get<TheirTargets>("/api/v1/targets");
    // Then each is given time for one more scrape, so that its report series are there too.
    if (found && found.activeTargets.length > 0 && found.activeTargets.every(({ health }) => health === "up")) break;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const targets = (await get<TheirTargets>("/api/v1/targets"))!;
  const series = await get<Record<string, string>[]>(
    `/api/v1/series?match[]=${encodeURIComponent('{__name__=~".+"}')}`,
  );
  const left = await get<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
    "/api/v1/query?query=scrape_samples_post_metric_relabeling",
  );
  return {
    targets: targets.activeTargets.map(
      ({ labels, scrapeInterval, scrapeTimeout, scrapeUrl }) =>
        `${scrapeUrl} ${scrapeInterval} ${scrapeTimeout} ${line(labels)}`,
    ),
    dropped: targets.droppedTargets.length,
    series: series!.map(line),
    left: left!.result.map(({ metric, value }) => `${line(metric)} ${value[1]}`),
  };
}

t.test("targets and series are those of Prometheus", { skip: prometheus.missing }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-relabel-"));
  const server = createServer((_request, answer) => {
    answer.setHeader("content-type", "text/plain; version=0.0.4");
    answer.end(exposition);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  for (const [name, text] of Object.entries(lists(port))) await writeFile(join(dir, name), text);
  const configs = scrapeConfigs(port, dir);
  const config = `global: { scrape_interval: 1s, scrape_timeout: 1s }\n${configs}`;
  const running = await startPrometheus(dir, config, prometheus.path);
  t.teardown(async () => {
    await running.close();
    server.close();
    server.closeAllConnections();
    await rm(dir, { recursive: true, force: true });
  });
  const expected = await theirs(running.url);
  const got = await ours(configs);
  t.ok(
    expected.targets.length === 6 && expected.series.length > 50,
    `${expected.targets.length} and ${expected.series.length}`,
  );
  t.same(got.targets.sort(), expected.targets.sort());
  t.equal(got.dropped, expected.dropped);
  t.same(got.series.sort(), expected.series.sort());
  t.same(got.left.sort(), expected.left.sort());
});

import t from "tap";
import type { MetricDeclaration } from "#/lib/telemetry/metric.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { metricTable } from "#/lib/telemetry/table.ts";

t.test("every metric's name says what it is", (t) => {
  const declarations: [string, MetricDeclaration][] = Object.entries(metricTable);
  for (const [name, { help, labels, tiers, type, ...more }] of declarations) {
    if (!/^heliograph_[a-z0-9_]+$/.test(name)) t.fail(`${name}: expected heliograph_ and lower case`);
    if (name.endsWith("_total") !== (type === "counter"))
      t.fail(`${name}: expected _total for counters and only for them`);
    if (!help.endsWith(".")) t.fail(`${name}: expected a sentence as help`);
    if (tiers.length === 0) t.fail(`${name}: expected a tier`);
    if ("buckets" in more !== (type === "histogram"))
      t.fail(`${name}: expected buckets for histograms and only for them`);
    if (labels.some((label) => !/^[a-z_]+$/.test(label))) t.fail(`${name}: expected lower-case labels`);
  }
  t.pass(`${Object.keys(metricTable).length} metrics`);
  t.end();
});

t.test("counters and gauges are exposed in the text format, those without labels from the start", (t) => {
  const registry = createRegistry({ tier: "secondary" });
  t.match(registry.expose(), /\nheliograph_secondary_samples_total 0\n/);
  registry.add("heliograph_secondary_samples_total");
  registry.add("heliograph_secondary_samples_total", 41);
  registry.set("heliograph_secondary_targets", 7);
  registry.add("heliograph_secondary_scrapes_total", 1, { outcome: "stored" });
  const text = registry.expose();
  t.match(
    text,
    "# HELP heliograph_secondary_samples_total Samples compacted into batches.\n# TYPE heliograph_secondary_samples_total counter\nheliograph_secondary_samples_total 42\n",
  );
  t.match(text, "heliograph_secondary_targets 7\n");
  t.match(text, 'heliograph_secondary_scrapes_total{outcome="stored"} 1\n');
  t.notMatch(text, "heliograph_secondary_spool_dropped_batches_total{", "labelled and never touched");
  t.equal(registry.get("heliograph_secondary_samples_total"), 42);
  t.end();
});

t.test("histograms count into cumulative buckets", (t) => {
  const registry = createRegistry({ tier: "global" });
  for (const value of [0.001, 0.003, 1, 100]) {
    registry.observe("heliograph_query_duration_seconds", value, { endpoint: "query" });
  }
  const lines = registry
    .expose()
    .split("\n")
    .filter((line) => line.startsWith("heliograph_query_duration_seconds"));
  t.same(lines, [
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="0.001"} 1',
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="0.005"} 2',
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="0.02"} 2',
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="0.1"} 2',
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="0.5"} 2',
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="2"} 3',
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="10"} 3',
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="60"} 3',
    'heliograph_query_duration_seconds_bucket{endpoint="query",le="+Inf"} 4',
    'heliograph_query_duration_seconds_sum{endpoint="query"} 101.004',
    'heliograph_query_duration_seconds_count{endpoint="query"} 4',
  ]);
  t.end();
});

t.test("what the registries of two threads counted is one sum in a third, taken as often as one likes", (t) => {
  const whole = createRegistry({ tier: "secondary" });
  const parts = [createRegistry({ tier: "secondary" }), createRegistry({ tier: "secondary" })] as const;
  const send = () => {
    for (const part of parts) whole.addChanges(structuredClone(part.takeChanges()));
  };
  let targets = 5;
  parts[0].onCollect(() => parts[0].set("heliograph_secondary_targets", targets));
  parts[1].set("heliograph_secondary_targets", 3);
  parts[0].counter("heliograph_secondary_scrapes_total", { outcome: "stored" });
  send();
  t.equal(whole.get("heliograph_secondary_targets"), 8);
  t.match(whole.expose(), 'heliograph_secondary_scrapes_total{outcome="stored"} 0\n', "what is there with 0 is told");

  targets = 2;
  whole.add("heliograph_secondary_samples_total", 1);
  parts[0].add("heliograph_secondary_samples_total", 10);
  parts[1].add("heliograph_secondary_samples_total", 100);
  parts[1].add("heliograph_secondary_scrapes_total", 2, { outcome: "partial" });
  parts[0].observe("heliograph_secondary_spool_write_seconds", 0.02);
  parts[1].observe("heliograph_secondary_spool_write_seconds", 3);
  send();
  send();
  parts[1].observe("heliograph_secondary_spool_write_seconds", 3);
  parts[0].add("heliograph_secondary_samples_total", 1000);
  send();
  t.equal(whole.get("heliograph_secondary_targets"), 5);
  t.equal(whole.get("heliograph_secondary_samples_total"), 1111);
  t.equal(whole.get("heliograph_secondary_scrapes_total", { outcome: "partial" }), 2);
  t.match(whole.expose(), "heliograph_secondary_spool_write_seconds_sum 6.02\n");
  t.match(whole.expose(), "heliograph_secondary_spool_write_seconds_count 3\n");
  t.match(whole.expose(), 'heliograph_secondary_spool_write_seconds_bucket{le="0.02"} 1\n');
  t.same(parts[0].takeChanges(), { values: [], histograms: [] }, "nothing changed");
  t.end();
});

t.test("a series that was found once counts as if it were found each time", (t) => {
  const registry = createRegistry({ tier: "secondary" });
  const stored = registry.counter("heliograph_secondary_scrapes_total", { outcome: "stored" });
  t.match(registry.expose(), '\nheliograph_secondary_scrapes_total{outcome="stored"} 0\n', "it is there at once");
  stored.add(2);
  registry.add("heliograph_secondary_scrapes_total", 1, { outcome: "stored" });
  stored.add(0.5);
  t.equal(registry.get("heliograph_secondary_scrapes_total", { outcome: "stored" }), 3.5);

  const seconds = registry.histogram("heliograph_secondary_spool_write_seconds");
  for (const value of [0.001, 0.02, 0.021, 3, Number.NaN]) seconds.observe(value);
  registry.observe("heliograph_secondary_spool_write_seconds", 0.002);
  t.match(
    registry.expose(),
    [
      'heliograph_secondary_spool_write_seconds_bucket{le="0.001"} 1',
      'heliograph_secondary_spool_write_seconds_bucket{le="0.005"} 2',
      'heliograph_secondary_spool_write_seconds_bucket{le="0.02"} 3',
      'heliograph_secondary_spool_write_seconds_bucket{le="0.1"} 4',
      'heliograph_secondary_spool_write_seconds_bucket{le="0.5"} 4',
      'heliograph_secondary_spool_write_seconds_bucket{le="2"} 4',
      'heliograph_secondary_spool_write_seconds_bucket{le="+Inf"} 6',
    ].join("\n"),
  );
  t.end();
});

t.test("label values are escaped", (t) => {
  const registry = createRegistry({ tier: "global" });
  registry.set("heliograph_log_connected", 1, { datacenter: 'a"b\\c\nd' });
  t.match(registry.expose(), 'heliograph_log_connected{datacenter="a\\"b\\\\c\\nd"} 1\n');
  t.end();
});

t.test("a series can be forgotten", (t) => {
  const registry = createRegistry({ tier: "global" });
  registry.set("heliograph_log_connected", 1, { datacenter: "dc1" });
  registry.remove("heliograph_log_connected", { datacenter: "dc1" });
  t.notMatch(registry.expose(), "dc1");
  t.end();
});

t.test("gauges can be read at the moment of exposition", (t) => {
  const registry = createRegistry({ tier: "secondary" });
  let targets = 0;
  registry.onCollect(() => registry.set("heliograph_secondary_targets", ++targets));
  registry.expose();
  t.match(registry.expose(), "heliograph_secondary_targets 2\n");
  t.end();
});

t.test("too many series of one metric end in one that is called other", (t) => {
  const registry = createRegistry({ tier: "global" });
  for (let i = 0; i < 1500; i++) registry.add("heliograph_http_requests_total", 1, { route: `/r${i}`, status: "2xx" });
  const lines = registry
    .expose()
    .split("\n")
    .filter((line) => line.startsWith("heliograph_http_requests_total"));
  t.equal(lines.length, 1001);
  t.ok(lines.includes('heliograph_http_requests_total{route="other",status="other"} 500'));
  t.end();
});

t.test("a metric of another tier, or with other labels than declared, is a bug", (t) => {
  const registry = createRegistry({ tier: "secondary" });
  t.throws(() => registry.add("heliograph_global_datacenter_state"), {
    name: "BrokenInvariant",
    message: /BUG: .* tier secondary/,
  });
  t.throws(() => registry.add("heliograph_secondary_scrapes_total"), {
    message: /expected the labels \{outcome\}, got \{\}/,
  });
  t.end();
});

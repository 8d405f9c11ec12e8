// What metric_relabel_configs make of a scrape, and that evaluating them once a layout is the same as once a series.

import { Buffer } from "node:buffer";
import t from "tap";
import { type Label, labelsKey, labelsOf, mergeLabels } from "#/lib/model/labels.ts";
import { layoutOf } from "#/lib/model/layout.ts";
import {
  metricRelabelOf,
  Relabelling,
  type RelabelRule,
  relabelActions,
  relabelDefaults,
} from "#/lib/model/relabel.ts";
import { type ScrapeOptions, type Target, targetId } from "#/lib/model/target.ts";
import { decimalValue } from "#/lib/model/value.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { Interned } from "#/secondary/scrape/interned.ts";
import { BodyReader } from "#/secondary/scrape/layout.ts";
import { type Reading, targetReading } from "#/secondary/scrape/reading.ts";
import { LayoutRelabeller } from "#/secondary/scrape/relabel.ts";
import { plainScrapeOptions } from "#/test/support/targets.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);
const nowMs = 1_700_000_000_000;

function rule(edit: Partial<RelabelRule>): RelabelRule {
  return { ...relabelDefaults, sourceLabels: [], modulus: 0, targetLabel: "", ...edit };
}

function targetOf(
  labels: Readonly<Record<string, string>>,
  rules: readonly Partial<RelabelRule>[],
  options: Partial<ScrapeOptions> = {},
): Target {
  const named = { job: "node", url: "http://127.0.0.1:9100/metrics", labels: labelsOf(labels) };
  const metricRelabel = metricRelabelOf(rules.map(rule), ["datacenter", "region"]);
  const all = { ...plainScrapeOptions, ...options, metricRelabel };
  return { ...named, id: targetId(named), intervalMs: 15_000, timeoutMs: 10_000, options: all };
}

const labels = { instance: "a:9100", job: "node", datacenter: "fra", region: "eu" };

/** Each series as Prometheus would write it, with the target's labels. */
function seriesOf(reading: Reading, target: Target): string[] {
  if (!("layout" in reading)) throw new Error(`expected a stored scrape, got ${reading.outcome}: ${reading.error}`);
  return reading.layout.rows.map((row, i) => {
    const text = mergeLabels(target.labels, row.labels, row.name)
      .filter(([name]) => name !== "datacenter" && name !== "region")
      .map(([name, value]) => (name === "__name__" ? value : `${name}=${value}`));
    const { exponents, mantissas } = reading.values;
    const time = reading.timestamps.find((timestamp) => timestamp.row === i);
    const value = exponents[i] === 126 ? "absent" : String(decimalValue(mantissas[i]!, exponents[i]!));
    return `${text.join(" ")} ${value}${time ? ` @${time.timestampMs - nowMs}` : ""}`;
  });
}

const body = `# TYPE go_goroutines gauge
go_goroutines 7
# TYPE http_requests counter
http_requests_total{code="200",handler="/a"} 1 ${nowMs + 1}
http_requests_total{code="500",handler="/a"} 2
go_threads 8 ${nowMs + 2}
http_requests_total{code="200",handler="/b"} 3 ${nowMs + 3}
node_cpu{cpu="0"} 4.5
`;

function read(rules: readonly Partial<RelabelRule>[], text = body, options: Partial<ScrapeOptions> = {}) {
  const target = targetOf(labels, rules, options);
  const reader = new BodyReader();
  const state = targetReading(target);
  const first = reader.read(state, Buffer.from(text), "text", nowMs);
  const series = "layout" in first ? seriesOf(first, target) : undefined;
  // The second time the body is walked beside its known shape.
  const reading = reader.read(state, Buffer.from(text), "text", nowMs);
  if (series) t.same(seriesOf(reading, target), series);
  return { reading, series };
}

t.test("dropped series are not stored and not refused, and what is left keeps its values and timestamps", async (t) => {
  const { reading, series } = read([{ action: "drop", sourceLabels: ["__name__"], regex: "go_.*" }]);
  t.same(series, [
    "http_requests_total code=200 handler=/a instance=a:9100 job=node 1 @1",
    "http_requests_total code=500 handler=/a instance=a:9100 job=node 2",
    "http_requests_total code=200 handler=/b instance=a:9100 job=node 3 @3",
    "node_cpu cpu=0 instance=a:9100 job=node 4.5",
  ]);
  t.match(reading, { outcome: "stored", samplesScraped: 6, dropped: 2, refused: { duplicate_series: 0 } });
  if ("layout" in reading)
    t.same(
      reading.layout.families.map(({ name, type }) => `${name} ${type}`),
      ["http_requests counter", "node_cpu unknown"],
    );
});

t.test("series that become the same are one, the first, and the others are counted as duplicates", async (t) => {
  const { reading, series } = read([
    { action: "keep", sourceLabels: ["__name__"], regex: "http_.*" },
    { action: "labeldrop", regex: "code" },
  ]);
  t.same(series, [
    "http_requests_total handler=/a instance=a:9100 job=node 1 @1",
    "http_requests_total handler=/b instance=a:9100 job=node 3 @3",
  ]);
  t.match(reading, { outcome: "partial", samplesScraped: 6, dropped: 3, refused: { duplicate_series: 1 } });
});

t.test("names and labels can be written anew, the target's too, but not the data centre's", async (t) => {
  const { series, reading } = read([
    { action: "keep", sourceLabels: ["__name__"], regex: "node_cpu|go_threads" },
    { sourceLabels: ["__name__"], regex: "(.*)_cpu", targetLabel: "__name__", replacement: "cpu_$1" },
    { sourceLabels: ["instance"], regex: "(.*):.*", targetLabel: "instance" },
    { action: "labelkeep", regex: "__name__|instance|cpu" },
    { sourceLabels: ["datacenter"], targetLabel: "seen" },
  ]);
  t.same(series, ["go_threads instance=a 8 @2", "cpu_node cpu=0 instance=a 4.5"]);
  if ("layout" in reading) {
    t.same(
      mergeLabels(labelsOf(labels), reading.layout.rows[0]!.labels, "x").map(([name]) => name),
      ["__name__", "datacenter", "instance", "region"],
    );
  }
});

t.test("a series without a name, or with a bad one, fails the scrape as in Prometheus", async (t) => {
  const fault = (edit: Partial<RelabelRule>) => read([edit]).reading;
  t.match(fault({ targetLabel: "__name__", replacement: "" }), {
    outcome: "failed_parse",
    error: "metric_relabel_configs: expected go_goroutines to keep a name, got none",
    samplesScraped: 6,
  });
  t.match(fault({ targetLabel: "__name__", replacement: "a b" }), {
    error: /expected a metric name for go_goroutines, got "a b"$/,
  });
  t.match(fault({ action: "labelmap", regex: "code", replacement: "_" }), { outcome: "stored" });
  t.match(fault({ action: "labelmap", regex: "c(.*)", replacement: "$1-" }), {
    error: /expected a label name on http_requests_total, got "ode-"$/,
  });
});

t.test("limits hold for what relabelling leaves", async (t) => {
  const drop = { action: "drop", sourceLabels: ["__name__"], regex: "go_.*|node_.*" } as const;
  t.match(read([drop], body, { sampleLimit: 3 }).reading, { outcome: "stored" });
  t.match(read([drop], body, { sampleLimit: 2 }).reading, { outcome: "failed_sample_limit" });
  t.match(read([drop], body, { labelLimit: 7 }).reading, { outcome: "stored" });
  t.match(read([drop], body, { labelLimit: 6 }).reading, {
    outcome: "failed_label_limit",
    error: /expected at most 6 labels, got 7/,
  });
  const without = { action: "labeldrop", regex: "code|handler|instance" } as const;
  t.match(read([drop, without], body, { labelLimit: 4 }).reading, { outcome: "partial" });
  const longest = { labelNameLengthLimit: 9, labelValueLengthLimit: 19 };
  t.match(read([drop], body, longest).reading, {
    outcome: "failed_label_limit",
    error: /expected at most 9 bytes, got 10/,
  });
});

t.test(
  "a line that comes twice and is dropped counts as dropped, and refused timestamps of dropped rows do not count",
  async (t) => {
    const text = `a 1\na 1\nb 1 ${nowMs + 1e10}\nc 1 ${nowMs + 1e10}\n`;
    const { reading, series } = read([{ action: "drop", sourceLabels: ["__name__"], regex: "a|b" }], text);
    t.same(series, ["c instance=a:9100 job=node absent"]);
    t.match(reading, {
      outcome: "partial",
      samplesScraped: 4,
      dropped: 3,
      refused: { duplicate_series: 0, timestamp_ahead: 1 },
    });
  },
);

t.test("targets that agree in what the rules touch share one layout, and others do not", async (t) => {
  const reader = new BodyReader();
  const layoutFor = (instance: string, rules: readonly Partial<RelabelRule>[]) => {
    const reading = reader.read(
      targetReading(targetOf({ ...labels, instance }, rules)),
      Buffer.from(body),
      "text",
      nowMs,
    );
    if (!("layout" in reading)) throw new Error(reading.error);
    return reading.layout;
  };
  const byName = [{ action: "drop", sourceLabels: ["__name__"], regex: "go_.*" }] as const;
  t.equal(layoutFor("a:1", byName), layoutFor("b:1", byName));
  const byInstance = [{ sourceLabels: ["instance"], regex: "(.*):.*", targetLabel: "host" }];
  t.not(layoutFor("a:1", byInstance), layoutFor("b:1", byInstance));
});

t.test("the cached evaluation is the plain one, whatever the rules", async (t) => {
  const random = seededRandom(seed);
  const pick = <T>(from: readonly T[]): T => from[random.below(from.length)]!;
  const names = ["a", "b", "instance", "job", "datacenter", "rack"];
  const values = ["x", "y", "a", "b", "node", "fra"];
  const regexes = ["(.*)", "x|y", "(x)|(.)", ".*a.*", "a|b|rack", "inst.*|a", "[^x]*", "(.+)", "x;(.*)"];
  let left = 0;
  let lost = 0;
  let shared = 0;
  for (let round = 0; round < 400; round++) {
    const rules = Array.from({ length: 1 + random.below(4) }, (): RelabelRule => {
      const action = pick(relabelActions);
      const sourceLabels = Array.from({ length: random.below(3) }, () => pick([...names, "__name__"]));
      const regex = pick(regexes);
      if (action === "labelmap") return rule({ action, regex, replacement: pick(["b", "c", "$1", "x_$1"]) });
      const targetLabel =
        action === "replace" && random.below(3) === 0 ? "$1" : pick(["a", "b", "c", "instance", "rack"]);
      return rule({ action, sourceLabels, regex, modulus: 3, targetLabel, replacement: pick(["$1", "x", "", "$1y"]) });
    });
    const metricRelabel = metricRelabelOf(rules, ["datacenter", "region"]);
    const plain = new Relabelling(rules);
    const honorLabels = random.below(2) === 0;
    const rows = Array.from({ length: 8 }, (_, i) => {
      const entries = new Map<string, string>();
      const own = honorLabels ? names : ["a", "b"];
      for (let n = random.below(4); n > 0; n--) entries.set(pick(own), pick(values));
      return { name: pick(["m", "n", `u${i}`]), labels: labelsOf(entries), kind: "float" as const, family: 0 };
    });
    const layout = layoutOf(rows, [{ name: "m", type: "gauge", help: "", unit: "" }]);
    const relabeller = new LayoutRelabeller(new Interned());
    const results = new Set<unknown>();
    for (let each = 0; each < 6; each++) {
      const place: Label[] = [
        ["datacenter", "fra"],
        ["region", "eu"],
      ];
      const target = {
        ...targetOf({ instance: pick(values), job: "node", rack: pick(values), ...Object.fromEntries(place) }, []),
        options: { ...plainScrapeOptions, honorLabels, metricRelabel },
      };
      let result: ReturnType<LayoutRelabeller["relabel"]>;
      const expected: string[] = [];
      let fails = false;
      for (const row of rows) {
        const all = mergeLabels(target.labels, row.labels, row.name);
        const map = new Map(all.filter(([name]) => name !== "datacenter" && name !== "region"));
        if (plain.apply(map) !== undefined) continue;
        if (!map.get("__name__")) fails = true;
        for (const [name, value] of all) if (name === "datacenter" || name === "region") map.set(name, value);
        if ([...map.keys()].some((name) => !/^[a-zA-Z_]\w*$/.test(name))) fails = true;
        const key = labelsKey(labelsOf(map));
        if (!expected.includes(key)) expected.push(key);
      }
      try {
        result = relabeller.relabel(layout, relabeller.ofTarget(target, metricRelabel));
      } catch (error) {
        if (!fails) throw error;
        lost++;
        continue;
      }
      const got = result.layout.rows.map((row) => labelsKey(mergeLabels(target.labels, row.labels, row.name)));
      if (fails || JSON.stringify(got) !== JSON.stringify(expected)) {
        t.fail(
          `round ${round}: ${JSON.stringify({ rules, target: target.labels, rows, honorLabels, got, expected, fails })}`,
        );
        return;
      }
      if (results.has(result)) shared++;
      results.add(result);
      left += got.length;
    }
  }
  t.comment(JSON.stringify({ left, lost, shared }));
  t.ok(left > 1000 && lost > 0 && shared > 100, "something of everything happened");
});

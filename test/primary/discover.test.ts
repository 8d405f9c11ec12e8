import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { systemClock } from "#/lib/clock/clock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { labelsRecord } from "#/lib/model/labels.ts";
import { sameTarget, type Target } from "#/lib/model/target.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Discovery } from "#/primary/discover/discover.ts";
import { systemDisk } from "#/primary/discover/disk.ts";
import { discover, topologyOf, urls } from "#/test/support/discovery.ts";

/** Url, labels, interval and timeout, as the API of Prometheus shows them. */
function shown(targets: readonly Target[]): string[] {
  const place = new Set(["datacenter", "region", "provider"]);
  return targets
    .map(({ url, labels, intervalMs, timeoutMs }) => {
      const own = labels.filter(([name]) => !place.has(name));
      return `${url} ${JSON.stringify(labelsRecord(own))} ${intervalMs / 1000}s ${timeoutMs / 1000}s`;
    })
    .sort();
}

t.test(
  "urls, labels and times are those of Prometheus 2.42.0 (its /api/v1/targets, run on this configuration)",
  async (t) => {
    const list = `- targets: ["10.1.0.1", "10.1.0.2:9100", "[2001:db8::1]", "[2001:db8::1]:9100", "plain.example"]
  labels: { rack: 7, empty: "", __meta_x: y }
- targets: ["10.1.0.3:443"]
  labels: { __scheme__: https }
- targets: ["10.1.0.4"]
  labels: { __scheme__: https, __metrics_path__: "/a b/é?x=1#y!*'()", instance: given, job: other }
- targets: ["10.1.0.5:80"]
  labels: { __param_target: "lost", __param_new: "n 1", __scrape_interval__: 1m30s, __scrape_timeout__: 5s }
- targets: ["10.1.0.6:80"]
  labels: { __metrics_path__: "nolead" }
- targets: ["10.1.0.7:80"]
  labels: { __scrape_interval__: 2s }
- targets: ["10.1.0.8:80", "10.1.0.8:80"]
- targets: ["10.1.0.10:80/x", "http://10.1.0.11:80"]
- targets: ["10.1.0.12:80"]
  labels: { __param_module: over, __param_target: "" }
- targets:
  labels:
- labels: {a: b}
`;
    const { discovery, metrics } = await discover(
      t,
      `  - job_name: node
    params: { module: [http_2xx, second], target: [""], z: [], "k y": ["v&1"] }
    file_sd_configs: [{ files: [list.yml] }]
  - job_name: quick
    scrape_interval: 5s
    static_configs: [{ targets: ["10.2.0.1:1"] }]
  - job_name: probe
    static_configs:
      - targets: ["10.3.0.1:9115"]
        labels: { __param_target: "http://x/?a=b c&d=~*!'()é+%", __param_a: "1", instance: "" }
      - targets: ["localhost"]
        labels: { __address__: "10.9.9.9:1", "instance": "i" }
`,
      { files: { "/etc/heliograph/list.yml": list } },
    );
    const query = "?k+y=v%261&module=http_2xx&module=second&target=";
    const node = (address: string, rest: string, labels = `"instance":"${address}","job":"node"`) =>
      `http://${address}${rest} {${labels}} 15s 10s`;
    t.same(
      shown(discovery.targets()),
      [
        node("10.1.0.1:80", `/metrics${query}`, '"instance":"10.1.0.1:80","job":"node","rack":"7"'),
        node("10.1.0.2:9100", `/metrics${query}`, '"instance":"10.1.0.2:9100","job":"node","rack":"7"'),
        node("[2001:db8::1]:80", `/metrics${query}`, '"instance":"[2001:db8::1]:80","job":"node","rack":"7"'),
        node("[2001:db8::1]:9100", `/metrics${query}`, '"instance":"[2001:db8::1]:9100","job":"node","rack":"7"'),
        node("plain.example:80", `/metrics${query}`, '"instance":"plain.example:80","job":"node","rack":"7"'),
        `https://10.1.0.3:443/metrics${query} {"instance":"10.1.0.3:443","job":"node"} 15s 10s`,
        `https://10.1.0.4:443/a%20b/%C3%A9%3Fx=1%23y%21%2A%27%28%29${query} {"instance":"given","job":"other"} 15s 10s`,
        `http://10.1.0.5:80/metrics?k+y=v%261&module=http_2xx&module=second&new=n+1&target= {"instance":"10.1.0.5:80","job":"node"} 90s 5s`,
        node("10.1.0.6:80", `/nolead${query}`),
        node("10.1.0.8:80", `/metrics${query}`),
        node("10.1.0.12:80", `/metrics${query}`),
        'http://10.2.0.1:1/metrics {"instance":"10.2.0.1:1","job":"quick"} 5s 5s',
        `http://10.3.0.1:9115/metrics?a=1&target=http%3A%2F%2Fx%2F%3Fa%3Db+c%26d%3D~%2A%21%27%28%29%C3%A9%2B%25 {"instance":"10.3.0.1:9115","job":"probe"} 15s 10s`,
        'http://localhost:80/metrics {"instance":"i","job":"probe"} 15s 10s',
      ].sort(),
    );
    t.same(discovery.refused(), [
      {
        address: "10.1.0.7:80",
        message: '__scrape_timeout__: expected at most the interval (2s), got "10s"',
        job: "node",
      },
      {
        address: "10.1.0.10:80/x",
        message:
          'expected host:port alone; `scheme` and `metrics_path` of the scrape config have the rest, got "10.1.0.10:80/x"',
        job: "node",
      },
      {
        address: "http://10.1.0.11:80",
        message:
          'expected host:port alone; `scheme` and `metrics_path` of the scrape config have the rest, got "http://10.1.0.11:80"',
        job: "node",
      },
    ]);
    t.equal(metrics.get("heliograph_primary_discovered_targets", { job: "node" }), 11);
    t.equal(metrics.get("heliograph_primary_refused_targets", { job: "node" }), 3);
  },
);

t.test(
  "a target carries its data centre's labels, name and region, under the names that the topology gives them",
  async (t) => {
    const configs = `  - job_name: node
    static_configs:
      - targets: ["10.0.0.1:9100"]
      - targets: ["10.0.0.2:9100"]
        labels: { provider: rented }
    file_sd_configs: [{ files: [list.json] }]
`;
    const files = {
      "/etc/heliograph/list.json": `[
      { "targets": ["10.0.0.3:9100"], "labels": { "datacenter": "elsewhere", "region": "eu" } }
    ]`,
    };
    const { discovery } = await discover(t, configs, { files });
    const byInstance = (targets: readonly Target[]) =>
      targets.map(({ labels }) => labelsRecord(labels)).sort((a, b) => (a.instance! < b.instance! ? -1 : 1));
    const place = { datacenter: "fra", region: "eu", job: "node" };
    t.same(byInstance(discovery.targets()), [
      { ...place, instance: "10.0.0.1:9100", provider: "own" },
      { ...place, instance: "10.0.0.2:9100", provider: "rented" },
      { ...place, instance: "10.0.0.3:9100", provider: "own", exported_datacenter: "elsewhere" },
    ]);
    const renamed = await discover(t, configs, {
      files,
      edit: (text) =>
        text.replace("federation: test", "federation: test\nlabel_names: { datacenter: dc, region: zone }"),
    });
    t.same(byInstance(renamed.discovery.targets())[0], {
      dc: "fra",
      zone: "eu",
      job: "node",
      instance: "10.0.0.1:9100",
      provider: "own",
    });
  },
);

t.test("a scrape config's options reach its targets", async (t) => {
  const { discovery } = await discover(
    t,
    `  - job_name: node
    honor_labels: true
    honor_timestamps: false
    sample_limit: 1
    cardinality_limit: 6
    label_limit: 2
    label_name_length_limit: 3
    label_value_length_limit: 4
    body_size_limit: 5KB
    static_configs: [{ targets: ["10.0.0.1:9100"] }]
`,
  );
  t.same(discovery.targets()[0]?.options, {
    honorLabels: true,
    honorTimestamps: false,
    sampleLimit: 1,
    labelLimit: 2,
    labelNameLengthLimit: 3,
    labelValueLengthLimit: 4,
    bodyBytesMax: 5120,
    cardinalityLimit: 6,
  });
});

t.test("relabelling comes before everything else is made of a target's labels", async (t) => {
  const { discovery, metrics } = await discover(
    t,
    `  - job_name: probe
    scrape_interval: 60s
    params: { module: [http_2xx, second] }
    relabel_configs:
      - { source_labels: [__address__], target_label: __param_target }
      - { source_labels: [__param_target], regex: "https?://([^/]+).*", target_label: site }
      - { source_labels: [__param_module, __scrape_interval__, __scheme__, __metrics_path__], target_label: seen }
      - { source_labels: [__meta_filepath], regex: ".*/(.+)[.]yml", target_label: file }
      - { action: labelmap, regex: "__meta_(site_.+)" }
      - { source_labels: [site], regex: internal.*, action: drop }
      - { target_label: __param_module, replacement: tcp }
      - { source_labels: [kind], regex: slow, target_label: __scrape_interval__, replacement: 5m }
      - { source_labels: [kind], regex: bad, target_label: __address__, replacement: "" }
      - { source_labels: [site], target_label: __tmp_site }
      - { source_labels: [__tmp_site, kind], regex: "(.*);named", target_label: instance }
      - { regex: kind, action: labeldrop }
      - { target_label: __address__, source_labels: [__address__], regex: "http.*", replacement: "127.0.0.1:9115" }
      - { target_label: __metrics_path__, replacement: /probe }
    file_sd_configs: [{ files: [sites.yml] }]
`,
    {
      files: {
        "/etc/heliograph/sites.yml": `- targets: ["https://a.example/x"]
  labels: { kind: slow, __meta_site_owner: web }
- targets: ["http://b.example"]
  labels: { kind: named }
- targets: ["http://internal.example", "http://internal2.example"]
- targets: ["http://c.example"]
  labels: { kind: bad }
`,
      },
    },
  );
  t.same(
    shown(discovery.targets()),
    [
      'http://127.0.0.1:9115/probe?module=tcp&module=second&target=https%3A%2F%2Fa.example%2Fx {"file":"sites","instance":"127.0.0.1:9115","job":"probe","seen":"http_2xx;1m;http;/metrics","site":"a.example","site_owner":"web"} 300s 10s',
      'http://127.0.0.1:9115/probe?module=tcp&module=second&target=http%3A%2F%2Fb.example {"file":"sites","instance":"b.example","job":"probe","seen":"http_2xx;1m;http;/metrics","site":"b.example"} 60s 10s',
    ].sort(),
  );
  t.equal(metrics.get("heliograph_primary_dropped_targets", { job: "probe" }), 2);
  t.same(discovery.refused(), [
    { address: "http://c.example", message: 'expected host:port with a port up to 65535, got ""', job: "probe" },
  ]);
});

t.test(
  "rules for series travel with a scrape config's options, and a change of them is one of the targets",
  async (t) => {
    const configs = (regex: string) => `  - job_name: node
    metric_relabel_configs: [{ source_labels: [__name__], regex: ${regex}, action: drop }]
    static_configs: [{ targets: ["10.0.0.1:9100"] }]
`;
    const [a] = (await discover(t, configs("go_.*"))).discovery.targets();
    t.match(a!.options.metricRelabel, {
      rules: [
        { action: "drop", sourceLabels: ["__name__"], separator: ";", regex: "go_.*", modulus: 0, targetLabel: "" },
      ],
      placeLabels: ["datacenter", "region"],
    });
    const [same] = (await discover(t, configs("go_.*"))).discovery.targets();
    const [other] = (await discover(t, configs("py_.*"))).discovery.targets();
    t.ok(sameTarget(a!, same!));
    t.notOk(sameTarget(a!, other!));
  },
);

t.test(
  "how targets are spoken to travels with their options, shared by a scrape config, without its secrets",
  async (t) => {
    const configs = (password: string, user = "u") => `  - job_name: node
    basic_auth: { username: ${user}, password: ${password} }
    static_configs: [{ targets: ["10.0.0.1:9100", "10.0.0.2:9100"] }]
  - job_name: plain
    static_configs: [{ targets: ["10.0.0.3:9100"] }]
`;
    const targets = async (text: string) => (await discover(t, text)).discovery.targets();
    const found = await targets(configs("hunter2"));
    const [first, second] = found.filter(({ job }) => job === "node");
    t.match(first!.options.http, {
      job: "node",
      authorization: { type: "basic", username: { text: "u" }, password: { secret: "basic_auth.password" } },
    });
    t.equal(first!.options.http, second!.options.http, "one object");
    t.equal(found.find(({ job }) => job === "plain")!.options.http, undefined);
    t.notMatch(JSON.stringify(found), "hunter2");
    const other = async (text: string) => (await targets(text)).find(({ id }) => id === first!.id)!;
    t.ok(sameTarget(first!, await other(configs("hunter3"))), "another password is no other target");
    t.notOk(sameTarget(first!, await other(configs("hunter2", "v"))), "another user is");
  },
);

t.test("targets are distinct and sorted by id, also when two sources name them", async (t) => {
  const { discovery, changes } = await discover(
    t,
    `  - job_name: node
    static_configs: [{ targets: ["10.0.0.2:1", "10.0.0.1:1", "10.0.0.3:1"] }]
    file_sd_configs: [{ files: [a.json] }, { files: [b.json] }]
`,
    {
      files: {
        "/etc/heliograph/a.json": '[{ "targets": ["10.0.0.1:1"] }]',
        "/etc/heliograph/b.json": '[{ "targets": ["10.0.0.1:1", "10.0.0.4:1"] }]',
      },
    },
  );
  const ids = discovery.targets().map(({ id }) => id);
  t.equal(ids.length, 4);
  t.same(ids, ids.toSorted());
  t.equal(changes(), 1);
});

const fileJob = `  - job_name: node
    file_sd_configs: [{ files: ["targets/node-*.yml"], refresh_interval: 1m }]
`;
const dir = "/etc/heliograph/targets";

t.test("files are found by their pattern, beside the topology file", async (t) => {
  const { discovery } = await discover(t, fileJob, {
    files: {
      [`${dir}/node-1.yml`]: '- targets: ["10.0.0.1:1"]',
      [`${dir}/node-2.yml`]: '- targets: ["10.0.0.2:1"]',
      [`${dir}/other.yml`]: '- targets: ["10.0.0.3:1"]',
      [`${dir}/node-3.yml.tmp`]: '- targets: ["10.0.0.4:1"]',
    },
  });
  t.same(urls(discovery.targets()), ["http://10.0.0.1:1/metrics", "http://10.0.0.2:1/metrics"]);
});

t.test("a change in the directory is read once it is quiet, and the same content changes nothing", async (t) => {
  const { discovery, files, change, changes } = await discover(t, fileJob, {
    files: { [`${dir}/node-1.yml`]: '- targets: ["10.0.0.1:1"]' },
  });
  const before = discovery.targets();
  await change(dir);
  t.equal(discovery.targets(), before);
  files.set(`${dir}/node-1.yml`, '# written anew\n- targets: ["10.0.0.1:1"]');
  await change(dir);
  t.equal(discovery.targets(), before, "nor does another way to say the same");
  t.equal(changes(), 1);
  files.set(`${dir}/node-1.yml`, '- targets: ["10.0.0.2:1"]');
  await change(dir);
  t.same(urls(discovery.targets()), ["http://10.0.0.2:1/metrics"]);
  t.equal(changes(), 2);
});

t.test("a change that no event told of is seen after the refresh interval", async (t) => {
  const { discovery, files, clock } = await discover(t, fileJob, {
    files: { [`${dir}/node-1.yml`]: '- targets: ["10.0.0.1:1"]' },
  });
  files.set(`${dir}/node-1.yml`, '- targets: ["10.0.0.2:1"]');
  await clock.advance(59_000);
  t.same(urls(discovery.targets()), ["http://10.0.0.1:1/metrics"]);
  await clock.advance(1300);
  t.same(urls(discovery.targets()), ["http://10.0.0.2:1/metrics"]);
});

t.test("a file that cannot be read keeps its last targets, is counted, and says since when", async (t) => {
  const { discovery, files, change, clock, metrics, sentences } = await discover(t, fileJob, {
    files: { [`${dir}/node-1.yml`]: '- targets: ["10.0.0.1:1"]', [`${dir}/node-2.yml`]: '- targets: ["10.0.0.2:1"]' },
  });
  const errors = () => metrics.get("heliograph_primary_discovery_errors_total", { job: "node" });
  const sinceMs = clock.nowMs() + 100;
  for (const [content, message] of [
    ["- targets: [", /^1:13: not valid YAML: Flow sequence/],
    ["", /^expected a list, got an empty file; \[\] is a list of none$/],
    ["targets: []", /^1:1: expected a list of groups with targets and labels, got a mapping with 1 key$/],
    [new Error("EIO: i/o error"), /^EIO: i\/o error$/],
  ] as const) {
    files.set(`${dir}/node-1.yml`, content);
    const before = errors();
    await change(dir);
    t.same(urls(discovery.targets()), ["http://10.0.0.1:1/metrics", "http://10.0.0.2:1/metrics"]);
    t.equal(errors(), before + 1);
    const [problem, ...more] = discovery.problems();
    t.same(more, []);
    t.match(problem, { job: "node", file: `${dir}/node-1.yml`, sinceMs, targetsKept: 1, message });
  }
  t.equal(sentences.filter((sentence) => sentence.includes("cannot be read")).length, 4);
  await change(dir);
  t.equal(sentences.filter((sentence) => sentence.includes("cannot be read")).length, 4, "the same is said once");
  files.set(`${dir}/node-1.yml`, "[]");
  await change(dir);
  t.same(discovery.problems(), []);
  t.same(urls(discovery.targets()), ["http://10.0.0.2:1/metrics"]);
  t.match(sentences.at(-1), "can be read again");
});

t.test("a file that is removed takes its targets with it; a directory that is away does not", async (t) => {
  const { discovery, files, change, clock } = await discover(t, fileJob, {
    files: { [`${dir}/node-1.yml`]: '- targets: ["10.0.0.1:1"]', [`${dir}/node-2.yml`]: '- targets: ["10.0.0.2:1"]' },
  });
  files.delete(`${dir}/node-2.yml`);
  await change(dir);
  t.same(urls(discovery.targets()), ["http://10.0.0.1:1/metrics"]);
  files.delete(`${dir}/node-1.yml`);
  await change(dir);
  t.same(urls(discovery.targets()), ["http://10.0.0.1:1/metrics"], "the directory cannot be listed: nothing is known");
  t.match(discovery.problems(), [{ file: dir, targetsKept: 1, message: /ENOENT/ }]);
  files.set(`${dir}/node-9.yml`, '- targets: ["10.0.0.9:1"]');
  await clock.advance(2000);
  t.same(urls(discovery.targets()), ["http://10.0.0.9:1/metrics"], "it is looked for again by itself");
  t.same(discovery.problems(), []);
});

t.test("no directory at the start is no reason to stop: it is said, and looked for", async (t) => {
  const { discovery, files, clock } = await discover(t, fileJob);
  t.same(discovery.targets(), []);
  t.match(discovery.problems(), [{ file: dir }]);
  files.set(`${dir}/node-1.yml`, '- targets: ["10.0.0.1:1"]');
  await clock.advance(2000);
  t.same(urls(discovery.targets()), ["http://10.0.0.1:1/metrics"]);
});

t.test("on a real disk, a new, replaced, rewritten or removed file is seen within a second", async (t) => {
  const base = await mkdtemp(join(tmpdir(), "heliograph-discover-"));
  const folder = join(base, "targets");
  await mkdir(folder);
  const topology = topologyOf(fileJob);
  const discovery = new Discovery({
    topology,
    datacenter: topology.datacenters[0]!,
    baseDir: base,
    clock: systemClock(),
    log: silentLogger(),
    metrics: createRegistry({ tier: "primary" }),
    disk: systemDisk,
  });
  t.teardown(async () => {
    discovery.close();
    await rm(base, { recursive: true });
  });
  await discovery.start();
  t.same(discovery.targets(), []);

  const file = join(folder, "node-1.yml");
  const steps: [string, () => Promise<void>, string[]][] = [
    ["new", () => writeFile(file, '- targets: ["10.0.0.1:1"]'), ["http://10.0.0.1:1/metrics"]],
    [
      "replaced",
      async () => {
        await writeFile(`${file}.tmp`, '- targets: ["10.0.0.2:1"]');
        await rename(`${file}.tmp`, file);
      },
      ["http://10.0.0.2:1/metrics"],
    ],
    ["rewritten", () => writeFile(file, '- targets: ["10.0.0.3:1"]'), ["http://10.0.0.3:1/metrics"]],
    [
      "with its directory",
      async () => {
        await mkdir(join(base, "new"));
        await writeFile(join(base, "new", "node-1.yml"), '- targets: ["10.0.0.4:1"]');
        await rename(folder, join(base, "old"));
        await rename(join(base, "new"), folder);
      },
      ["http://10.0.0.4:1/metrics"],
    ],
    ["removed", () => rm(file), []],
  ];
  for (const [name, act, expected] of steps) {
    const changed = new Promise<void>((resolve) => discovery.onChange(resolve));
    const beganMs = performance.now();
    await act();
    await Promise.race([changed, new Promise((resolve) => setTimeout(resolve, 4000))]);
    const tookMs = performance.now() - beganMs;
    t.same(urls(discovery.targets()), expected, name);
    t.ok(tookMs < 1000, `${name}: ${tookMs.toFixed(0)} ms`);
  }
});

t.test("labels that are too many, too long or no text leave out their target alone", async (t) => {
  const many = Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`l${i}`, "x"]));
  const { discovery } = await discover(
    t,
    `  - job_name: node
    file_sd_configs: [{ files: [list.json] }]
`,
    {
      files: {
        "/etc/heliograph/list.json": JSON.stringify([
          { targets: ["10.0.0.1:1"] },
          { targets: ["10.0.0.2:1"], labels: many },
          { targets: ["10.0.0.3:1"], labels: { a: "x".repeat(5000) } },
          { targets: ["10.0.0.4:1"], labels: { a: "\ud800" } },
          { targets: ["10.0.0.5:1"], labels: { __scheme__: "ftp" } },
          { targets: ["10.0.0.6:1"], labels: { __scrape_interval__: "often" } },
          { targets: ["10.0.0.7:1"], labels: { __scrape_interval__: "100ms", __scrape_timeout__: "50ms" } },
          { targets: [""] },
        ]),
      },
    },
  );
  t.same(urls(discovery.targets()), ["http://10.0.0.1:1/metrics"]);
  t.same(
    discovery.refused().map(({ message }) => message),
    [
      "expected at most 64 labels, got 75",
      'label "a": expected at most 4096 bytes, got 5001',
      'label "a": expected valid Unicode, got "\\ud800"',
      '__scheme__: expected http or https, got "ftp"',
      '__scrape_interval__: expected a duration like 15s or 1m30s, got "often"',
      '__scrape_interval__: expected at least 1s, got "100ms"',
      'expected host:port with a port up to 65535, got ""',
    ],
  );
});

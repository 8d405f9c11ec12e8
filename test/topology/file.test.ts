import { randomInt } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { MiB } from "#/lib/bytes/units.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { splitHostPort, targetAddressFault } from "#/topology/address.ts";
import { loadTopology, parseTopology, topologyBytesMax } from "#/topology/file.ts";
import { topologyJsonSchema } from "#/topology/generate.ts";
import { formatProblem, showValue, type TopologyInvalid } from "#/topology/problem.ts";
import { durationMs, sizeBytes } from "#/topology/schema.ts";
import { editDistance, nearest } from "#/topology/suggest.ts";

const root = join(import.meta.dirname, "../..");

/** The smallest file without a warning; `edit` replaces its parts. */
function minimal(edit: (text: string) => string = (text) => text): string {
  return edit(`format_version: 1
federation: test
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair:
    - { name: g1, http: { listen: "127.0.0.1:9480" } }
    - { name: g2, http: { listen: "127.0.0.1:9481" } }
datacenters:
  - name: fra
    region: eu
    nats: { servers: ["nats://127.0.0.1:4223"] }
    primaries:
      - { name: p1, http: { listen: "127.0.0.1:9470" }, grpc: { listen: "127.0.0.1:9471" } }
      - { name: p2, http: { listen: "127.0.0.1:9472" }, grpc: { listen: "127.0.0.1:9473" } }
    secondaries:
      - { name: s1, capacity: 10, http: { listen: "127.0.0.1:9474" } }
      - { name: s2, capacity: 10, http: { listen: "127.0.0.1:9475" } }
    labels: {}
scrape_configs:
  - job_name: node
    static_configs:
      - targets: ["10.0.0.1:9100"]
`);
}

function told(text: string): string[] {
  return parseTopology(text, "t.yaml").problems.map(formatProblem);
}

function replaced(from: string, to: string): string[] {
  return told(
    minimal((text) => {
      if (!text.includes(from)) throw new Error(`the test's file has no ${from}`);
      return text.replace(from, to);
    }),
  );
}

t.test("a small right file has no problem, and defaults where nothing is said", async (t) => {
  const { topology, problems } = parseTopology(minimal(), "t.yaml");
  t.same(problems, []);
  t.same(topology?.label_names, { datacenter: "datacenter", region: "region" });
  t.same(topology?.retention, { raw: "7d", "1m": "30d", "1h": "1y" });
  t.equal(topology?.head_retention, "2h");
  t.equal(topology?.datacenters[0]?.nats.log_bytes_max, "10GiB");
  t.same(topology?.scrape_configs[0], {
    job_name: "node",
    metrics_path: "/metrics",
    scheme: "http",
    params: {},
    honor_labels: false,
    honor_timestamps: true,
    sample_limit: 0,
    cardinality_limit: 0,
    label_limit: 0,
    label_name_length_limit: 0,
    label_value_length_limit: 0,
    body_size_limit: "64MiB",
    relabel_configs: [],
    metric_relabel_configs: [],
    proxy_from_environment: false,
    follow_redirects: true,
    enable_compression: true,
    priority: 0,
    static_configs: [{ targets: ["10.0.0.1:9100"], labels: {} }],
    file_sd_configs: [],
  });
});

t.test("the example has no problem", async (t) => {
  const { topology, warnings } = await loadTopology(join(root, "topology/example.yaml"));
  t.same(warnings, []);
  t.same(
    topology.datacenters.map(({ name }) => name),
    ["fra1", "nyc1"],
  );
});

t.test("a file of format version 1 is still read as it was then", async (t) => {
  const { topology, warnings } = await loadTopology(join(root, "test/golden/topology-v1.yaml"));
  t.same(warnings.map(formatProblem), []);
  t.equal(topology.tls.secondary?.key_file, "/tls/{name}.key");
  t.same(topology.label_names, { datacenter: "dc", region: "zone" });
  t.equal(durationMs(topology.retention["1h"]), 35_164_800_000);
  t.equal(durationMs(topology.head_retention), 5_400_000);
  const datacenter = topology.datacenters[0]!;
  t.equal(sizeBytes(datacenter.nats.log_bytes_max), 1_610_612_736);
  t.same(
    datacenter.secondaries.map(({ capacity, cardinality_limit }) => [capacity, cardinality_limit]),
    [
      [100, 6_000_000],
      [5000, 6_000_000],
    ],
  );
  t.same(datacenter.scrape_configs[0], {
    job_name: "own",
    scrape_interval: "1m",
    scrape_timeout: "1500ms",
    metrics_path: "/probe",
    scheme: "https",
    params: { module: ["http_2xx"], target: ["a", "b"] },
    honor_labels: true,
    honor_timestamps: false,
    sample_limit: 1000,
    cardinality_limit: 0,
    label_limit: 30,
    label_name_length_limit: 200,
    label_value_length_limit: 300,
    body_size_limit: "10MB",
    relabel_configs: [],
    metric_relabel_configs: [],
    proxy_from_environment: false,
    follow_redirects: true,
    enable_compression: true,
    priority: 0,
    static_configs: [
      {
        targets: ["10.1.9.1:9115", "[2001:db8::9]:9115", "plain.example"],
        labels: { role: "probe", __param_extra: "1" },
      },
    ],
    file_sd_configs: [{ files: ["targets/*.json", "/etc/targets/list.yaml"], refresh_interval: "30s" }],
  });
});

t.test(
  "every problem of shape is told at once, with place, key, what was expected and what stands there",
  async (t) => {
    const text = `format_version: 2
federation: Big Name
globl: 1
global:
  nats: { servers: [], replicas: 2 }
datacenters:
  - name: a
    nats: { servers: [10.0.0.1], log_bytes_max: 5 }
    primaries: none
    labels: { a-b: c, d: 5 }
    secondaries:
      - { name: s, capacity: many, cardinality_limit: 99999, http: { listen: here } }
    scrape_configs:
      - job_name: ""
        scheme: ftp
        scrape_interval: 5 minutes
        metrics_path: metrics
        sample_limit: -1
        body_size_limit: 10
        honor_labels: "yes"
        metrics_pth: /x
`;
    const dc = "datacenters[0]";
    const job = `${dc}.scrape_configs[0]`;
    t.same(told(text), [
      "t.yaml:1:17: error: format_version: expected 1, got 2 (a number)",
      't.yaml:2:13: error: federation: expected a name of 1 to 40 lower-case letters, digits and inner hyphens, got "Big Name"',
      "t.yaml:3:1: error: globl: unknown key; did you mean global?",
      "t.yaml:5:3: error: global.pair: expected a list, got nothing: the key is missing",
      "t.yaml:5:9: error: global.nats.leaf_servers: expected a list, got nothing: the key is missing",
      "t.yaml:5:20: error: global.nats.servers: expected a list of at least 1, got an empty list",
      "t.yaml:5:34: error: global.nats.replicas: expected 1 or 3, got 2 (a number)",
      `t.yaml:7:5: error: ${dc}.region: expected a text, got nothing: the key is missing`,
      `t.yaml:8:23: error: ${dc}.nats.servers[0]: expected a NATS server like nats://127.0.0.1:4222 or tls://nats.example:4222, got "10.0.0.1"`,
      `t.yaml:8:49: error: ${dc}.nats.log_bytes_max: expected a size like 512KB, 10MB or 1GiB, or 0 for no limit, got 5 (a number)`,
      `t.yaml:9:16: error: ${dc}.primaries: expected a list, got "none"`,
      `t.yaml:10:15: error: ${dc}.labels.a-b: expected a label name of letters, digits and underscores that does not begin with a digit, got the key "a-b"`,
      `t.yaml:10:26: error: ${dc}.labels.d: expected a text, got 5 (a number)`,
      `t.yaml:12:30: error: ${dc}.secondaries[0].capacity: expected a number, got "many"`,
      `t.yaml:12:55: error: ${dc}.secondaries[0].cardinality_limit: expected a number of at least 100000, got 99999 (a number)`,
      `t.yaml:12:78: error: ${dc}.secondaries[0].http.listen: expected an address like 10.0.0.1:9470, host.example:9470 or [::1]:9470, got "here"`,
      `t.yaml:14:19: error: ${job}.job_name: expected a text of at least 1 character, got ""`,
      `t.yaml:15:17: error: ${job}.scheme: expected one of http, https, got "ftp"`,
      `t.yaml:16:26: error: ${job}.scrape_interval: expected a duration like 15s, 1m30s or 7d, got "5 minutes"`,
      `t.yaml:17:23: error: ${job}.metrics_path: expected a path that begins with /, got "metrics"`,
      `t.yaml:18:23: error: ${job}.sample_limit: expected a number of at least 0, got -1 (a number)`,
      `t.yaml:19:26: error: ${job}.body_size_limit: expected a size like 512KB, 10MB or 1GiB, or 0 for no limit, got 10 (a number)`,
      `t.yaml:20:23: error: ${job}.honor_labels: expected true or false, got "yes"`,
      `t.yaml:21:9: error: ${job}.metrics_pth: unknown key; did you mean metrics_path?`,
    ]);
  },
);

t.test("an unknown key hides no other problem", async (t) => {
  t.same(replaced("    labels: {}", "    lables: {}\n    head_retention: 1m"), [
    "t.yaml:18:5: error: datacenters[0].lables: unknown key; did you mean labels?",
    't.yaml:19:21: error: datacenters[0].head_retention: expected at least 10m, because queries look back 5 minutes, got "1m"',
  ]);
  t.same(replaced("federation: test", "federation: test\nzzzzzzzz: 1"), [
    "t.yaml:3:1: error: zzzzzzzz: unknown key; known here: format_version, federation, label_names, tls, retention, head_retention, scrape_defaults, global, datacenters, scrape_configs",
  ]);
});

t.test("what Prometheus has and Heliograph has not is refused by name", async (t) => {
  const config = (key: string) => replaced("  - job_name: node", `  - job_name: node\n    ${key}: []`);
  const at = (key: string) => `t.yaml:21:5: error: scrape_configs[0].${key}: `;
  t.same(config("kubernetes_sd_configs"), [
    `${at("kubernetes_sd_configs")}service discovery of this kind is not supported; use file_sd_configs`,
  ]);
  for (const key of ["oauth2", "native_histogram_bucket_limit", "consul_sd_configs"]) {
    t.match(config(key)[0], /is not supported|are not supported/, key);
    t.equal(config(key).length, 1);
  }
  t.match(config("constructor"), [/unknown key; known here: job_name,/]);
  t.match(replaced("federation: test", "federation: test\nrule_files: []"), [
    "t.yaml:3:1: error: rule_files: rules are not part of the topology file",
  ]);
  t.match(replaced("global:\n", "global:\n  scrape_interval: 5s\n"), [
    /global\.scrape_interval: here `global` is the global tier; set scrape_defaults\.scrape_interval/,
  ]);
});

t.test("what is no YAML, or more or less than one document, is told by line and column", async (t) => {
  t.same(told("a: [1, 2\nb: 3\n").slice(0, 1), [
    "t.yaml:2:1: error: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]",
  ]);
  t.same(told("a: 1\n\tb: 2\n"), ["t.yaml:2:1: error: not valid YAML: Tabs are not allowed as indentation"]);
  t.same(told(`${minimal()}---\nb: 2\n`), [
    "t.yaml:23:1: error: expected one YAML document, got another one that begins here with ---",
  ]);
  const empty = "t.yaml: error: expected a topology, got an empty file; docs/topology.md shows a first one";
  t.same(told(""), [empty]);
  t.same(told("# only a comment\n"), [empty]);
  t.same(told("- a list\n"), ["t.yaml:1:1: error: expected a mapping, got a list of 1"]);
  t.same(told("just text"), ['t.yaml:1:1: error: expected a mapping, got "just text"']);
  t.same(told("a: !weird x\n"), ["t.yaml:1:4: error: not valid YAML: Unresolved tag"]);
});

t.test("a key that stands twice is told where it stands the second time", async (t) => {
  t.same(replaced("federation: test", "federation: test\nfederation: other"), [
    "t.yaml:3:1: error: federation: this key stands here a second time",
  ]);
});

t.test("aliases work, and places inside of them are where they were written", async (t) => {
  const text = minimal((base) =>
    base
      .replace("labels: {}", "labels: &common { team: infra, __secret: x }")
      .replace('["10.0.0.1:9100"]', '["10.0.0.1:9100"]\n        labels: *common'),
  );
  t.same(told(text), [
    't.yaml:18:36: error: datacenters[0].labels.__secret: expected a label that does not begin with __ (those are reserved), got "__secret"',
  ]);
  t.match(told("a: *nowhere\n"), [
    /./,
    /./,
    /./,
    /./,
    /./,
    "t.yaml:1:4: error: a: *nowhere: there is no anchor &nowhere before this",
  ]);
  t.match(told("a: &a [*a]\n").at(-1), "there is no anchor &a before this");
  t.match(told("a: &a {}\nb:\n  <<: *a\n").at(-1), "merge keys are not supported");
});

t.test("a file that would unfold, nest or run beyond its bounds is refused soon", async (t) => {
  let bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (let i = 1; i < 12; i++)
    bomb += `a${i}: &a${i} [${Array(10)
      .fill(`*a${i - 1}`)
      .join(",")}]\n`;
  const cases = {
    aliases: [bomb, "too much: at most 2000000 values are read, counting aliases as what they stand for"],
    brackets: ["[".repeat(100_000), "nested too deeply"],
    depth: [`${"[".repeat(500)}${"]".repeat(500)}`, "nested too deeply: at most 64 levels are read"],
    keys: [Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join("\n"), "only the first 200 problems are shown"],
  } as const;
  for (const [name, [text, message]] of Object.entries(cases)) {
    const began = process.cpuUsage();
    const lines = told(text);
    t.match(lines.at(-1), message, name);
    t.ok(lines.length <= 201, name);
    const { system, user } = process.cpuUsage(began);
    const tookMs = (user + system) / 1000;
    t.ok(tookMs < 2000, `${name}: ${tookMs.toFixed(0)} ms`);
  }
});

t.test("no damage to the file makes the reader throw: it has problems, or it is a topology", async (t) => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 31));
  t.comment(`SEED=${seed}`);
  const random = seededRandom(seed);
  const base = await readFile(join(root, "test/golden/topology-v1.yaml"), "utf8");
  const pieces = [
    "",
    "\n",
    "  ",
    "- ",
    ": ",
    "{",
    "]",
    "&a ",
    "*files",
    "!x ",
    '"',
    "'",
    "#",
    "\t",
    "---\n",
    "null",
    "-1",
    "\u0000",
    "é",
  ];
  for (let i = 0; i < 200; i++) {
    let text = base;
    for (let cuts = 1 + random.below(4); cuts > 0; cuts--) {
      const from = random.below(text.length);
      text = text.slice(0, from) + pieces[random.below(pieces.length)] + text.slice(from + random.below(6));
    }
    const { topology, problems } = parseTopology(text, "t.yaml");
    const errors = problems.filter(({ severity }) => severity === "error");
    if (Boolean(topology) === errors.length > 0) t.fail(`topology and ${errors.length} errors at round ${i}`);
    if (problems.some(({ line, column }) => line < 0 || column < 0)) t.fail(`no place at round ${i}`);
  }
});

t.test("a file that is too large, no text, or not there is one problem that says so", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-topology-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const file = join(dir, "topology.yaml");
  const problemOf = () =>
    loadTopology(file).then(
      () => "",
      (error: TopologyInvalid) => error.problems.map(formatProblem).join(),
    );
  t.match(await problemOf(), /^topology\.yaml: error: .*expected a file that can be read, got ENOENT/);
  await writeFile(file, Buffer.alloc(topologyBytesMax + 1, "#"));
  t.equal(
    await problemOf(),
    `topology.yaml: error: expected at most ${topologyBytesMax / MiB} MiB, got more; put targets into files that file_sd_configs name`,
  );
  await writeFile(file, Buffer.from([0x61, 0xff]));
  t.equal(await problemOf(), "topology.yaml: error: expected text in UTF-8, got other bytes");
  await writeFile(file, `\uFEFF${minimal()}`);
  t.equal(await problemOf(), "", "a byte order mark is no problem");
  await writeFile(file, minimal().replaceAll("\n", "\r\n"));
  t.equal(await problemOf(), "", "nor are line ends of Windows");
});

t.test("names are unique where they must be", async (t) => {
  t.same(replaced("name: s2", "name: g1"), [
    't.yaml:17:17: error: datacenters[0].secondaries[1].name: expected a process\' name, unique over all tiers, got "g1", which global.pair[0].name has too',
  ]);
  const second = (name: string, nats: string) =>
    minimal((text) =>
      text.replace(
        "scrape_configs:\n",
        `  - name: ${name}
    region: us
    nats: { servers: ["nats://127.0.0.1:4224"]${nats} }
    primaries:
      - { name: p3, http: { listen: "127.0.0.1:9570" }, grpc: { listen: "127.0.0.1:9571" } }
      - { name: p4, http: { listen: "127.0.0.1:9572" }, grpc: { listen: "127.0.0.1:9573" } }
    secondaries:
      - { name: s3, http: { listen: "127.0.0.1:9574" } }
      - { name: s4, http: { listen: "127.0.0.1:9575" } }
scrape_configs:\n`,
      ),
    );
  t.same(told(second("nyc", "")), []);
  t.same(told(second("fra", "")), [
    't.yaml:19:11: error: datacenters[1].name: expected a data centre\'s name, unique in the federation, got "fra", which datacenters[0].name has too',
  ]);
  t.match(told(second("hub", "")), [/expected a JetStream domain of its own, got "hub", which global\.nats has too/]);
  t.same(told(second("nyc", ", domain: fra")), [
    't.yaml:21:57: error: datacenters[1].nats.domain: expected a JetStream domain of its own, got "fra", which datacenters[0].name has too',
  ]);
  t.same(
    replaced(
      "    labels: {}",
      "    scrape_configs: [{ job_name: node, static_configs: [] , file_sd_configs: [{ files: [a.json] }] }]",
    ),
    [
      't.yaml:18:34: error: datacenters[0].scrape_configs[0].job_name: expected a job name that is unique in fra, got "node", which scrape_configs[0].job_name has too',
    ],
  );
});

t.test("a pair of one, one secondary, and a job or data centre without targets are warned about", async (t) => {
  t.same(replaced('    - { name: g2, http: { listen: "127.0.0.1:9481" } }\n', ""), [
    "t.yaml:6:5: warning: global.pair: a pair of one: while it is away, the global tier has nobody to take over",
  ]);
  t.same(replaced('      - { name: s2, capacity: 10, http: { listen: "127.0.0.1:9475" } }\n', ""), [
    "t.yaml:16:7: warning: datacenters[0].secondaries: one secondary alone: while it is away, nothing in fra is scraped",
  ]);
  t.same(replaced('    static_configs:\n      - targets: ["10.0.0.1:9100"]\n', ""), [
    "t.yaml:20:5: warning: scrape_configs[0]: node has neither static_configs nor file_sd_configs: it has no targets",
  ]);
  t.same(replaced(minimal().slice(minimal().indexOf("scrape_configs:")), ""), [
    "t.yaml:9:5: warning: datacenters[0]: fra has no scrape_configs: nothing is scraped there",
  ]);
});

t.test("there must be room for the static targets, and should be when the largest secondary is lost", async (t) => {
  const targets = (count: number) =>
    replaced('["10.0.0.1:9100"]', JSON.stringify(Array.from({ length: count }, (_, i) => `10.0.0.${i}:9100`)));
  t.same(targets(10), []);
  t.same(targets(11), [
    "t.yaml:16:7: warning: datacenters[0].secondaries: 11 static targets in fra, but room for only 10 once the largest secondary is lost; add a secondary",
  ]);
  t.same(targets(21), [
    "t.yaml:16:7: error: datacenters[0].secondaries: expected room for 21 static targets in fra, got a capacity of 20 in all; add a secondary",
  ]);
});

t.test("no two listeners of one host share a port", async (t) => {
  t.same(replaced('listen: "127.0.0.1:9475"', 'listen: "localhost:9471"'), [
    "t.yaml:17:51: error: datacenters[0].secondaries[1].http.listen: expected a port of its own, got 9471, where p1 listens too (datacenters[0].primaries[0].grpc)",
  ]);
  t.same(replaced('listen: "127.0.0.1:9475"', 'listen: "127.0.0.2:9471"'), [], "another address is another place");
  t.match(replaced('listen: "127.0.0.1:9475"', 'listen: "127.0.0.1:99999"'), [
    /listen: expected host:port with a port up to 65535, got "127\.0\.0\.1:99999"/,
  ]);
  t.match(replaced('listen: "127.0.0.1:9475"', 'listen: "127.0.0.1:0"'), [/warning: .*port 0 is any free port/]);
});

t.test("secondaries on hosts of their own may use the same loopback port; the example's do", async (t) => {
  const text = await readFile(join(root, "topology/example.yaml"), "utf8");
  t.same(told(text), []);
  t.match(told(text.replace('listen: "10.1.0.12:9470"', 'listen: "10.1.0.12:9471"')), [
    /expected a port of its own, got 9471, where fra1-primary-b listens too/,
  ]);
});

t.test("nothing listens, and nobody is spoken to, beyond loopback without TLS and a password", async (t) => {
  t.same(replaced('grpc: { listen: "127.0.0.1:9471" }', 'grpc: { listen: "10.1.0.1:9471" }'), [
    't.yaml:13:73: error: datacenters[0].primaries[0].grpc.listen: expected a loopback address, because tls.primary is not set, got "10.1.0.1:9471"; set tls.primary (ca_file, cert_file, key_file), or listen on 127.0.0.1',
  ]);
  t.match(
    replaced('http: { listen: "127.0.0.1:9480" }', 'http: { listen: "[::]:9480" }'),
    [
      /because tls\.global is not set/,
      /warning: global\.pair\[0\]\.http: expected an address that others can reach/,
    ].reverse(),
  );
  t.match(replaced('"nats://127.0.0.1:4223"', '"nats://10.1.0.9:4223"'), [
    /datacenters\[0\]\.nats\.password_file: expected a file with a password, because "nats:\/\/10\.1\.0\.9:4223" is beyond loopback, got nothing/,
    /datacenters\[0\]\.nats\.servers\[0\]: expected tls:\/\/… beyond loopback, got "nats:\/\/10\.1\.0\.9:4223"/,
  ]);
  t.match(replaced('"nats://127.0.0.1:4223"', '"nats://me:secret@127.0.0.1:4223"'), [
    /expected no user and password in the URL, got "nats:\/\/…@127\.0\.0\.1:4223"; passwords are in files/,
  ]);
  t.match(
    replaced("federation: test", "federation: test\ntls: { primary: { ca_file: a, cert_file: b, key_file: c } }"),
    [/tls: expected tls\.secondary too, because tls\.primary is set/],
  );
});

t.test("a NATS server belongs to one data centre", async (t) => {
  const text = await readFile(join(root, "topology/example.yaml"), "utf8");
  t.match(told(text.replace("tls://nats.nyc1.example:4222", "tls://nats.fra1.example:4222")), [
    /datacenters\[1\]\.nats\.servers\[0\]: expected servers of its own \(each has one JetStream domain\), got nats\.fra1\.example:4222, which datacenters\[0\]\.nats\.servers\[0\] has too/,
  ]);
  t.match(
    told(
      text
        .replace("replicas: 3\n  pair", "replicas: 3\n  pair")
        .replace(
          "password_file: /etc/heliograph/secrets/fra1\n",
          "password_file: /etc/heliograph/secrets/fra1\n      replicas: 3\n",
        ),
    ),
    [/warning: datacenters\[0\]\.nats\.replicas: 3 copies of the log need three servers, and 1 server is listed/],
  );
});

t.test("label names do not clash", async (t) => {
  t.match(replaced("labels: {}", "labels: { region: x }"), [
    /datacenters\[0\]\.labels\.region: region is set from the data centre's name or region \(label_names\); leave it out here/,
  ]);
  t.match(replaced("labels: {}", "labels: { job: x }"), [/job is set by every scrape; choose another label/]);
  t.match(replaced("federation: test", "federation: test\nlabel_names: { datacenter: where, region: where }"), [
    /label_names\.region: expected two different labels, got "where" for both/,
  ]);
  t.match(replaced("federation: test", "federation: test\nlabel_names: { datacenter: instance }"), [
    /label_names\.datacenter: expected a label of its own, got "instance", which every scrape sets/,
  ]);
  t.match(replaced("federation: test", "federation: test\nlabel_names: { datacenter: __dc }"), [/begin with __/]);
  t.match(replaced('["10.0.0.1:9100"]', '["10.0.0.1:9100"]\n        labels: { datacenter: x, a-b: y }'), [
    /labels\.datacenter: datacenter is set from/,
    /labels\.a-b: expected a label name/,
  ]);
});

t.test("times fit together", async (t) => {
  const job = (text: string) => replaced("  - job_name: node", `  - job_name: node\n    ${text}`);
  t.match(job("scrape_timeout: 20s"), [/scrape_timeout: expected at most the scrape_interval \(15s\), got "20s"/]);
  t.match(job("scrape_interval: 0s"), [/scrape_interval: expected at least 1s, got "0s"/]);
  t.match(job("scrape_interval: 999ms"), [/scrape_interval: expected at least 1s, got "999ms"/]);
  t.same(job("scrape_interval: 5s"), [], "the default timeout of 10s yields");
  t.match(job("scrape_timeout: 0s"), [/scrape_timeout: expected more than 0/]);
  t.match(job("file_sd_configs: [{ files: [a.yml], refresh_interval: 0s }]"), [
    /refresh_interval: expected at least 1s/,
  ]);
  const top = (text: string) => replaced("federation: test", `federation: test\n${text}`);
  t.match(top("retention: { raw: 7d, 1m: 7d, 1h: 6d }"), [
    /retention\.1m: expected longer than raw \(7d\), got "7d"/,
    /retention\.1h: expected longer than 1m \(7d\), got "6d"/,
  ]);
  t.match(top("head_retention: 8d"), [/head_retention: expected at most retention\.raw \(7d\), got "8d"/]);
  t.match(top("scrape_defaults: { scrape_interval: 5s }"), [/scrape_defaults\.scrape_timeout: expected at most/]);
});

t.test("targets are host:port, and globs are bounded", async (t) => {
  const faults = (target: string) => replaced('["10.0.0.1:9100"]', JSON.stringify([target]));
  const at = "t.yaml:22:19: error: scrape_configs[0].static_configs[0].targets[0]: ";
  t.same(faults("http://10.0.0.1:9100/metrics"), [
    `${at}expected host:port alone; \`scheme\` and \`metrics_path\` of the scrape config have the rest, got "http://10.0.0.1:9100/metrics"`,
  ]);
  t.same(faults("::1"), [`${at}expected an IPv6 address in brackets, like [::1]:9100, got "::1"`]);
  t.same(faults("10.0.0.1:99999"), [`${at}expected host:port with a port up to 65535, got "10.0.0.1:99999"`]);
  t.same(faults("a b:1"), [`${at}expected host:port with a port up to 65535, got "a b:1"`]);
  t.same(faults("host:0"), [`${at}expected a port from 1 to 65535, got "host:0"`]);
  for (const good of ["host", "host:1", "a_b.example:65535", "[::1]", "[2001:db8::1]:9100"])
    t.same(faults(good), [], good);
  t.same(replaced('["10.0.0.1:9100"]', '["10.0.0.1:9100", "10.0.0.1:9100"]'), [
    "t.yaml:22:36: warning: scrape_configs[0].static_configs[0].targets[1]: 10.0.0.1:9100 stands twice with the same labels (scrape_configs[0].static_configs[0].targets[0])",
  ]);
  const files = (file: string) =>
    replaced("    static_configs:", `    file_sd_configs: [{ files: ["${file}"] }]\n    static_configs:`);
  t.same(files("a/b-*.json"), []);
  t.match(files("a/*/b.json"), [/expected at most one \*, and that in the last part, got "a\/\*\/b\.json"/]);
  t.match(files("a/*b*.json"), [/expected at most one \*/]);
  t.match(files("a/b.txt"), [/expected a file name that ends in \.yml, \.yaml or \.json/]);
});

t.test("hosts and ports are split as they are written", async (t) => {
  t.same(splitHostPort("[::1]:80"), { host: "::1", port: 80 });
  t.same(splitHostPort("[::1]"), { host: "::1", port: undefined });
  t.same(splitHostPort("h:80"), { host: "h", port: 80 });
  t.equal(splitHostPort("h:"), undefined);
  t.equal(splitHostPort(":80"), undefined);
  t.equal(splitHostPort(""), undefined);
  t.equal(splitHostPort("[h]:80"), undefined);
  t.match(targetAddressFault(""), "expected host:port");
});

t.test("the nearest word is suggested, and a far one is not", async (t) => {
  t.equal(editDistance("kitten", "sitting"), 3);
  t.equal(editDistance("ab", "ba"), 1, "a swap is one mistake");
  t.equal(nearest("scrape_intervall", ["scrape_interval", "scrape_timeout"]), "scrape_interval");
  t.equal(nearest("Region", ["region"]), "region");
  t.equal(nearest("zzz", ["region", "labels"]), undefined);
});

t.test("values are shown short, on one line, and without passwords", async (t) => {
  t.equal(showValue("x".repeat(100)), `"${"x".repeat(59)}…"`);
  t.equal(showValue("a\nb\u001b[31m"), '"a\\nb\\u001b[31m"');
  t.equal(showValue("nats://user:pass@host:1"), '"nats://…@host:1"');
  t.equal(showValue({ a: 1 }), "a mapping with 1 key");
  t.equal(showValue(null), "nothing (the value is empty)");
});

t.test("schema.json for editors is what the schema says today (node topology/generate.ts writes it)", async (t) => {
  t.equal(await readFile(join(root, "topology/schema.json"), "utf8"), topologyJsonSchema());
});

t.test("every key of the schema has a description for editors and a row in docs/topology.md", async (t) => {
  const page = await readFile(join(root, "docs/topology.md"), "utf8");
  const keys = keysOf(JSON.parse(topologyJsonSchema()), "");
  t.ok(keys.length > 60, `${keys.length} keys`);
  for (const { path, description } of keys) {
    t.ok(description, `${path} has a description`);
    const row = path
      .replace(/^datacenters\[\]\.scrape_configs\[\]/, "scrape_configs[]")
      .replace(/^tls\.\w+/, "tls.<tier>");
    t.ok(page.includes(`\`${row}\``), `docs/topology.md has ${row}`);
  }
});

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly description?: string;
}

function keysOf(schema: JsonSchema, prefix: string): { path: string; description: string | undefined }[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, value]) => {
    const path = `${prefix}${key}`;
    const inside = value.items ? keysOf(value.items, `${path}[].`) : keysOf(value, `${path}.`);
    return [{ path, description: value.description }, ...inside];
  });
}

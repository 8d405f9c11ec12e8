import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { writeDemoFiles } from "#/cli/demo/files.ts";
import { planDemo } from "#/cli/demo/plan.ts";
import { readDuration } from "#/cli/options.ts";
import { readAnswer, renderAnswer } from "#/cli/query/table.ts";
import { heliograph, launcher, projectRoot } from "#/test/support/command.ts";

const commands = [
  ["demo"],
  ["query"],
  ["targets"],
  ["sources"],
  ["sources", "confirm"],
  ["generations"],
  ["topology", "check"],
  ["topology", "nats"],
  ["topology", "schema"],
  ["secondary"],
  ["primary"],
  ["global"],
  ["fleet"],
  ["drill"],
];

async function temporary(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-cli-"));
  t.teardown(() => rm(dir, { recursive: true }));
  return dir;
}

t.test("every command has a help that begins with examples and ends with exit codes", async (t) => {
  const answers = await Promise.all(commands.map((words) => heliograph([...words, "--help"])));
  for (const [i, { code, stdout, stderr }] of answers.entries()) {
    const name = commands[i]!.join(" ");
    t.equal(code, 0, name);
    t.equal(stderr, "", name);
    const examples = stdout.indexOf(`  heliograph ${name}`);
    const usage = stdout.indexOf(`Usage: heliograph ${name}`);
    t.ok(examples > 0 && examples < usage, `${name}: examples come before the usage`);
    t.match(stdout, /\nExit codes:\n {2}0 {2}it worked\n[\s\S]* 2 {2}the command line was not understood\n/, name);
    t.ok(stdout.includes("-h, --help"), name);
  }
});

t.test("the overview lists every command and its exit codes, and help for one is its --help", async (t) => {
  const overview = await heliograph(["--help"]);
  t.equal(overview.code, 0);
  for (const words of commands) t.match(overview.stdout, `\n  ${words.join(" ").padEnd(16)}  `);
  t.match(
    overview.stdout,
    "Exit codes: 0 it worked, 1 it failed, 2 the command line was not understood, 3 the topology file is wrong.",
  );
  const [help, ownHelp] = await Promise.all([
    heliograph(["help", "topology", "check"]),
    heliograph(["topology", "check", "--help"]),
  ]);
  t.equal(help.stdout, ownHelp.stdout);
});

t.test("the version is the package's", async (t) => {
  t.same(await heliograph(["--version"]), { code: 0, stdout: "heliograph 0.1.0\n", stderr: "" });
});

t.test("what is not known is refused with exit code 2 and the nearest that is", async (t) => {
  const cases: [args: string[], stderr: RegExp][] = [
    [[], /^Heliograph: a monitoring federation/],
    [["quary"], /there is no command "quary": did you mean "query"\?/],
    [["xyzzy"], /there is no command "xyzzy"\nAll commands: heliograph --help/],
    [["--verison"], /there is no command "--verison": did you mean "--version"\?/],
    [["topology"], /heliograph topology takes one of:\n {2}heliograph topology check\n/],
    [["topology", "chek"], /there is no "topology chek": did you mean "check"\?/],
    [["fleet", "--targts", "5"], /heliograph fleet: --targts is not an option here: did you mean --targets\?/],
    [["fleet", "--targets"], /--targets needs a value after it/],
    [["fleet", "--targets", "--rows", "5"], /--targets needs a value after it/],
    [["fleet", "--targets", "0"], /--targets: expected a whole number from 1 to \d+, got "0"/],
    [["fleet", "--targets", "5", "6"], /"6" is one word too many/],
    [["fleet", "--framing", "odd"], /--framing: expected mixed, length, chunked, got "odd"/],
    [["fleet", "--first-address", "10.0.0.1"], /expected an address in 127\.0\.0\.0\/8, got "10\.0\.0\.1"/],
    [["fleet", "--fault", "ded=1"], /"ded" is no fault; known are slow, dead/],
    [["fleet", "--label", "nope"], /--label: expected name=value, got "nope"/],
    [["query"], /heliograph query: EXPR is missing/],
    [["query", "up", "--step", "5s"], /--step needs --start: only a range has it/],
    [["query", "up", "--start", "yesterday"], /--start: expected Unix seconds, .* got "yesterday"/],
    [["query", "up", "--json=yes"], /--json takes no value, got "yes"/],
    [["targets", "--show", "failed"], /--show: expected one of failing, .* got "failed"/],
    [["targets", "--limit", "-1"], /--limit: expected a whole number from 0 to \d+, got "-1"/],
    [["demo", "--interval", "soon"], /--interval: expected a duration such as 500ms, 5s or 1m30s, got "soon"/],
    [["topology", "nats", "x.yaml"], /say which: --hub, or --datacenter NAME/],
    [
      ["topology", "nats", "topology/example.yaml", "--datacenter", "fra1", "--store", "/s"],
      /says tls:\/\/nats\.fra1\.example:4222: --tls-ca, --tls-cert and --tls-key are needed/,
    ],
    [["secondary", "--topology", "x.yaml"], /--name/],
  ];
  const answers = await Promise.all(cases.map(([args]) => heliograph(args)));
  for (const [i, { code, stderr, stdout }] of answers.entries()) {
    const [args, expected] = cases[i]!;
    t.equal(code, 2, args.join(" "));
    t.match(stderr, expected, args.join(" "));
    t.equal(stdout, "", args.join(" "));
  }
});

t.test("a topology file is judged with exit code 0 or 3, and every problem has its place", async (t) => {
  const dir = await temporary(t);
  const wrong = join(dir, "wrong.yaml");
  await writeFile(wrong, "format_version: 1\nfederation: NOT A NAME\n");
  const [right, bad, missing, secondary] = await Promise.all([
    heliograph(["topology", "check", "topology/example.yaml"]),
    heliograph(["topology", "check", wrong]),
    heliograph(["topology", "check", join(dir, "none.yaml")]),
    heliograph(["secondary", "--topology", wrong, "--name", "s", "--data", dir]),
  ]);
  t.equal(right.code, 0, right.stderr);
  t.match(right.stdout, /^topology\/example\.yaml is right: 2 globals, 2 data centres, 4 primaries, \d+ secondaries, /);
  t.equal(bad.code, 3);
  t.match(bad.stderr, /^wrong\.yaml:2:13: error: federation: expected .*, got "NOT A NAME"\n/m);
  t.match(bad.stderr, /error: global: expected/);
  t.equal(missing.code, 3);
  t.match(missing.stderr, /expected a file that can be read/);
  t.equal(secondary.code, 3);
  t.match(secondary.stderr, /wrong\.yaml:2:13: error: federation/);
});

t.test("a NATS server's configuration has its own secrets, and a data centre's has no other's", async (t) => {
  const dir = await temporary(t);
  const sizes = {
    dataDir: dir,
    portBase: 9400,
    targets: 2,
    rows: 20,
    interval: "5s",
    secondaries: 2,
    retention: "30m",
    withNodeExporter: false,
  };
  const plan = planDemo(sizes);
  await writeDemoFiles(plan);
  const nats = (...args: string[]) =>
    heliograph(["topology", "nats", plan.topologyFile, "--store", "/srv/nats", ...args]);
  const [hub, ams, unknown, both] = await Promise.all([
    nats("--hub", "--monitor", "127.0.0.1:8222"),
    nats("--datacenter", "ams"),
    nats("--datacenter", "asm"),
    nats("--datacenter", "ams", "--hub"),
  ]);
  const passwordOf = async (name: string) => (await readFile(join(dir, "secrets", `${name}.password`), "utf8")).trim();
  t.equal(hub.code, 0, hub.stderr);
  t.match(hub.stdout, 'listen: "127.0.0.1:9403"\n');
  t.match(hub.stdout, 'http: "127.0.0.1:8222"\n');
  t.ok(hub.stdout.includes(await passwordOf("nyc-leaf")));
  t.equal(ams.code, 0, ams.stderr);
  t.match(ams.stdout, 'listen: "127.0.0.1:9426"\n');
  t.match(ams.stdout, `nats-leaf://leaf-ams:${await passwordOf("ams-leaf")}@127.0.0.1:9404`);
  t.notOk(ams.stdout.includes(await passwordOf("nyc-leaf")));
  t.equal(unknown.code, 2);
  t.match(unknown.stderr, "no data centre is named asm; known: ams, nyc");
  t.equal(both.code, 2);
});

t.test("the JSON schema names the keys of the topology file", async (t) => {
  const { code, stdout } = await heliograph(["topology", "schema"]);
  t.equal(code, 0);
  const schema = JSON.parse(stdout) as { properties: Record<string, unknown>; required: string[] };
  t.match(schema.properties, { datacenters: { type: "array" }, global: {}, scrape_configs: {} });
  t.same(schema.required, ["format_version", "federation", "global", "datacenters"]);
});

t.test(
  "the launcher finds its way through symbolic links, from anywhere, and says so when there is no Node",
  async (t) => {
    const dir = await temporary(t);
    await symlink(launcher, join(dir, "first"));
    await symlink("first", join(dir, "second"));
    t.equal((await heliograph(["--version"], { program: join(dir, "second"), cwd: "/" })).stdout, "heliograph 0.1.0\n");

    const bare = join(dir, "bare root");
    await mkdir(join(bare, "bin"), { recursive: true });
    await symlink(join(projectRoot, "cli"), join(bare, "cli"));
    await copyFile(launcher, join(bare, "bin", "heliograph"));
    const fake = join(dir, "path");
    await mkdir(fake);
    const none = await heliograph(["--version"], {
      program: join(bare, "bin", "heliograph"),
      env: { PATH: "/nowhere" },
    });
    t.equal(none.code, 1);
    t.match(none.stderr, /Node 26 or newer is needed\. Run "npm ci" in .*bare root/);
    await writeFile(join(fake, "node"), "#!/bin/sh\necho v20.11.1\n", { mode: 0o755 });
    const old = await heliograph(["--version"], { program: join(bare, "bin", "heliograph"), env: { PATH: fake } });
    t.equal(old.code, 1);
    t.match(old.stderr, /Found and not usable:\n {2}.*path\/node: v20\.11\.1\n/);
  },
);

t.test("a query prints a table, JSON on request, and fails with exit code 1", async (t) => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (text) => {
      body += text;
    });
    request.on("end", () => {
      seen.push(`${request.method} ${request.url} ${new URLSearchParams(body).get("query")}`);
      const bad = body.includes("query=bad");
      response.statusCode = bad ? 400 : 200;
      const metric = (datacenter: string) => ({ datacenter, region: "x" });
      const result = [
        { metric: metric("ams"), value: [1, "109"] },
        { metric: metric("nyc"), value: [1, "4"] },
      ];
      const data = { resultType: "vector", result };
      response.end(
        JSON.stringify(
          bad ? { status: "error", errorType: "bad_data", error: "1:4: parse error" } : { status: "success", data },
        ),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const [table, json, bad, nobody] = await Promise.all([
    heliograph(["query", "count by (datacenter) (up)", "--server", url]),
    heliograph(["query", "up", "--json"], { env: { HELIOGRAPH_SERVER: url } }),
    heliograph(["query", "bad", "--server", url]),
    heliograph(["query", "up", "--server", "http://127.0.0.1:1"]),
  ]);
  t.same(table, {
    code: 0,
    stdout: 'all with region="x"\ndatacenter  value\nams           109\nnyc             4\n',
    stderr: "",
  });
  t.equal(JSON.parse(json.stdout).data.result.length, 2);
  t.equal(bad.code, 1);
  t.equal(bad.stderr, "heliograph query: 1:4: parse error\n");
  t.equal(nobody.code, 1);
  t.match(nobody.stderr, "http://127.0.0.1:1 does not answer (ECONNREFUSED); --server says where to ask");
  t.ok(seen.includes("POST /api/v1/query count by (datacenter) (up)"));
});

t.test("ranges are drawn as curves from their least to their greatest value", async (t) => {
  const values = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [1000 + n, String(n)] as const);
  const metric = { __name__: "up", instance: "a" };
  const text = renderAnswer({ resultType: "matrix", result: [{ metric, values }] });
  t.equal(text, "metric  instance  curve     least  greatest  last\nup      a         ▁▂▃▄▅▆▇█      0         7     7");
  t.equal(renderAnswer({ resultType: "vector", result: [] }), "No series.");
  t.equal(renderAnswer({ resultType: "scalar", result: [1, "42"] }), "42");
  t.equal(readAnswer("<html>"), undefined);
});

t.test("durations are read as Prometheus writes them", async (t) => {
  t.equal(readDuration("5s", "x"), 5000);
  t.equal(readDuration("1m30s", "x"), 90_000);
  t.equal(readDuration("500ms", "x"), 500);
  t.equal(readDuration("2", "x"), 2000);
  for (const text of ["", "5x", "s", "-5s"])
    t.throws(() => readDuration(text, "x"), { message: /expected a duration/ });
});

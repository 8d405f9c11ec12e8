// What an operator sees of the lists of targets, and the confirmation, over the API and by `heliograph sources`.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { createHttpServer } from "#/lib/http/server.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { confirmCommand, registerSources, type SourcesAnswer } from "#/primary/sources.ts";
import { heliograph } from "#/test/support/command.ts";
import { discover, topologyText } from "#/test/support/discovery.ts";

const list = "/etc/heliograph/all.json";
const jobs = `  - job_name: node
    priority: 2
    static_configs: [{ targets: ["10.0.9.1:1"] }]
    file_sd_configs: [{ files: [all.json, bad.yml] }]
`;
const hosts = (count: number) => Array.from({ length: count }, (_, i) => `10.0.0.${i}:1`);

/** A primary that has its lists, and nothing else. */
async function primary(t: Test, name: string) {
  const world = await discover(t, jobs, {
    files: {
      [list]: JSON.stringify([{ targets: [...hosts(40), "x:y:z"] }]),
      "/etc/heliograph/bad.yml": "- targets: [",
    },
  });
  const log = silentLogger();
  const health = { healthy: () => undefined, ready: () => undefined };
  const http = createHttpServer({ listen: "127.0.0.1:0", metrics: world.metrics, health, log });
  const { clock, discovery } = world;
  registerSources(http.app, { primary: name, datacenter: "fra", lease: { holder: "p1" }, discovery, clock });
  const address = await http.start();
  t.teardown(() => http.close());
  const write = async (targets: readonly string[]) => {
    world.files.set(list, JSON.stringify([{ targets }]));
    await world.change("/etc/heliograph");
  };
  return { ...world, address, write };
}

/** A pair, and the file that names it. */
async function pair(t: Test) {
  const [p1, p2] = [await primary(t, "p1"), await primary(t, "p2")];
  const dir = await mkdtemp(join(tmpdir(), "heliograph-sources-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const topology = join(dir, "topology.yaml");
  const second = (text: string) =>
    text
      .replace("127.0.0.1:9470", p1.address)
      .replace(
        /( +)- \{ name: p1.*\n/,
        (line, indent) =>
          `${line}${indent}- { name: p2, http: { listen: "${p2.address}" }, grpc: { listen: "127.0.0.1:9472" } }\n`,
      );
  await writeFile(topology, second(topologyText(jobs)));
  return { p1, p2, topology };
}

t.test("the API tells each list with what it has, what is refused, what is wrong and what is held", async (t) => {
  const { p1 } = await pair(t);
  await p1.write([]);
  const answer = await (await fetch(`http://${p1.address}/api/v1/sources`)).json();
  const data = answer.data as SourcesAnswer;
  const nowMs = p1.clock.nowMs();
  t.equal(answer.status, "success");
  t.match(data, { datacenter: "fra", primary: "p1", leader: "p1", nowMs, targets: 41, targetsMax: 200_000 });
  const same = { job: "node", priority: 2, dropped: 0 };
  const [inTopology, all, bad, ...more] = data.sources;
  t.same(inTopology, {
    ...same,
    kind: "static",
    file: "",
    targets: 1,
    refused: { count: 0, first: [] },
    problem: null,
    held: null,
  });
  t.match(all, { ...same, kind: "file", file: list, targets: 0, problem: null });
  t.match(all!.held, { lost: 40, of: 40, waits: false, confirm: `heliograph sources confirm node --file ${list}` });
  t.equal(all!.held!.untilMs - all!.held!.sinceMs, 600_000);
  t.match(bad, { ...same, kind: "file", file: "/etc/heliograph/bad.yml", targets: 0, held: null });
  t.match(bad!.problem!.message, /^1:13: not valid YAML/);
  t.same(more, []);
});

t.test("a confirmation needs a job that there is, as a form, in the query or as JSON", async (t) => {
  const { p1 } = await pair(t);
  await p1.write([]);
  const post = async (query: string, body?: string, type = "application/x-www-form-urlencoded") => {
    const url = `http://${p1.address}/api/v1/sources/confirm${query}`;
    const headers = { ...(body !== undefined && { "content-type": type }) };
    const answer = await fetch(url, { method: "POST", headers, ...(body !== undefined && { body }) });
    return [answer.status, await answer.json()] as const;
  };
  t.match(await post(""), [400, { status: "error", errorType: "bad_data" }]);
  t.match(await post("?job=a&job=b"), [400, { status: "error" }]);
  t.match(await post("?job=nod"), [404, { error: 'no scrape config is named "nod"' }]);
  t.match(await post("", "job=node&file=none.json"), [200, { data: { primary: "p1", confirmed: [] } }]);
  t.match(await post("", JSON.stringify({ job: "node" }), "application/json"), [
    200,
    { status: "success", data: { confirmed: [{ file: list, lost: 40 }] } },
  ]);
  t.equal(p1.discovery.targets().length, 1);
});

t.test("heliograph sources shows the leader's lists, what its peer has otherwise, and what to do", async (t) => {
  const { p1, p2, topology } = await pair(t);
  const { stdout, code, stderr } = await heliograph(["sources", "--topology", topology]);
  t.equal(stderr, "");
  t.equal(code, 0);
  t.match(stdout, "fra: 41 of at most 200000 targets, as p1, which has the lease, has them.");
  t.match(stdout, /^node +2 +\/etc\/heliograph\/all.json +40 +0 +1 +0$/m);
  t.match(stdout, /refused: "x:y:z": expected host:port/);
  t.match(stdout, /since \ds ago: 1:13: not valid YAML/);
  t.match(stdout, "p2 has the same.");
  await Promise.all([p1.write(hosts(10)), p2.write(hosts(30))]);
  await p1.clock.advance(100_000);
  const later = (await heliograph(["sources", "--topology", topology], {})).stdout;
  t.match(later, /since 1m\d\ds ago: 30 of 40 targets are missing, and scraped for 8m\d+s more/);
  t.match(later, `    if they are to go: heliograph sources confirm node --file ${list}`);
  t.match(later, "p2 differs:");
  const json = await heliograph(["sources", "--topology", topology, "--json"]);
  t.same(
    json.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).primary),
    ["p1", "p2"],
  );
});

t.test("heliograph sources confirm tells both primaries, and fails when one does not hear it", async (t) => {
  const { p1, p2, topology } = await pair(t);
  await Promise.all([p1.write(hosts(10)), p2.write(hosts(40))]);
  const { stdout, code } = await heliograph(["sources", "confirm", "node", "--topology", topology]);
  t.equal(stdout, `p1: 30 targets of ${list} are let go.\np2: nothing was held.\n`);
  t.equal(code, 0);
  t.equal(p1.discovery.targets().length, 11);
  const unknown = await heliograph(["sources", "confirm", "nodes", "--server", p1.address]);
  t.match(unknown.stderr, 'no scrape config is named "nodes"');
  t.equal(unknown.code, 1);
  const nobody = await heliograph(["sources", "--server", "127.0.0.1:1"]);
  t.match(nobody.stderr, "http://127.0.0.1:1 does not answer (ECONNREFUSED)");
  t.equal(nobody.code, 1);
});

t.test("the command that is shown can be pasted into a shell", async (t) => {
  t.equal(confirmCommand("node", ""), "heliograph sources confirm node");
  t.equal(confirmCommand("a b", "/x/it's.json"), "heliograph sources confirm 'a b' --file '/x/it'\\''s.json'");
});

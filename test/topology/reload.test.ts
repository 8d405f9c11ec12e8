import t from "tap";
import { parseTopology } from "#/topology/file.ts";
import { reloaded } from "#/topology/reload.ts";
import type { Topology } from "#/topology/schema.ts";

function topology(parts: Readonly<Record<"top" | "global" | "ams" | "nyc", string>>): Topology {
  const datacenter = (name: string, port: number, more: string) => `
  - name: ${name}
    region: eu
    nats: { servers: ["nats://127.0.0.1:${port}"] }
    primaries: [{ name: ${name}-p1, http: { listen: "127.0.0.1:${port + 1}" }, grpc: { listen: "127.0.0.1:${port + 2}" } }]
${more}`;
  const text = `
format_version: 1
federation: test
${parts.top}
global:
  nats: { servers: ["nats://127.0.0.1:1"], leaf_servers: ["nats-leaf://127.0.0.1:2"] }
  pair: [{ name: g1, http: { listen: "127.0.0.1:3" } }${parts.global}]
datacenters:${datacenter("ams", 10, parts.ams)}${datacenter("nyc", 20, parts.nyc)}
`;
  const parsed = parseTopology(text, "topology.yaml");
  if (!parsed.topology) throw new Error(JSON.stringify(parsed.problems));
  return parsed.topology;
}

const one = (name: string, port: number, capacity = 5000) =>
  `    secondaries: [{ name: ${name}, capacity: ${capacity}, http: { listen: "127.0.0.1:${port}" } }]`;
const plain = { top: "", global: "", ams: one("ams-s1", 30), nyc: one("nyc-s1", 31) };
const before = topology(plain);

t.test("who is scraped and by whom is taken over", async (t) => {
  const after = topology({
    ...plain,
    top: "head_retention: 3h\nscrape_configs: [{ job_name: a, static_configs: [{ targets: ['a:1'] }] }]",
    ams: `${one("ams-s2", 32, 7)}\n    labels: { rack: one }`,
  });
  const { topology: taken, waiting } = reloaded(before, after, "ams");
  t.same(waiting, []);
  t.equal(taken.head_retention, "3h");
  t.equal(taken.scrape_configs[0]!.job_name, "a");
  t.same(
    taken.datacenters[0]!.secondaries.map(({ capacity, name }) => [name, capacity]),
    [["ams-s2", 7]],
  );
  t.same(taken.datacenters[0]!.labels, { rack: "one" });
  t.equal(taken.datacenters[1], before.datacenters[1], "another data centre is none of its affairs");
});

t.test("what a running process cannot change is named, and stays as it was", async (t) => {
  const after = topology({
    ...plain,
    global: `, { name: g2, http: { listen: "127.0.0.1:4" } }`,
    ams: `${one("ams-s1", 30)}`,
  });
  const other = structuredClone(after) as { datacenters: { region: string }[] } & Topology;
  other.datacenters[0]!.region = "us";
  const { topology: taken, waiting } = reloaded(before, other, "ams");
  t.same(waiting, ["global", "datacenters[ams].region"]);
  t.equal(taken.global, before.global);
  t.equal(taken.datacenters[0]!.region, "eu");
});

t.test("a data centre that is gone from the file goes on as it was", async (t) => {
  const gone = { ...before, datacenters: before.datacenters.slice(1) };
  const { topology: taken, waiting } = reloaded(before, gone, "ams");
  t.same(waiting, ["datacenters[ams]"]);
  t.same(taken, before);
});

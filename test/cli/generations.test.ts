// `heliograph generations` against a server that answers as a primary or a global does.

import t from "tap";
import { assignedApp, mixed, sourceOf } from "#/test/support/assigned.ts";
import { heliograph } from "#/test/support/command.ts";

async function serverOf(...datacenters: readonly string[]): Promise<string> {
  const sources = datacenters.map((datacenter) => sourceOf(mixed, { datacenter }));
  return await assignedApp(t, sources).listen({ host: "127.0.0.1", port: 0 });
}

const url = await serverOf("fra");
const globalUrl = await serverOf("fra", "nyc");

t.test("it prints when targets moved, why, how many, and who has how many now", async (t) => {
  const { code, stderr, stdout } = await heliograph(["generations", "--server", url]);
  t.equal(stderr, "");
  t.equal(code, 0);
  t.equal(
    stdout,
    `VALID FROM (UTC)       NUMBER  BY  MOVED  ADDED  REMOVED  TARGETS  WRITTEN        WHY                                      TARGETS A SECONDARY
2024-05-01 11:59:57.0       4  p1      3      1        –        8  delta 311 B    s2 is drained, 1 target of node changed  s1 5, s2 2 (draining), nobody 1
2024-05-01 11:00:00.0       3  p2      ?      ?        ?        7  full 12.1 KiB  –                                        7 have 1 each
`,
  );
});

t.test("a global tells all data centres, or the one that is asked for, and as many as are wanted", async (t) => {
  const [all, one, unknown, json] = await Promise.all([
    heliograph(["generations", "--server", globalUrl]),
    heliograph(["generations", "--server", globalUrl, "--datacenter", "nyc", "--limit", "1"]),
    heliograph(["generations", "--server", globalUrl, "--datacenter", "ams"]),
    heliograph(["generations", "--server", globalUrl, "--limit", "3", "--json"]),
  ]);
  const columns = all.stdout.trimEnd().split("\n");
  t.same(
    columns.map((line) => line.slice(0, 42).trimEnd().split(/ {2,}/).slice(0, 3)),
    [
      ["VALID FROM (UTC)", "DATA CENTRE", "NUMBER"],
      ["2024-05-01 11:59:57.0", "fra", "4"],
      ["2024-05-01 11:59:57.0", "nyc", "4"],
      ["2024-05-01 11:00:00.0", "fra", "3"],
      ["2024-05-01 11:00:00.0", "nyc", "3"],
    ],
  );
  t.equal(one.stdout.split("\n").length, 3);
  t.notMatch(one.stdout, "DATA CENTRE");
  t.equal(unknown.code, 1);
  t.match(unknown.stderr, 'datacenter: expected one of fra, nyc, got "ams"');
  const { generations, server } = JSON.parse(json.stdout).data;
  t.type(server, "string");
  t.equal(generations.length, 3);
  t.same(generations[1], {
    datacenter: "nyc",
    validFrom: "2024-05-01T11:59:57.000Z",
    number: 4,
    token: 1,
    primary: "p1",
    causes: [
      { kind: "drain", subject: "s2" },
      { kind: "targets", subject: "node", count: 1 },
    ],
    targets: 8,
    unassigned: 1,
    secondaries: [
      { name: "s1", state: "active", targets: 5 },
      { name: "s2", state: "draining", targets: 2 },
    ],
    changes: { moved: 3, added: 1, removed: 0 },
    form: "delta",
    bytes: 311,
  });
});

t.test("nobody, and a limit that is none, are said", async (t) => {
  const [nobody, none] = await Promise.all([
    heliograph(["generations", "--server", "http://127.0.0.1:1"]),
    heliograph(["generations", "--server", url, "--limit", "0"]),
  ]);
  t.equal(nobody.code, 1);
  t.match(nobody.stderr, "http://127.0.0.1:1 does not answer (ECONNREFUSED)");
  t.equal(none.code, 2);
  t.match(none.stderr, /--limit: expected a whole number from 1 to 1000, got "0"/);
});

// `heliograph targets` against a server that answers as a primary does.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { assignedApp, mixed, sourceOf } from "#/test/support/assigned.ts";
import { heliograph } from "#/test/support/command.ts";
import { topologyText } from "#/test/support/scrape-config.ts";

const app = assignedApp(t, [sourceOf(mixed)]);
const url = await app.listen({ host: "127.0.0.1", port: 0 });

const table = `fra: generation 4 by p1, 3.0 s ago; 8 targets, 1 without an owner
SECONDARY  STATE        TARGETS  OF  LOAD        FAILING  CONNECTED TO  LAST WORD
s1         active             5   5  ██████████        –  p1            0.4 s ago
s2         active             2   5  ████······        1  p1            0.4 s ago
s3         never heard        0   5  ··········        –  –                 never

`;

t.test("it prints the secondaries and then the targets, the worst first", async (t) => {
  const { code, stderr, stdout } = await heliograph(["targets", "--server", url]);
  t.equal(stderr, "");
  t.equal(code, 0);
  // Slots are told by their age, which depends on each target's phase.
  const lines = stdout
    .slice(table.length)
    .split("\n")
    .map((line) => line.replace(/ +(\d\.\d s ago|–) {2}/, "  AGE  "));
  t.equal(stdout.slice(0, table.length), table);
  t.same(
    lines.map((line) => line.replace(/ {2,}/g, " | ").replace("1714564797", "SLOT")),
    [
      "STATE | JOB | TARGET | SECONDARY | SLOT | GEN | LAST | TOOK | SAMPLES | WHY",
      "failed connect | node | http://down/ | s2 | SLOT | 3 | AGE | – | – | no connection could be made, since 60 s",
      "unassigned | node | http://nobody/ | none | AGE | 4 | – | – | – | the living secondaries have room for 10",
      "silent | node | http://silent/ | s1 | SLOT | 3 | AGE | – | – | nothing was told of it lately, last by s3",
      "missed down | node | http://missed/ | s1 | SLOT | 3 | AGE | – | – | the secondary was not running, since 60 s",
      "partial | node | http://partial/ | s1 | SLOT | 3 | AGE | 12.5 ms | 5 | some series were refused, since 60 s",
      "waiting | other | http://new/ | s1 | AGE | 4 | – | – | – | not scraped yet",
      "up | node | http://slow/ | s1 | SLOT | 3 | AGE | 400 ms | 9",
      "up | node | http://up/ | s2 | SLOT | 3 | AGE | 12.5 ms | 2",
      "",
      "8 targets: 1 failing, 1 unassigned, 1 silent, 1 missed, 1 partial, 1 waiting, 2 up.",
      "",
    ],
  );
});

t.test("it narrows, says what it leaves out, and gives JSON as it comes", async (t) => {
  const [owned, few, none, json] = await Promise.all([
    heliograph(["targets", "--server", url, "--owner", "s2", "--show", "failing"]),
    heliograph(["targets", "--server", url, "--limit", "2"]),
    heliograph(["targets", "--server", url, "--find", "zzz"]),
    heliograph(["targets", "--server", url, "--json", "--show", "unassigned"]),
  ]);
  t.match(owned.stdout, /\n2 targets: 1 failing, 1 up\. Listed are 1 of 1|\n2 targets: 1 failing, 1 up\.\n/);
  t.match(owned.stdout, "http://down/");
  t.notMatch(owned.stdout, "http://up/");
  t.match(few.stdout, "Listed are 2 of 8; --limit 0 lists all.");
  t.match(none.stdout, "No target is like that.");
  t.equal(
    JSON.parse(json.stdout).data.activeTargets[0].heliograph.unassigned,
    "the living secondaries have room for 10",
  );
});

t.test("by a topology file it asks whichever primary answers, and says when none does or a stranger did", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-targets-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const file = join(dir, "topology.yaml");
  // The first primary's port is closed.
  const text = topologyText("").replace("127.0.0.1:9470", "127.0.0.1:1").replace("127.0.0.1:9472", new URL(url).host);
  await writeFile(file, text);
  await writeFile(join(dir, "wrong.yaml"), "format_version: 1\n");
  const stranger = createServer((_request, response) => response.end("<html>"));
  await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
  t.teardown(() => stranger.close());
  const address = `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`;
  const [second, unknown, nobody, strange, wrong] = await Promise.all([
    heliograph(["targets", "--topology", file]),
    heliograph(["targets", "--topology", file, "--datacenter", "ams"]),
    heliograph(["targets", "--server", "http://127.0.0.1:1"]),
    heliograph(["targets", "--server", address]),
    heliograph(["targets", "--topology", join(dir, "wrong.yaml")]),
  ]);
  t.equal(second.code, 0, second.stderr);
  t.match(second.stdout, table);
  t.equal(unknown.code, 2);
  t.match(unknown.stderr, '--datacenter: expected one of fra, got "ams"');
  t.equal(nobody.code, 1);
  t.match(nobody.stderr, "http://127.0.0.1:1 does not answer (ECONNREFUSED)");
  t.equal(strange.code, 1);
  t.match(strange.stderr, 'is no primary and no global: it answered 200 with "<html>"');
  t.equal(wrong.code, 3);
});

// Lists that suddenly become shorter, damaged ones and far too long ones: what is scraped stays as it was, and it is said.

import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { minuteMs } from "#/lib/bytes/units.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { Target } from "#/lib/model/target.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Discovery } from "#/primary/discover/discover.ts";
import { systemDisk } from "#/primary/discover/disk.ts";
import { discover, topologyOf } from "#/test/support/discovery.ts";

const dir = "/etc/heliograph/targets";
const file = `${dir}/a.json`;

const oneJob = `  - job_name: node
    file_sd_configs: [{ files: [targets/*.json, targets/*.yml], refresh_interval: 1m }]
`;

/** 10.0.<rack>.0:1 and on. */
function hosts(count: number, { rack = 0, from = 0 } = {}): string[] {
  return Array.from({ length: count }, (_, i) => `10.0.${rack}.${from + i}:1`);
}

function list(targets: readonly string[], labels: Readonly<Record<string, string>> = {}): string {
  return JSON.stringify([{ targets, labels }]);
}

async function found(t: Test, files: Record<string, string>, edit?: (text: string) => string) {
  const world = await discover(t, oneJob, { files: { [`${dir}/readme.txt`]: "", ...files }, ...(edit && { edit }) });
  const count = () => world.discovery.targets().length;
  const held = (job = "node") => world.metrics.get("heliograph_primary_held_targets", { job });
  const write = async (path: string, content: string | undefined) => {
    if (content === undefined) world.files.delete(path);
    else world.files.set(path, content);
    await world.change(dir);
  };
  return { ...world, count, held, write };
}

t.test("a list that suddenly loses most of its targets keeps them for ten minutes, and says so", async (t) => {
  const { clock, count, discovery, held, metrics, sentences, write } = await found(t, { [file]: list(hosts(100)) });
  await write(file, list(hosts(20)));
  t.equal(count(), 100);
  t.equal(held(), 80);
  t.equal(metrics.get("heliograph_primary_discovered_targets", { job: "node" }), 20);
  t.match(sentences.at(-1), "A list suddenly lost targets; they are kept for now");
  const [source] = discovery.jobs()[0]!.files();
  t.equal(source!.targets, 20);
  t.match(source!.held, { lost: 80, of: 100, waits: false });
  t.equal(source!.held!.untilMs - source!.held!.sinceMs, 10 * minuteMs);
  await clock.advance(9 * minuteMs);
  t.equal(count(), 100);
  await clock.advance(minuteMs);
  t.equal(count(), 20);
  t.equal(held(), 0);
  t.match(sentences.at(-1), "are let go: nobody objected for long enough");
});

t.test("less than the share, and fewer than ten, may go at once, again and again", async (t) => {
  const { count, held, write } = await found(t, { [file]: list(hosts(100)) });
  for (const left of [50, 25, 16, 7, 0]) {
    await write(file, list(hosts(left)));
    t.equal(count(), left);
    t.equal(held(), 0);
  }
});

t.test("targets that come back end the hold, and new ones are there at once meanwhile", async (t) => {
  const { count, held, sentences, write } = await found(t, { [file]: list(hosts(100)) });
  await write(file, list(hosts(30, { rack: 1 })));
  t.equal(count(), 130);
  t.equal(held(), 100);
  await write(file, list([...hosts(30, { rack: 1 }), ...hosts(49)]));
  t.equal(count(), 130, "51 of 100 are still missing");
  t.equal(held(), 51);
  await write(file, list([...hosts(30, { rack: 1 }), ...hosts(50)]));
  t.equal(count(), 80);
  t.equal(held(), 0);
  t.match(sentences.at(-1), "has them again, or nearly");
});

t.test("more new targets do not outweigh those that are held", async (t) => {
  const { count, held, write } = await found(t, { [file]: list(hosts(100)) });
  await write(file, list([]));
  await write(file, list(hosts(250, { rack: 1 })));
  t.equal(held(), 100);
  t.equal(count(), 350);
});

t.test("a file that is deleted, and a directory that is emptied, lose their targets as suddenly", async (t) => {
  const small = Array.from({ length: 5 }, (_, i) => [`${dir}/s${i}.json`, list(hosts(4, { rack: i + 10 }))] as const);
  const { clock, count, files, held, write } = await found(t, {
    [file]: list(hosts(40)),
    [`${dir}/b.json`]: list(hosts(60, { rack: 1 })),
    ...Object.fromEntries(small),
  });
  await write(file, undefined);
  t.equal(held(), 40);
  await clock.advance(10 * minuteMs);
  t.equal(count(), 80);
  await write(small[0]![0], undefined);
  t.equal(count(), 76, "four are few");
  files.delete(`${dir}/b.json`);
  for (const [path] of small) files.delete(path);
  await write(`${dir}/other.txt`, "");
  t.equal(count(), 76, "16 in files of four, with all others, are many");
  t.equal(held(), 76);
  files.set(`${dir}/b.json`, list(hosts(60, { rack: 1 })));
  for (const [path, content] of small.slice(1)) files.set(path, content);
  await write(`${dir}/other.txt`, "");
  t.equal(held(), 0);
  t.equal(count(), 76);
});

t.test("other labels, another file, another order are no loss", async (t) => {
  const { changes, count, files, held, write } = await found(t, { [file]: list(hosts(100)) });
  await write(file, list(hosts(100), { rack: "7" }));
  t.equal(count(), 100);
  files.delete(file);
  await write(`${dir}/b.json`, list(hosts(100).toReversed(), { rack: "7" }));
  t.equal(count(), 100);
  t.equal(held(), 0);
  t.equal(changes(), 2, "the move was no change at all");
});

t.test("what is confirmed is let go at once: of a file, or of all", async (t) => {
  const { count, discovery, write, files } = await found(t, {
    [file]: list(hosts(20)),
    [`${dir}/b.json`]: list(hosts(30, { rack: 1 })),
  });
  files.delete(file);
  await write(`${dir}/b.json`, "[]");
  t.equal(count(), 50);
  t.same(discovery.confirm("node", `${dir}/none.json`), []);
  t.same(discovery.confirm("node", "targets/b.json"), [{ file: `${dir}/b.json`, lost: 30 }]);
  t.equal(count(), 20);
  t.same(discovery.confirm("node"), [{ file, lost: 20 }]);
  t.equal(count(), 0);
  t.same(discovery.confirm("node"), []);
  t.equal(discovery.confirm("nodes"), undefined);
});

t.test("time does not end a hold while the list cannot be read, because nothing is known then", async (t) => {
  const { clock, count, held, metrics, discovery, write } = await found(t, { [file]: list(hosts(100)) });
  await write(file, list(hosts(10)));
  await write(file, "[{");
  await clock.advance(30 * minuteMs);
  t.equal(count(), 100);
  t.equal(held(), 90);
  t.equal(metrics.get("heliograph_primary_source_problems", { job: "node" }), 1);
  t.match(discovery.jobs()[0]!.files()[0], { held: { lost: 90, waits: true }, problem: { targetsKept: 100 } });
  await write(file, list(hosts(10)));
  t.equal(count(), 10);
  t.equal(metrics.get("heliograph_primary_source_problems", { job: "node" }), 0);
});

t.test("discovery_loss_max and discovery_hold, of a job or of all, say how much and how long", async (t) => {
  const config = oneJob.replace("    file_sd", "    discovery_loss_max: 0.1\n    discovery_hold: 30s\n    file_sd");
  const strict = await discover(t, config, { files: { [file]: list(hosts(200)) } });
  strict.files.set(file, list(hosts(179)));
  await strict.change(dir);
  t.equal(strict.discovery.targets().length, 200);
  await strict.clock.advance(30_000);
  t.equal(strict.discovery.targets().length, 179);
  const lax = await found(
    t,
    { [file]: list(hosts(200)) },
    (text) => `scrape_defaults: { discovery_loss_max: 1 }\n${text}`,
  );
  await lax.write(file, "[]");
  t.equal(lax.count(), 0);
});

t.test("a label of a megabyte refuses its targets by name, and what they were stays for a while", async (t) => {
  const { clock, count, discovery, held, write } = await found(t, { [file]: list(hosts(3)) });
  await write(file, list(hosts(3), { note: "x".repeat(1 << 20) }));
  t.same(discovery.refused()[0], {
    job: "node",
    address: "10.0.0.0:1",
    message: 'label "note": expected at most 4096 bytes, got 1048580',
  });
  t.equal(count(), 3);
  t.equal(held(), 3);
  await write(file, list(["y".repeat(1 << 20), ...hosts(3)]));
  t.equal(count(), 3);
  t.equal(held(), 0);
  t.equal(discovery.refused()[0]!.address.length, 200, "nor is garbage shown whole");
  await write(file, list(hosts(3)));
  await write(
    file,
    JSON.stringify([{ targets: hosts(2) }, { targets: hosts(1, { from: 2 }), labels: { a: "x".repeat(5000) } }]),
  );
  t.equal(count(), 3, "also one alone");
  await clock.advance(10 * minuteMs);
  t.equal(count(), 2);
});

t.test("a list that is caught in the middle of being written changes nothing, as long as it is written", async (t) => {
  const path = `${dir}/a.yml`;
  const lines = hosts(100).map((host) => `- targets: ["${host}"]\n`);
  const { changes, clock, count, files, held, watched } = await found(t, { [path]: lines.join("") });
  for (let written = 60; written < 100; written += 4) {
    files.set(path, lines.slice(0, written).join(""));
    watched.get(dir)!();
    await clock.advance(250);
    t.equal(count(), 100);
  }
  files.set(path, lines.join(""));
  watched.get(dir)!();
  await clock.advance(1000);
  t.equal(count(), 100);
  t.equal(held(), 0);
  t.equal(changes(), 1);
  for (const content of [
    "",
    lines.join("").slice(0, 500),
    "[{",
    '{"targets": []}',
    "\u0000\u0001",
    "x".repeat(3 << 20),
  ]) {
    files.set(path, content);
    watched.get(dir)!();
    await clock.advance(1000);
    t.equal(count(), 100, JSON.stringify(content.slice(0, 20)));
  }
});

t.test("a list that never stops changing is believed all the same, within its limits", async (t) => {
  const { clock, count, files, watched } = await found(t, { [file]: list(hosts(100)) });
  for (let round = 0; round < 30; round++) {
    files.set(file, list(hosts(90 + (round % 5))));
    watched.get(dir)!();
    await clock.advance(250);
  }
  t.ok(count() < 100, String(count()));
});

t.test("a list with more targets than the data centre may have is refused as a whole, by name", async (t) => {
  const limit = (text: string) => text.replace("    labels: {", "    targets_max: 1000\n    labels: {");
  const { clock, count, discovery, sentences, write } = await found(t, { [file]: list(hosts(100)) }, limit);
  const more = (count: number, rack: number) =>
    Array.from({ length: count }, (_, i) => `10.${rack}.${i >> 8}.${i & 255}:1`);
  await write(file, list([...hosts(100), ...more(901, 9)]));
  t.equal(count(), 100);
  t.match(discovery.problems(), [
    {
      file,
      message: "expected at most 1000 targets in the data centre (targets_max), got 1001 in this list alone",
      targetsKept: 100,
    },
  ]);
  t.match(sentences.at(-1), "cannot be read; its last ones are kept");
  await write(file, list(more(1_000_000, 9)));
  t.match(discovery.problems()[0]!.message, /targets_max\), got 1000000 in this list alone|16 MiB/);
  t.equal(count(), 100);
  await write(file, list(hosts(100)));
  t.same(discovery.problems(), []);
  const b = `${dir}/b.json`;
  await write(b, list([...hosts(100), ...more(900, 9)]));
  t.equal(count(), 1000, "what stands twice counts once");
  await write(`${dir}/c.json`, list(more(5, 8)));
  t.equal(count(), 1000);
  t.match(discovery.problems(), [
    { file: `${dir}/c.json`, message: /\(targets_max\), got 5 in this list beside 1000 of others$/ },
  ]);
  await write(b, list(more(895, 9)));
  await clock.advance(2 * minuteMs);
  t.equal(count(), 1000, "it is read again when there may be room");
  t.same(discovery.problems(), []);
});

t.test(
  "a primary that begins to govern with an emptied, missing or garbage list goes on with what is scraped",
  async (t) => {
    const { discovery: before } = await found(t, { [file]: list(hosts(40)) });
    const scraped = before.targets();
    for (const [what, files, held] of [
      ["emptied", { [file]: "[]" }, 40],
      ["missing", {}, 40],
      ["garbage", { [file]: "[{" }, 40],
      ["shorter", { [file]: list(hosts(15)) }, 25],
      ["a little shorter", { [file]: list(hosts(25)) }, 0],
      ["with other labels", { [file]: list(hosts(40), { rack: "7" }) }, 0],
    ] as const) {
      const world = await found(t, files);
      world.discovery.remember(scraped);
      t.equal(world.held(), held, what);
      t.equal(world.count(), what === "a little shorter" ? 25 : 40, what);
      const waits = what === "garbage";
      if (held === 0) continue;
      t.match(world.discovery.jobs()[0]!.heldOfBefore(), { lost: held, of: 40, waits }, what);
      await world.clock.advance(11 * minuteMs);
      t.equal(world.count(), waits ? 40 : 40 - held, what);
      await world.write(file, list(hosts(40)));
      t.equal(world.count(), 40, what);
      t.equal(world.held(), 0, what);
    }
  },
);

t.test("what a primary remembers is let go when it is confirmed, and other jobs are not touched", async (t) => {
  const { discovery: before } = await found(t, { [file]: list(hosts(40)) });
  const world = await found(t, { [file]: "[]" });
  const other: Target = { ...before.targets()[0]!, job: "no such job" };
  world.discovery.remember([...before.targets(), other]);
  world.discovery.remember([...before.targets(), other]);
  t.equal(world.count(), 40);
  t.same(world.discovery.confirm("node", file), [], "it is of no file");
  t.same(world.discovery.confirm("node"), [{ file: "", lost: 40 }]);
  t.equal(world.count(), 0);
});

t.test("static targets that the operator took out are not missed", async (t) => {
  const config = (targets: string[]) =>
    `  - job_name: node\n    static_configs: [{ targets: ${JSON.stringify(targets)} }]\n`;
  const before = await discover(t, config(hosts(40)));
  const after = await discover(t, config(hosts(1)));
  after.discovery.remember(before.discovery.targets());
  t.equal(after.discovery.targets().length, 1);
});

t.test(
  "with other scrape configs, unchanged jobs keep their lists and holds, and nothing is missing meanwhile",
  async (t) => {
    const world = await found(t, { [file]: list(hosts(50)) });
    const { changes, count, discovery, files, held, metrics, write } = world;
    await write(file, list(hosts(10)));
    t.equal(held(), 40);
    files.set("/etc/heliograph/db.json", list(hosts(7, { rack: 5 })));
    const db = "  - job_name: db\n    priority: 3\n    file_sd_configs: [{ files: [db.json] }]\n";
    const reconfigure = async (configs: string) => {
      const topology = topologyOf(configs);
      await discovery.reconfigure(topology, topology.datacenters[0]!);
    };
    const seen: number[] = [];
    discovery.onChange(() => seen.push(count()));
    await reconfigure(oneJob + db);
    t.same(seen, [57]);
    t.equal(held(), 40, "the hold goes on");
    t.same(
      [...discovery.priorities()],
      [
        ["node", 0],
        ["db", 3],
      ],
    );
    await reconfigure(oneJob.replace("1m", "2m") + db);
    t.equal(count(), 57, "a job that is changed while it holds goes on holding");
    t.equal(held(), 40);
    const known = changes();
    await reconfigure(oneJob.replace("1m", "2m") + db);
    t.equal(changes(), known);
    await reconfigure(db);
    t.equal(count(), 7, "a job that is taken out is not held");
    t.notMatch(metrics.expose(), 'job="node"');
    files.set(file, list(hosts(3)));
    await world.change(dir);
    t.equal(count(), 7, "nor watched");
  },
);

t.test("a job whose lists are right may lose by its own settings what it will", async (t) => {
  const { count, discovery, held } = await found(t, { [file]: list(hosts(50)) });
  const drop = `    relabel_configs: [{ source_labels: [__address__], regex: '.*[1-9]:1', action: drop }]\n`;
  const topology = topologyOf(oneJob + drop);
  await Promise.all([
    discovery.reconfigure(topology, topology.datacenters[0]!),
    discovery.reconfigure(topology, topology.datacenters[0]!),
  ]);
  t.equal(count(), 5);
  t.equal(held(), 0);
});

t.test(
  "on a real disk, whatever is written: it is refused by name within a second, and the fleet stays as it was",
  async (t) => {
    const base = await mkdtemp(join(tmpdir(), "heliograph-hold-"));
    const topology = topologyOf("  - job_name: node\n    file_sd_configs: [{ files: ['*.json', '*.yml'] }]\n");
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
    const right = {
      json: list(hosts(60)),
      yml: hosts(60, { rack: 1 })
        .map((host) => `- targets: ["${host}"]\n`)
        .join(""),
    };
    for (const kind of ["json", "yml"] as const) await writeFile(join(base, `a.${kind}`), right[kind]);
    await discovery.start();
    t.equal(discovery.targets().length, 120);
    const before = discovery.targets();
    const until = async (what: string, seen: () => boolean) => {
      const beganMs = performance.now();
      while (!seen() && performance.now() - beganMs < 4000) await new Promise((resolve) => setTimeout(resolve, 10));
      const tookMs = performance.now() - beganMs;
      t.ok(seen() && tookMs < 1000, `${what}: ${tookMs.toFixed(0)} ms`);
    };
    for (const kind of ["json", "yml"] as const) {
      const path = join(base, `a.${kind}`);
      const source = () =>
        discovery
          .jobs()[0]!
          .files()
          .find((each) => each.file === path)!;
      const replace = async (content: string) => {
        await writeFile(`${path}.tmp`, content);
        await rename(`${path}.tmp`, path);
      };
      const entry = (host: string, note: string) =>
        kind === "json" ? list([host], { note }) : `- targets: ["${host}"]\n  labels: { note: ${note} }\n`;
      const wrong: [string, () => Promise<void>, RegExp][] = [
        ["truncated", () => writeFile(path, ""), /empty file/],
        ["cut off", () => writeFile(path, right[kind].slice(0, kind === "json" ? 300 : 310)), /not valid/],
        ["garbage", () => replace("\u0001\u0002{[<"), /not valid|expected a list/],
        ["bytes", () => writeFile(path, Buffer.from([0xff, 0xfe, 0x00])), /UTF-8/],
        ["something else", () => replace(kind === "json" ? '{"a": 1}' : "a: 1"), /expected a list of groups/],
        [
          "too large",
          () => writeFile(path, " ".repeat((kind === "json" ? 16 : 2) * 1024 * 1024 + 1)),
          /at most .* MiB/,
        ],
      ];
      for (const [what, write, message] of wrong) {
        await write();
        await until(`${kind}, ${what}`, () => message.test(source().problem?.message ?? ""));
        t.equal(discovery.targets(), before);
      }
      await replace(right[kind]);
      await until(`${kind}, right again`, () => source().problem === undefined);
      t.equal(discovery.targets(), before);
      await replace(entry("10.0.7.1:1", "x".repeat(1 << 20)));
      await until(`${kind}, a label of 1 MB`, () => source().held?.lost === 60 && source().refusedCount === 1);
      t.equal(discovery.targets(), before);
      await writeFile(path, right[kind]);
      await until(`${kind}, as it was`, () => source().held === undefined);
      t.equal(discovery.targets(), before);
      await rm(path);
      await until(`${kind}, deleted`, () => source().held?.lost === 60);
      t.equal(discovery.targets(), before);
      await writeFile(path, right[kind]);
      await until(`${kind}, there again`, () => source().held === undefined);
    }
    t.equal(discovery.targets(), before);
  },
);

// A list of targets that is emptied by mistake, with real processes: nothing is lost by it, nor by a primary that starts with it.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { call, getJson } from "#/cli/http.ts";
import { minuteMs } from "#/lib/bytes/units.ts";
import type { SourcesAnswer } from "#/primary/sources.ts";
import { heliograph } from "#/test/support/command.ts";
import { startDemo } from "#/test/support/heliograph.ts";
import { natsServer } from "#/test/support/nats.ts";
import { openWorld, until } from "#/test/support/world.ts";

const timeoutMs = 5000;

t.test(
  "an emptied list ends no scraping, whoever governs, until it is confirmed",
  { skip: natsServer.missing },
  async (t) => {
    const world = await openWorld(t);
    const dataDir = join(world.dir, "demo");
    await mkdir(dataDir);
    const demo = await startDemo(world, dataDir);
    const { processes } = await demo.status();
    const urlOf = (name: string) => processes.find((process) => process.name === name)!.httpUrl;
    const primaries = ["ams-primary-1", "ams-primary-2"];
    const list = join(dataDir, "targets", "fleet-1.json");
    const topology = ["--topology", join(dataDir, "topology.yaml"), "--datacenter", "ams"];

    const sourcesOf = async (name: string) =>
      (await getJson<{ data: SourcesAnswer }>(`${urlOf(name)}/api/v1/sources`, { timeoutMs })).data;
    const heldAt = async (name: string) =>
      (await sourcesOf(name)).sources
        .filter(({ held, job }) => job === "fleet" && held)
        .map(({ held, kind }) => `${kind} ${held!.lost}`);
    const generationTargets = async (name: string) => {
      const metrics = (await call(`${urlOf(name)}/api/v1/targets`, { timeoutMs })).body;
      return (JSON.parse(metrics) as { data: { activeTargets: unknown[] } }).data.activeTargets.length;
    };
    await until("all 18 targets", 30_000, async () =>
      (await generationTargets(primaries[0]!)) === 18 ? true : undefined,
    );

    await writeFile(list, "[]");
    for (const name of primaries) {
      await until(`${name} to hold`, 10_000, async () => ((await heldAt(name)).includes("file 10") ? true : undefined));
    }
    const shown = await heliograph(["sources", ...topology]);
    t.equal(shown.code, 0, shown.stderr);
    t.match(shown.stdout, /^ams: 18 of at most 200000 targets, as ams-primary-[12], which has the lease, has them\.\n/);
    t.match(shown.stdout, /since \d+s ago: 10 of 10 targets are missing, and scraped for (9m\d+s|10m0s) more/);
    t.match(shown.stdout, `if they are to go: heliograph sources confirm fleet --file ${list}`);

    // One after the other: each starts with the emptied list, and each comes to govern.
    for (let round = 0; round < 2; round++) {
      const { leader } = await sourcesOf(primaries[0]!);
      t.ok(primaries.includes(leader), leader);
      const other = primaries.find((name) => name !== leader)!;
      await call(`${demo.control}/kill?process=${leader}`, { method: "POST", timeoutMs });
      await until(`${other} to govern, and ${leader} to be back`, minuteMs, async () => {
        const [governs, isBack] = [(await sourcesOf(other)).leader === other, await sourcesOf(leader)];
        return governs && isBack.leader === other ? true : undefined;
      });
      t.equal(await generationTargets(other), 18, `${other} governs`);
      // It asks what is scraped once it has read the log to its end, just before it says anything itself.
      await until(`${other} to hold`, 10_000, async () => ((await heldAt(other)).length === 1 ? true : undefined));
      t.equal(await generationTargets(other), 18, `${other} still has all`);
    }
    const confirmed = await heliograph(["sources", "confirm", "fleet", ...topology]);
    t.equal(confirmed.code, 0, confirmed.stderr);
    t.match(confirmed.stdout, "10 targets of fleet are let go.");
    for (const name of primaries) {
      await until(`8 targets at ${name}`, 10_000, async () =>
        (await generationTargets(name)) === 8 ? true : undefined,
      );
      t.same(await heldAt(name), []);
    }
  },
);

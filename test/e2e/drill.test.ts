// The drill as a user runs it, on a small demo that really loses something: it must see that, say so, and fail.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { call } from "#/cli/http.ts";
import { launcher } from "#/test/support/command.ts";
import { startDemo } from "#/test/support/heliograph.ts";
import { natsServer } from "#/test/support/nats.ts";
import { openWorld, until } from "#/test/support/world.ts";

// A demo comes up, loses something, and the drill waits for what might still come.
t.setTimeout(120_000);

t.test("slots that nobody scraped are found, and fail the drill", { skip: natsServer.missing }, async (t) => {
  const world = await openWorld(t);
  const dataDir = join(world.dir, "demo");
  await mkdir(dataDir);
  const demo = await startDemo(world, dataDir);
  const args = ["drill", "--attach", demo.control, "--kills", "none", "--cut", "0s"];
  const drill = await world.start("drill", launcher, args);
  await until("the drill to begin", 20_000, async () => /The demo is ready/.test(await drill.log()) || undefined);

  // Behind the drill's back, all who scrape nyc: for more than three slots there is nobody to take over.
  const secondaries = ["nyc-secondary-1", "nyc-secondary-2"];
  const post = (path: string) => call(demo.control + path, { method: "POST", timeoutMs: 5000 });
  for (const name of secondaries) await post(`/kill?process=${name}&hold=true`);
  await new Promise((resolve) => setTimeout(resolve, 9000));
  for (const name of secondaries) await post(`/start?process=${name}`);

  t.equal(await drill.ended, 1);
  const told = await drill.log();
  t.match(told, /\nBREACH: no blow: \d+ slots are missing beyond what is allowed; of servers 10 \(/);
  t.match(told, /\nBREACH: nyc-secondary-1 ended by itself, 1 times/);
  t.match(told, /\nAs ams-primary-1 tells it, of its 10 servers:\n\d+ slots: 0 missing,/, "ams lost nothing");
  t.match(told, / samples compared: 0 wrong, 0 missing from stored scrapes\n/);
  t.match(told, /\nFAILED: \d+ breaches, each named above\.\n/);
});

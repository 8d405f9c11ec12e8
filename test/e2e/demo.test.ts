// The demo as a user runs it, on free ports and small: it comes up, answers rightly, shows a cut, resumes its data, and leaves
// no process behind, however it ends.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { DemoStatus } from "#/cli/drill/federation.ts";
import { readSeries } from "#/cli/drill/readback.ts";
import { call } from "#/cli/http.ts";
import { heliograph } from "#/test/support/command.ts";
import { startDemo, valuesByDatacenter } from "#/test/support/heliograph.ts";
import { natsServer } from "#/test/support/nats.ts";
import { promtool, promtoolQuery } from "#/test/support/promtool.ts";
import { openWorld, until } from "#/test/support/world.ts";

const timeoutMs = 5000;

const counts = (server: string) => valuesByDatacenter(server, "count by (datacenter) (up)");

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

function pidsOf(status: DemoStatus): number[] {
  return status.processes.map(({ pid }) => pid!);
}

t.test(
  "a whole federation comes up, is hurt, heals, resumes, and leaves nothing behind",
  { skip: natsServer.missing },
  async (t) => {
    const world = await openWorld(t);
    const dataDir = join(world.dir, "demo");
    await mkdir(dataDir);
    const first = await startDemo(world, dataDir);
    const status = await first.status();
    t.equal(status.processes.length, 14);
    t.ok(status.processes.every(({ state, starts }) => state === "running" && starts === 1));
    const readyLine = /\nReady after \d+ s\.\n {2}global-1 +http:\/\/127\.0\.0\.1:\d+\/\n/;
    await until(
      "the line that says it is ready",
      timeoutMs,
      async () => readyLine.test(await first.log()) || undefined,
    );

    // 10 of the fleet and four of its own; ams also both globals, the demo and the fleet's control.
    const urlOf = (name: string) => status.processes.find((process) => process.name === name)!.httpUrl;
    t.same(await counts(urlOf("global-1")), { ams: "18", nyc: "14" });
    t.same(await counts(urlOf("global-2")), { ams: "18", nyc: "14" });
    t.same(await counts(urlOf("nyc-primary-2")), { nyc: "14" }, "a primary knows its own data centre");
    const asked = await heliograph(["query", "count(fleet_time_ms)", "--server", urlOf("global-1")]);
    t.same(asked, { code: 0, stdout: "value\n   20\n", stderr: "" });
    await t.test("promtool understands the answers", { skip: promtool.missing }, async (t) => {
      const answer = await promtoolQuery(urlOf("global-2"), 'count(up{datacenter="nyc"})');
      t.match(answer, /^\{\} => 14 @\[\d+(\.\d+)?\]\n$/);
    });
    for (const { name, httpUrl, role } of status.processes.filter((process) => process.role !== "nats")) {
      const { status: code, body } = await call(`${httpUrl}/metrics`, { timeoutMs });
      t.equal(code, 200, name);
      t.match(
        body,
        `heliograph_build_info{version="0.1.0",tier="${role === "fleet" ? "tool" : role}",name="${name}"} 1\n`,
      );
    }
    const refused = await call(`${first.control}/kill?process=global-3`, { method: "POST", timeoutMs });
    t.same(
      [refused.status, JSON.parse(refused.body).error],
      [400, 'there is no process "global-3"; did you mean global-1?'],
    );

    await call(`${first.control}/cut?datacenter=ams`, { method: "POST", timeoutMs });
    const stateOf = async (name: string) =>
      (await first.status()).status?.datacenters.find((datacenter) => datacenter.name === name)?.state;
    await until("ams to be dark", 10_000, async () => ((await stateOf("ams")) === "dark" ? true : undefined));
    t.equal(await stateOf("nyc"), "live");
    t.same(await counts(urlOf("ams-primary-1")), { ams: "18" }, "cut off, it answers for itself");
    await call(`${first.control}/kill?process=nyc-primary-1`, { method: "POST", timeoutMs });
    await call(`${first.control}/heal`, { method: "POST", timeoutMs });
    await until("both to be live", 20_000, async () =>
      (await stateOf("ams")) === "live" && (await stateOf("nyc")) === "live" ? true : undefined,
    );
    const killed = await until("the killed primary to run again", 10_000, async () =>
      (await first.status()).processes.find(({ name, starts, pid }) => name === "nyc-primary-1" && starts === 2 && pid),
    );
    t.ok(killed.pid);

    const firstPids = pidsOf(await first.status());
    first.process.kill("SIGINT");
    t.equal(await first.ended, 0);
    t.same(firstPids.filter(isAlive), [], "Ctrl-C leaves no process");
    const endedMs = Date.now();

    const second = await startDemo(world, dataDir);
    const again = await second.status();
    const global = again.processes.find(({ name }) => name === "global-1")!.httpUrl;
    const span = { fromMs: endedMs - 120_000, untilMs: Date.now() };
    const series = await readSeries(global, 'up{job="fleet",datacenter="nyc"}', span);
    t.ok(
      series.some(({ samples }) => samples[0]![0] < endedMs - 2000),
      "the samples from before are still there",
    );
    second.process.kill("SIGKILL");
    t.equal(await second.ended, "SIGKILL");
    await until("every child to die with its supervisor", 5000, async () =>
      pidsOf(again).some(isAlive) ? undefined : true,
    );
  },
);

// A secondary that scrapes in two threads: with its parts in this process, and as a process of its own that is killed.

import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import t from "tap";

import { silentLogger } from "#/lib/logger/logger.ts";
import { shardOf } from "#/lib/model/target.ts";
import { servePrimary } from "#/lib/wire/grpc.ts";
import { startTier } from "#/test/support/heliograph.ts";
import { MemoryLog, MemoryPrimary } from "#/test/support/memory-primary.ts";
import { freePort } from "#/test/support/port.ts";
import { byTarget, expectedSeries, fleet, testSecondary } from "#/test/support/secondary-conformance.ts";
import { makeGeneration } from "#/test/support/targets.ts";
import { openWorld, until } from "#/test/support/world.ts";

// Threads take a while to begin on a machine that does something else too.
t.setTimeout(120_000);

testSecondary(t, 2);

/** The primary behind a real port. */
async function listen(t: { teardown(close: () => unknown): unknown }, primary: MemoryPrimary): Promise<string> {
  const server = await servePrimary({
    listen: "127.0.0.1:0",
    log: silentLogger(),
    handlers: {
      async push(session, _peer, signal) {
        const stream = primary.connect().push(signal);
        const back = (async () => {
          for await (const response of stream.incoming) await session.send(response);
        })().catch(() => {});
        for await (const request of session.incoming) await stream.send(request);
        stream.close();
        await back;
      },
      async watch(request, send, _peer, signal) {
        for await (const response of primary.connect().watch(request, signal)) await send(response);
      },
      async reach(session) {
        for await (const _ of session.incoming);
      },
    },
  });
  const alive = setInterval(() => primary.keepAlive(), 1000);
  t.teardown(() => {
    clearInterval(alive);
    return server.close();
  });
  return server.address;
}

for (const threads of [2, 1]) {
  const skip = threads > availableParallelism() && "this machine has one core";
  t.test(
    `killed and started again, a process with threads: ${threads} loses and doubles nothing`,
    { skip },
    async (t) => {
      const { pathOf, sent, targets } = await fleet(t, 12, 500);
      const log = new MemoryLog();
      log.generation = makeGeneration(targets);
      const grpc = await listen(t, new MemoryPrimary("p1", log));
      const world = await openWorld(t);
      const page = `127.0.0.1:${await freePort()}`;
      const nats = `servers: ["nats://127.0.0.1:1"]`;
      const topology = `
format_version: 1
federation: test
global: { nats: { ${nats}, leaf_servers: ["nats://127.0.0.1:1"] }, pair: [{ name: g, http: { listen: "127.0.0.1:2" } }] }
datacenters:
  - name: fra
    region: eu
    nats: { ${nats} }
    primaries: [{ name: p1, http: { listen: "127.0.0.1:1" }, grpc: { listen: "${grpc}" } }]
    secondaries: [{ name: s1, threads: ${threads}, http: { listen: "${page}" } }]
`;
      const topologyFile = join(world.dir, "topology.yaml");
      await writeFile(topologyFile, topology);
      const get = async (path: string) => await (await fetch(`http://${page}${path}`)).text();
      const metric = async (series: string) => {
        const line = (await get("/metrics")).split("\n").find((each) => each.startsWith(`${series} `));
        return line === undefined ? undefined : Number(line.slice(series.length + 1));
      };
      const stored = 'heliograph_secondary_scrapes_total{outcome="stored"}';
      for (const signal of ["SIGKILL", "SIGTERM"] as const) {
        const secondary = await startTier(world, "secondary", "s1", topologyFile);
        await until("scrapes", 30_000, async () => ((await metric(stored)) ?? 0) >= 40 || undefined);
        t.equal(await metric("heliograph_secondary_targets"), 12);
        const busy = (await get("/metrics")).match(/^heliograph_event_loop_busy_seconds_total\{thread="[^"]*"\}/gm);
        t.strictSame(
          busy?.map((line) => /"(.*)"/.exec(line)![1]),
          threads === 1 ? ["main"] : ["main", "shard-0", "shard-1"],
        );
        secondary.process.kill(signal);
        t.equal(await secondary.ended, signal === "SIGTERM" ? 0 : signal);
      }

      const runs = [...log.runs.values()].map(({ run }) => run);
      t.equal(new Set(runs.map(({ bootEpoch }) => bootEpoch)).size, 2);
      t.strictSame([...new Set(runs.map(({ shard }) => shard))].sort(), threads === 1 ? [0] : [0, 1]);
      if (threads === 2) t.equal(new Set(targets.map(({ id }) => shardOf(id, 2))).size, 2);
      for (const target of targets) {
        const list = byTarget(log).get(target.id)!;
        const slots = list.map(({ facts }) => facts.slot);
        t.equal(new Set(slots).size, slots.length, "no slot twice");
        const bodies = sent.get(pathOf(target))!.map((lines) => JSON.stringify(expectedSeries(lines)));
        let next = 0;
        for (const { facts, series } of list.sort((a, b) => a.facts.slot - b.facts.slot)) {
          if (facts.outcome !== "stored") continue;
          const at = bodies.indexOf(JSON.stringify(series), next);
          t.ok(at >= next, `slot ${facts.slot}: ${series.join(" ")}`);
          next = at + 1;
        }
        t.ok(next > 5);
      }
    },
  );
}

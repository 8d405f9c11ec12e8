import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import t from "tap";
import { fetchStatus, PrimaryProbe } from "#/global/probe.ts";
import { DatacenterStates } from "#/global/state.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { type ManualClock, manualClock } from "#/test/support/manual-clock.ts";

function federation(names: readonly string[]) {
  const clock = manualClock();
  const metrics = createRegistry({ tier: "global" });
  const states = new DatacenterStates({
    datacenters: names.map((name) => ({ name, primaries: ["p1", "p2"] })),
    clock,
    log: silentLogger(),
    metrics,
  });
  return { clock, metrics, states };
}

/** Lets a federation live for that long: a heartbeat a second from those that beat, a probe every 2 s of all. */
async function live(
  { clock, states }: { clock: ManualClock; states: DatacenterStates },
  forMs: number,
  {
    beat,
    answer = beat,
    ask = answer,
  }: { beat: readonly string[]; answer?: readonly string[]; ask?: readonly string[] },
) {
  for (let passedMs = 0; passedMs < forMs; passedMs += 1000) {
    for (const name of beat) states.heard(name, clock.nowMs() - 120);
    if (passedMs % 2000 === 0) {
      for (const name of ask) {
        states.probed(name, "p1", answer.includes(name));
        states.probed(name, "p2", answer.includes(name));
      }
    }
    await clock.advance(1000);
    states.look();
  }
}

const stateOf = (states: DatacenterStates) => states.look().datacenters.map(({ name, state }) => `${name} ${state}`);

t.test("before the first heartbeat a data centre is unknown, and with heartbeats it is live", async (t) => {
  const { clock, states } = federation(["ams", "fra", "nyc"]);
  t.same(stateOf(states), ["ams unknown", "fra unknown", "nyc unknown"]);
  states.heard("ams", clock.nowMs() - 120);
  await clock.advance(500);
  const [ams] = states.look().datacenters;
  t.equal(ams?.state, "live");
  t.equal(ams?.lagMs, 620);
  t.equal(ams?.reason, "");
});

t.test("a data centre that is silently cut off shows dark within 10 s", async (t) => {
  const all = ["ams", "fra", "nyc"];
  const world = federation(all);
  await live(world, 20_000, { beat: all });
  t.same(stateOf(world.states), ["ams live", "fra live", "nyc live"]);
  // After the cut a probe needs its timeout to find out, so the first refusal is told a round later.
  await live(world, 2000, { beat: ["fra", "nyc"], ask: ["fra", "nyc"] });
  await live(world, 4000, { beat: ["fra", "nyc"], ask: all });
  t.same(stateOf(world.states), ["ams dark", "fra live", "nyc live"]);
  const view = world.states.look();
  t.equal(view.blind, false);
  t.equal(
    view.datacenters[0]?.reason,
    "Its heartbeats stopped arriving at the hub, and neither primary answers directly.",
  );
  t.equal(world.metrics.get("heliograph_global_datacenter_state", { datacenter: "ams", state: "dark" }), 1);
  t.equal(world.metrics.get("heliograph_global_datacenter_state", { datacenter: "ams", state: "live" }), 0);
});

t.test("since when is the moment of the change, and stays while nothing changes", async (t) => {
  const all = ["ams", "fra", "nyc"];
  const world = federation(all);
  await live(world, 20_000, { beat: all });
  await live(world, 30_000, { beat: ["fra", "nyc"], ask: all });
  const [ams, fra] = world.states.look().datacenters;
  t.equal(ams?.sinceMs, 1_700_000_000_000 + 25_000);
  t.equal(fra?.sinceMs, 1_700_000_000_000 + 1000);
});

t.test("heartbeats stopped but a primary answers: delayed, and never dark", async (t) => {
  const all = ["ams", "fra", "nyc"];
  const world = federation(all);
  await live(world, 10_000, { beat: all });
  await live(world, 60_000, { beat: ["fra", "nyc"], answer: all });
  const [ams] = world.states.look().datacenters;
  t.equal(ams?.state, "delayed");
  t.equal(ams?.reason, "Its heartbeats stopped arriving at the hub, but p1 and p2 answer directly.");
});

t.test("one answering primary of the two is enough", async (t) => {
  const world = federation(["ams", "fra", "nyc"]);
  await live(world, 10_000, { beat: ["ams", "fra", "nyc"] });
  await live(world, 8000, { beat: ["fra", "nyc"] });
  world.states.probed("ams", "p1", false);
  world.states.probed("ams", "p2", true);
  const [ams] = world.states.look().datacenters;
  t.equal(ams?.state, "delayed");
  t.equal(ams?.reason, "Its heartbeats stopped arriving at the hub, but p2 answers directly.");
});

t.test("silence alone, with no direct answer asked for, is unknown rather than dark", async (t) => {
  const world = federation(["ams", "fra", "nyc"]);
  await live(world, 10_000, { beat: ["ams", "fra", "nyc"], ask: [] });
  await live(world, 20_000, { beat: ["fra", "nyc"], ask: [] });
  t.same(stateOf(world.states), ["ams unknown", "fra live", "nyc live"]);
});

t.test("more than half of all silent together means that the hub is blind, not that all are dark", async (t) => {
  const all = ["ams", "fra", "nyc", "sin"];
  const world = federation(all);
  await live(world, 10_000, { beat: all });
  await live(world, 20_000, { beat: ["sin"], ask: all });
  const view = world.states.look();
  t.equal(view.blind, true);
  t.same(stateOf(world.states), ["ams unknown", "fra unknown", "nyc unknown", "sin live"]);
  t.equal(view.datacenters[0]?.reason, "The hub is blind: 3 of 4 data centres fell silent together.");
});

t.test("half of all is not more than half: one of two that is cut off is dark", async (t) => {
  const world = federation(["ams", "fra"]);
  await live(world, 10_000, { beat: ["ams", "fra"] });
  await live(world, 10_000, { beat: ["fra"], ask: ["ams", "fra"] });
  t.same(stateOf(world.states), ["ams dark", "fra live"]);
});

t.test("the only data centre of a federation can be dark", async (t) => {
  const world = federation(["ams"]);
  await live(world, 10_000, { beat: ["ams"] });
  await live(world, 10_000, { beat: [], ask: ["ams"] });
  t.same(stateOf(world.states), ["ams dark"]);
  t.equal(world.states.look().blind, false);
});

t.test("data centres that fell silent one after the other are each dark, however many", async (t) => {
  const all = ["ams", "fra", "nyc"];
  const world = federation(all);
  await live(world, 10_000, { beat: all });
  await live(world, 20_000, { beat: ["fra", "nyc"], ask: all });
  await live(world, 20_000, { beat: ["nyc"], ask: all });
  t.same(stateOf(world.states), ["ams dark", "fra dark", "nyc live"]);
});

t.test("a backlog that is being caught up is delayed until the present arrives", async (t) => {
  const world = federation(["ams", "fra", "nyc"]);
  world.states.heard("ams", world.clock.nowMs() - 42_000);
  const [ams] = world.states.look().datacenters;
  t.equal(ams?.state, "delayed");
  t.equal(ams?.reason, "Its log arrives 42 s late and is being caught up.");
  world.states.heard("ams", world.clock.nowMs() - 300);
  t.equal(world.states.look().datacenters[0]?.state, "live");
});

t.test("a step of the wall clock makes no data centre dark", async (t) => {
  const world = federation(["ams", "fra", "nyc"]);
  await live(world, 10_000, { beat: ["ams", "fra", "nyc"] });
  world.clock.step(3_600_000);
  await live(world, 2000, { beat: ["ams", "fra", "nyc"] });
  t.same(stateOf(world.states), ["ams live", "fra live", "nyc live"]);
});

t.test("every primary is asked at /-/healthy every 2 s, and one that hangs counts as silent after 1.5 s", async (t) => {
  const clock = manualClock();
  const asked: string[] = [];
  const results: string[] = [];
  const startMs = clock.monotonicMs();
  const probe = new PrimaryProbe({
    primaries: [
      { datacenter: "ams", primary: "p1", address: "10.0.0.1:9470" },
      { datacenter: "ams", primary: "p2", address: "10.0.0.2:9470" },
    ],
    clock,
    log: silentLogger(),
    fetch(url) {
      asked.push(`${clock.monotonicMs() - startMs} ${url}`);
      // The second never answers and does not heed its signal either.
      return url.includes("10.0.0.1") ? Promise.resolve(503) : new Promise(() => {});
    },
    onResult: (datacenter, primary, answered) =>
      results.push(`${clock.monotonicMs() - startMs} ${datacenter}/${primary} ${answered}`),
  });
  probe.start();
  await clock.advance(6500);
  probe.close();
  await clock.advance(6000);
  t.same(asked, [
    "0 http://10.0.0.1:9470/-/healthy",
    "1000 http://10.0.0.2:9470/-/healthy",
    "2000 http://10.0.0.1:9470/-/healthy",
    "4000 http://10.0.0.1:9470/-/healthy",
    "6000 http://10.0.0.1:9470/-/healthy",
  ]);
  t.same(results, [
    "0 ams/p1 true",
    "2000 ams/p1 true",
    "2500 ams/p2 false",
    "3000 ams/p2 false",
    "4000 ams/p1 true",
    "5000 ams/p2 false",
    "6000 ams/p1 true",
  ]);
});

t.test("over real HTTP an unhealthy answer is an answer, and a closed port is none", async (t) => {
  const server = createServer((_, answer) => answer.writeHead(503).end("not yet\n"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const signal = AbortSignal.timeout(5000);
  t.equal(await fetchStatus(`http://127.0.0.1:${port}/-/healthy`, signal), 503);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await t.rejects(fetchStatus(`http://127.0.0.1:${port}/-/healthy`, signal), { code: "ECONNREFUSED" });
});

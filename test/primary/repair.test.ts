// What one replica misses and another's journal has: two primaries and a global on one log in memory, each with its own disk, where
// what a replica does not read is what it misses.

import t from "tap";
import type { AppendRequest } from "#/lib/commitlog/commitlog.ts";
import { LogError } from "#/lib/commitlog/commitlog.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { BatchRange } from "#/lib/model/identity.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";
import type { Replica } from "#/lib/replica/replica.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { againBatchesMax, endMissingMs, holderFirstMs, Repairer } from "#/primary/repair.ts";
import { SafetyBook } from "#/primary/safety.ts";
import { memoryDisk } from "#/test/support/memory-disk.ts";
import { heartbeatBytes, newWorld, openReplica, run, Sender, startMs } from "#/test/support/replica-world.ts";

type Name = "p1" | "p2" | "g1";
const names: readonly Name[] = ["p1", "p2", "g1"];
const runText = "paris/s1/1/0/1";

/** `misses`: entries of the log, counted from 1, that a replica does not get to read. */
async function datacenter(misses: Partial<Record<Name, readonly number[]>>) {
  const { clock, log } = newWorld();
  const appended: AppendRequest[] = [];
  const asked: { readonly by: Name; readonly range: BatchRange }[] = [];
  const stop = new AbortController();
  const state = { holder: "p1" as Name | "", logAway: false, away: new Set<Name>(), beats: 0 };
  const books = new Map<Name, SafetyBook>();
  const replicas = new Map<Name, Replica>();
  const repairers: Repairer[] = [];
  const running: Promise<void>[] = [];
  const metrics = createRegistry({ tier: "primary" });
  const writer = {
    async append(request: AppendRequest) {
      if (state.logAway) throw new LogError("unavailable", "away");
      const duplicate = appended.some(({ id }) => id === request.id);
      if (!duplicate) {
        appended.push(request);
        log.append(request.kind, request.origin, request.payload);
      }
      return { stream: "dc-paris-1-1", sequence: log.entries.length, duplicate };
    },
  };
  for (const name of names) {
    const { replica } = await openReplica({ disk: memoryDisk(), clock });
    replicas.set(name, replica);
    const reader = {
      async *read(after: LogPosition | undefined, signal: AbortSignal) {
        for await (const entry of log.read(after, signal)) {
          if (misses[name]?.includes(entry.position.sequence) !== true) yield entry;
        }
      },
    };
    running.push(replica.run(reader, stop.signal));
    if (name === "g1") continue;
    const safety = new SafetyBook({ primaries: ["p1", "p2"], globals: ["g1"], clock });
    books.set(name, safety);
    const lease = {
      held: () => state.holder === name,
      get holder() {
        return state.holder;
      },
    };
    repairers.push(
      new Repairer({
        datacenter: "paris",
        primary: name,
        lease,
        stock: replica.stock,
        safety,
        receiver: { askAgain: (range) => asked.push({ by: name, range }) > 0 },
        writer,
        clock,
        log: silentLogger(),
        metrics,
      }),
    );
  }
  const report = (name: Name): ReplicaReport => {
    const replica = replicas.get(name)!;
    const position = replica.durablePosition;
    const missing = replica.missing();
    return {
      version: 1,
      replica: name,
      tier: name === "g1" ? "global" : "primary",
      datacenter: "paris",
      sentMs: clock.nowMs(),
      ...(position && { position }),
      watermarks: replica.watermarks(),
      ...(missing.length > 0 && { missing }),
      secondaries: [],
      leaseToken: 0,
    };
  };
  return {
    state,
    log,
    appended,
    asked,
    metrics,
    replicas,
    /** Each second both primaries' heartbeats are in the log, and everybody's report is heard. */
    async seconds(count: number): Promise<void> {
      for (let i = 0; i < count; i++) {
        state.beats++;
        for (const name of ["p1", "p2"]) {
          if (!state.logAway) log.append("heartbeat", name, heartbeatBytes(startMs + state.beats * 1000, name));
        }
        await clock.advance(1000);
        for (const name of names) {
          if (!state.away.has(name)) for (const book of books.values()) book.hear(report(name));
        }
      }
    },
    watermarks: () => Object.fromEntries(names.map((name) => [name, replicas.get(name)!.watermarks()[0]?.sequence])),
    async close(): Promise<void> {
      for (const repairer of repairers) await repairer.close();
      stop.abort();
      log.wake();
      await Promise.all(running);
      for (const replica of replicas.values()) await replica.close();
    },
  };
}

const idsOf = (appended: readonly AppendRequest[]) => appended.map(({ id }) => id.replace(/\/again\/\d+$/, ""));

t.test("a hole at a global is filled out of the lease holder's journal, as the batch came, and once", async (t) => {
  const world = await datacenter({ g1: [3, 4] });
  const batches = new Sender().batches(6);
  for (const batch of batches) world.log.append("batch", "s1", batch);
  await world.seconds(3);
  t.same(world.watermarks(), { p1: 6, p2: 6, g1: 2 });
  t.same(world.replicas.get("g1")!.missing(), [{ ...run, from: 3, until: 4 }]);
  await world.seconds(5);
  t.same(world.watermarks(), { p1: 6, p2: 6, g1: 6 });
  t.same(idsOf(world.appended), [`${runText}/3`, `${runText}/4`]);
  t.match(world.appended, [{ kind: "batch", origin: "s1", id: /\/again\/\d+$/, payload: batches[2]! }, {}]);
  t.same(world.replicas.get("g1")!.missing(), []);
  await world.seconds(60);
  t.equal(world.appended.length, 2, "nobody sends them once more");
  t.equal(world.metrics.get("heliograph_primary_repaired_batches_total"), 2);
  await world.close();
});

t.test("what the lease holder misses comes from the other primary, and each fills what only it has", async (t) => {
  const world = await datacenter({ p1: [2], p2: [4], g1: [2, 4] });
  for (const batch of new Sender().batches(6)) world.log.append("batch", "s1", batch);
  await world.seconds(6);
  t.same(world.watermarks(), { p1: 6, p2: 6, g1: 6 });
  t.same(idsOf(world.appended).toSorted(), [`${runText}/2`, `${runText}/4`]);
  await world.close();
});

t.test("the end of a run is sent again to one who read past its place, and not before", async (t) => {
  const world = await datacenter({ p2: [4, 5, 6] });
  for (const batch of new Sender().batches(6)) world.log.append("batch", "s1", batch);
  await world.seconds(endMissingMs / 1000);
  t.same(world.watermarks(), { p1: 6, p2: 3, g1: 6 });
  t.same(world.replicas.get("p2")!.missing(), [], "it does not know of them");
  t.equal(world.appended.length, 0);
  await world.seconds(4);
  t.same(world.watermarks(), { p1: 6, p2: 6, g1: 6 });
  t.same(idsOf(world.appended), [`${runText}/4`, `${runText}/5`, `${runText}/6`]);
  await world.seconds(60);
  t.equal(world.appended.length, 3);
  await world.close();
});

t.test("a whole run that one never saw is sent again, a bounded number a second", async (t) => {
  const all = 3 * againBatchesMax;
  const world = await datacenter({ p2: Array.from({ length: all }, (_, i) => i + 1) });
  for (const batch of new Sender().batches(all)) world.log.append("batch", "s1", batch);
  await world.seconds(endMissingMs / 1000 + 2);
  const first = world.appended.length;
  t.ok(first > 0 && first <= 2 * againBatchesMax, `${first} were sent again`);
  await world.seconds(1);
  t.equal(world.appended.length - first <= againBatchesMax, true);
  await world.seconds(5);
  t.same(world.watermarks(), { p1: all, p2: all, g1: all });
  t.equal(world.appended.length, all);
  await world.close();
});

t.test("without a lease holder one of the primaries does it all the same, and the log keeps one copy", async (t) => {
  const world = await datacenter({ g1: [2] });
  world.state.holder = "";
  for (const batch of new Sender().batches(4)) world.log.append("batch", "s1", batch);
  await world.seconds(holderFirstMs / 1000 - 1);
  t.equal(world.appended.length, 0);
  await world.seconds(10);
  t.same(idsOf(world.appended), [`${runText}/2`]);
  t.same(world.watermarks(), { p1: 4, p2: 4, g1: 4 });
  await world.close();
});

t.test("one who is away is sent nothing, and is whole when it was heard again", async (t) => {
  const world = await datacenter({ g1: [2] });
  world.state.away.add("g1");
  for (const batch of new Sender().batches(4)) world.log.append("batch", "s1", batch);
  await world.seconds(30);
  t.equal(world.appended.length, 0);
  world.state.away.clear();
  await world.seconds(3);
  t.same(world.watermarks(), { p1: 4, p2: 4, g1: 4 });
  await world.close();
});

t.test("while the log is away nothing is lost of what is to be sent again", async (t) => {
  const world = await datacenter({ g1: [2] });
  for (const batch of new Sender().batches(4)) world.log.append("batch", "s1", batch);
  await world.seconds(2);
  world.state.logAway = true;
  await world.seconds(20);
  t.equal(world.appended.length, 0);
  world.state.logAway = false;
  await world.seconds(6);
  t.same(world.watermarks(), { p1: 4, p2: 4, g1: 4 });
  await world.close();
});

t.test("what was sent again and did not arrive either is sent once more, when that was read past", async (t) => {
  const misses: number[] = [2];
  const world = await datacenter({ g1: misses });
  for (const batch of new Sender().batches(4)) world.log.append("batch", "s1", batch);
  await world.seconds(2);
  // Whatever comes next at that place.
  misses.push(...Array.from({ length: 40 }, (_, i) => 9 + i));
  await world.seconds(8);
  const before = world.appended.length;
  t.ok(before <= 1);
  misses.splice(1);
  await world.seconds(70);
  t.same(world.watermarks(), { p1: 4, p2: 4, g1: 4 });
  t.ok(world.appended.length <= 2, `${world.appended.length} were sent again`);
  await world.close();
});

t.test("what no journal has, its secondary is asked for, once a minute", async (t) => {
  const world = await datacenter({ p1: [2, 3], p2: [2, 3], g1: [2, 3] });
  for (const batch of new Sender().batches(5)) world.log.append("batch", "s1", batch);
  await world.seconds(8);
  t.same(world.asked, [], "a peer's journal goes first");
  await world.seconds(12);
  t.same(world.appended, []);
  t.same(
    world.asked.map(({ by, range: { from, run: number, secondary, until } }) => [by, secondary, number, from, until]),
    [
      ["p1", "s1", 1, 2, 3],
      ["p2", "s1", 1, 2, 3],
    ],
    "each primary asks those that are connected to it",
  );
  await world.seconds(40);
  t.equal(world.asked.length, 2);
  await world.seconds(30);
  t.equal(world.asked.length, 4);
  await world.close();
});

t.test("what only a spool has does not keep a journal's part of the same hole back", async (t) => {
  const lost = Array.from({ length: againBatchesMax + 8 }, (_, i) => i + 2);
  const last = lost.at(-1)! + 6;
  const held = [last - 5, last - 4];
  const world = await datacenter({ p1: lost, p2: [...lost, ...held], g1: [...lost, ...held] });
  for (const batch of new Sender().batches(last)) world.log.append("batch", "s1", batch);
  await world.seconds(8);
  t.same(
    idsOf(world.appended),
    held.map((sequence) => `${runText}/${sequence}`),
  );
  t.same(world.replicas.get("g1")!.missing(), [{ ...run, from: 2, until: last - 6 }]);
  await world.seconds(12);
  t.same(
    world.asked.map(({ by, range: { from, until } }) => [by, from, until]),
    [
      ["p1", 2, last - 6],
      ["p2", 2, last - 6],
    ],
  );
  await world.close();
});

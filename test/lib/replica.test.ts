import t from "tap";
import { minuteMs } from "#/lib/bytes/units.ts";
import { encodeGeneration } from "#/lib/codec/generation.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { decodeCheckpoint, encodeCheckpoint } from "#/lib/replica/record.ts";
import { beyondMax, holeHeartbeatsMax } from "#/lib/replica/run.ts";
import {
  answers,
  deltaBytes,
  droppedRange,
  expectedValues,
  generationBytes,
  generationOf,
  heartbeatBytes,
  newWorld,
  openReplica,
  readAll,
  run,
  Sender,
  startMs,
  targets,
  upTo,
  valuesOf,
} from "#/test/support/replica-world.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);

t.test("what is in the log is in the head, and becomes durable within a second", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  for (const batch of new Sender().batches(5)) world.log.append("batch", "s1", batch);
  let moved = 0;
  replica.onDurable(() => moved++);
  await readAll(replica, world);
  t.equal(await valuesOf(head, targets[0]!), expectedValues(targets[0]!, upTo(5)));
  t.same(replica.watermarks(), [], "read, but not yet fsynced");
  await world.clock.advance(1000);
  t.same(replica.watermarks(), [{ ...run, sequence: 5 }]);
  t.equal(moved, 1);
  t.equal(metrics.get("heliograph_replica_samples_total", { datacenter: "paris" }), 30);
  const { up, down, targets: seen, samplesPerSecond, missingBatches } = replica.summary();
  t.same({ up, down, seen, missingBatches }, { up: 3, down: 0, seen: 3, missingBatches: 0 });
  t.ok(samplesPerSecond > 0);
  await replica.close();
});

t.test("a batch that the log has twice is kept once", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const batches = new Sender().batches(3);
  for (const batch of [...batches, batches[1]!, batches[2]!]) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  t.equal(await valuesOf(head, targets[1]!), expectedValues(targets[1]!, upTo(3)));
  t.equal(metrics.get("heliograph_replica_repeated_batches_total", { datacenter: "paris" }), 2);
  t.equal(metrics.get("heliograph_head_repeated_slots_total"), 0);
  t.equal(replica.position?.sequence, 5);
  await replica.close();
});

t.test("two batches that changed places are put right, without a hole", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const [one, two, three, four] = new Sender().batches(4);
  for (const batch of [one!, three!, two!, four!]) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  t.equal(await valuesOf(head, targets[0]!), expectedValues(targets[0]!, upTo(4)));
  await world.clock.advance(1000);
  t.same(replica.watermarks(), [{ ...run, sequence: 4 }]);
  t.equal(metrics.get("heliograph_replica_holes_total", { datacenter: "paris" }), 0);
  await replica.close();
});

t.test("a hole is counted, holds the watermark back, and does not hide the present for ever", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const sender = new Sender();
  const batches = sender.batches(30);
  for (const batch of batches.slice(0, 4)) world.log.append("batch", "s1", batch);
  for (const batch of batches.slice(5)) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  await world.clock.advance(1000);
  t.same(replica.watermarks(), [{ ...run, sequence: 4 }], "nothing behind the hole is claimed");
  t.equal(metrics.get("heliograph_replica_holes_total", { datacenter: "paris" }), 1);
  t.ok(metrics.get("heliograph_replica_unreadable_scrapes_total", { datacenter: "paris" }) > 0);
  t.equal(replica.summary().missingBatches, 1);
  t.match(replica.problems, [{ code: "hole_in_run", message: "paris/s1/1/0/1: 1 batches after 4 are missing" }]);
  const before = await valuesOf(head, targets[0]!);
  t.ok(before.endsWith(expectedValues(targets[0]!, [29])), "after a keyframe the present is there");

  await t.test("when the missing batch comes after all, everything is readable", async (t) => {
    world.log.append("batch", "s1", batches[4]!);
    await readAll(replica, world);
    for (const target of targets) t.equal(await valuesOf(head, target), expectedValues(target, upTo(30)));
    await world.clock.advance(1000);
    t.same(replica.watermarks(), [{ ...run, sequence: 30 }]);
    t.equal(replica.summary().missingBatches, 0);
  });
  const live = await answers(head);
  await replica.close();
  const again = await openReplica(world);
  t.same(await answers(again.head), live, "and after a restart the same");
  t.same(again.replica.watermarks(), [{ ...run, sequence: 30 }]);
  await again.replica.close();
});

t.test("a quiet run's hole is noticed by the heartbeats that go by", async (t) => {
  const world = newWorld();
  const { replica, metrics } = await openReplica(world);
  const batches = new Sender().batches(3);
  world.log.append("batch", "s1", batches[0]!);
  world.log.append("batch", "s1", batches[2]!);
  for (let i = 0; i < 5; i++) world.log.append("heartbeat", "p1", heartbeatBytes(startMs + i * 1000));
  await readAll(replica, world);
  t.equal(metrics.get("heliograph_replica_holes_total", { datacenter: "paris" }), 0);
  world.log.append("heartbeat", "p1", heartbeatBytes(startMs + 5000));
  await readAll(replica, world);
  t.equal(metrics.get("heliograph_replica_holes_total", { datacenter: "paris" }), 1);
  await replica.close();
});

t.test("a hole that nobody fills becomes final, and the run goes on behind it", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const lost: unknown[] = [];
  replica.onLost((range) => lost.push(range));
  const sender = new Sender();
  world.log.append("batch", "s1", sender.batch());
  sender.batch();
  for (let i = 0; i <= beyondMax + 2; i++) world.log.append("batch", "s1", sender.batch([targets[0]!]));
  await readAll(replica, world);
  await world.clock.advance(1000);
  t.same(replica.watermarks(), [{ ...run, sequence: 2 + beyondMax + 3 }]);
  t.equal(replica.problems.at(-1)?.code, "batches_lost");
  t.same(lost, [{ ...run, from: 2, until: 2 }]);
  t.equal(metrics.get("heliograph_replica_lost_batches_total", { datacenter: "paris" }), 1);
  const rounds = beyondMax + 5;
  t.ok((await valuesOf(head, targets[0]!)).endsWith(expectedValues(targets[0]!, [rounds - 2, rounds - 1])));
  await replica.close();
});

t.test("as many secondaries as there are can be read side by side", async (t) => {
  const world = newWorld();
  const { replica, metrics } = await openReplica(world);
  const senders = Array.from({ length: 150 }, (_, i) => ({
    name: `s${i}`,
    sender: new Sender({ ...run, secondary: `s${i}` }),
  }));
  for (let round = 0; round < 3; round++) {
    for (const { name, sender } of senders) world.log.append("batch", name, sender.batch([targets[0]!]));
  }
  await readAll(replica, world);
  t.equal(metrics.get("heliograph_replica_unreadable_scrapes_total", { datacenter: "paris" }), 0);
  await replica.close();
});

t.test("a hole in a run that has ended becomes final too, by the heartbeats that go by", async (t) => {
  const world = newWorld();
  const { replica } = await openReplica(world);
  const batches = new Sender().batches(4);
  world.log.append("batch", "s1", batches[0]!);
  for (const batch of batches.slice(2)) world.log.append("batch", "s1", batch);
  const beat = (from: number, until: number) => {
    for (let i = from; i < until; i++) world.log.append("heartbeat", "p1", heartbeatBytes(startMs + i * 1000));
  };
  beat(0, holeHeartbeatsMax - 1);
  await readAll(replica, world);
  await world.clock.advance(1000);
  t.same(replica.watermarks(), [{ ...run, sequence: 1 }]);
  beat(holeHeartbeatsMax - 1, holeHeartbeatsMax);
  await readAll(replica, world);
  await world.clock.advance(1000);
  t.same(replica.watermarks(), [{ ...run, sequence: 4 }], "the secondary may let go of the rest of the run");
  t.equal(replica.problems.at(-1)?.code, "batches_lost");
  t.equal(replica.summary().missingBatches, 0);
  await replica.close();
  const again = await openReplica(world);
  t.same(again.replica.watermarks(), [{ ...run, sequence: 4 }]);
  await again.replica.close();
});

t.test("what is bad in the log is named and counted, and ends nothing", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const [one, two, three] = new Sender().batches(3);
  const damaged = two!.slice();
  damaged[damaged.length >>> 1]! ^= 1;
  world.log.append("batch", "s1", one!);
  world.log.append("batch", "s1", damaged);
  world.log.append("batch", "s1", new Uint8Array(3));
  world.log.append("batch", "s2", new Sender().batch());
  world.log.append("batch", "s1", new Sender({ ...run, datacenter: "berlin" }).batch());
  world.log.append("heartbeat", "p1", new Uint8Array(5));
  world.log.append("generation", "p1", new Uint8Array(5));
  world.log.append("batch", "s1", two!);
  world.log.append("batch", "s1", three!);
  await readAll(replica, world);
  t.equal(await valuesOf(head, targets[0]!), expectedValues(targets[0]!, upTo(3)));
  const bad = (code: string) => metrics.get("heliograph_replica_bad_batches_total", { datacenter: "paris", code });
  t.same([bad("bad_checksum"), bad("truncated"), bad("foreign")], [1, 1, 2]);
  t.match(replica.problems[0], { code: "bad_batch", message: /^dc-paris-1-1 entry 2 \(batch of s1\): bad_checksum/ });
  t.equal(replica.problems.length, 6);
  await replica.close();
  const again = await openReplica(world);
  t.equal(await valuesOf(again.head, targets[0]!), expectedValues(targets[0]!, upTo(3)), "nor a restart");
  t.same(again.replica.problems, [], "which does not tell it again");
  await again.replica.close();
});

t.test("generations: the newest is kept, a fenced one refused, and dropped targets end", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const numbers: number[] = [];
  replica.onGeneration(({ number }) => numbers.push(number));
  world.log.append("generation", "p1", generationBytes(1, 5, targets));
  world.log.append("batch", "s1", new Sender().batch());
  const endMs = startMs + 60_000;
  world.log.append("generation", "p1", generationBytes(2, 7, targets.slice(1), endMs));
  world.log.append("generation", "p2", generationBytes(3, 6, targets));
  world.log.append("generation", "p1", generationBytes(2, 7, targets.slice(1), endMs));
  await readAll(replica, world);
  t.same(numbers, [1, 2]);
  t.equal(replica.generation?.number, 2);
  t.equal(metrics.get("heliograph_replica_refused_entries_total", { datacenter: "paris", code: "fenced" }), 1);
  t.equal(await valuesOf(head, targets[0]!), `${expectedValues(targets[0]!, [0])} ${endMs}=stale`);
  t.equal(await valuesOf(head, targets[1]!), expectedValues(targets[1]!, [0]));
  const { targets: count, up } = replica.summary();
  t.same({ count, up }, { count: 2, up: 2 });
  await replica.close();
  const again = await openReplica(world);
  t.equal(again.replica.generation?.number, 2);
  t.equal(await valuesOf(again.head, targets[0]!), `${expectedValues(targets[0]!, [0])} ${endMs}=stale`);
  await again.replica.close();
});

t.test("a difference is applied to the generation that it is to, and to no other", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const taken: [number, number][] = [];
  replica.onGeneration(({ number, targets }) => taken.push([number, targets.length]));
  const endMs = startMs + 60_000;
  const one = generationOf(1, 5, targets);
  const two = generationOf(2, 5, targets.slice(1), endMs);
  const three = generationOf(3, 5, targets.slice(1), endMs + 1);
  const lost = generationOf(3, 5, targets.slice(1), endMs + 7);
  const four = generationOf(4, 7, targets, endMs + 2);
  world.log.append("generation", "p1", deltaBytes(one, two));
  world.log.append("generation", "p1", generationBytes(1, 5, targets));
  world.log.append("batch", "s1", new Sender().batch());
  world.log.append("generation", "p1", deltaBytes(one, two));
  world.log.append("generation", "p1", deltaBytes(lost, four));
  world.log.append("generation", "p1", deltaBytes(two, three));
  await readAll(replica, world);
  t.same(taken, [
    [1, 3],
    [2, 2],
    [3, 2],
  ]);
  t.same(replica.generation, three);
  t.equal(await valuesOf(head, targets[0]!), `${expectedValues(targets[0]!, [0])} ${endMs}=stale`);
  const refused = () =>
    metrics.get("heliograph_replica_refused_entries_total", { datacenter: "paris", code: "unknown_base" });
  t.equal(refused(), 2);
  t.match(replica.problems[1], {
    code: "unknown_base",
    message: /entry 5 .*generation 4 \(token 7, .*got paris's generation 2/,
  });
  t.match(replica.generationTrail, { full: { position: { sequence: 2 } }, deltas: 2 });
  world.log.append("generation", "p1", deltaBytes(lost, four));
  world.log.append("generation", "p1", generationBytes(4, 7, targets, endMs + 2));
  await readAll(replica, world);
  t.equal(refused(), 3, "as it was, until the next whole one");
  t.same(replica.generation, four);
  world.log.append("generation", "p1", generationBytes(4, 7, targets, endMs + 2));
  await readAll(replica, world);
  t.equal(taken.length, 4, "which may be told again, and is nothing new");
  t.match(replica.generationTrail, { full: { position: { sequence: 9 } }, deltas: 0 });
  const told = replica.generations().map(({ number, form, targets, changes }) => ({ number, form, targets, changes }));
  const unchanged = { moved: 0, added: 0, removed: 0 };
  t.same(told, [
    { number: 4, form: "full", targets: 3, changes: { ...unchanged, added: 1 } },
    { number: 3, form: "delta", targets: 2, changes: unchanged },
    { number: 2, form: "delta", targets: 2, changes: { ...unchanged, removed: 1 } },
    { number: 1, form: "full", targets: 3, changes: null },
  ]);
  t.equal(replica.generations(2).length, 2);
  const before = replica.generations();
  await replica.close();
  const again = await openReplica(world);
  t.same(again.replica.generation, four);
  t.same(again.replica.generations(), before);
  await again.replica.close();
});

t.test("a journal whose oldest segment begins between differences has the whole generation", async (t) => {
  const world = newWorld();
  const { replica } = await openReplica(world);
  const generations = Array.from({ length: 30 }, (_, i) => generationOf(i + 1, 5, targets.slice(i % 3), startMs + i));
  world.log.append("generation", "p1", generationBytes(1, 5, targets));
  for (let i = 1; i < generations.length; i++) {
    await readAll(replica, world);
    await world.clock.advance(10 * minuteMs);
    world.log.append("generation", "p1", deltaBytes(generations[i - 1]!, generations[i]!));
    world.log.append("heartbeat", "p1", heartbeatBytes(world.clock.nowMs()));
  }
  await readAll(replica, world);
  await replica.close();
  t.notOk(world.disk.paths().includes("/journal/00000002.journal"), "the oldest segments are gone");
  const again = await openReplica(world);
  t.same(again.replica.generation, generations.at(-1));
  t.equal(again.replica.generationTrail, undefined, "where the log has it whole is not known any more");
  const told = again.replica.generations();
  t.ok(told.length > 10 && told.length < 29, `${told.length} of 30`);
  t.same(told.at(-1)!.changes, null);
  await again.replica.close();
});

t.test("the newest heartbeat says how old the present is", async (t) => {
  const world = newWorld();
  const { replica, metrics } = await openReplica(world);
  const heard: string[] = [];
  replica.onHeartbeat(({ origin, sentMs }) => heard.push(`${origin} ${sentMs - startMs}`));
  world.log.append("heartbeat", "p1", heartbeatBytes(startMs - 3000));
  world.log.append("heartbeat", "p2", heartbeatBytes(startMs - 2000, "p2"));
  world.log.append("heartbeat", "p1", heartbeatBytes(startMs - 5000));
  await readAll(replica, world);
  t.same(heard, ["p1 -3000", "p2 -2000"], "an older one of the same primary is nothing new");
  t.equal(replica.lastHeartbeat?.origin, "p2");
  metrics.expose();
  t.equal(metrics.get("heliograph_replica_lag_seconds", { datacenter: "paris" }), 2);
  await replica.close();
});

t.test("a log that was made anew, or lost entries, is said and counted, and read on", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const batches = new Sender().batches(6);
  for (const batch of batches.slice(0, 3)) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  world.log.recreate("2026-02-02T00:00:00Z");
  for (const batch of batches.slice(1, 4)) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  t.equal(metrics.get("heliograph_replica_log_breaks_total", { datacenter: "paris", code: "recreated" }), 1);
  t.equal(await valuesOf(head, targets[0]!), expectedValues(targets[0]!, upTo(4)));
  t.equal(replica.position?.created, "2026-02-02T00:00:00Z");
  world.log.append("heartbeat", "p1", heartbeatBytes(startMs));
  world.log.append("heartbeat", "p1", heartbeatBytes(startMs));
  world.log.expire(5);
  for (const batch of batches.slice(4)) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  t.equal(metrics.get("heliograph_replica_log_breaks_total", { datacenter: "paris", code: "hole" }), 1);
  t.equal(await valuesOf(head, targets[0]!), expectedValues(targets[0]!, upTo(6)));
  t.same(
    replica.problems.map(({ code }) => code),
    ["recreated", "hole"],
  );
  await replica.close();
});

t.test(
  "a new replica takes runs as it finds them when the log's start is gone, and as holes when it is not",
  async (t) => {
    const batches = new Sender().batches(9);
    const late = newWorld(100);
    for (const batch of batches.slice(3)) late.log.append("batch", "s1", batch);
    const joined = await openReplica(late);
    await readAll(joined.replica, late);
    await late.clock.advance(1000);
    t.same(joined.replica.watermarks(), [{ ...run, sequence: 9 }]);
    await joined.replica.close();
    const again = await openReplica(late);
    t.same(again.replica.watermarks(), [{ ...run, sequence: 9 }], "also after a restart");
    await again.replica.close();

    const whole = newWorld();
    for (const batch of batches.slice(3)) whole.log.append("batch", "s1", batch);
    const holed = await openReplica(whole);
    await readAll(holed.replica, whole);
    await whole.clock.advance(1000);
    t.same(holed.replica.watermarks(), []);
    t.equal(holed.replica.summary().missingBatches, 3);
    await holed.replica.close();
  },
);

t.test("a trimmed journal still knows its runs, its generation and its place", async (t) => {
  const world = newWorld();
  const first = await openReplica(world);
  const sender = new Sender();
  world.log.append("generation", "p1", generationBytes(1, 5, targets));
  for (let round = 0; round < 4 * 60 * 2.5; round++) {
    world.log.append("batch", "s1", sender.batch());
    if (round % 20 === 19) {
      await readAll(first.replica, world);
      await world.clock.advance(20 * 15_000);
    }
  }
  const live = await first.head.select(
    [],
    { fromMs: world.clock.nowMs() - 110 * minuteMs, untilMs: world.clock.nowMs() },
    new AbortController().signal,
  );
  await first.replica.close();
  t.notOk(world.disk.paths().includes("/journal/00000001.journal"), "the oldest segments are gone");
  const again = await openReplica(world);
  t.same(again.replica.watermarks(), [{ ...run, sequence: 600 }]);
  t.equal(again.replica.generation?.number, 1);
  t.equal(again.replica.position?.sequence, 601);
  const reread = await again.head.select(
    [],
    { fromMs: world.clock.nowMs() - 110 * minuteMs, untilMs: world.clock.nowMs() },
    new AbortController().signal,
  );
  t.same(reread, live, "and all of the head's retention is readable");
  await again.replica.close();
});

t.test("wherever it crashes, after reading on it answers the same, and nothing that was durable is lost", async (t) => {
  const random = seededRandom(seed);
  for (let round = 0; round < 15; round++) {
    const world = newWorld();
    const calm = newWorld();
    let generation: Generation | undefined;
    const entries: [kind: "batch" | "generation" | "heartbeat", origin: string, payload: Uint8Array][] = [];
    const senders = [new Sender(), new Sender({ ...run, shard: 1 }), new Sender({ ...run, secondary: "s2", run: 3 })];
    for (let i = 0; i < 60; i++) {
      const which = random.below(3);
      const payload = senders[which]!.batch([targets[which]!]);
      // One batch in twelve never reaches the log, one in eight comes later.
      if (random.below(12) > 0)
        entries.splice(entries.length - Math.min(entries.length, random.below(8) === 0 ? 2 : 0), 0, [
          "batch",
          which === 2 ? "s2" : "s1",
          payload,
        ]);
      if (random.below(4) === 0) entries.push(["heartbeat", "p1", heartbeatBytes(startMs + i * 1000)]);
      if (random.below(12) === 0) {
        const next = generationOf(i + 1, 1, targets.slice(random.below(3)), startMs + i * 5000);
        const payload = generation ? deltaBytes(generation, next) : encodeGeneration(next);
        entries.push(["generation", "p1", payload]);
        generation = random.below(4) === 0 ? undefined : next;
      }
    }
    for (const entry of entries) calm.log.append(...entry);
    const reference = await openReplica(calm);
    await readAll(reference.replica, calm);
    await calm.clock.advance(2000);

    let at = 0;
    let promised = new Map<string, number>();
    while (at < entries.length) {
      const life = await openReplica({ disk: world.disk.attach(), clock: world.clock });
      const found = new Map(
        life.replica.watermarks().map(({ secondary, shard, sequence }) => [`${secondary}/${shard}`, sequence]),
      );
      for (const [key, sequence] of promised) {
        if ((found.get(key) ?? 0) < sequence)
          t.fail(`round ${round}: ${key} was durable to ${sequence}, now ${found.get(key)}`);
      }
      for (let i = random.below(25); i > 0 && at < entries.length; i--) world.log.append(...entries[at++]!);
      await readAll(life.replica, world);
      if (random.below(2) === 0) await world.clock.advance(600);
      promised = new Map(
        life.replica.watermarks().map(({ secondary, shard, sequence }) => [`${secondary}/${shard}`, sequence]),
      );
      if (random.below(2) === 0) world.disk.loseTail(random);
      else world.disk.kill();
    }
    const last = await openReplica({ disk: world.disk.attach(), clock: world.clock });
    await readAll(last.replica, world);
    await world.clock.advance(2000);
    t.same(await answers(last.head), await answers(reference.head), `round ${round}`);
    t.same(last.replica.generation, reference.replica.generation);
    t.same(
      last.replica
        .watermarks()
        .map((w) => JSON.stringify(w))
        .sort(),
      reference.replica
        .watermarks()
        .map((w) => JSON.stringify(w))
        .sort(),
    );
    if (!t.passing()) return;
  }
});

t.test("while the journal's disk is full nothing is reported durable, and it says so", async (t) => {
  const world = newWorld();
  const { replica, head } = await openReplica(world);
  const batches = new Sender().batches(4);
  world.log.append("batch", "s1", batches[0]!);
  await readAll(replica, world);
  await world.clock.advance(1000);
  world.disk.capacityBytes = 0;
  for (const batch of batches.slice(1)) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  await world.clock.advance(3000);
  t.same(replica.watermarks(), [{ ...run, sequence: 1 }]);
  t.equal(replica.problems.at(-1)?.code, "disk_full");
  t.equal(await valuesOf(head, targets[0]!), expectedValues(targets[0]!, upTo(4)), "queries go on");
  world.disk.capacityBytes = Number.POSITIVE_INFINITY;
  await world.clock.advance(1000);
  t.same(replica.watermarks(), [{ ...run, sequence: 4 }]);
  t.same(replica.problems, []);
  await replica.close();
});

t.test("a checkpoint comes back as it was written, and a later version is refused", (t) => {
  const checkpoint = {
    position: { stream: "dc-paris-1-1", created: "2026-01-01T00:00:00Z", sequence: 7, storedMs: 1.25 },
    joiningUntilMs: Number.NEGATIVE_INFINITY,
    runs: [
      {
        secondary: "s1",
        bootEpoch: 1,
        shard: 2,
        run: 3,
        sequence: 4,
        beyond: [{ sequence: 9, segment: 1, offset: 32 }],
      },
    ],
    generation: undefined,
    dropped: [{ ...droppedRange(2, 5), secondary: "s1" }],
  };
  const record = encodeCheckpoint(checkpoint);
  t.same(decodeCheckpoint(record), checkpoint);
  const later = record.payload.slice();
  later[0] = 2;
  t.throws(() => decodeCheckpoint({ kind: 16, payload: later }), { code: "bad_version" });
  t.end();
});

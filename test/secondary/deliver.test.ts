// From the spool to the primaries: what is kept, in which order it goes, and that nothing is lost or kept twice on the way.

import t from "tap";

import { readBatchHeader } from "#/lib/codec/batch.ts";
import type { Spool } from "#/secondary/spool.ts";
import { bootEpoch, deliver, keys, pair, range, slotsIn, startMs } from "#/test/support/delivery.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { MemoryPrimary } from "#/test/support/memory-primary.ts";
import { MemoryStore } from "#/test/support/memory-store.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

t.test("batches are pushed once they are on disk, in order, and kept until they are durable", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, flush, metrics, pusher, spool, store, uplink } = await deliver(t, { primaries: [primary] });
  await flush(3);
  t.equal((store as MemoryStore).synced, 4, "one sync for the boot epoch, and one a flush");
  uplink.start();
  await clock.advance(200);
  t.strictSame(primary.received, keys(1, 1, 3));
  t.equal(pusher.connected, true);
  t.equal(pusher.idle, true);
  t.equal(spool.batches, 3, "accepted is not durable");

  const run = primary.log.runOf({ datacenter: "fra", secondary: "s1", bootEpoch, shard: 0, run: 1 });
  run.held = 3;
  run.durable = 2;
  primary.acknowledge();
  await clock.advance(10);
  t.equal(spool.batches, 1);
  run.durable = 3;
  primary.acknowledge();
  await clock.advance(10);
  await spool.settled();
  t.equal(spool.batches, 0);
  t.equal(spool.bytes, 0);
  t.strictSame([...(store as MemoryStore).entries.keys()], ["meta/version", "meta/boot_epoch"]);
  await flush(1);
  await clock.advance(10);
  t.equal(primary.received.at(-1), "fra/s1/1700000000/0/1/4");
  t.equal(metrics.get("heliograph_secondary_batches_total"), 4);
});

t.test("no more than the primary's window is on its way", async (t) => {
  const primary = new MemoryPrimary("p1");
  primary.windowBatches = 3;
  primary.accepting = false;
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary] });
  await flush(10);
  uplink.start();
  await clock.advance(3000);
  t.strictSame(primary.received, keys(1, 1, 3));
});

t.test("a lost acknowledgement costs a repetition, and nothing is kept twice", async (t) => {
  const [first, second] = pair();
  first.losesAcknowledgements = true;
  const { clock, flush, spool, uplink } = await deliver(t, { primaries: [first, second] });
  await flush(4);
  uplink.start();
  await clock.advance(1000);
  t.strictSame(first.received, keys(1, 1, 4));
  // The log forgets to whom it said what: the second primary has to be told everything again.
  first.log.runs.clear();
  first.die();
  await clock.advance(3000);
  t.strictSame(second.received, keys(1, 1, 4));
  t.equal(second.log.batches.size, 4);
  t.strictSame(slotsIn(second.log), range(101, 104));
  t.equal(spool.batches, 4);
});

t.test("when a primary dies the other one has the batches within seconds, and only what nobody has yet", async (t) => {
  const [first, second] = pair();
  const { clock, flush, metrics, uplink } = await deliver(t, { primaries: [first, second] });
  uplink.start();
  await clock.advance(200);
  await flush(3);
  await clock.advance(50);
  t.equal(first.received.length, 3);
  first.die();
  await flush(2);
  await clock.advance(2000);
  t.strictSame(second.received, keys(1, 4, 5));
  t.equal(metrics.get("heliograph_secondary_push_errors_total"), 1);
  t.equal(uplink.primary, "p2");
  second.die();
  first.up = true;
  await flush(1);
  await clock.advance(4000);
  t.equal(uplink.primary, "p1");
  t.strictSame(slotsIn(first.log), range(101, 106));
});

t.test("a primary that says no welcome, or accepts nothing, is given up for its pair", async (t) => {
  const [first, second] = pair();
  first.welcoming = false;
  second.accepting = false;
  const { clock, flush, uplink } = await deliver(t, { primaries: [first, second] });
  await flush(1);
  uplink.start();
  await clock.advance(9000);
  t.equal(uplink.primary, "p2");
  first.welcoming = true;
  // Both say each second that they live; that alone does not keep a secondary.
  for (let i = 0; i < 16; i++) {
    first.keepAlive();
    second.keepAlive();
    await clock.advance(1000);
  }
  t.equal(uplink.primary, "p1");
  t.strictSame(slotsIn(first.log), [101]);
});

t.test("a primary whose assignment stream is silent is given up too", async (t) => {
  const [first, second] = pair();
  const { clock, uplink } = await deliver(t, { primaries: [first, second] });
  uplink.start();
  await clock.advance(9000);
  t.equal(uplink.primary, "p1");
  await clock.advance(6000);
  t.equal(uplink.primary, "p2");
});

t.test("while it has nothing to send a secondary says twice a second that it lives", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary] });
  uplink.start();
  await clock.advance(6000);
  t.ok(primary.keepAlives >= 10, `${primary.keepAlives} in 6 s`);
  t.equal(primary.received.length, 0);
  const before = primary.keepAlives;
  for (let i = 0; i < 16; i++) {
    await flush(1);
    await clock.advance(250);
  }
  t.equal(primary.keepAlives, before, "a batch says it as well");
});

t.test("a primary may want to hear it oftener, but not all the time", async (t) => {
  for (const [keepAliveMs, least, most] of [
    [200, 27, 31],
    [1, 55, 61],
    [900, 10, 13],
  ] as const) {
    const primary = new MemoryPrimary("p1");
    primary.keepAliveMs = keepAliveMs;
    const { clock, uplink } = await deliver(t, { primaries: [primary] });
    uplink.start();
    await clock.advance(6000);
    t.ok(primary.keepAlives >= least && primary.keepAlives <= most, `${keepAliveMs}: ${primary.keepAlives} in 6 s`);
  }
});

t.test("after more than 10 s without acceptance a new run begins, and goes before the backlog", async (t) => {
  const primary = new MemoryPrimary("p1");
  primary.windowBatches = 1;
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary] });
  uplink.start();
  await clock.advance(200);
  await flush(1);
  await clock.advance(50);
  primary.die();
  for (let i = 0; i < 12; i++) {
    await flush(1);
    await clock.advance(1000);
  }
  primary.up = true;
  primary.accepting = false;
  await clock.advance(2500);
  t.equal(uplink.primary, "p1");
  primary.received.length = 0;
  await flush(2);
  primary.accepting = true;
  primary.die();
  primary.up = true;
  await clock.advance(4000);
  t.strictSame(primary.received, [...keys(2, 1, 2), ...keys(1, 2, 13)]);
  t.strictSame(slotsIn(primary.log), range(101, 115));
});

t.test("after a short cut the run goes on", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary] });
  uplink.start();
  await clock.advance(200);
  await flush(1);
  await clock.advance(50);
  primary.die();
  await flush(1);
  await clock.advance(3000);
  primary.up = true;
  await clock.advance(4000);
  await flush(1);
  await clock.advance(50);
  t.strictSame(primary.received, keys(1, 1, 3));
});

t.test("a refused batch is dropped and counted, the stream goes on, and what follows can be read", async (t) => {
  for (const named of [true, false]) {
    const primary = new MemoryPrimary("p1");
    primary.refuses = () => (primary.received.length === 2 ? { code: "bad_checksum", named } : undefined);
    const { clock, flush, metrics, spool, uplink } = await deliver(t, { primaries: [primary] });
    uplink.start();
    await clock.advance(200);
    for (let i = 0; i < 4; i++) {
      await flush(1);
      await clock.advance(50);
    }
    t.strictSame(primary.received, [...keys(1, 1, 2), ...keys(2, 1, 2)]);
    t.strictSame(slotsIn(primary.log), [101, 103, 104], "only the refused batch is missing");
    t.equal(metrics.get("heliograph_secondary_spool_dropped_batches_total", { reason: "refused" }), 1);
    t.equal(spool.batches, 3);
    t.equal(primary.sessions, 1);
  }
});

t.test("a log that lost its tail gets it again", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary] });
  uplink.start();
  await clock.advance(200);
  await flush(5);
  await clock.advance(50);
  const [run] = primary.log.runs.values();
  for (const key of keys(1, 3, 5)) primary.log.batches.delete(key);
  run!.accepted = 2;
  primary.acknowledge();
  await clock.advance(50);
  t.strictSame(primary.received, [...keys(1, 1, 5), ...keys(1, 3, 5)]);
  t.strictSame(slotsIn(primary.log), range(101, 105));
});

t.test("a batch that is gone from the disk ends its run, so that what follows can be read", async (t) => {
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const { clock, flush, metrics, uplink } = await deliver(t, { primaries: [primary], store });
  await flush(2);
  for (const key of [...store.entries.keys()].filter((key) => key.startsWith("batch/")).slice(1)) {
    store.entries.delete(key);
  }
  uplink.start();
  await clock.advance(200);
  await flush(1);
  await clock.advance(50);
  t.strictSame(primary.received, [...keys(1, 1, 1), ...keys(2, 1, 1)]);
  t.strictSame(slotsIn(primary.log), [101, 103]);
  t.equal(metrics.get("heliograph_secondary_spool_dropped_batches_total", { reason: "disk" }), 1);
});

t.test("also what both primaries hold, because the globals have it from the log alone", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary] });
  uplink.start();
  await clock.advance(200);
  await flush(4);
  await clock.advance(50);
  const [run] = primary.log.runs.values();
  Object.assign(run!, { held: 4, durable: 1 });
  primary.acknowledge();
  await clock.advance(50);
  for (const key of keys(1, 3, 4)) primary.log.batches.delete(key);
  run!.accepted = 1;
  primary.die();
  primary.up = true;
  await clock.advance(3000);
  t.strictSame(primary.received, [...keys(1, 1, 4), ...keys(1, 2, 4)]);
});

t.test("and to a primary that knows nothing of a run, everything that is not durable", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary] });
  uplink.start();
  await clock.advance(200);
  await flush(4);
  await clock.advance(50);
  const [run] = primary.log.runs.values();
  Object.assign(run!, { held: 3, durable: 1 });
  primary.acknowledge();
  await clock.advance(50);
  primary.die();
  // Its log lost what it had not synced, and its memory went with its process.
  primary.log.runs.clear();
  for (const key of keys(1, 2, 4)) primary.log.batches.delete(key);
  primary.up = true;
  await clock.advance(3000);
  t.strictSame(primary.received, [...keys(1, 1, 4), ...keys(1, 2, 4)]);
  t.strictSame(slotsIn(primary.log), range(101, 104));
});

t.test("after a restart the boot epoch has grown, and old batches are sent behind the new ones", async (t) => {
  const store = new MemoryStore();
  const clock = manualClock(startMs);
  const before = await deliver(t, { clock, store });
  await before.flush(3);
  t.equal(before.spool.bootEpoch, bootEpoch);

  clock.step(-86_400_000);
  const primary = new MemoryPrimary("p1");
  const after = await deliver(t, { clock, store, primaries: [primary] });
  t.equal(after.spool.bootEpoch, bootEpoch + 1, "also when the wall clock went back");
  t.equal(after.spool.batches, 3);
  await after.flush(2);
  after.uplink.start();
  await clock.advance(200);
  t.strictSame(primary.received, [...keys(1, 1, 2, bootEpoch + 1), ...keys(1, 1, 3)]);
  for (const run of primary.log.runs.values()) run.durable = run.accepted;
  primary.acknowledge();
  await clock.advance(10);
  await after.spool.settled();
  t.equal(after.spool.batches, 0);
  clock.step(2 * 86_400_000);
  const third = await deliver(t, { clock, store });
  t.equal(third.spool.bootEpoch, bootEpoch + 86_400, "and it follows the clock, for when the disk is replaced");
});

t.test("shards get through alike on a narrow way, and a backlog gives each a new run", async (t) => {
  const primary = new MemoryPrimary("p1");
  primary.windowBatches = 1;
  primary.up = false;
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary], shards: 2 });
  uplink.start();
  for (let i = 0; i < 3; i++) {
    await clock.advance(5000);
    await flush(1, 0);
    await clock.advance(10);
    await flush(1, 1);
  }
  primary.up = true;
  await clock.advance(1500);
  await flush(1, 1);
  await clock.advance(10);
  await flush(1, 0);
  await clock.advance(1000);
  // While nothing newer is there, what both have is sent as it was sealed; each then has a run of its own for the present.
  t.strictSame(primary.received.slice(0, 6), [
    ...[1, 2, 3].flatMap((n) => [...keys(1, n, n), ...keys(1, n, n, bootEpoch, 1)]),
  ]);
  t.strictSame(primary.received.slice(6), [...keys(2, 1, 1, bootEpoch, 1), ...keys(2, 1, 1)]);
  t.strictSame(slotsIn(primary.log), range(101, 108));
});

t.test("of the shards only the one that lost a batch begins a new run", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary], shards: 2 });
  uplink.start();
  await clock.advance(200);
  await flush(1, 0);
  await flush(1, 1);
  await clock.advance(50);
  primary.refuses = (bytes) =>
    readBatchHeader(bytes).shard === 1 && readBatchHeader(bytes).sequence === 2
      ? { code: "too_large", named: true }
      : undefined;
  await flush(1, 1);
  await clock.advance(50);
  primary.refuses = (bytes) =>
    readBatchHeader(bytes).shard === 0 && readBatchHeader(bytes).sequence === 2
      ? { code: "too_large", named: true }
      : undefined;
  await flush(1, 1);
  await clock.advance(50);
  t.strictSame(primary.received, [...keys(1, 1, 1), ...keys(1, 1, 2, bootEpoch, 1), ...keys(2, 1, 1, bootEpoch, 1)]);
  await flush(1, 0);
  await clock.advance(50);
  await flush(1, 0);
  await flush(1, 1);
  await clock.advance(50);
  t.strictSame(primary.received.slice(4), [...keys(1, 2, 2), ...keys(2, 1, 1), ...keys(2, 2, 2, bootEpoch, 1)]);
});

t.test("shards lose alike when the spool is full, and also what was there before a start", async (t) => {
  const probe = await deliver(t);
  await probe.flush(20);
  const bytesMax = (Math.ceil(probe.spool.bytes / 20) + 10) * 10;
  const left = (spool: Spool) =>
    Object.fromEntries(
      [...spool.runs()]
        .filter(({ empty }) => !empty)
        .map(({ first, last, run }) => [`${run.bootEpoch - bootEpoch}/${run.shard}/${run.run}`, [first, last]]),
    );
  const store = new MemoryStore();
  const first = await deliver(t, { bytesMax, shards: 2, store });
  for (let i = 0; i < 4; i++) {
    await first.clock.advance(1000);
    await first.flush(1, 0);
    await first.clock.advance(10);
    await first.flush(1, 1);
  }
  first.compactor.newRun("backlog");
  await first.flush(4, 0);
  t.strictSame(left(first.spool), { "0/0/1": [3, 4], "0/1/1": [2, 4], "0/0/2": [1, 4] }, "sealed first, gone first");

  const clock = manualClock(startMs + 1000);
  const second = await deliver(t, { bytesMax, shards: 2, store, clock });
  await second.flush(1, 1);
  t.strictSame(
    left(second.spool),
    { "0/1/1": [2, 4], "0/0/2": [1, 4], "1/1/1": [1, 1] },
    "shard 0 had six and 1 three",
  );
  await second.flush(3, 1);
  t.strictSame(
    left(second.spool),
    { "0/1/1": [2, 4], "0/0/2": [2, 4], "1/1/1": [1, 4] },
    "shard 0 had four and 1 three",
  );
});

t.test("a shard's newest run is kept while it is empty, others are forgotten", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, compactor, flush, spool, uplink } = await deliver(t, { primaries: [primary], shards: 2 });
  uplink.start();
  await clock.advance(200);
  const runs = () => [...spool.runs()].map(({ run }) => `${run.shard}/${run.run}`);
  for (let i = 0; i < 3; i++) {
    await flush(1, 0);
    await flush(1, 1);
    await clock.advance(50);
    for (const known of primary.log.runs.values()) known.durable = known.accepted;
    primary.acknowledge();
    await clock.advance(50);
    t.equal(spool.batches, 0);
    if (i < 2) t.strictSame(runs(), ["1/1", "0/1"]);
    if (i === 1) compactor.newRun("backlog");
  }
  t.strictSame(runs(), ["0/2", "1/1"]);
});

t.test("of generations only a newer one counts, and the newest is on disk for the next start", async (t) => {
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const { assignment, clock, generations, uplink } = await deliver(t, { store, primaries: [primary] });
  await assignment.resume();
  const numbers = () => generations.map(({ number }) => number);
  t.strictSame(numbers(), []);
  primary.publish(makeGeneration([makeTarget("http://10.0.0.1/")], { number: 5, token: 2 }));
  uplink.start();
  await clock.advance(100);
  for (const [number, token] of [
    [5, 2],
    [4, 2],
    [9, 1],
    [6, 2],
  ] as const) {
    primary.publish(makeGeneration([makeTarget("http://10.0.0.2/")], { number, token }));
    await clock.advance(10);
  }
  t.strictSame(numbers(), [5, 6]);
  primary.publish(makeGeneration([], { number: 7, token: 2, datacenter: "elsewhere" }));
  primary.tellRaw(new Uint8Array([72, 71, 71, 78, 9, 9, 9]));
  await clock.advance(10);
  t.strictSame(numbers(), [5, 6]);

  const next = await deliver(t, { store, clock });
  await next.assignment.resume();
  t.strictSame(
    next.generations.map(({ number, targets }) => [number, targets.map(({ target }) => target.url)]),
    [[6, ["http://10.0.0.2/"]]],
  );
});

// What every implementation of the log must do, in one suite: NATS JetStream runs it on real servers, and the twin for
// simulations runs the same. What real servers do wrong is part of it, so that the twin is no kinder.

import type { Test } from "tap";
import type { LogError } from "#/lib/commitlog/commitlog.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";
import { testFullDisks } from "#/test/support/commitlog-full.ts";
import { testPowerCuts } from "#/test/support/commitlog-powercuts.ts";
import {
  append,
  epochOf,
  failureOf,
  here,
  type LogWorld,
  range,
  readAll,
  sequences,
  take,
  text,
  until,
  writeSteadily,
} from "#/test/support/commitlog-world.ts";

export async function testCommitLog(t: Test, makeWorld: () => Promise<LogWorld>): Promise<void> {
  // They mostly wait.
  t.jobs = 5;
  const inWorld = (name: string, run: (t: Test, world: LogWorld) => Promise<void>) =>
    t.test(name, { buffered: true }, async (t) => {
      const world = await makeWorld();
      try {
        await run(t, world);
      } finally {
        await world.close();
      }
    });

  await Promise.all([
    // The longest first.
    ...testFullDisks.map(([name, run]) => inWorld(name, run)),
    inWorld("in a data centre that is well", testWell),
    inWorld("with servers that are killed", testKilledServers),
    inWorld("over a link that is cut", testCutLink),
    inWorld("on disks that lose what they held", testLostDisks),
    inWorld("in segments", testSegments),
    ...testPowerCuts.map(([name, run]) => inWorld(name, run)),
    inWorld("with a server that stands still", testStandstill),
    inWorld("when what is gone is asked for", testForgotten),
  ]);
}

async function testWell(t: Test, world: LogWorld): Promise<void> {
  const [a, b] = await Promise.all([world.openPrimary(), world.openPrimary()]);

  await t.test("two primaries that begin at the same time begin one log", async (t) => {
    const [fromA, fromB] = await Promise.all([append(a, "a1"), append(b, "b1")]);
    t.equal(fromA.stream, fromB.stream);
    t.match(fromA.stream, /^dc-ams-\d+-1$/);
    t.same([fromA.sequence, fromB.sequence].sort(), [1, 2]);
    t.equal((await a.info()).stream, fromA.stream);
  });

  await t.test("entries are read in order, with kind, origin, payload and position", async (t) => {
    await append(a, "a2");
    const entries = await take(b, undefined, 3);
    t.same(sequences(entries), [1, 2, 3]);
    const last = entries[2]!;
    t.equal(last.kind, "heartbeat");
    t.equal(last.origin, "ams-p1");
    t.equal(text(last), "a2");
    const { stream, created, firstSequence, lastSequence } = await a.info();
    t.equal(last.position.stream, stream);
    t.equal(last.position.created, created);
    t.same([firstSequence, lastSequence], [1, 3]);
    t.equal(typeof last.position.storedMs, "number");
  });

  await t.test("an id that is appended again is kept once, whoever appends it", async (t) => {
    const first = await append(a, "twice");
    const again = await append(a, "twice", "other content");
    const byTheOther = await append(b, "twice");
    t.same([first.duplicate, again.duplicate, byTheOther.duplicate], [false, true, true]);
    t.equal(byTheOther.sequence, first.sequence);
    t.equal((await a.info()).lastSequence, first.sequence);
    t.equal(text((await take(a, { ...(await here(a)), sequence: first.sequence - 1 }, 1))[0]!), "twice");
  });

  await t.test("reading resumes after a position", async (t) => {
    for (let i = 0; i < 40; i++) await append(a, `resume ${i}`);
    const all = await take(b, undefined, 44);
    t.same(sequences(all), range(1, 44));
    for (const at of [0, 16, 42]) {
      const rest = await take(b, all[at]!.position, 43 - at);
      t.same(sequences(rest), range(at + 2, 44), `after ${at + 1}`);
    }
    const { storedMs: _, ...withoutTime } = all[20]!.position;
    t.same(sequences(await take(b, withoutTime, 1)), [22], "a checkpoint without the time will do");
  });

  await t.test("an entry of 4 MiB passes, a larger one is refused by name", async (t) => {
    const payload = Buffer.alloc(4 * 1024 * 1024, 7);
    const { sequence } = await append(a, "large", payload);
    const [entry] = await take(b, { ...(await here(a)), sequence: sequence - 1 }, 1);
    t.ok(payload.equals(entry!.payload));
    await t.rejects(append(a, "larger", Buffer.alloc(4 * 1024 * 1024 + 1)), { code: "too_large" });
  });

  await t.test("a slow reader misses nothing and is given nothing twice", async (t) => {
    const from = await here(a);
    const slow = readAll(b, from, () => world.sleep(2));
    for (let i = 0; i < 150; i++) await append(a, `slow ${i}`, Buffer.alloc(100_000, i));
    await until(world, () => slow.entries.length === 150);
    t.same(sequences(slow.entries), range(from.sequence + 1, from.sequence + 150));
    await slow.end();
  });

  await t.test("a reader ends when it is told to, and closes nothing for others", async (t) => {
    const reader = readAll(b, await here(a));
    await world.sleep(50);
    await reader.end();
    t.equal(reader.failure, undefined);
    await append(a, "after the end");
  });

  await t.test("reports of globals reach the primaries, those of primaries stay", async (t) => {
    const [atPrimary, atGlobal] = await Promise.all([world.primaryChannel(), world.globalChannel()]);
    const heard: Record<"primary" | "global", ReplicaReport[]> = { primary: [], global: [] };
    atPrimary.subscribe((report) => heard.primary.push(report));
    atGlobal.subscribe((report) => heard.global.push(report));
    const fromGlobal = reportOf("global-1", "global", { position: await here(a) });
    const fromPrimary = reportOf("ams-p1", "primary", {});
    await until(world, () => {
      atGlobal.publish(fromGlobal);
      atPrimary.publish(fromPrimary);
      return heard.primary.some(({ replica }) => replica === "global-1") && heard.primary.length > 3;
    });
    t.same(
      heard.primary.find(({ replica }) => replica === "global-1"),
      fromGlobal,
    );
    t.same(
      heard.primary.find(({ replica }) => replica === "ams-p1"),
      fromPrimary,
    );
    t.ok(heard.global.length > 0);
    t.notOk(heard.global.some(({ replica }) => replica === "ams-p1"));
  });

  await t.test("what was dropped for want of room is a hole, and said so", async (t) => {
    const small = await world.openPrimary({ bytesMax: 1_000_000 });
    await append(small, "small first");
    const old = await here(small);
    for (let i = 0; i < 30; i++) await append(small, `small ${i}`, Buffer.alloc(60_000));
    const error = await failureOf(world, small, old);
    t.equal(error.code, "hole");
    t.equal(error.resumeAfter?.sequence, (await small.info()).firstSequence - 1);
    const rest = await take(small, error.resumeAfter, 3);
    t.equal(rest[0]!.position.sequence, error.resumeAfter!.sequence + 1);
    const fresh = await take(small, undefined, 1);
    t.equal(fresh[0]!.position.sequence, error.resumeAfter!.sequence + 1, "from the start there is no hole");
  });
}

async function testKilledServers(t: Test, world: LogWorld): Promise<void> {
  const [writer, reader, hub] = [await world.openPrimary(), await world.openPrimary(), await world.openGlobal()];
  const [atPrimary, atGlobal] = [readAll(reader, undefined), readAll(hub, undefined)];
  const load = writeSteadily(world, writer);
  await until(world, () => atGlobal.entries.length > 10);

  await t.test("without the server an append fails, and the same id succeeds when it is back", async (t) => {
    await world.killDatacenter();
    await t.rejects(append(writer, "while away"), { code: "unavailable" });
    await world.startDatacenter();
    await until(world, async () => (await append(writer, "while away").catch(() => undefined)) !== undefined);
  });

  await t.test("a primary's reader goes on within seconds of its server's return", async (t) => {
    const known = atPrimary.entries.length;
    await until(world, () => atPrimary.entries.length > known + 5, 3000);
    t.pass();
  });

  await t.test("both killed: everything acknowledged is read everywhere, once and in order", async (t) => {
    await Promise.all([world.killHub(), world.killDatacenter()]);
    await Promise.all([world.startHub(), world.startDatacenter()]);
    await world.sleep(500);
    const acknowledged = await load.end();
    const { lastSequence } = await writer.info();
    await until(
      world,
      () => atPrimary.entries.length >= lastSequence && atGlobal.entries.length >= lastSequence,
      20_000,
    );
    for (const { entries, failure } of [atPrimary, atGlobal]) {
      t.equal(failure, undefined);
      t.same(sequences(entries), range(1, lastSequence));
      const read = new Set(entries.map(text));
      t.same(
        acknowledged.filter((id) => !read.has(id)),
        [],
        "none is missing",
      );
      t.equal(read.size, entries.length, "none is there twice");
    }
  });
  await Promise.all([atPrimary.end(), atGlobal.end()]);
}

async function testCutLink(t: Test, world: LogWorld): Promise<void> {
  const [writer, hub] = [await world.openPrimary(), await world.openGlobal()];
  const atGlobal = readAll(hub, undefined);
  const load = writeSteadily(world, writer);
  await until(world, () => atGlobal.entries.length > 10);

  await t.test("the hub's positions name the origin's stream and when that was made", async (t) => {
    const { stream, created } = await writer.info();
    t.same([atGlobal.entries[0]!.position.stream, atGlobal.entries[0]!.position.created], [stream, created]);
    t.equal((await hub.info()).created, created);
  });

  await t.test("during a cut the data centre writes on, and who starts at the hub reads what is there", async (t) => {
    world.cut();
    await world.sleep(300);
    const before = atGlobal.entries.length;
    const sequence = (await writer.info()).lastSequence;
    await world.sleep(1000);
    t.ok((await writer.info()).lastSequence > sequence);
    t.equal(atGlobal.entries.length, before);
    const late = await world.openGlobal();
    const entries = await take(late, undefined, before);
    t.same(entries[0]!.position, atGlobal.entries[0]!.position);
  });

  await t.test("after it every entry arrives, once and in order", async (t) => {
    const acknowledged = await load.end();
    world.heal();
    await until(world, () => atGlobal.entries.length >= acknowledged.length, 30_000);
    t.same(sequences(atGlobal.entries), range(1, acknowledged.length));
    t.same(atGlobal.entries.map(text), acknowledged);
    t.equal(atGlobal.failure, undefined);
  });
  await atGlobal.end();
}

async function testLostDisks(t: Test, world: LogWorld): Promise<void> {
  const [writer, hub] = [await world.openPrimary(), await world.openGlobal()];
  const atGlobal = readAll(hub, undefined);
  for (let i = 1; i <= 10; i++) await append(writer, `kept ${i}`);
  await world.killDatacenter();
  const copy = await world.copyDisk();
  await world.startDatacenter();
  await append(writer, "lost 11", undefined, world);
  await append(writer, "lost 12");
  const checkpoint = (await take(writer, undefined, 12))[11]!.position;
  await until(world, () => atGlobal.entries.length === 12, 15_000);
  await world.killDatacenter();
  await world.replaceDisk(copy);
  await world.startDatacenter();

  await t.test("a stream that lost its tail is refused by who read further", async (t) => {
    const fresh = await world.openPrimary();
    const error = await failureOf(world, fresh, checkpoint);
    t.equal(error.code, "shortened");
    t.equal(error.resumeAfter?.sequence, 0);
  });

  await t.test("also when it has grown again, because the entry there is another", async (t) => {
    const forgetful = await world.openPrimary();
    for (let i = 11; i <= 13; i++) await append(forgetful, `again ${i}`, undefined, world);
    const fresh = await world.openPrimary();
    t.equal((await failureOf(world, fresh, checkpoint)).code, "shortened");
    const { storedMs: _, ...withoutTime } = checkpoint;
    t.equal(
      (await take(fresh, withoutTime, 1))[0]!.position.sequence,
      13,
      "which only the time in the checkpoint tells",
    );
  });

  await t.test("a mirror keeps what was lost, and passes silently over what stands there now", async (t) => {
    const entries = await take(await world.openGlobal(), undefined, 13);
    t.same(sequences(entries), range(1, 13));
    t.same(entries.slice(10).map(text), ["lost 11", "lost 12", "again 13"]);
  });

  await t.test("a log that is lost is begun anew under a later epoch, and readers are told", async (t) => {
    await atGlobal.end();
    await append(writer, "before the loss", undefined, world);
    const before = await writer.info();
    const reader = readAll(writer, { stream: before.stream, created: before.created, sequence: before.lastSequence });
    await world.killDatacenter();
    await world.replaceDisk(undefined);
    await world.startDatacenter();
    await append(writer, "new log", undefined, world);
    const after = await writer.info();
    t.match(after.stream, /^dc-ams-\d+-1$/);
    t.ok(epochOf(after.stream) > epochOf(before.stream));
    t.equal(after.lastSequence, 1);
    await until(world, () => reader.failure !== undefined);
    t.equal((reader.failure as LogError).code, "recreated");
    t.same((reader.failure as LogError).resumeAfter, { stream: after.stream, created: after.created, sequence: 0 });
    t.equal(text((await take(writer, (reader.failure as LogError).resumeAfter, 1))[0]!), "new log");
  });

  await t.test("at the hub too", async (t) => {
    const last = atGlobal.entries.at(-1)!.position;
    const rest = readAll(hub, last);
    await until(world, () => rest.failure !== undefined, 15_000);
    const error = rest.failure as LogError;
    t.equal(error.code, "recreated");
    t.equal(text((await take(hub, error.resumeAfter, 1))[0]!), "new log");
  });
}

async function testSegments(t: Test, world: LogWorld): Promise<void> {
  const [writer, other, hub] = [await world.openPrimary(), await world.openPrimary(), await world.openGlobal()];
  const [atPrimary, atGlobal] = [readAll(other, undefined), readAll(hub, undefined)];
  for (let i = 1; i <= 5; i++) await append(writer, `one ${i}`);
  await append(other, "one 6");

  await t.test("readers go on to the next segment after the end of the one before", async (t) => {
    const first = (await writer.info()).stream;
    await writer.beginSegment();
    const second = (await writer.info()).stream;
    t.match(second, /^dc-ams-\d+-2$/);
    t.ok(epochOf(second) > epochOf(first), "under a later epoch, so that no name is ever used twice");
    t.equal((await append(other, "two 1")).stream, second, "the other primary finds it");
    await append(writer, "two 2");
    await until(world, () => atPrimary.entries.length === 8 && atGlobal.entries.length === 8, 15_000);
    for (const { entries } of [atPrimary, atGlobal]) {
      t.same(entries.map(text), ["one 1", "one 2", "one 3", "one 4", "one 5", "one 6", "two 1", "two 2"]);
      t.same(sequences(entries), [1, 2, 3, 4, 5, 6, 1, 2]);
      t.equal(entries[7]!.position.stream, second);
    }
    t.same((await take(other, atPrimary.entries[3]!.position, 4)).map(text), ["one 5", "one 6", "two 1", "two 2"]);
  });

  await t.test(
    "a segment is the same one after its settings were changed and its server was started again",
    async (t) => {
      await world.killDatacenter();
      await world.startDatacenter();
      for (const [reader, { entries }] of [
        [other, atPrimary],
        [hub, atGlobal],
      ] as const) {
        const rest = await take(reader, entries[3]!.position, 4);
        t.same(rest.map(text), ["one 5", "one 6", "two 1", "two 2"]);
        t.equal(rest[0]!.position.created, entries[3]!.position.created);
      }
    },
  );

  await t.test(
    "who starts at the hub while the data centre is away reads all segments that were carried",
    async (t) => {
      world.cut();
      const late = readAll(await world.openGlobal(), undefined);
      await until(world, () => late.entries.length === 8, 15_000);
      t.same(late.entries.map(text), atGlobal.entries.map(text));
      world.heal();
      await late.end();
      t.equal(late.failure, undefined);
    },
  );

  await t.test(
    "a writer that finds the tail lost goes on in a new segment, so that no number is used twice",
    async (t) => {
      await world.killDatacenter();
      const copy = await world.copyDisk();
      await world.startDatacenter();
      await append(writer, "two 3", undefined, world);
      await until(world, () => atPrimary.entries.length === 9 && atGlobal.entries.length === 9, 15_000);
      const told = { writer: 0, other: 0 };
      writer.onLoss(() => told.writer++);
      other.onLoss(() => told.other++);
      await world.killDatacenter();
      await world.replaceDisk(copy);
      await world.startDatacenter();
      const after = await append(writer, "three 1", undefined, world);
      t.match(after.stream, /-3$/);
      t.equal(after.sequence, 1);
      await until(world, () => atPrimary.failure !== undefined);
      t.equal((atPrimary.failure as LogError).code, "shortened");
      t.ok(told.writer > 0, "who wrote what is gone is told");
      t.ok(told.other > 0, "and who read it");
    },
  );

  await t.test("who begins to read at the hub only then is told too, and gets all that was carried", async (t) => {
    const late = await world.openGlobal();
    const seen = new Set<string>();
    const codes: string[] = [];
    for (let after: LogPosition | undefined; !seen.has("three 1"); ) {
      const reader = readAll(late, after);
      await until(world, () => reader.failure !== undefined || reader.entries.map(text).includes("three 1"), 30_000);
      await reader.end();
      for (const entry of reader.entries) seen.add(text(entry));
      const failure = reader.failure as LogError | undefined;
      if (failure) codes.push(failure.code);
      after = failure?.resumeAfter;
    }
    t.same([...seen], [...atGlobal.entries.slice(0, 8).map(text), "two 3", "three 1"]);
    t.same(codes, ["shortened"]);
  });
  await Promise.all([atPrimary.end(), atGlobal.end()]);
}

async function testStandstill(t: Test, world: LogWorld): Promise<void> {
  const [writer, hub] = [await world.openPrimary(), await world.openGlobal()];
  const [atPrimary, atGlobal] = [readAll(writer, undefined), readAll(hub, undefined)];
  await append(writer, "before");
  await until(world, () => atGlobal.entries.length === 1, 15_000);

  await t.test("an append to a server that stands still fails, and may take effect when it goes on", async (t) => {
    world.pauseDatacenter();
    const refused = await append(writer, "meanwhile").then(
      () => undefined,
      (error: unknown) => error as LogError,
    );
    t.equal(refused?.code, "unavailable");
    await world.sleep(world.standstillMs);
    world.resumeDatacenter();
    await append(writer, "meanwhile", undefined, world);
    await append(writer, "after", undefined, world);
    t.equal((await writer.info()).lastSequence, 3, "the id made one entry of two attempts");
  });

  await t.test("readers go on by themselves, in order and without a gap", async (t) => {
    await until(world, () => atPrimary.entries.length === 3 && atGlobal.entries.length === 3, 60_000);
    for (const { entries, failure } of [atPrimary, atGlobal]) {
      t.same(entries.map(text), ["before", "meanwhile", "after"]);
      t.same(sequences(entries), [1, 2, 3]);
      t.equal(failure, undefined);
    }
  });
  await Promise.all([atPrimary.end(), atGlobal.end()]);
}

async function testForgotten(t: Test, world: LogWorld): Promise<void> {
  const writer = await world.openPrimary({ bytesMax: 1_000_000 });
  const hub = await world.openGlobal();
  const atGlobal = readAll(hub, undefined);
  await append(writer, "first");
  await until(world, () => atGlobal.entries.length === 1, 15_000);
  const position = atGlobal.entries[0]!.position;
  world.cut();
  for (let i = 0; i < 30; i++) await append(writer, `filler ${i}`, Buffer.alloc(60_000));

  await t.test("an id is known while its window lasts, though its entry was dropped", async (t) => {
    t.ok((await writer.info()).firstSequence > 1);
    t.match(await append(writer, "first"), { duplicate: true, sequence: 1 });
  });

  await t.test("but not any more after the server was started again", async (t) => {
    await world.killDatacenter();
    await world.startDatacenter();
    t.match(await append(writer, "first", undefined, world), { duplicate: false, sequence: 32 });
    t.match(
      await append(writer, "filler 29", undefined, world),
      { duplicate: true, sequence: 31 },
      "it is still there",
    );
  });

  await t.test(
    "what was dropped before the hub had it is a jump in the mirror, and a hole to its reader",
    async (t) => {
      const { firstSequence } = await writer.info();
      world.heal();
      await until(world, () => atGlobal.failure !== undefined, 60_000);
      const error = atGlobal.failure as LogError;
      t.equal(error.code, "hole");
      t.equal(error.resumeAfter?.sequence, firstSequence - 1);
      const [next] = await take(hub, error.resumeAfter, 1);
      t.equal(next!.position.sequence, firstSequence);
      t.equal(next!.position.created, position.created);
    },
  );
  await atGlobal.end();
}

function reportOf(replica: string, tier: ReplicaReport["tier"], more: Partial<ReplicaReport>): ReplicaReport {
  const run = { datacenter: "ams", secondary: "ams-s1", bootEpoch: 1_700_000_000_000, shard: 0, run: 2 };
  return {
    version: 1,
    replica,
    tier,
    datacenter: "ams",
    sentMs: 1_700_000_000_123,
    watermarks: [{ ...run, sequence: 17 }],
    secondaries: [{ name: "ams-s1", ageMs: 250 }],
    leaseToken: 5,
    ...more,
  };
}

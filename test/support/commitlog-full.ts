// Part of the log's conformance suite: servers whose disk is full. nats-server 2.9.10 acknowledges what still fits into the last
// page of a file; the first write that fails leaves its stream locked for good, and with it each connection that asks for
// that stream, until the server is started again. Nothing that was acknowledged is lost.

import type { Test } from "tap";
import { openLeaseStore } from "#/lib/pair/kv.ts";
import { JetStreamApi } from "#/lib/wire/streams.ts";
import { append, type LogWorld, range, readAll, sequences, take, text, until } from "#/test/support/commitlog-world.ts";

export const testFullDisks: readonly (readonly [name: string, run: (t: Test, world: LogWorld) => Promise<void>])[] = [
  ["when the data centre's disk is full", testFullDatacenter],
  ["when the hub's disk is full", testFullHub],
  ["when a segment is begun on a full disk", testBegunOnFull],
];

/** More than the rest of a page. */
const large = Buffer.alloc(100_000, 65);

async function onSmallDisks(t: Test, world: LogWorld): Promise<boolean> {
  const missing = await world.useSmallDisks();
  if (missing !== undefined) await t.test("on small disks", { skip: missing }, () => {});
  return missing === undefined;
}

async function testFullDatacenter(t: Test, world: LogWorld): Promise<void> {
  if (!(await onSmallDisks(t, world))) return;
  const [writer, hub] = [await world.openPrimary(), await world.openGlobal()];
  const [atPrimary, atGlobal] = [readAll(await world.openPrimary(), undefined), readAll(hub, undefined)];
  for (let i = 1; i <= 10; i++) await append(writer, `kept ${i}`, undefined, world);
  const leaseOver = async () =>
    openLeaseStore({ link: await world.datacenterLink(), bucket: "heliograph", key: "test", replicas: 1 });
  const revision = await (await leaseOver()).write(Buffer.from("one"), 0);
  await until(world, () => atPrimary.entries.length === 10 && atGlobal.entries.length === 10, 30_000);
  await world.fillDisk("datacenter");

  await t.test("what is there is read", async (t) => {
    t.same(sequences(await take(await world.openPrimary(), undefined, 10)), range(1, 10));
  });

  await t.test("what finds no room is not acknowledged, nor is anything after it", async (t) => {
    await t.rejects(append(writer, "large", large), { code: "unavailable" });
    await t.rejects(append(writer, "small"), { code: "unavailable" });
  });

  await t.test("the lease, in another stream, can still be renewed for a while", async (t) => {
    t.equal(await (await leaseOver()).write(Buffer.from("two"), revision!), revision! + 1);
  });

  await t.test("room alone does not help", async (t) => {
    await world.makeRoom("datacenter");
    await t.rejects(append(await world.openPrimary(), "small"), { code: "unavailable" });
  });

  await t.test("after a restart everything acknowledged is there, and writing and reading go on", async (t) => {
    await world.killDatacenter();
    await world.startDatacenter();
    t.match(await append(writer, "large", large, world), { sequence: 11, duplicate: false });
    t.match(await append(writer, "small", undefined, world), { sequence: 12, duplicate: false });
    await until(world, () => atPrimary.entries.length === 12 && atGlobal.entries.length === 12, 60_000);
    for (const { entries, failure } of [atPrimary, atGlobal]) {
      t.same(sequences(entries), range(1, 12));
      t.same(
        entries.slice(0, 10).map(text),
        range(1, 10).map((i) => `kept ${i}`),
      );
      t.equal(failure, undefined);
    }
    const record = await (await leaseOver()).read();
    t.match(record, { revision: revision! + 1 });
  });
  await Promise.all([atPrimary.end(), atGlobal.end()]);
}

async function testFullHub(t: Test, world: LogWorld): Promise<void> {
  if (!(await onSmallDisks(t, world))) return;
  const [writer, hub] = [await world.openPrimary(), await world.openGlobal()];
  const atGlobal = readAll(hub, undefined);
  await append(writer, "before", undefined, world);
  await until(world, () => atGlobal.entries.length === 1, 30_000);
  await world.fillDisk("hub");

  await t.test("the data centre writes on, and its mirror hangs", async (t) => {
    t.match(await append(writer, "large", large), { sequence: 2 });
    t.match(await append(writer, "after"), { sequence: 3 });
    await world.sleep(1500);
    t.equal(atGlobal.entries.length, 1);
  });

  await t.test("with room and after a restart the mirror goes on where it was, and so do readers", async (t) => {
    await world.makeRoom("hub");
    await t.rejects((await world.openGlobal()).info(), { code: "unavailable" });
    await world.killHub();
    await world.startHub();
    await until(world, () => atGlobal.entries.length === 3, 60_000);
    t.same(sequences(atGlobal.entries), [1, 2, 3]);
    t.equal(atGlobal.failure, undefined);
  });
  await atGlobal.end();
}

async function testBegunOnFull(t: Test, world: LogWorld): Promise<void> {
  if (!(await onSmallDisks(t, world))) return;
  const writer = await world.openPrimary();
  const { stream: first } = await append(writer, "one 1", undefined, world);
  const link = await world.datacenterLink();
  const api = new JetStreamApi(link);
  const config = (await api.streamInfo(first))!.config;
  await world.fillDisk("datacenter");

  await t.test("it fails, and succeeds when there is room", async (t) => {
    await t.rejects(writer.beginSegment(), { code: "unavailable" });
    await t.rejects(append(writer, "two 1"), { code: "unavailable" });
    await world.makeRoom("datacenter");
    const { stream } = await append(writer, "two 1");
    t.match(stream, /^dc-ams-\d+-2$/);
    t.same((await take(writer, undefined, 2)).map(text), ["one 1", "two 1"]);
  });

  await t.test("it outlasts a restart, unlike a stream that is made under the name that failed", async (t) => {
    const other = { ...config, name: "other", subjects: ["other.>"] };
    await world.fillDisk("datacenter");
    await t.rejects(api.createStream(other), { code: "unavailable" });
    await api.createStream(other);
    await world.makeRoom("datacenter");
    await world.killDatacenter();
    await world.startDatacenter();
    await until(world, () => link.connected);
    await until(world, async () => (await api.streamNames().catch(() => [])).length > 0);
    t.notOk((await api.streamNames()).includes("other"));
    t.same((await take(writer, undefined, 2)).map(text), ["one 1", "two 1"]);
  });
}

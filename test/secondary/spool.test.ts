// What a spool keeps and where, when disk and network fail: within which bounds, and what goes first.

import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";

import { openSpoolStore, SpoolError } from "#/secondary/spool/store.ts";
import { deliver, keys, range, slotsIn } from "#/test/support/delivery.ts";
import { MemoryPrimary } from "#/test/support/memory-primary.ts";
import { MemoryStore } from "#/test/support/memory-store.ts";

type Delivery = Awaited<ReturnType<typeof deliver>>;

function dropped({ metrics }: Delivery, reason: string): number {
  return metrics.get("heliograph_secondary_spool_dropped_batches_total", { reason });
}

function inMemoryBytes({ metrics }: Delivery): number {
  metrics.expose();
  return metrics.get("heliograph_secondary_spool_memory_bytes");
}

function onDisk(store: MemoryStore): number {
  return [...store.entries.keys()].filter((key) => key.startsWith("batch/")).length;
}

/** What one flush comes to, and a little more. */
async function batchBytesMax(t: { teardown(close: () => unknown): unknown }): Promise<number> {
  const probe = await deliver(t);
  await probe.flush(20);
  return Math.ceil(probe.spool.bytes / 20) + 10;
}

t.test("while the disk takes nothing batches are sent from memory, and written when there is room", async (t) => {
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const delivery = await deliver(t, { store, primaries: [primary] });
  const { clock, flush, metrics, spool, uplink } = delivery;
  uplink.start();
  await clock.advance(200);
  await flush(2);
  store.full = true;
  await flush(3);
  await clock.advance(50);
  t.strictSame(primary.received, keys(1, 1, 5), "in one run, without a hole");
  t.equal(spool.batches, 5);
  t.equal(onDisk(store), 2);
  t.ok(inMemoryBytes(delivery) > 0);
  t.equal(metrics.get("heliograph_secondary_spool_write_errors_total"), 3);
  store.full = false;
  await flush(1);
  await clock.advance(50);
  t.equal(onDisk(store), 6);
  t.equal(inMemoryBytes(delivery), 0);
  t.strictSame(slotsIn(primary.log), range(101, 106));
  for (const reason of ["disk", "memory", "accepted", "held"]) t.equal(dropped(delivery, reason), 0, reason);
});

t.test("what became durable while the disk took nothing is not written later, and leaves memory", async (t) => {
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const delivery = await deliver(t, { store, primaries: [primary] });
  const { clock, flush, spool, uplink } = delivery;
  uplink.start();
  await clock.advance(200);
  store.full = true;
  await flush(4);
  await clock.advance(50);
  const [run] = primary.log.runs.values();
  run!.durable = 3;
  primary.acknowledge();
  await clock.advance(50);
  t.equal(spool.batches, 1);
  store.full = false;
  await flush(1);
  t.equal(onDisk(store), 2);
  t.equal(inMemoryBytes(delivery), 0);
});

t.test("what becomes durable while it is being written does not stay on the disk", async (t) => {
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const { clock, compactor, flush, spool, uplink } = await deliver(t, { store, primaries: [primary] });
  uplink.start();
  await clock.advance(200);
  store.full = true;
  await flush(2);
  await clock.advance(50);
  store.full = false;
  const go = store.hang();
  const flushing = flush(1);
  compactor.flush();
  const [run] = primary.log.runs.values();
  run!.durable = 2;
  primary.acknowledge();
  await clock.advance(50);
  go();
  await flushing;
  await flush(1);
  t.equal(onDisk(store), 2, "the third and the fourth");
  t.equal(spool.batches, 2);
});

t.test("without disk and network memory has a bound: the oldest go, counted, and the newest can be read", async (t) => {
  const bytes = await batchBytesMax(t);
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  primary.up = false;
  const delivery = await deliver(t, { store, primaries: [primary], memoryBytesMax: bytes * 10 });
  const { clock, flush, spool, uplink } = delivery;
  uplink.start();
  store.full = true;
  for (let i = 0; i < 55; i++) {
    await flush(1);
    await clock.advance(1000);
    const held = inMemoryBytes(delivery);
    if (held > bytes * 10) t.fail(`${held} bytes in memory, expected at most ${bytes * 10}`);
  }
  t.ok(dropped(delivery, "memory") >= 42 && dropped(delivery, "memory") <= 46, `${dropped(delivery, "memory")} lost`);
  t.equal(spool.batches, 55 - dropped(delivery, "memory"));
  primary.up = true;
  await clock.advance(5000);
  await flush(1);
  await clock.advance(50);
  const slots: number[] = [];
  primary.log.decode(({ facts }) => slots.push(facts.slot));
  t.ok(slots.includes(156) && slots.includes(155), "a run that began after a loss has no hole");
  store.full = false;
  await flush(1);
  t.equal(inMemoryBytes(delivery), 0);
});

t.test("of what is in memory that goes first which both primaries hold, then what a log has", async (t) => {
  const bytes = await batchBytesMax(t);
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const delivery = await deliver(t, { store, primaries: [primary], memoryBytesMax: bytes * 8 });
  const { clock, flush, uplink } = delivery;
  uplink.start();
  await clock.advance(200);
  store.full = true;
  await flush(6);
  await clock.advance(50);
  const [run] = primary.log.runs.values();
  run!.held = 2;
  primary.acknowledge();
  await clock.advance(50);
  await flush(4);
  t.ok(dropped(delivery, "held") >= 1);
  await flush(8);
  await clock.advance(50);
  t.equal(dropped(delivery, "held"), 2);
  t.ok(dropped(delivery, "accepted") >= 1);
  t.equal(dropped(delivery, "memory"), 0);
  t.strictSame([...primary.log.runs.values()].length, 1, "no hole, and no new run");
  t.strictSame(slotsIn(primary.log), range(101, 118));
});

t.test("a disk that hangs holds up batches within the same bound", async (t) => {
  const bytes = await batchBytesMax(t);
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const delivery = await deliver(t, { store, primaries: [primary], memoryBytesMax: bytes * 10 });
  const { clock, flush, uplink } = delivery;
  uplink.start();
  await clock.advance(200);
  const go = store.hang();
  const flushing = Array.from({ length: 30 }, () => flush(1));
  await clock.advance(30_000);
  t.ok(inMemoryBytes(delivery) <= bytes * 10);
  t.ok(dropped(delivery, "memory") >= 20 && dropped(delivery, "memory") <= 22, `${dropped(delivery, "memory")} lost`);
  t.strictSame(primary.received, [], "nothing is offered that may yet be lost with the power");
  go();
  await Promise.all(flushing);
  await clock.advance(50);
  t.equal(inMemoryBytes(delivery), 0);
  t.equal(primary.received.length, 30 - dropped(delivery, "memory"));
});

t.test("without a network the disk has two bounds: bytes, and how many batches", async (t) => {
  const primary = new MemoryPrimary("p1");
  primary.up = false;
  const delivery = await deliver(t, { primaries: [primary], batchesMax: 12 });
  const { clock, flush, spool, store, uplink } = delivery;
  uplink.start();
  for (let i = 0; i < 40; i++) {
    await flush(1);
    await clock.advance(1000);
    if (spool.batches > 12) t.fail(`${spool.batches} batches, expected at most 12`);
  }
  t.equal(spool.batches, 12);
  t.equal(onDisk(store as MemoryStore), 12);
  t.equal(dropped(delivery, "full"), 28);
  t.equal(inMemoryBytes(delivery), 0);
});

t.test("at an orderly end what is in memory is written, or counted as lost", async (t) => {
  const store = new MemoryStore();
  const first = await deliver(t, { store });
  store.full = true;
  await first.flush(3);
  store.full = false;
  await first.spool.close();
  t.equal(onDisk(store), 3);
  t.equal(dropped(first, "disk"), 0);

  const primary = new MemoryPrimary("p1");
  const second = await deliver(t, { store, primaries: [primary] });
  second.uplink.start();
  await second.clock.advance(200);
  store.full = true;
  await second.flush(2);
  await second.clock.advance(50);
  await second.uplink.close();
  await second.flush(2);
  await second.spool.close();
  t.equal(dropped(second, "disk"), 2, "those that no primary accepted");
});

t.test("a spool whose disk was full takes batches again once there is room", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-spool-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, "spool");
  const store = await openSpoolStore(path);
  t.teardown(() => store.close());
  const put = (number: number) =>
    store.batch([{ type: "put", key: `batch/${number}`, value: new Uint8Array(1024 * 1024) }], { sync: true });
  await put(1);
  // leveldb cannot make its next file, as on a full disk.
  await rename(path, `${path}-away`);
  let number = 1;
  await t.rejects(async () => {
    while (number < 20) await put(++number);
  });
  await rename(`${path}-away`, path);
  await put(100);
  t.equal((await store.get("batch/1"))?.length, 1024 * 1024);
  t.equal((await store.get("batch/100"))?.length, 1024 * 1024);
});

t.test("what a full disk did not delete is deleted later", async (t) => {
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const { clock, flush, spool, uplink } = await deliver(t, { primaries: [primary], store });
  uplink.start();
  await clock.advance(200);
  await flush(3);
  await clock.advance(50);
  store.full = true;
  const [run] = primary.log.runs.values();
  run!.durable = 2;
  primary.acknowledge();
  await clock.advance(50);
  await spool.settled();
  store.full = false;
  await flush(1);
  const kept = [...store.entries.keys()].filter((key) => key.startsWith("batch/"));
  t.equal(kept.length, 2, "the third and the fourth");
  t.equal(spool.batches, 2);
});

t.test("a spool without room drops what both primaries hold first, then the oldest, and counts it", async (t) => {
  const probe = await deliver(t);
  await probe.flush(20);
  const batchBytes = Math.ceil(probe.spool.bytes / 20) + 10;

  const primary = new MemoryPrimary("p1");
  const { clock, flush, metrics, spool, uplink } = await deliver(t, {
    primaries: [primary],
    bytesMax: batchBytes * 10,
  });
  const dropped = (reason: string) => metrics.get("heliograph_secondary_spool_dropped_batches_total", { reason });
  const firstKept = () => [...spool.runs()].map(({ first }) => first);
  uplink.start();
  await clock.advance(200);
  await flush(8);
  await clock.advance(50);
  const [run] = primary.log.runs.values();
  run!.held = 3;
  primary.acknowledge();
  await clock.advance(10);
  await flush(4);
  t.equal(dropped("full"), 0);
  t.ok(dropped("held") >= 1 && dropped("held") <= 3, `${dropped("held")} held ones went`);
  t.ok(spool.bytes <= batchBytes * 10);
  await flush(4);
  t.equal(dropped("held"), 3);
  t.ok(dropped("full") >= 1, "then the oldest, which are lost");
  t.strictSame(firstKept(), [1 + dropped("held") + dropped("full")]);
  t.equal(spool.batches, 16 - dropped("held") - dropped("full"));
});

t.test("level keeps batches and generation through a restart, and keeps a second process out", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-spool-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const before = await deliver(t, { store: await openSpoolStore(dir) });
  await before.flush(3);
  await before.spool.saveGeneration(new Uint8Array([1, 2, 3]));
  const refused = await openSpoolStore(dir).catch((error: unknown) => error);
  t.ok(refused instanceof SpoolError);
  t.match(refused, {
    code: "locked",
    message: /is in use: expected it free, but another secondary runs with this data/,
  });
  await before.spool.close();

  const primary = new MemoryPrimary("p1");
  const after = await deliver(t, { store: await openSpoolStore(dir), primaries: [primary] });
  t.equal(after.spool.batches, 3);
  t.strictSame([...((await after.spool.generation()) ?? [])], [1, 2, 3]);
  for (const run of after.spool.runs()) {
    for (let sequence = run.first; sequence <= run.last; sequence++) {
      primary.log.append((await after.spool.read(run, sequence))!);
    }
  }
  t.strictSame(slotsIn(primary.log), range(101, 103));
  await after.spool.close();
});

t.test("a spool of another version, or something that is no spool, is refused by name", async (t) => {
  const later = new MemoryStore();
  later.entries.set("meta/version", new TextEncoder().encode("2"));
  await t.rejects(deliver(t, { store: later }), { code: "unreadable", message: /expected version 1, got 2/ });
  const foreign = new MemoryStore();
  foreign.entries.set("batch/7", new Uint8Array(1));
  await t.rejects(deliver(t, { store: foreign }), { code: "unreadable", message: /expected a key .*, got batch\/7/ });
});

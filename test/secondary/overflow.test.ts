// What a spool drops when it has no more room: that it is written down, told, and was forecast.

import t from "tap";

import { hourMs, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import { readBatchHeader } from "#/lib/codec/batch.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { runKey } from "#/lib/model/identity.ts";
import { roomLeftMs } from "#/secondary/spool/forecast.ts";
import { bootEpoch, deliver, startMs } from "#/test/support/delivery.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { MemoryPrimary } from "#/test/support/memory-primary.ts";
import { MemoryStore } from "#/test/support/memory-store.ts";

type Delivery = Awaited<ReturnType<typeof deliver>>;

function dropped({ metrics }: Delivery, reason: string): number {
  return metrics.get("heliograph_secondary_spool_dropped_batches_total", { reason });
}

function recordsIn(store: MemoryStore): number {
  return [...store.entries.keys()].filter((key) => key.startsWith("dropped/")).length;
}

/** What the primary's log tells of dropped batches, in short. */
function toldIn({ log }: MemoryPrimary): string[] {
  const told: string[] = [];
  const decoders = new Map<string, RunDecoder>();
  for (const [, bytes] of log.batches) {
    const header = readBatchHeader(bytes);
    const key = runKey(header);
    const decoder = decoders.get(key) ?? new RunDecoder(header);
    decoders.set(key, decoder);
    for (const { bootEpoch: epoch, from, reason, run, scrapes, until } of decoder.decode(bytes, () => {}).dropped) {
      told.push(`${epoch - bootEpoch}/${run}: ${from} to ${until}, ${scrapes} scrapes, ${reason}`);
    }
  }
  return told;
}

/** Batches of about so many bytes fit. */
async function roomFor(t: { teardown(close: () => unknown): unknown }, batches: number): Promise<number> {
  const probe = await deliver(t);
  await probe.flush(20);
  return Math.ceil(probe.spool.bytes / 20 + 10) * batches;
}

t.test(
  "what a full spool dropped is told as one range when somebody hears it, and forgotten when all know",
  async (t) => {
    const store = new MemoryStore();
    const primary = new MemoryPrimary("p1");
    primary.up = false;
    const delivery = await deliver(t, { store, primaries: [primary], bytesMax: await roomFor(t, 10) });
    const { clock, flush, spool, uplink } = delivery;
    uplink.start();
    for (let i = 0; i < 30; i++) {
      await flush(1);
      await clock.advance(1000);
    }
    const lost = dropped(delivery, "full");
    t.ok(lost >= 18 && lost <= 20, `${lost} were dropped`);
    t.equal(recordsIn(store), 1, "in one record");
    primary.up = true;
    await clock.advance(5000);
    await flush(2);
    await clock.advance(1000);
    await flush(1);
    await clock.advance(50);
    t.same(toldIn(primary), [`0/1: 1 to ${lost}, ${lost} scrapes, full`], "once");
    t.equal(recordsIn(store), 2, "until every global has it; it was full a moment longer");
    const allKnow = async () => {
      for (const run of primary.log.runs.values()) run.durable = run.accepted;
      primary.acknowledge();
      await clock.advance(10_000);
      await spool.settled();
    };
    await allKnow();
    t.equal(recordsIn(store), 1);
    await flush(2);
    await clock.advance(50);
    t.equal(toldIn(primary).length, 2);
    await allKnow();
    t.equal(recordsIn(store), 0);
  },
);

t.test("a drop is not forgotten by a restart, nor with the batch that told of it", async (t) => {
  const store = new MemoryStore();
  const bytesMax = await roomFor(t, 10);
  const first = await deliver(t, { store, primaries: [], bytesMax });
  await first.flush(14);
  const lost = dropped(first, "full");
  t.ok(lost > 0);
  await first.spool.close();
  const primary = new MemoryPrimary("p1");
  const clock = manualClock(startMs + 5000);
  const second = await deliver(t, { store, primaries: [primary], bytesMax, clock });
  second.uplink.start();
  await clock.advance(200);
  await second.flush(2);
  await clock.advance(50);
  t.same(toldIn(primary), [`0/1: 1 to ${lost}, ${lost} scrapes, full`]);
  t.ok(recordsIn(store) >= 1);
  // The primary goes, and the batch that told it does not stay in the spool.
  primary.die();
  await clock.advance(60_000);
  await second.flush(40);
  t.ok(second.spool.bytes <= bytesMax);
  primary.up = true;
  const before = toldIn(primary).length;
  await clock.advance(5000);
  await second.flush(2);
  await clock.advance(1000);
  const again = toldIn(primary).slice(before);
  t.ok(again.includes(`0/1: 1 to ${lost}, ${lost} scrapes, full`), again.join("\n"));
});

t.test("a secondary that has no targets any more tells what it dropped all the same", async (t) => {
  const primary = new MemoryPrimary("p1");
  const delivery = await deliver(t, { primaries: [primary], bytesMax: await roomFor(t, 5) });
  const { clock, compactor, flush, uplink } = delivery;
  await flush(9);
  const lost = dropped(delivery, "full");
  t.ok(lost > 0);
  compactor.start();
  uplink.start();
  await clock.advance(12_000);
  t.same(toldIn(primary), [`0/1: 1 to ${lost}, ${lost} scrapes, full`]);
});

t.test("what is older than the spool keeps is dropped, counted and told, whatever room there is", async (t) => {
  const store = new MemoryStore();
  const primary = new MemoryPrimary("p1");
  const delivery = await deliver(t, { store, primaries: [primary], ageMsMax: hourMs });
  const { clock, flush, spool, uplink } = delivery;
  for (let i = 0; i < 10; i++) {
    await flush(1);
    await clock.advance(10 * minuteMs);
  }
  t.equal(dropped(delivery, "age"), 3);
  t.equal(spool.batches, 7);
  uplink.start();
  await clock.advance(2000);
  await flush(2);
  await clock.advance(1000);
  t.match(toldIn(primary), ["0/1: 1 to 3, 3 scrapes, age"]);
});

t.test("after a start age is told by the slots that are in a batch", async (t) => {
  const store = new MemoryStore();
  // The slots here are those from 101 on, of 15 s.
  const clock = manualClock(100 * 15_000);
  const first = await deliver(t, { store, primaries: [], clock, ageMsMax: hourMs });
  await first.flush(3);
  await first.spool.close();
  const later = manualClock(100 * 15_000 + hourMs + 45 * secondMs);
  const second = await deliver(t, { store, primaries: [], clock: later, ageMsMax: hourMs });
  t.equal(second.spool.batches, 3);
  await second.flush(1);
  t.equal(dropped(second, "age"), 2);
  t.equal(second.spool.batches, 2);
});

t.test("a batch that a primary refuses is told as refused", async (t) => {
  const primary = new MemoryPrimary("p1");
  const { clock, flush, uplink } = await deliver(t, { primaries: [primary] });
  uplink.start();
  await clock.advance(200);
  primary.refuses = (bytes) =>
    readBatchHeader(bytes).sequence === 2 ? { code: "bad_checksum", named: true } : undefined;
  await flush(4);
  await clock.advance(50);
  primary.refuses = () => undefined;
  await flush(2);
  await clock.advance(50);
  t.same(toldIn(primary), ["0/1: 2 to 2, 1 scrapes, refused"]);
});

/** Puts a batch a second into a spool without primaries until it drops one; what it foretold meanwhile, by second. */
async function filled(delivery: Delivery, perSecond: (second: number) => number) {
  const { clock, flush, spool } = delivery;
  const foretoldMs: number[] = [];
  for (let second = 0; dropped(delivery, "full") === 0 && second < 20_000; second++) {
    await flush(perSecond(second));
    foretoldMs.push(spool.roomMs);
    await clock.advance(1000);
  }
  return foretoldMs;
}

function errorsOf(foretoldMs: readonly number[], seconds: readonly number[]): number[] {
  const endMs = (foretoldMs.length - 1) * 1000;
  return seconds.map((second) => {
    const leftMs = endMs - second * 1000;
    return Math.abs(foretoldMs[second]! - leftMs) / leftMs;
  });
}

t.test("the first drop is forecast within 5 % at a steady rate", async (t) => {
  const delivery = await deliver(t, { primaries: [], bytesMax: await roomFor(t, 3000) });
  const foretoldMs = await filled(delivery, () => 1);
  t.equal(foretoldMs[10], Number.POSITIVE_INFINITY, "what is on its way is no backlog");
  const looks = [60, 120, 300, 600, 1200, 2000, 2400];
  for (const [i, error] of errorsOf(foretoldMs, looks).entries()) {
    t.ok(error < 0.05, `after ${looks[i]} s it was ${(error * 100).toFixed(1)} % off`);
  }
});

t.test("the first drop is forecast within 5 % five minutes after the rate changed", async (t) => {
  const delivery = await deliver(t, { primaries: [], bytesMax: await roomFor(t, 4000) });
  const foretoldMs = await filled(delivery, (second) => (second < 1000 ? 1 : 3));
  const looks = [1320, 1500, 1700];
  for (const [i, error] of errorsOf(foretoldMs, looks).entries()) {
    t.ok(error < 0.05, `after ${looks[i]} s it was ${(error * 100).toFixed(1)} % off`);
  }
  t.ok(foretoldMs[990]! > 2 * foretoldMs[1320]!, "before, nobody could know");
});

t.test(
  "while nothing piles up there is no end of room: what is held counts as room, and what drains too",
  async (t) => {
    const primary = new MemoryPrimary("p1");
    const delivery = await deliver(t, { primaries: [primary], bytesMax: 1_000_000 });
    const { clock, flush, spool, uplink } = delivery;
    uplink.start();
    await clock.advance(200);
    const hold = () => {
      for (const run of primary.log.runs.values()) run.held = run.accepted;
      primary.acknowledge();
    };
    for (let i = 0; i < 120; i++) {
      await flush(1);
      await clock.advance(1000);
      hold();
    }
    t.equal(spool.batches, 120, "no global has any");
    t.equal(spool.roomMs, Number.POSITIVE_INFINITY);
    for (let i = 0; i < 120; i++) {
      await flush(1);
      await clock.advance(1000);
    }
    t.ok(spool.roomMs < hourMs * 24, "both primaries stopped saying that they hold them");
  },
);

t.test("the forecast is the nearest of three ends", (t) => {
  const limits = { bytesMax: 1000, batchesMax: 1_000_000, ageMsMax: 100 * hourMs };
  const look = (atMs: number, bytes: number, batches: number, oldestAgeMs: number) => ({
    atMs,
    bytes,
    batches,
    oldestAgeMs,
  });
  const growing = [look(0, 0, 0, hourMs), look(100_000, 100, 10, hourMs + 100_000)];
  t.equal(roomLeftMs(growing, limits), 900_000, "900 bytes at one a second");
  t.equal(roomLeftMs(growing, { ...limits, batchesMax: 60 }), 500_000, "50 batches at one in ten seconds");
  t.equal(
    roomLeftMs(growing, { ...limits, ageMsMax: hourMs + 160_000 }),
    60_000,
    "a minute until the oldest is too old",
  );
  const draining = [look(0, 500, 50, hourMs), look(100_000, 400, 40, hourMs)];
  t.equal(roomLeftMs(draining, limits), Number.POSITIVE_INFINITY);
  t.equal(roomLeftMs([look(0, 500, 50, hourMs)], limits), Number.POSITIVE_INFINITY, "one look has no rate");
  t.equal(roomLeftMs([], limits), Number.POSITIVE_INFINITY);
  t.equal(roomLeftMs([look(0, 2000, 50, 60_000)], limits), 0, "it is full");
  t.end();
});

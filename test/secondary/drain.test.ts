// A backlog behind the present: how much of it is on its way, and how fast it goes.

import t from "tap";

import { DrainPace } from "#/secondary/drain.ts";
import { deliver } from "#/test/support/delivery.ts";
import { MemoryPrimary } from "#/test/support/memory-primary.ts";

/** A cut of 40 s in which so many batches were sealed, and one after it; the primary accepts nothing yet. */
async function cutOff(t: { teardown(close: () => unknown): unknown }, batches: number, drainBytesPerSecond?: number) {
  const primary = new MemoryPrimary("p1");
  primary.up = false;
  const delivery = await deliver(t, {
    primaries: [primary],
    ...(drainBytesPerSecond !== undefined && { drainBytesPerSecond }),
  });
  delivery.uplink.start();
  await delivery.flush(batches);
  await delivery.clock.advance(40_000);
  return { ...delivery, primary };
}

t.test("of a backlog a quarter of the window is on its way, and a new batch goes before the rest", async (t) => {
  const { clock, flush, primary } = await cutOff(t, 60);
  primary.accepting = false;
  primary.up = true;
  await clock.advance(3000);
  const runs = () => primary.received.map((key) => Number(key.split("/")[4]));
  t.same(runs(), [1, 1, 1, 1], "the window is 16");
  await flush(1);
  await clock.advance(50);
  t.same(runs(), [1, 1, 1, 1, 2], "the present is not behind them");
});

t.test("a backlog goes at its rate, and live batches at once", async (t) => {
  const probe = await deliver(t);
  await probe.flush(100);
  const bytesPerSecond = Math.ceil(probe.spool.bytes / 10);
  const { clock, flush, metrics, primary } = await cutOff(t, 100, bytesPerSecond);
  primary.up = true;
  await clock.advance(2500);
  const before = primary.received.length;
  for (let i = 0; i < 5; i++) {
    await clock.advance(1000);
    await flush(1);
    await clock.advance(20);
    t.ok(
      primary.received.slice(-2).some((key) => /\/2\/\d+$/.test(key)),
      "the newest is there within moments",
    );
  }
  const drained = primary.received.length - before - 5;
  t.ok(drained >= 45 && drained <= 56, `${drained} of the backlog in 5.1 s, at ten a second`);
  await clock.advance(10_000);
  t.equal(primary.log.batches.size, 105, "all of it, at last");
  t.ok(metrics.get("heliograph_secondary_push_backlog_bytes_total") > bytesPerSecond * 9);
});

t.test("to a primary that admits, a backlog is told, and goes at a trickle until it is admitted", async (t) => {
  const probe = await deliver(t);
  await probe.flush(100);
  const { clock, flush, primary } = await cutOff(t, 100, Math.ceil((probe.spool.bytes / 100) * 32));
  primary.admitsDrains = true;
  primary.up = true;
  await clock.advance(2000);
  const before = primary.received.length;
  await clock.advance(4000);
  const trickled = primary.received.length - before;
  t.ok(trickled >= 6 && trickled <= 10, `${trickled} in 4 s, at a sixteenth of 32 a second`);
  t.ok(primary.backlogs[0]! >= 90 && primary.backlogs[0]! <= 100, `it told of ${primary.backlogs[0]}`);
  primary.admit(true);
  await clock.advance(6000);
  t.equal(primary.log.batches.size, 100);
  t.equal(primary.backlogs.at(-1), 0, "and that it has none any more");
  const said = primary.backlogs.length;
  await flush(1);
  await clock.advance(20_000);
  t.equal(primary.backlogs.length, said);
});

t.test("a pace has no debts: what was not sent in time is not sent the faster for it", (t) => {
  const pace = new DrainPace(1000);
  pace.sent(500, 10_000);
  t.equal(pace.dueMs, 10_500);
  pace.sent(500, 10_500);
  t.equal(pace.dueMs, 11_000);
  pace.sent(500, 60_000);
  t.equal(pace.dueMs, 60_500);
  pace.admit(false, 60_000);
  pace.sent(100, 60_500);
  t.equal(pace.dueMs, 62_100, "a sixteenth");
  pace.admit(true, 60_600);
  t.equal(pace.dueMs, 60_600);
  t.same([pace.onTheirWayMax(16), pace.onTheirWayMax(2), pace.onTheirWayMax(256)], [4, 1, 64]);
  t.end();
});

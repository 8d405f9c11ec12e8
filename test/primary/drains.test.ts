// Which secondaries may drain at full rate.

import t from "tap";

import { Drains } from "#/primary/drains.ts";
import { manualClock } from "#/test/support/manual-clock.ts";

const told = (changes: ReadonlyMap<string, boolean>) => Object.fromEntries(changes);

t.test("a few are admitted, the others wait, and the next one comes when one is done", (t) => {
  const drains = new Drains(manualClock(0), 2);
  t.same(told(drains.said("a", 100)), { a: true });
  t.same(told(drains.said("b", 100)), { b: true });
  t.same(told(drains.said("c", 100)), { c: false });
  t.same(told(drains.said("d", 100)), { d: false });
  t.same([drains.admitted, drains.waiting], [2, 2]);
  t.same(told(drains.said("a", 50)), { a: true }, "what it is told again is harmless");
  t.same(told(drains.said("a", 0)), { a: false, c: true });
  t.same(told(drains.gone("c")), { d: true });
  t.same([drains.admitted, drains.waiting], [2, 0]);
  t.end();
});

t.test("while others wait a turn ends, and while nobody does it goes on", async (t) => {
  const clock = manualClock(0);
  const drains = new Drains(clock, 1);
  drains.said("a", 1_000_000);
  for (let i = 0; i < 12; i++) {
    await clock.advance(5000);
    t.same(told(drains.said("a", 1_000_000)), { a: true });
  }
  drains.said("b", 10);
  t.same(told(drains.said("a", 1_000_000)), { a: false, b: true });
  await clock.advance(5000);
  t.same(told(drains.said("a", 1_000_000)), { a: false }, "b has its turn");
  t.same(told(drains.said("b", 0)), { b: false, a: true });
});

t.test("who is silent keeps nobody waiting", async (t) => {
  const clock = manualClock(0);
  const drains = new Drains(clock, 1);
  drains.said("a", 10);
  drains.said("b", 10);
  for (let i = 0; i < 5; i++) {
    await clock.advance(5000);
    drains.said("c", 10);
  }
  t.same([drains.admitted, drains.waiting], [1, 0]);
  t.same(told(drains.said("c", 10)), { c: true });
});

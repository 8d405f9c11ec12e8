// What a replica remembers of each target's last slot, scrape by scrape.

import t from "tap";
import type { Outcome } from "#/lib/model/outcome.ts";
import { slotTimeMs } from "#/lib/model/target.ts";
import { LastOutcomes } from "#/lib/replica/outcomes.ts";
import { heartbeatBytes, newWorld, openReplica, readAll, run, Sender, targets } from "#/test/support/replica-world.ts";
import { scrapedTarget, scrapeOf } from "#/test/support/scrapes.ts";

const target = scrapedTarget({ job: "web", instance: "a:1" });

function told() {
  const lasts = new LastOutcomes();
  const take = (slot: number, outcome: Outcome, { generation = 1, secondary = "s1", samples = 2 } = {}) =>
    lasts.take(scrapeOf(target, { slot, outcome, generation }), { samples, secondary });
  return { lasts, take };
}

const at = (slot: number) => slotTimeMs(target, slot);

t.test("the last outcome is the newest slot's, with who told it and since when it is so", (t) => {
  const { lasts, take } = told();
  t.equal(lasts.get(target.id), undefined);
  take(1, "stored", { samples: 9 });
  take(2, "failed_connect", { samples: 0 });
  take(3, "failed_connect", { generation: 2, secondary: "s2", samples: 0 });
  t.strictSame(lasts.get(target.id), {
    outcome: "failed_connect",
    generation: 2,
    slot: 3,
    timestampMs: at(3),
    durationUs: 1000,
    samples: 0,
    sinceMs: at(2),
    lastStoredMs: at(1),
    secondary: "s2",
  });
  t.end();
});

t.test("of a slot that two secondaries told, the higher generation that stored counts", (t) => {
  const { lasts, take } = told();
  take(5, "stored", { generation: 4 });
  take(5, "missed_down", { generation: 5, secondary: "s2" });
  t.match(lasts.get(target.id), { outcome: "stored", generation: 4, secondary: "s1" });
  take(5, "stored", { generation: 5, secondary: "s2" });
  t.match(lasts.get(target.id), { outcome: "stored", generation: 5, secondary: "s2", sinceMs: at(5) });
  t.end();
});

t.test("what comes late does not become the last, and tells only since when it cannot be", (t) => {
  const { lasts, take } = told();
  take(10, "stored");
  take(20, "stored");
  t.equal(lasts.get(target.id)!.sinceMs, at(10));
  take(12, "failed_timeout");
  t.match(lasts.get(target.id), { outcome: "stored", slot: 20, sinceMs: at(13), lastStoredMs: at(20) });
  take(11, "stored");
  t.match(lasts.get(target.id), { outcome: "stored", slot: 20, sinceMs: at(13) });
  t.same([lasts.up, lasts.down], [1, 0]);
  t.end();
});

t.test("a missed slot is the last, but the target is neither up nor down for it", (t) => {
  const { lasts, take } = told();
  take(1, "missed_overload");
  t.same([lasts.up, lasts.down], [0, 0]);
  take(2, "stored");
  take(3, "missed_overload");
  t.match(lasts.get(target.id), { outcome: "missed_overload", lastStoredMs: at(2) });
  t.same([lasts.up, lasts.down], [1, 0]);
  take(4, "failed_closed");
  t.same([lasts.up, lasts.down], [0, 1]);
  lasts.forget([target.id, "unknown"]);
  t.same([lasts.up, lasts.down], [0, 0]);
  t.equal(lasts.get(target.id), undefined);
  t.end();
});

t.test("rows of targets that are no more are used again, and none has what another left", (t) => {
  const lasts = new LastOutcomes();
  const many = Array.from({ length: 1000 }, (_, i) => scrapedTarget({ job: "web", instance: `m${i}:1` }));
  for (const each of many) {
    lasts.take(scrapeOf(each, { slot: 1, outcome: "stored" }), { samples: 3, secondary: "s1" });
  }
  t.equal(lasts.up, 1000);
  lasts.forget(many.slice(0, 500).map(({ id }) => id));
  lasts.take(scrapeOf(target, { slot: 2, outcome: "missed_down" }), { samples: 0, secondary: "s2" });
  t.match(lasts.get(target.id), { outcome: "missed_down", lastStoredMs: undefined, secondary: "s2" });
  t.match(lasts.get(many[999]!.id), { outcome: "stored", samples: 3 });
  t.same([lasts.up, lasts.down], [500, 0]);
  t.end();
});

t.test("a replica knows each target's last outcome, and after a restart it still does", async (t) => {
  const world = newWorld();
  const { replica } = await openReplica(world);
  for (const batch of new Sender().batches(4)) world.log.append("batch", "s1", batch);
  world.log.append("heartbeat", "p1", heartbeatBytes(world.clock.nowMs()));
  await readAll(replica, world);
  const before = replica.lastOutcome(targets[0]!.id)!;
  t.match(before, { outcome: "stored", samples: 2, secondary: run.secondary });
  await replica.close();
  const again = await openReplica(world);
  t.strictSame(again.replica.lastOutcome(targets[0]!.id), before);
  await again.replica.close();
});

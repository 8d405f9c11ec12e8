// Batches that their secondary dropped and told of: nobody waits for them any more.

import t from "tap";
import {
  answers,
  droppedRange,
  expectedValues,
  newWorld,
  openReplica,
  readAll,
  run,
  Sender,
  targets,
  upTo,
  valuesOf,
} from "#/test/support/replica-world.ts";

t.test("batches that their secondary dropped are waited for no longer, and are counted", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const told: unknown[] = [];
  replica.onDropped((range) => told.push(range));
  const sender = new Sender();
  const batches = sender.batches(30);
  for (const batch of [...batches.slice(0, 4), ...batches.slice(6)]) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  await world.clock.advance(1000);
  t.same(replica.watermarks(), [{ ...run, sequence: 4 }], "nobody knows yet why five and six are missing");
  const newer = { ...run, run: 2 };
  const other = new Sender(newer);
  world.log.append("batch", "s1", other.batch(targets, [droppedRange(5, 6)]));
  world.log.append("batch", "s1", other.batch(targets, [droppedRange(5, 6)]));
  await readAll(replica, world);
  await world.clock.advance(1000);
  const watermarks = [
    { ...newer, sequence: 2 },
    { ...run, sequence: 30 },
  ];
  const sorted = (all: typeof watermarks | ReturnType<typeof replica.watermarks>) =>
    [...all].sort((a, b) => b.run - a.run);
  t.same(sorted(replica.watermarks()), watermarks);
  t.same(told, [{ ...droppedRange(5, 6), secondary: "s1" }], "told once, though it came twice");
  t.equal(metrics.get("heliograph_replica_dropped_batches_total", { datacenter: "paris", reason: "full" }), 2);
  t.equal(replica.summary().missingBatches, 0);
  t.ok((await valuesOf(head, targets[0]!)).startsWith(expectedValues(targets[0]!, upTo(4))));
  t.ok((await valuesOf(head, targets[0]!)).endsWith(expectedValues(targets[0]!, [28, 29])));
  const live = await answers(head);
  await replica.close();
  const again = await openReplica(world);
  t.same(await answers(again.head), live, "and after a restart the same");
  t.same(sorted(again.replica.watermarks()), watermarks);
  t.same(again.replica.dropped, [{ ...droppedRange(5, 6), secondary: "s1" }]);
  await again.replica.close();
});

t.test("the word of dropped batches may come before their run does", async (t) => {
  const world = newWorld();
  const { replica, head, metrics } = await openReplica(world);
  const newer = new Sender({ ...run, run: 2 });
  world.log.append("batch", "s1", newer.batch(targets, [droppedRange(1, 3), droppedRange(4, 5), droppedRange(9, 9)]));
  const batches = new Sender().batches(40);
  // The sixth is missing for another reason.
  for (const batch of [...batches.slice(6, 8), ...batches.slice(9)]) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  await world.clock.advance(1000);
  const ofRun = () => replica.watermarks().find((each) => each.run === 1)?.sequence;
  t.equal(ofRun(), 5, "it waits for the sixth alone");
  world.log.append("batch", "s1", batches[5]!);
  await readAll(replica, world);
  await world.clock.advance(1000);
  t.equal(ofRun(), 40);
  t.equal(metrics.get("heliograph_replica_dropped_batches_total", { datacenter: "paris", reason: "full" }), 6);
  t.ok((await valuesOf(head, targets[0]!)).endsWith(expectedValues(targets[0]!, [38, 39])));
  await replica.close();
});

t.test("a batch that was called dropped and comes in its turn is read", async (t) => {
  const world = newWorld();
  const { replica, head } = await openReplica(world);
  world.log.append("batch", "s1", new Sender({ ...run, run: 2 }).batch(targets, [droppedRange(2, 4)]));
  const batches = new Sender().batches(6);
  for (const batch of [batches[0]!, batches[1]!, ...batches.slice(4)]) world.log.append("batch", "s1", batch);
  await readAll(replica, world);
  await world.clock.advance(1000);
  t.same(replica.watermarks().find((each) => each.run === 1)?.sequence, 6);
  t.ok((await valuesOf(head, targets[0]!)).startsWith(expectedValues(targets[0]!, upTo(2))));
  await replica.close();
});

// What a replica tells that it misses, and what it has for others who miss it.

import t from "tap";
import { minuteMs } from "#/lib/bytes/units.ts";
import { missingMax } from "#/lib/model/report.ts";
import { heartbeatBytes, newWorld, openReplica, readAll, run, Sender, startMs } from "#/test/support/replica-world.ts";

t.test(
  "the holes are told as ranges, those of the run that was used last first, and no more than a report takes",
  async (t) => {
    const world = newWorld();
    const { replica } = await openReplica(world);
    const older = new Sender().batches(8);
    const newer = { ...run, run: 2 };
    const later = new Sender(newer).batches(2 * missingMax + 30);
    for (const sequence of [1, 4, 5, 8]) world.log.append("batch", "s1", older[sequence - 1]!);
    world.log.append("batch", "s1", later[2]!);
    await readAll(replica, world);
    t.same(replica.missing(), [], "they may merely have changed places");
    for (let i = 0; i < 6; i++) world.log.append("heartbeat", "p1", heartbeatBytes(startMs + i * 1000));
    await readAll(replica, world);
    t.same(replica.missing(), [
      { ...newer, from: 1, until: 2 },
      { ...run, from: 2, until: 3 },
      { ...run, from: 6, until: 7 },
    ]);
    for (let i = 4; i < later.length; i += 2) world.log.append("batch", "s1", later[i]!);
    await readAll(replica, world);
    const missing = replica.missing();
    t.equal(missing.length, missingMax);
    t.same(missing.slice(0, 2), [
      { ...newer, from: 1, until: 2 },
      { ...newer, from: 4, until: 4 },
    ]);
    await replica.close();
  },
);

t.test("a journal's batches can be read again by their names, also beyond a gap, until they are trimmed", async (t) => {
  const world = newWorld();
  const first = await openReplica(world);
  const batches = new Sender().batches(7);
  const append = (sequences: readonly number[]) => {
    for (const sequence of sequences) world.log.append("batch", "s1", batches[sequence - 1]!);
  };
  append([1, 2]);
  await readAll(first.replica, world);
  await world.clock.advance(11 * minuteMs);
  append([5, 3]);
  await readAll(first.replica, world);
  await first.replica.close();
  const { replica } = await openReplica(world);
  append([7]);
  await readAll(replica, world);
  t.same(
    [1, 2, 3, 4, 5, 6, 7].filter((sequence) => replica.stock.has(run, sequence)),
    [1, 2, 3, 5, 7],
    "also after a restart",
  );
  const read = async (sequences: readonly number[], bytesMax = 1e6) =>
    (await replica.stock.read(run, { sequences, bytesMax })).map(({ payload, sequence }) => {
      t.same(payload, batches[sequence - 1]);
      return sequence;
    });
  t.same(await read([1, 2, 3, 4, 5, 6, 7]), [1, 2, 3, 5], "the last one is not on disk yet");
  await world.clock.advance(1000);
  t.same(await read([4, 7, 5]), [7, 5]);
  t.same(await read([2, 3, 5], batches[1]!.length + 1), [2], "as many as there is room for");
  await world.clock.advance(140 * minuteMs);
  append([6]);
  await readAll(replica, world);
  await world.clock.advance(2 * minuteMs);
  t.same(await read([1, 2, 6]), [6], "what was trimmed is gone");
  t.equal(replica.stock.has(run, 2), false);
  await replica.close();
});

// What the lease-holding primary writes into the log, and what secondaries get of it, around losses and changes of leader.

import t from "tap";
import { decodeGeneration } from "#/lib/codec/generation.ts";
import type { AppendRequest } from "#/lib/commitlog/commitlog.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Assignments } from "#/primary/assignments.ts";
import { govern } from "#/primary/govern.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

/** A governor whose log is told what to do; `read` is what its replica has read. */
function governor() {
  const clock = manualClock();
  const stop = new AbortController();
  const appended: AppendRequest[] = [];
  const read: { generation: Generation | undefined; position: LogPosition | undefined } = {
    generation: undefined,
    position: { stream: "dc-fra-1-1", created: "", sequence: 3 },
  };
  const log = { stream: "dc-fra-1-1", lastSequence: 3, hangs: false };
  const living = [{ name: "s1", capacity: 10 }];
  const priorities = new Map<string, number>();
  const found = { targets: [makeTarget("http://a:9100/metrics")] };
  const done = govern(
    {
      datacenter: "fra",
      primary: "p1",
      lease: { token: 7, held: () => true },
      log: {
        async append(request, signal) {
          if (log.hangs) {
            await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
          }
          appended.push(request);
          return { stream: log.stream, sequence: ++log.lastSequence, duplicate: false };
        },
        info: async () => ({
          stream: log.stream,
          created: "",
          firstSequence: 1,
          lastSequence: log.lastSequence,
          bytes: 0,
        }),
      },
      targets: () => found.targets,
      priorities: () => priorities,
      living: () => living,
      generation: () => read.generation,
      position: () => read.position,
      clock,
      logger: silentLogger(),
      metrics: createRegistry({ tier: "primary" }),
    },
    stop.signal,
  );
  return { appended, clock, done, found, log, read, stop };
}

t.test(
  "a generation that was lost with the log's tail is written again, and one that was read back is not",
  async (t) => {
    const { appended, clock, done, read, stop } = governor();
    await clock.advance(1000);
    t.equal(appended.length, 1);
    await clock.advance(11_000);
    t.equal(appended.length, 2);
    t.equal(appended[1]!.id, "generation/fra/1/7");
    read.generation = decodeGeneration(appended[1]!.payload);
    await clock.advance(30_000);
    t.equal(appended.length, 2);
    stop.abort();
    await done;
  },
);

t.test("a primary that ends while its generation is on the way ends in order", async (t) => {
  const { clock, done, log, stop } = governor();
  log.hangs = true;
  await clock.advance(1000);
  stop.abort();
  await t.resolves(done);
});

t.test("targets that fit into no generation leave the present one as it is, and end nothing", async (t) => {
  const { appended, clock, done, found, stop } = governor();
  const before = found.targets;
  const random = seededRandom(1);
  // 80 × 96 KiB that cannot be compressed to the limit of 4 MiB.
  const text = () => Array.from({ length: 96 * 1024 }, () => String.fromCharCode(33 + random.below(90))).join("");
  found.targets = Array.from({ length: 80 }, (_, i) =>
    makeTarget(`http://t${i}:9100/metrics`, { labels: labelsOf({ job: "node", big: text() }) }),
  );
  await clock.advance(1000);
  t.equal(appended.length, 0);
  found.targets = before;
  await clock.advance(1000);
  t.equal(appended.length, 1);
  stop.abort();
  await t.resolves(done);
});

t.test("an empty segment does not mean that the ones before it were read", async (t) => {
  const { appended, clock, done, log, read, stop } = governor();
  Object.assign(log, { stream: "dc-fra-1-2", lastSequence: 0 });
  await clock.advance(5000);
  t.equal(appended.length, 0);
  log.lastSequence = 1;
  read.position = { stream: "dc-fra-1-2", created: "", sequence: 1 };
  await clock.advance(1000);
  t.equal(appended.length, 1);
  stop.abort();
  await done;
});

t.test("of two generations with one number, secondaries get that of the newer lease", async (t) => {
  const clock = manualClock();
  const stop = new AbortController();
  const assignments = new Assignments({ datacenter: "fra", primary: "p1", secondaries: () => ["s1"], clock });
  const told: number[] = [];
  const served = assignments.serve(
    { datacenter: "fra", secondary: "s1", generation: 0 },
    async ({ generation }) => {
      if (generation.length > 0) told.push(decodeGeneration(generation).token);
    },
    undefined,
    stop.signal,
  );
  const targets = [makeTarget("http://a:9100/metrics")];
  assignments.publish(makeGeneration(targets, { number: 51, token: 10 }));
  await clock.advance(1000);
  assignments.publish(makeGeneration(targets, { number: 51, token: 12 }));
  await clock.advance(1000);
  assignments.publish(makeGeneration(targets, { number: 52, token: 10 }));
  await clock.advance(3000);
  t.same(told, [10, 12]);
  stop.abort();
  await served;
});

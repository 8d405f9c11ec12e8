// What the lease-holding primary writes into the log, and what secondaries get of it, around losses and changes of leader.

import t from "tap";
import { decodeGeneration, readGenerationHeader } from "#/lib/codec/generation.ts";
import type { AppendRequest } from "#/lib/commitlog/commitlog.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { GenerationSecondary } from "#/lib/model/generation.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { Target } from "#/lib/model/target.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { Generations } from "#/lib/replica/generations.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Assignments } from "#/primary/assignments.ts";
import { govern } from "#/primary/govern.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

/** A governor whose log is told what to do; its replica reads back what it appends when `reads` says so. */
function governor({ reads = false, targets = 1 } = {}) {
  const clock = manualClock();
  const stop = new AbortController();
  const appended: AppendRequest[] = [];
  const book = new Generations("fra");
  const log = { stream: "dc-fra-1-1", firstSequence: 1, lastSequence: 3, hangs: false, reads };
  const read: { position: LogPosition | undefined } = { position: { stream: log.stream, created: "", sequence: 3 } };
  const lease = { token: 7, held: () => true };
  const found = {
    living: [{ name: "s1", capacity: 1000 }] as readonly GenerationSecondary[],
    reloads: 0,
    targets: Array.from({ length: targets }, (_, i) => makeTarget(`http://a${i}:9100/metrics`)),
  };
  const take = ({ kind, origin, payload }: AppendRequest, sequence = log.lastSequence) => {
    const position = { stream: log.stream, created: "", sequence, storedMs: clock.nowMs() };
    read.position = position;
    return book.take({ position, kind, origin, payload });
  };
  const priorities = new Map<string, number>();
  const remembered: (readonly Target[])[] = [];
  const done = govern(
    {
      datacenter: "fra",
      primary: "p1",
      lease,
      log: {
        async append(request, signal) {
          if (log.hangs) {
            await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
          }
          appended.push(request);
          log.lastSequence++;
          if (log.reads) take(request);
          return { stream: log.stream, sequence: log.lastSequence, duplicate: false };
        },
        info: async () => ({
          stream: log.stream,
          created: "",
          firstSequence: log.firstSequence,
          lastSequence: log.lastSequence,
          bytes: 0,
        }),
      },
      targets: () => found.targets,
      priorities: () => priorities,
      living: () => found.living,
      reloads: () => found.reloads,
      generation: () => book.newest,
      remember: (scraped) => void remembered.push(scraped),
      position: () => read.position,
      trail: () => book.trail,
      logAgeMaxMs: 3_600_000,
      clock,
      logger: silentLogger(),
      metrics: createRegistry({ tier: "primary" }),
    },
    stop.signal,
  );
  /** Each that was written, as `number/token form`. */
  const written = () =>
    appended.map(({ payload }) => {
      const { base, number, token } = readGenerationHeader(payload);
      return `${number}/${token} ${base ? "delta" : "full"}`;
    });
  const end = async () => {
    stop.abort();
    await done;
  };
  return { appended, book, clock, done, end, found, lease, log, read, remembered, stop, take, written };
}

t.test(
  "a generation that was lost with the log's tail is written again, and one that was read back is not",
  async (t) => {
    const { appended, clock, done, stop, take } = governor();
    await clock.advance(1000);
    t.equal(appended.length, 1);
    await clock.advance(11_000);
    t.equal(appended.length, 2);
    t.equal(appended[1]!.id, "generation/fra/1/7");
    take(appended[1]!);
    await clock.advance(30_000);
    t.equal(appended.length, 2);
    stop.abort();
    await done;
  },
);

t.test("before a primary says who scrapes what, it hears what is scraped: once with each lease", async (t) => {
  const { clock, end, found, lease, remembered } = governor({ reads: true, targets: 3 });
  await clock.advance(1000);
  t.same(remembered, [], "nothing was, before the first generation");
  lease.token = 9;
  found.targets = found.targets.slice(1);
  await clock.advance(1000);
  t.same(
    remembered.map((targets) => targets.length),
    [3],
  );
  await clock.advance(5000);
  t.equal(remembered.length, 1);
  await end();
});

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

const s2 = { name: "s2", capacity: 1000 };

t.test(
  "a change is written as a difference, and after ten minutes of differences the whole is written again",
  async (t) => {
    const { appended, book, clock, end, found, written } = governor({ reads: true, targets: 200 });
    await clock.advance(1000);
    await clock.advance(300_000);
    t.same(written(), ["1/7 full"], "one that stands whole in the log stays as it is");
    found.living = [...found.living, s2];
    await clock.advance(1000);
    found.targets = found.targets.slice(5);
    await clock.advance(1000);
    t.same(written(), ["1/7 full", "2/7 delta", "3/7 delta"]);
    t.ok(appended[1]!.payload.length * 4 < appended[0]!.payload.length, "a quarter at most");
    await clock.advance(590_000);
    t.equal(appended.length, 3);
    await clock.advance(10_000);
    t.same(written().slice(3), ["3/7 full"]);
    t.same(decodeGeneration(appended[3]!.payload), book.newest);
    t.equal(book.newest!.targets.length, 195);
    await clock.advance(300_000);
    t.equal(appended.length, 4);
    t.same(
      book.summaries().map(({ changes, form, number }) => [number, form, changes]),
      [
        [3, "delta", { moved: 0, added: 0, removed: 5 }],
        [2, "delta", { moved: 100, added: 0, removed: 0 }],
        [1, "full", null],
      ],
    );
    await end();
  },
);

t.test("each segment of the log has a whole generation", async (t) => {
  const { appended, clock, end, found, log, read, written } = governor({ reads: true, targets: 200 });
  await clock.advance(1000);
  Object.assign(log, { stream: "dc-fra-1-2", lastSequence: 5 });
  await clock.advance(1000);
  t.equal(appended.length, 1, "what this primary has not read may have one");
  read.position = { stream: "dc-fra-1-2", created: "", sequence: 5 };
  await clock.advance(1000);
  t.same(written(), ["1/7 full", "1/7 full"]);
  t.not(appended[0]!.id, appended[1]!.id, "the log takes both");
  found.living = [...found.living, s2];
  await clock.advance(1000);
  t.same(written().slice(2), ["2/7 delta"]);
  Object.assign(log, { stream: "dc-fra-1-3", lastSequence: 1 });
  read.position = { stream: "dc-fra-1-3", created: "", sequence: 1 };
  found.living = [s2];
  await clock.advance(1000);
  t.same(written().slice(3), ["3/7 full"], "also when there is something new to say");
  await end();
});

t.test("under another lease the whole is a generation of its own, which says that it is nothing new", async (t) => {
  const { book, clock, end, lease, log, read, written } = governor({ reads: true, targets: 200 });
  await clock.advance(1000);
  lease.token = 9;
  await clock.advance(1000);
  t.equal(written().length, 1);
  log.stream = "dc-fra-1-2";
  read.position = { stream: "dc-fra-1-2", created: "", sequence: 4 };
  await clock.advance(1000);
  t.same(written(), ["1/7 full", "2/9 full"]);
  t.same(book.newest!.causes, [{ kind: "periodic", subject: "" }]);
  await end();
});

t.test("the whole is written again before the log drops it, by age or for room", async (t) => {
  const { clock, end, log, written } = governor({ reads: true, targets: 200 });
  await clock.advance(1000);
  await clock.advance(1_790_000);
  t.equal(written().length, 1);
  await clock.advance(10_000);
  t.same(written(), ["1/7 full", "1/7 full"]);
  log.lastSequence = 1000;
  await clock.advance(120_000);
  t.equal(written().length, 2, "nothing is dropped yet");
  log.firstSequence = 2;
  await clock.advance(120_000);
  t.same(written().slice(2), ["1/7 full"]);
  await end();
});

t.test("what changes with a reload of the topology file is told as its doing, and nothing else is", async (t) => {
  const { book, clock, end, found } = governor({ reads: true });
  await clock.advance(1000);
  const kinds = () => book.newest!.causes!.map(({ kind }) => kind);
  found.living = [...found.living, s2];
  found.reloads = 1;
  await clock.advance(1000);
  t.same(kinds(), ["reload", "joined"]);
  found.reloads = 2;
  await clock.advance(1000);
  found.living = [s2];
  await clock.advance(1000);
  t.same(kinds(), ["left"], "the reload before had changed nothing");
  await end();
});

t.test("a difference that is not read back is followed by a whole one", async (t) => {
  const { appended, clock, end, found, log, take, written } = governor({ reads: true, targets: 200 });
  await clock.advance(1000);
  log.reads = false;
  found.living = [...found.living, s2];
  await clock.advance(12_000);
  t.same(written(), ["1/7 full", "2/7 delta", "2/7 full"]);
  t.not(appended[1]!.id, appended[2]!.id);
  t.equal(take(appended[2]!).outcome, "taken");
  log.reads = true;
  found.living = [s2];
  await clock.advance(1000);
  t.same(written().slice(3), ["3/7 delta"]);
  await end();
});

t.test("of two generations with one number, secondaries get that of the newer lease", async (t) => {
  const clock = manualClock();
  const stop = new AbortController();
  const assignments = new Assignments({ datacenter: "fra", primary: "p1", secondaries: () => ["s1"], clock });
  const told: number[] = [];
  const served = assignments.serve(
    { datacenter: "fra", secondary: "s1", generation: 0, token: 0, takesDeltas: false },
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

// Whether it is the targets or this secondary: what is held, for how long, when it is a suspicion, and how each outcome is told.

import t, { type Test } from "tap";

import { silentLogger } from "#/lib/logger/logger.ts";
import type { ReachVerdict, Suspicion } from "#/lib/model/reach.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import type { ReachOrder } from "#/lib/wire/session.ts";
import { ReachJudge } from "#/secondary/reach/judge.ts";
import { ReachReporter } from "#/secondary/reach/reporter.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { MemoryPrimary } from "#/test/support/memory-primary.ts";

/** A judge of so many targets; `answers` says which are reached when they are asked. */
function judged(targets: number, answers: (id: number) => boolean = () => true) {
  const clock = manualClock();
  const told: string[] = [];
  const suspicions: (Suspicion | undefined)[] = [];
  const asked: number[] = [];
  const judge = new ReachJudge({
    clock,
    reachable: (max) => Math.min(max, targets),
    async ask(count, isHeld) {
      const others = Array.from({ length: targets }, (_, i) => i).filter((i) => !isHeld(`${i}`));
      asked.push(...others.slice(0, count));
      await clock.sleep(100);
      return others.slice(0, count).map(answers);
    },
    onSuspicion: (suspicion) => suspicions.push(suspicion),
  });
  return {
    clock,
    judge,
    told,
    suspicions,
    asked,
    fail: (id: number, slotMs = 1000) => judge.unreached(`${id}`, slotMs, (as) => told.push(`${id} ${as}`)),
    reach: (id: number) => judge.reached(`${id}`),
  };
}

t.test("one target that dies among many is told as failed two seconds later, and nobody is asked", async (t) => {
  const { asked, clock, fail, judge, reach, suspicions, told } = judged(100);
  for (let i = 1; i < 20; i++) reach(i);
  fail(0, 5000);
  t.equal(judge.held, 1);
  t.equal(judge.heldSinceMs(), 5000, "its slot has no outcome yet");
  for (let i = 0; i < 19; i++) {
    await clock.advance(100);
    reach(20 + i);
  }
  t.strictSame(told, []);
  await clock.advance(100);
  t.strictSame(told, ["0 failed"]);
  t.equal(judge.heldSinceMs(), Number.POSITIVE_INFINITY);
  t.strictSame([suspicions, asked], [[], []]);
});

t.test("when more than half fail together it is a suspicion, and all of it waits for the verdict", async (t) => {
  const verdicts: readonly (readonly [ReachVerdict, string, string])[] = [
    ["cut_off", "cut_off", "cut_off"],
    ["targets_down", "failed", "clear"],
    ["unknown", "failed", "clear"],
  ];
  for (const [verdict, as, state] of verdicts) {
    const { clock, fail, judge, reach, suspicions, told } = judged(100);
    for (let i = 0; i < 10; i++) reach(i);
    await clock.advance(3000);
    reach(10);
    reach(11);
    await clock.advance(100);
    const beganMs = clock.nowMs();
    for (let i = 20; i < 50; i++) {
      await clock.advance(20);
      fail(i, 1000 + i);
    }
    t.equal(suspicions.length, 1, "told once");
    const { failed, of, sample, sinceMs } = suspicions[0]!;
    t.strictSame([failed, of], [3, 5], "as soon as five have ended, of which more than half failed");
    t.strictSame(sample, ["20", "21", "22"]);
    t.equal(sinceMs, beganMs + 20);
    await clock.advance(5000);
    t.strictSame([told, judge.held, judge.heldSinceMs()], [[], 30, 1020]);
    judge.verdict(verdict);
    t.equal(told.length, 30);
    t.ok(told.every((each) => each.endsWith(as)));
    t.equal(judge.state, state);
    judge.close();
  }
});

t.test("five at least must have ended, or as many as there are; what is missing is asked at once", async (t) => {
  const dies = judged(40, () => true);
  dies.fail(0);
  await dies.clock.advance(2000);
  t.strictSame(dies.asked, [1, 2, 3, 4], "four more");
  await dies.clock.advance(200);
  t.strictSame([dies.told, dies.suspicions], [["0 failed"], []], "it alone is away");

  const cut = judged(3, () => false);
  cut.fail(0);
  await cut.clock.advance(2200);
  t.strictSame(cut.asked, [1, 2]);
  t.match(cut.suspicions, [{ failed: 3, of: 3, sample: ["0"] }]);
  t.strictSame(cut.told, []);

  const only = judged(1);
  only.fail(0);
  t.match(only.suspicions, [{ failed: 1, of: 1 }], "the only one is all of them");
});

t.test("when all are down, they are asked about every two seconds, and not for every few of them", async (t) => {
  const { clock, fail, judge, suspicions, told } = judged(2000);
  const answered: number[] = [];
  for (let i = 0; i < 1500; i++) {
    await clock.advance(10);
    fail(i);
    if (judge.state !== "suspected") continue;
    answered.push(suspicions.at(-1)!.failed);
    judge.verdict("targets_down");
  }
  t.strictSame(answered.slice(0, 3), [5, 200, 200]);
  t.equal(answered.length, 8, "in 15 s");
  judge.close();
  t.equal(told.length, 1500);
});

t.test("a target that answers again has its earlier slots told first", async (t) => {
  const { clock, fail, reach, told } = judged(100);
  for (let i = 1; i < 20; i++) reach(i);
  fail(0);
  await clock.advance(1000);
  reach(0);
  t.strictSame(told, ["0 failed"], "it was away for a moment");
});

t.test("while cut off, failures are told at once as such, until scrapes succeed or a primary says so", async (t) => {
  const { fail, judge, reach, suspicions, told } = judged(100);
  judge.verdict("cut_off");
  fail(1);
  t.strictSame(told, ["1 cut_off"]);
  for (let i = 0; i < 4; i++) reach(i);
  fail(2);
  for (let i = 0; i < 4; i++) reach(i);
  t.equal(judge.state, "cut_off", "four in a row are not enough");
  reach(5);
  t.equal(judge.state, "clear");
  t.strictSame(suspicions, [undefined]);
  judge.verdict("cut_off");
  judge.verdict("reachable");
  t.equal(judge.state, "clear");
});

t.test("without a verdict, what is held is told as failed after 12 s, and at the end at once", async (t) => {
  const { clock, fail, judge, told } = judged(5);
  for (let i = 0; i < 5; i++) fail(i);
  t.equal(judge.state, "suspected");
  await clock.advance(11_900);
  t.equal(told.length, 0);
  await clock.advance(200);
  t.equal(told.filter((each) => each.endsWith("failed")).length, 5);
  for (let i = 0; i < 5; i++) fail(i);
  judge.close();
  t.equal(told.length, 10);
  fail(1);
  t.equal(told.length, 11);
});

/** A secondary's word to a primary; the shards note what they hear. */
function reported(t: Test, options: { heard?: boolean; shards?: number } = {}) {
  const clock = manualClock();
  const primary = new MemoryPrimary("p1");
  const metrics = createRegistry({ tier: "secondary" });
  const heard = Array.from({ length: options.shards ?? 1 }, () => [] as ReachVerdict[]);
  const stop = new AbortController();
  const reporter: ReachReporter = new ReachReporter({
    datacenter: "fra",
    secondary: "s1",
    clock,
    log: silentLogger(),
    metrics,
    isHeard: () => options.heard ?? true,
    shards: () =>
      heard.map((verdicts, shard) => ({
        verdict(verdict) {
          verdicts.push(verdict);
          if (verdict !== "cut_off") reporter.suspects(shard, undefined);
        },
        probe: async ({ targets }) => targets.map(({ target }) => target.id),
      })),
  });
  const running = reporter.run(primary.connect(), stop.signal);
  t.teardown(async () => {
    stop.abort();
    reporter.close();
    await clock.advance(1);
    await running;
  });
  const order = async (verdict: string, sinceMs: number) => {
    primary.order({ verdict: { verdict, sinceMs } } as ReachOrder);
    await clock.advance(0);
  };
  return { clock, heard, metrics, order, primary, reporter };
}

const suspicion: Suspicion = { sinceMs: 7000, failed: 9, of: 10, sample: ["a"] };

t.test("a suspicion is told again until its verdict comes, which counts for all shards", async (t) => {
  const { clock, heard, order, primary, reporter } = reported(t, { shards: 2 });
  await clock.advance(10);
  t.match(primary.reachReports, [{ hello: { datacenter: "fra", secondary: "s1" } }]);
  reporter.suspects(1, suspicion);
  await clock.advance(4500);
  const told = primary.reachReports.flatMap(({ suspicion }) => suspicion ?? []);
  t.match(told, [suspicion, suspicion, suspicion]);
  await order("cut_off", 6000);
  t.strictSame(heard, [[], []], "one about an earlier suspicion says nothing of this one");
  await order("cut_off", 7000);
  t.strictSame(heard, [["cut_off"], ["cut_off"]]);
  t.ok(reporter.isCutOff);
  reporter.suspects(1, undefined);
  t.ok(reporter.isCutOff, "the other shard still is");
  await order("reachable", 7000);
  t.notOk(reporter.isCutOff);
  t.match(primary.reachReports.at(-1), { suspicion: { of: 0 } }, "and the primary hears that it is over");
});

t.test("without a primary's word it is unknown, and when no primary is heard either, we are cut off", async (t) => {
  for (const [isHeard, verdict] of [
    [true, "unknown"],
    [false, "cut_off"],
  ] as const) {
    const { clock, heard, metrics, reporter } = reported(t, { heard: isHeard });
    reporter.suspects(0, suspicion);
    await clock.advance(7900);
    t.strictSame(heard, [[]]);
    await clock.advance(200);
    t.strictSame(heard, [[verdict]]);
    t.equal(metrics.get("heliograph_secondary_reach_verdicts_total", { verdict }), 1);
  }
});

t.test(
  "who is greeted as cut off is so from the start, and a greeting takes nothing back that is suspected",
  async (t) => {
    const { heard, order, reporter, clock } = reported(t);
    await clock.advance(10);
    await order("cut_off", 0);
    t.strictSame(heard, [["cut_off"]]);
    await order("reachable", 0);
    t.strictSame(heard, [["cut_off", "reachable"]]);
    reporter.suspects(0, suspicion);
    await order("reachable", 0);
    t.strictSame(heard, [["cut_off", "reachable"]]);
  },
);

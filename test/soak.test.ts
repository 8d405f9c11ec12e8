import t from "tap";

import { hostileKinds, kinds } from "#/test/soak/hostile.ts";
import { countFailures, punctualityOf, slopeOf } from "#/test/soak/judge.ts";

t.test("the slope of memory is its growth, whatever goes up and down", (t) => {
  const looks = (of: (minute: number) => number) =>
    Array.from({ length: 241 }, (_, i) => ({ timeMs: 1e6 + i * 5000, residentBytes: of(i / 12) }));
  t.equal(Math.round(slopeOf(looks((minute) => 3e8 + 2e6 * minute))), 2_000_000);
  t.equal(Math.round(slopeOf(looks(() => 3e8))), 0);
  const sawtooth = slopeOf(looks((minute) => 3e8 + 5e7 * (minute % 1)));
  t.ok(Math.abs(sawtooth) < 300_000, `${sawtooth}`);
  t.equal(slopeOf([{ timeMs: 1, residentBytes: 5 }]), 0, "one look is no slope");
  t.end();
});

t.test("a failure has a name when it has a sentence and may come of its kind", (t) => {
  const counted = countFailures([
    { kind: "hang", outcome: "failed_timeout", error: "no answer within 10 s" },
    { kind: "hang", outcome: "failed_timeout", error: "no answer within 9.5 s" },
    { kind: "hang", outcome: "failed_timeout", error: "" },
    { kind: "hang", outcome: "failed_parse", error: "line 1: expected a metric name" },
    { kind: "slow", outcome: "stored", error: "" },
  ]);
  t.same(
    counted.map(({ isNamed, kind, outcome, seen, sentence }) => [kind, outcome, sentence, seen, isNamed]),
    [
      ["hang", "failed_timeout", "no answer within # s", 2, true],
      ["hang", "failed_timeout", "", 1, false],
      ["hang", "failed_parse", "line #: expected a metric name", 1, false],
      ["slow", "stored", "", 1, true],
    ],
  );
  t.end();
});

t.test("of fifty hostile targets each kind is there, and what is huge once", (t) => {
  const all = hostileKinds(50);
  t.equal(all.length, 50);
  for (const [name, kind] of Object.entries(kinds)) {
    const count = all.filter((each) => each === name).length;
    t.ok("isHuge" in kind ? count === 1 : count >= 3, `${name}: ${count}`);
  }
  t.equal(hostileKinds(1).length, 1);
  t.end();
});

t.test("a scrape is late or missing by itself, or because the machine was held up", (t) => {
  const intervalMs = 1000;
  const dueMs = (_target: number, arrivalMs: number) => Math.floor(arrivalMs / intervalMs) * intervalMs;
  const pauses = [{ fromMs: 4900, untilMs: 5400 }];
  const arrivals = [[1001, 2300, 3002, 4003, 5450, 6001], [1001, 2001, 4001, 5001], [3001, 6001], []];
  t.same(punctualityOf(arrivals, dueMs, { intervalMs, lateMs: 250, pauses }), {
    due: 15,
    late: 2,
    lateByMachine: 1,
    missing: 4,
    missingByMachine: 2,
    medianMs: 1,
    mostMs: 450,
  });
  t.end();
});

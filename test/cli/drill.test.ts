import t from "tap";
import { type Blow, judge, missingInExcess, reportText } from "#/cli/drill/account.ts";
import { countSlots, type ReadTarget, rowKey, type Sample } from "#/cli/drill/slots.ts";
import { fleetBody } from "#/cli/fleet/body.ts";
import { fleetValue } from "#/cli/fleet/values.ts";

const intervalMs = 5000;
const fleet = fleetBody(20).rows;
const beginMs = 1_790_000_000_000;
/** Slots are due at 1234 ms past a multiple of the interval. */
const dueMs = (slot: number) => beginMs + 1234 + slot * intervalMs;
const span = { fromMs: beginMs, untilMs: beginMs + 8 * intervalMs, intervalMs };

/** Target 7 as a perfect store would answer for it: eight slots, the body made 3 ms after each began. */
function perfect(slots: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7]): ReadTarget {
  const rows = new Map<string, Sample[]>();
  for (const row of fleet) {
    rows.set(
      rowKey(row),
      slots.map((slot) => [dueMs(slot), fleetValue(7, row, dueMs(slot) + 3)]),
    );
  }
  return { target: 7, up: slots.map((slot) => [dueMs(slot), 1]), rows };
}

t.test("a target whose every slot is stored and right has nothing to account for", async (t) => {
  t.same(countSlots(perfect(), fleet, span), {
    slots: 8,
    missingMs: [],
    doubledMs: [],
    failedMs: [],
    incomplete: [],
    wrong: [],
    compared: 160,
  });
});

t.test("missing slots are told by when they were due, also those after the last sample", async (t) => {
  const { missingMs } = countSlots(perfect([0, 1, 4, 5, 6]), fleet, span);
  t.same(missingMs, [dueMs(2), dueMs(3), dueMs(7)]);
  t.equal(countSlots({ target: 7, up: [], rows: new Map() }, fleet, span).missingMs.length, 7);
});

t.test("a scrape that began late still counts for its own slot, and a second one is double", async (t) => {
  const read = perfect();
  const late = {
    ...read,
    up: read.up.map(([timeMs, value]): Sample => (timeMs === dueMs(3) ? [timeMs + 4800, value] : [timeMs, value])),
  };
  t.same(countSlots(late, [], span).missingMs, []);
  const twice = { ...read, up: [...read.up, [dueMs(3) + 40, 1] as const].sort(([a], [b]) => a - b) };
  t.same(countSlots(twice, [], span).doubledMs, [dueMs(3) + 40]);
});

t.test("a value that is off by one bit, a lost row and a stray sample are each found", async (t) => {
  const key = 'fleet_request_duration_seconds_bucket{le="0.02"}';
  const samples = perfect().rows.get(key)!;
  const with_ = (changed: readonly Sample[]) => ({ ...perfect(), rows: new Map([...perfect().rows, [key, changed]]) });

  const wrong = countSlots(
    with_(samples.map(([timeMs, value], i) => [timeMs, i === 2 ? value + 1 : value])),
    fleet,
    span,
  );
  t.equal(wrong.wrong.length, 1);
  t.match(wrong.wrong[0], `${key} at ${dueMs(2)}: expected ${samples[2]![1]}, got ${samples[2]![1] + 1}`);

  const lost = countSlots(with_(samples.slice(1)), fleet, span);
  t.same(lost.incomplete, [`${key} at ${dueMs(0)} is missing`]);

  const stray = countSlots(with_([...samples, [dueMs(7) + 1, 5]]), fleet, span);
  t.same(stray.incomplete, [`${key} at ${dueMs(7) + 1} belongs to no stored scrape`]);
});

t.test("a slot that failed by its target is not missing, and has no rows", async (t) => {
  const read = perfect();
  const rows = new Map(
    [...read.rows].map(([key, samples]) => [key, samples.filter(([timeMs]) => timeMs !== dueMs(4))]),
  );
  const up = read.up.map(([timeMs, value]): Sample => [timeMs, timeMs === dueMs(4) ? 0 : value]);
  const counts = countSlots({ target: 7, up, rows }, fleet, span);
  t.same(counts.failedMs, [dueMs(4)]);
  t.same([counts.missingMs, counts.incomplete, counts.wrong], [[], [], []]);
});

t.test(
  "a missing slot is excused by the last blow before it, for the targets and as often as that blow may cost",
  async (t) => {
    const blow = (name: string, atMs: number, targets: number[], allowedSlots: number): Blow => ({
      name,
      what: "kill",
      atMs,
      downMs: 3000,
      allowedTargets: new Set(targets),
      allowedSlots,
    });
    const blows = [blow("ams-secondary-1", dueMs(2), [0], 1), blow("global-1", dueMs(5) + 1000, [], 0)];
    const missing = (slots: number[]) => ({ ...countSlots(perfect(), fleet, span), missingMs: slots.map(dueMs) });
    const judged = (...targets: number[][]) => judge({ blows, counts: targets.map(missing), intervalMs });

    t.same(judged([2], []).breaches, []);
    t.same(judged([1], []).breaches, [], "the scrape before the kill died with the process");
    t.same(judged([2, 3], []).breaches, ["ams-secondary-1: target 0 misses 2 slots, allowed are 1"]);
    t.same(judged([], [2]).breaches, ["ams-secondary-1: target 1 misses 1 slots, allowed are 0"]);
    t.same(judged([6], []).breaches, ["global-1: target 0 misses 1 slots, allowed are 0"]);
    t.same(judged([0], []).breaches, ["no blow: target 0 misses 1 slots, allowed are 0"]);
    t.equal(missingInExcess(blows, [[dueMs(2), dueMs(3)], [dueMs(6)]], intervalMs), 2);

    const double = { ...missing([]), doubledMs: [dueMs(6)] };
    t.same(judge({ blows, counts: [double], intervalMs }).breaches, ["global-1: 1 slots are there twice"]);
    const wrong = { ...missing([]), wrong: ["up at 1: expected 1, got 0"] };
    t.same(judge({ blows, counts: [wrong], intervalMs }).breaches, ["1 values are wrong"]);
    t.same(judge({ blows: [], counts: [], intervalMs }).breaches, ["no sample was there to compare"]);
  },
);

t.test("the report has a line a blow and both sums", async (t) => {
  const blows: Blow[] = [
    {
      name: "ams-secondary-1",
      what: "kill",
      atMs: dueMs(2),
      downMs: 3400,
      allowedTargets: new Set([0]),
      allowedSlots: 1,
    },
  ];
  const counts = [{ ...countSlots(perfect([0, 1, 3, 4, 5, 6, 7]), fleet, span) }];
  const text = reportText("global-1", blows, judge({ blows, counts, intervalMs }));
  t.equal(
    text,
    [
      "As global-1 tells it:",
      "                   down   slots missing  most a target  allowed  failed  doubled",
      "ams-secondary-1   3.4 s  1 of 1 targets              1    1 × 1       0        0",
      "before the first                      0              0        0       0        0",
      "8 slots, 140 samples compared: 0 wrong, 0 missing from stored scrapes",
    ].join("\n"),
  );
});

import { zstdDecompressSync } from "node:zlib";
import fc from "fast-check";
import t from "tap";
import { BadBatch, readBatchHeader } from "#/lib/codec/batch.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { RunEncoder, ScrapeTooLarge } from "#/lib/codec/encode.ts";
import { deflate, inflate } from "#/lib/codec/envelope.ts";
import { type DroppedRange, dropReasons } from "#/lib/model/dropped.ts";
import { layoutOf } from "#/lib/model/layout.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import {
  flushed,
  type TestValue,
  testColumn,
  testFacts,
  testLayout,
  testRun,
  testScrape,
  testTarget,
  type WrittenScrape,
  written,
  writtenValues,
} from "#/test/support/batches.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);

const one = testTarget("1");
const two = testTarget("2");
const ab = testLayout("a", "b");
const slot0 = 115_000_000;

function decoded(decoder: RunDecoder, bytes: Uint8Array) {
  const scrapes: WrittenScrape[] = [];
  const { header, samples, unreadable } = decoder.decode(bytes, (scrape) => scrapes.push(written(scrape)));
  return { header, scrapes, samples, unreadable, series: scrapes.map((scrape) => scrape.series.join(" ")) };
}

t.test("a scrape comes back with its target, facts, layout, values and timestamps", (t) => {
  const encoder = new RunEncoder(testRun);
  const facts = { seriesRefused: 2, seriesAdded: 1, outcome: "partial" as const, timestampMs: slot0 * 15_000 + 9201 };
  const own = [{ row: 1, timestampMs: slot0 * 15_000 - 60_000 }];
  const bytes = flushed(encoder, slot0, testScrape(one, ab, slot0, [1.5, undefined], facts, own));
  const result = decoded(new RunDecoder(testRun), bytes);
  t.same(result.scrapes, [
    {
      target: "11111111111111111111111111111111",
      labels: { instance: "host-1:9100", job: "node" },
      intervalMs: 15_000,
      facts: {
        slot: 115_000_000,
        generation: 3,
        outcome: "partial",
        timestampMs: 1_725_000_009_201,
        durationUs: 1234,
        bodyBytes: 5678,
        samplesScraped: 9,
        seriesRefused: 2,
        seriesAdded: 1,
      },
      layout: ab.id,
      series: ['a{row="a"} 1.5', 'b{row="b"} absent'],
      timestamps: [{ row: 1, timestampMs: 1_724_999_940_000 }],
    },
  ]);
  t.equal(result.samples, 1);
  t.equal(result.unreadable, 0);
  t.end();
});

t.test("the header tells what is in the batch without decompressing it", (t) => {
  const encoder = new RunEncoder(testRun);
  const bytes = flushed(encoder, slot0, testScrape(one, ab, slot0, [1, undefined]), testScrape(two, ab, slot0, [2, 3]));
  t.match(readBatchHeader(bytes), {
    ...testRun,
    sequence: 1,
    createdMs: 1_725_000_014_000,
    watermarkMs: 1_725_000_000_000,
    generation: 3,
    scrapes: 2,
    samples: 3,
  });
  t.equal(readBatchHeader(flushed(encoder, slot0 + 1, testScrape(one, ab, slot0 + 1, [1, 2]))).sequence, 2);
  t.end();
});

const droppedOnce: DroppedRange = {
  bootEpoch: testRun.bootEpoch,
  shard: 0,
  run: 1,
  from: 3,
  until: 5,
  reason: "age",
  scrapes: 30,
  slotsFromMs: slot0 * 15_000,
  slotsUntilMs: slot0 * 15_000 + 45_000,
};

/** A batch of the usual run with that sequence that tells of those. */
function telling(sequence: number, dropped: readonly DroppedRange[]): Uint8Array {
  const encoder = new RunEncoder(testRun);
  for (let i = 1; i < sequence; i++) flushed(encoder, slot0 + i, testScrape(one, ab, slot0 + i, [1, 2]));
  encoder.add(testScrape(one, ab, slot0 + sequence, [1, 2]));
  return encoder.flush({ nowMs: (slot0 + sequence) * 15_000, watermarkMs: 0, generation: 3, dropped })!.bytes;
}

t.test("any ranges of dropped batches come back with the batch that tells of them", (t) => {
  const whole = fc.nat({ max: 2 ** 40 });
  const range = fc
    .record({
      bootEpoch: whole,
      shard: fc.nat(64),
      run: whole,
      from: fc.integer({ min: 1, max: 2 ** 40 }),
      more: whole,
    })
    .chain(({ more, ...rest }) =>
      fc.record({ reason: fc.constantFrom(...dropReasons), scrapes: whole, first: whole, span: whole }).map((it) => ({
        ...rest,
        until: rest.from + more,
        reason: it.reason,
        scrapes: it.scrapes,
        slotsFromMs: it.first,
        slotsUntilMs: it.first + it.span,
      })),
    );
  fc.assert(
    fc.property(fc.array(range, { maxLength: 256 }), (ranges) => {
      const { dropped, scrapes } = new RunDecoder(testRun).decode(telling(1, ranges), () => {});
      t.same(dropped, ranges);
      t.equal(scrapes, 1);
    }),
    { seed, numRuns: 50 },
  );
  const encoder = new RunEncoder(testRun);
  encoder.add(testScrape(one, ab, slot0, [1, 2]));
  const many = Array.from({ length: 257 }, () => droppedOnce);
  t.throws(() => encoder.flush({ nowMs: slot0 * 15_000, watermarkMs: 0, generation: 3, dropped: many }));
  t.end();
});

t.test("ranges of dropped batches that cannot be are refused, and the batch with them", (t) => {
  const refused = (expected: RegExp, sequence: number, ...ranges: readonly DroppedRange[]) =>
    t.throws(() => new RunDecoder(testRun).decode(telling(sequence, ranges), () => {}), {
      code: "bad_structure",
      message: expected,
    });
  refused(/expected sequences from 1 on, got 0/, 1, { ...droppedOnce, from: 0 });
  refused(/expected sequences before 5, got 5/, 5, droppedOnce);
  t.same(new RunDecoder(testRun).decode(telling(6, [droppedOnce]), () => {}).dropped, [droppedOnce]);
  const later = testRun.bootEpoch + 1;
  refused(/expected a boot epoch up to 1700000000000, got 1700000000001/, 1, { ...droppedOnce, bootEpoch: later });
  refused(/expected whole numbers up to 2\^53 - 1/, 1, {
    ...droppedOnce,
    run: 2,
    from: 2 ** 53 - 1,
    until: 2 ** 53 + 6,
  });
  refused(/expected one of the reasons full, age, disk, refused/, 1, { ...droppedOnce, reason: "x" as "full" });
  t.end();
});

t.test("a batch without scrapes may tell of dropped ones, and the run goes on", (t) => {
  const encoder = new RunEncoder(testRun);
  const first = flushed(encoder, slot0, testScrape(one, ab, slot0, [1, 2]));
  const dropped = [{ ...droppedOnce, run: 7 }];
  const told = encoder.flush({ nowMs: slot0 * 15_000 + 5000, watermarkMs: 0, generation: 3, dropped })!;
  t.same([told.slotsFromMs, told.slotsUntilMs], [slot0 * 15_000 + 5000, slot0 * 15_000 + 5000]);
  const decoder = new RunDecoder(testRun);
  decoded(decoder, first);
  t.same(decoder.decode(told.bytes, () => t.fail("a scrape")).dropped, dropped);
  const next = flushed(encoder, slot0 + 1, testScrape(one, ab, slot0 + 1, [3, 4]));
  t.same(decoded(decoder, next).unreadable, 0);
  t.end();
});

t.test("a batch knows the times of its earliest and latest slots", (t) => {
  const encoder = new RunEncoder(testRun);
  for (const slot of [slot0 + 2, slot0, slot0 + 1]) encoder.add(testScrape(one, ab, slot, [1, 2]));
  const { slotsFromMs, slotsUntilMs } = encoder.flush({ nowMs: (slot0 + 3) * 15_000, watermarkMs: 0, generation: 3 })!;
  t.same([slotsFromMs, slotsUntilMs], [slot0 * 15_000 + 7300, slot0 * 15_000 + 37_300]);
  t.end();
});

t.test("nothing pending is no batch", (t) => {
  const encoder = new RunEncoder(testRun);
  const at = { nowMs: 1, watermarkMs: 1, generation: 1 };
  t.equal(encoder.flush(at), undefined);
  encoder.add(testScrape(one, ab, slot0, [1, 2]));
  t.equal(encoder.pendingScrapes, 1);
  t.ok(encoder.pendingBytes > 0);
  t.ok(encoder.flush(at));
  t.equal(encoder.pendingScrapes, 0);
  t.equal(encoder.pendingBytes, 0);
  t.equal(encoder.flush(at), undefined);
  t.end();
});

t.test("every double comes back bit for bit, whatever came before it", (t) => {
  const rows: [what: string, value: TestValue, expected: string][] = [
    ["zero", 0, "0"],
    ["minus zero", [0, 0x80000000], "-0"],
    ["infinity", [0, 0x7ff00000], "+Inf"],
    ["minus infinity", [0, 0xfff00000], "-Inf"],
    ["Prometheus' NaN", [1, 0x7ff80000], "NaN:7ff8000000000001"],
    ["the stale marker", [2, 0x7ff00000], "NaN:7ff0000000000002"],
    ["a NaN with every bit", [0xffffffff, 0xffffffff], "NaN:ffffffffffffffff"],
    ["the smallest", 5e-324, "5e-324"],
    ["the largest", Number.MAX_VALUE, "1.7976931348623157e+308"],
    ["the least", -Number.MAX_VALUE, "-1.7976931348623157e+308"],
    ["the largest mantissa", Number.MAX_SAFE_INTEGER, "9007199254740991"],
    ["the least mantissa", -Number.MAX_SAFE_INTEGER, "-9007199254740991"],
    ["17 digits", 0.1 + 0.2, "0.30000000000000004"],
    ["a large exponent", { m: 123, e: 125 }, "1.23e+127"],
    ["a small exponent", { m: -123, e: -125 }, "-1.23e-123"],
    ["hundredths", 12345.67, "12345.67"],
    ["tenths", 12345.6, "12345.6"],
    ["thousands", { m: 12, e: 3 }, "12000"],
    ["nothing", undefined, "absent"],
  ];
  const layout = testLayout("x");
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  let slot = slot0;
  for (const [whatBefore, before, expectedBefore] of rows) {
    for (const [what, value, expected] of rows) {
      // Three in a row: there, back and there again, so that each change is met in both directions and without a keyframe.
      const bytes = flushed(
        encoder,
        slot,
        testScrape(one, layout, slot, [before]),
        testScrape(one, layout, slot + 1, [value]),
      );
      const { series } = decoded(decoder, bytes);
      slot += 2;
      if (series[0] !== `x{row="x"} ${expectedBefore}` || series[1] !== `x{row="x"} ${expected}`) {
        t.fail(`${what} after ${whatBefore}: ${series.join(", ")}`);
      }
    }
  }
  t.pass(`${rows.length ** 2} pairs`);
  t.end();
});

t.test("any values in any order come back, through any flushes, layouts, failures and keyframes", (t) => {
  const decimal = fc.record({ m: fc.maxSafeInteger().map((m) => m + 0), e: fc.integer({ min: -125, max: 125 }) });
  const near = fc.record({ m: fc.integer({ min: -9999, max: 9999 }), e: fc.integer({ min: -4, max: 4 }) });
  const word = fc.integer({ min: 0, max: 0xffffffff });
  const value: fc.Arbitrary<TestValue> = fc.oneof(
    { weight: 6, arbitrary: near },
    { weight: 1, arbitrary: decimal },
    { weight: 1, arbitrary: fc.tuple(word, word) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
  const layouts = [testLayout(), testLayout("a"), testLayout("a", "b", "c"), testLayout("a", "b", "d")];
  const targets = [one, two, testTarget("3", 1000), testTarget("4", 600_000)];
  const step = fc.record({
    target: fc.nat(3),
    layout: fc.nat(3),
    changesLayout: fc.nat(9).map((n) => n === 0),
    values: fc.array(value, { minLength: 3, maxLength: 3 }),
    outcome: fc.constantFrom<Outcome>("stored", "stored", "stored", "partial", "failed_timeout", "missed_overload"),
    skips: fc.nat({ max: 30 }),
    flush: fc.nat(3).map((n) => n === 0),
    // Every fourth batch is lost, when batches are lost at all.
    lost: fc.nat(3).map((n) => n === 0),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, loses) => {
      const encoder = new RunEncoder(testRun);
      const decoder = new RunDecoder(testRun);
      const slots = [slot0, slot0, slot0 * 15, slot0 / 40];
      const present = [0, 1, 2, 3];
      let pending: string[] = [];
      for (const [i, { changesLayout, flush, lost, outcome, skips, target, values, ...step }] of steps.entries()) {
        if (changesLayout) present[target] = step.layout;
        const layout = layouts[present[target]!]!;
        slots[target]! += 1 + skips;
        const scrape = testScrape(targets[target]!, layout, slots[target]!, values.slice(0, layout.rows.length), {
          outcome,
        });
        encoder.add(scrape);
        const stored = outcome === "stored" || outcome === "partial";
        pending.push(
          `${targets[target]!.id} ${slots[target]} ${outcome} ${stored ? values.slice(0, layout.rows.length).map(expectedText) : ""}`,
        );
        if (!flush && i < steps.length - 1) continue;
        const batch = encoder.flush({ nowMs: slots[0]! * 15_000, watermarkMs: 0, generation: 5 })!;
        const expected = pending;
        pending = [];
        if (loses && lost) continue;
        const got: string[] = [];
        const { scrapes, unreadable } = decoder.decode(batch.bytes, ({ facts, target: { id }, values }) => {
          got.push(
            `${id} ${facts.slot} ${facts.outcome} ${facts.outcome.startsWith("f") || facts.outcome.startsWith("m") ? "" : writtenValues(values)}`,
          );
        });
        // Whatever is handed out is right, in order, and what is not is counted.
        if (scrapes !== got.length || scrapes + unreadable !== expected.length) return false;
        if (!loses && unreadable > 0) return false;
        let at = 0;
        for (const line of got) {
          while (at < expected.length && expected[at] !== line) at++;
          if (at++ === expected.length) return false;
        }
      }
      return true;
    }),
    { seed, numRuns: 400 },
  );
  t.pass("four hundred runs");
  t.end();
});

function expectedText(value: TestValue): string {
  if (value === undefined) return "absent";
  const number = new Float64Array(1);
  if (Array.isArray(value)) new Uint32Array(number.buffer).set(value as number[]);
  else if (typeof value === "object") number[0] = Number(`${(value as { m: number }).m}e${(value as { e: number }).e}`);
  return writtenValues(number)[0]!;
}

t.test("a hole hides a target until its next keyframe, and is counted", (t) => {
  const encoder = new RunEncoder(testRun);
  const batches: Uint8Array[] = [];
  for (let k = 0; k < 50; k++) {
    batches.push(
      flushed(encoder, slot0 + k, testScrape(one, ab, slot0 + k, [k, -k]), testScrape(two, ab, slot0 + k, [k, k])),
    );
  }
  const decoder = new RunDecoder(testRun);
  const readable = batches.map((bytes, k) => (k === 12 ? undefined : decoded(decoder, bytes)));
  t.ok(readable.slice(0, 12).every((result) => result!.unreadable === 0));
  t.same([readable[13]!.unreadable, readable[13]!.scrapes], [2, []], "right behind the hole nothing is readable");
  const whole = readable.findIndex((result, k) => k > 12 && result!.scrapes.length === 2);
  t.ok(whole <= 12 + 20, `readable again within 5 minutes, that is 20 slots: at slot ${whole}`);
  t.same(readable[whole]!.series, [
    `a{row="a"} ${whole} b{row="b"} ${-whole}`,
    `a{row="a"} ${whole} b{row="b"} ${whole}`,
  ]);
  t.ok(readable.slice(whole).every((result) => result!.scrapes.length === 2));
  t.end();
});

t.test("targets are keyframed once in five minutes of slot time, each at its own moment", (t) => {
  const layout = testLayout(..."abcdefghijklmnopqrstuvwxyz");
  const targets = Array.from({ length: 100 }, (_, i) => ({
    ...one,
    id: String(i)
      .padStart(32, "0")
      .replace(/^.{28}/, hashOf(i)),
  }));
  const encoder = new RunEncoder(testRun);
  const bytes: number[] = [];
  for (let k = 0; k < 61; k++) {
    for (const target of targets)
      encoder.add(
        testScrape(
          target,
          layout,
          slot0 + k,
          Array.from({ length: 26 }, (_, row) => row * 1e6 + k),
        ),
      );
    bytes.push(encoder.flush({ nowMs: (slot0 + k) * 15_000, watermarkMs: 0, generation: 3 })!.header.bodyBytes);
  }
  const steady = bytes.slice(1);
  const mean = steady.reduce((a, b) => a + b) / steady.length;
  t.ok(bytes[0]! > 3 * mean, "the first batch is all keyframes");
  t.ok(
    Math.max(...steady) < 1.5 * mean,
    `after it no batch stands out: at most ${Math.max(...steady)}, on average ${mean.toFixed(0)} bytes`,
  );
  t.end();
});

function hashOf(i: number): string {
  return (Math.imul(i + 1, 0x9e3779b1) >>> 0).toString(16).padStart(8, "0").repeat(4).slice(0, 28);
}

t.test("failed and missed scrapes have no values and disturb no reference", (t) => {
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  decoded(decoder, flushed(encoder, slot0, testScrape(one, ab, slot0, [1, 2])));
  const failed = decoded(
    decoder,
    flushed(encoder, slot0 + 1, testScrape(one, ab, slot0 + 1, [], { outcome: "failed_connect" })),
  );
  t.equal(failed.scrapes.length, 1);
  t.match(failed.scrapes[0], { facts: { slot: slot0 + 1, outcome: "failed_connect" }, series: [] });
  t.equal(failed.samples, 0);
  const missed = testScrape(one, ab, slot0 + 2, [], { outcome: "missed_overload" });
  const again = decoded(decoder, flushed(encoder, slot0 + 3, missed, testScrape(one, ab, slot0 + 3, [1, 3])));
  t.same(again.series, ["", 'a{row="a"} 1 b{row="b"} 3']);
  t.equal(again.unreadable, 0);
  t.end();
});

t.test("a failed scrape stays readable behind a hole, because it refers to nothing", (t) => {
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  decoded(decoder, flushed(encoder, slot0, testScrape(one, ab, slot0, [1, 2])));
  flushed(encoder, slot0 + 1, testScrape(one, ab, slot0 + 1, [1, 2]));
  const failed = testScrape(one, ab, slot0 + 2, [], { outcome: "failed_timeout" });
  const result = decoded(decoder, flushed(encoder, slot0 + 2, failed, testScrape(one, ab, slot0 + 3, [1, 2])));
  t.same(
    result.scrapes.map(({ facts }) => [facts.slot, facts.outcome]),
    [[slot0 + 2, "failed_timeout"]],
  );
  t.equal(result.unreadable, 1);
  t.end();
});

t.test("a change of layout is a keyframe, also within one batch", (t) => {
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  const abc = testLayout("a", "b", "c");
  const bytes = flushed(
    encoder,
    slot0 + 3,
    testScrape(one, ab, slot0, [1, 2]),
    testScrape(one, abc, slot0 + 1, [1, 2, 3]),
    testScrape(one, ab, slot0 + 2, [4, 5]),
    testScrape(one, ab, slot0 + 3, [4, 6]),
  );
  t.same(decoded(decoder, bytes).series, [
    'a{row="a"} 1 b{row="b"} 2',
    'a{row="a"} 1 b{row="b"} 2 c{row="c"} 3',
    'a{row="a"} 4 b{row="b"} 5',
    'a{row="a"} 4 b{row="b"} 6',
  ]);
  t.end();
});

t.test("layouts that come and go are forgotten on both sides at the same moment", (t) => {
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  for (let k = 0; k < 300; k++) {
    const layout = testLayout("a", `churn_${k % 7}`);
    const result = decoded(decoder, flushed(encoder, slot0 + k, testScrape(one, layout, slot0 + k, [k, 1])));
    if (result.series[0] !== `a{row="a"} ${k} churn_${k % 7}{row="churn_${k % 7}"} 1`) t.fail(result.series.join());
  }
  t.pass("300 changes of layout");
  t.end();
});

t.test("a target that was away for hours is announced anew", (t) => {
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  decoded(decoder, flushed(encoder, slot0, testScrape(one, ab, slot0, [1, 2]), testScrape(two, ab, slot0, [1, 2])));
  for (let k = 1; k < 600; k += 20)
    decoded(decoder, flushed(encoder, slot0 + k, testScrape(two, ab, slot0 + k, [k, k])));
  const back = decoded(decoder, flushed(encoder, slot0 + 600, testScrape(one, ab, slot0 + 600, [7, 8])));
  t.same(back.series, ['a{row="a"} 7 b{row="b"} 8']);
  t.end();
});

t.test("a target whose interval changes is another number in the run", (t) => {
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  const faster = { ...one, intervalMs: 5000 };
  const bytes = flushed(
    encoder,
    slot0,
    testScrape(one, ab, slot0, [1, 2]),
    testScrape(faster, ab, slot0 * 3, [1, 3], { timestampMs: 7 }),
  );
  const { scrapes } = decoded(decoder, bytes);
  t.same(
    scrapes.map(({ facts, intervalMs }) => [intervalMs, facts.slot, facts.timestampMs]),
    [
      [15_000, slot0, slot0 * 15_000],
      [5000, slot0 * 3, 7],
    ],
  );
  t.end();
});

t.test("a layout known from elsewhere need not be read again", (t) => {
  const encoder = new RunEncoder(testRun);
  flushed(encoder, slot0, testScrape(one, ab, slot0, [1, 2]));
  // Its first batch is lost; this one only names the layout, for a target that is new.
  const bytes = flushed(encoder, slot0 + 1, testScrape(two, ab, slot0 + 1, [3, 4]));
  t.equal(decoded(new RunDecoder(testRun), bytes).unreadable, 1);
  const knowing = new RunDecoder(testRun, { layoutOf: (id) => (id === ab.id ? ab : undefined) });
  t.same(decoded(knowing, bytes).series, ['a{row="a"} 3 b{row="b"} 4']);
  t.end();
});

t.test("the order of a run is kept: repeats, strangers and steps back are refused", (t) => {
  const encoder = new RunEncoder(testRun);
  const first = flushed(encoder, slot0, testScrape(one, ab, slot0, [1, 2]));
  const second = flushed(encoder, slot0 + 1, testScrape(one, ab, slot0 + 1, [1, 2]));
  const decoder = new RunDecoder(testRun);
  decoded(decoder, first);
  t.throws(() => decoded(decoder, first), { name: "BadBatch", code: "out_of_order" });
  decoded(decoder, second);
  t.throws(() => decoded(decoder, first), { code: "out_of_order" });
  t.equal(decoder.sequence, 2);
  t.throws(() => decoded(new RunDecoder({ ...testRun, run: 2 }), first), {
    code: "wrong_run",
    message: /expected a batch of dc1\/s1\/1700000000000\/0\/2, got one of dc1\/s1\/1700000000000\/0\/1/,
  });
  t.end();
});

t.test("what is added beyond one batch becomes several, and only the last brings the watermark", (t) => {
  const encoder = new RunEncoder(testRun);
  const layout = testLayout(...Array.from({ length: 60_000 }, (_, i) => `m${i}`));
  const values = Array.from({ length: 60_000 }, (_, i) => i * 1_000_003 + 0.5);
  const digits = "123456789abcdef";
  for (const digit of digits) encoder.add(testScrape(testTarget(digit), layout, slot0, values));
  const decoder = new RunDecoder(testRun);
  const batches = [];
  for (;;) {
    const batch = encoder.flush({ nowMs: slot0 * 15_000, watermarkMs: 99, generation: 3 });
    if (!batch) break;
    batches.push(batch);
  }
  t.ok(batches.length >= 2, `${batches.length} batches`);
  t.same(
    batches.map((batch) => batch.header.watermarkMs),
    [...batches.slice(1).map(() => 0), 99],
  );
  t.ok(batches.every((batch) => batch.bytes.length <= 4 * 1024 * 1024));
  let scrapes = 0;
  for (const batch of batches)
    scrapes += decoder.decode(batch.bytes, ({ values: got }) => t.equal(got[59_999], values[59_999])).scrapes;
  t.equal(scrapes, digits.length);
  t.end();
});

t.test("a scrape that fits into no batch is refused, and the run goes on", (t) => {
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  decoded(decoder, flushed(encoder, slot0, testScrape(one, ab, slot0, [1, 2])));
  // Random bits: ten bytes a row, and half a million rows.
  const rows = Array.from({ length: 500_000 }, () => ({ name: "m", labels: [], kind: "float" as const, family: 0 }));
  const layout = layoutOf(rows, [{ name: "m", type: "gauge", help: "", unit: "" }]);
  const column = testColumn(rows.map((_, i) => [Math.imul(i, 0x9e3779b1) >>> 0, 0xc0000000 | i]));
  t.throws(
    () => encoder.add({ target: one, facts: testFacts(slot0 + 1), layout, values: column, timestamps: [] }),
    ScrapeTooLarge,
  );
  const { series } = decoded(decoder, flushed(encoder, slot0 + 2, testScrape(one, ab, slot0 + 2, [1, 3])));
  t.same(series, ['a{row="a"} 1 b{row="b"} 3']);
  t.end();
});

t.test("a batch that is refused changes nothing: the next one still refers to the one before", (t) => {
  const encoder = new RunEncoder(testRun);
  const decoder = new RunDecoder(testRun);
  decoded(decoder, flushed(encoder, slot0, testScrape(one, ab, slot0, [1, 2])));
  const bytes = flushed(encoder, slot0 + 1, testScrape(one, ab, slot0 + 1, [1, 3]));
  for (let i = 0; i < bytes.length; i++) {
    const broken = Uint8Array.from(bytes);
    broken[i]! ^= 1 << (i & 7);
    t.throws(() => decoded(decoder, broken), BadBatch);
    if (i > 0) t.throws(() => decoded(decoder, bytes.subarray(0, i)), BadBatch);
  }
  t.same(decoded(decoder, bytes).series, ['a{row="a"} 1 b{row="b"} 3']);
  t.end();
});

t.test("each kind of damage has its code and says what was expected", (t) => {
  const bytes = flushed(new RunEncoder(testRun), slot0, testScrape(one, ab, slot0, [1, 2]));
  const changed = (at: number, value: number) => Uint8Array.from(bytes, (byte, i) => (i === at ? value : byte));
  const refused = (broken: Uint8Array, code: string, message: RegExp) =>
    t.throws(() => readBatchHeader(broken), { name: "BadBatch", code, message });
  refused(new Uint8Array(0), "truncated", /expected at least 12 bytes, got 0/);
  refused(changed(0, 0x78), "bad_magic", /expected the magic "HGBT", got the bytes 78474254/);
  refused(changed(4, 2), "bad_version", /expected version 1, got 2/);
  refused(changed(20, bytes[20]! ^ 1), "bad_checksum", /expected CRC-32 [0-9a-f]{8} of what is there, got [0-9a-f]{8}/);
  refused(new Uint8Array(4 * 1024 * 1024 + 1), "too_large", /expected at most 4194304 bytes, got 4194305/);
  t.end();
});

t.test("a small body is stored as it is, in a frame that any zstd reads", (t) => {
  const refuse = (code: string, _offset: number, message: string) => new Error(`${code}: ${message}`);
  for (const length of [0, 1, 31, 32, 255, 256, 1000]) {
    const plain = Uint8Array.from({ length }, (_, i) => i * 31);
    const frame = deflate(plain, 1);
    t.same(new Uint8Array(zstdDecompressSync(frame)), plain, `${length} bytes`);
    t.same(new Uint8Array(inflate(frame, length, "body", refuse as never)), plain);
    if (length <= 255) t.equal(frame.length, length + 9);
  }
  const other = deflate(Uint8Array.of(1, 2, 3), 1);
  t.throws(() => inflate(other, 4, "body", refuse as never), { message: /^bad_compression/ });
  t.throws(() => inflate(other.with(7, 1), 3, "body", refuse as never), { message: /^bad_compression/ });
  t.end();
});

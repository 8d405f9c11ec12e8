import fc from "fast-check";
import t from "tap";
import { DecimalColumn, parseDecimal, rawExponent, setNumber } from "#/lib/model/decimal.ts";
import { partOf } from "#/lib/model/generation.ts";
import { batchKey, runKey } from "#/lib/model/identity.ts";
import { compareText, labelsKey, labelsOf, labelsRecord, labelValue, mergeLabels } from "#/lib/model/labels.ts";
import { layoutEmpty, layoutOf, metricTypes, sampleKinds } from "#/lib/model/layout.ts";
import { isFailed, isStored, outcomes, outranks } from "#/lib/model/outcome.ts";
import { phaseMs, slotAt, slotTimeMs, targetId } from "#/lib/model/target.ts";
import { decimalValue, formatValue, isAbsent, isStale, setAbsent, setStale, wordsOf } from "#/lib/model/value.ts";
import { goldenGeneration } from "#/test/support/golden.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);

/** What a text is read as: mantissa and exponent, or the words of a raw double, or nothing. */
function parsed(text: string): string {
  const column = new DecimalColumn(2);
  // Neighbours must not matter.
  const bytes = new TextEncoder().encode(`9${text}9`);
  if (!parseDecimal(bytes, 1, bytes.length - 1, column, 1)) return "no number";
  if (column.exponents[1] !== rawExponent) return `${column.mantissas[1]}e${column.exponents[1]}`;
  return `raw ${column.rawWords[3]!.toString(16).padStart(8, "0")}${column.rawWords[2]!.toString(16).padStart(8, "0")}`;
}

t.test("a value's text is read as Go's ParseFloat reads it", (t) => {
  for (const [text, expected] of [
    ["0", "0e0"],
    ["1", "1e0"],
    ["+1", "1e0"],
    ["-17", "-17e0"],
    ["12345.67", "1234567e-2"],
    ["5.0", "5e0"],
    ["5.500", "55e-1"],
    ["5.", "5e0"],
    [".5", "5e-1"],
    ["100", "100e0"],
    ["0.00", "0e0"],
    ["1e5", "1e5"],
    ["1E+5", "1e5"],
    ["1.234567e+09", "1234567e3"],
    ["2.5e-06", "25e-7"],
    ["007", "7e0"],
    ["0e999999999999", "0e0"],
    ["9007199254740991", "9007199254740991e0"],
    // Beyond 2^53 − 1 the bits are kept: 2^53 = 0x4340000000000000.
    ["9007199254740992", "raw 4340000000000000"],
    ["9007199254740993", "raw 4340000000000000"],
    ["0.30000000000000004", "raw 3fd3333333333334"],
    ["100000000000000000000", "1e20"],
    ["1000000.0000000000000000", "1000000e0"],
    ["-0", "raw 8000000000000000"],
    ["-0.0e5", "raw 8000000000000000"],
    ["1e-400", "0e0"],
    ["-1e-400", "raw 8000000000000000"],
    ["5e-324", "raw 0000000000000001"],
    ["1.7976931348623157e308", "raw 7fefffffffffffff"],
    ["NaN", "raw 7ff8000000000001"],
    ["nan", "raw 7ff8000000000001"],
    ["Inf", "raw 7ff0000000000000"],
    ["+Inf", "raw 7ff0000000000000"],
    ["-inf", "raw fff0000000000000"],
    ["+INFINITY", "raw 7ff0000000000000"],
  ] as const) {
    t.equal(parsed(text), expected, text);
  }
  t.end();
});

t.test("what Prometheus refuses is no number", (t) => {
  const texts = [
    "",
    " ",
    " 1",
    "1 ",
    "+",
    "-",
    ".",
    "e5",
    "1e",
    "1e+",
    "1e5.",
    "1.2.3",
    "--1",
    "+-1",
    "1,5",
    "abc",
    "infinit",
  ];
  // Numbers since Go 1.13, but not in expositions: "unsupported character in float" (model/textparse/promparse.go).
  const newer = ["0x1p-2", "0x10", "1_000"];
  // Out of range is an error in Go, and so it is in Prometheus.
  const outside = ["1e400", "-1e309", "1.7976931348623159e308"];
  for (const text of [...texts, ...newer, ...outside, "+NaN", "-nan", "nan1", "1\0", "٣"])
    t.equal(parsed(text), "no number", JSON.stringify(text));
  t.end();
});

t.test("every text of a number has the value that JavaScript gives it", (t) => {
  const value = fc.double({ noNaN: true, noDefaultInfinity: true });
  const text = fc.oneof(
    value.map(String),
    value.map((v) => v.toExponential()),
    fc.tuple(value, fc.integer({ min: 1, max: 30 })).map(([v, digits]) => v.toPrecision(digits)),
    fc.tuple(fc.bigInt(), fc.integer({ min: -340, max: 340 })).map(([m, e]) => `${m}e${e}`),
    fc.tuple(fc.bigInt({ min: 0n }), fc.bigInt({ min: 0n })).map(([a, b]) => `${a}.${b}`),
  );
  const column = new DecimalColumn(1);
  fc.assert(
    fc.property(text, (text) => {
      const bytes = new TextEncoder().encode(text);
      const expected = Number(text);
      if (!parseDecimal(bytes, 0, bytes.length, column, 0)) return !Number.isFinite(expected);
      return Object.is(valueIn(column, 0), expected);
    }),
    { seed, numRuns: 5000 },
  );
  t.pass("five thousand texts");
  t.end();
});

function valueIn(column: DecimalColumn, row: number): number {
  if (column.exponents[row] === rawExponent) return column.raw[row]!;
  return decimalValue(column.mantissas[row]!, column.exponents[row]!);
}

t.test("a number set is the number got, as a decimal wherever one holds it", (t) => {
  const column = new DecimalColumn(1);
  fc.assert(
    fc.property(fc.double(), (value) => {
      setNumber(column, 0, value);
      return Object.is(valueIn(column, 0), value);
    }),
    { seed, numRuns: 2000 },
  );
  setNumber(column, 0, 0.1);
  t.same([column.mantissas[0], column.exponents[0]], [1, -1]);
  setNumber(column, 0, -1234.5678);
  t.same([column.mantissas[0], column.exponents[0]], [-12345678, -4]);
  t.end();
});

t.test("a column keeps what is in it when it grows", (t) => {
  const column = new DecimalColumn(1);
  column.setRaw(0, 2, 0x7ff00000);
  column.reserve(2);
  column.setDecimal(1, 5, -1);
  column.reserve(100);
  t.same([column.rawWords[0], column.rawWords[1], column.exponents[0]], [2, 0x7ff00000, 127]);
  t.equal(valueIn(column, 1), 0.5);
  column.setAbsent(1);
  t.equal(column.exponents[1], 126);
  t.end();
});

t.test("decimals are the nearest doubles", (t) => {
  t.equal(decimalValue(1234567, -2), 12345.67);
  t.equal(decimalValue(3, -1), 0.3);
  t.equal(decimalValue(1, 22), 1e22);
  t.equal(decimalValue(1, 23), 1e23);
  t.equal(decimalValue(9007199254740991, -22), 9.007199254740991e-7);
  t.equal(decimalValue(123, -125), 1.23e-123);
  t.end();
});

t.test("values are shown as Prometheus shows them", (t) => {
  for (const [value, text] of [
    [0, "0"],
    [-0, "-0"],
    [1.5, "1.5"],
    [1e20, "100000000000000000000"],
    [1e21, "1e+21"],
    [0.000001, "0.000001"],
    [1e-7, "1e-07"],
    [1.5e300, "1.5e+300"],
    [Number.POSITIVE_INFINITY, "+Inf"],
    [Number.NEGATIVE_INFINITY, "-Inf"],
    [Number.NaN, "NaN"],
  ] as const) {
    t.equal(formatValue(value), text);
  }
  t.end();
});

t.test("stale and absent are told apart by their bits", (t) => {
  const values = new Float64Array(3);
  const words = wordsOf(values);
  values[0] = Number.NaN;
  setStale(words, 1);
  setAbsent(words, 2);
  t.ok(values.every(Number.isNaN));
  t.same(
    [0, 1, 2].map((i) => isStale(words, i)),
    [false, true, false],
  );
  t.same(
    [0, 1, 2].map((i) => isAbsent(words, i)),
    [false, false, true],
  );
  // Prometheus' model/value: StaleNaN = 0x7ff0000000000002.
  t.same([words[2], words[3]], [0x00000002, 0x7ff00000]);
  t.end();
});

t.test("labels are sorted by bytes, and empty ones are none", (t) => {
  t.same(labelsOf({ b: "2", a: "1", c: "" }), [
    ["a", "1"],
    ["b", "2"],
  ]);
  // U+FF61 comes before U+10000 in UTF-8, and behind it in UTF-16.
  t.same(
    labelsOf({ "\u{10000}": "x", "\uff61": "y" }).map(([name]) => name),
    ["\uff61", "\u{10000}"],
  );
  t.equal(compareText("a", "a"), 0);
  t.equal(compareText("a", "ab"), -1);
  t.equal(compareText("ab", "a"), 1);
  t.equal(compareText("B", "a"), -1);
  t.equal(labelValue(labelsOf({ job: "node" }), "job"), "node");
  t.equal(labelValue(labelsOf({ job: "node" }), "instance"), "");
  t.same(labelsRecord(labelsOf({ b: "2", a: "1" })), { a: "1", b: "2" });
  t.end();
});

t.test("text is compared as its UTF-8 bytes are", (t) => {
  const text = fc.string({ unit: "binary", maxLength: 5 });
  fc.assert(
    fc.property(text, text, (a, b) => Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))) === compareText(a, b)),
    { seed, numRuns: 2000 },
  );
  t.pass("two thousand pairs");
  t.end();
});

t.test("different label sets have different keys", (t) => {
  t.not(
    labelsKey([
      ["a", "b"],
      ["c", "d"],
    ]),
    labelsKey([["a", "b1:c1:d"]]),
  );
  t.not(labelsKey([["ab", "c"]]), labelsKey([["a", "bc"]]));
  t.equal(labelsKey(labelsOf({ a: "1", b: "2" })), labelsKey(labelsOf({ b: "2", a: "1" })));
  t.end();
});

t.test("a row's labels win over its target's, and an empty one takes the target's away", (t) => {
  const target = labelsOf({ instance: "h:9100", job: "node", datacenter: "dc1" });
  t.same(
    labelsRecord(
      mergeLabels(
        target,
        [
          ["instance", ""],
          ["job", "push"],
          ["le", "1"],
        ],
        "m_bucket",
      ),
    ),
    {
      __name__: "m_bucket",
      datacenter: "dc1",
      job: "push",
      le: "1",
    },
  );
  t.end();
});

t.test("ids are hashes of the content and stay what they are", (t) => {
  t.equal(layoutEmpty.id, "96a296d224f285c67bee93c30f8a3091", "SHA-256 of two zero bytes");
  const family = { name: "up", type: "gauge", help: "", unit: "" } as const;
  const row = { name: "up", labels: [["a", "b"]], kind: "float", family: 0 } as const;
  t.equal(layoutOf([row], [family]).id, layoutOf([{ ...row }], [{ ...family }]).id);
  t.not(layoutOf([row], [family]).id, layoutOf([row], [{ ...family, type: "counter" }]).id);
  t.not(layoutOf([row], [family]).id, layoutOf([{ ...row, labels: [] }], [family]).id);
  const target = { job: "node", url: "http://h:9100/metrics", labels: labelsOf({ job: "node" }) };
  t.equal(targetId(target), targetId({ ...target }));
  t.match(targetId(target), /^[0-9a-f]{32}$/);
  t.not(targetId(target), targetId({ ...target, job: "nod", url: "ehttp://h:9100/metrics" }));
  t.end();
});

t.test("slots begin at the target's phase and are an interval long", (t) => {
  // 0x000000003039 = 12345.
  const target = { id: "000000003039ffffffffffffffffffff", intervalMs: 10_000 };
  t.equal(phaseMs(target.id, 10_000), 2300);
  t.equal(slotTimeMs(target, 7), 72_300);
  t.equal(slotAt(target, 72_300), 7);
  t.equal(slotAt(target, 72_299), 6);
  t.equal(slotAt(target, 82_299.9), 7);
  t.end();
});

t.test("phases lie on a grid of a hundredth of the interval, of 100 ms at most", (t) => {
  const id = "000000003039ffffffffffffffffffff";
  t.equal(phaseMs(id, 1000), 340, "345 on a grid of 10 ms");
  t.equal(phaseMs(id, 5000), 2300, "2345 on a grid of 50 ms");
  t.equal(phaseMs(id, 3_600_000), 12_300, "12345 on a grid of 100 ms");
  t.equal(phaseMs(id, 1234), 0, "5 on a grid of 12 ms");
  t.equal(phaseMs(id, 70), 25, "25 on a grid of 1 ms");
  t.end();
});

t.test("phases spread over the interval", (t) => {
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const id = targetId({ job: "node", url: `http://10.0.${i >> 8}.${i & 255}:9100/metrics`, labels: [] });
    counts[Math.floor(phaseMs(id, 15_000) / 1500)]! += 1;
  }
  t.ok(Math.min(...counts) > 850 && Math.max(...counts) < 1150, counts.join(" "));
  t.end();
});

t.test("of two outcomes of a slot the stored one wins, else the higher generation", (t) => {
  const of = (outcome: (typeof outcomes)[number], generation: number) => ({ outcome, generation });
  t.ok(outranks(of("stored", 1), of("failed_timeout", 9)));
  t.notOk(outranks(of("failed_timeout", 9), of("partial", 1)));
  t.ok(outranks(of("stored", 2), of("partial", 1)));
  t.ok(outranks(of("partial", 2), of("stored", 1)));
  t.ok(outranks(of("missed_down", 2), of("failed_timeout", 1)));
  t.notOk(outranks(of("stored", 1), of("stored", 1)), "the first stays");
  t.end();
});

t.test("numbers that stand in our formats never change", (t) => {
  t.same(outcomes.slice(0, 3), ["stored", "partial", "failed_timeout"]);
  t.equal(outcomes.indexOf("missed_overload"), 11);
  t.equal(outcomes.indexOf("superseded"), 14);
  t.equal(outcomes.indexOf("failed_name"), 16);
  t.equal(outcomes.indexOf("failed_credentials"), 17);
  t.equal(outcomes.indexOf("missed_cut_off"), 18);
  t.same(outcomes.filter(isStored), ["stored", "partial"]);
  t.equal(outcomes.filter(isFailed).length, 12);
  t.same(
    [...metricTypes],
    ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"],
  );
  t.same([...sampleKinds], ["float", "histogram"]);
  t.end();
});

t.test("runs and batches have one name each", (t) => {
  const batch = { datacenter: "dc1", secondary: "s1", bootEpoch: 17, shard: 0, run: 2, sequence: 9 };
  t.equal(runKey(batch), "dc1/s1/17/0/2");
  t.equal(batchKey(batch), "dc1/s1/17/0/2/9");
  t.end();
});

t.test("a secondary's part of a generation is its own targets", (t) => {
  const part = partOf(goldenGeneration(), "dc1-s2");
  t.same(
    part.targets.map(({ target }) => target.id),
    ["ffffffffffffffffffffffffffffffff"],
  );
  t.equal(part.number, 42);
  t.equal(partOf(goldenGeneration(), "nobody").targets.length, 0);
  t.end();
});

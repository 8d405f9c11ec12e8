import { readFileSync } from "node:fs";

import fc from "fast-check";
import t from "tap";

import { ColumnKernel } from "#/lib/codec/kernel/column.ts";
import { columnBytesMax, Reference } from "#/lib/codec/values.ts";
import { DecimalColumn, parseDecimal } from "#/lib/model/decimal.ts";
import { type WalkedShape, WalkKernel } from "#/secondary/scrape/kernel/walk.ts";
import { buildKernel, kernelFile, kernelSources } from "#/test/support/kernels.ts";
import { writeColumnPlainly } from "#/test/support/plain-column.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);

for (const source of kernelSources) {
  t.test(`the WebAssembly that is committed is what ${source} gives`, async (t) => {
    const built = await buildKernel(source);
    t.ok(Buffer.from(built).equals(readFileSync(kernelFile(source))), "if not, run `make kernels`");
  });
}

/** A body of these lines, each with its head known, is walked: what the kernel says, and where. */
function walkOne(kernel: WalkKernel, tail: string, row = 0) {
  const heads = Buffer.from("some_metric ");
  const shape: WalkedShape = {
    heads,
    headEnds: Uint32Array.of(heads.length),
    rowOf: Int32Array.of(row),
  };
  kernel.load(Buffer.from(`some_metric ${tail}`));
  kernel.begin(shape);
  return kernel.walk(true);
}

const kernel = new WalkKernel(100);

t.test("what the kernel reads it reads as decimal.ts does, and what it does not it leaves", (t) => {
  const column = new DecimalColumn(1);
  const digits = fc.string({ unit: fc.constantFrom(..."0123456789"), minLength: 0, maxLength: 20 });
  const decimal = fc
    .tuple(
      fc.constantFrom("", "-", "+"),
      digits,
      fc.constantFrom("", ".", ".0", ".50", ".000"),
      digits,
      fc.constantFrom("", "e5", "e-7", "E+03", "e", "e+", "e300", "e-300", "e00000012", "x"),
    )
    .map((parts) => parts.join(""));
  const text = fc.oneof(
    decimal,
    fc.double().map(String),
    fc.constantFrom("NaN", "nan", "+Inf", "-Inf", "inf", "Infinity", "0x1p3", "1_000", "", "-", "1 2", "N", "Na"),
  );
  let read = 0;
  fc.assert(
    fc.property(text, (value) => {
      const end = walkOne(kernel, `${value}\n`);
      const bytes = Buffer.from(value);
      const isNumber = parseDecimal(bytes, 0, bytes.length, column, 0);
      if (end === "left") return; // TypeScript reads it.
      read++;
      if (value === "1 2") return; // With a timestamp.
      if (end !== "done" || !isNumber)
        throw new Error(`${value}: ${end}, though it is ${isNumber ? "a" : "no"} number`);
      const { exponents, mantissas, rawWords } = kernel.values;
      if (exponents[0] !== column.exponents[0]) throw new Error(`${value}: exponent ${exponents[0]}`);
      if (!Object.is(mantissas[0], column.mantissas[0])) throw new Error(`${value}: mantissa ${mantissas[0]}`);
      if (exponents[0] === 127 && (rawWords[0] !== column.rawWords[0] || rawWords[1] !== column.rawWords[1])) {
        throw new Error(`${value}: other bits`);
      }
    }),
    { seed, numRuns: 5000 },
  );
  t.ok(read > 1000, `${read} of 5000 were not left`);
  t.end();
});

t.test("the kernel itself reads what nearly every line has", (t) => {
  for (const value of ["0", "1.79e+09", "-12.50", "9007199254740991", "0.001", "NaN", "-0", "5.0", "1e-9", "+3"]) {
    t.equal(walkOne(kernel, `${value}\n`), "done", value);
  }
  t.equal(walkOne(kernel, "12.5 1700000000123\n"), "done", "a timestamp");
  t.same([kernel.timestampCount, kernel.timestampRows[0], kernel.timestampsMs[0]], [1, 0, 1_700_000_000_123]);
  t.equal(walkOne(kernel, "12.5 -7\n"), "done", "a timestamp before 1970");
  t.equal(kernel.timestampsMs[0], -7);
  t.end();
});

t.test("what is odd is left, with the place where the value begins", (t) => {
  for (const value of ["12 ", "12", "1\t2", "12 5 ", "12 # {} 1", "9007199254740992", "1e99999", "+Inf", "1.", "--1"]) {
    const end = walkOne(kernel, value === "1." ? "1.x\n" : `${value}${value === "12" ? "" : "\n"}`);
    t.equal(end, "left", value);
    t.equal(kernel.at, "some_metric ".length);
    t.equal(kernel.line, 0);
  }
  t.end();
});

t.test("a walk goes on behind what was left, and differs where the body does", (t) => {
  const texts = ["a 1\n", "b +Inf\n", 'c{x="0123456789abcdefghij"} 3\n', "# TYPE d counter\n", "d 4\n"];
  const heads = ["a ", "b ", 'c{x="0123456789abcdefghij"} ', "# TYPE d counter\n", "d "];
  let at = 0;
  const shape = {
    heads: Buffer.from(heads.join("")),
    headEnds: Uint32Array.from(heads, (head) => (at += head.length)),
    rowOf: Int32Array.of(0, 1, -2, -1, 2),
  };
  const body = texts.join("");
  kernel.load(Buffer.from(body));
  kernel.begin(shape);
  t.equal(kernel.walk(false), "left");
  t.same([kernel.line, kernel.at], [1, 6]);
  kernel.resume(body.indexOf("c{"));
  t.equal(kernel.walk(false), "done");
  t.same([kernel.values.mantissas[0], kernel.values.mantissas[2]], [1, 4]);
  for (let i = 0; i < body.length; i++) {
    const isLeft = i >= body.indexOf("+Inf") && i <= body.indexOf("c{") - 1;
    if (isLeft || ("0123456789".includes(body[i]!) && body[i - 1] === " ")) continue;
    const changed = Buffer.from(body);
    changed[i]! ^= 1;
    kernel.load(changed);
    kernel.begin(shape);
    let end = kernel.walk(false);
    if (end === "left" && kernel.line === 1) {
      kernel.resume(body.indexOf("c{"));
      end = kernel.walk(false);
    }
    t.not(end, "done", `byte ${i} is another`);
  }
  for (const cut of [body.slice(0, -1), `${body}x`, `${body}a 1\n`, ""]) {
    kernel.load(Buffer.from(cut));
    kernel.begin(shape);
    if (kernel.walk(false) === "left" && kernel.line === 1) kernel.resume(body.indexOf("c{"));
    t.not(kernel.walk(false), "done");
  }
  t.end();
});

t.test("shapes come back after there was no room for all of them", (t) => {
  const many = Array.from({ length: 30 }, (_, i) => {
    const heads = new Uint8Array(2 * 1024 * 1024).fill(97 + (i % 26));
    heads[0] = i;
    return { heads, headEnds: Uint32Array.of(heads.length), rowOf: Int32Array.of(0) };
  });
  for (let round = 0; round < 2; round++) {
    for (const shape of many) {
      kernel.load(Buffer.concat([shape.heads, Buffer.from(`${round}\n`)]));
      t.ok(kernel.begin(shape));
      t.equal(kernel.walk(true), "done");
      t.equal(kernel.values.mantissas[0], round);
    }
  }
  const huge = { heads: new Uint8Array(41 * 1024 * 1024), headEnds: Uint32Array.of(1), rowOf: Int32Array.of(0) };
  t.notOk(kernel.begin(huge), "one that is too large is not walked");
  t.notOk(kernel.load(new Uint8Array(17 * 1024 * 1024)), "nor is a body that is");
  t.end();
});

t.test("columns are written byte for byte as in plain TypeScript, and leave the same reference", (t) => {
  const value = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.integer({ min: -1000, max: 1000 }), fc.integer({ min: -3, max: 3 })) },
    { weight: 3, arbitrary: fc.tuple(fc.maxSafeInteger(), fc.integer({ min: -125, max: 125 })) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constantFrom(0, 1, -1, 2 ** 53 - 1, 1 - 2 ** 53), fc.constantFrom(0, 125, -125)),
    },
    { weight: 1, arbitrary: fc.constant("absent" as const) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("raw" as const), fc.nat(0xffffffff), fc.nat(0xffffffff)) },
  );
  const scrapes = fc.integer({ min: 0, max: 70 }).chain((rows) =>
    fc.array(fc.tuple(fc.boolean(), fc.array(value, { minLength: rows, maxLength: rows })), {
      minLength: 1,
      maxLength: 6,
    }),
  );
  const columns = new ColumnKernel();
  fc.assert(
    fc.property(scrapes, (all) => {
      const rows = all[0]![1].length;
      const plain = new Reference(rows);
      const taken = new Reference(rows);
      let first = true;
      for (const [keyframe, values] of all) {
        const column = new DecimalColumn(rows);
        column.length = rows;
        values.forEach((each, row) => {
          if (each === "absent") column.setAbsent(row);
          else if (each[0] === "raw") column.setRaw(row, each[1], each[2]!);
          else column.setDecimal(row, Object.is(each[0], -0) ? 0 : (each[0] as number), each[1]);
        });
        const expected = new Uint8Array(columnBytesMax(rows));
        const end = writeColumnPlainly(expected, 0, column, plain, first || keyframe);
        const bytes = columns.write(column, taken, first || keyframe);
        const got = new Uint8Array(bytes);
        columns.take(got, 0, taken);
        first = false;
        if (!Buffer.from(got).equals(expected.subarray(0, end))) throw new Error("other bytes");
        if (!Buffer.from(taken.memory).equals(plain.memory)) throw new Error("another reference");
        if (columns.samples !== values.filter((each) => each !== "absent").length) throw new Error("other samples");
      }
    }),
    { seed, numRuns: 3000 },
  );
  t.end();
});

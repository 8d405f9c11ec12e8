// Bytes of version 1 that every later version must read, and what happens to readers when such bytes are damaged on purpose:
// thousands of seeded mutations with the checksum made right again, so that what is behind it is reached.

import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import fc from "fast-check";
import t from "tap";
import { crc32 } from "#/lib/bytes/hash.ts";
import { BadBatch, readBatchHeader, sealBatch } from "#/lib/codec/batch.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import {
  BadGeneration,
  decodeGeneration,
  encodeDelta,
  encodeGeneration,
  readGeneration,
  readGenerationHeader,
} from "#/lib/codec/generation.ts";
import { layoutEntry, readLayouts } from "#/lib/codec/layout.ts";
import { checkColumn, Reference, readColumn } from "#/lib/codec/values.ts";
import { applyDelta, diffGenerations, type GenerationDelta } from "#/lib/model/delta.ts";
import { causeKinds, type Generation, partOf } from "#/lib/model/generation.ts";
import type { HttpSettings } from "#/lib/model/http.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { type Layout, layoutOf } from "#/lib/model/layout.ts";
import { wordsOf } from "#/lib/model/value.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { testRun, type WrittenScrape, written, writtenValues } from "#/test/support/batches.ts";
import {
  type GoldenBatch,
  goldenBytes,
  goldenDelta,
  goldenGeneration,
  goldenHttpGeneration,
  goldenJson,
  goldenLimitGeneration,
  goldenRelabelGeneration,
  goldenStatesGeneration,
  readGoldenBatches,
  readGoldenDropped,
} from "#/test/support/golden.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);

const batches = [1, 2, 3].map((number) => goldenBytes(`batch-v1-${number}.bin`));
const droppedBatch = goldenBytes("batch-v1-dropped.bin");
const batchesMean = goldenJson<GoldenBatch[]>("batch-v1.json");
const generation = goldenBytes("generation-v1.bin");
const relabelGeneration = goldenBytes("generation-v1-relabel.bin");
const httpGeneration = goldenBytes("generation-v1-http.bin");
const limitGeneration = goldenBytes("generation-v1-limit.bin");
const statesGeneration = goldenBytes("generation-v1-states.bin");
const delta = goldenBytes("generation-v1-delta.bin");
const refuseBatch = (code: BadBatch["code"], offset: number, message: string) => new BadBatch(code, offset, message);

t.test("the batches of version 1 mean what they meant", (t) => {
  t.same(readGoldenBatches(batches), batchesMean);
  t.end();
});

t.test("dropped batches that a batch of version 1 tells of are read as they were", (t) => {
  t.same(readGoldenDropped(droppedBatch), goldenJson("batch-v1-dropped.json"));
  t.end();
});

t.test("the generation of version 1 means what it meant", (t) => {
  t.same(decodeGeneration(generation), goldenJson("generation-v1.json"));
  t.same(goldenJson("generation-v1.json"), goldenGeneration());
  t.end();
});

t.test("rules for metric relabelling in a generation of version 1 mean what they meant", (t) => {
  t.same(decodeGeneration(relabelGeneration), goldenJson("generation-v1-relabel.json"));
  t.same(goldenJson("generation-v1-relabel.json"), goldenRelabelGeneration());
  t.equal(relabelGeneration[5], 1, "who does not know the rules is told by a flag");
  t.equal(generation[5], 0);
  const unknown = Uint8Array.from(relabelGeneration);
  unknown[5] = 5;
  new DataView(unknown.buffer).setUint32(unknown.length - 4, crc32(unknown.subarray(0, -4)), true);
  t.throws(() => decodeGeneration(unknown), { code: "bad_version", message: /expected no unknown flags, got 0x4$/ });
  t.end();
});

t.test("how targets are spoken to in a generation of version 1 means what it meant", (t) => {
  t.same(decodeGeneration(httpGeneration), goldenJson("generation-v1-http.json"));
  t.same(goldenJson("generation-v1-http.json"), goldenHttpGeneration());
  t.equal(httpGeneration[5], 3, "who does not know of it is told by a flag");
  t.end();
});

t.test("HTTP settings that are not known, or are none, are refused", (t) => {
  const first = goldenHttpGeneration().targets[0]!;
  const encoded = (http: object) =>
    encodeGeneration({
      ...goldenHttpGeneration(),
      targets: [
        { ...first, target: { ...first.target, options: { ...first.target.options, http: http as HttpSettings } } },
      ],
    });
  const good = first.target.options.http!;
  const cases: readonly (readonly [http: object, code: string, message: RegExp])[] = [
    [{ ...good, later: true }, "bad_version", /later/],
    [{ ...good, tls: { insecureSkipVerify: true, minVersion: "SSL3" } }, "bad_version", /tls\.minVersion/],
    [{ ...good, authorization: { type: "oauth" } }, "bad_version", /authorization/],
    [{ id: "x", job: "y" }, "bad_version", /followRedirects/],
    [{ ...good, headers: [{ name: "X: y\r\nZ", values: [] }] }, "bad_version", /headers\.0\.name/],
    [
      { ...good, authorization: { type: "scheme", scheme: "a\r\nb", credentials: { text: "x" } } },
      "bad_version",
      /authorization/,
    ],
    [{ ...good, headers: [{ name: "x".repeat(70_000), values: [] }] }, "too_large", /at most 65536 bytes/],
    [{ toJSON: () => 5 }, "bad_version", /expected object/],
  ];
  for (const [http, code, message] of cases) t.throws(() => decodeGeneration(encoded(http)), { code, message });
  t.end();
});

t.test("states of secondaries and causes in a generation of version 1 mean what they meant", (t) => {
  t.same(decodeGeneration(statesGeneration), goldenJson("generation-v1-states.json"));
  t.same(goldenJson("generation-v1-states.json"), goldenStatesGeneration());
  t.equal(statesGeneration[5], 0, "who knows neither reads the rest");
  t.end();
});

t.test("a difference between generations of version 1 means what it meant, and only where it belongs", (t) => {
  const read = readGeneration(delta) as GenerationDelta;
  const { base, next } = goldenDelta();
  t.same(read, goldenJson("generation-v1-delta.json"));
  t.same(read.removed, [1]);
  t.same(read.moved, [{ owner: "dc1-s3", places: [2] }]);
  t.same(
    read.targets.map(({ target }) => target.id[0]),
    ["1", "3"],
  );
  t.same(applyDelta(base, read), next);
  t.same(readGenerationHeader(delta), {
    datacenter: "dc1",
    primary: "dc1-p2",
    number: 43,
    token: 9,
    validFromMs: 1_725_000_007_000,
    base: { number: 42, token: 7, validFromMs: 1_725_000_000_000 },
  });
  t.same(Object.keys(readGenerationHeader(generation)), ["datacenter", "primary", "number", "token", "validFromMs"]);
  for (const edit of [{ number: 41 }, { token: 8 }, { validFromMs: 1 }, { datacenter: "dc2" }]) {
    t.throws(() => applyDelta({ ...base, ...edit }, read), { name: "DeltaError", code: "unknown_base" });
  }
  const without = { ...base, targets: base.targets.slice(0, 2) };
  const owned = { ...base, targets: base.targets.map((each) => ({ ...each, owner: "dc1-s9" })) };
  t.throws(() => applyDelta(without, read), { code: "wrong_result", message: /expected places below 2, .*got 2$/ });
  t.throws(() => applyDelta(owned, diffGenerations(base, base)), {
    code: "wrong_result",
    message: /expected 3 targets with the checksum [0-9a-f]{8}, got 3 with [0-9a-f]{8}$/,
  });
  const twice = { ...read, moved: [{ owner: "dc1-s3", places: [1, 2] }] };
  t.throws(() => applyDelta(base, twice), { code: "wrong_result", message: /each once, got 1$/ });
  t.throws(() => applyDelta(base, { ...read, removed: [] }), {
    code: "wrong_result",
    message: /expected 3 targets with the checksum [0-9a-f]{8}, got 4$/,
  });
  t.end();
});

t.test("a difference that changes nothing takes the base's own list, and few bytes", (t) => {
  const { base } = goldenDelta();
  const same = diffGenerations(base, { ...goldenGeneration(), number: 44 });
  t.same([same.removed, same.moved, same.targets], [[], [], []]);
  const bytes = encodeDelta(same);
  t.ok(bytes.length < 130, `${bytes.length} bytes`);
  const next = applyDelta(base, readGeneration(bytes) as GenerationDelta);
  t.equal(next.number, 44);
  t.equal(next.targets, base.targets);
  t.end();
});

t.test("cardinality limits in a generation of version 1 mean what they meant", (t) => {
  t.same(decodeGeneration(limitGeneration), goldenJson("generation-v1-limit.json"));
  t.same(goldenJson("generation-v1-limit.json"), goldenLimitGeneration());
  t.end();
});

t.test("a mutated batch is refused or read, within bounds, and what is refused changes nothing", (t) => {
  const random = seededRandom(seed);
  const codes: Record<string, number> = {};
  let slowestMs = 0;
  for (let i = 0; i < 2000; i++) {
    const victim = random.below(4);
    const decoder = new RunDecoder(testRun);
    const whole = batches[victim] ?? droppedBatch;
    const meant = batchesMean[victim]?.scrapes ?? readGoldenBatches([droppedBatch])[0]!.scrapes;
    for (const bytes of victim < 3 ? batches.slice(0, victim) : []) decoder.decode(bytes, () => {});
    const broken = mutated(whole, random.below);
    const before = process.cpuUsage();
    try {
      decoder.decode(broken, () => {});
      codes.read = (codes.read ?? 0) + 1;
    } catch (error) {
      if (!(error instanceof BadBatch) || error.message.length > 1000) throw error;
      codes[error.code] = (codes[error.code] ?? 0) + 1;
      const scrapes: WrittenScrape[] = [];
      decoder.decode(whole, (scrape) => scrapes.push(written(scrape)));
      if (JSON.stringify(scrapes) !== JSON.stringify(meant)) t.fail(`mutation ${i} left a trace`);
    }
    // Of the processor, so that other work on the machine does not count.
    const { user, system } = process.cpuUsage(before);
    slowestMs = Math.max(slowestMs, (user + system) / 1000);
  }
  t.comment(JSON.stringify(codes));
  for (const code of ["bad_structure", "bad_compression", "bad_version", "too_large", "wrong_run"]) {
    t.ok(codes[code]! > 0, `some were ${code}`);
  }
  t.ok(slowestMs < 500, `the slowest took ${slowestMs.toFixed(1)} ms`);
  t.end();
});

const generations = [generation, relabelGeneration, httpGeneration, limitGeneration, statesGeneration, delta];

t.test("a mutated generation is refused or read, within bounds", (t) => {
  const random = seededRandom(seed);
  const codes: Record<string, number> = {};
  for (let i = 0; i < 4000; i++) {
    const broken = mutated(generations[i % generations.length]!, random.below);
    try {
      readGeneration(broken);
      codes.read = (codes.read ?? 0) + 1;
    } catch (error) {
      if (!(error instanceof BadGeneration) || error.message.length > 1000) throw error;
      codes[error.code] = (codes[error.code] ?? 0) + 1;
    }
  }
  t.comment(JSON.stringify(codes));
  for (const code of ["bad_structure", "bad_compression", "bad_version"]) t.ok(codes[code]! > 0, `some were ${code}`);
  t.end();
});

/** Bytes changed in the header, in the compressed body or in what is in it, under a checksum that is right. */
function mutated(bytes: Uint8Array, below: (below: number) => number): Uint8Array {
  const headerEnd = 8 + bytes[6]! + bytes[7]! * 256;
  const envelope = Uint8Array.from(bytes.subarray(0, headerEnd));
  let body = Uint8Array.from(bytes.subarray(headerEnd, -4));
  const place = below(8);
  if (place === 0) disturb(envelope.subarray(5), below);
  else if (place === 1) disturb(body, below);
  else {
    const plain = Uint8Array.from(zstdDecompressSync(body));
    for (let times = below(3); times >= 0; times--) disturb(plain, below);
    body = Uint8Array.from(zstdCompressSync(place === 2 ? plain.subarray(0, below(plain.length)) : plain));
  }
  return sealed(envelope, body);
}

function sealed(envelope: Uint8Array, body: Uint8Array): Uint8Array {
  const whole = new Uint8Array(envelope.length + body.length + 4);
  whole.set(envelope);
  whole.set(body, envelope.length);
  new DataView(whole.buffer).setUint32(whole.length - 4, crc32(whole.subarray(0, -4)), true);
  return whole;
}

function disturb(bytes: Uint8Array, below: (below: number) => number): void {
  const at = below(bytes.length);
  switch (below(5)) {
    case 0:
      bytes[at]! ^= 1 << below(8);
      break;
    case 1:
      bytes[at] = below(256);
      break;
    case 2:
      bytes.fill(255, at, at + 1 + below(9));
      break;
    case 3:
      bytes.fill(0, at, at + 1 + below(9));
      break;
    default:
      bytes.copyWithin(at, below(bytes.length), bytes.length);
  }
}

t.test("a body that would grow without end is cut off at its announced size", (t) => {
  const header = { ...readBatchHeader(batches[0]!), bodyBytes: 1000 };
  const startedMs = performance.now();
  const bomb = sealBatch(header, new Uint8Array(64 * 1024 * 1024));
  t.ok(bomb.length < 10_000, `${bomb.length} bytes`);
  t.throws(() => new RunDecoder(testRun).decode(bomb, () => {}), { code: "bad_compression" });
  t.ok(performance.now() - startedMs < 2000);
  const greedy = sealBatch({ ...header, bodyBytes: 2 ** 40 }, new Uint8Array(100));
  t.throws(() => readBatchHeader(greedy), { code: "too_large", message: /expected a body of at most 16777216 bytes/ });
  const crowded = sealBatch({ ...header, scrapes: 40_000 }, new Uint8Array(1000));
  t.throws(() => readBatchHeader(crowded), { code: "bad_structure", message: /got 40000 scrapes/ });
  t.end();
});

t.test("a later version may add header fields and skippable sections, and no others", (t) => {
  const [first] = batches as [Uint8Array];
  const headerEnd = 8 + first[6]! + first[7]! * 256;
  const longer = Uint8Array.from([...first.subarray(0, headerEnd), 1, 2, 3]);
  longer[6]! += 3;
  t.equal(readBatchHeader(sealed(longer, first.subarray(headerEnd, -4))).samples, 8);
  const plain = zstdDecompressSync(first.subarray(headerEnd, -4));
  const header = readBatchHeader(first);
  const withSection = (type: number) => {
    const body = Uint8Array.from([...plain, type, 2, 7, 7]);
    return sealBatch({ ...header, bodyBytes: body.length }, body);
  };
  t.equal(new RunDecoder(testRun).decode(withSection(128), () => {}).scrapes, 2);
  t.throws(() => new RunDecoder(testRun).decode(withSection(16), () => {}), { code: "bad_version" });
  const flagged = Uint8Array.from(first.subarray(0, headerEnd));
  flagged[5] = 1;
  t.throws(() => readBatchHeader(sealed(flagged, first.subarray(headerEnd, -4))), { code: "bad_version" });
  t.end();
});

t.test("mantissas are read over the whole range of 64 bits, and wrap", (t) => {
  const reference = new Reference(2);
  const values = new Float64Array(2);
  const read = (hex: string, keyframe: boolean) => {
    const bytes = Uint8Array.fromHex(hex);
    t.equal(checkColumn(bytes, 0, bytes.length, 2, keyframe), -1);
    readColumn(bytes, 0, reference, keyframe, values, wordsOf(values));
    return writtenValues(values);
  };
  // 2^63 − 1, whose zigzag is 2^64 − 2, and 2^53 + 1, whose zigzag is 2^54 + 2 and whose nearest double is 2^53.
  t.same(read("0000feffffffffffffffff018280808080808020", true), ["9223372036854776000", "9007199254740992"]);
  // One more each: the first wraps to −2^63, the second is 2^53 + 2.
  t.same(read("000202", false), ["-9223372036854776000", "9007199254740994"]);
  // One less wraps back to 2^63 − 1, and 2^53 + 2 less is 0, a safe mantissa again.
  t.same(read("00018380808080808020", false), ["9223372036854776000", "0"]);
  t.same(read("000002", false), ["9223372036854776000", "1"]);
  t.end();
});

t.test("columns that are not of their rows are found before they are read", (t) => {
  const wrong = (hex: string, rows: number, keyframe: boolean) => {
    const bytes = Uint8Array.fromHex(hex);
    return checkColumn(bytes, 0, bytes.length, rows, keyframe);
  };
  t.equal(wrong("", 0, true), -1);
  t.equal(wrong("0000", 1, true), -1);
  t.equal(wrong("00", 1, true), 1, "no integer");
  t.equal(wrong("000000", 1, true), 2, "one too many");
  t.equal(wrong("8000", 1, true), 0, "exponent −128");
  t.equal(wrong("00ffffffffffffffffff02", 1, true), 1, "65 bits");
  t.equal(wrong("0080", 1, true), 1, "an integer without an end");
  t.equal(wrong("020000000000", 1, false), 0, "two changes in one row");
  t.equal(wrong("01010000", 1, false), 1, "a change behind the last row");
  t.equal(wrong("01008500", 1, false), -1, "exponent −123");
  t.equal(wrong("010085", 1, false), 3, "exponent −123, but no integer");
  t.end();
});

t.test("a layout comes back from its bytes, and other bytes under its id do not", (t) => {
  const name = fc.string({ unit: "binary", minLength: 1, maxLength: 12 });
  const labels = fc.dictionary(name, fc.string({ unit: "binary", maxLength: 8 }), {
    maxKeys: 4,
    noNullPrototype: true,
  });
  const rows = fc.array(fc.record({ name, labels }), { maxLength: 120 });
  fc.assert(
    fc.property(rows, (rows) => {
      const layout = layoutOf(
        rows.map(({ name, labels }) => ({ name, labels: labelsOf(labels), kind: "float", family: 0 })),
        [{ name: "f", type: "histogram", help: "h", unit: "seconds" }],
      );
      const { bytes } = layoutEntry(5, layout)!;
      const back = readLayouts(bytes, () => undefined, refuseBatch).get(5);
      return JSON.stringify(back) === JSON.stringify(layout);
    }),
    { seed },
  );
  const layout = layoutOf(
    [{ name: "m", labels: [["a", "1"]], kind: "float", family: 0 }],
    [{ name: "m", type: "gauge", help: "", unit: "" }],
  );
  const { bytes } = layoutEntry(1, layout)!;
  const read = (entry: Uint8Array) => readLayouts(entry, () => undefined, refuseBatch) as Map<number, Layout>;
  t.same(read(bytes).get(1), layout);
  t.throws(() => read(Uint8Array.from(bytes, (byte, i) => (i === 1 ? byte ^ 1 : byte))), {
    code: "bad_structure",
    message: /expected the content of that id/,
  });
  t.throws(() => read(Uint8Array.from([...bytes, ...bytes])), { code: "bad_structure", message: /got 1 twice/ });
  t.throws(() => read(Uint8Array.from(bytes, (byte, i) => (i === 17 ? 1 : byte))), { code: "bad_version" });
  t.end();
});

t.test("any generation comes back, and so does each secondary's part of it", (t) => {
  const text = fc.string({ unit: "binary", maxLength: 20 });
  const number = fc.maxSafeNat();
  const target = fc.record({
    id: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => bytes.toHex()),
    job: text,
    url: text,
    labels: fc
      .dictionary(
        text.filter((name) => name !== ""),
        text,
        { maxKeys: 5, noNullPrototype: true },
      )
      .map(labelsOf),
    intervalMs: fc.integer({ min: 1, max: 86_400_000 }),
    timeoutMs: fc.nat(),
    options: fc.record(
      {
        honorLabels: fc.boolean(),
        honorTimestamps: fc.boolean(),
        sampleLimit: number,
        labelLimit: number,
        labelNameLengthLimit: number,
        labelValueLengthLimit: number,
        bodyBytesMax: number,
        cardinalityLimit: fc.integer({ min: 1 }),
      },
      {
        requiredKeys: [
          "honorLabels",
          "honorTimestamps",
          "sampleLimit",
          "labelLimit",
          "labelNameLengthLimit",
          "labelValueLengthLimit",
          "bodyBytesMax",
        ],
      },
    ),
  });
  const generation: fc.Arbitrary<Generation> = fc.record({
    datacenter: fc.stringMatching(/^[a-z0-9-]{1,20}$/),
    number,
    token: number,
    primary: fc.stringMatching(/^[a-z0-9-]{1,20}$/),
    validFromMs: number,
    secondaries: fc.array(
      fc.oneof(
        fc.record({ name: text, capacity: number }),
        fc.record({
          name: text,
          capacity: number,
          state: fc.constantFrom("draining" as const, "cut_off" as const, "damped" as const),
        }),
      ),
      { maxLength: 4 },
    ),
    targets: fc
      .uniqueArray(fc.record({ target, owner: fc.constantFrom("", "s1", "s2") }), {
        selector: ({ target }) => target.id,
        maxLength: 20,
      })
      .map((targets) => targets.sort((a, b) => (a.target.id < b.target.id ? -1 : 1))),
    causes: fc.array(
      fc.record({ kind: fc.constantFrom(...causeKinds), subject: text, count: fc.integer({ min: 1 }) }),
      { minLength: 1, maxLength: 16 },
    ),
  });
  fc.assert(
    fc.property(generation, (generation) => {
      const part = partOf(generation, "s1");
      return [generation, part].every(
        (whole) => JSON.stringify(sorted(decodeGeneration(encodeGeneration(whole)))) === JSON.stringify(sorted(whole)),
      );
    }),
    { seed },
  );
  t.pass("a hundred generations");
  fc.assert(
    fc.property(
      generation.filter(({ number }) => number > 0),
      generation,
      fc.array(fc.nat(3)),
      (base, other, fates) => {
        // As it is, gone, moved, or scraped otherwise; and all that the other one has.
        const kept = base.targets.flatMap((assigned, i) => {
          if (fates[i] === 1) return [];
          const owner = fates[i] === 2 ? "s3" : assigned.owner;
          const timeoutMs = assigned.target.timeoutMs + (fates[i] === 3 ? 1 : 0);
          return [{ owner, target: { ...assigned.target, timeoutMs } }];
        });
        const ids = new Set(kept.map(({ target }) => target.id));
        const targets = [...kept, ...other.targets.filter(({ target }) => !ids.has(target.id))];
        targets.sort((a, b) => (a.target.id < b.target.id ? -1 : 1));
        const next = { ...other, datacenter: base.datacenter, targets };
        return [next, base, partOf(next, "s1")].every((next) => {
          const applied = applyDelta(base, readGeneration(encodeDelta(diffGenerations(base, next))) as GenerationDelta);
          return JSON.stringify(sorted(applied)) === JSON.stringify(sorted(next));
        });
      },
    ),
    { seed },
  );
  t.pass("and a hundred differences");
  t.end();
});

/** With keys in one order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}

t.test("a generation based on another, or beyond a message of the log, is refused", (t) => {
  const full = goldenGeneration();
  const headerEnd = 8 + generation[6]! + generation[7]! * 256;
  // The header ends with base (0), the number of targets (3) and the body's size (two bytes).
  const based = Uint8Array.from(generation.subarray(0, headerEnd));
  t.same([...based.subarray(headerEnd - 4, headerEnd - 2)], [0, 3]);
  based[headerEnd - 4] = 41;
  t.throws(() => decodeGeneration(sealed(based, generation.subarray(headerEnd, -4))), {
    name: "BadGeneration",
    code: "bad_structure",
    message: /^bad_structure at offset 31: header: /,
  });
  t.throws(() => decodeGeneration(delta), {
    name: "BadGeneration",
    code: "bad_version",
    message: /expected a full generation, got one based on 42/,
  });
  const random = seededRandom(seed);
  const noise = () => Array.from({ length: 40 }, () => String.fromCharCode(33 + random.below(90))).join("");
  const many = Array.from({ length: 120_000 }, (_, i) => ({
    owner: "dc1-s1",
    target: { ...full.targets[0]!.target, id: i.toString(16).padStart(32, "0"), url: noise() },
  }));
  t.throws(() => encodeGeneration({ ...full, targets: many }), {
    code: "too_large",
    message: /expected at most 250000 targets and 4194304 bytes/,
  });
  t.end();
});

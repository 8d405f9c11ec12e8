// Bodies through the secondary's reader, with its kernel and all that it remembers, against the plain reading of each; and
// those that can be stored through the encoder and the decoder of batches.
//
// The reader meets a mutant right after the body that it was made of, then the same mutant once more, and at last the old body
// again, so that shapes are walked, left and come back.

import { Buffer } from "node:buffer";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { RunEncoder } from "#/lib/codec/encode.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { absentExponent, type DecimalColumn, rawExponent } from "#/lib/model/decimal.ts";
import { labelsKey, labelsOf, mergeLabels } from "#/lib/model/labels.ts";
import type { Layout } from "#/lib/model/layout.ts";
import { metricRelabelOf, type RelabelRule, relabelDefaults } from "#/lib/model/relabel.ts";
import type { RowTimestamp, ScrapedTarget } from "#/lib/model/scrape.ts";
import { type ScrapeOptions, slotTimeMs, type Target } from "#/lib/model/target.ts";
import { wordsOf } from "#/lib/model/value.ts";
import type { Random } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { CardinalityGuard } from "#/secondary/scrape/guard.ts";
import { BodyReader } from "#/secondary/scrape/layout.ts";
import type { ExpositionFormat } from "#/secondary/scrape/parse.ts";
import { type Reading, type TargetReading, targetReading } from "#/secondary/scrape/reading.ts";
import { type CorpusEntry, fuzzNowMs, readCorpus } from "#/test/fuzz/corpus.ts";
import { type Fuzzed, literal, type Trial } from "#/test/fuzz/fuzz.ts";
import { changeExposition, mutate } from "#/test/fuzz/mutate.ts";
import { type PlainReading, readPlainly } from "#/test/fuzz/plain.ts";
import { makeTarget, plainScrapeOptions } from "#/test/support/targets.ts";

/** One body that a target answers with. */
export interface ExpositionStep {
  /** Which of the targets below. */
  readonly target: number;
  readonly format: ExpositionFormat;
  /** A character is a byte. */
  readonly body: string;
}

const rule = (parts: Partial<RelabelRule>): RelabelRule => ({
  ...relabelDefaults,
  sourceLabels: [],
  modulus: 0,
  targetLabel: "",
  ...parts,
});

const relabelling = metricRelabelOf(
  [
    rule({ sourceLabels: ["__name__"], regex: "go_memstats_.*|.*_created", action: "drop" }),
    rule({ sourceLabels: ["le"], regex: "0[.].*", targetLabel: "bucket", replacement: "small" }),
    rule({ regex: "le|quantile|cpu|exported_job", action: "labeldrop" }),
    rule({ sourceLabels: ["device"], targetLabel: "device", action: "uppercase" }),
    rule({ sourceLabels: ["instance", "mode"], modulus: 3, targetLabel: "shard", action: "hashmod" }),
    rule({ sourceLabels: ["__name__"], regex: "(go|process|etcd)_(.*)", targetLabel: "program" }),
  ],
  ["datacenter", "region"],
);

/** What changes how a body is read: each kind of target meets each body of the corpus. */
const variants: readonly Partial<ScrapeOptions>[] = [
  {},
  { honorLabels: true },
  { honorTimestamps: false },
  { metricRelabel: relabelling },
  { metricRelabel: relabelling, honorLabels: true },
  { labelLimit: 8, labelNameLengthLimit: 12, labelValueLengthLimit: 24, sampleLimit: 25 },
];

/** Like the labels of some bodies, so that there are conflicts. */
const labels = labelsOf({ job: "node", instance: "a:9100", datacenter: "fra", region: "eu", device: "sda", le: "1" });
const targetOf = (variant: number, place: number): Target =>
  makeTarget(`http://a:9100/${variant}/${place}`, {
    labels,
    intervalMs: 15_000,
    options: { ...plainScrapeOptions, ...variants[variant] },
  });

/** Of each variant: some shapes are met by the same target again, and some by others. */
const targetsPerVariant = 64;
const targets = variants.flatMap((_, variant) =>
  Array.from({ length: targetsPerVariant }, (_, place) => targetOf(variant, place)),
);

const plainKept = 8;
const nothingOfIt = 0xaa;

/** Scrapes of one batch. */
const scrapesPerBatch = 200;
const firstSlot = 113_333_000;
const run = { datacenter: "fra", secondary: "s1", bootEpoch: 1, shard: 0, run: 1 };

let known: readonly CorpusEntry[] | undefined;
const corpus = () => (known ??= readCorpus());

export const expositions: Fuzzed<ExpositionStep> = {
  name: "exposition",
  *steps(random: Random) {
    const target = random.below(targets.length);
    const { format: formatOfText, text } = corpus()[random.below(corpus().length)]!;
    // What a target says that it speaks is its own affair.
    const format = random.below(40) === 0 ? otherFormat[formatOfText] : formatOfText;
    const first = { target, format, body: text };
    yield first;
    let body = text;
    const mutants = 1 + random.below(4);
    for (let i = 0; i < mutants; i++) {
      const mutant = mutate(body, (text) => changeExposition(text, format, corpus(), random), random);
      const isTaken = yield { target, format, body: mutant, isNew: true };
      // What is wrong is wrong also the second time, and seldom gets right again.
      if (!isTaken && random.below(8) > 0) continue;
      if (random.below(4) === 0) yield { target: other(target, random), format, body: mutant };
      if (random.below(2) === 0) yield { target, format, body: mutant };
      body = mutant;
    }
    yield first;
  },
  open: () => new ExpositionTrial(),
  tell: ({ body, format, target }) =>
    `${literal(body)} (${body.length} bytes, ${format}, ${JSON.stringify(variants[Math.floor(target / targetsPerVariant)])})`,
  parts: ({ body }) => body,
  withParts: (step, body) => ({ ...step, body }),
};

const otherFormat = { text: "openmetrics", openmetrics: "text" } as const;

/** Of the same variant. */
function other(target: number, random: Random): number {
  return target - (target % targetsPerVariant) + random.below(targetsPerVariant);
}

interface Sent {
  readonly target: ScrapedTarget;
  readonly slot: number;
  readonly layout: Layout;
  readonly doubles: Float64Array;
  readonly timestamps: readonly RowTimestamp[];
}

class ExpositionTrial implements Trial<ExpositionStep> {
  readonly counts = { stored: 0, partial: 0, refused: 0, learned: 0, walked: 0, decoded: 0, samples: 0 };
  readonly #reader = new BodyReader();
  /** As in a secondary; a group brings less than it lets through. */
  readonly #guard = new CardinalityGuard({
    clock: { monotonicMs: () => 0 },
    log: silentLogger(),
    metrics: createRegistry({ tier: "secondary" }),
  });
  readonly #readings = new Map<number, TargetReading>();
  readonly #encoder = new RunEncoder(run);
  readonly #decoder = new RunDecoder(run);
  readonly #slots = new Map<number, number>();
  /** Of the last few bodies, which come again. */
  readonly #plain = new Map<string, PlainReading>();
  #plainFor = "";
  #sent: Sent[] = [];
  isTaken = false;

  try(step: ExpositionStep): string | undefined {
    const target = targets[step.target]!;
    const body = Buffer.from(step.body, "latin1");
    const expected = this.#readPlainly(step, target, body);
    let reading = this.#readings.get(step.target);
    if (!reading)
      this.#readings.set(step.target, (reading = targetReading(target, undefined, this.#guard.ofTarget(target))));
    const { learned } = this.#reader;
    const got = this.#reader.read(reading, body, step.format, fuzzNowMs);
    // Others use its memory next.
    body.fill(nothingOfIt);
    if (this.#reader.learned > learned) this.counts.learned++;
    else this.counts.walked++;
    const difference = differenceOf(expected, got, target);
    if (difference !== undefined) return difference;
    this.isTaken = "layout" in got;
    if (!("layout" in got) || !("layout" in expected)) {
      this.counts.refused++;
      return undefined;
    }
    this.counts[got.outcome]++;
    this.counts.samples += got.samplesScraped;
    this.#send(step.target, got, expected.doubles);
    return this.#sent.length < scrapesPerBatch ? undefined : this.end();
  }

  #readPlainly({ body, format, target: number }: ExpositionStep, target: Target, bytes: Uint8Array): PlainReading {
    const readFor = `${format}/${number - (number % targetsPerVariant)}`;
    if (this.#plainFor !== readFor) this.#plain.clear();
    this.#plainFor = readFor;
    let plain = this.#plain.get(body);
    if (!plain) {
      plain = readPlainly(target, bytes, format, fuzzNowMs);
      if (this.#plain.size >= plainKept) this.#plain.clear();
      this.#plain.set(body, plain);
    }
    return plain;
  }

  #send(number: number, { layout, outcome, samplesScraped, timestamps, values }: Stored, doubles: Float64Array): void {
    const target = targets[number]!;
    const slot = this.#slots.get(number) ?? firstSlot;
    this.#slots.set(number, slot + 1);
    const facts = {
      ...{ slot, generation: 1, outcome, timestampMs: slotTimeMs(target, slot), durationUs: 1000, bodyBytes: 1 },
      ...{ samplesScraped, seriesRefused: 0, seriesAdded: 0 },
    };
    this.#encoder.add({ target, facts, layout, values, timestamps });
    this.#sent.push({ target, slot, layout, doubles, timestamps: [...timestamps] });
  }

  /** What was encoded since the last time comes back as it was. */
  end(): string | undefined {
    const sent = this.#sent;
    this.#sent = [];
    let i = 0;
    let difference: string | undefined;
    for (;;) {
      const batch = this.#encoder.flush({ nowMs: fuzzNowMs, watermarkMs: 0, generation: 1 });
      if (!batch) break;
      const { samples } = this.#decoder.decode(batch.bytes, (scrape) => {
        const expected = sent[i++];
        if (!expected) difference ??= "decoded: more scrapes than were encoded";
        else difference ??= decodedDifference(expected, scrape);
      });
      difference ??= unequal("samples of a batch", samples, batch.header.samples);
    }
    if (i < sent.length) difference ??= `decoded: expected ${sent.length} scrapes, got ${i}`;
    this.counts.decoded += i;
    return difference;
  }
}

type Stored = Extract<Reading, { layout: unknown }>;

function differenceOf(expected: PlainReading, got: Reading, target: Target): string | undefined {
  if (!("layout" in expected) || !("layout" in got)) {
    return (
      unequal("outcome", expected.outcome, got.outcome) ??
      unequal("error", "error" in expected && expected.error, "error" in got && got.error) ??
      unequal("samples", expected.samplesScraped, got.samplesScraped)
    );
  }
  const { refused } = got;
  return (
    unequal("outcome", expected.outcome, got.outcome) ??
    unequal("samples", expected.samplesScraped, got.samplesScraped) ??
    unequal("dropped", expected.dropped, got.dropped) ??
    unequal("duplicates", expected.duplicates, refused.duplicate_series) ??
    unequal("ahead", expected.ahead, refused.timestamp_ahead) ??
    unequal("behind", expected.behind, refused.timestamp_behind) ??
    unequal("flood", 0, refused.cardinality) ??
    layoutDifference(expected, got.layout, target) ??
    unequal("rows", expected.values.exponents.length, got.values.length) ??
    columnDifference(expected.values, got.values) ??
    entriesDifference("timestamps", expected.timestamps, got.timestamps) ??
    entriesDifference("exemplars", expected.exemplars, got.exemplars)
  );
}

/** As JSON, and only where they are not the same right away. */
function unequal(what: string, expected: unknown, got: unknown): string | undefined {
  if (expected === got) return undefined;
  const [a, b] = [JSON.stringify(expected, exactly), JSON.stringify(got, exactly)];
  return a === b ? undefined : `${what}: expected ${a}, got ${b}`;
}

function entriesDifference(what: string, expected: readonly unknown[], got: readonly unknown[]): string | undefined {
  return expected.length + got.length === 0 ? undefined : unequal(what, expected, got);
}

/** JSON has neither NaN nor −0. */
function exactly(_key: string, value: unknown): unknown {
  return typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))
    ? `${Object.is(value, -0) ? "-0" : value}`
    : value;
}

type PlainStored = Extract<PlainReading, { layout: unknown }>;

function layoutDifference(expected: PlainStored, layout: Layout, target: Target): string | undefined {
  if (!target.options.metricRelabel) {
    return expected.layout.id === layout.id
      ? undefined
      : (unequal("layout", expected.layout, layout) ?? "layout: its id");
  }
  const series = layout.rows.map(
    (row) =>
      `${labelsKey(mergeLabels(target.labels, row.labels, row.name))} ${JSON.stringify(layout.families[row.family])}`,
  );
  return unequal("series", expected.series, series);
}

function columnDifference(expected: DecimalColumn, got: DecimalColumn): string | undefined {
  for (let row = 0; row < got.length; row++) {
    const exponent = expected.exponents[row]!;
    const same =
      got.exponents[row] === exponent &&
      (exponent === absentExponent ||
        (exponent === rawExponent
          ? got.rawWords[row * 2] === expected.rawWords[row * 2] &&
            got.rawWords[row * 2 + 1] === expected.rawWords[row * 2 + 1]
          : Object.is(got.mantissas[row], expected.mantissas[row])));
    if (!same) return `row ${row}: expected ${rowText(expected, row)}, got ${rowText(got, row)}`;
  }
  return undefined;
}

function rowText({ exponents, mantissas, rawWords }: DecimalColumn, row: number): string {
  const exponent = exponents[row]!;
  if (exponent === absentExponent) return "no sample";
  if (exponent !== rawExponent) return `${Object.is(mantissas[row], -0) ? "-0" : mantissas[row]}e${exponent}`;
  return `the bits ${hex(rawWords[row * 2 + 1]!)}${hex(rawWords[row * 2]!)}`;
}

const hex = (word: number) => word.toString(16).padStart(8, "0");

interface Decoded {
  readonly target: ScrapedTarget;
  readonly facts: { readonly slot: number };
  readonly layout: Layout;
  readonly values: Float64Array;
  readonly timestamps: readonly RowTimestamp[];
}

function decodedDifference(sent: Sent, { facts, layout, target, timestamps, values }: Decoded): string | undefined {
  const words = wordsOf(values);
  const expectedWords = wordsOf(sent.doubles);
  for (let row = 0; row < sent.doubles.length; row++) {
    const isSame = words[row * 2] === expectedWords[row * 2] && words[row * 2 + 1] === expectedWords[row * 2 + 1];
    if (isSame) continue;
    const [a, b] = [expectedWords, words].map((each) => `${hex(each[row * 2 + 1]!)}${hex(each[row * 2]!)}`);
    return `decoded, row ${row}: expected ${a} (${sent.doubles[row]}), got ${b} (${values[row]})`;
  }
  return (
    unequal("decoded target", sent.target.id, target.id) ??
    unequal("decoded slot", sent.slot, facts.slot) ??
    unequal("decoded layout", sent.layout.id, layout.id) ??
    unequal("decoded rows", sent.doubles.length, values.length) ??
    entriesDifference("decoded timestamps", sent.timestamps, timestamps)
  );
}

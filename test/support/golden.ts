// What the golden files of version 1 were made from. The files stay as they are for ever; this is how a new version makes its
// own: `node test/support/golden.ts DIRECTORY` writes today's bytes and what they mean, to be read by a person before they
// are added.

import { readFileSync, writeFileSync } from "node:fs";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { RunEncoder } from "#/lib/codec/encode.ts";
import { encodeDelta, encodeGeneration } from "#/lib/codec/generation.ts";
import { diffGenerations } from "#/lib/model/delta.ts";
import type { AssignedTarget, Generation } from "#/lib/model/generation.ts";
import { httpSettingsOf } from "#/lib/model/http.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { type LayoutRow, layoutOf, type MetricFamily } from "#/lib/model/layout.ts";
import { metricRelabelOf, type RelabelRule, relabelDefaults } from "#/lib/model/relabel.ts";
import {
  testColumn,
  testFacts,
  testLayout,
  testRun,
  testScrape,
  testTarget,
  type WrittenScrape,
  written,
} from "#/test/support/batches.ts";

export interface GoldenBatch {
  readonly header: Record<string, unknown>;
  readonly scrapes: readonly WrittenScrape[];
  readonly samples: number;
  readonly unreadable: number;
}

export function goldenBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../golden/${name}`, import.meta.url)));
}

export function goldenJson<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../golden/${name}`, import.meta.url), "utf8"));
}

const families: MetricFamily[] = [
  { name: "http_requests", type: "counter", help: 'Requests, by "code".\nAnd method.', unit: "" },
  { name: "temperature_celsius", type: "gauge", help: "", unit: "celsius" },
  { name: "latency_seconds", type: "histogram", help: "How long.", unit: "seconds" },
  { name: "rpc_seconds", type: "summary", help: "", unit: "seconds" },
];
const rows: LayoutRow[] = [
  {
    name: "http_requests_total",
    labels: [
      ["code", "200"],
      ["method", "get"],
    ],
    kind: "float",
    family: 0,
  },
  {
    name: "http_requests_total",
    labels: [
      ["code", "500"],
      ["method", "get"],
    ],
    kind: "float",
    family: 0,
  },
  { name: "temperature_celsius", labels: [["raum", "Küche 🍳"]], kind: "float", family: 1 },
  {
    name: "temperature_celsius",
    labels: [
      ["instance", ""],
      ["raum", "Bad"],
    ],
    kind: "float",
    family: 1,
  },
  { name: "latency_seconds_bucket", labels: [["le", "0.1"]], kind: "float", family: 2 },
  { name: "latency_seconds_bucket", labels: [["le", "+Inf"]], kind: "float", family: 2 },
  { name: "latency_seconds_sum", labels: [], kind: "float", family: 2 },
  { name: "rpc_seconds", labels: [["quantile", "0.99"]], kind: "float", family: 3 },
];
const mixed = layoutOf(rows, families);
const large = testLayout(...Array.from({ length: 200 }, (_, i) => `large_metric_number_${i}`));
const slot = 115_000_000;

function goldenBatches(): Uint8Array[] {
  const encoder = new RunEncoder(testRun);
  const one = testTarget("1");
  const two = {
    id: "a5".repeat(16),
    labels: labelsOf({ instance: "10.0.0.2:9100", job: "node", datacenter: "dc1" }),
    intervalMs: 60_000,
  };
  const seal = (k: number) =>
    encoder.flush({ nowMs: (slot + k) * 15_000 + 9_900, watermarkMs: (slot + k) * 15_000, generation: 3 })!.bytes;
  const nan = [1, 0x7ff80000] as const;
  const stale = [2, 0x7ff00000] as const;
  encoder.add(
    testScrape(one, mixed, slot, [1027, 3, 21.5, { m: -5, e: -1 }, 12, 144, 8.953332999999999, nan], {}, [
      { row: 2, timestampMs: slot * 15_000 - 1000 },
      { row: 7, timestampMs: slot * 15_000 + 1 },
    ]),
  );
  const refused = {
    slot: slot / 4,
    outcome: "failed_connect",
    timestampMs: slot * 15_000 + 37,
    durationUs: 210,
    bodyBytes: 0,
    samplesScraped: 0,
  } as const;
  encoder.add({
    target: two,
    facts: testFacts(slot / 4, refused),
    layout: mixed,
    values: testColumn([]),
    timestamps: [],
  });
  const first = seal(0);
  encoder.add(testScrape(one, mixed, slot + 1, [1030, 3, 21.48, -0.5, { m: 13, e: 0 }, 150, 9.153332999999998, nan]));
  encoder.add(
    testScrape(
      one,
      mixed,
      slot + 2,
      [1030, undefined, { m: 1, e: 30 }, [0, 0x80000000], 0, Number.MAX_SAFE_INTEGER, 5e-324, stale],
      {
        outcome: "partial",
        seriesRefused: 1,
        generation: 2,
      },
    ),
  );
  const second = seal(2);
  encoder.add(
    testScrape(
      one,
      large,
      slot + 3,
      Array.from({ length: 200 }, (_, i) => i * i),
      { seriesAdded: 200 },
    ),
  );
  encoder.add(
    testScrape(
      one,
      large,
      slot + 4,
      Array.from({ length: 200 }, (_, i) => i * i - (i % 3)),
    ),
  );
  encoder.add(
    testScrape(two, mixed, slot / 4 + 1, [1, 2, 3, 4, 5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 7], {
      timestampMs: slot * 15_000 + 60_000,
    }),
  );
  return [first, second, seal(4)];
}

/** Later in version 1: the first batch, telling of batches that were dropped. */
function goldenDroppedBatch(): Uint8Array {
  const encoder = new RunEncoder(testRun);
  encoder.add(testScrape(testTarget("1"), testLayout("a", "b"), slot, [1.5, 2]));
  const dropped = [
    {
      bootEpoch: 1_699_999_000_000,
      shard: 1,
      run: 2,
      from: 1,
      until: 86_400,
      reason: "full",
      scrapes: 28_800_000,
      slotsFromMs: 1_724_900_000_000,
      slotsUntilMs: 1_724_986_400_000,
    },
    {
      bootEpoch: testRun.bootEpoch,
      shard: 3,
      run: 1,
      from: 7,
      until: 7,
      reason: "refused",
      scrapes: 1,
      slotsFromMs: 1_724_990_000_000,
      slotsUntilMs: 1_724_990_000_000,
    },
  ] as const;
  return encoder.flush({ nowMs: slot * 15_000 + 9_900, watermarkMs: slot * 15_000, generation: 3, dropped })!.bytes;
}

/** What it means, of the section that the other golden batches lack. */
export function readGoldenDropped(bytes: Uint8Array) {
  const { dropped, samples } = new RunDecoder(testRun).decode(bytes, () => {});
  return { dropped, samples };
}

export function goldenGeneration(): Generation {
  const options = {
    honorLabels: false,
    honorTimestamps: true,
    sampleLimit: 50_000,
    labelLimit: 30,
    labelNameLengthLimit: 200,
    labelValueLengthLimit: 1000,
    bodyBytesMax: 67_108_864,
  };
  const other = { ...options, honorLabels: true, honorTimestamps: false, sampleLimit: 0 };
  return {
    datacenter: "dc1",
    number: 42,
    token: 7,
    primary: "dc1-p1",
    validFromMs: 1_725_000_000_000,
    secondaries: [
      { name: "dc1-s1", capacity: 5000 },
      { name: "dc1-s2", capacity: 2500 },
    ],
    targets: [
      {
        target: {
          id: "11111111111111111111111111111111",
          job: "node",
          url: "http://10.0.0.1:9100/metrics",
          labels: labelsOf({ datacenter: "dc1", region: "eu", job: "node", instance: "10.0.0.1:9100" }),
          intervalMs: 15_000,
          timeoutMs: 10_000,
          options,
        },
        owner: "dc1-s1",
      },
      {
        target: {
          id: "22222222222222222222222222222222",
          job: "blackbox",
          url: "https://[::1]:9115/probe?target=https%3A%2F%2Fexample.org",
          labels: labelsOf({ datacenter: "dc1", job: "blackbox", instance: "Küche 🍳" }),
          intervalMs: 60_000,
          timeoutMs: 30_000,
          options: other,
        },
        owner: "",
      },
      {
        target: {
          id: "ffffffffffffffffffffffffffffffff",
          job: "node",
          url: "http://10.0.0.2:9100/metrics",
          labels: labelsOf({ datacenter: "dc1", region: "eu", job: "node", instance: "10.0.0.2:9100" }),
          intervalMs: 15_000,
          timeoutMs: 10_000,
          options,
        },
        owner: "dc1-s2",
      },
    ],
  };
}

/** Later in version 1: with rules for metric relabelling. */
export function goldenRelabelGeneration(): Generation {
  const plain = goldenGeneration();
  const rules: RelabelRule[] = [
    {
      ...relabelDefaults,
      action: "drop",
      sourceLabels: ["__name__", "job"],
      regex: "go_.*;node",
      modulus: 0,
      targetLabel: "",
    },
    { ...relabelDefaults, sourceLabels: ["küche"], regex: "(.+)", separator: "🍳", modulus: 0, targetLabel: "raum_$1" },
    { ...relabelDefaults, action: "hashmod", sourceLabels: [], modulus: 1_000_000, targetLabel: "shard" },
    { ...relabelDefaults, action: "labelmap", sourceLabels: [], modulus: 0, targetLabel: "", replacement: "x_$1" },
  ];
  const metricRelabel = metricRelabelOf(rules, ["datacenter", "region"]);
  const targets = plain.targets.map(({ owner, target }) =>
    target.job === "node"
      ? { owner, target: { ...target, options: { ...target.options, metricRelabel } } }
      : { owner, target },
  );
  return { ...plain, targets };
}

/** Later in version 1: with what is said of HTTP, beside rules and without. */
export function goldenHttpGeneration(): Generation {
  const plain = goldenRelabelGeneration();
  const full = httpSettingsOf({
    job: "node",
    followRedirects: false,
    compression: false,
    authorization: { type: "basic", username: { text: "höger" }, password: { secret: "basic_auth.password" } },
    headers: [
      { name: "X-Tenant", values: [{ text: "a" }, { file: "tenant" }, { secret: "http_headers.X-Tenant.secrets[0]" }] },
    ],
    tls: {
      ca: { file: "/etc/heliograph/targets-ca.pem" },
      cert: { text: "PEM" },
      key: { secret: "tls_config.key" },
      serverName: "target.example",
      insecureSkipVerify: true,
      minVersion: "TLS10",
      maxVersion: "TLS13",
    },
    proxy: {
      url: { text: "http://proxy.example:3128" },
      noProxy: "10.0.0.0/8,.example",
      connectHeaders: [{ name: "X-Way", values: [{ secret: "proxy_connect_header.X-Way[0]" }] }],
    },
  });
  const small = httpSettingsOf({
    job: "fleet",
    followRedirects: true,
    compression: true,
    authorization: { type: "scheme", scheme: "Bearer", credentials: { file: "token" } },
    headers: [],
    proxy: { noProxy: "", connectHeaders: [] },
  });
  const targets = plain.targets.map(({ owner, target }) => {
    const http = target.job === "node" ? full : { ...small, job: target.job };
    const { id: _id, ...content } = http;
    return { owner, target: { ...target, options: { ...target.options, http: httpSettingsOf(content) } } };
  });
  return { ...plain, targets };
}

/** Later in version 1: with a cardinality limit, beside the rest and without. */
export function goldenLimitGeneration(): Generation {
  const { targets, ...rest } = goldenHttpGeneration();
  const [, alone, without] = goldenGeneration().targets;
  const limited = (given: AssignedTarget, cardinalityLimit: number): AssignedTarget => {
    const options = { ...given.target.options, cardinalityLimit };
    return { owner: given.owner, target: { ...given.target, options } };
  };
  return { ...rest, targets: [limited(targets[0]!, 20_000), limited(alone!, 300), without!] };
}

/** Later in version 1: with secondaries that get nothing, and with causes. */
export function goldenStatesGeneration(): Generation {
  const plain = goldenGeneration();
  return {
    ...plain,
    secondaries: [
      ...plain.secondaries,
      { name: "dc1-s3", capacity: 100, state: "draining" },
      { name: "dc1-s4", capacity: 5000, state: "cut_off" },
      { name: "küche-s5", capacity: 1, state: "damped" },
    ],
    causes: [
      { kind: "joined", subject: "küche-s5" },
      { kind: "drain", subject: "dc1-s3" },
      { kind: "cut_off", subject: "dc1-s4" },
      { kind: "targets", subject: "blackbox", count: 300 },
      { kind: "periodic", subject: "" },
    ],
  };
}

/** Version 1's difference: one target went, one moved, one is scraped otherwise, one came. */
export function goldenDelta(): { readonly base: Generation; readonly next: Generation } {
  const base = goldenGeneration();
  const [first, second, third] = base.targets as [AssignedTarget, AssignedTarget, AssignedTarget];
  const changed = { owner: first.owner, target: { ...first.target, intervalMs: 30_000 } };
  const came = {
    owner: "dc1-s3",
    target: { ...second.target, id: "33333333333333333333333333333333", url: "http://küche:1/" },
  };
  const next: Generation = {
    ...base,
    number: 43,
    token: 9,
    primary: "dc1-p2",
    validFromMs: 1_725_000_007_000,
    secondaries: [
      { name: "dc1-s1", capacity: 5000 },
      { name: "dc1-s2", capacity: 2500, state: "draining" },
      { name: "dc1-s3", capacity: 2500 },
    ],
    causes: [
      { kind: "joined", subject: "dc1-s3" },
      { kind: "drain", subject: "dc1-s2" },
      { kind: "targets", subject: "node", count: 3 },
    ],
    targets: [changed, came, { owner: "dc1-s3", target: third.target }],
  };
  return { base, next };
}

export function readGoldenBatches(batches: readonly Uint8Array[]): GoldenBatch[] {
  const decoder = new RunDecoder(testRun);
  return batches.map((bytes) => {
    const scrapes: WrittenScrape[] = [];
    const { header, samples, unreadable } = decoder.decode(bytes, (scrape) => scrapes.push(written(scrape)));
    return { header: { ...header }, scrapes, samples, unreadable };
  });
}

if (import.meta.main) {
  const directory = process.argv[2]!;
  const batches = goldenBatches();
  for (const [i, bytes] of batches.entries()) writeFileSync(`${directory}/batch-v1-${i + 1}.bin`, bytes);
  writeFileSync(`${directory}/batch-v1.json`, `${JSON.stringify(readGoldenBatches(batches), undefined, 2)}\n`);
  const dropped = goldenDroppedBatch();
  writeFileSync(`${directory}/batch-v1-dropped.bin`, dropped);
  writeFileSync(`${directory}/batch-v1-dropped.json`, `${JSON.stringify(readGoldenDropped(dropped), undefined, 2)}\n`);
  writeFileSync(`${directory}/generation-v1.bin`, encodeGeneration(goldenGeneration()));
  writeFileSync(`${directory}/generation-v1.json`, `${JSON.stringify(goldenGeneration(), undefined, 2)}\n`);
  const limit = goldenLimitGeneration();
  writeFileSync(`${directory}/generation-v1-limit.bin`, encodeGeneration(limit));
  writeFileSync(`${directory}/generation-v1-limit.json`, `${JSON.stringify(limit, undefined, 2)}\n`);
  const states = goldenStatesGeneration();
  writeFileSync(`${directory}/generation-v1-states.bin`, encodeGeneration(states));
  writeFileSync(`${directory}/generation-v1-states.json`, `${JSON.stringify(states, undefined, 2)}\n`);
  const { base, next } = goldenDelta();
  const delta = diffGenerations(base, next);
  writeFileSync(`${directory}/generation-v1-delta.bin`, encodeDelta(delta));
  writeFileSync(`${directory}/generation-v1-delta.json`, `${JSON.stringify(delta, undefined, 2)}\n`);
  const relabel = goldenRelabelGeneration();
  writeFileSync(`${directory}/generation-v1-relabel.bin`, encodeGeneration(relabel));
  writeFileSync(`${directory}/generation-v1-relabel.json`, `${JSON.stringify(relabel, undefined, 2)}\n`);
  const http = goldenHttpGeneration();
  writeFileSync(`${directory}/generation-v1-http.bin`, encodeGeneration(http));
  writeFileSync(`${directory}/generation-v1-http.json`, `${JSON.stringify(http, undefined, 2)}\n`);
}

// That a flood of new series costs what is there nothing, is refused by name, and ends.

import { Buffer } from "node:buffer";
import t from "tap";

import { hourMs } from "#/lib/bytes/units.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import type { OutgoingScrape } from "#/lib/codec/encode.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { absentExponent } from "#/lib/model/decimal.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { layoutOf } from "#/lib/model/layout.ts";
import { metricRelabelOf, relabelDefaults } from "#/lib/model/relabel.ts";
import type { ScrapeOptions, Target } from "#/lib/model/target.ts";
import { decimalValue } from "#/lib/model/value.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Compactor } from "#/secondary/compact.ts";
import { Allowance } from "#/secondary/scrape/allowance.ts";
import { chooseRows } from "#/secondary/scrape/choice.ts";
import { Interned } from "#/secondary/scrape/interned.ts";
import { Scraper, type TargetState } from "#/secondary/scrape/scrape.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { makeTarget, plainScrapeOptions } from "#/test/support/targets.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);
const intervalMs = 15_000;

function targetOf(host: string, options: Partial<ScrapeOptions> = {}): Target {
  return makeTarget(`http://${host}:9100/metrics`, {
    intervalMs,
    timeoutMs: 10_000,
    options: { ...plainScrapeOptions, ...options },
  });
}

interface Scraped {
  readonly facts: OutgoingScrape["facts"];
  /** Of each series as its line has it, the value; "absent" where it has none. */
  readonly series: ReadonlyMap<string, number | "absent">;
}

/** A secondary's scraping, of targets that answer with what the test says. */
function secondary(options: { readonly cardinalityLimit?: number; emit?: (scrape: OutgoingScrape) => void } = {}) {
  const clock = manualClock();
  const metrics = createRegistry({ tier: "secondary" });
  const logged: { readonly sentence: string; readonly reason: unknown }[] = [];
  const log: Logger = {
    ...silentLogger(),
    warn: (fields, sentence) => logged.push({ sentence, reason: fields.reason }),
  };
  let body = "";
  let scraped: Scraped | undefined;
  const scraper = new Scraper({
    clock,
    metrics,
    log,
    ...(options.cardinalityLimit !== undefined && { cardinalityLimit: options.cardinalityLimit }),
    fetcher: {
      fetch: async () => ({ ok: true, body: Buffer.from(body), contentType: "text/plain" }),
      close() {},
    },
    emit(scrape) {
      const { facts, layout, values } = scrape;
      const series = new Map<string, number | "absent">();
      for (const [i, { labels, name }] of layout.rows.entries()) {
        const text = labels.map(([label, value]) => `${label}="${value}"`).join(",");
        const value = decimalValue(values.mantissas[i]!, values.exponents[i]!);
        series.set(`${name}{${text}}`, values.exponents[i] === absentExponent ? "absent" : value);
      }
      scraped = { facts, series };
      options.emit?.(scrape);
    },
  });
  let slot = 1;
  const { signal } = new AbortController();
  return {
    clock,
    metrics,
    logged,
    adopt: (target: Target, previous?: TargetState) => scraper.adopt(target, previous),
    left: (state: TargetState) => scraper.left(state),
    /** Lines without their ends; a line without a value has 1. */
    async scrape(state: TargetState, lines: readonly string[], afterMs = intervalMs): Promise<Scraped> {
      body = lines.map((line) => `${line.includes(" ") ? line : `${line} 1`}\n`).join("");
      scraped = undefined;
      await scraper.scrape(state, { slot: slot++, generation: 1, timeoutMs: 1000 }, signal);
      await clock.advance(afterMs);
      return scraped!;
    },
    refused: () => metrics.get("heliograph_secondary_series_refused_total", { reason: "cardinality" }),
    gauge(name: "heliograph_secondary_series" | "heliograph_secondary_flooding_targets"): number {
      metrics.expose();
      return metrics.get(name);
    },
  };
}

function numbered(count: number, name: (i: number) => string): string[] {
  return Array.from({ length: count }, (_, i) => name(i));
}

const old = numbered(100, (i) => `node_load{cpu="${i}"}`);

t.test("what was there before stays when a flood comes, and the flood is named", async (t) => {
  const world = secondary();
  const state = world.adopt(targetOf("a", { cardinalityLimit: 150 }), undefined);
  t.match(await world.scrape(state, old), { facts: { outcome: "stored", seriesRefused: 0 } });
  const flood = numbered(1000, (i) => `http_requests_total{code="200",path="/${i}"}`);
  const { facts, series } = await world.scrape(state, [...flood, ...old]);
  t.match(facts, { outcome: "partial", samplesScraped: 1100, seriesRefused: 950, seriesAdded: 50 });
  t.ok(old.every((each) => series.has(each)));
  t.ok(flood.slice(0, 50).every((each) => series.has(each)));
  t.equal(series.size, 150);
  const sentence =
    '950 new series refused: http_requests_total, label "path" has 1,000 values (cardinality_limit is 150)';
  t.match(state.last, { outcome: "partial", error: sentence, samples: 150, refused: { cardinality: 950 } });
  t.equal(world.refused(), 950);
  t.strictSame(world.logged, [
    {
      sentence: "A target brings more new series than it may: they are refused, its old ones are kept.",
      reason: sentence,
    },
  ]);
  t.equal(world.gauge("heliograph_secondary_flooding_targets"), 1);
  t.equal(world.gauge("heliograph_secondary_series"), 150);
});

t.test("a flood is logged when it begins and when it is over, whatever happens between", async (t) => {
  const world = secondary();
  const state = world.adopt(targetOf("a", { cardinalityLimit: 100 }), undefined);
  await world.scrape(state, old);
  for (let i = 0; i < 20; i++) {
    await world.scrape(state, i % 3 === 0 ? old : [...old, ...numbered(10, (each) => `x${i}{each="${each}"}`)]);
  }
  t.equal(world.logged.length, 1);
  for (let i = 0; i < 9; i++) await world.scrape(state, old);
  t.equal(world.logged.length, 2);
  t.match(world.logged[1], { sentence: "A target no longer brings more new series than it may." });
  t.equal(world.gauge("heliograph_secondary_flooding_targets"), 0);
  t.equal(state.last?.error, "");
});

t.test("a flood with other names each time is refused from the second hour's worth on", async (t) => {
  const world = secondary();
  const state = world.adopt(targetOf("a", { cardinalityLimit: 1000 }), undefined);
  await world.scrape(state, old);
  const outcomes: string[] = [];
  for (let i = 0; i < 8; i++) {
    const { facts, series } = await world.scrape(state, [...numbered(400, (each) => `x${i}{each="${each}"}`), ...old]);
    outcomes.push(facts.outcome);
    t.ok(old.every((each) => series.get(each) === 1));
    t.equal(facts.samplesScraped, series.size + facts.seriesRefused);
  }
  // 2,000 new ones at once, and 2,000 an hour: 8 each 15 s.
  t.strictSame(outcomes, ["stored", "stored", "stored", "stored", "stored", "partial", "partial", "partial"]);
  t.match(state.last?.error, /^400 new series refused: .* \(this target may bring 2,000 new ones an hour\)$/);
});

t.test("after a flood new series are let in again", async (t) => {
  const world = secondary();
  const state = world.adopt(targetOf("a", { cardinalityLimit: 100 }), undefined);
  await world.scrape(state, old.slice(0, 90));
  await world.scrape(state, [...numbered(500, (i) => `x{i="${i}"}`), ...old.slice(0, 90)]);
  const { facts } = await world.scrape(state, old.slice(0, 90), 60_000);
  t.match(facts, { outcome: "stored", samplesScraped: 90 });
  const { facts: later, series } = await world.scrape(state, [...old.slice(0, 90), "y", "z"]);
  t.match(later, { outcome: "stored", seriesRefused: 0, seriesAdded: 2 });
  t.ok(series.has("y{}") && series.has("z{}"));
});

t.test("while a flood lasts, a metric that brings few new series gets them in", async (t) => {
  const layout = (lines: readonly [string, number][]) =>
    layoutOf(
      lines.flatMap(([name, count]) =>
        numbered(count, (i) => String(i)).map((i) => ({
          name,
          labels: labelsOf({ i }),
          kind: "float" as const,
          family: 0,
        })),
      ),
      [{ name: "f", type: "unknown", help: "", unit: "" }],
    );
  const choose = (lines: readonly [string, number][], known: readonly [string, number][], room: number) => {
    const counts: Record<string, number> = {};
    const choice = chooseRows(layout(lines), layout(known), () => room, new Interned());
    for (const { name } of choice.layout.rows) counts[name] = (counts[name] ?? 0) + 1;
    return counts;
  };
  t.strictSame(
    choose(
      [
        ["flood", 1000],
        ["old", 5],
        ["new", 3],
      ],
      [["old", 5]],
      20,
    ),
    { flood: 17, old: 5, new: 3 },
  );
  t.strictSame(
    choose(
      [
        ["a", 1000],
        ["b", 1000],
      ],
      [],
      21,
    ),
    { a: 10, b: 11 },
  );
  t.strictSame(
    choose(
      [
        ["flood", 1000],
        ["old", 5],
      ],
      [["old", 5]],
      0,
    ),
    { old: 5 },
  );
  t.strictSame(
    choose(
      [
        ["flood", 1000],
        ["old", 5],
      ],
      [["old", 5]],
      -2,
    ),
    { old: 3 },
    "a limit that was lowered",
  );
  t.strictSame(
    choose(
      [
        ["old", 5],
        ["new", 2],
      ],
      [["old", 9]],
      2,
    ),
    { old: 5, new: 2 },
    "nothing is refused in vain",
  );
});

t.test("a limit that the operator changes holds from the next scrape on, and other rules begin anew", async (t) => {
  const world = secondary();
  let state = world.adopt(targetOf("a", { cardinalityLimit: 50 }), undefined);
  t.match(await world.scrape(state, old), { facts: { outcome: "partial", seriesRefused: 50 } });
  state = world.adopt(targetOf("a", { cardinalityLimit: 80 }), state);
  t.match(await world.scrape(state, old), { facts: { outcome: "partial", seriesRefused: 20 } });
  state = world.adopt(targetOf("a", { cardinalityLimit: 10 }), state);
  t.match(await world.scrape(state, old), { facts: { outcome: "partial", seriesRefused: 90 } });
  const rule = { ...relabelDefaults, sourceLabels: ["cpu"], modulus: 0, targetLabel: "core" };
  const renaming = targetOf("a", { cardinalityLimit: 100, metricRelabel: metricRelabelOf([rule], []) });
  for (let i = 0; i < 5; i++) {
    state = world.adopt(i % 2 === 0 ? renaming : targetOf("a", { cardinalityLimit: 100 }), state);
    t.match(await world.scrape(state, old), { facts: { outcome: "stored", seriesRefused: 0 } }, `rename ${i}`);
  }
  world.left(state);
  t.equal(world.gauge("heliograph_secondary_series"), 0);
});

t.test("a secondary's limit: who grows is refused, who stays loses nothing, who is small may still come", async (t) => {
  const world = secondary({ cardinalityLimit: 1000 });
  const states = numbered(5, (i) => `h${i}`).map((host) => world.adopt(targetOf(host), undefined));
  for (const state of states.slice(0, 4)) {
    t.match(await world.scrape(state, old), { facts: { outcome: "stored" } });
  }
  const [flooding, staying] = states as [TargetState, TargetState];
  for (let i = 0; i < 12; i++) {
    const { series } = await world.scrape(flooding, [...numbered(2000, (each) => `x{i="${each}"}`), ...old], 60_000);
    t.ok(old.every((each) => series.has(each)));
  }
  t.match(
    flooding.last?.error,
    /^1,\d\d\d new series refused: x, label "i" has 2,000 values \(this secondary takes 1,000\)$/,
  );
  t.match(await world.scrape(staying, old), { facts: { outcome: "stored" } });
  const series = world.gauge("heliograph_secondary_series");
  t.ok(series > 980 && series <= 1000, `${series} of 1000`);
  t.match(
    await world.scrape(states[4]!, old),
    { facts: { outcome: "stored" } },
    "a fifth of the half is its fair share",
  );
  world.left(flooding);
  t.equal(world.gauge("heliograph_secondary_series"), 400);
});

t.test("more than can be read at all: what was there before is still read", async (t) => {
  const world = secondary();
  const state = world.adopt(targetOf("a"), undefined);
  await world.scrape(state, old);
  const { facts, series } = await world.scrape(state, [...numbered(250_000, (i) => `x{i="${i}"}`), ...old]);
  t.match(facts, { outcome: "partial", samplesScraped: 250_100, seriesRefused: 250_000 });
  t.strictSame([...series.keys()], old);
  t.match(state.last?.error, /^250,000 new series refused/);
  const head = `x{i="${"y".repeat(70_000)}"}`;
  t.match(await world.scrape(state, [head, ...old]), { facts: { outcome: "partial", seriesRefused: 1 } });
  t.match(
    await world.scrape(
      state,
      numbered(500_001, () => "a"),
    ),
    {
      facts: { outcome: "failed_sample_limit" },
    },
  );
});

t.test(
  "what is new is understood 20,000 at a time, and what was there is read whatever stands before it",
  async (t) => {
    const world = secondary();
    const state = world.adopt(targetOf("a"), undefined);
    await world.scrape(state, old);
    const many = [...numbered(30_000, (i) => `x{i="${i}"}`), ...old];
    t.match(await world.scrape(state, many, 60_000), {
      facts: { outcome: "partial", samplesScraped: 30_100, seriesRefused: 10_000, seriesAdded: 20_000 },
    });
    const { facts, series } = await world.scrape(state, many);
    t.match(facts, { outcome: "stored", samplesScraped: 30_100, seriesRefused: 0, seriesAdded: 10_000 });
    t.ok(old.every((each) => series.has(each)));
    t.match(await world.scrape(state, many), { facts: { outcome: "stored", samplesScraped: 30_100, seriesAdded: 0 } });
  },
);

t.test("old series that come and go during a flood are as they are, and stay old", async (t) => {
  const world = secondary();
  const state = world.adopt(targetOf("a", { cardinalityLimit: 100 }), undefined);
  await world.scrape(state, old);
  const flood = (i: number) => numbered(300, (each) => `x${i}{each="${each}"}`);
  await world.scrape(state, [...flood(0), ...old]);
  const { series: fewer } = await world.scrape(state, [...flood(1), ...old.slice(5)]);
  t.strictSame([...fewer.keys()], old.slice(5));
  const { facts, series } = await world.scrape(state, [...flood(2), ...old.toReversed()]);
  t.strictSame([...series.keys()], old);
  t.match(facts, { seriesAdded: 5, seriesRefused: 300 });
});

t.test("the same series in other words is found during a flood", async (t) => {
  const world = secondary();
  const state = world.adopt(targetOf("a", { cardinalityLimit: 100 }), undefined);
  const spelt = numbered(100, (i) => `a{x="${i}",y="1"}`);
  await world.scrape(state, spelt);
  await world.scrape(state, [...spelt, ...numbered(100, (i) => `x0{i="${i}"}`)]);
  await world.scrape(state, [...spelt, ...numbered(100, (i) => `x1{i="${i}"}`)]);
  const others = numbered(100, (i) => `a{y="1",x="${i}"}`);
  const { series } = await world.scrape(state, [...others, ...numbered(100, (i) => `x2{i="${i}"}`)]);
  t.strictSame([...series.keys()], spelt);
});

t.test("whatever comes, old series are kept and the sums balance (random)", async (t) => {
  const random = seededRandom(seed);
  const below = (n: number) => Math.floor(random.next() * n);
  for (let round = 0; round < 60; round++) {
    const limit = 20 + below(60);
    const rule = {
      ...relabelDefaults,
      action: "drop" as const,
      sourceLabels: ["drop"],
      regex: "yes",
      modulus: 0,
      targetLabel: "",
    };
    const world = secondary(below(3) === 0 ? { cardinalityLimit: 30 + below(60) } : {});
    let state = world.adopt(
      targetOf("a", { cardinalityLimit: limit, ...(below(2) === 0 && { metricRelabel: metricRelabelOf([rule], []) }) }),
      undefined,
    );
    const isRelabelled = state.target.options.metricRelabel !== undefined;
    let last = new Set<string>();
    let drift = below(3);
    for (let step = 0; step < 40; step++) {
      const body = new Map<string, number>();
      const base = 1 + below(limit);
      for (let i = 0; i < base; i++) body.set(`base{i="${i}"}`, below(1000));
      const flood = below(4) === 0 ? 0 : below(3 * limit);
      for (let i = 0; i < flood; i++) body.set(`flood${below(3)}{drift="${drift}",i="${i}"}`, below(1000));
      for (let i = 0; i < below(20); i++) body.set(`gone{drop="yes",i="${step * 20 + i}"}`, 1);
      if (below(2) === 0) drift++;
      const series = [...body].map(([name, value]): [string, number] => [name, value]);
      if (below(3) === 0) series.reverse();
      const lines = series.map(([name, value]) => `${name} ${value}`);
      for (let i = 0; i < below(4); i++) lines.splice(below(lines.length), 0, lines[below(lines.length)]!);
      const first = new Map<string, number>();
      for (const line of lines) {
        const [name, value] = line.split(" ") as [string, string];
        if (!first.has(name)) first.set(name, Number(value));
      }
      if (below(10) === 0) state = world.adopt(state.target, state);
      const scraped = await world.scrape(state, lines, below(90_000));
      const where = `round ${round}, step ${step}`;
      const { dropped, refused } = state.last!;
      const { facts } = scraped;
      const sum = Object.values(refused!).reduce((a, b) => a + b, 0);
      if (facts.samplesScraped !== lines.length) t.fail(`${where}: ${facts.samplesScraped} of ${lines.length} samples`);
      if (facts.seriesRefused !== sum) t.fail(`${where}: ${facts.seriesRefused} refused, ${sum} by reason`);
      if (scraped.series.size + dropped + sum !== lines.length) t.fail(`${where}: the sums do not balance`);
      if (scraped.series.size > limit) t.fail(`${where}: ${scraped.series.size} series, the limit is ${limit}`);
      if ((facts.outcome === "stored") !== (sum === 0)) t.fail(`${where}: ${facts.outcome} with ${sum} refused`);
      for (const name of last) {
        if (first.has(name) && !scraped.series.has(name)) t.fail(`${where}: ${name} was there and is lost`);
      }
      for (const [name, value] of scraped.series) {
        if (first.get(name) !== value) t.fail(`${where}: ${name} is ${first.get(name)}, stored is ${value}`);
        if (isRelabelled && name.startsWith("gone")) t.fail(`${where}: ${name} should be dropped`);
      }
      last = new Set(scraped.series.keys());
    }
  }
  t.pass("all rounds");
});

t.test("a flood from the target's body to decoded batches", async (t) => {
  const batches: Uint8Array[] = [];
  const world = secondary({ emit: (scrape) => compactor.add(scrape) });
  const identity = { datacenter: "fra", secondary: "s1", bootEpoch: 1, shard: 0 };
  const compactor: Compactor = new Compactor({
    identity,
    clock: world.clock,
    log: silentLogger(),
    progress: () => ({ watermarkMs: 0, generation: 1 }),
    sink: (batch) => batches.push(batch.bytes),
  });
  compactor.start();
  const state = world.adopt(targetOf("a", { cardinalityLimit: 120 }), undefined);
  for (let i = 0; i < 10; i++) {
    const flood = i < 3 ? [] : numbered(5000, (each) => `http_requests_total{path="/${i}/${each}"}`);
    await world.scrape(state, [...old.map((line, row) => `${line} ${i * 1000 + row}`), ...flood]);
  }
  compactor.close();
  const decoder = new RunDecoder({ ...identity, run: 1 });
  const decoded: { outcome: string; olds: number; rows: number; sum: number }[] = [];
  for (const bytes of batches) {
    decoder.decode(bytes, ({ facts, layout, values }) => {
      const olds = layout.rows.flatMap(({ name }, row) => (name === "node_load" ? [values[row]!] : []));
      const { outcome, samplesScraped, seriesRefused } = facts;
      t.equal(samplesScraped, layout.rows.length + seriesRefused);
      decoded.push({ outcome, olds: olds.length, rows: layout.rows.length, sum: olds.reduce((a, b) => a + b, 0) });
    });
  }
  t.equal(decoded.length, 10);
  for (const [i, { olds, outcome, rows, sum }] of decoded.entries()) {
    t.strictSame([outcome, olds, sum], [i < 3 ? "stored" : "partial", 100, i * 100_000 + 4950]);
    t.ok(rows <= 120);
  }
});

t.test("an allowance is spent at once and fills up again with time", (t) => {
  const allowance = new Allowance({ burst: 100, perHour: 3600 }, 0);
  t.equal(allowance.left(0), 100);
  allowance.spend(150);
  t.equal(allowance.left(0), -50);
  t.equal(allowance.left(60_000), 10);
  allowance.resize({ burst: 200, perHour: 3600 }, 60_000);
  t.equal(allowance.left(60_000), 110);
  t.equal(allowance.left(60_000 + hourMs), 200, "and not above what it is");
  t.end();
});

import fc from "fast-check";
import t from "tap";
import { minuteMs } from "#/lib/bytes/units.ts";
import { labelsRecord, type MatchOperator } from "#/lib/model/labels.ts";
import { type Outcome, outcomes } from "#/lib/model/outcome.ts";
import type { ScrapedTarget } from "#/lib/model/scrape.ts";
import type { SeriesSamples, TimeRange } from "#/lib/model/source.ts";
import { isStale, setStale, wordsOf } from "#/lib/model/value.ts";
import { Head } from "#/lib/store/head.ts";
import { Matrix } from "#/lib/store/matrix.ts";
import { Packed } from "#/lib/store/packed.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { NaiveHead } from "#/test/support/naive-head.ts";
import { layoutFrom, matcher, type ScrapeParts, scrapedTarget, scrapeOf } from "#/test/support/scrapes.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);

const always: TimeRange = { fromMs: Number.NEGATIVE_INFINITY, untilMs: Number.POSITIVE_INFINITY };
const signal = new AbortController().signal;

/** Its phase is 6,789 ms and its interval 15 s, which makes slot 0 at 6789, slot 1 at 21789 and so on. */
const web = scrapedTarget({ job: "web", instance: "a:1" });

function newHead() {
  const metrics = createRegistry({ tier: "global" });
  return { head: new Head({ metrics }), metrics };
}

function samplesText({ timesMs, values }: SeriesSamples, target: ScrapedTarget): string {
  const words = wordsOf(values);
  const phase = scrapeOf(target, { slot: 0 }).facts.timestampMs;
  return Array.from(timesMs, (timeMs, i) => {
    const slot = (timeMs - phase) / target.intervalMs;
    return `${slot}:${isStale(words, i) ? "stale" : values[i]}`;
  }).join(" ");
}

/** The samples of each series of a name, in slots of `web`: `1:5 2:6 3:stale`. */
async function read(head: Head, name: string, range = always): Promise<string[]> {
  const { series } = await head.select([matcher("__name__", "=", name)], range, signal);
  return series.map((one) => samplesText(one, web));
}

const ab = layoutFrom("a", "b");
const onlyA = layoutFrom("a");
const slots = (...parts: ScrapeParts[]) => parts.map((part) => scrapeOf(web, part));

t.test("a series ends where its target no longer has it, exactly as in Prometheus", async (t) => {
  const cases: [claim: string, parts: ScrapeParts[], a: string, b: string, up: string][] = [
    [
      "it goes on while it is there",
      [1, 2, 3].map((slot) => ({ slot, layout: ab, values: [slot, -slot] })),
      "1:1 2:2 3:3",
      "1:-1 2:-2 3:-3",
      "1:1 2:1 3:1",
    ],
    [
      "a row that the next layout lacks goes stale at its scrape, once",
      [
        { slot: 1, layout: ab, values: [1, 1] },
        { slot: 2, layout: onlyA, values: [2] },
        { slot: 3, layout: onlyA, values: [3] },
        { slot: 4, layout: ab, values: [4, 4] },
      ],
      "1:1 2:2 3:3 4:4",
      "1:1 2:stale 4:4",
      "1:1 2:1 3:1 4:1",
    ],
    [
      "a row without a sample, because it was refused, does too",
      [
        { slot: 1, layout: ab, values: [1, 1] },
        { slot: 2, layout: ab, values: [2, undefined], outcome: "partial" },
        { slot: 3, layout: ab, values: [3, undefined], outcome: "partial" },
        { slot: 4, layout: ab, values: [4, 4] },
      ],
      "1:1 2:2 3:3 4:4",
      "1:1 2:stale 4:4",
      "1:1 2:1 3:1 4:1",
    ],
    [
      "a failed scrape ends them all, and up goes on",
      [{ slot: 1, layout: ab, values: [1, 1] }, { slot: 2 }, { slot: 3 }, { slot: 4, layout: ab, values: [4, 4] }],
      "1:1 2:stale 4:4",
      "1:1 2:stale 4:4",
      "1:1 2:0 3:0 4:1",
    ],
    [
      "a missed slot says nothing",
      [
        { slot: 1, layout: ab, values: [1, 1] },
        { slot: 2, outcome: "missed_overload" },
        { slot: 3, layout: ab, values: [3, 3] },
        { slot: 4, outcome: "missed_down" },
        { slot: 5 },
      ],
      "1:1 3:3 5:stale",
      "1:1 3:3 5:stale",
      "1:1 3:1 5:0",
    ],
    [
      "a superseded one neither",
      [
        { slot: 1, layout: ab, values: [1, 1] },
        { slot: 2, outcome: "superseded" },
      ],
      "1:1",
      "1:1",
      "1:1",
    ],
    [
      "a series that begins later was not stale before",
      [{ slot: 1 }, { slot: 2, layout: onlyA, values: [2] }, { slot: 3, layout: ab, values: [3, 3] }],
      "2:2 3:3",
      "3:3",
      "1:0 2:1 3:1",
    ],
  ];
  for (const [claim, parts, a, b, up] of cases) {
    const { head } = newHead();
    for (const scrape of slots(...parts)) head.append(scrape);
    t.same(await read(head, "a"), [a], claim);
    t.same(await read(head, "b"), [b], claim);
    t.same(await read(head, "up"), [up], claim);
  }
});

t.test("where a generation drops a target, all its series end, up too", async (t) => {
  const { head } = newHead();
  for (const scrape of slots(...[1, 2].map((slot) => ({ slot, layout: onlyA, values: [slot] })))) head.append(scrape);
  const timeMs = scrapeOf(web, { slot: 2 }).facts.timestampMs + 7500;
  head.endTargets([web.id, "unknown"], { timeMs, generation: 2 });
  t.same(await read(head, "a"), ["1:1 2:2 2.5:stale"]);
  t.same(await read(head, "up"), ["1:1 2:1 2.5:stale"]);

  t.test("an owner that had not heard of it yet moves the end behind its last scrape", async (t) => {
    for (const slot of [3, 4]) head.append(scrapeOf(web, { slot, layout: onlyA, values: [slot] }));
    t.same(await read(head, "a"), [`1:1 2:2 3:3 4:4 ${4 + 1 / 15000}:stale`]);
  });

  t.test("a later generation may bring it back", async (t) => {
    head.append(scrapeOf(web, { slot: 9, layout: onlyA, values: [9], generation: 3 }));
    t.same(await read(head, "a"), [`1:1 2:2 3:3 4:4 ${4 + 1 / 15000}:stale 9:9`]);
    t.same(await read(head, "up"), [`1:1 2:1 3:1 4:1 ${4 + 1 / 15000}:stale 9:1`]);
  });
});

t.test("samples with a time of their own stand at that time and never go stale", async (t) => {
  const { head } = newHead();
  const at = (slot: number) => scrapeOf(web, { slot }).facts.timestampMs;
  head.append(scrapeOf(web, { slot: 1, layout: ab, values: [1, 1] }));
  const timestamps = [{ row: 1, timestampMs: at(2) - 3000 }];
  head.append(scrapeOf(web, { slot: 2, layout: ab, values: [2, 2], timestamps }));
  head.append(scrapeOf(web, { slot: 3, layout: ab, values: [3, 2], timestamps }));
  head.append(scrapeOf(web, { slot: 4, layout: onlyA, values: [4] }));
  t.same(await read(head, "b"), ["1:1 1.8:2 2:stale"], "the row's own staleness ends where it begins to bring times");
  t.same(await read(head, "a"), ["1:1 2:2 3:3 4:4"]);
  t.same(await read(head, "b", { fromMs: at(1) + 1, untilMs: at(2) - 1 }), ["1.8:2"], "by its own time");
});

t.test("a slot is kept once: the highest generation that stored, else the highest", async (t) => {
  const cases: [claim: string, first: Partial<ScrapeParts>, second: Partial<ScrapeParts>, up: string, a: string[]][] = [
    ["a higher generation wins", { values: [1] }, { values: [2], generation: 2 }, "5:1", ["5:2"]],
    ["a lower one does not", { values: [1], generation: 2 }, { values: [2] }, "5:1", ["5:1"]],
    ["stored wins over failed", { generation: 2 }, { values: [2] }, "5:1", ["5:2"]],
    ["failed does not win over stored", { values: [1] }, { generation: 2 }, "5:1", ["5:1"]],
    ["the same twice changes nothing", { values: [1] }, { values: [1] }, "5:1", ["5:1"]],
  ];
  for (const [claim, first, second, up, a] of cases) {
    const { head, metrics } = newHead();
    head.append(scrapeOf(web, { layout: onlyA, ...first, slot: 5 }));
    const later = scrapeOf(web, { slot: 5 }).facts.timestampMs + (second.values?.[0] === 1 ? 0 : 40);
    head.append(scrapeOf(web, { layout: onlyA, ...second, slot: 5, timestampMs: later }));
    const { series } = await head.select([matcher("__name__", "=", "up")], always, signal);
    t.equal(series[0]!.timesMs.length, 1, claim);
    t.same(
      (await read(head, "up")).map((text) => text.replace(/^5\.\d+/, "5")),
      [up],
      claim,
    );
    t.same(
      (await read(head, "a")).map((text) => text.replace(/^5\.\d+/, "5")),
      a,
      claim,
    );
    t.equal(metrics.get("heliograph_head_repeated_slots_total"), 1, claim);
  }
});

t.test("what comes late is put in its place, however it comes", async (t) => {
  const numbers = Array.from({ length: 300 }, (_, i) => i);
  const expected = numbers.map((slot) => `${slot}:${slot}`).join(" ");
  const orders: Record<string, number[]> = {
    "in order": numbers,
    backwards: numbers.toReversed(),
    "the present first, then what a cut held back": [
      ...numbers.slice(0, 70),
      ...numbers.slice(200),
      ...numbers.slice(70, 200),
    ],
    "every third first": [0, 1, 2].flatMap((rest) => numbers.filter((slot) => slot % 3 === rest)),
  };
  for (const [claim, order] of Object.entries(orders)) {
    const { head } = newHead();
    for (const slot of order) head.append(scrapeOf(web, { slot, layout: onlyA, values: [slot] }));
    t.same(await read(head, "a"), [expected], claim);
    const { chunks } = head.stats();
    t.ok(chunks <= 15, `${claim}: ${chunks} chunks`);
  }
});

t.test("trimming drops what is too old, and refuses and counts what comes too late", async (t) => {
  const { head, metrics } = newHead();
  const at = (slot: number) => scrapeOf(web, { slot }).facts.timestampMs;
  for (let slot = 0; slot < 200; slot++) head.append(scrapeOf(web, { slot, layout: onlyA, values: [slot] }));
  t.equal(head.stats().chunks, 4);
  head.trim(at(130));
  t.equal(head.stats().chunks, 2, "64 scrapes a chunk: the first two are gone");
  t.equal((await read(head, "a"))[0]!.split(" ")[0], "130:130", "and of the third, nothing before it is answered");
  t.equal(head.append(scrapeOf(web, { slot: 129, layout: onlyA, values: [1] })), "too_old");
  t.equal(head.append(scrapeOf(web, { slot: 300, layout: onlyA, values: [300] })), "appended");
  t.equal(metrics.get("heliograph_head_late_scrapes_total", { result: "too_old" }), 1);
  head.trim(at(301));
  t.same(head.stats(), { targets: 0, series: 0, samples: 0, bytes: 0, chunks: 0, layouts: 0 });
  t.same(await head.labelNames([], always, signal), []);
});

t.test("series and labels are listed within a range, with what rows take away and overlay", async (t) => {
  const { head } = newHead();
  const db = scrapedTarget({ job: "db", instance: "b:1" });
  head.append(scrapeOf(web, { slot: 1, layout: layoutFrom("a", "a{job=}", "c{job=own,path=/}"), values: [1, 2, 3] }));
  head.append(scrapeOf(db, { slot: 1_000, layout: layoutFrom("d"), values: [1] }));
  const name = (value: string) => matcher("__name__", "=", value);
  t.same((await head.series([[name("a")], [name("c")], [name("a")]], always, signal)).map(labelsRecord), [
    { __name__: "a", instance: "a:1" },
    { __name__: "a", instance: "a:1", job: "web" },
    { __name__: "c", instance: "a:1", job: "own", path: "/" },
  ]);
  t.same(await head.labelNames([], always, signal), ["__name__", "instance", "job", "path"]);
  t.same(await head.labelNames([[name("d")]], always, signal), ["__name__", "instance", "job"]);
  t.same(await head.labelValues("job", [], always, signal), ["db", "own", "web"]);
  t.same(await head.labelValues("job", [[matcher("path", "!=", "")]], always, signal), ["own"]);
  t.same(await head.labelValues("__name__", [[matcher("job", "=", "db")]], always, signal), [
    "d",
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "scrape_samples_scraped",
    "scrape_series_added",
    "up",
  ]);
  t.same(await head.labelValues("job", [], { fromMs: 0, untilMs: minuteMs }, signal), ["own", "web"]);
  t.same(await head.metadata(), [{ name: "test", type: "gauge", help: "A test's.", unit: "" }]);
});

t.test("two targets with the same labels are one series; a target's own up is not the report's", async (t) => {
  const { head } = newHead();
  const other = { ...web, id: `${web.id.slice(0, 31)}${web.id.endsWith("0") ? "1" : "0"}` };
  head.append(scrapeOf(web, { slot: 1, layout: layoutFrom("a", "up"), values: [1, 77] }));
  head.append(scrapeOf(web, { slot: 2 }));
  head.append(scrapeOf(other, { slot: 3, layout: onlyA, values: [3] }));
  t.same(await read(head, "a"), ["1:1 2:stale 3:3"]);
  t.same(await read(head, "up"), ["1:1 2:0 3:1"]);
});

t.test("every value comes back bit for bit from a sealed chunk", async (t) => {
  const values = [
    0,
    -0,
    1.5,
    -7,
    0.1,
    123456.789,
    1e300,
    5e-324,
    2 ** 53 - 1,
    0.1 + 0.2,
    Number.NaN,
    -Infinity,
    Infinity,
  ];
  const stale = new Float64Array(1);
  setStale(wordsOf(stale), 0);
  await fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.constantFrom(...values),
          fc.double(),
          fc.integer(),
          fc.integer({ min: -(10 ** 9), max: 10 ** 9 }).map((mantissa) => mantissa / 1000),
          fc.constant("stale" as const),
        ),
        { minLength: 1, maxLength: 64 },
      ),
      (column) => {
        const table = new Matrix(3);
        const row = new Float64Array(3);
        for (const [i, value] of column.entries()) {
          if (value === "stale") row.set(stale, 0);
          else row[0] = value;
          row[1] = i * 15_000;
          row[2] = 42;
          table.insert(i, row);
        }
        const packed = new Packed(table);
        for (const at of [0, 1, 2]) {
          const expected = new Float64Array(64);
          const found = new Float64Array(64);
          table.column(at, expected);
          packed.column(at, found);
          t.same(wordsOf(found), wordsOf(expected));
        }
        return t.passing();
      },
    ),
    { seed, numRuns: 300 },
  );
});

const rowTexts = ["a", "b", "a{x=1}", "b{x=2}", "c{job=}", "c{job=own}", "a{job=web}", "c{x=1,y=2}"];
const targets = [
  web,
  scrapedTarget({ job: "db", instance: "b:1" }),
  scrapedTarget({ job: "web", instance: "c:1", zone: "z" }),
];

const operation = fc.record({
  target: fc.nat({ max: 2 }),
  rows: fc.subarray(rowTexts, { minLength: 0 }),
  /** Mostly the layout before it again. */
  newLayout: fc.nat({ max: 9 }).map((n) => n === 0),
  /** Mostly the next slot, sometimes an earlier one again or a gap. */
  step: fc.oneof({ weight: 8, arbitrary: fc.constant(1) }, { weight: 2, arbitrary: fc.integer({ min: -6, max: 4 }) }),
  outcome: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Outcome>("stored") },
    { weight: 2, arbitrary: fc.constantFrom(...outcomes) },
  ),
  generation: fc.integer({ min: 1, max: 3 }),
  value: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom(0.25, -0, Number.NaN, 1e20)),
  absent: fc.nat({ max: 20 }),
  ownTime: fc.nat({ max: 60 }),
  lateMs: fc.nat({ max: 9 }),
  end: fc.nat({ max: 40 }),
});

const condition = fc.record({
  name: fc.constantFrom("__name__", "job", "instance", "x", "zone", "nowhere"),
  operator: fc.constantFrom<MatchOperator>("=", "!=", "=~", "!~"),
  value: fc.constantFrom("a", "b", "up", "web", "db", "own", "1", "z", "", ".*", ".+", "a|b", "web|", "a:1"),
});

t.test("any scrapes in any order, under any conditions, are answered as the slow way does", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 1, maxLength: 160, size: "max" }),
      fc.array(fc.array(condition, { maxLength: 3 }), { minLength: 3, maxLength: 3 }),
      fc.tuple(fc.nat({ max: 100 }), fc.nat({ max: 100 })),
      async (operations, conditions, [from, length]) => {
        const { head } = newHead();
        const naive = new NaiveHead();
        const slotsOf = [0, 0, 0];
        const layouts = [onlyA, onlyA, onlyA];
        for (const op of operations) {
          const target = targets[op.target]!;
          const layout = layouts[op.target]!;
          const slot = Math.max(0, slotsOf[op.target]! + op.step);
          slotsOf[op.target] = slot;
          const values = layout.rows.map((_, row) => (row === op.absent ? undefined : op.value + row));
          const { timestampMs } = scrapeOf(target, { slot }).facts;
          const timestamps = op.ownTime < values.length ? [{ row: op.ownTime, timestampMs: timestampMs - 5000 }] : [];
          const scrape = scrapeOf(target, {
            slot,
            layout,
            values,
            timestamps,
            outcome: op.outcome,
            generation: op.generation,
            timestampMs: timestampMs + op.lateMs,
          });
          head.append(scrape);
          naive.append(scrape);
          if (op.end === 0) {
            const at = { timeMs: timestampMs + 100, generation: op.generation + 1 };
            head.endTargets([target.id], at);
            naive.end(target.id, at);
          }
          if (op.end === 1) head.trim(Number.NEGATIVE_INFINITY); // Seals what is idle.
        }
        const range = { fromMs: from * 15_000, untilMs: (from + length) * 15_000 };
        for (const conditionsOfOne of [...conditions, [{ name: "__name__", operator: "=" as const, value: "a" }]]) {
          const matchers = conditionsOfOne.map(({ name, operator, value }) => matcher(name, operator, value));
          for (const within of [always, range]) {
            const expected = naive.select(matchers, within).map(({ labels, samples }) => ({
              labels: labelsRecord(labels),
              samples: samples.map(({ timeMs, value }) => [timeMs, value]),
            }));
            const found = (await head.select(matchers, within, signal)).series.map(({ labels, timesMs, values }) => {
              const words = wordsOf(values);
              const samples = Array.from(timesMs, (timeMs, i) => [timeMs, isStale(words, i) ? "stale" : values[i]]);
              return { labels: labelsRecord(labels), samples };
            });
            if (JSON.stringify(found) !== JSON.stringify(expected)) {
              throw new Error(`expected ${JSON.stringify(expected)}\n     got ${JSON.stringify(found)}`);
            }
          }
        }
      },
    ),
    { seed, numRuns: 150 },
  );
  t.pass("150 of them");
});

t.test("a query that nobody waits for any more ends", async (t) => {
  const { head } = newHead();
  head.append(scrapeOf(web, { slot: 1, layout: onlyA, values: [1] }));
  await t.rejects(head.select([], always, AbortSignal.abort(new Error("gone"))), { message: "gone" });
});

import fc from "fast-check";
import t from "tap";

import { labelsRecord } from "#/lib/model/labels.ts";
import type { SampleSource } from "#/lib/model/source.ts";
import { formatValue } from "#/lib/model/value.ts";
import type { Expression } from "#/lib/promql/ast.ts";
import { QueryError } from "#/lib/promql/errors.ts";
import { nestingDepthMax, queryBytesMax } from "#/lib/promql/limits.ts";
import { parse, parseSelector } from "#/lib/promql/parser.ts";
import { instantQuery, type QueryAnswer, type QueryOptions, rangeQuery } from "#/lib/promql/query.ts";
import { compileMatcher } from "#/lib/promql/regex.ts";
import { type LiteralSeries, MemorySource } from "#/test/support/memory-source.ts";
import {
  type EngineAdapter,
  readVectors,
  runVectors,
  skipReason,
  type VectorCase,
} from "#/test/support/shared-vectors.ts";

const never = new AbortController().signal;

/** Of 642 in public.json: what is missing is info() (26), and what Prometheus has behind flags that we do not have. */
const publicPassesMin = 596;
const publicCorePassesMin = 423;
const oraclePassesMin = 416;

t.test("the parser accepts and refuses what Prometheus does", { skip: skipReason }, async (t) => {
  const document = readVectors<{ vectors: { q: string; ok: boolean }[] }>("parse-public.json")!;
  let right = 0;
  for (const { q, ok } of document.vectors) {
    const error = errorOf(() => parse(q));
    if ((error === undefined) === ok) right++;
    else t.fail(`${q}: expected ${ok ? "a tree" : "an error"}, got ${error ?? "a tree"}`);
  }
  t.comment(`parse-public.json: ${right} of ${document.vectors.length}`);
  t.equal(right, 179);
});

t.test("every query of the vectors that can be answered parses", { skip: skipReason }, async (t) => {
  let queries = 0;
  for (const file of ["public.json", "oracle-public.json", "native.json"]) {
    const document = readVectors<{ groups: { cases: { query: string; expect: { type: string } }[] }[] }>(file)!;
    for (const { query, expect } of document.groups.flatMap((group) => group.cases)) {
      queries++;
      if (expect.type !== "fail")
        t.equal(
          errorOf(() => parse(query)),
          undefined,
          query,
        );
    }
  }
  t.comment(`${queries} queries parsed`);
});

t.test("the shared vectors give Prometheus' answers", { skip: skipReason }, async (t) => {
  const publicDocument = readVectors("public.json");
  report(t, "public.json", await runVectors(publicDocument, adapter()), publicPassesMin);
  const core = await runVectors(publicDocument, adapter(), {
    skip: ["experimental"],
    rangeRecheck: true,
    annotations: true,
  });
  report(t, "public.json, core alone, also as range queries, annotations too", core, publicCorePassesMin);
  report(t, "oracle-public.json", await runVectors(readVectors("oracle-public.json"), adapter()), oraclePassesMin);
});

function report(
  t: typeof import("tap").default | import("tap").Test,
  name: string,
  cases: readonly VectorCase[],
  passesMin: number,
): void {
  const passes = cases.filter(({ status }) => status === "pass").length;
  t.comment(`${name}: ${passes} of ${cases.length} pass`);
  t.ok(passes >= passesMin, `${name}: expected at least ${passesMin} to pass, got ${passes}`);
}

t.test("parse errors have Prometheus' words and positions", async (t) => {
  // The first six are recorded from Prometheus 2.42 (../shared/promql/api-golden-prom242.json).
  for (const [query, message] of [
    ["", "1:1: parse error: no expression found in input"],
    ["up{", "1:4: parse error: unexpected end of input inside braces"],
    ["nofn(up)", '1:1: parse error: unknown function with name "nofn"'],
    ["rate(up)", '1:6: parse error: expected type range vector in call to function "rate", got instant vector'],
    ["sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"],
    ["sum(", "1:5: parse error: unclosed left parenthesis"],
    ["foo{a=b}", '1:7: parse error: unexpected identifier "b" in label matching, expected string'],
    ["sum by foo (up)", '1:8: parse error: unexpected identifier "foo" in grouping opts, expected "("'],
    ["up\n  and 1", '1:1: parse error: set operator "and" not allowed in binary scalar expression'],
    ["up +\n  bool", "2:7: parse error: unexpected end of input"],
    ["é{", "1:1: parse error: unexpected character: 'é'"],
    ['"é" + é', "1:8: parse error: unexpected character: 'é'"],
    ["up @ start", '1:11: parse error: unexpected end of input in @, expected "("'],
    ["topk(up)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1"],
    ["1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"],
    ["a * on(x) group_left(x) b", '1:3: parse error: label "x" must not occur in ON and GROUP clause at once'],
    ['up{job=~"("}', /^1:4: parse error: error parsing regexp: missing closing \)/],
  ] as const) {
    const error = errorOf(() => parse(query));
    t.match(error?.message, message, query);
    t.equal(error?.code, "parse", query);
  }
});

t.test("operators bind as in Prometheus", async (t) => {
  for (const [query, shape] of [
    ["-1^2", "(-(1 ^ 2))"],
    ["2^3^2", "(2 ^ (3 ^ 2))"],
    ["2^-1*3", "((2 ^ -1) * 3)"],
    ["-a * b", "((-a) * b)"],
    ["a - b - c", "((a - b) - c)"],
    ["a or b and c", "(a or (b and c))"],
    ["a + b > c * d", "((a + b) > (c * d))"],
    ["a unless b or c", "((a unless b) or c)"],
    ["a atan2 b % c", "((a atan2 b) % c)"],
  ] as const) {
    t.equal(shapeOf(parse(query)), shape, query);
  }
});

t.test("numbers, durations and strings are read in all of Go's spellings", async (t) => {
  for (const [query, value] of [
    ["0x1F", 31],
    ["0755", 493],
    ["1_000.5", 1000.5],
    [".5e1", 5],
    ["5.", 5],
    ["inf", Number.POSITIVE_INFINITY],
    ["-Inf", Number.NEGATIVE_INFINITY],
    ["NaN", Number.NaN],
    ["5m", 300],
    ["1d1ms", 86400.001],
  ] as const) {
    t.same((parse(query) as { value: number }).value, value, query);
  }
  for (const [query, value] of [
    [String.raw`"a\tb\"\x41\101\u00e9\U0001F600"`, 'a\tb"AAé😀'],
    [String.raw`'\xc3\xa9'`, "é"],
    ["`a\\nb`", "a\\nb"],
  ] as const) {
    t.equal((parse(query) as { value: string }).value, value, query);
  }
});

t.test("names of any letters are quoted inside the braces", async (t) => {
  const selector = parseSelector(`{"http.requests", "host name"="a", 'x'!="b"}`);
  t.same(
    selector.map(({ name, operator, value }) => [name, operator, value]),
    [
      ["__name__", "=", "http.requests"],
      ["host name", "=", "a"],
      ["x", "!=", "b"],
    ],
  );
});

t.test("a query that is too long or too deep is refused, and so is one that nests by a row of operators", async (t) => {
  const tooLong = `"${"x".repeat(queryBytesMax)}"`;
  t.match(errorOf(() => parse(tooLong))?.message, `expected at most ${queryBytesMax} bytes of query`);
  const tooDeep = `${"(".repeat(nestingDepthMax + 1)}1${")".repeat(nestingDepthMax + 1)}`;
  for (const query of [tooDeep, "1+".repeat(5000) + 1, "-".repeat(5000) + 1, "2^".repeat(5000) + 1]) {
    t.match(errorOf(() => parse(query))?.message, `expected at most ${nestingDepthMax} nested expressions`);
  }
  t.equal(
    errorOf(() => parse("1+".repeat(nestingDepthMax - 2) + 1)),
    undefined,
  );
});

t.test("whatever is typed gives a tree or a parse error, and nothing else", async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  t.comment(`SEED=${seed}`);
  const pieces = [
    "up",
    "sum",
    "by",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "5m",
    ":",
    "@",
    "offset",
    "1",
    '"a"',
    "=",
    "=~",
    "-",
  ];
  const more = [
    "+",
    ",",
    "rate",
    "on",
    "group_left",
    "bool",
    "start",
    "step",
    "inf",
    "\\",
    "`",
    "é",
    "\n",
    "#",
    ".",
    "^",
  ];
  const piece = fc.oneof(fc.constantFrom(...pieces, ...more), fc.string({ maxLength: 3 }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 25 }), fc.constantFrom("", " "), (parts, separator) => {
      const error = errorOf(() => parse(parts.join(separator)));
      return error === undefined || (error instanceof QueryError && error.code === "parse");
    }),
    { seed, numRuns: 3000 },
  );
  t.pass("only trees and parse errors");
});

t.test("the shortcuts for regular expressions answer as RE2 would", async (t) => {
  for (const [expression, matching, others] of [
    ["a|b", ["a", "b"], ["", "ab", "A"]],
    ["(a|b\\.c)", ["a", "b.c"], ["bxc"]],
    ["", [""], ["a"]],
    ["a|", ["a", ""], ["b"]],
    ["foo.*", ["foo", "foobar", "foo\n"], ["xfoo", ""]],
    ["foo.+", ["foobar"], ["foo"]],
    [".*foo.*", ["foo", "xfoox"], ["fo"]],
    [".+foo.+", ["xfoox", "foofoofoo"], ["foo", "xfoo", "foox"]],
    [".*foo", ["foo", "xfoo"], ["foox"]],
    [".*", ["", "a\nb"], []],
    [".+", ["a"], [""]],
    ["a\\.*", ["a", "a..."], ["ab"]],
    ["(?i)foo", ["FOO", "foo"], ["bar"]],
    ["foo|bar.*", ["foo", "bar1"], ["foo1"]],
    ["\\d{2}", ["12"], ["1", "123"]],
    ["[[:alpha:]]+", ["abc"], ["a1"]],
    ["a|b|(c|d)", ["a", "d"], ["e"]],
    ["\\Qa.b\\E", ["a.b"], ["axb"]],
  ] as const) {
    const matcher = compileMatcher("x", "=~", expression);
    const inverse = compileMatcher("x", "!~", expression);
    for (const value of matching) {
      t.equal(matcher.matches(value), true, `${expression} matches ${JSON.stringify(value)}`);
      t.equal(inverse.matches(value), false);
    }
    for (const value of others)
      t.equal(matcher.matches(value), false, `${expression} refuses ${JSON.stringify(value)}`);
  }
});

t.test("a regular expression that would hang JavaScript's own takes no time", async (t) => {
  const matcher = compileMatcher("x", "=~", "(a+)+$");
  const startedMs = performance.now();
  t.equal(matcher.matches(`${"a".repeat(5000)}b`), false);
  t.ok(performance.now() - startedMs < 1000);
});

t.test("a series is seen for five minutes after its last sample, and not at all after a stale marker", async (t) => {
  const source = new MemorySource([
    { metric: { __name__: "quiet" }, samples: [[0, 1]] },
    {
      metric: { __name__: "ended" },
      samples: [
        [0, 1],
        [60_000, "stale"],
      ],
    },
  ]);
  const seen = (query: string, timeMs: number) => instant(query, timeMs, source).then(({ length }) => length);
  t.equal(await seen("quiet", 0), 1);
  t.equal(await seen("quiet", 299_999), 1);
  t.equal(await seen("quiet", 300_000), 0, "the lookback is open on the left");
  t.equal(await seen("ended", 59_999), 1);
  t.equal(await seen("ended", 60_000), 0);
});

t.test("a range is open on the left: a sample on its edge belongs to the window before", async (t) => {
  const source = new MemorySource([counter("c_total", 4)]);
  t.same(await instant("count_over_time(c_total[30s])", 30_000, source), [[{}, "2"]]);
  t.same(await instant("c_total[30s]", 30_000, source), [[{ __name__: "c_total" }, "15=15 30=30"]]);
});

t.test("NaN is a value, and absence is not", async (t) => {
  const source = new MemorySource([
    { metric: { __name__: "m", i: "1" }, samples: [[0, Number.NaN]] },
    { metric: { __name__: "m", i: "2" }, samples: [[0, 2]] },
  ]);
  t.same(await instant("count(m)", 0, source), [[{}, "2"]]);
  t.same(await instant("max(m)", 0, source), [[{}, "2"]]);
  t.same(await instant("sum(m)", 0, source), [[{}, "NaN"]]);
  t.same(await instant("m == m", 0, source), [[{ __name__: "m", i: "2" }, "2"]]);
  t.same(await instant("count(nosuch)", 0, source), []);
});

t.test("a sum does not depend on the order of its series", async (t) => {
  const values = [1e16, 1, -1e16, 1];
  const source = new MemorySource(
    values.map((value, i) => ({ metric: { __name__: "m", i: String(i) }, samples: [[0, value]] })),
  );
  t.same(await instant("sum(m)", 0, source), [[{}, "2"]]);
  t.same(await instant("avg(m)", 0, source), [[{}, "0.5"]]);
});

t.test("what lies at a fixed time is evaluated once and repeated", async (t) => {
  const source = new MemorySource([counter("c_total", 40)]);
  const answer = await rangeQuery(
    "c_total @ 60 + 0 * c_total",
    { startMs: 0, endMs: 60_000, stepMs: 30_000 },
    {
      source,
      signal: never,
    },
  );
  t.same(textOf(answer), [[{}, "0=60 30=60 60=60"]]);
});

t.test("selectors that ask for the same are fetched once", async (t) => {
  const source = new MemorySource([counter("c_total", 40)]);
  await instant("c_total / (c_total + c_total) + c_total offset 1m", 600_000, source);
  t.equal(source.selections, 2);
});

t.test("errors of matching name the series that are in the way", async (t) => {
  const source = new MemorySource([
    { metric: { __name__: "up", instance: "x:1", job: "a" }, samples: [[0, 1]] },
    { metric: { __name__: "up", instance: "y:1", job: "b" }, samples: [[0, 0]] },
  ]);
  // Recorded from Prometheus 2.42 (../shared/promql/api-golden-prom242.json).
  await t.rejects(instant("up + on(x) up", 0, source), {
    code: "execution",
    message:
      'found duplicate series for the match group {} on the right hand-side of the operation: [{__name__="up", instance="y:1", job="b"}, {__name__="up", instance="x:1", job="a"}];many-to-many matching not allowed: matching labels must be unique on one side',
  });
});

t.test("what is not evaluated yet says so by name", async (t) => {
  const source = new MemorySource([counter("c_total", 4)]);
  await t.rejects(instant("info(c_total)", 0, source), {
    code: "execution",
    message: 'function "info" is not supported yet',
  });
  await t.rejects(instant("limit_ratio(0.5, c_total)", 0, source), {
    message: 'aggregation "limit_ratio" is not supported yet',
  });
  await t.rejects(instant("c_total </ 3", 0, source), { message: 'operator "</" is not supported yet' });
});

t.test("a query that would hold too much is refused before it does", async (t) => {
  const source = new MemorySource([counter("a_total", 40), counter("b_total", 40)]);
  const range = { startMs: 0, endMs: 600_000, stepMs: 15_000 };
  const ask = (query: string, samplesMax: number) => rangeQuery(query, range, { source, signal: never, samplesMax });
  await t.rejects(ask("a_total", 30), {
    code: "execution",
    message: "query processing would load too many samples into memory in query execution",
  });
  await t.rejects(ask("sum_over_time(vector(1)[10y:1ms])", 1_000_000), { code: "execution" });
  t.equal((await ask('{__name__=~".+"}', 1000)).cost.samples, 80);
});

t.test("a cancelled query ends with the reason it was given", async (t) => {
  const series: LiteralSeries[] = [];
  for (let i = 0; i < 200; i++)
    series.push({ ...counter("c_total", 40), metric: { __name__: "c_total", i: String(i) } });
  const source = new MemorySource(series);
  const controller = new AbortController();
  const query = "sum(sum_over_time(rate(c_total[1m])[10m:1s]))";
  const answer = rangeQuery(query, { startMs: 0, endMs: 600_000, stepMs: 100 }, { source, signal: controller.signal });
  setImmediate(() => controller.abort(new QueryError("timeout", "query timed out in expression evaluation")));
  await t.rejects(answer, { code: "timeout", message: "query timed out in expression evaluation" });
  await t.rejects(instant("c_total", 0, source, { signal: AbortSignal.abort() }), { code: "canceled" });
});

t.test("times before 1970 are times like any other", async (t) => {
  const source = new MemorySource([
    {
      metric: { __name__: "m" },
      samples: [
        [-60_000, 1],
        [-30_000, 2],
      ],
    },
  ]);
  t.same(await instant("m", -20_000, source), [[{ __name__: "m" }, "2"]]);
  t.same(await instant("sum_over_time(m[2m:30s])", -10_000, source), [[{}, "3"]]);
  t.same(await instant("year(vector(-86400 * 365 * 3000))", 0, source), [[{}, "-1029"]]);
  t.same(await instant("days_in_month(vector(951782400))", 0, source), [[{}, "29"]]);
});

t.test("answers can be warned about, and told where", async (t) => {
  const source = new MemorySource([{ ...counter("requests", 4) }]);
  const rate = await instantQuery("rate(requests[1m])", 45_000, { source, signal: never });
  t.same(rate.infos, [
    'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "requests" (1:6)',
  ]);
  const quantile = await instantQuery("quantile(1.5, requests)", 45_000, { source, signal: never });
  t.same(quantile.warnings, ["PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:10)"]);
});

/** One sample every 15 s from 0, growing by 1 a second. */
function counter(name: string, samples: number): LiteralSeries {
  return {
    metric: { __name__: name },
    samples: Array.from({ length: samples }, (_, i) => [i * 15_000, i * 15] as const),
  };
}

async function instant(query: string, timeMs: number, source: SampleSource, overrides: Partial<QueryOptions> = {}) {
  return textOf(await instantQuery(query, timeMs, { source, signal: never, ...overrides }));
}

/** Labels and value of each series; of a matrix "seconds=value" of each point. */
function textOf({ result }: QueryAnswer): [Record<string, string>, string][] {
  if (result.type === "vector") {
    return result.series.map(({ labels, value }) => [labelsRecord(labels), formatValue(value)]);
  }
  if (result.type !== "matrix") throw new Error(`expected series, got a ${result.type}`);
  return result.series.map(({ labels, timesMs, values }) => [
    labelsRecord(labels),
    [...timesMs].map((timeMs, i) => `${timeMs / 1000}=${formatValue(values[i]!)}`).join(" "),
  ]);
}

function errorOf(act: () => unknown): QueryError | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return error as QueryError;
  }
}

function shapeOf(expression: Expression): string {
  switch (expression.kind) {
    case "number":
      return String(expression.value);
    case "selector":
      return expression.name;
    case "unary":
      return `(${expression.operator}${shapeOf(expression.operand)})`;
    case "binary":
      return `(${shapeOf(expression.left)} ${expression.operator} ${shapeOf(expression.right)})`;
    default:
      return expression.kind;
  }
}

function adapter(): EngineAdapter {
  let source = new MemorySource();
  return {
    async reset() {
      source = new MemorySource();
    },
    async load(series) {
      source.add(series);
    },
    instantQuery: async (query, timeMs) => answerShape(instantQuery(query, timeMs, { source, signal: never })),
    rangeQuery: async (query, startMs, endMs, stepMs) =>
      answerShape(rangeQuery(query, { startMs, endMs, stepMs }, { source, signal: never })),
  };
}

/** As the HTTP API has it, which is what the runner compares. */
async function answerShape(pending: Promise<QueryAnswer>) {
  const { result, warnings, infos } = await pending.catch((error: QueryError) => {
    throw Object.assign(error, { notImplemented: /is not supported yet$/.test(error.message) });
  });
  const notes = { resultType: result.type, warnings, infos };
  switch (result.type) {
    case "matrix":
      return {
        ...notes,
        result: result.series.map(({ labels, timesMs, values }) => ({
          metric: labelsRecord(labels),
          values: [...timesMs].map((timeMs, i) => [timeMs / 1000, formatValue(values[i]!)]),
        })),
      };
    case "vector":
      return {
        ...notes,
        result: result.series.map(({ labels, value }) => ({
          metric: labelsRecord(labels),
          value: [result.timeMs / 1000, formatValue(value)],
        })),
      };
    case "scalar":
      return { ...notes, result: [result.timeMs / 1000, formatValue(result.value)] };
    default:
      return { ...notes, result: [result.timeMs / 1000, result.value] };
  }
}

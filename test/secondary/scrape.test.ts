// What a secondary makes of the bodies that targets send. (How it gets them: fetch.test.ts.)
//
// The expositions and the list of what is refused are those of the two specifications, and where these leave room, of
// Prometheus' own parser (model/textparse/{promparse,openmetricsparse}_test.go).

import { Buffer } from "node:buffer";
import t from "tap";

import { absentExponent, rawExponent } from "#/lib/model/decimal.ts";
import { type Label, labelsOf, labelsRecord } from "#/lib/model/labels.ts";
import { type ScrapeOptions, type Target, targetId } from "#/lib/model/target.ts";
import { decimalValue } from "#/lib/model/value.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { seriesPerScrapeMax } from "#/secondary/scrape/bounds.ts";
import { seriesAdded } from "#/secondary/scrape/choice.ts";
import { BodyReader } from "#/secondary/scrape/layout.ts";
import type { ExpositionFormat } from "#/secondary/scrape/parse.ts";
import { type Reading, targetReading } from "#/secondary/scrape/reading.ts";

const nowMs = 1_700_000_000_000;

const plainOptions: ScrapeOptions = {
  honorLabels: false,
  honorTimestamps: true,
  sampleLimit: 0,
  labelLimit: 0,
  labelNameLengthLimit: 0,
  labelValueLengthLimit: 0,
  bodyBytesMax: 0,
};

function targetOf(labels: Readonly<Record<string, string>>, options: Partial<ScrapeOptions> = {}): Target {
  const named = { job: "node", url: "http://127.0.0.1:9100/metrics", labels: labelsOf(labels) };
  return {
    ...named,
    id: targetId(named),
    intervalMs: 15_000,
    timeoutMs: 10_000,
    options: { ...plainOptions, ...options },
  };
}

const someTarget = targetOf({ instance: "a:9100", job: "node" });

function read(
  body: string | Uint8Array,
  format: ExpositionFormat = "text",
  target: Target = someTarget,
  reader: BodyReader = new BodyReader(),
): Reading {
  return reader.read(targetReading(target), Buffer.from(body), format, nowMs);
}

type Stored = Extract<Reading, { layout: unknown }>;

function stored(reading: Reading): Stored {
  if (!("layout" in reading)) throw new Error(`expected a stored scrape, got ${reading.outcome}: ${reading.error}`);
  return reading;
}

/** Each series as a line of text, with its value as JavaScript writes it, and its timestamp. */
function seriesOf(reading: Reading): string[] {
  const { layout, timestamps, values } = stored(reading);
  return layout.rows.map((row, i) => {
    const labels = row.labels.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(",");
    const timestamp = timestamps.find((timestamp) => timestamp.row === i);
    return `${row.name}{${labels}} ${valueAt(values, i)}${timestamp ? ` @${timestamp.timestampMs}` : ""}`;
  });
}

function valueAt(values: Stored["values"], row: number): string {
  const exponent = values.exponents[row]!;
  if (exponent === absentExponent) return "absent";
  if (exponent === rawExponent) {
    const value = values.raw[row]!;
    return Number.isNaN(value)
      ? `NaN:${values.rawWords[row * 2 + 1]!.toString(16)}`
      : Object.is(value, -0)
        ? "-0"
        : String(value);
  }
  return String(decimalValue(values.mantissas[row]!, exponent));
}

t.test("the text format's whole grammar is read", async (t) => {
  const body = `# HELP go_gc_duration_seconds A summary of the GC invocation durations.
# 	TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0"} 4.9351e-05
go_gc_duration_seconds{quantile="0.25",} 7.424100000000001e-05
go_gc_duration_seconds{quantile="0.5",a="b"} 8.3835e-05
go_gc_duration_seconds{ quantile="0.9", a="b"} 8.3835e-05
# Hrandom comment starting with prefix of HELP
#

wind_speed{c="3",A="2"} 12345
# comment with escaped \\n newline
# HELP nohelp1
# HELP nohelp2 
go_gc_duration_seconds { quantile = "1.0", a = "b" } 8.3835e-05
go_gc_duration_seconds { quantile = "2.0" a = "b" } 8.3835e-05
go_gc_duration_seconds_count 99
some:aggregate:rate5m{a_b="c"}	1
  indented 3 
# TYPE go_goroutines gauge
go_goroutines 33  	1699999999123
_metric_starting_with_underscore 1
testmetric{_label_starting_with_underscore="foo"} +1
testmetric{label="\\"bar\\"\\n\\\\ \\x"} .5
closely{a="b"}7
null_byte_metric{a="abc\0"} 1`;
  t.strictSame(seriesOf(read(body)), [
    'go_gc_duration_seconds{quantile="0"} 0.000049351',
    'go_gc_duration_seconds{quantile="0.25"} 0.00007424100000000001',
    'go_gc_duration_seconds{a="b",quantile="0.5"} 0.000083835',
    'go_gc_duration_seconds{a="b",quantile="0.9"} 0.000083835',
    'wind_speed{A="2",c="3"} 12345',
    'go_gc_duration_seconds{a="b",quantile="1.0"} 0.000083835',
    'go_gc_duration_seconds{a="b",quantile="2.0"} 0.000083835',
    "go_gc_duration_seconds_count{} 99",
    'some:aggregate:rate5m{a_b="c"} 1',
    "indented{} 3",
    "go_goroutines{} 33 @1699999999123",
    "_metric_starting_with_underscore{} 1",
    'testmetric{_label_starting_with_underscore="foo"} 1',
    'testmetric{label="\\"bar\\"\\n\\\\ \\\\x"} 0.5',
    'closely{a="b"} 7',
    'null_byte_metric{a="abc\\u0000"} 1',
  ]);
});

t.test("the specification's own example of the text format is read", async (t) => {
  const body = `# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1699999999000
http_requests_total{method="post",code="400"}    3 1699999999000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320
`;
  const reading = stored(read(body));
  t.strictSame(seriesOf(reading), [
    'http_requests_total{code="200",method="post"} 1027 @1699999999000',
    'http_requests_total{code="400",method="post"} 3 @1699999999000',
    'msdos_file_access_time_seconds{error="Cannot find file:\\n\\"FILE.TXT\\"",path="C:\\\\DIR\\\\FILE.TXT"} 1458255915',
    "metric_without_timestamp_and_labels{} 12.47",
    'something_weird{problem="division by zero"} Infinity',
    'http_request_duration_seconds_bucket{le="0.05"} 24054',
    'http_request_duration_seconds_bucket{le="+Inf"} 144320',
    "http_request_duration_seconds_sum{} 53423",
    "http_request_duration_seconds_count{} 144320",
  ]);
  t.strictSame(
    reading.layout.families.map(({ name, type, help }) => `${name} ${type} ${help}`),
    [
      "http_requests_total counter The total number of HTTP requests.",
      "msdos_file_access_time_seconds unknown ",
      "metric_without_timestamp_and_labels unknown ",
      "something_weird unknown ",
      "http_request_duration_seconds histogram A histogram of the request duration.",
    ],
  );
  t.strictSame(
    reading.layout.rows.map(({ family }) => family),
    [0, 0, 1, 2, 3, 4, 4, 4, 4],
  );
  t.equal(reading.outcome, "stored");
});

t.test("OpenMetrics is read with types, units, timestamps in seconds and exemplars", async (t) => {
  const body = `# HELP go_gc_duration_seconds A summary of the GC invocation durations.
# TYPE go_gc_duration_seconds summary
# UNIT go_gc_duration_seconds seconds
go_gc_duration_seconds{quantile="0"} 4.9351e-05
# HELP help2 escape \\ \\n \\\\ \\" \\x chars
# TYPE help2 gauge
help2 1
# UNIT nounit 
nounit 2
go_gc_duration_seconds_count 99
# TYPE hhh histogram
hhh_bucket{le="+Inf"} 1 # {id="histogram-bucket-test"} 4
hhh_count 1
# TYPE ggh gaugehistogram
ggh_bucket{le="+Inf"} 1 # {id="gaugehistogram-bucket-test",xx="yy"} 4 123.123
ggh_gcount 1
# TYPE ii info
ii_info{foo="bar"} 1
# TYPE ss stateset
ss{ss="foo"} 1
# TYPE un unknown
un NaN
# TYPE foo counter
foo_total 17.0 1699999999.789 # {id="counter-test"} 5
foo_created 1520872607.123
`;
  const reading = stored(read(`${body}# EOF\n`, "openmetrics"));
  t.strictSame(seriesOf(reading), [
    'go_gc_duration_seconds{quantile="0"} 0.000049351',
    "help2{} 1",
    "nounit{} 2",
    "go_gc_duration_seconds_count{} 99",
    'hhh_bucket{le="+Inf"} 1',
    "hhh_count{} 1",
    'ggh_bucket{le="+Inf"} 1',
    "ggh_gcount{} 1",
    'ii_info{foo="bar"} 1',
    'ss{ss="foo"} 1',
    "un{} NaN:7ff80000",
    "foo_total{} 17 @1699999999789",
    "foo_created{} 1520872607.123",
  ]);
  t.strictSame(
    reading.layout.families.map(({ name, type, help, unit }) => [name, type, help, unit]),
    [
      ["go_gc_duration_seconds", "summary", "A summary of the GC invocation durations.", "seconds"],
      ["help2", "gauge", 'escape \\ \n \\ " \\x chars', ""],
      ["nounit", "unknown", "", ""],
      ["hhh", "histogram", "", ""],
      ["ggh", "gaugehistogram", "", ""],
      ["ii", "info", "", ""],
      ["ss", "stateset", "", ""],
      ["un", "unknown", "", ""],
      ["foo", "counter", "", ""],
    ],
  );
  t.strictSame(reading.exemplars, [
    { row: 4, labels: [["id", "histogram-bucket-test"]], value: 4, timestampMs: undefined },
    {
      row: 6,
      labels: [
        ["id", "gaugehistogram-bucket-test"],
        ["xx", "yy"],
      ],
      value: 4,
      timestampMs: 123_123,
    },
    { row: 11, labels: [["id", "counter-test"]], value: 5, timestampMs: undefined },
  ]);
  const twice = stored(read('a_total 1 # {x="1",x="2"} 3\n# EOF\n', "openmetrics"));
  t.strictSame([twice.samplesScraped, twice.exemplars], [1, []], "an exemplar that is none costs nobody the sample");
});

t.test("names of any UTF-8 are read in their quoted syntax", async (t) => {
  const body = `# TYPE "go.gc_duration_seconds" summary
{"go.gc_duration_seconds",quantile="0"} 4
{q="0.9","http.status",a="b"} 5
{"Heizölrückstoßabdämpfung 10€ metric with \\"interesting\\" {character\\nchoices}","strange©™\\n'quoted' \\"name\\""="6"} 10.0
`;
  const expected = [
    'go.gc_duration_seconds{quantile="0"} 4',
    'http.status{a="b",q="0.9"} 5',
    'Heizölrückstoßabdämpfung 10€ metric with "interesting" {character\nchoices}{strange©™\n\'quoted\' "name"="6"} 10',
  ];
  t.strictSame(seriesOf(read(body)), expected);
  const openMetrics = stored(read(`${body}quoted_total 1 # {"id.thing"="x"} 4\n# EOF`, "openmetrics"));
  t.strictSame(seriesOf(openMetrics), [...expected, "quoted_total{} 1"]);
  t.strictSame(openMetrics.exemplars[0]?.labels, [["id.thing", "x"]]);
  t.equal(openMetrics.layout.families[0]?.type, "summary");
});

t.test("a NaN that a target sends is never taken for a stale marker", async (t) => {
  const { values } = stored(read("a NaN\nb nan\n"));
  t.strictSame([...values.rawWords.subarray(0, 4)], [1, 0x7ff80000, 1, 0x7ff80000]);
});

const refusedTexts: readonly (readonly [body: string, message: RegExp])[] = [
  ["a", /^line 1: expected a value after the metric/],
  ["\n\na{b='c'} 1\n", /^line 3: expected a label value in double quotes, got "'c'} 1" in "a\{b='c'\} 1"$/],
  ["a{b=\n", /^line 1: expected a `\}` that closes the labels/],
  ['{"a", "b = "c"}', /expected/],
  ['{"a",b\\nc="d"} 1', /expected `=` after a label name/],
  ["a true\n", /^line 1: expected a number as value, got "true"/],
  ['something_weird{problem="', /expected a closing double quote/],
  ['empty_label_name{=""} 0', /expected a label name/],
  ['empty_quoted_label_name{""="x"} 0', /expected a label name/],
  ["foo 1_2\n", /expected a number as value, got "1_2"/],
  ["foo 0x1p-3\n", /expected a number as value/],
  ["foo 1e999\n", /expected a number as value/],
  ["foo 0 1_2\n", /expected the end of the line after the timestamp, got "_2"/],
  ["foo 0 1 2\n", /expected the end of the line after the timestamp, got "2"/],
  ["foo 0 1.5\n", /expected the end of the line after the timestamp/],
  ['{a="ok"} 1', /expected a metric name before or among the labels/],
  ['{"a","b"} 1', /expected `=` after a label name/],
  ['m{__name__="x"} 1', /expected a label name/],
  ['m{a="1",a="2"} 1', /expected the label "a" once/],
  ["# TYPE #\n", /expected a metric name after TYPE, got "#"/],
  ["# HELP #\n", /expected a metric name after HELP/],
  ["# TYPE a sandwich\n", /expected a type \(counter, gauge, histogram, summary or untyped\), got "sandwich"/],
  ['a\0{b="ddd"} 1', /expected a number as value/],
  ["a 0 1\0", /expected the end of the line/],
  [
    "<!DOCTYPE html>\n<html><body>login</body></html>",
    /^line 1: expected a metric name, `\{` or `#`, got "<!DOCTYPE ht"/,
  ],
  ['{"status":"ok"}', /expected/],
  ["a 1\r\n", /expected a number as value/],
  ["# TYPE a;gauge\na 1\n", /expected a blank and a type after the name, got ";gauge"/],
  ["# TYPE a gauge\r\na 1\n", /expected a type/],
  ["a 1 99999999999999999999\n", /expected a timestamp in whole milliseconds.*got "99999999999999999999"/],
  ['a 1 # {x="y"} 1\n', /expected a timestamp in whole milliseconds or the end of the line/],
  ['a{b="line\nbreak"} 1\n', /expected a closing double quote on the same line/],
];

t.test("what the text format does not allow fails the scrape, with line and place", async (t) => {
  for (const [body, message] of refusedTexts) {
    const reading = read(body);
    t.equal(reading.outcome, "failed_parse", body);
    if ("error" in reading) t.match(reading.error, message, JSON.stringify(body));
  }
});

const refusedOpenMetrics: readonly (readonly [body: string, message: RegExp])[] = [
  ["", /^line 1: expected `# EOF` at the end/],
  ["\n", /expected a metric name/],
  ["metric", /expected a space and a value/],
  ["metric 1", /expected `# EOF`/],
  ["metric 1\n", /^line 2: expected `# EOF`/],
  ['metric_total 1 # {aa="bb"} 4', /expected `# EOF`/],
  ["a\n# EOF\n", /expected a space and a value/],
  [" a 1\n# EOF\n", /expected a metric name/],
  ["9\n# EOF\n", /expected a metric name/],
  ["# TYPE u untyped\n# EOF\n", /expected a type .*, got "untyped"/],
  ["# TYPE c counter \n# EOF\n", /expected a type/],
  ["#  TYPE c counter\n# EOF\n", /expected `# HELP`/],
  ["# TYPE \n# EOF\n", /expected a metric name after TYPE/],
  ["# TYPE m\n# EOF\n", /expected a space and a text after/],
  ["# UNIT metricsuffix suffix\n# EOF\n", /expected a unit that is the last part of the name/],
  ["# UNIT m suffix\n# EOF\n", /expected a unit/],
  ["# just a comment\n# EOF\n", /expected `# HELP`/],
  ["a\t1\n# EOF\n", /expected a space and a value/],
  ["a 1\t2\n# EOF\n", /expected a number as value/],
  ["a 1 2 \n# EOF\n", /expected the end of the line/],
  ["a 1 2 #\n# EOF\n", /expected an exemplar/],
  ["a 1 1z\n# EOF\n", /expected a timestamp in seconds/],
  ["a 1 NaN\n# EOF\n", /expected a timestamp in seconds/],
  ["a 1 -Inf\n# EOF\n", /expected a timestamp in seconds/],
  ["a 1 1 1\n# EOF\n", /expected the end of the line/],
  ["# EOF\na 1", /expected nothing after `# EOF`/],
  ["# EOF\n\n", /expected nothing after `# EOF`/],
  ["# EOFa 1", /expected nothing after `# EOF`/],
  ['a{,b="c"} 1\n# EOF\n', /expected a label name/],
  ['a{b="c"d="e"} 1\n# EOF\n', /expected a comma or `\}`/],
  ['a{b="c",,d="e"} 1\n# EOF\n', /expected a label name/],
  ['a{b="c", d="e"} 1\n# EOF\n', /expected a label name/],
  ["foo 0 1_2\n# EOF\n", /expected a timestamp/],
  ["m_total 1 # {aa=bb}\n# EOF\n", /expected a label value/],
  ['m_total 1 # {aa="bb"}\n# EOF\n', /expected a space and a value after the exemplar's labels/],
  ["m_total 1 # {bb}\n# EOF\n", /expected `=`/],
  ['m_total 1 # {"bb"}\n# EOF\n', /expected `=`/],
  ['m_total 1 # {aa="bb"} 1_2\n# EOF\n', /expected a number as the exemplar's value/],
  ['h_bucket{le="+Inf"} 1 # {aa="bb"} 4 NaN\n# EOF\n', /expected a timestamp/],
  ['{b="c",} 1\n# EOF\n', /expected a metric name/],
];

t.test("what OpenMetrics does not allow fails the scrape, its missing end too", async (t) => {
  for (const [body, message] of refusedOpenMetrics) {
    const reading = read(body, "openmetrics");
    t.equal(reading.outcome, "failed_parse", body);
    if ("error" in reading) t.match(reading.error, message, JSON.stringify(body));
  }
});

t.test("invalid UTF-8 anywhere fails the scrape and names the line", async (t) => {
  const bad = Buffer.from([0xff]);
  for (const [before, after] of [
    ['a 1\nb{c="', '"} 1\n'],
    ["a 1\n# HELP b ", "\nb 1\n"],
    ["a 1\n# ", "\n"],
    ["a 1\nb", " 1\n"],
  ] as const) {
    const reading = read(Buffer.concat([Buffer.from(before), bad, Buffer.from(after)]));
    t.match(reading, { outcome: "failed_parse", error: /^line 2: expected UTF-8/ });
  }
  // The heads are known by now, and are not looked at again; an exemplar is text that they do not hold.
  const reader = new BodyReader();
  const target = targetReading(someTarget);
  const line = (id: Uint8Array) => Buffer.concat([Buffer.from('a_total 1 # {id="'), id, Buffer.from('"} 1\n# EOF\n')]);
  t.equal(reader.read(target, line(Buffer.from("x")), "openmetrics", nowMs).outcome, "stored");
  t.equal(reader.read(target, line(bad), "openmetrics", nowMs).outcome, "failed_parse");
  t.equal(reader.read(target, line(Buffer.from("é")), "openmetrics", nowMs).outcome, "stored");
  const long = Buffer.concat([Buffer.alloc(130, "x"), bad]);
  t.equal(reader.read(target, line(long), "openmetrics", nowMs).outcome, "failed_parse", "of one too long to be kept");
});

t.test("what is known of a body in one format says nothing about the other", async (t) => {
  const reader = new BodyReader();
  const target = targetReading(someTarget);
  const read = (body: string, format: ExpositionFormat) => reader.read(target, Buffer.from(body), format, nowMs);
  t.equal(read("a 1\n", "text").outcome, "stored");
  t.match(read("a 1\n", "openmetrics"), { outcome: "failed_parse", error: /expected `# EOF`/ });
  t.equal(read('a{ b="c"} 1\n', "text").outcome, "stored");
  t.match(read('a{ b="c"} 1\n# EOF\n', "openmetrics"), { outcome: "failed_parse", error: /expected a label name/ });
});

t.test("equal lines give the same layout, across scrapes and across like targets", async (t) => {
  const reader = new BodyReader();
  const a = targetReading(targetOf({ instance: "a" }));
  const b = targetReading(targetOf({ instance: "b" }));
  const body = (x: number, y: string) =>
    Buffer.from(`# TYPE x gauge\nx ${x}\ny{z="1"} ${y} 1699999999000\n# the end\n`);
  const first = stored(reader.read(a, body(1, "2.5"), "text", nowMs)).layout;
  const second = reader.read(a, body(-3, "1e9"), "text", nowMs);
  t.equal(stored(second).layout, first);
  t.strictSame(seriesOf(second), ["x{} -3", 'y{z="1"} 1000000000 @1699999999000']);
  t.equal(stored(reader.read(b, body(7, "8"), "text", nowMs)).layout, first);
  t.equal(stored(reader.read(b, Buffer.from("x 1\n"), "text", nowMs)).layout === first, false);
  t.equal(
    stored(reader.read(b, body(7, "8"), "text", nowMs)).layout,
    first,
    "a layout that comes back is the same one",
  );
});

t.test("a body that only begins like the one before is read as what it is", async (t) => {
  const reader = new BodyReader();
  const target = targetReading(someTarget);
  const bodies: readonly (readonly [string, readonly string[]])[] = [
    ["foo 1\nbar 2\n", ["foo{} 1", "bar{} 2"]],
    ['foo {a="b"} 1\nbar 2\n', ['foo{a="b"} 1', "bar{} 2"]],
    ["foo 1\nbar 2\nmore 3\n", ["foo{} 1", "bar{} 2", "more{} 3"]],
    ["foo 1\nbar 2\n", ["foo{} 1", "bar{} 2"]],
    ["foo 1\n", ["foo{} 1"]],
    ["foo 1\n# last", ["foo{} 1"]],
    ["foo 1\n# lasting 5\n", ["foo{} 1"]],
    ["bar 2\nfoo 1\n", ["bar{} 2", "foo{} 1"]],
    ["bar 2\nfoo 1 1700000000001", ["bar{} 2", "foo{} 1 @1700000000001"]],
    ["", []],
    ["\n\n", []],
  ];
  for (const [body, expected] of bodies) {
    t.strictSame(seriesOf(reader.read(target, Buffer.from(body), "text", nowMs)), expected, body);
  }
  t.equal(reader.read(target, Buffer.from("foo 1\nbar x\n"), "text", nowMs).outcome, "failed_parse");
});

t.test("walking beside a known body and reading it whole give the same, whatever changes (random)", async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.comment(`SEED=${seed}`);
  const random = seededRandom(seed);
  const pick = <T>(items: readonly T[]): T => items[random.below(items.length)]!;
  const reader = new BodyReader();
  const target = targetReading(someTarget);
  let lines = Array.from({ length: 30 }, (_, i) => `metric_${i}{host="h${i}","é"="ü"} `);
  for (let round = 0; round < 200; round++) {
    if (random.below(3) === 0) {
      lines = lines.filter(() => random.below(10) > 0);
      lines.splice(random.below(lines.length + 1), 0, `new_${round} `, "# a comment", pick(lines) ?? "x 1 ");
    }
    const body = Buffer.from(
      lines
        .map((line) =>
          line.startsWith("#") ? line : line + pick(["1", "0.25", "-7e3", "NaN", "12345.678 1699999999999", "+Inf"]),
        )
        .join("\n"),
    );
    const walked = reader.read(target, body, "text", nowMs);
    const text = JSON.stringify([seriesOf(walked), stored(walked).refused, stored(walked).layout.id]);
    const whole = read(body);
    t.equal(text, JSON.stringify([seriesOf(whole), stored(whole).refused, stored(whole).layout.id]), `round ${round}`);
  }
});

t.test("of series that come twice the first is kept, and the others are counted", async (t) => {
  const reader = new BodyReader();
  const target = targetReading(someTarget);
  for (const body of [
    'a{x="1",y="2"} 1\nb 2\na{y="2",x="1"} 3\na{x="1",y="2",z=""} 4\n',
    'a{x="1",y="2"} 1\nb 2\na{y="2",x="1"} 5\na{x="1",y="2",z=""} 6\n',
  ]) {
    const reading = reader.read(target, Buffer.from(body), "text", nowMs);
    t.strictSame(seriesOf(reading), ['a{x="1",y="2"} 1', "b{} 2"]);
    t.match(reading, { outcome: "partial", samplesScraped: 4, refused: { duplicate_series: 2 } });
  }
});

t.test("timestamps far from now are refused series by series, and the rest is stored", async (t) => {
  const aheadMs = nowMs + 10 * 60_000;
  const behindMs = nowMs - 60 * 60_000;
  const yearMs = 365 * 86_400_000;
  const body = `a 1 ${nowMs + yearMs}\nb 2 ${nowMs - yearMs}\nc 3 ${aheadMs}\nd 4 ${aheadMs + 1}\ne 5 ${behindMs}\nf 6 ${behindMs - 1}\ng 7 -5\nh 8\n`;
  const reader = new BodyReader();
  const target = targetReading(someTarget);
  for (let round = 0; round < 2; round++) {
    const reading = reader.read(target, Buffer.from(body), "text", nowMs);
    t.strictSame(seriesOf(reading), [
      "a{} absent",
      "b{} absent",
      `c{} 3 @${aheadMs}`,
      "d{} absent",
      `e{} 5 @${behindMs}`,
      "f{} absent",
      "g{} absent",
      "h{} 8",
    ]);
    t.match(reading, { outcome: "partial", samplesScraped: 8, refused: { timestamp_ahead: 2, timestamp_behind: 3 } });
  }
  const ignoring = read(body, "text", targetOf({ instance: "a" }, { honorTimestamps: false }));
  t.equal(ignoring.outcome, "stored");
  t.strictSame(stored(ignoring).timestamps, []);
});

t.test("a label that the target has too is renamed to exported_, or wins with honor_labels", async (t) => {
  const labels = { instance: "a:9100", job: "node", exported_job: "x" };
  const body = 'm{job="other",exported_job="y",instance="",own="1"} 1\n';
  t.strictSame(
    seriesOf(read(body, "text", targetOf(labels))),
    ['m{exported_exported_exported_job="y",exported_exported_job="other",own="1"} 1'].map((line) => line),
  );
  t.strictSame(seriesOf(read(body, "text", targetOf(labels, { honorLabels: true }))), [
    'm{exported_job="y",instance="",job="other",own="1"} 1',
  ]);
  const same = 'm{job="node"} 1\nm 2\n';
  t.equal(
    read(same, "text", targetOf(labels, { honorLabels: true })).outcome,
    "partial",
    "the same series by its target's labels",
  );
  t.equal(read('m{job="other"} 1\nm 2\n', "text", targetOf(labels, { honorLabels: true })).outcome, "stored");
});

t.test("limits on samples and labels fail the whole scrape and say which series", async (t) => {
  const labels: readonly Label[] = [["instance", "a"]];
  const limited = (options: Partial<ScrapeOptions>) => targetOf(Object.fromEntries(labels), options);
  const body = 'a{x="1"} 1\nb{long_label="long value",y="2"} 2\n';
  t.match(read(body, "text", limited({ sampleLimit: 1 })), {
    outcome: "failed_sample_limit",
    error: "sample_limit exceeded: expected at most 1 samples, got 2",
    samplesScraped: 2,
  });
  t.equal(read(body, "text", limited({ sampleLimit: 2 })).outcome, "stored");
  t.match(read(body, "text", limited({ labelLimit: 3 })), {
    outcome: "failed_label_limit",
    error: "label_limit exceeded by b: expected at most 3 labels, got 4",
  });
  t.equal(read(body, "text", limited({ labelLimit: 4 })).outcome, "stored");
  t.match(read(body, "text", limited({ labelNameLengthLimit: 9 })), {
    outcome: "failed_label_limit",
    error: /by b: .*got 10$/,
  });
  t.equal(read(body, "text", limited({ labelNameLengthLimit: 10 })).outcome, "stored");
  t.match(read(body, "text", limited({ labelValueLengthLimit: 9 })), {
    outcome: "failed_label_limit",
    error: /by b: .*got 10$/,
  });
  t.equal(read(body, "text", limited({ labelValueLengthLimit: 10 })).outcome, "stored");
});

t.test("of more series than any scrape may bring, the first are stored", async (t) => {
  let body = "";
  for (let i = 0; i <= seriesPerScrapeMax; i++) body += `a${i} 1\n`;
  const reader = new BodyReader();
  const { layout, outcome, refused, samplesScraped, values } = stored(read(`${body}b 7\n`, "text", someTarget, reader));
  t.strictSame([outcome, samplesScraped, refused.cardinality], ["partial", 100_002, 2]);
  t.strictSame([layout.rows.length, layout.rows[99_999]!.name, values.length], [100_000, "a99999", 100_000]);
  t.equal(read("a 1\n", "text", someTarget, reader).outcome, "stored");
});

t.test("series added are those that the scrape before had not", async (t) => {
  const layout = (body: string) => stored(read(body)).layout;
  const before = layout("a 1\nb 2\n");
  t.equal(seriesAdded(undefined, before), 2);
  t.equal(seriesAdded(before, before), 0);
  t.equal(seriesAdded(before, layout('b 1\nc 2\na{x="y"} 1\n')), 2);
  t.strictSame(labelsRecord(before.rows[0]!.labels), {});
});

// What the fuzzer of expositions begins with: bodies of real exporters, cut into blocks of a few families, and cases from the
// specifications (the text format 0.0.4, OpenMetrics 1.0) and from Prometheus' own parser, for what real ones leave out.

import type { ExpositionFormat } from "#/secondary/scrape/parse.ts";
import { readRecordings } from "#/test/replay/recording.ts";

export interface CorpusEntry {
  readonly format: ExpositionFormat;
  /** A character is a byte. */
  readonly text: string;
}

/** Small, because what is odd is so by itself, and small bodies can be tried more often. */
const blockLengthMax = 600;
/** Of each recording: its first body, and two others. */
const bodiesTaken = [0, 8, 13];

/** When the scrapes of the fuzzer begin: what timestamps in the cases are near to, or not. */
export const fuzzNowMs = 1_700_000_000_000;

export function readCorpus(): readonly CorpusEntry[] {
  const blocks = readRecordings().flatMap(({ bodies }) => bodiesTaken.flatMap((i) => blocksOf(latin1(bodies[i]!))));
  return [
    ...blocks.map((text): CorpusEntry => ({ format: "text", text })),
    ...blocks.map((text): CorpusEntry => ({ format: "openmetrics", text: inOpenMetrics(text) })),
    ...[...textCases, ...bothCases].map((text): CorpusEntry => ({ format: "text", text: latin1(text) })),
    ...[...openMetricsCases, ...bothCases.map((text) => `${text}# EOF\n`)].map(
      (text): CorpusEntry => ({ format: "openmetrics", text: latin1(text) }),
    ),
  ];
}

const latin1 = (text: string) => Buffer.from(text).toString("latin1");

/** It tells one type apart by another word. */
function inOpenMetrics(text: string): string {
  return `${text.replaceAll(" untyped\n", " unknown\n")}# EOF\n`;
}

/** Families together as long as they are short; long ones are cut. */
function blocksOf(body: string): string[] {
  const blocks: string[] = [];
  let block = "";
  for (const line of body.split(/(?<=\n)/)) {
    const begins = line.startsWith("# HELP") && block.length > blockLengthMax / 2;
    if (begins || block.length + line.length > blockLengthMax) {
      blocks.push(block);
      block = "";
    }
    block += line;
  }
  return [...blocks, block].filter((each) => each !== "");
}

const bothCases = [
  "a 1\n",
  `# HELP a The a.\n# TYPE a counter\na_total{x="1"} 17\na_total{x="2"} 4.5e+01\n`,
  `# TYPE h histogram\nh_bucket{le="0.1"} 1\nh_bucket{le="1.0"} 12\nh_bucket{le="+Inf"} 13\nh_sum 4.2\nh_count 13\n`,
  `# TYPE s summary\ns{quantile="0.5"} NaN\ns{quantile="0.99"} 7.424100000000001e-05\ns_sum 99.7\ns_count 4\n`,
  `{"quoted.name",x="y"} 1\n{"another","le"="5"} 2\nplain{"quoted.label"="z"} 3\n`,
  `escaped{a="back\\\\slash",b="quote\\"",c="line\\nfeed",d="\\x"} 1\n`,
  `unicode{city="Zürich",mood="😀",bell=""} 1\n# HELP unicode Größe \\\\ und \\n mehr\n`,
  `job_clash{job="own",instance="other",exported_job="mine",device="sda",le="2"} 1\njob_clash{job="",device=""} 2\n`,
  "values 9007199254740993\nmore 0.1\nless -1.7976931348623157e308\nnone -0\nsmall 5e-324\nmany 0.30000000000000004\n",
  "twice 1\nonce 2\ntwice 3\n",
  "# TYPE late gauge\nlate 1\n# TYPE early gauge\nearly 2\n# HELP late It comes behind.\n",
  "other NaN\nplus +Inf\nminus -Inf\nlong Infinity\n",
];

/** More than the sixteen rows that kernels look at together. */
const manyRows = Array.from({ length: 40 }, (_, i) => `r{n="${i}"} ${i * 1.5}\n`).join("");

const textCases = [
  manyRows.slice(0, manyRows.indexOf('r{n="17"}')),
  manyRows,
  `# HELP go_gc_duration_seconds A summary of the GC invocation durations.
# 	TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0"} 4.9351e-05
go_gc_duration_seconds{quantile="0.25",} 7.424100000000001e-05
go_gc_duration_seconds{ quantile="0.9", a="b"} 8.3835e-05
# Hrandom comment starting with prefix of HELP
#

wind_speed{c="3",A="2"} 12345
# comment with escaped \\n newline
# HELP nohelp1
# HELP nohelp2 
go_gc_duration_seconds { quantile = "1.0", a = "b" } 8.3835e-05
go_gc_duration_seconds { quantile = "2.0" a = "b" } 8.3835e-05
some:aggregate:rate5m{a_b="c"}	1
  indented 3 
# TYPE go_goroutines gauge
go_goroutines 33  	1699999999123
_metric_starting_with_underscore 1
closely{a="b"}7
null_byte_metric{a="abc\0"} 1`,
  `# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1700000000000
http_requests_total{method="post",code="400"}    3 1699999995000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
`,
  'stamped 1 1700000000001\nstamped_far 2 1800000000000\nstamped_old 3 1600000000000\nstamped{x="y"} 4 1699999999999\n',
  "# TYPE u untyped\nu 1\n# TYPE v\tgauge \nv 2\n",
];

const openMetricsCases = [
  `# HELP go_gc_duration_seconds A summary of the GC invocation durations.
# TYPE go_gc_duration_seconds summary
# UNIT go_gc_duration_seconds seconds
go_gc_duration_seconds{quantile="0"} 4.9351e-05
go_gc_duration_seconds{quantile="1.0",a="b"} 8.3835e-05
# HELP nohelp1 
# TYPE go_goroutines gauge
go_goroutines 33 1700000000.123
# TYPE hh histogram
hh_bucket{le="+Inf"} 1
# TYPE gh gaugehistogram
gh_bucket{le="+Inf"} 1
gh_gsum 3
# TYPE hhh histogram
hhh_bucket{le="+Inf"} 1 # {id="histogram-bucket-test"} 4
hhh_count 1 # {id="histogram-count-test"} 4
# TYPE smr summary
smr_count 1 # {id="summary-count-test"} 4 1520879607.789
# TYPE ii info
ii_info{foo="bar"} 1
# TYPE ss stateset
ss{ss="foo"} 1
ss{ss="bar"} 0
# TYPE un unknown
_metric_starting_with_underscore 1
testmetric{label="\\"bar\\""} 1
# TYPE foo counter
foo_total 17.0 1699999999.5 # {id="counter-test"} 5
foo_created 1520872607.123
null_byte_metric{a="abc\0"} 1
# EOF`,
  `# TYPE foo counter
foo_total{a="1"} 17.0 1700000000 # {trace_id="KOO5S4vxi0o"} 0.67
foo_total{a="2"} 4 # {trace_id="é😀"} NaN 1699999999.999
foo_created{a="1"} 1.7e9
# TYPE h histogram
h_bucket{le="0.01"} 0
h_bucket{le="0.1"} 8 1700000000.25 # {} 0.054
h_bucket{le="+Inf"} 17 # {trace_id="oHg5SJYRHA0",span="1"} 9.8 1700000000.5
h_count 17
h_sum 324789.3
# EOF
`,
  `# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency though all of ACME's HTTP request router.
acme_http_router_request_seconds_sum{path="/api/v1",method="GET"} 9036.32
acme_http_router_request_seconds_count{path="/api/v1",method="GET"} 807283.0
acme_http_router_request_seconds_created{path="/api/v1",method="GET"} 1605281325.0
# TYPE go_goroutines gauge
go_goroutines 69
# EOF
`,
  "# EOF\n",
  "stamped 1 1700000000.001\nstamped_far 2 1.8e9\nstamped_old 3 1600000000\nstamped_before 4 -1.5\n# EOF\n",
];

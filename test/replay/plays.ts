// What is replayed: for each target its scrape config, and what it answers in each round. Both clients read the same config and
// get the same answer in their own n-th scrape, whenever that is.

import { seededRandom } from "#/lib/random/random.ts";
import { readCorpus } from "#/test/fuzz/corpus.ts";
import { changeExposition, mutate, pick } from "#/test/fuzz/mutate.ts";
import { isKnownDifference } from "#/test/replay/known.ts";
import { readRecordings } from "#/test/replay/recording.ts";

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer;
}

export interface Play {
  /** Its job, and its path. */
  readonly name: string;
  /** Lines of its scrape config, beside name, path and targets. */
  readonly config: string;
  answer(round: number, startMs: number): Answer;
  /** Rounds whose scrape fails after a part of its body was read. */
  failsWithin?(round: number): boolean;
  /** Bodies may be anything, and what ends when is not compared. */
  readonly isWild?: boolean;
  /** Of a time that a sample brought itself, the round that it came in; undefined when it comes in each. */
  roundOf?(timestampMs: number, startMs: number): number | undefined;
}

/** Both begin within some seconds; their samples' own times are from before that, and never ahead of the clock. */
export const stampLagMs = 60_000;
const stampEveryMs = 1000;
const yearMs = 365 * 86_400_000;

const text = "text/plain; version=0.0.4; charset=utf-8";
const openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/** In every body that can be read, and how the comparison knows what round a scrape got. */
export const roundSeries = "replay_round";
const roundLine = (round: number) => `${roundSeries} ${round}\n`;

const plain = (body: string | Buffer, contentType = text): Answer => ({ status: 200, contentType, body });
const stampMs = (round: number, startMs: number) => startMs - stampLagMs + round * stampEveryMs;
const stampedRound = (timestampMs: number, startMs: number) => (timestampMs - startMs + stampLagMs) / stampEveryMs;

/** The mutants follow from the seed. */
export function makePlays(seed: number): readonly Play[] {
  return [...recorded(), ...written, ...Array.from({ length: mutantPlays }, (_, i) => mutants(i, seed + i))];
}

/** Each a mutant a round. */
const mutantPlays = 20;

/** What the fuzzers make, for what Prometheus itself makes of it. */
function mutants(place: number, seed: number): Play {
  const corpus = readCorpus();
  const random = seededRandom(seed);
  const format = place % 2 === 0 ? "text" : "openmetrics";
  const entries = corpus.filter((entry) => entry.format === format);
  const bodies: string[] = [];
  const next = (): string => {
    const body = mutate(pick(entries, random).text, (text) => changeExposition(text, format, corpus, random), random);
    return isKnownDifference(body, format) ? next() : roundLine(bodies.length) + body;
  };
  return {
    name: `mutants_${place}`,
    config: place % 4 < 2 ? "honor_timestamps: false" : "honor_labels: true",
    isWild: true,
    answer(round) {
      while (bodies.length <= round) bodies.push(next());
      return plain(Buffer.from(bodies[round]!, "latin1"), format === "text" ? text : openMetrics);
    },
    roundOf: () => Number.NaN,
  };
}

const conflicting = `honor_labels: true`;
const relabelled = `
    metric_relabel_configs:
      - { source_labels: [__name__], regex: "go_(memstats|gc)_.*", action: drop }
      - { source_labels: [__name__], regex: "go_(.*)", target_label: __name__, replacement: "golang_$1" }
      - { source_labels: [device], target_label: device, action: uppercase }
      - { source_labels: [cpu, mode], separator: "/", regex: "(.+)/(.+)", target_label: "mode_of_$1", replacement: "$2" }
      - { source_labels: [__name__, mode], modulus: 7, target_label: hash, action: hashmod }
      - { regex: "cpu|job|adminstate", action: labeldrop }
      - { source_labels: [job, instance], target_label: place }
      - { source_labels: [collector], regex: "cpu.*|", action: keep }`;

/** Recorded bodies one after the other, over and over, each under some config. */
function recorded(): readonly Play[] {
  const configs: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    "blackbox-exporter": { blackbox: "" },
    etcd: { etcd: "" },
    "node-exporter": { node: "", node_relabelled: relabelled },
    prometheus: { prometheus: "sample_limit: 2000" },
    pushgateway: { pushgateway: conflicting, pushgateway_exported: "" },
  };
  return readRecordings().flatMap(({ bodies, contentType, name }) =>
    Object.entries(configs[name] ?? {}).map(
      ([job, config]): Play => ({
        name: job,
        config,
        answer: (round) => plain(bodies[round % bodies.length]! + roundLine(round), contentType),
      }),
    ),
  );
}

const odd = [
  ...[
    "NaN",
    "nan",
    "+Inf",
    "-Inf",
    "Inf",
    "-0",
    "0",
    "-0.0",
    "1e308",
    "-1e308",
    "1.7976931348623157e308",
    "5e-324",
    "2e-324",
  ],
  ...[
    "1e-400",
    "0.30000000000000004",
    "12345678901234567",
    "0.12345678901234567",
    "9007199254740991",
    "9007199254740993",
  ],
  ...[
    "-9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890",
    "4.9406564584124654e-324",
    "1e22",
    "1e23",
  ],
  ...[
    "8.5",
    "100",
    "1e2",
    "1E+2",
    "100.000",
    "0.1e3",
    "+7",
    ".5",
    "5.",
    "00012",
    "0.000001",
    "1e-7",
    "2.2250738585072011e-308",
  ],
];
const oddAt = (i: number) => odd[i % odd.length]!;

const written: readonly Play[] = [
  {
    name: "odd_values",
    config: "",
    answer: (round) =>
      plain(
        `${Array.from({ length: 12 }, (_, i) => `odd{n="${i}"} ${oddAt(round * (1 + (i % 3)) + i * 5)}\n`).join("")}${roundLine(round)}`,
      ),
  },
  {
    name: "openmetrics",
    config: "",
    answer: (round, startMs) => {
      const stamp = (stampMs(round, startMs) / 1000).toFixed(3);
      return plain(
        `# TYPE requests counter
# UNIT latency_seconds seconds
# TYPE latency_seconds histogram
requests_total{path="/ä"} ${round * 3}.0 # {trace_id="${round}"} 1.5
requests_created{path="/ä"} 1700000000.25
stamped_total 1${round} ${stamp} # {trace_id="x"} 0.5 ${stamp}
latency_seconds_bucket{le="0.1"} ${round} # {trace_id="a${round}",span="${"x".repeat(round % 140)}"} 0.05
latency_seconds_bucket{le="+Inf"} ${round * 2}
latency_seconds_sum ${round * 0.1}
latency_seconds_count ${round * 2}
# TYPE state stateset
state{state="up"} ${round % 2}
# TYPE build info
build_info{version="${round < 5 ? 1 : 2}"} 1
${roundLine(round)}# EOF
`,
        openMetrics,
      );
    },
    roundOf: stampedRound,
  },
  {
    name: "stamps_ignored",
    config: "honor_timestamps: false",
    answer: (round, startMs) =>
      plain(
        `a ${round} ${stampMs(round, startMs)}\nb ${-round} 1\nc ${round} ${startMs + yearMs}\n${roundLine(round)}`,
      ),
  },
  {
    name: "stamped",
    config: "",
    answer: (round, startMs) =>
      plain(
        `own_time ${round} ${stampMs(round, startMs)}
same_time 5 ${startMs - stampLagMs - 500}
gone_time{part="${round % 3}"} ${round} ${stampMs(round, startMs)}
far ${round} ${startMs + yearMs}
past ${round} 1000
${roundLine(round)}`,
      ),
    roundOf: (timestampMs, startMs) => {
      const round = stampedRound(timestampMs, startMs);
      return Number.isInteger(round) ? round : undefined;
    },
  },
  {
    name: "duplicates",
    config: "",
    answer: (round) =>
      plain(
        `twice{a="1",b="2"} ${round}\nonce ${round}\ntwice{b="2",a="1"} ${round + 1}\nempty{a="",b="2"} 1\nempty{b="2"} 2\n${roundLine(round)}same 1\nsame 1\n`,
      ),
  },
  {
    name: "conflicts",
    config: "",
    answer: (round) =>
      plain(
        `own{job="mine",instance="here",replay="x"} ${round}\nown{exported_job="taken",job="mine"} 2\nown{job=""} 3\n${roundLine(round)}`,
      ),
  },
  {
    name: "conflicts_honored",
    config: conflicting,
    answer: (round) =>
      plain(
        `own{job="mine",instance="here"} ${round}\nown{exported_job="taken",job="mine"} 2\nown{job=""} 3\nown{job="conflicts_honored"} 4\n${roundLine(round)}`,
      ),
  },
  {
    name: "changing",
    config: "",
    answer: (round) => {
      const lines = Array.from({ length: 20 }, (_, i) => `part{n="${(i * 7 + round) % 20}"} ${round + i}\n`);
      const there = lines.filter((_, i) => (i + round) % 3 > 0);
      const type = round % 4 < 2 ? "gauge" : "counter";
      return plain(`# TYPE part ${type}\n${there.join("")}new{round="${round}"} 1\n${roundLine(round)}`);
    },
  },
  {
    name: "failing",
    config: "",
    answer(round) {
      const well = `a ${round}\n${round % 2 ? "b 1\n" : ""}${roundLine(round)}`;
      switch (round % 9) {
        case 2:
          return { status: 500, contentType: text, body: well };
        case 4:
          return plain(`${well}no exposition\n`);
        case 5:
          return plain("");
        case 7:
          return plain(well, openMetrics);
        default:
          return plain(well);
      }
    },
    failsWithin: (round) => round % 9 === 4 || round % 9 === 7,
  },
  {
    name: "limited",
    config: "sample_limit: 3\n    label_name_length_limit: 12\n    label_value_length_limit: 30",
    answer: (round) => {
      const much = [
        "b 1\nc 2\n",
        'd{x="1",y="2",z="3"} 1\n',
        'e{name_too_long="1"} 1\n',
        `f{x="${"v".repeat(31)}"} 1\n`,
      ];
      return plain(`a ${round}\n${much[round % 5] ?? ""}${roundLine(round)}`);
    },
    failsWithin: (round) => round % 5 < 3,
  },
  {
    name: "dropped_to_limit",
    config:
      "sample_limit: 3\n    metric_relabel_configs: [{ source_labels: [__name__], regex: 'drop_.*', action: drop }]",
    failsWithin: (round) => round % 5 === 0,
    answer: (round) =>
      plain(`a ${round}\ndrop_a 1\ndrop_b 2\ndrop_c 3\n${round % 5 === 0 ? "d 1\n" : ""}${roundLine(round)}`),
  },
  {
    name: "quoted_text",
    config: "",
    answer: (round) =>
      plain(
        `text{v="a\\\\b\\"c\\nd{}=,",u="Größe 😀"} ${round}\n# HELP text of \\n two\ntext2\t{v="x" ,} \t ${round}\t\n${roundLine(round)}`,
      ),
  },
];

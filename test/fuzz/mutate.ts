// Changes bodies by chance: bytes flipped, put in and taken out, lines doubled, moved and crossed with another body's, values
// replaced by odd ones, words of the grammar anywhere, ends cut off, blocks repeated.
//
// A body is a string whose characters are its bytes. Many changes touch nothing but what stands behind heads, because that is
// where the way through the kernel differs from the plain one.

import type { Random } from "#/lib/random/random.ts";
import type { ExpositionFormat } from "#/secondary/scrape/parse.ts";
import { type CorpusEntry, fuzzNowMs } from "#/test/fuzz/corpus.ts";

/** Longer bodies are cut: what matters shows in small ones. */
export const bodyLengthMax = 6000;

/** One to a few changes. */
export function mutate(body: string, change: (body: string) => string, random: Random): string {
  const changes = random.below(8) === 0 ? 2 + random.below(8) : 1 + random.below(2);
  let mutant = body;
  for (let i = 0; i < changes; i++) mutant = change(mutant);
  return mutant.length > bodyLengthMax ? mutant.slice(0, bodyLengthMax) : mutant;
}

export function changeExposition(
  body: string,
  format: ExpositionFormat,
  corpus: readonly CorpusEntry[],
  random: Random,
): string {
  switch (random.below(14)) {
    case 0:
      return atLineEnd(body, pick(odds.lineEnds, random), random);
    case 1:
    case 2:
      return atLineEnd(body, stampOf(format, random), random);
    case 3: {
      const takesExemplars = format === "openmetrics" || random.below(8) === 0;
      return atLineEnd(body, takesExemplars ? pick(odds.exemplars, random) : " 1", random);
    }
    case 4:
      return withValue(body, random, (value) => nudged(value, random));
    case 5:
      return withLines(body, "\n", (lines) => {
        for (const [i, line] of lines.entries()) {
          if (!line.startsWith("#")) lines[i] = valued(line, (value) => nudged(value, random));
        }
      });
    case 6:
    case 7:
    case 8:
      return withValue(body, random, () => oddValue(random));
    default:
      return changeBytes(body, { words, lineEnd: "\n", other: () => pick(corpus, random).text }, random);
  }
}

/** What can be done to any text whose characters are bytes. */
export function changeBytes(
  body: string,
  kind: { readonly words: readonly string[]; readonly lineEnd: string; readonly other: () => string },
  random: Random,
): string {
  if (body === "") return pick(kind.words, random);
  const at = random.below(body.length + 1);
  const { lineEnd } = kind;
  switch (random.below(11)) {
    case 0: {
      const bit = 1 << random.below(8);
      return replaced(body, at, 1, String.fromCharCode(body.charCodeAt(Math.min(at, body.length - 1)) ^ bit));
    }
    case 1:
      return replaced(body, at, random.below(2), String.fromCharCode(random.below(256)));
    case 2:
      return replaced(body, at, 0, pick(kind.words, random));
    case 3:
      return replaced(body, at, 1 + random.below(random.below(4) === 0 ? 100 : 4), "");
    case 4:
      return body.slice(0, at);
    case 5: {
      const length = 1 + random.below(random.below(4) === 0 ? 400 : 12);
      return replaced(body, at, 0, body.slice(at, at + length).repeat(1 + random.below(3)));
    }
    case 6:
      return betweenWords(body, pick(kind.words, random), random);
    case 7:
      return withLines(body, lineEnd, (lines) => lines.splice(random.below(lines.length + 1), 0, pick(lines, random)));
    case 8:
      return withLines(body, lineEnd, (lines) => lines.splice(random.below(lines.length), 1 + random.below(3)));
    case 9:
      return withLines(body, lineEnd, (lines) => {
        const moved = lines.splice(random.below(lines.length), 1);
        lines.splice(random.below(lines.length + 1), 0, ...moved);
      });
    default: {
      const others = kind.other().split(lineEnd);
      const from = random.below(others.length);
      const taken = others.slice(from, from + 1 + random.below(4));
      return withLines(body, lineEnd, (lines) =>
        lines.splice(random.below(lines.length + 1), random.below(3), ...taken),
      );
    }
  }
}

function replaced(body: string, at: number, length: number, by: string): string {
  return body.slice(0, at) + by + body.slice(at + length);
}

function betweenWords(body: string, word: string, random: Random): string {
  const places = [...body.matchAll(/\b/g)];
  const at = places.length > 0 ? pick(places, random).index : 0;
  return replaced(body, at, 0, word);
}

function withLines(body: string, lineEnd: string, edit: (lines: string[]) => unknown): string {
  const lines = body.split(lineEnd);
  edit(lines);
  return lines.join(lineEnd);
}

function atLineEnd(body: string, text: string, random: Random): string {
  return withLines(body, "\n", (lines) => {
    lines[random.below(lines.length)] += text;
  });
}

function withValue(body: string, random: Random, to: (value: string) => string): string {
  return withLines(body, "\n", (lines) => {
    const i = random.below(lines.length);
    if (!lines[i]!.startsWith("#")) lines[i] = valued(lines[i]!, to);
  });
}

/** What a head of usual making has behind it, up to the next blank. */
const valuePattern = /^([^ {]+(?:\{[^}]*\})? )([^ ]*)/;

function valued(line: string, to: (value: string) => string): string {
  return line.replace(valuePattern, (_, head: string, value: string) => head + to(value));
}

function nudged(value: string, random: Random): string {
  const at = random.below(Math.max(1, value.length));
  return replaced(value, at, random.below(4) === 0 ? 0 : 1, String(random.below(10)));
}

function oddValue(random: Random): string {
  switch (random.below(6)) {
    case 0:
      return String((random.next() - 0.5) * 10 ** (random.below(40) - 20));
    case 1:
      return digits(1 + random.below(22), random) + (random.below(2) ? `.${digits(random.below(22), random)}` : "");
    case 2:
      return `${random.below(3) ? "" : "-"}${digits(1 + random.below(18), random)}e${random.below(2) ? "-" : ""}${random.below(330)}`;
    default:
      return pick(odds.values, random);
  }
}

function digits(count: number, random: Random): string {
  let text = "";
  for (let i = 0; i < count; i++) text += String(random.below(4) === 0 ? 0 : random.below(10));
  return text;
}

function stampOf(format: ExpositionFormat, random: Random): string {
  const ms = fuzzNowMs + Math.round((random.next() - 0.7) * 6e6);
  if (random.below(4) === 0) return ` ${pick(odds.stamps, random)}`;
  return format === "text" ? ` ${ms}` : ` ${ms / 1000}`;
}

export function pick<T>(from: readonly T[], random: Random): T {
  return from[random.below(from.length)]!;
}

const odds = {
  values: [
    ...[
      "NaN",
      "nan",
      "NAN",
      "+NaN",
      "-NaN",
      "nAn",
      "Inf",
      "+Inf",
      "-Inf",
      "inf",
      "+infinity",
      "-Infinity",
      "infinit",
      "Infinityy",
    ],
    ...[
      "0",
      "-0",
      "+0",
      "-0.0",
      "0e0",
      "-0e-400",
      "0.000",
      "00",
      "000012.5000",
      "-.5",
      ".5",
      "5.",
      ".",
      "+",
      "-",
      "",
      "1e",
      "1e+",
    ],
    ...[
      "1e308",
      "1.7976931348623157e308",
      "1.7976931348623159e308",
      "-1e309",
      "5e-324",
      "2e-324",
      "1e-400",
      "1e99999",
      "1e-99999",
    ],
    ...[
      "9007199254740991",
      "9007199254740992",
      "9007199254740993",
      "-9007199254740991",
      "900719925474099.1",
      "9007199254740991000",
    ],
    ...[
      "90071992547409910e-1",
      "123456789012345678",
      "1234567890123456789",
      "12345678901234567890",
      "18446744073709551616",
    ],
    ...[
      "0.30000000000000004",
      "0.1000000000000000055511151231257827",
      "1.0000000000000000",
      "100000000000000000000000",
      "5.0",
    ],
    ...[
      "1e125",
      "1e126",
      "1e-125",
      "1e-126",
      "123e125",
      "0.1e126",
      "10e124",
      "1E5",
      "1e+05",
      "1e0000000005",
      "1_000",
      "0x1p-2",
      "0X10",
    ],
    ...[
      "4.35",
      "0.000001",
      "1.23456789e+09",
      "1\u00a0",
      "\uff11",
      "1,5",
      "true",
      "1d",
      "1f",
      "1e5.5",
      "--1",
      "+-1",
      "1-",
      "1 ",
      "NaNNaN",
    ],
  ],
  stamps: [
    ...[
      "0",
      "-1",
      "1",
      "1700000000",
      "1700000000000",
      "1700000000000000",
      "99999999999999999999",
      "-1700000000000",
      "1e3",
      "1.5",
    ],
    ...[
      "1.7e9",
      "NaN",
      "Inf",
      "1700000000.123",
      "1700000000.1234567",
      "+1700000000",
      "1700000000.",
      ".5",
      "",
      "-",
      "17 ",
      "1700000000000x",
    ],
    ...[
      "1700000600000",
      "1700000600001",
      "1699996400000",
      "1699996399999",
      "1700000600.0001",
      "999999999999999",
      "9999999999999999",
    ],
  ],
  exemplars: [
    ' # {trace_id="abc"} 1',
    ' # {trace_id="abc"} 0.67 1700000000.5',
    " # {} 5",
    ` # {a="${"x".repeat(127)}"} 1`,
    ` # {a="${"x".repeat(128)}"} 1`,
    ' # {a="\u00c3\u00a9"} 1',
    ' # {a="\u00c3"} 1',
    ' # {a="1",a="2"} 1',
    ' # {a="1"} NaN',
    ' # {a="1"}',
    ' #{a="1"} 1',
    '  # {a="1"} 1',
    ' # {a="1"} 1 1 1',
    ' # {a="1" 1',
    ' # {trace_id="abc"} 1 # {trace_id="def"} 2',
  ],
  lineEnds: [
    " ",
    "\t",
    "  ",
    "\r",
    " 1",
    "\t1",
    " 1 1",
    "\0",
    "\n",
    "\n\n",
    "#",
    " #",
    " # ",
    "\n ",
    "\n\t\n",
    "\u00ff",
    ",",
  ],
};

const words = [
  ...[
    "{",
    "}",
    '"',
    ",",
    "=",
    "\\",
    "\\n",
    '\\"',
    "\\\\",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    "#",
    "# ",
    "## ",
    ";",
    "'",
    "{}",
    '{""}',
    "{,}",
  ],
  ...[
    "# TYPE ",
    "# HELP ",
    "# UNIT ",
    "# EOF",
    "# EOF\n",
    "\n# EOF",
    "# TYPE a counter\n",
    "# HELP a b\n",
    "# UNIT a_seconds seconds\n",
  ],
  ...["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown", "untyped"],
  ...[
    "_total",
    "_created",
    "_bucket",
    "_sum",
    "_count",
    "_info",
    "_gcount",
    "_gsum",
    "exported_",
    "__name__",
    "a",
    "A",
    "_",
    ":",
    "0",
    "9",
  ],
  ...[
    '__name__="x"',
    'le="+Inf"',
    'quantile="0.5"',
    'instance="x"',
    'job=""',
    'device="sda"',
    'a="b"',
    ',a="b"',
    '{"q.n"}',
    '"q.l"="v"',
    "a=b",
  ],
  ...[
    "\u00ff",
    "\u00c3\u00a9",
    "\u00f0\u009f\u0098\u0080",
    "\u00ed\u00a0\u0080",
    "\u00c0\u0080",
    "\u00ef\u00bb\u00bf",
    "\u00e2\u0080\u00a8",
    "\u00f4\u0090\u0080\u0080",
  ],
  ...[
    "1",
    "1e5",
    "NaN",
    "+Inf",
    "-0",
    ".5",
    " 1700000000000",
    " 1700000000.5",
    ' # {a="b"} 1',
    "\n \n",
    "\n\n",
    'x{y="z"} 1\n',
    "x 1\n",
    "x 2",
  ],
];

// Where our reader and that of Prometheus 2.42 differ and shall: bodies of these kinds are not compared.

import { isUtf8 } from "node:buffer";
import type { ExpositionFormat } from "#/secondary/scrape/parse.ts";

interface KnownDifference {
  readonly why: string;
  /** A character is a byte. */
  readonly holds: (body: string, format: ExpositionFormat) => boolean;
}

const found = (pattern: RegExp) => (body: string) => pattern.test(body);

export const knownDifferences: readonly KnownDifference[] = [
  {
    why: "the text format allows blanks in front of a line; 2.42 takes them for a part of the name and fails the scrape",
    holds: found(/^[ \t]+[^ \t\n#]/m),
  },
  {
    why: "quoted names came with Prometheus 3",
    holds: found(/[{,][ \t]*"/),
  },
  {
    why: "the text format allows timestamps before 1970, as its own example has one; 2.42 fails the scrape",
    holds: (body, format) => format === "text" && /[ \t}][^ \t\n]+[ \t]+-\d+[ \t]*$/m.test(body),
  },
  {
    why: "OpenMetrics' exemplars may stand behind any sample in later versions; 2.42 allows them behind _total and _bucket",
    holds: (body, format) => format === "openmetrics" && /^(?![a-zA-Z0-9_:]*(?:_total|_bucket)[ {]).* # \{/m.test(body),
  },
  {
    why: "the text format allows any blanks around a type; 2.42 wants one byte before it, whatever that is, and none behind it",
    holds: (body, format) =>
      format === "text" &&
      (/^#[ \t]+TYPE[^\n]*[ \t]$/m.test(body) ||
        /^#[ \t]+TYPE[ \t]+[a-zA-Z0-9_:]+(?:[^ \ta-zA-Z0-9_:\n]|[ \t]{2})/m.test(body)),
  },
  {
    why: "both formats are UTF-8; 2.42 does not look at comments",
    holds: (body) => !isUtf8(Buffer.from(body, "latin1")),
  },
  {
    why: "2.42 takes help that begins right behind the name",
    holds: found(/^#[ \t]+HELP[ \t]+[a-zA-Z0-9_:]+[^a-zA-Z0-9_: \t\n]/m),
  },
  {
    why: "a zero byte outside of quotes is the end of the body to 2.42",
    holds: (body) => body.replaceAll(/"[^"\n]*"/g, "").includes("\0"),
  },
  {
    why: "both formats want a line feed in a label's value escaped; 2.42 takes it as it is",
    holds: (body) => body.split("\n").some((line) => line.replaceAll(/\\./g, "").split('"').length % 2 === 0),
  },
  {
    why: "a label twice in one series is wrong; 2.42 does not see it where the target has that label too",
    holds: found(/[{, "]([a-zA-Z_]\w*)[ \t]*=[ \t]*"[^"]*"[^}\n]*[, "]\1[ \t]*=/),
  },
  {
    why: "of a series that is there several times its first sample is taken; 2.42 takes each whose own time comes later",
    holds: hasStampedDuplicate,
  },
];

export function isKnownDifference(body: string, format: ExpositionFormat): boolean {
  return knownDifferences.some(({ holds }) => holds(body, format));
}

/** Name, labels, and whether something stands behind the value. */
const samplePattern = /^([^ \t{#]+[ \t]*(?:\{[^}]*\})?)[ \t]*[^ \t]+([ \t]+[^ \t#])?/;

function hasStampedDuplicate(body: string): boolean {
  const stamped = new Map<string, boolean>();
  for (const line of body.split("\n")) {
    const [, head, stamp] = samplePattern.exec(line) ?? [];
    if (head === undefined) continue;
    const series = head.replaceAll(/[ \t]+/g, "");
    if (stamped.has(series) && (stamped.get(series) || stamp !== undefined)) return true;
    stamped.set(series, stamped.get(series) || stamp !== undefined);
  }
  return false;
}

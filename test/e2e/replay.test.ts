// Side by side with the real Prometheus: the same bodies to both, and every sample compared. `make replay` does it for minutes.

import t from "tap";

import { isKnownDifference } from "#/test/replay/known.ts";
import { replay } from "#/test/replay/replay.ts";
import { toolOrReason } from "#/test/support/tool.ts";

const prometheus = await toolOrReason("prometheus");
/** Always the same mutants: one that the two read differently, as none did before, is for somebody to judge and not for a test. */
const seed = Number(process.env.SEED ?? 1);
const forMs = 15_000;

t.test("values, labels and ends of series are those of Prometheus", { skip: prometheus.missing }, async (t) => {
  const comparisons = await replay({ program: prometheus.path, forMs, seed, say: (sentence) => t.comment(sentence) });
  t.ok(comparisons.length > 30);
  for (const { differences, play } of comparisons) t.same(differences, [], play);
  // What a busy machine had no time for says nothing.
  const samples = comparisons.reduce((sum, each) => sum + each.samples, 0);
  t.ok(samples > 0, `${samples} samples`);
});

t.test("where the two differ and shall is told by the body", (t) => {
  for (const [body, format, expected] of [
    ["a 1\n", "text", false],
    [" a 1\n", "text", true],
    ["  # HELP a b\n", "text", false],
    ['{"a"} 1\n', "text", true],
    ['a{b="c",d="e"} 1\n', "text", false],
    ["a 1 -5\n", "text", true],
    ["a -5 5\n", "text", false],
    ['a 1 # {b="c"} 1\n# EOF\n', "openmetrics", true],
    ['a_total 1 # {b="c"} 1\n# EOF\n', "openmetrics", false],
    ["# TYPE a gauge \n", "text", true],
    ["# TYPE a  gauge\n", "text", true],
    ["# TYPE a;gauge\n", "text", true],
    ["# TYPE a\tgauge\n", "text", false],
    ["# TYPE a gauge\n", "text", false],
    ['a{b="c",b="d"} 1\n', "text", true],
    ['a{b="c",bb="d"} 1\na{b="e"} 2\n', "text", false],
    ["# \xff\n", "text", true],
    ['a{b="c\nd"} 1\n', "text", true],
    ['a{b="c\\"d"} 1\n', "text", false],
    ["# HELP a\\b\n", "text", true],
    ["a 1\n\0", "text", true],
    ['a{b="\0"} 1\n', "text", false],
    ["a 1 5\na 2\n", "text", true],
    ['a {b="c"} 1\nb 3 5\na{b="c"} 2 5\n', "openmetrics", true],
    ["a 1\na 2\nb 3 5\n", "text", false],
  ] as const) {
    t.equal(isKnownDifference(body, format), expected, JSON.stringify(body));
  }
  t.end();
});

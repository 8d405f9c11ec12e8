// What is refused of relabelling is what Prometheus' model/relabel refuses (Config.Validate).

import t from "tap";
import { topologyText } from "#/test/support/scrape-config.ts";
import { parseTopology } from "#/topology/file.ts";
import { formatProblem } from "#/topology/problem.ts";

/** What is told of a topology whose only scrape config has that one rule. */
function rule(text: string, key = "relabel_configs"): string[] {
  const topology = topologyText(`${key}: [{ ${text} }]`);
  return parseTopology(topology, "t.yaml").problems.map(formatProblem);
}

t.test("relabelling that Prometheus refuses is refused, by what, where, expected and got", async (t) => {
  const at = (column: number, key: string) =>
    `t.yaml:18:${column}: error: scrape_configs[0].relabel_configs[0].${key}: `;
  for (const good of [
    "target_label: a",
    "target_label: a, replacement: ''",
    `source_labels: [x, y], regex: '(.*);(.*)', target_label: "\${1}_x$2", separator: ';'`,
    "action: Drop, regex: 'a|b'",
    "action: labeldrop, regex: ''",
    "action: labelmap, regex: '__meta_(.+)'",
    "action: hashmod, target_label: __tmp, modulus: 4",
    "action: keepequal, source_labels: [a], target_label: b",
  ]) {
    t.same(rule(good), [], good);
    t.same(rule(good, "metric_relabel_configs"), [], good);
  }
  for (const [bad, expected] of [
    ["action: replace", `${at(23, "target_label")}expected a label name with the action replace, got none`],
    [
      "regex: '(', target_label: a",
      `${at(32, "regex")}expected a regular expression in RE2 syntax, got "(": error parsing regexp: missing closing ): \`(\``,
    ],
    [
      "regex: '(?=a)', target_label: a",
      `${at(32, "regex")}expected a regular expression in RE2 syntax, got "(?=a)": error parsing regexp: invalid or unsupported Perl syntax: \`(?=\``,
    ],
    [
      "target_label: a-b",
      `${at(39, "target_label")}expected a label name of letters, digits and underscores, got "a-b"`,
    ],
    ["target_label: 'a$1-'", `${at(39, "target_label")}expected a label name, or one with $1 and the like, got "a$1-"`],
    [
      "target_label: '$1', action: uppercase",
      `${at(39, "target_label")}expected a label name of letters, digits and underscores, got "$1"`,
    ],
    [
      "target_label: a, action: hashmod",
      `${at(23, "modulus")}expected a modulus of at least 1 with the action hashmod, got none`,
    ],
    [
      "target_label: a, action: lowercase, replacement: x",
      `${at(74, "replacement")}expected no replacement with the action lowercase, got "x"`,
    ],
    [
      "target_label: a, action: dropequal, regex: x",
      `${at(68, "regex")}expected no regex with the action dropequal, got "x"`,
    ],
    [
      "action: labelkeep, regex: x, source_labels: [a]",
      `${at(69, "source_labels")}expected no source_labels with the action labelkeep, got a list of 1`,
    ],
    [
      "action: labelmap, replacement: 'x y'",
      `${at(56, "replacement")}expected a label name, or one with $1 and the like, got "x y"`,
    ],
    [
      "target_label: datacenter",
      `${at(39, "target_label")}datacenter is set from the data centre's name or region (label_names)`,
    ],
    [
      "target_label: a, action: move",
      `${at(50, "action")}expected one of replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase, got "move"`,
    ],
    ["target_label: a, regex: 80", `${at(49, "regex")}expected a text, got 80 (a number)`],
    [
      "target_label: a, source_labels: [a-b]",
      `t.yaml:18:58: error: scrape_configs[0].relabel_configs[0].source_labels[0]: expected a label name of letters, digits and underscores that does not begin with a digit, got "a-b"`,
    ],
    ["target_label: a, source_label: [a]", `${at(42, "source_label")}unknown key; did you mean source_labels?`],
  ] as const) {
    t.same(rule(bad), [expected], bad);
  }
});

t.test("lists are bounded", async (t) => {
  const sources = Array.from({ length: 101 }, (_, i) => `l${i}`).join(", ");
  t.match(rule(`target_label: a, source_labels: [${sources}]`), [
    /source_labels: expected at most 100 labels, got 101$/,
  ]);
  const rules = Array.from({ length: 501 }, () => "target_label: a").join(" }, { ");
  t.match(rule(rules), [/scrape_configs\[0\]\.relabel_configs: expected at most 500 rules, got 501$/]);
  t.match(rule(`target_label: a, replacement: ${"x".repeat(8193)}`), [
    /replacement: expected at most 8192 bytes, got 8193$/,
  ]);
});

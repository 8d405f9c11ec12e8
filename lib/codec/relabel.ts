// Rules for metric relabelling as the settings of a generation carry them. docs/formats/generation.md draws the bytes.

import type { ByteReader } from "#/lib/bytes/reader.ts";
import type { ByteWriter } from "#/lib/bytes/writer.ts";
import type { Refuse } from "#/lib/codec/envelope.ts";
import { readCount } from "#/lib/codec/layout.ts";
import {
  type MetricRelabel,
  metricRelabelOf,
  Relabelling,
  relabelActions,
  relabelRulesMax,
  relabelSourcesMax,
} from "#/lib/model/relabel.ts";

/** Data centre and region, and room for what may come. */
const placeLabelsMax = 16;

export function writeMetricRelabel(
  writer: ByteWriter,
  { placeLabels, rules }: Omit<MetricRelabel, "id">,
  numberOf: (text: string) => number,
): void {
  const list = (texts: readonly string[]) => {
    writer.varint(texts.length);
    for (const text of texts) writer.varint(numberOf(text));
  };
  list(placeLabels);
  writer.varint(rules.length);
  for (const rule of rules) {
    writer.varint(relabelActions.indexOf(rule.action));
    list(rule.sourceLabels);
    writer.varint(numberOf(rule.separator));
    writer.varint(numberOf(rule.regex));
    writer.varint(rule.modulus);
    writer.varint(numberOf(rule.targetLabel));
    writer.varint(numberOf(rule.replacement));
  }
}

/** Undefined when there are no rules. Throws what `refuse` makes, also for rules that cannot be run. */
export function readMetricRelabel(reader: ByteReader, string: () => string, refuse: Refuse): MetricRelabel | undefined {
  const list = (max: number, what: string) => Array.from({ length: readCount(reader, 1, max, what, refuse) }, string);
  const placeLabels = list(placeLabelsMax, "settings: place labels");
  const count = readCount(reader, 7, relabelRulesMax, "settings: relabelling rules", refuse);
  const rules = Array.from({ length: count }, () => {
    const at = reader.offset;
    const number = reader.varint();
    const action = relabelActions[number];
    if (action === undefined) {
      const expected = `one of ${relabelActions.length} relabelling actions`;
      throw refuse("bad_version", at, `settings: expected ${expected}, got number ${number}`);
    }
    const sourceLabels = list(relabelSourcesMax, "settings: source labels");
    const separator = string();
    const regex = string();
    const modulus = reader.varint();
    if (action === "hashmod" && modulus === 0) {
      throw refuse("bad_structure", at, "settings: expected a modulus of at least 1 with hashmod, got 0");
    }
    return { action, sourceLabels, separator, regex, modulus, targetLabel: string(), replacement: string() };
  });
  if (rules.length === 0) return undefined;
  try {
    new Relabelling(rules);
  } catch (cause) {
    throw refuse(
      "bad_structure",
      reader.offset,
      `settings: expected rules in RE2 syntax: ${(cause as Error).message}`,
      cause,
    );
  }
  return metricRelabelOf(rules, placeLabels);
}

// Functions that change or order by labels: label_replace, label_join and the sorts.

import type { RE2JS } from "re2js";

import { compareLabels, compareText, type Labels, labelsOf, labelValue } from "#/lib/model/labels.ts";
import { executionError, quoted } from "#/lib/promql/errors.ts";
import { mergeRows, pickRows, type Vector } from "#/lib/promql/vector.ts";
import { compileAnchored } from "#/lib/regex/regex.ts";
import { expand, parseTemplate, type Template } from "#/lib/regex/template.ts";

/** With the label set, or without it when the value is empty. */
export function setLabel(labels: Labels, name: string, value: string): Labels {
  return labelsOf([...labels.filter((label) => label[0] !== name), [name, value]]);
}

/** Any text that is valid UTF-8; what was not has become U+FFFD when the query was read. */
function isLabelName(name: string): boolean {
  return name !== "" && !name.includes("\ufffd");
}

/** texts: destination, replacement, source, expression. */
export function labelReplace(vector: Vector, texts: readonly string[]): Vector {
  const [destination, replacement, source, expression] = texts as readonly [string, string, string, string];
  let compiled: RE2JS;
  try {
    compiled = compileAnchored(expression);
  } catch (error) {
    throw executionError(`invalid regular expression in label_replace(): ${expression} (${(error as Error).message})`);
  }
  if (!isLabelName(destination)) {
    throw executionError(`invalid destination label name in label_replace(): ${destination}`);
  }
  const template = parseTemplate(replacement);
  const replaced = new Map<string, string | undefined>();
  const labels = vector.labels.map((before) => {
    const value = labelValue(before, source);
    if (!replaced.has(value)) replaced.set(value, expandMatch(compiled, template, value));
    const result = replaced.get(value);
    return result === undefined ? before : setLabel(before, destination, result);
  });
  return mergeRows({ ...vector, labels });
}

/** Undefined when the expression does not match. */
function expandMatch(compiled: RE2JS, template: Template, value: string): string | undefined {
  const matcher = compiled.matcher(value);
  return matcher.matches() ? expand(template, matcher, compiled.namedGroups()) : undefined;
}

/** texts: destination, separator, sources. */
export function labelJoin(vector: Vector, texts: readonly string[]): Vector {
  const [destination, separator, ...sources] = texts as readonly [string, string, ...string[]];
  if (!isLabelName(destination)) {
    throw executionError(`invalid destination label name in label_join(): ${quoted(destination)}`);
  }
  if (sources.includes("")) throw executionError('invalid source label name in label_join(): ""');
  const labels = vector.labels.map((before) =>
    setLabel(before, destination, sources.map((source) => labelValue(before, source)).join(separator)),
  );
  return mergeRows({ ...vector, labels });
}

/** By the values at the first step; NaN last in either direction; what has no value is left out. */
export function sortByValue(vector: Vector, descending: boolean): Vector {
  const { values } = vector;
  const order = presentRows(vector);
  order.sort((a, b) => {
    const left = values[a * vector.steps]!;
    const right = values[b * vector.steps]!;
    if (Number.isNaN(left) || Number.isNaN(right)) return Number(Number.isNaN(left)) - Number(Number.isNaN(right));
    if (left === right) return 0;
    return left < right === descending ? 1 : -1;
  });
  return pickRows(vector, order);
}

/** By these labels' values in natural order ("2" before "10"), then by all labels. */
export function sortByLabels(vector: Vector, names: readonly string[], descending: boolean): Vector {
  const order = presentRows(vector);
  const sign = descending ? -1 : 1;
  order.sort((a, b) => {
    for (const name of names) {
      const compared = compareNaturally(labelValue(vector.labels[a]!, name), labelValue(vector.labels[b]!, name));
      if (compared !== 0) return sign * compared;
    }
    return sign * compareLabels(vector.labels[a]!, vector.labels[b]!);
  });
  return pickRows(vector, order);
}

function presentRows(vector: Vector): number[] {
  const rows: number[] = [];
  for (let row = 0; row < vector.labels.length; row++) if (vector.present[row * vector.steps] === 1) rows.push(row);
  return rows;
}

function compareNaturally(a: string, b: string): number {
  const left = a.match(/\d+|\D+/g) ?? [];
  const right = b.match(/\d+|\D+/g) ?? [];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const bothNumbers = /^\d/.test(left[i]!) && /^\d/.test(right[i]!);
    const compared = bothNumbers ? Number(left[i]) - Number(right[i]) : compareText(left[i]!, right[i]!);
    if (compared !== 0) return compared;
  }
  return left.length - right.length;
}

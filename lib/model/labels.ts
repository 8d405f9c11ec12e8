// Labels as everywhere in this field: a set of (name, value), sorted by name in UTF-8 byte order, no name twice, and no
// empty value, because a label with an empty value is the same as no label.

import { Buffer } from "node:buffer";

export type Label = readonly [name: string, value: string];
export type Labels = readonly Label[];

export const metricNameLabel = "__name__";

/** Byte order of UTF-8. JavaScript's `<` compares UTF-16 units, which differs above U+FFFF. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  for (let i = 0; i < a.length && i < b.length; i++) {
    if (a.charCodeAt(i) >= 0xd800 || b.charCodeAt(i) >= 0xd800) return Buffer.compare(Buffer.from(a), Buffer.from(b));
    if (a.charCodeAt(i) !== b.charCodeAt(i)) return a.charCodeAt(i) < b.charCodeAt(i) ? -1 : 1;
  }
  return a.length < b.length ? -1 : 1;
}

/** Sorts, and drops empty values. The names must be distinct. */
export function labelsOf(source: Readonly<Record<string, string>> | Iterable<Label>): Labels {
  const entries = Symbol.iterator in source ? [...(source as Iterable<Label>)] : Object.entries(source);
  return entries.filter(([, value]) => value !== "").sort((a, b) => compareText(a[0], b[0]));
}

/** The value, or "" when there is no such label. */
export function labelValue(labels: Labels, name: string): string {
  for (const [key, value] of labels) if (key === name) return value;
  return "";
}

export function labelsRecord(labels: Labels): Record<string, string> {
  return Object.fromEntries(labels);
}

/** The order of answers: label by label, name before value; a set comes before those that it begins. */
export function compareLabels(a: Labels, b: Labels): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const compared = compareText(a[i]![0], b[i]![0]) || compareText(a[i]![1], b[i]![1]);
    if (compared !== 0) return compared;
  }
  return a.length - b.length;
}

/** Equal label sets, and only those, have equal keys. */
export function labelsKey(labels: Labels): string {
  let key = "";
  for (const [name, value] of labels) key += `${name.length}:${name}${value.length}:${value}`;
  return key;
}

/**
 * The labels of one series: those of its target, overlaid by those of its row. A row's label wins, and one with an empty
 * value takes the target's away (that is how `honor_labels` and metric relabelling are carried).
 */
export function mergeLabels(target: Labels, row: Labels, name: string): Labels {
  const merged: Label[] = [];
  let t = 0;
  let named = false;
  // Both are sorted; the target's labels go in front of each of the row's, and the name where it belongs.
  for (let r = 0; r <= row.length; r++) {
    const next = row[r];
    while (t < target.length) {
      const order = next ? compareText(target[t]![0], next[0]) : -1;
      if (order > 0) break;
      if (order < 0) add(target[t]!);
      t++;
    }
    if (next) add(next);
  }
  if (!named) merged.push([metricNameLabel, name]);
  return merged;

  function add(label: Label): void {
    const order = named ? -1 : compareText(metricNameLabel, label[0]);
    if (order <= 0 && !named) {
      merged.push([metricNameLabel, name]);
      named = true;
    }
    if (order !== 0 && label[1] !== "") merged.push(label);
  }
}

export type MatchOperator = "=" | "!=" | "=~" | "!~";

/** A condition on one label's value; an absent label has the value "". */
export interface Matcher {
  readonly name: string;
  readonly operator: MatchOperator;
  readonly value: string;
  /** Regular expressions are RE2's, anchored at both ends. */
  matches(value: string): boolean;
}

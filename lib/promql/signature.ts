// What decides which series of two sides belong together: the labels of `on`, or all but the name and those of `ignoring`.

import { type Labels, labelsKey, labelValue, metricNameLabel } from "#/lib/model/labels.ts";
import type { Matching } from "#/lib/promql/ast.ts";

/** Equal exactly where two series match. */
export function signatureKey(labels: Labels, matching: Matching): string {
  if (!matching.on) return labelsKey(signatureLabels(labels, matching));
  let key = "";
  for (const name of matching.labels) {
    const value = labelValue(labels, name);
    key += `${value.length}:${value}`;
  }
  return key;
}

/** The labels that the match was made by. */
export function signatureLabels(labels: Labels, matching: Matching): Labels {
  if (matching.on) return labels.filter(([name]) => matching.labels.includes(name));
  return labels.filter(([name]) => name !== metricNameLabel && !matching.labels.includes(name));
}

/** The rows of each signature, in their order. */
export function rowsBySignature(rows: readonly Labels[], matching: Matching): Map<string, number[]> {
  const bySignature = new Map<string, number[]>();
  for (const [row, labels] of rows.entries()) {
    const key = signatureKey(labels, matching);
    const known = bySignature.get(key);
    if (known) known.push(row);
    else bySignature.set(key, [row]);
  }
  return bySignature;
}

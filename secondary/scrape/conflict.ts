// Whose label wins when a target and its exposition both have it, as Prometheus' `honor_labels` says.
//
// The result is the row's own labels in the sense of `mergeLabels`: they overlay the target's, and an empty value takes one away.

import { type Labels, labelsOf } from "#/lib/model/labels.ts";

const exportedPrefix = "exported_";

/** The labels that a row keeps beside its target's. `exposed` may have empty values. */
export function rowLabels(exposed: Labels, targetNames: ReadonlySet<string>, honorLabels: boolean): Labels {
  if (honorLabels) {
    // An empty value stays where it takes the target's label away; elsewhere it means no label.
    return exposed.some(([name, value]) => value === "" && !targetNames.has(name))
      ? exposed.filter(([name, value]) => value !== "" || targetNames.has(name))
      : exposed;
  }
  if (!exposed.some(([name, value]) => value === "" || targetNames.has(name))) return exposed;
  const kept = new Map(exposed.filter(([name, value]) => value !== "" && !targetNames.has(name)));
  const conflicting = exposed
    .filter(([name, value]) => value !== "" && targetNames.has(name))
    .sort((a, b) => a[0].length - b[0].length);
  for (const [name, value] of conflicting) {
    let renamed = exportedPrefix + name;
    while (kept.has(renamed) || targetNames.has(renamed)) renamed = exportedPrefix + renamed;
    kept.set(renamed, value);
  }
  return labelsOf(kept);
}

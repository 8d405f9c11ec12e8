// and, or, unless: whole series come or go by whether the other side has a match at the same step.

import type { Matching } from "#/lib/promql/ast.ts";
import { rowsBySignature, signatureKey } from "#/lib/promql/signature.ts";
import { mergeRows, type Vector } from "#/lib/promql/vector.ts";

/** Throws QueryError when `or` puts two series of the same labels at one step. */
export function combineSets(
  operator: "and" | "or" | "unless",
  left: Vector,
  right: Vector,
  matching: Matching,
): Vector {
  switch (operator) {
    case "and":
      keepWhere(left, right, matching, 1);
      return left;
    case "unless":
      keepWhere(left, right, matching, 0);
      return left;
    case "or": {
      keepWhere(right, left, matching, 0);
      const values = new Float64Array(left.values.length + right.values.length);
      const present = new Uint8Array(values.length);
      values.set(left.values);
      values.set(right.values, left.values.length);
      present.set(left.present);
      present.set(right.present, left.present.length);
      const labels = [...left.labels, ...right.labels];
      return mergeRows({ kind: "vector", steps: left.steps, labels, values, present });
    }
    default:
      return operator satisfies never;
  }
}

/** Takes away what has (wanted 0) or has not (wanted 1) a match in `other` at its step. */
function keepWhere(vector: Vector, other: Vector, matching: Matching, wanted: 0 | 1): void {
  const { steps } = vector;
  const matched = new Map<string, Uint8Array>();
  for (const [key, rows] of rowsBySignature(other.labels, matching)) {
    const any = new Uint8Array(steps);
    for (const row of rows) for (let i = 0; i < steps; i++) any[i]! |= other.present[row * steps + i]!;
    matched.set(key, any);
  }
  for (const [row, labels] of vector.labels.entries()) {
    const any = matched.get(signatureKey(labels, matching));
    for (let i = 0; i < steps; i++) if ((any?.[i] ?? 0) !== wanted) vector.present[row * steps + i] = 0;
  }
}

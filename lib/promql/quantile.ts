// The φ-quantile of some values, interpolated between the two that are next to it.

/** Sorts `values` in place, NaN first. Outside [0, 1] it is −Inf or +Inf; of nothing, or for a NaN, it is NaN. */
export function quantileOf(quantile: number, values: Float64Array): number {
  if (values.length === 0 || Number.isNaN(quantile)) return Number.NaN;
  if (quantile < 0) return Number.NEGATIVE_INFINITY;
  if (quantile > 1) return Number.POSITIVE_INFINITY;
  sortNaNFirst(values);
  const rank = quantile * (values.length - 1);
  const below = Math.max(0, Math.floor(rank));
  const above = Math.min(values.length - 1, below + 1);
  const weight = rank - Math.floor(rank);
  return values[below]! * (1 - weight) + values[above]! * weight;
}

/** A typed array's own sort puts NaN last. */
function sortNaNFirst(values: Float64Array): void {
  values.sort();
  let numbers = values.length;
  while (numbers > 0 && Number.isNaN(values[numbers - 1]!)) numbers--;
  if (numbers === values.length) return;
  values.copyWithin(values.length - numbers, 0, numbers);
  values.fill(Number.NaN, 0, values.length - numbers);
}

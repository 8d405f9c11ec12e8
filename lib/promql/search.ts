// Bisection over ascending times.

/** The first index in [low, high) whose time is after `atMs`; `high` when none is. */
export function firstAfterIn(times: Float64Array, low: number, high: number, atMs: number): number {
  let from = low;
  let until = high;
  while (from < until) {
    const middle = (from + until) >>> 1;
    if (times[middle]! <= atMs) from = middle + 1;
    else until = middle;
  }
  return from;
}

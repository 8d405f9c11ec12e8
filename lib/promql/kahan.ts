// Compensated summation (Kahan, Neumaier's variant), as Prometheus sums: what rounding takes away is carried along and added
// at the end, so that the order of a million series does not show in the result.
//
// A sum is two numbers, and JavaScript gives back one; so the state lives in two slots that a caller owns.

export class KahanSum {
  sum = 0;
  compensation = 0;

  add(value: number): void {
    const next = this.sum + value;
    if (next === Number.POSITIVE_INFINITY || next === Number.NEGATIVE_INFINITY) this.compensation = 0;
    else if (Math.abs(this.sum) >= Math.abs(value)) this.compensation += this.sum - next + value;
    else this.compensation += value - next + this.sum;
    this.sum = next;
  }

  reset(): void {
    this.sum = 0;
    this.compensation = 0;
  }

  get total(): number {
    return Number.isFinite(this.sum) ? this.sum + this.compensation : this.sum;
  }
}

/** Adds to the sums of many groups at once: slot i of both arrays. */
export function addCompensated(sums: Float64Array, compensations: Float64Array, i: number, value: number): void {
  const sum = sums[i]!;
  const next = sum + value;
  if (next === Number.POSITIVE_INFINITY || next === Number.NEGATIVE_INFINITY) compensations[i] = 0;
  else if (Math.abs(sum) >= Math.abs(value)) compensations[i]! += sum - next + value;
  else compensations[i]! += value - next + sum;
  sums[i] = next;
}

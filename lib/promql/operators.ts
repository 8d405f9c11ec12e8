// Arithmetic and comparison of two numbers, as Go does them.

import type { ArithmeticOperator, ComparisonOperator } from "#/lib/promql/ast.ts";

export const arithmetic: Readonly<Record<ArithmeticOperator, (left: number, right: number) => number>> = {
  "+": (left, right) => left + right,
  "-": (left, right) => left - right,
  "*": (left, right) => left * right,
  "/": (left, right) => left / right,
  "%": (left, right) => left % right,
  "^": power,
  atan2: Math.atan2,
};

export const comparison: Readonly<Record<ComparisonOperator, (left: number, right: number) => boolean>> = {
  "==": (left, right) => left === right,
  "!=": (left, right) => left !== right,
  "<": (left, right) => left < right,
  "<=": (left, right) => left <= right,
  ">": (left, right) => left > right,
  ">=": (left, right) => left >= right,
};

/** C's pow: 1 to any power is 1, and so is −1 to an infinite one; JavaScript has NaN there. */
function power(base: number, exponent: number): number {
  if (base === 1 || (base === -1 && Math.abs(exponent) === Number.POSITIVE_INFINITY)) return 1;
  return base ** exponent;
}

export function isArithmetic(operator: string): operator is ArithmeticOperator {
  return Object.hasOwn(arithmetic, operator);
}

export function isComparison(operator: string): operator is ComparisonOperator {
  return Object.hasOwn(comparison, operator);
}

// Operators between two expressions. With a scalar on one side it is arithmetic along the rows; between two vectors the
// series are first matched by their labels, which is done once a query, not once a step (see join.ts).

import type { Binary, BinaryOperator } from "#/lib/promql/ast.ts";
import { typeOf } from "#/lib/promql/check.ts";
import type { Context } from "#/lib/promql/context.ts";
import { executionError, quoted } from "#/lib/promql/errors.ts";
import { joinVectors } from "#/lib/promql/join.ts";
import { arithmetic, comparison, isArithmetic, isComparison } from "#/lib/promql/operators.ts";
import { combineSets } from "#/lib/promql/sets.ts";
import { dropNames, type Grid, type Scalar, type Value, type Vector } from "#/lib/promql/vector.ts";

export async function evaluateBinary(context: Context, binary: Binary, grid: Grid): Promise<Value> {
  const { operator, left, right, bool } = binary;
  const leftIsScalar = typeOf(left) === "scalar";
  const rightIsScalar = typeOf(right) === "scalar";
  if (leftIsScalar && rightIsScalar) {
    return betweenScalars(operator, await context.scalar(left, grid), await context.scalar(right, grid));
  }
  if (leftIsScalar) {
    const scalar = await context.scalar(left, grid);
    return withScalar(operator, await context.vector(right, grid), scalar, { bool, scalarIsLeft: true });
  }
  if (rightIsScalar) {
    const vector = await context.vector(left, grid);
    return withScalar(operator, vector, await context.scalar(right, grid), { bool, scalarIsLeft: false });
  }
  const leftVector = await context.vector(left, grid);
  const rightVector = await context.vector(right, grid);
  const turn = context.pace(leftVector.values.length + rightVector.values.length);
  if (turn) await turn;
  if (operator === "and" || operator === "or" || operator === "unless") {
    return combineSets(operator, leftVector, rightVector, binary.matching);
  }
  if (!isArithmetic(operator) && !isComparison(operator)) throw unsupported(operator);
  return joinVectors(context, leftVector, rightVector, { operator, bool, matching: binary.matching });
}

function betweenScalars(operator: BinaryOperator, left: Float64Array, right: Float64Array): Scalar {
  if (isArithmetic(operator)) {
    const apply = arithmetic[operator];
    return { kind: "scalar", values: left.map((value, i) => apply(value, right[i]!)) };
  }
  if (!isComparison(operator)) throw unsupported(operator);
  const compare = comparison[operator];
  return { kind: "scalar", values: left.map((value, i) => Number(compare(value, right[i]!))) };
}

function withScalar(
  operator: BinaryOperator,
  vector: Vector,
  scalar: Float64Array,
  options: { readonly bool: boolean; readonly scalarIsLeft: boolean },
): Vector {
  const { bool, scalarIsLeft } = options;
  const { values, present, steps } = vector;
  if (isArithmetic(operator)) {
    const apply = arithmetic[operator];
    for (let k = 0, i = 0; k < values.length; k++, i = i + 1 === steps ? 0 : i + 1) {
      values[k] = scalarIsLeft ? apply(scalar[i]!, values[k]!) : apply(values[k]!, scalar[i]!);
    }
    return dropNames(vector);
  }
  if (!isComparison(operator)) throw unsupported(operator);
  const compare = comparison[operator];
  for (let k = 0, i = 0; k < values.length; k++, i = i + 1 === steps ? 0 : i + 1) {
    if (present[k] === 0) continue;
    const holds = scalarIsLeft ? compare(scalar[i]!, values[k]!) : compare(values[k]!, scalar[i]!);
    if (bool) values[k] = Number(holds);
    else if (!holds) present[k] = 0;
  }
  return bool ? dropNames(vector) : vector;
}

function unsupported(operator: BinaryOperator) {
  return executionError(`operator ${quoted(operator)} is not supported yet`);
}

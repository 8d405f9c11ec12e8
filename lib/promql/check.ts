// The type rules: what may stand where. In the order and the words of Prometheus' checkAST, because the first error is told.

import {
  type Binary,
  type Call,
  comparisonOperators,
  type Expression,
  setOperators,
  type ValueType,
  type VectorSelector,
} from "#/lib/promql/ast.ts";
import { ParseError, QueryError, quoted, type Span } from "#/lib/promql/errors.ts";

const typeWords: Readonly<Record<ValueType, string>> = {
  scalar: "scalar",
  vector: "instant vector",
  matrix: "range vector",
  string: "string",
};

/** What an expression gives; the checks make sure that it does. */
export function typeOf(expression: Expression): ValueType {
  switch (expression.kind) {
    case "number":
      return "scalar";
    case "string":
      return "string";
    case "selector":
    case "aggregation":
      return "vector";
    case "matrix":
    case "subquery":
      return "matrix";
    case "paren":
    case "unary":
      return typeOf(expression.operand);
    case "call":
      return expression.signature.result;
    case "binary":
      return typeOf(expression.left) === "scalar" && typeOf(expression.right) === "scalar" ? "scalar" : "vector";
    default:
      return expression satisfies never;
  }
}

/** The type as Prometheus documents it: "instant vector", "range vector". */
export function typeWord(expression: Expression): string {
  return typeWords[typeOf(expression)];
}

/** Throws ParseError. */
export function checkExpression(query: string, expression: Expression): ValueType {
  switch (expression.kind) {
    case "number":
    case "string":
      break;
    case "selector":
      checkSelector(query, expression, "position");
      break;
    case "matrix":
      checkSelector(query, expression.selector, "position");
      break;
    case "paren":
      return checkExpression(query, expression.operand);
    case "unary": {
      const type = checkExpression(query, expression.operand);
      if (type !== "scalar" && type !== "vector") {
        const got = quoted(typeWords[type]);
        throw new ParseError(
          query,
          expression,
          `unary expression only allowed on expressions of type scalar or instant vector, got ${got}`,
        );
      }
      return type;
    }
    case "subquery": {
      const type = checkExpression(query, expression.operand);
      if (type !== "vector") {
        throw new ParseError(query, expression, `subquery is only allowed on instant vector, got ${type} instead`);
      }
      break;
    }
    case "aggregation":
      expectType(query, expression.operand, "vector", "aggregation expression");
      if (expression.parameter) {
        const wanted = expression.aggregator === "count_values" ? "string" : "scalar";
        expectType(query, expression.parameter, wanted, "aggregation parameter");
      }
      break;
    case "call":
      checkCall(query, expression);
      break;
    case "binary":
      checkBinary(query, expression);
      break;
    default:
      expression satisfies never;
  }
  return typeOf(expression);
}

/** `names`: for `match[]`, whose error names the parameter in place of a position. */
export function checkSelector(query: string, selector: VectorSelector, style: "position" | "names"): void {
  if (selector.name !== "") return;
  if (selector.matchers.some((matcher) => !matcher.matches(""))) return;
  if (style === "names") throw new QueryError("parse", "match[] must contain at least one non-empty matcher");
  throw new ParseError(query, selector, "vector selector must contain at least one non-empty matcher");
}

function expectType(query: string, expression: Expression, wanted: ValueType, context: string): void {
  const got = checkExpression(query, expression);
  if (got !== wanted) {
    throw new ParseError(query, expression, `expected type ${typeWords[wanted]} in ${context}, got ${typeWords[got]}`);
  }
}

function checkCall(query: string, call: Call): void {
  const { signature, arguments: given } = call;
  const { name, parameters, variadic } = signature;
  const fail = (reason: string, span: Span = call) => new ParseError(query, span, reason);
  const inCall = `in call to ${quoted(name)}, got ${given.length}`;
  if (variadic === 0) {
    if (given.length !== parameters.length) throw fail(`expected ${parameters.length} argument(s) ${inCall}`);
  } else {
    const countMin = parameters.length - 1;
    const countMax = countMin + variadic;
    if (given.length < countMin) throw fail(`expected at least ${countMin} argument(s) ${inCall}`);
    if (variadic > 0 && given.length > countMax) throw fail(`expected at most ${countMax} argument(s) ${inCall}`);
  }
  for (const [i, argument] of given.entries()) {
    const wanted = parameters[Math.min(i, parameters.length - 1)]!;
    if (name === "info" && i === 1 && argument.kind === "selector") {
      // The one place where a selector may be empty: it only narrows which info series are joined.
      if (argument.name !== "") throw fail("expected label selectors only, got vector selector instead", argument);
      continue;
    }
    expectType(query, argument, wanted, `call to function ${quoted(name)}`);
    if (name === "info" && i === 1) throw fail("expected label selectors only", argument);
  }
}

function checkBinary(query: string, binary: Binary): void {
  const { operator, matching } = binary;
  const left = checkExpression(query, binary.left);
  const right = checkExpression(query, binary.right);
  const fail = (reason: string, span: Span = binary) => new ParseError(query, span, reason);
  const isSet = setOperators.has(operator);
  if (binary.bool && !comparisonOperators.has(operator)) {
    throw fail("bool modifier can only be used on comparison operators", operatorSpan(query, binary));
  }
  if (comparisonOperators.has(operator) && !binary.bool && left === "scalar" && right === "scalar") {
    throw fail("comparisons between scalars must use BOOL modifier", operatorSpan(query, binary));
  }
  if (matching.on) {
    const both = matching.labels.find((label) => matching.include.includes(label));
    if (both !== undefined) {
      throw fail(`label ${quoted(both)} must not occur in ON and GROUP clause at once`, operatorSpan(query, binary));
    }
  }
  const sides = "binary expression must contain only scalar and instant vector types";
  if (left !== "scalar" && left !== "vector") throw fail(sides, binary.left);
  if (right !== "scalar" && right !== "vector") throw fail(sides, binary.right);
  const hasFill = matching.fillLeft !== undefined || matching.fillRight !== undefined;
  if (left !== "vector" || right !== "vector") {
    if (matching.labels.length > 0) throw fail("vector matching only allowed between instant vectors");
    if (hasFill) throw fail("filling in missing series only allowed between instant vectors");
    if (isSet) throw fail(`set operator ${quoted(operator)} not allowed in binary scalar expression`);
  } else if (isSet) {
    if (matching.group !== "none") throw fail(`no grouping allowed for ${quoted(operator)} operation`);
    if (hasFill) throw fail("filling in missing series not allowed for set operators");
  }
}

/** The operator and its modifiers: what is between the operands. */
function operatorSpan(query: string, binary: Binary): Span {
  const between = query.slice(binary.left.end, binary.right.start);
  const start = binary.left.end + (between.length - between.trimStart().length);
  return { start, end: Math.max(start, binary.right.start - (between.length - between.trimEnd().length)) };
}

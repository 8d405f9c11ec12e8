// Durations in ranges, steps and offsets: a literal, or arithmetic over literals and the query's own step and range.
//
// Within brackets the whole of it is arithmetic. After `offset` only what is in parentheses is: `foo offset 5m - 3` takes 3
// from the value, not from the offset.

import type { DurationExpression } from "#/lib/promql/ast.ts";
import { executionError } from "#/lib/promql/errors.ts";
import { durationMsMax } from "#/lib/promql/text.ts";
import type { TokenStream } from "#/lib/promql/tokens.ts";

type Operator = Extract<DurationExpression, { kind: "operation" }>["operator"];

const precedences: Readonly<Partial<Record<string, number>>> = { "+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3 };
const expected = "number, duration, step(), or range()";

/** Stands at the first token; goes past the last. Throws ParseError. */
export function parseDurationExpression(
  tokens: TokenStream,
  options: { readonly context: string; readonly positive: boolean },
): DurationExpression {
  const { context, positive } = options;
  const first = tokens.current;
  const expression = positive ? arithmetic(1) : signed();
  const literal = literalSeconds(expression);
  if (literal !== undefined) {
    if (positive && !(literal > 0)) throw tokens.error("duration must be greater than 0", first);
    if (!(Math.abs(literal) * 1000 <= durationMsMax)) throw tokens.error("duration out of range", first);
  }
  return expression;

  function arithmetic(precedenceMin: number): DurationExpression {
    let left = tokens.current.kind === "-" || tokens.current.kind === "+" ? negatable() : primary();
    for (;;) {
      const token = tokens.current;
      const precedence = precedences[token.kind];
      if (precedence === undefined || precedence < precedenceMin) return left;
      tokens.advance();
      const right = arithmetic(token.kind === "^" ? precedence : precedence + 1);
      if ((token.kind === "/" || token.kind === "%") && right.kind === "seconds" && right.value === 0) {
        throw tokens.error(token.kind === "/" ? "division by zero" : "modulo by zero", token);
      }
      left = { kind: "operation", operator: token.kind as Operator, left, right };
    }
  }

  function negatable(): DurationExpression {
    const negative = tokens.current.kind === "-";
    tokens.advance();
    const operand = arithmetic(3);
    return negative ? { kind: "negated", operand } : operand;
  }

  function signed(): DurationExpression {
    const negative = tokens.take("-");
    if (!negative) tokens.take("+");
    const operand = primary();
    return negative ? { kind: "negated", operand } : operand;
  }

  function primary(): DurationExpression {
    const token = tokens.current;
    if (token.kind === "number" || token.kind === "duration") {
      return { kind: "seconds", value: tokens.numberOrDuration() };
    }
    if (tokens.take("(")) {
      const inner = arithmetic(1);
      tokens.expect(")", context, '")"');
      return inner;
    }
    const word = token.kind === "identifier" ? token.text.toLowerCase() : "";
    if (word === "step" || word === "range") {
      tokens.advance();
      tokens.expect("(", context, '"("');
      tokens.expect(")", context, '")"');
      return { kind: word };
    }
    if (word === "min_of" || word === "max_of") {
      tokens.advance();
      tokens.expect("(", context, '"("');
      const left = arithmetic(1);
      tokens.expect(",", context, '","');
      const right = arithmetic(1);
      tokens.expect(")", context, '")"');
      return { kind: "operation", operator: word, left, right };
    }
    throw tokens.unexpected(context, expected);
  }
}

function literalSeconds(expression: DurationExpression): number | undefined {
  if (expression.kind === "seconds") return expression.value;
  if (expression.kind === "negated" && expression.operand.kind === "seconds") return -expression.operand.value;
  return undefined;
}

/** In whole ms. Throws QueryError when it is out of range, or not above zero where it must be. */
export function durationMs(
  expression: DurationExpression,
  query: { readonly stepMs: number; readonly rangeMs: number },
  options: { readonly positive: boolean },
): number {
  const ms = Math.round(seconds(expression, query) * 1000);
  if (!(Math.abs(ms) <= durationMsMax)) throw executionError("duration is out of range");
  if (options.positive && ms <= 0) throw executionError("duration must be greater than 0");
  return ms;
}

function seconds(expression: DurationExpression, query: { readonly stepMs: number; readonly rangeMs: number }): number {
  switch (expression.kind) {
    case "seconds":
      return expression.value;
    case "step":
      return query.stepMs / 1000;
    case "range":
      return query.rangeMs / 1000;
    case "negated":
      return -seconds(expression.operand, query);
    case "operation": {
      const left = seconds(expression.left, query);
      const right = seconds(expression.right, query);
      return calculate(expression.operator, left, right);
    }
    default:
      return expression satisfies never;
  }
}

function calculate(operator: Operator, left: number, right: number): number {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "%":
      return left % right;
    case "^":
      return left ** right;
    case "min_of":
      return Math.min(left, right);
    case "max_of":
      return Math.max(left, right);
    default:
      return operator satisfies never;
  }
}

// An expression as a tree. The parser makes it, the checker vouches for its types, and nothing changes it afterwards.

import type { Matcher } from "#/lib/model/labels.ts";
import type { Span } from "#/lib/promql/errors.ts";

export type ValueType = "scalar" | "vector" | "matrix" | "string";

/** What a function takes and gives (signatures.ts has them all). */
export interface FunctionSignature {
  readonly name: string;
  readonly parameters: readonly ValueType[];
  /** How often the last type may be left out or repeated: 0 never, n > 0 from none to n times, −1 any number of times. */
  readonly variadic: number;
  readonly result: ValueType;
}

export type Expression =
  | NumberLiteral
  | StringLiteral
  | VectorSelector
  | MatrixSelector
  | Subquery
  | Paren
  | Unary
  | Binary
  | Call
  | Aggregation;

export interface NumberLiteral extends Span {
  readonly kind: "number";
  readonly value: number;
}

export interface StringLiteral extends Span {
  readonly kind: "string";
  readonly value: string;
}

/** Arithmetic over durations, in seconds; `step` and `range` are those of the query, known when it is evaluated. */
export type DurationExpression =
  | { readonly kind: "seconds"; readonly value: number }
  | { readonly kind: "step" | "range" }
  | { readonly kind: "negated"; readonly operand: DurationExpression }
  | {
      readonly kind: "operation";
      readonly operator: "+" | "-" | "*" | "/" | "%" | "^" | "min_of" | "max_of";
      readonly left: DurationExpression;
      readonly right: DurationExpression;
    };

/** What follows a selector or subquery: when, in place of the evaluation time, and how much earlier. */
export interface TimeShift {
  readonly offset: DurationExpression | undefined;
  /** `@`: a time, or an end of the query's range. */
  readonly at: { readonly kind: "time"; readonly ms: number } | { readonly kind: "start" | "end" } | undefined;
}

/** How a range is completed at its edges from samples beyond them (Prometheus' extended range selectors). */
export type RangeEdges = "anchored" | "smoothed";

export interface VectorSelector extends Span, TimeShift {
  readonly kind: "selector";
  /** The name before the braces or quoted within, "" when there is none; it is among the matchers too. */
  readonly name: string;
  readonly matchers: readonly Matcher[];
  readonly edges: RangeEdges | undefined;
}

export interface MatrixSelector extends Span {
  readonly kind: "matrix";
  readonly selector: VectorSelector;
  readonly range: DurationExpression;
}

export interface Subquery extends Span, TimeShift {
  readonly kind: "subquery";
  readonly operand: Expression;
  readonly range: DurationExpression;
  /** Undefined means the default evaluation interval. */
  readonly step: DurationExpression | undefined;
}

export interface Paren extends Span {
  readonly kind: "paren";
  readonly operand: Expression;
}

export interface Unary extends Span {
  readonly kind: "unary";
  readonly operator: "+" | "-";
  readonly operand: Expression;
}

export type ArithmeticOperator = "+" | "-" | "*" | "/" | "%" | "^" | "atan2";
export type ComparisonOperator = "==" | "!=" | "<" | "<=" | ">" | ">=";
export type SetOperator = "and" | "or" | "unless";
/** What they cut off are buckets of native histograms. */
export type TrimOperator = "</" | ">/";
export type BinaryOperator = ArithmeticOperator | ComparisonOperator | SetOperator | TrimOperator;

export interface Matching {
  /** True for `on`, false for `ignoring` and for no clause at all. */
  readonly on: boolean;
  readonly labels: readonly string[];
  /** Which side may have several series a match. */
  readonly group: "none" | "left" | "right";
  /** Labels of the "one" side that the result takes over. */
  readonly include: readonly string[];
  /** What stands in for a partner that is missing on that side. */
  readonly fillLeft: number | undefined;
  readonly fillRight: number | undefined;
}

export interface Binary extends Span {
  readonly kind: "binary";
  readonly operator: BinaryOperator;
  readonly left: Expression;
  readonly right: Expression;
  readonly bool: boolean;
  readonly matching: Matching;
}

export interface Call extends Span {
  readonly kind: "call";
  readonly signature: FunctionSignature;
  readonly arguments: readonly Expression[];
}

export const aggregators = [
  "avg",
  "bottomk",
  "count",
  "count_values",
  "group",
  "limit_ratio",
  "limitk",
  "max",
  "min",
  "quantile",
  "stddev",
  "stdvar",
  "sum",
  "topk",
] as const;
export type Aggregator = (typeof aggregators)[number];

export interface Aggregation extends Span {
  readonly kind: "aggregation";
  readonly aggregator: Aggregator;
  readonly operand: Expression;
  readonly parameter: Expression | undefined;
  readonly grouping: readonly string[];
  readonly without: boolean;
}

/** The direct parts that are evaluated on their own. */
export function childrenOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case "number":
    case "string":
    case "selector":
      return [];
    case "matrix":
      return [expression.selector];
    case "subquery":
    case "paren":
    case "unary":
      return [expression.operand];
    case "binary":
      return [expression.left, expression.right];
    case "call":
      return expression.arguments;
    case "aggregation":
      return expression.parameter ? [expression.parameter, expression.operand] : [expression.operand];
    default:
      return expression satisfies never;
  }
}

export function unwrapParens(expression: Expression): Expression {
  let inner = expression;
  while (inner.kind === "paren") inner = inner.operand;
  return inner;
}

export const comparisonOperators: ReadonlySet<string> = new Set(["==", "!=", "<", "<=", ">", ">="]);
export const setOperators: ReadonlySet<string> = new Set(["and", "or", "unless"]);

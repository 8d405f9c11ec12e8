// From text to tree, by precedence climbing, with the words of Prometheus where it goes wrong.
//
// Tightest first: selectors with their brackets, `offset` and `@`; `^` (from the right); unary signs; `* / % atan2`; `+ -`;
// comparisons; `and unless`; `or`. So `-1^2` is −1, and `2^-1` is a half.

import { Buffer } from "node:buffer";

import { type Matcher, type MatchOperator, metricNameLabel } from "#/lib/model/labels.ts";
import {
  type Aggregation,
  type Aggregator,
  aggregators,
  type BinaryOperator,
  type DurationExpression,
  type Expression,
  type Matching,
  type TimeShift,
  type VectorSelector,
} from "#/lib/promql/ast.ts";
import { checkExpression, checkSelector } from "#/lib/promql/check.ts";
import { parseDurationExpression } from "#/lib/promql/duration.ts";
import { ParseError, quoted, type Span } from "#/lib/promql/errors.ts";
import { nestingDepthMax, queryBytesMax } from "#/lib/promql/limits.ts";
import { compileMatcher } from "#/lib/promql/regex.ts";
import { signatures } from "#/lib/promql/signatures.ts";
import { parseNumber, unquote } from "#/lib/promql/text.ts";
import { TokenStream } from "#/lib/promql/tokens.ts";

/** Throws ParseError. The tree's types are right and no deeper than `nestingDepthMax`. */
export function parse(query: string): Expression {
  const parser = new Parser(query);
  const expression = parser.whole();
  checkExpression(query, expression);
  return expression;
}

/** A selector alone, as in `match[]`: its matchers. Throws ParseError. */
export function parseSelector(query: string): readonly Matcher[] {
  const parser = new Parser(query);
  const expression = parser.whole();
  if (expression.kind !== "selector" || expression.offset || expression.at || expression.edges) {
    throw new ParseError(query, { start: 0, end: query.length }, "expected a selector without modifiers");
  }
  checkSelector(query, expression, "names");
  return expression.matchers;
}

const precedences: Readonly<Record<BinaryOperator, number>> = {
  or: 1,
  and: 2,
  unless: 2,
  "==": 3,
  "!=": 3,
  "<": 3,
  "<=": 3,
  ">": 3,
  ">=": 3,
  "</": 3,
  ">/": 3,
  "+": 4,
  "-": 4,
  "*": 5,
  "/": 5,
  "%": 5,
  atan2: 5,
  "^": 6,
};

/** Words that cannot name a metric, because they follow an operator or are numbers. */
const reservedWords: ReadonlySet<string> = new Set([
  "bool",
  "group_left",
  "group_right",
  "ignoring",
  "on",
  "atan2",
  "inf",
  "nan",
]);

const matchingNone: Matching = {
  on: false,
  labels: [],
  group: "none",
  include: [],
  fillLeft: undefined,
  fillRight: undefined,
};

class Parser {
  readonly #query: string;
  readonly #tokens: TokenStream;
  #depth = 0;

  constructor(query: string) {
    if (Buffer.byteLength(query) > queryBytesMax) {
      throw new ParseError(query, { start: 0, end: 0 }, `expected at most ${queryBytesMax} bytes of query`);
    }
    this.#query = query;
    this.#tokens = new TokenStream(query);
  }

  whole(): Expression {
    if (this.#tokens.at("end")) throw this.#error("no expression found in input");
    const expression = this.#expression(1);
    if (!this.#tokens.at("end")) throw this.#tokens.unexpected("", "");
    return expression;
  }

  #expression(precedenceMin: number): Expression {
    // Counts each operator of a row too: `1+1+1…` is as deep a tree as `((1…`.
    const depthBefore = this.#depth;
    this.#deeper();
    let left = this.#unary();
    for (;;) {
      const operator = this.#operator();
      if (operator === undefined || precedences[operator] < precedenceMin) break;
      this.#deeper();
      this.#tokens.advance();
      const { bool, matching } = this.#modifiers();
      const right = this.#expression(operator === "^" ? precedences["^"] : precedences[operator] + 1);
      left = { kind: "binary", operator, left, right, bool, matching, start: left.start, end: right.end };
    }
    this.#depth = depthBefore;
    return left;
  }

  #deeper(): void {
    this.#depth++;
    if (this.#depth > nestingDepthMax) throw this.#error(`expected at most ${nestingDepthMax} nested expressions`);
  }

  #operator(): BinaryOperator | undefined {
    const { kind, text } = this.#tokens.current;
    const word = kind === "identifier" ? text.toLowerCase() : kind;
    return Object.hasOwn(precedences, word) ? (word as BinaryOperator) : undefined;
  }

  #modifiers(): { readonly bool: boolean; readonly matching: Matching } {
    const tokens = this.#tokens;
    const bool = tokens.takeWord("bool");
    let matching = matchingNone;
    const on = tokens.takeWord("on");
    if (on || tokens.takeWord("ignoring")) {
      matching = { ...matching, on, labels: this.#grouping() };
      const left = tokens.takeWord("group_left");
      if (left || tokens.takeWord("group_right")) {
        const include = tokens.at("(") ? this.#grouping() : [];
        matching = { ...matching, group: left ? "left" : "right", include };
      }
    }
    for (const side of ["fill", "fill_left", "fill_right"] as const) {
      if (!tokens.isWord(side) || tokens.following.kind !== "(") continue;
      tokens.advance();
      tokens.expect("(", `${side} modifier`, '"("');
      const value = tokens.signedNumber(`${side} modifier`);
      tokens.expect(")", `${side} modifier`, '")"');
      if (side !== "fill_right") matching = { ...matching, fillLeft: value };
      if (side !== "fill_left") matching = { ...matching, fillRight: value };
    }
    return { bool, matching };
  }

  #unary(): Expression {
    const { kind, start } = this.#tokens.current;
    if (kind !== "+" && kind !== "-") return this.#postfixed();
    this.#tokens.advance();
    const operand = this.#expression(precedences["^"]);
    if (operand.kind === "number") return { ...operand, value: kind === "-" ? -operand.value : operand.value, start };
    return { kind: "unary", operator: kind, operand, start, end: operand.end };
  }

  #postfixed(): Expression {
    let expression = this.#primary();
    for (;;) {
      if (this.#tokens.at("[")) expression = this.#bracketed(expression);
      else if (this.#tokens.at("@")) expression = this.#pinned(expression);
      else if (this.#tokens.isWord("offset")) expression = this.#shifted(expression);
      else if (this.#tokens.isWord("anchored")) expression = this.#edged(expression, "anchored");
      else if (this.#tokens.isWord("smoothed")) expression = this.#edged(expression, "smoothed");
      else return expression;
    }
  }

  #bracketed(operand: Expression): Expression {
    const tokens = this.#tokens;
    tokens.advance();
    const range = parseDurationExpression(tokens, { context: "subquery or range", positive: true });
    if (tokens.take(":")) {
      const step = tokens.at("]")
        ? undefined
        : parseDurationExpression(tokens, { context: "subquery selector", positive: true });
      const end = tokens.expect("]", "subquery selector", '"]"').end;
      return {
        kind: "subquery",
        operand,
        range,
        step,
        offset: undefined,
        at: undefined,
        start: operand.start,
        end,
      };
    }
    const end = tokens.expect("]", "subquery or range", '":" or "]"').end;
    const span = { start: operand.start, end };
    if (operand.kind !== "selector") throw this.#error("ranges only allowed for vector selectors", span);
    if (operand.offset) throw this.#error("no offset modifiers allowed before range", span);
    if (operand.at) throw this.#error("no @ modifiers allowed before range", span);
    return { kind: "matrix", selector: operand, range, ...span };
  }

  #pinned(operand: Expression): Expression {
    const tokens = this.#tokens;
    tokens.advance();
    let at: TimeShift["at"];
    const { current } = tokens;
    if (tokens.isWord("start") || tokens.isWord("end")) {
      at = { kind: current.text.toLowerCase() as "start" | "end" };
      tokens.advance();
      tokens.expect("(", "@", '"("');
      tokens.expect(")", "@", '")"');
    } else {
      const seconds = tokens.signedNumber("@", "timestamp");
      const ms = Math.round(seconds * 1000);
      if (!Number.isSafeInteger(ms)) {
        throw this.#error(`timestamp out of bounds for @ modifier: ${seconds}`, {
          start: operand.start,
          end: current.end,
        });
      }
      at = { kind: "time", ms };
    }
    return this.#withShift(operand, "@", (shift) => {
      if (shift.at) throw this.#error("@ modifier may not be set multiple times", operand);
      return { at };
    });
  }

  #shifted(operand: Expression): Expression {
    this.#tokens.advance();
    const offset: DurationExpression = parseDurationExpression(this.#tokens, { context: "offset", positive: false });
    return this.#withShift(operand, "offset", (shift) => {
      if (shift.offset) throw this.#error("offset may not be set multiple times", operand);
      return { offset };
    });
  }

  #withShift(operand: Expression, name: string, change: (shift: TimeShift) => Partial<TimeShift>): Expression {
    const { end } = this.#tokens.previous;
    if (operand.kind === "selector" || operand.kind === "subquery") return { ...operand, ...change(operand), end };
    if (operand.kind === "matrix") {
      return { ...operand, selector: { ...operand.selector, ...change(operand.selector) }, end };
    }
    throw this.#error(
      `${name} modifier must be preceded by an instant vector selector or range vector selector or a subquery`,
      operand,
    );
  }

  #edged(operand: Expression, edges: "anchored" | "smoothed"): Expression {
    const end = this.#tokens.current.end;
    this.#tokens.advance();
    if (operand.kind === "selector") return this.#withEdges(operand, edges, end);
    if (operand.kind === "matrix") return { ...operand, selector: this.#withEdges(operand.selector, edges, end), end };
    throw this.#error(
      `${edges} modifier must be preceded by an instant vector selector or range vector selector`,
      operand,
    );
  }

  #withEdges(selector: VectorSelector, edges: "anchored" | "smoothed", end: number): VectorSelector {
    if (selector.edges) throw this.#error("anchored and smoothed modifiers cannot be used together", selector);
    return { ...selector, edges, end };
  }

  #primary(): Expression {
    const tokens = this.#tokens;
    const token = tokens.current;
    const { start, end } = token;
    switch (token.kind) {
      case "number":
      case "duration":
        return { kind: "number", value: tokens.numberOrDuration(), start, end };
      case "string":
        tokens.advance();
        return { kind: "string", value: unquote(token.text), start, end };
      case "(": {
        tokens.advance();
        const operand = this.#expression(1);
        return { kind: "paren", operand, start, end: tokens.expect(")", "", "").end };
      }
      case "{":
        return this.#selector();
      case "metric":
        return this.#selector();
      case "identifier":
        return this.#word();
      default:
        throw tokens.unexpected("", "");
    }
  }

  #word(): Expression {
    const tokens = this.#tokens;
    const { text, start, end } = tokens.current;
    const word = text.toLowerCase();
    if (word === "inf" || word === "nan") {
      tokens.advance();
      return { kind: "number", value: parseNumber(word)!, start, end };
    }
    const following = tokens.following;
    const modifier = following.kind === "identifier" && /^(by|without)$/i.test(following.text);
    if ((aggregators as readonly string[]).includes(word) && (modifier || following.kind === "(")) {
      return this.#aggregation(word as Aggregator);
    }
    if (following.kind === "(" && !reservedWords.has(word)) return this.#call();
    if (reservedWords.has(word)) throw tokens.unexpected("", "");
    return this.#selector();
  }

  #call(): Expression {
    const tokens = this.#tokens;
    const token = tokens.current;
    tokens.advance();
    const { list, end } = this.#arguments();
    // `STEP()` is a keyword upstream and so has no case; functions have.
    const name = /^(start|end|step|range)$/i.test(token.text) ? token.text.toLowerCase() : token.text;
    const signature = signatures.get(name);
    if (!signature) throw this.#error(`unknown function with name ${quoted(token.text)}`, token);
    return { kind: "call", signature, arguments: list, start: token.start, end };
  }

  #aggregation(aggregator: Aggregator): Aggregation {
    const tokens = this.#tokens;
    const { start } = tokens.current;
    tokens.advance();
    let modifier = this.#aggregationModifier();
    const { list, end: listEnd } = this.#arguments();
    let end = listEnd;
    if (!modifier) {
      modifier = this.#aggregationModifier();
      end = tokens.previous.end;
    }
    const takesParameter = /^(bottomk|topk|limitk|limit_ratio|quantile|count_values)$/.test(aggregator);
    const wanted = takesParameter ? 2 : 1;
    if (list.length === 0) throw this.#error("no arguments for aggregate expression provided", { start, end });
    if (list.length !== wanted) {
      throw this.#error(
        `wrong number of arguments for aggregate expression provided, expected ${wanted}, got ${list.length}`,
        { start, end },
      );
    }
    return {
      kind: "aggregation",
      aggregator,
      operand: list[wanted - 1]!,
      parameter: takesParameter ? list[0] : undefined,
      grouping: modifier?.labels ?? [],
      without: modifier?.without ?? false,
      start,
      end,
    };
  }

  #aggregationModifier(): { readonly without: boolean; readonly labels: readonly string[] } | undefined {
    const without = this.#tokens.takeWord("without");
    if (!without && !this.#tokens.takeWord("by")) return undefined;
    return { without, labels: this.#grouping() };
  }

  #arguments(): { readonly list: readonly Expression[]; readonly end: number } {
    const tokens = this.#tokens;
    tokens.expect("(", "", "");
    const list: Expression[] = [];
    if (!tokens.at(")")) {
      do {
        if (list.length > 0 && tokens.at(")")) {
          throw this.#error("trailing commas not allowed in function call args", tokens.previous);
        }
        list.push(this.#expression(1));
      } while (tokens.take(","));
    }
    return { list, end: tokens.expect(")", "", "").end };
  }

  /** `(a, "b.c",)`; also an empty list. */
  #grouping(): readonly string[] {
    const tokens = this.#tokens;
    const labels: string[] = [];
    tokens.expect("(", "grouping opts", '"("');
    while (!tokens.at(")")) {
      const { kind, text } = tokens.current;
      const label = kind === "string" ? unquote(text) : kind === "identifier" ? text : "";
      if (label === "") throw tokens.unexpected("grouping opts", "label");
      labels.push(label);
      tokens.advance();
      if (!tokens.take(",") && !tokens.at(")")) throw tokens.unexpected("grouping opts", '"," or ")"');
    }
    tokens.advance();
    return labels;
  }

  #selector(): VectorSelector {
    const tokens = this.#tokens;
    const { start, kind } = tokens.current;
    let name = "";
    if (kind !== "{") {
      name = tokens.current.text;
      tokens.advance();
    }
    const matchers: Matcher[] = [];
    let quotedName: string | undefined;
    if (tokens.take("{")) {
      while (!tokens.at("}")) {
        const label = tokens.current;
        if (label.kind !== "identifier" && label.kind !== "string") {
          throw tokens.unexpected("label matching", 'identifier or "}"');
        }
        tokens.advance();
        const labelName = label.kind === "string" ? unquote(label.text) : label.text;
        if (label.kind === "string" && (tokens.at(",") || tokens.at("}"))) {
          if (quotedName !== undefined) throw this.#twoNames(quotedName, labelName, start);
          quotedName = labelName;
          matchers.push(compileMatcher(metricNameLabel, "=", labelName));
        } else {
          matchers.push(this.#matcher(labelName, label.start));
        }
        if (!tokens.take(",") && !tokens.at("}")) {
          throw tokens.unexpected("label matching", '"," or "}"');
        }
      }
      tokens.advance();
    }
    const end = tokens.previous.end;
    if (name !== "") {
      const other = matchers.find((matcher) => matcher.name === metricNameLabel);
      if (other) throw this.#twoNames(name, other.value, start);
      matchers.push(compileMatcher(metricNameLabel, "=", name));
    }
    return {
      kind: "selector",
      name: name || (quotedName ?? ""),
      matchers,
      offset: undefined,
      at: undefined,
      edges: undefined,
      start,
      end,
    };
  }

  #twoNames(one: string, other: string, start: number): ParseError {
    return this.#error(`metric name must not be set twice: ${quoted(one)} or ${quoted(other)}`, {
      start,
      end: this.#tokens.previous.end,
    });
  }

  #matcher(name: string, start: number): Matcher {
    const tokens = this.#tokens;
    const operator = tokens.current.kind;
    if (!["=", "!=", "=~", "!~"].includes(operator)) {
      throw tokens.unexpected("label matching", "label matching operator");
    }
    tokens.advance();
    const value = tokens.expect("string", "label matching", "string");
    try {
      return compileMatcher(name, operator as MatchOperator, unquote(value.text));
    } catch (error) {
      throw this.#error((error as Error).message, { start, end: value.end });
    }
  }

  #error(reason: string, span: Span = this.#tokens.current): ParseError {
    return new ParseError(this.#query, span, reason);
  }
}
